//! The coordinator shards of this broker: one ordered task per partition of `__consumer_offsets`.
//!
//! Owns: which shard hosts a group, and the mailboxes. Invariants: a shard answers only after it
//! has replayed its whole partition; every request is answered, at the latest when its shard ends;
//! mailboxes are bounded, a request that finds one full is told to come again.

mod load;
// mod shard;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use base::{PartitionId, PartitionIndex, Probe};
use coordinator::{Command, GroupError, Listed, Reply};
use env::{Env, Lock, Rank};
use metadata::{CreateTopic, OFFSETS_TOPIC, Topic};
use tokio::sync::{mpsc, oneshot};

use crate::config::BrokerConfig;
use crate::node::Node;

/// Requests waiting for one shard; further ones are refused.
const MAILBOX: usize = 1024;
/// Taken alone.
const SHARDS_RANK: Rank = Rank(40);

/// A request and where its answer goes.
pub(crate) struct Mail {
    command: Command,
    answer: oneshot::Sender<Reply>,
}

/// How far a shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Loading,
    Serving,
    /// Its partition cannot be read.
    Broken,
}

/// A [`Phase`] that the shard's task moves on and everybody reads.
#[derive(Debug)]
pub(crate) struct PhaseCell(AtomicU8);

impl PhaseCell {
    fn get(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Loading,
            1 => Phase::Serving,
            _ => Phase::Broken,
        }
    }

    fn set(&self, phase: Phase) {
        let raw = match phase {
            Phase::Loading => 0,
            Phase::Serving => 1,
            Phase::Broken => 2,
        };
        self.0.store(raw, Ordering::Release);
    }
}

struct Handle {
    mailbox: mpsc::Sender<Mail>,
    phase: Arc<PhaseCell>,
}

#[derive(Default)]
struct Shards {
    by_index: BTreeMap<PartitionIndex, Handle>,
    /// Partitions of the topic, 0 while there is none.
    count: i32,
}

/// The shards that this broker hosts.
pub(crate) struct Coordinators<E: Env> {
    node: Arc<Node<E>>,
    shards: Lock<Shards>,
    /// Held by every shard's task; gone when all have ended.
    alive: Lock<Option<mpsc::Sender<()>>>,
    ended: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

impl<E: Env> Coordinators<E> {
    pub(crate) fn start(node: Arc<Node<E>>) -> Arc<Self> {
        let (alive, ended) = mpsc::channel(1);
        Arc::new(Self {
            node,
            shards: Lock::new(SHARDS_RANK, Shards::default()),
            alive: Lock::new(SHARDS_RANK, Some(alive)),
            ended: tokio::sync::Mutex::new(ended),
        })
    }

    /// Loads the shards of the partitions led here, if `topic` is the coordinators'.
    pub(crate) fn topic_created(&self, topic: &Topic) {
        if &*topic.name != OFFSETS_TOPIC {
            return;
        }
        let mut shards = Shards {
            by_index: BTreeMap::new(),
            count: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        };
        let Some(alive) = self.alive.lock().clone() else {
            return;
        };
        for index in (0..shards.count).map(PartitionIndex) {
            let id = PartitionId { topic: topic.id, index };
            let Some(partition) = self.node.partitions.find(&id) else {
                continue;
            };
            let (mailbox, mail) = mpsc::channel(MAILBOX);
            let phase = Arc::new(PhaseCell(AtomicU8::new(0)));
            drop((mail, alive.clone(), partition));
            shards.by_index.insert(index, Handle { mailbox, phase });
        }
        *self.shards.lock() = shards;
    }

    /// Ends the shards, if `topic` is the coordinators'; else lets them forget what was committed
    /// for it.
    pub(crate) async fn topic_deleted(&self, topic: &Topic) {
        if &*topic.name == OFFSETS_TOPIC {
            *self.shards.lock() = Shards::default();
            return;
        }
        for mailbox in self.mailboxes() {
            let (answer, _) = oneshot::channel();
            let command = Command::TopicDeleted { topic: topic.name.to_string() };
            // A shard that has ended has nothing to forget.
            drop(mailbox.send(Mail { command, answer }).await);
        }
    }

