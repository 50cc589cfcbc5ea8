//! `gregor produce`: lines in, acknowledged offsets out.
//!
//! Invariants: one batch is under way at a time, so each partition holds the records in the order
//! of the input; with `acks=all` a batch whose outcome is unknown is sent again unchanged, with the
//! producer's id and sequence, until its outcome is known or the time is up; a line that is too
//! large for the topic is in a batch of its own, so that it is known which it was; nothing counts as
//! acknowledged that no broker acknowledged, and nothing as sent that was not handed to a connection
//! whose other end was still there behind it.

mod lines;
mod partitioner;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal, Read};

use base::{ProducerEpoch, ProducerId};
use broker::api;
use bytes::Bytes;
use env::Env;
use records::{BatchBuilder, Compression, NewRecord, Producer};
use serde::Serialize;
use wire::error_code::ErrorCode;

use crate::cli::{Acks, Produce};
use crate::failure::Failure;
use crate::output::{Column, Output, aside, counted, or_dash};
use crate::progress::Progress;
use crate::remote::{self, Broker, Remote, To, TopicOf};
use lines::Lines;
use partitioner::Partitioner;
use record::{Parsed, Reading};

/// A batch is sent once it holds this many bytes; Kafka's default limit is a little over a
/// mebibyte, and one record may still be larger.
const BATCH_BYTES: usize = 512 * 1024;
/// What a record takes beside its key and value, at most: seven numbers of variable length.
const RECORD_OVERHEAD_MAX: usize = 36;
/// What a header takes beside its name and value, at most: two numbers of variable length.
const HEADER_OVERHEAD_MAX: usize = 10;

/// Runs `gregor produce`.
///
/// # Errors
/// [`Failure`], also if anything was not acknowledged.
pub fn run(arguments: &Produce) -> Result<(), Failure> {
    remote::run(&arguments.connect, |remote| produce(remote, arguments))
}

async fn produce(mut remote: Remote, arguments: &Produce) -> Result<(), Failure> {
    let topic = remote.topic(&arguments.topic).await?;
    if let Some(partition) = arguments.partition {
        topic.leader(&arguments.topic, partition)?;
    }
    let (input, progress) = open(arguments)?;
    let mut lines = Lines::new(input);
    let reading = Reading::new(arguments);
    let partitions = topic.partitions.iter().map(|partition| partition.index).collect();
    let partitioner = Partitioner::new(partitions, arguments.partition);
    let mut sender = Sender::new(remote, topic, arguments).await?;
    let mut chooser = partitioner;
    let mut number = 0;
    while let Some(chunk) = lines.next_chunk().map_err(|source| unreadable(arguments, source))? {
        for line in &chunk {
            number += 1;
            let parsed = reading.parse(line);
            sender.push(chooser.choose(parsed.key), number, &parsed).await;
            progress.add(line.len() as u64 + 1);
        }
        // What was typed so far leaves at once.
        sender.flush().await;
        sender.confirm().await;
        chooser.next_turn();
        if sender.gave_up() {
            break;
        }
    }
    let printed = report(&sender, Output::new(arguments.format.json), arguments);
    // What was not stored is told whether or not the rest could be printed.
    sender.outcome_of_all().and(printed)
}

/// The input, and how far it is read: drawn for a file, whose end is known.
fn open(arguments: &Produce) -> Result<(Box<dyn Read>, Progress), Failure> {
    match &arguments.file {
        Some(path) if path.as_os_str() != "-" => {
            let file = std::fs::File::open(path);
            let file = file.map_err(|source| unreadable(arguments, source))?;
            let len = file.metadata().map_or(0, |metadata| metadata.len());
            Ok((Box::new(file), Progress::bytes(len)))
        },
        _ => {
            if io::stdin().is_terminal() {
                aside("one record per line; Ctrl-D ends");
            }
            Ok((Box::new(io::stdin()), Progress::hidden()))
        },
    }
}

fn unreadable(arguments: &Produce, source: io::Error) -> Failure {
    let path = arguments.file.as_ref().map(|path| path.display().to_string());
    Failure::Read { path: path.unwrap_or_else(|| "standard input".to_owned()), source }
}

