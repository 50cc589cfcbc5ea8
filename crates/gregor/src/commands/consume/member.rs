//! `gregor consume --group`: a member of a classic consumer group.
//!
//! Invariants: after a lost membership nothing is committed before the next join; what was written
//! out is committed before the group is left, and nothing else ever is; it is left however the reading
//! ends, so that no one has to wait for the session to; a heartbeat goes out at least
//! every [`HEARTBEAT`], also while whoever reads our output does not; whose output takes nothing for
//! `--max-poll-interval` leaves, and joins again when it does.

use std::collections::BTreeMap;
use std::pin::Pin;

use base::{Duration, Instant};
use env::Env;
use protocol::messages::JoinGroupResponse;
use wire::client::{CommittedOffset, Member};
use wire::error_code::ErrorCode;

use super::assign;
use super::print::{Meanwhile, Nothing, Printer};
use super::reader::Reader;
use super::{WAIT, fail, settle, starts};
use crate::cli::Consume;
use crate::commands::group::assigned_partitions;
use crate::failure::Failure;
use crate::output::aside;
use crate::remote::{Broker, Remote, To};

/// Kafka's `heartbeat.interval.ms`; of a short session, a third.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// Kafka's `group.initial.rebalance.delay.ms`, and a little.
const GROUP_DELAY: Duration = Duration::from_secs(4);
/// How long the last commit and the leaving may take.
const LAST_WAIT: Duration = Duration::from_secs(10);
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
    /// Whether a heartbeat was told that the group rebalances.
    rebalances: bool,
    /// When output that takes nothing ends the membership, and whether it did.
    output_due: Instant,
    was_blocked: bool,
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
    let now = remote.env().now();
    let member = Member::outside(group);
    let mut consumer = Consumer {
        remote,
        arguments,
        coordinator,
        member,
        committed: BTreeMap::new(),
        heartbeat_due: now,
        rebalances: false,
        output_due: now,
        was_blocked: false,
        patience: None,
    };
    let ended = consumer.read_on(&mut printer, &mut stop).await;
    let ended = match ended {
        // What was printed is committed if it is written. Ctrl-C itself fails for the output alone.
        Err(failure) if !is_lost(&failure) => Err(fail(failure, &mut printer, stop).await),
        ended => ended,
    };
    let env = consumer.remote.env().clone();
    let last = async {
        if !ended.as_ref().is_err_and(is_lost) {
            consumer.commit_last(printer.written()).await;
        }
        consumer.leave().await;
    };
    if env::timeout_at(&env, env.now().after(LAST_WAIT), last).await.is_err() {
        aside("no answer when the group was to be left: it waits until the session ends");
    }
    ended
}

fn is_lost(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused { code, .. } if LOST.contains(code))
}

impl Consumer<'_> {
    /// Reads, in one membership after the other, until all is read, or Ctrl-C, or a failure.
    async fn read_on(
        &mut self,
        printer: &mut Printer,
        stop: &mut Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), Failure> {
        loop {
            let end = tokio::select! {
                biased;
                () = &mut *stop => return settle(&self.remote, printer).await,
                end = self.membership(printer) => end,
            };
            match end {
                Ok(End::Done) => return Ok(()),
                Ok(End::Rejoin) => self.patience = None,
                Err(_) if std::mem::take(&mut self.was_blocked) => self.patience = None,
                Err(failure) if is_lost(&failure) || failure.is_passing() => {
                    self.bear(failure)?;
                    self.remote.pause().await;
                },
                Err(failure) => return Err(failure),
            }
        }
    }

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
        printer.begin();
        // Whose output takes nothing has no use for partitions.
        printer.idle(&mut Nothing).await?;
        if self.patience.is_some() {
            self.patience = Some(self.remote.deadline());
            self.coordinator = self.remote.coordinator(&self.member.group).await?;
        }
        let mine = self.join().await?;
        let mut reader = self.start(&mine).await?;
        loop {
            if printer.is_done() || reader.is_done() {
                self.commit(reader.positions()).await?;
                return Ok(End::Done);
            }
            if !self.remote.is_before(self.heartbeat_due) {
                self.heartbeat().await?;
            }
            if self.rebalances {
                // The others wait for us; what we have printed is ours to commit until we join.
                self.commit(reader.positions()).await?;
                return Ok(End::Rejoin);
            }
            if mine.is_empty() {
                self.remote.pause().await;
                continue;
            }
            let wait = WAIT.min(self.heartbeat_every());
            let round = reader.round(&mut self.remote, wait).await?;
            printer.print_round(&mut reader, &round, self).await?;
            self.commit(reader.positions()).await?;
        }
    }

    fn heartbeat_every(&self) -> Duration {
        HEARTBEAT.min(self.arguments.session_timeout / 3)
    }

    async fn join(&mut self) -> Result<Vec<i32>, Failure> {
        let what = format!("joining group '{}'", self.member.group);
        let protocols = [(RANGE, assign::subscription(&self.arguments.topic))];
        let times = (self.arguments.session_timeout, self.remote.timeout());
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
        self.heartbeat_due = self.remote.env().now().after(self.heartbeat_every());
        self.rebalances = false;
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

    /// A sign of life, which may be told that the group rebalances.
    async fn heartbeat(&mut self) -> Result<(), Failure> {
        self.heartbeat_due = self.remote.env().now().after(self.heartbeat_every());
        let what = format!("staying in group '{}'", self.member.group);
        let member = &self.member;
        let question = async |broker: &mut Broker, at| broker.heartbeat(member, at).await;
        match self.remote.ask(self.coordinator, &what, question).await {
            Ok(()) => self.patience = None,
            Err(Failure::Refused { code: ErrorCode::REBALANCE_IN_PROGRESS, .. }) => {
                self.rebalances = true;
            },
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Commits what has moved.
    async fn commit(&mut self, positions: &BTreeMap<i32, i64>) -> Result<(), Failure> {
        let moved = |(index, at): (&i32, &i64)| {
            (self.committed.get(index) != Some(at)).then(|| CommittedOffset {
                topic: self.arguments.topic.clone(),
                partition: *index,
                offset: *at,
                metadata: String::new(),
            })
        };
        let moved: Vec<CommittedOffset> = positions.iter().filter_map(moved).collect();
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

    /// Commits before the group is left. Where that fails, the records are read again.
    async fn commit_last(&mut self, written: &BTreeMap<i32, i64>) {
        if !self.member.id.is_empty() {
            drop(self.commit(written).await);
        }
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

impl Meanwhile for Consumer<'_> {
    fn begin(&mut self) {
        self.output_due = self.remote.env().now().after(self.arguments.max_poll_interval);
    }

    async fn due(&mut self) {
        self.remote.env().sleep_until(self.heartbeat_due.min(self.output_due)).await;
    }

    async fn go_on(&mut self, written: &BTreeMap<i32, i64>) -> Result<(), Failure> {
        if self.remote.is_before(self.output_due) {
            self.heartbeat().await?;
            return self.commit(written).await;
        }
        self.commit_last(written).await;
        self.leave().await;
        self.member = Member::outside(&self.member.group);
        self.was_blocked = true;
        let told = format!(
            "left group '{}': the output took nothing for {} s; joins again when it does",
            self.member.group,
            self.arguments.max_poll_interval.as_secs_f64()
        );
        aside(&told);
        Err(Failure::Other(told))
    }
}
