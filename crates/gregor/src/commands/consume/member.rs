//! `gregor consume --group`: a member of a classic consumer group.
//!
//! Invariants: after a lost membership nothing is committed before the next join; what was printed
//! is committed before the group is left; a heartbeat goes out at least every [`HEARTBEAT`], as
//! long as whoever reads our output keeps up.

use std::collections::BTreeMap;
use std::pin::Pin;

use base::{Duration, Instant};
use env::Env;
use protocol::messages::JoinGroupResponse;
use wire::client::{CommittedOffset, Member};
use wire::error_code::ErrorCode;

use super::assign;
use super::print::Printer;
use super::reader::Reader;
use super::starts;
use crate::cli::Consume;
use crate::commands::group::assigned_partitions;
use crate::failure::Failure;
use crate::remote::{Broker, Remote, To};

const SESSION: Duration = Duration::from_secs(10);
const HEARTBEAT: Duration = Duration::from_secs(3);
/// How long a broker may wait for records; also bounds how late a heartbeat is.
const WAIT: Duration = Duration::from_millis(500);
/// Kafka's `group.initial.rebalance.delay.ms`, and a little.
const GROUP_DELAY: Duration = Duration::from_secs(4);
/// The assignor that every Kafka client knows.
const RANGE: &str = "range";

/// Errors after which the member joins again.
const LOST: &[ErrorCode] = &[
    ErrorCode::REBALANCE_IN_PROGRESS,
    ErrorCode::ILLEGAL_GENERATION,
    ErrorCode::UNKNOWN_MEMBER_ID,
    ErrorCode::NOT_COORDINATOR,
    ErrorCode::COORDINATOR_NOT_AVAILABLE,
    ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
];

struct Consumer<'a> {
    remote: Remote,
    arguments: &'a Consume,
    coordinator: To,
    member: Member,
    committed: BTreeMap<i32, i64>,
    heartbeat_due: Instant,
    /// Trouble that may pass is borne until then.
    patience: Option<Instant>,
}

/// Why reading stopped.
enum End {
    /// All is read, or enough is.
    Done,
    /// Join again.
    Rejoin,
}

/// Reads as a member of `group`.
///
/// # Errors
/// [`Failure`].
pub async fn consume(
    mut remote: Remote,
    arguments: &Consume,
    group: &str,
    mut printer: Printer,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), Failure> {
    // An unknown topic is a mistake to be told at once, not something to wait for.
    remote.topic(&arguments.topic).await?;
    let coordinator = remote.coordinator(group).await?;
    let heartbeat_due = remote.env().now();
    let member = Member::outside(group);
    let mut consumer = Consumer {
        remote,
        arguments,
        coordinator,
        member,
        committed: BTreeMap::new(),
        heartbeat_due,
        patience: None,
    };
    loop {
        let end = tokio::select! {
            biased;
            () = &mut stop => break,
            end = consumer.membership(&mut printer) => end,
        };
        match end {
            Ok(End::Done) => break,
            Ok(End::Rejoin) => consumer.patience = None,
            Err(failure) if is_lost(&failure) || failure.is_passing() => {
                consumer.bear(failure)?;
                consumer.remote.pause().await;
            },
            Err(failure) => return Err(failure),
        }
    }
    printer.flush()?;
    consumer.leave().await;
    Ok(())
}

fn is_lost(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused { code, .. } if LOST.contains(code))
}