/// What became of one partition's records.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    partition: i32,
    sent: u64,
    acknowledged: u64,
    /// Given to a connection, where nobody acknowledges.
    #[serde(skip)]
    handed: u64,
    /// Of those, what the connection's other end has given no sign of life behind.
    #[serde(skip)]
    unconfirmed: u64,
    first_offset: Option<i64>,
    last_offset: Option<i64>,
}

struct Pending {
    builder: BatchBuilder,
    records: u64,
    /// Where in the input its last record stood, from 1.
    line: u64,
}

struct Sender {
    remote: Remote,
    topic: TopicOf,
    name: String,
    acks: api::Acks,
    compression: Compression,
    /// Of an idempotent producer.
    identity: Option<(ProducerId, ProducerEpoch)>,
    sequences: BTreeMap<i32, i32>,
    pending: BTreeMap<i32, Pending>,
    outcomes: BTreeMap<i32, Outcome>,
    first_failure: Option<Failure>,
    /// The topic's `max.message.bytes`, if the broker tells.
    limit: Option<usize>,
    /// Records that may be stored, though nobody acknowledged them.
    unknown: u64,
    /// Records that never left.
    unsent: u64,
}

impl Sender {
    async fn new(mut remote: Remote, topic: TopicOf, arguments: &Produce) -> Result<Self, Failure> {
        let acks = match arguments.acks {
            Acks::All => api::Acks::All,
            Acks::Leader => api::Acks::Leader,
            Acks::Nobody => api::Acks::None,
        };
        let identity = match acks {
            api::Acks::All => Some(producer_id(&mut remote).await?),
            api::Acks::Leader | api::Acks::None => None,
        };
        // A broker that does not tell still refuses what it does not want.
        let settings = super::topic::settings(&mut remote, &arguments.topic, false).await;
        let limit = settings.ok().and_then(|mut all| all.remove("max.message.bytes")?);
        Ok(Self {
            remote,
            topic,
            name: arguments.topic.clone(),
            acks,
            compression: arguments.compression.codec(),
            identity,
            sequences: BTreeMap::new(),
            pending: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            first_failure: None,
            limit: limit.and_then(|limit| limit.parse().ok()),
            unknown: 0,
            unsent: 0,
        })
    }

    /// Whether going on makes no sense: something was lost.
    fn gave_up(&self) -> bool {
        self.first_failure.is_some()
    }

    /// Collects a line, and sends what was collected where it has no room.
    async fn push(&mut self, partition: i32, line: u64, parsed: &Parsed<'_>) {
        let batch_bytes = self.limit.map_or(BATCH_BYTES, |limit| limit.min(BATCH_BYTES));
        let held = self.pending.get(&partition).map(|pending| pending.builder.len_bytes());
        let overhead = RECORD_OVERHEAD_MAX + parsed.headers.len() * HEADER_OVERHEAD_MAX;
        let more = parsed.len_bytes() + overhead;
        if !self.gave_up() && held.is_some_and(|held| held.saturating_add(more) > batch_bytes) {
            self.flush().await;
        }
        if self.gave_up() {
            self.outcome(partition).sent += 1;
            self.unsent += 1;
            return;
        }
        let timestamp = self.remote.env().wall();
        let builder = || BatchBuilder::new().compression(self.compression);
        let fresh = || Pending { builder: builder(), records: 0, line };
        let pending = self.pending.entry(partition).or_insert_with(fresh);
        let &Parsed { key, value, ref headers } = parsed;
        let record = NewRecord { timestamp, key, value, headers };
        let pushed = pending.builder.push(&record);
        let full = pending.builder.len_bytes() >= batch_bytes;
        if pushed.is_ok() {
            pending.records += 1;
            pending.line = line;
        }
        self.outcome(partition).sent += 1;
        if let Err(error) = pushed {
            self.first_failure = Some(Failure::Other(error.to_string()));
        } else if full {
            self.flush().await;
        }
    }

    fn outcome(&mut self, partition: i32) -> &mut Outcome {
        let fresh = || Outcome { partition, ..Outcome::default() };
        self.outcomes.entry(partition).or_insert_with(fresh)
    }