    fn mailboxes(&self) -> Vec<mpsc::Sender<Mail>> {
        self.shards.lock().by_index.values().map(|handle| handle.mailbox.clone()).collect()
    }

    /// Ends every shard: appends under way finish, requests under way are sent elsewhere.
    pub(crate) async fn stop(&self) {
        drop(self.alive.lock().take());
        *self.shards.lock() = Shards::default();
        let mut ended = self.ended.lock().await;
        while ended.recv().await.is_some() {}
    }

    /// Whether there is a shard for `group` here, and which partition it lives in.
    pub(crate) fn hosts(&self, group: &str) -> Option<PartitionIndex> {
        let shards = self.shards.lock();
        let index = shard_of(group, shards.count)?;
        shards.by_index.contains_key(&index).then_some(index)
    }

    /// Asks a group's coordinator. Joins and syncs are answered when the group is complete.
    pub(crate) async fn ask(&self, command: Command) -> Reply {
        let refusal = Refusal::of(&command);
        let Some(group) = group_of(&command) else {
            return match command {
                Command::List => self.list().await,
                _ => refusal.with(GroupError::NotCoordinator),
            };
        };
        let found = {
            let shards = self.shards.lock();
            let index = shard_of(group, shards.count);
            let handle = index.and_then(|index| shards.by_index.get(&index));
            handle.map(|handle| (handle.mailbox.clone(), handle.phase.get()))
        };
        let probe = self.node.env.probe();
        let Some((mailbox, phase)) = found else {
            probe.reached("group_not_coordinator");
            return refusal.with(GroupError::NotCoordinator);
        };
        match phase {
            Phase::Serving => {},
            Phase::Loading => {
                probe.reached("group_load_in_progress");
                return refusal.with(GroupError::CoordinatorLoadInProgress);
            },
            Phase::Broken => {
                probe.reached("group_coordinator_broken");
                return refusal.with(GroupError::CoordinatorNotAvailable);
            },
        }
        let (answer, reply) = oneshot::channel();
        let patience = match &command {
            Command::Commit(_) => Some(self.node.config.offsets_commit_timeout),
            _ => None,
        };
        if mailbox.try_send(Mail { command, answer }).is_err() {
            probe.reached("group_mailbox_full");
            return refusal.with(GroupError::CoordinatorNotAvailable);
        }
        let reply = match patience {
            None => Ok(reply.await),
            Some(patience) => {
                let until = self.node.env.now().after(patience);
                env::timeout_at(&self.node.env, until, reply).await
            },
        };
        match reply {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => {
                probe.reached("group_shard_ended");
                refusal.with(GroupError::NotCoordinator)
            },
            Err(env::Elapsed) => {
                probe.reached("group_commit_timed_out");
                refusal.with(GroupError::CoordinatorNotAvailable)
            },
        }
    }

    /// The groups of every shard, in order. Waits for shards that still load.
    async fn list(&self) -> Reply {
        let mut groups: Vec<Listed> = Vec::new();
        for mailbox in self.mailboxes() {
            let (answer, reply) = oneshot::channel();
            if mailbox.send(Mail { command: Command::List, answer }).await.is_err() {
                continue;
            }
            if let Ok(Reply::List(listed)) = reply.await {
                groups.extend(listed);
            }
        }
        groups.sort_unstable_by(|a, b| a.group.cmp(&b.group));
        Reply::List(groups)
    }
}

/// The shape of the answer to a command, for when its shard gives none.
pub(crate) enum Refusal {
    Join,
    Sync,
    Heartbeat,
    Leave,
    Commit(usize),
    Offsets,
    List,
    Describe,
    Done,
}

impl Refusal {
    fn of(command: &Command) -> Self {
        match command {
            Command::Join(_) => Self::Join,
            Command::Sync(_) => Self::Sync,
            Command::Heartbeat(_) => Self::Heartbeat,
            Command::Leave { .. } => Self::Leave,
            Command::Commit(commit) => Self::Commit(commit.offsets.len()),
            Command::Offsets { .. } => Self::Offsets,
            Command::List => Self::List,
            Command::Describe { .. } => Self::Describe,
            Command::TopicDeleted { .. } => Self::Done,
        }
    }