impl Consumer<'_> {
    /// Puts up with trouble that may pass, for `--timeout` from the first of it on.
    fn bear(&mut self, failure: Failure) -> Result<(), Failure> {
        let until = *self.patience.get_or_insert_with(|| self.remote.deadline());
        if !self.remote.is_before(until) {
            return Err(failure);
        }
        self.remote.tell_lost(&failure);
        if let Failure::Refused { code: ErrorCode::UNKNOWN_MEMBER_ID, .. } = failure {
            self.member = Member::outside(&self.member.group);
        }
        Ok(())
    }

    /// Joins, reads until the membership ends, commits.
    async fn membership(&mut self, printer: &mut Printer) -> Result<End, Failure> {
        if self.patience.is_some() {
            self.coordinator = self.remote.coordinator(&self.member.group).await?;
        }
        let mine = self.join().await?;
        let mut reader = self.start(&mine).await?;
        loop {
            if printer.is_done() || reader.is_done() {
                self.commit(&reader).await?;
                return Ok(End::Done);
            }
            if !self.remote.is_before(self.heartbeat_due) && self.heartbeat().await?.is_none() {
                // The others wait for us; what we have printed is ours to commit until we join.
                self.commit(&reader).await?;
                return Ok(End::Rejoin);
            }
            if mine.is_empty() {
                self.remote.pause().await;
                continue;
            }
            for read in reader.round(&mut self.remote, WAIT).await? {
                printer.print(&mut reader, &read)?;
            }
            printer.flush()?;
            self.commit(&reader).await?;
        }
    }

    async fn join(&mut self) -> Result<Vec<i32>, Failure> {
        let what = format!("joining group '{}'", self.member.group);
        let protocols = [(RANGE, assign::subscription(&self.arguments.topic))];
        let times = (SESSION, self.remote.timeout());
        let member = &mut self.member;
        let question =
            async |broker: &mut Broker, at| broker.join_group(member, times, &protocols, at).await;
        // A new group's first answer comes when the broker has waited for more members.
        let timeout = self.remote.timeout() + GROUP_DELAY;
        let joined = self.remote.ask_for(self.coordinator, &what, timeout, question).await?;
        let assignments = if joined.leader == joined.member_id {
            self.share_out(joined).await?
        } else {
            Vec::new()
        };
        let member = &self.member;
        let question =
            async |broker: &mut Broker, at| broker.sync_group(member, RANGE, assignments, at).await;
        let assignment = self.remote.ask(self.coordinator, &what, question).await?;
        self.heartbeat_due = self.remote.env().now().after(HEARTBEAT);
        Ok(assigned_partitions(&assignment).remove(&self.arguments.topic).unwrap_or_default())
    }

    /// As the leader: everybody's share.
    async fn share_out(
        &mut self,
        joined: JoinGroupResponse,
    ) -> Result<Vec<(String, bytes::Bytes)>, Failure> {
        let topics = |metadata| assign::topics_of(metadata);
        let members: BTreeMap<_, _> = joined
            .members
            .iter()
            .map(|member| (member.member_id.clone(), topics(&member.metadata)))
            .collect();
        let cluster = self.remote.cluster(None).await?;
        let indexes = |topic: crate::remote::TopicOf| {
            topic.partitions.iter().map(|partition| partition.index).collect()
        };
        let partitions: BTreeMap<String, Vec<i32>> =
            cluster.topics.into_iter().map(|(name, topic)| (name, indexes(topic))).collect();
        let shares = assign::range(&members, &partitions);
        Ok(shares.into_iter().map(|(id, share)| (id, assign::assignment(share))).collect())
    }

    /// A reader that starts where the group has got to.
    async fn start(&mut self, mine: &[i32]) -> Result<Reader, Failure> {
        let name = &self.arguments.topic;
        let topic = self.remote.topic(name).await?;
        let asked: Vec<(&str, i32)> = mine.iter().map(|index| (name.as_str(), *index)).collect();
        let what = format!("offsets of group '{}'", self.member.group);
        let group = &self.member.group;
        let question =
            async |broker: &mut Broker, at| broker.committed_offsets(group, Some(&asked), at).await;
        let found = match asked.is_empty() {
            true => Vec::new(),
            false => self.remote.ask(self.coordinator, &what, question).await?,
        };
        self.committed = found.into_iter().map(|one| (one.partition, one.offset)).collect();
        let new: Vec<i32> =
            mine.iter().copied().filter(|index| !self.committed.contains_key(index)).collect();
        let mut from = starts(&mut self.remote, name, &topic, &new, self.arguments.start()).await?;
        from.extend(self.committed.iter().map(|(index, offset)| (*index, *offset)));
        let mut reader = Reader::new(name, topic, from);
        if !self.arguments.follow {
            reader.end_at_the_ends(&mut self.remote).await?;
        }
        Ok(reader)
    }

    /// A sign of life; nothing if the group rebalances.
    async fn heartbeat(&mut self) -> Result<Option<()>, Failure> {
        self.heartbeat_due = self.remote.env().now().after(HEARTBEAT);
        let what = format!("staying in group '{}'", self.member.group);
        let member = &self.member;
        let question = async |broker: &mut Broker, at| broker.heartbeat(member, at).await;
        match self.remote.ask(self.coordinator, &what, question).await {
            Ok(()) => {
                self.patience = None;
                Ok(Some(()))
            },
            Err(Failure::Refused { code: ErrorCode::REBALANCE_IN_PROGRESS, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Commits what has moved.
    async fn commit(&mut self, reader: &Reader) -> Result<(), Failure> {
        let moved = |(index, at): (&i32, &i64)| {
            (self.committed.get(index) != Some(at)).then(|| CommittedOffset {
                topic: self.arguments.topic.clone(),
                partition: *index,
                offset: *at,
                metadata: String::new(),
            })
        };
        let moved: Vec<CommittedOffset> = reader.positions().iter().filter_map(moved).collect();
        if moved.is_empty() {
            return Ok(());
        }
        let what = format!("committing for group '{}'", self.member.group);
        let member = &self.member;
        let question =
            async |broker: &mut Broker, at| broker.commit_offsets(member, &moved, at).await;
        self.remote.ask(self.coordinator, &what, question).await?;
        self.patience = None;
        self.committed.extend(moved.iter().map(|one| (one.partition, one.offset)));
        Ok(())
    }

    /// Leaves, so that the others need not wait for the session to end. Not leaving is no failure.
    async fn leave(&mut self) {
        if self.member.id.is_empty() {
            return;
        }
        let member = &self.member;
        let question = async |broker: &mut Broker, at| broker.leave_group(member, at).await;
        drop(self.remote.ask(self.coordinator, "leaving the group", question).await);
    }
}