    /// Sends what was collected.
    async fn flush(&mut self) {
        for (partition, pending) in std::mem::take(&mut self.pending) {
            let records = pending.records;
            match self.send(partition, pending).await {
                Ok(Some(base)) => {
                    let outcome = self.outcome(partition);
                    outcome.acknowledged += records;
                    outcome.first_offset = outcome.first_offset.or(Some(base));
                    let last = i64::try_from(records).unwrap_or(i64::MAX).saturating_sub(1);
                    outcome.last_offset = Some(base.saturating_add(last));
                },
                Ok(None) => {
                    let outcome = self.outcome(partition);
                    outcome.handed += records;
                    outcome.unconfirmed += records;
                },
                Err(failure) => {
                    if let Ok(leader) = self.topic.leader(&self.name, partition) {
                        self.lost(leader, None);
                    }
                    self.first_failure = self.first_failure.take().or(Some(failure));
                },
            }
        }
    }

    /// Sends one batch until its outcome is known; the offset of its first record.
    async fn send(&mut self, partition: i32, pending: Pending) -> Result<Option<i64>, Failure> {
        let records = i32::try_from(pending.records).unwrap_or(i32::MAX);
        let sequence = self.sequences.get(&partition).copied().unwrap_or(0);
        let builder = match self.identity {
            Some((id, epoch)) => {
                pending.builder.producer(Producer { id, epoch, base_sequence: Some(sequence) })
            },
            None => pending.builder,
        };
        let batch = builder.finish_bytes().map_err(|error| Failure::Other(error.to_string()))?;
        let (bytes, alone) = (batch.len(), pending.records == 1);
        let until = self.remote.deadline();
        let mut may_be_stored = false;
        loop {
            match self.send_once(partition, batch.clone()).await {
                Ok(offset) => {
                    let next = records::header::sequence_after(sequence, records);
                    self.sequences.insert(partition, next);
                    return Ok(offset);
                },
                Err(Failure::Refused { code: ErrorCode::MESSAGE_TOO_LARGE, .. }) if alone => {
                    let (line, allowed) = (pending.line, self.limit);
                    return Err(Failure::LineTooLarge { line, bytes, allowed, behind: 0 });
                },
                // Without an id, sending again could store it twice.
                Err(failure)
                    if failure.is_passing()
                        && self.remote.is_before(until)
                        && (self.identity.is_some() || failure.is_refused_for_now()) =>
                {
                    may_be_stored |= failure.may_have_happened();
                    self.remote.pause().await;
                    // Leaders may have moved; if this fails, the next attempt says why.
                    if let Ok(topic) = self.remote.topic(&self.name).await {
                        self.topic = topic;
                    }
                },
                Err(failure) => {
                    if may_be_stored || failure.may_have_happened() {
                        self.unknown += pending.records;
                    }
                    return Err(failure);
                },
            }
        }
    }

    async fn send_once(&mut self, partition: i32, batch: Bytes) -> Result<Option<i64>, Failure> {
        let leader: To = self.topic.leader(&self.name, partition)?;
        if self.identity.is_none() {
            // What is sent once should not go to a connection that the broker has given up.
            if let Err(failure) = self.remote.revive(leader).await {
                self.lost(leader, Some(failure));
            }
        }
        let what = format!("producing to {}-{partition}", self.name);
        let to = (self.name.as_str(), partition);
        let acks = self.acks;
        let question = async |broker: &mut Broker, at| broker.produce(to, acks, batch, at).await;
        let appended = self.remote.ask(leader, &what, question).await?;
        Ok(appended.map(|appended| appended.base_offset))
    }
}

impl Sender {
    fn sum(&self, of: impl FnMut(&Outcome) -> u64) -> u64 {
        self.outcomes.values().map(of).sum()
    }

    fn acknowledged(&self) -> u64 {
        self.sum(|outcome| outcome.acknowledged)
    }

    /// Whether nobody is asked for an acknowledgement.
    fn is_blind(&self) -> bool {
        self.acks == api::Acks::None
    }

    /// Where nobody acknowledges: whether the connections are still there behind what was sent, before
    /// a pause lets the broker give them up. A broker takes requests in order, and closes the
    /// connection on one that it does not take. Each leader is asked once.
    async fn confirm(&mut self) {
        let handed = self.outcomes.values().filter(|outcome| outcome.unconfirmed > 0);
        let leader = |outcome: &Outcome| self.topic.leader(&self.name, outcome.partition).ok();
        let leaders: BTreeSet<To> = handed.filter_map(leader).collect();
        for leader in leaders {
            match self.remote.is_alive(leader).await {
                Ok(()) => drop(self.take_unconfirmed(leader)),
                Err(failure) => self.lost(leader, Some(failure)),
            }
        }
    }