    fn with(self, error: GroupError) -> Reply {
        match self {
            Self::Join => Reply::Join(Err((error, String::new()))),
            Self::Sync => Reply::Sync(Err(error)),
            // A member must not be told to rejoin because its coordinator restarts.
            Self::Heartbeat if error == GroupError::CoordinatorLoadInProgress => {
                Reply::Heartbeat(Ok(()))
            },
            Self::Heartbeat => Reply::Heartbeat(Err(error)),
            Self::Leave => Reply::Leave(Err(error)),
            Self::Commit(count) => Reply::Commit(vec![Err(error); count]),
            Self::Offsets => Reply::Offsets(Err(error)),
            Self::List => Reply::List(Vec::new()),
            Self::Describe => Reply::Describe(Err(error)),
            Self::Done => Reply::Done,
        }
    }
}

fn group_of(command: &Command) -> Option<&str> {
    match command {
        Command::Join(join) => Some(&join.group),
        Command::Sync(sync) => Some(&sync.who.group),
        Command::Heartbeat(who) => Some(&who.group),
        Command::Commit(commit) => Some(&commit.who.group),
        Command::Leave { group, .. }
        | Command::Offsets { group, .. }
        | Command::Describe { group } => Some(group),
        Command::List | Command::TopicDeleted { .. } => None,
    }
}

/// The partition of `__consumer_offsets` that holds `group`: Java's `String.hashCode`, made
/// positive, modulo `count`. `None` while there are no partitions.
fn shard_of(group: &str, count: i32) -> Option<PartitionIndex> {
    let hash = group
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // Kafka's `Utils.abs` makes 0 of the number that has no opposite.
    hash.checked_abs().unwrap_or(0).checked_rem(count).map(PartitionIndex)
}

/// How `__consumer_offsets` is created.
pub(crate) fn offsets_topic(config: &BrokerConfig, brokers: usize) -> CreateTopic {
    let brokers = i16::try_from(brokers).unwrap_or(i16::MAX).max(1);
    CreateTopic {
        name: OFFSETS_TOPIC.to_owned(),
        partitions: Some(config.offsets_partitions),
        replication_factor: Some(config.offsets_replication_factor.min(brokers)),
        assignment: None,
        configs: vec![
            ("cleanup.policy".to_owned(), Some("compact".to_owned())),
            ("compression.type".to_owned(), Some("producer".to_owned())),
            ("segment.bytes".to_owned(), Some(config.offsets_segment_bytes.to_string())),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_live_where_java_clients_expect_them() {
        // "".hashCode() = 0, "a" = 97, "polygenelubricants" = i32::MIN.
        assert_eq!(shard_of("", 50), Some(PartitionIndex(0)));
        assert_eq!(shard_of("a", 50), Some(PartitionIndex(47)));
        assert_eq!(shard_of("polygenelubricants", 50), Some(PartitionIndex(0)));
        assert_eq!(shard_of("a", 0), None);
    }

    #[test]
    fn a_heartbeat_while_loading_keeps_the_member_calm() {
        let heartbeat = Refusal::of(&Command::Heartbeat(coordinator::MemberOf::default()));
        let reply = heartbeat.with(GroupError::CoordinatorLoadInProgress);
        assert_eq!(reply, Reply::Heartbeat(Ok(())));
    }
}