    /// What was handed to a connection with that leader and not confirmed, by partition; from now on
    /// nothing is.
    fn take_unconfirmed(&mut self, leader: To) -> Vec<(i32, u64)> {
        let (topic, name) = (&self.topic, &self.name);
        let led = |partition: i32| topic.leader(name, partition).is_ok_and(|of| of == leader);
        let of_leader = self.outcomes.iter_mut().filter(|(partition, _)| led(**partition));
        of_leader
            .map(|(partition, outcome)| (*partition, std::mem::take(&mut outcome.unconfirmed)))
            .collect()
    }

    /// A connection has ended: of what was only handed to it, and not confirmed, nobody knows what is
    /// stored.
    fn lost(&mut self, leader: To, failure: Option<Failure>) {
        let mut lost = 0;
        for (partition, unknown) in self.take_unconfirmed(leader) {
            self.outcome(partition).handed -= unknown;
            lost += unknown;
        }
        if lost > 0 {
            self.unknown += lost;
            self.first_failure = self.first_failure.take().or(failure);
        }
    }

    /// How all of it ended.
    fn outcome_of_all(self) -> Result<(), Failure> {
        let (unknown, sent) = (self.unknown, self.sum(|outcome| outcome.sent));
        let is_blind = self.is_blind();
        let done = if is_blind { self.sum(|outcome| outcome.handed) } else { self.acknowledged() };
        let missing = sent - done;
        match self.first_failure {
            Some(Failure::LineTooLarge { line, bytes, allowed, .. }) => {
                Err(Failure::LineTooLarge { line, bytes, allowed, behind: self.unsent })
            },
            Some(failure) if missing == sent && !is_blind => Err(failure),
            Some(failure) => {
                let why = failure.to_string();
                Err(Failure::Unacknowledged { missing, unknown, sent, why, is_blind })
            },
            None if missing > 0 => {
                let why = "unknown".to_owned();
                Err(Failure::Unacknowledged { missing, unknown, sent, why, is_blind })
            },
            None => Ok(()),
        }
    }
}

async fn producer_id(remote: &mut Remote) -> Result<(ProducerId, ProducerEpoch), Failure> {
    let until = remote.deadline();
    loop {
        let question = async |broker: &mut Broker, at| broker.init_producer_id(at).await;
        match remote.ask(To::Any, "a producer id", question).await {
            Err(failure) if failure.is_refused_for_now() && remote.is_before(until) => {
                remote.pause().await;
            },
            answer => return answer,
        }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    topic: &'a str,
    sent: u64,
    acknowledged: u64,
    partitions: Vec<&'a Outcome>,
}

fn report(sender: &Sender, mut out: Output, arguments: &Produce) -> Result<(), Failure> {
    let (read, acknowledged) = (sender.sum(|outcome| outcome.sent), sender.acknowledged());
    let of = |done: u64| if done == read { String::new() } else { format!("{done} of ") };
    if out.is_json() {
        let sent = if sender.is_blind() { sender.sum(|outcome| outcome.handed) } else { read };
        let partitions = sender.outcomes.values().collect();
        out.object(&Report { topic: &arguments.topic, sent, acknowledged, partitions })?;
    } else if sender.is_blind() {
        let (of, sent) = (of(sender.sum(|outcome| outcome.handed)), counted(read, "record"));
        out.line(&format!("sent {of}{sent} to {}; none is acknowledged", arguments.topic))?;
    } else {
        out.line(&format!("{}{} acknowledged", of(acknowledged), counted(read, "record")))?;
        let columns = [
            Column::Number("PARTITION"),
            Column::Number("RECORDS"),
            Column::Number("FIRST OFFSET"),
            Column::Number("LAST OFFSET"),
        ];
        let row = |outcome: &Outcome| {
            vec![
                outcome.partition.to_string(),
                outcome.acknowledged.to_string(),
                or_dash(outcome.first_offset),
                or_dash(outcome.last_offset),
            ]
        };
        out.table(&columns, sender.outcomes.values().map(row).collect())?;
    }
    out.flush()
}
