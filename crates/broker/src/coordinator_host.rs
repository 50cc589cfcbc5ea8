//! The coordinator shards of this broker: one ordered task per partition of `__consumer_offsets`.
//!
//! Owns: which shard hosts a group, and the mailboxes. Invariants: a shard answers only after it
//! has replayed its whole partition; every request is answered, at the latest when its shard ends;
//! mailboxes are bounded, a request that finds one full is told to come again, and so is one that would
//! make all groups together hold more of what their members say than there is room for.

mod load;
mod room;
mod shard;

use env::atomic::{AtomicU8, Ordering};
use std::collections::BTreeMap;
use std::sync::Arc;

use base::{Instant, PartitionId, PartitionIndex, Probe};
use coordinator::{Command, GroupError, Listed, Reply, partition_for};
use env::{Env, Lock, Rank};
use metadata::{CreateTopic, OFFSETS_TOPIC, Topic};
use tokio::sync::{mpsc, oneshot};

use self::room::{Room, Rooms};
use crate::alive::{Alive, Guard};
use crate::config::BrokerConfig;
use crate::node::Node;
use crate::partition::Partition;

/// Requests waiting for one shard; further ones are refused.
const MAILBOX: usize = 1024;
/// Taken alone.
const SHARDS_RANK: Rank = Rank(40);

/// A request and where its answer goes.
pub(crate) struct Mail {
    command: Command,
    answer: oneshot::Sender<Reply>,
    /// For what it may leave behind, until the shard counts that.
    room: Room,
}

/// A command in a mailbox.
struct Asked {
    reply: oneshot::Receiver<Reply>,
    /// When waiting for the answer ends.
    until: Instant,
    /// What is said then.
    late: Reply,
    /// What is said if the shard ends first.
    ended: Reply,
}

/// How far a shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Loading,
    Serving,
    /// Its partition could not be read; it is tried again. Or the shard has ended.
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

struct Handle<E: Env> {
    mailbox: mpsc::Sender<Mail>,
    phase: Arc<PhaseCell>,
    partition: Arc<Partition<E>>,
}

impl<E: Env> Handle<E> {
    /// How far the shard is; one whose log directory failed is as good as ended.
    fn phase(&self) -> Phase {
        if self.partition.is_failed() { Phase::Broken } else { self.phase.get() }
    }
}

struct Shards<E: Env> {
    by_index: BTreeMap<PartitionIndex, Handle<E>>,
    /// Partitions of the topic, 0 while there is none.
    count: i32,
}

impl<E: Env> Default for Shards<E> {
    fn default() -> Self {
        Self { by_index: BTreeMap::new(), count: 0 }
    }
}

/// The shards that this broker hosts.
pub(crate) struct Coordinators<E: Env> {
    node: Arc<Node<E>>,
    shards: Lock<Shards<E>>,
    tasks: Alive,
    rooms: Rooms,
}

impl<E: Env> Coordinators<E> {
    pub(crate) fn start(node: Arc<Node<E>>) -> Arc<Self> {
        let shards = Lock::new(SHARDS_RANK, Shards::default());
        let rooms = Rooms::new(node.config.group_member_bytes_max);
        Arc::new(Self { node, shards, tasks: Alive::default(), rooms })
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
        let Some(guard) = self.tasks.guard() else {
            return;
        };
        for index in (0..shards.count).map(PartitionIndex) {
            let handle = self.load(PartitionId { topic: topic.id, index }, &guard);
            shards.by_index.extend(handle.map(|handle| (index, handle)));
        }
        *self.shards.lock() = shards;
    }

    /// Begins to load a shard, if its partition is led here.
    fn load(&self, id: PartitionId, guard: &Guard) -> Option<Handle<E>> {
        let partition = self.node.partitions.find(&id)?;
        let (mailbox, mail) = mpsc::channel(MAILBOX);
        let phase = Arc::new(PhaseCell(AtomicU8::new(0)));
        let (node, led) = (Arc::clone(&self.node), Arc::clone(&partition));
        let held = self.rooms.empty();
        let mine = shard::Mine { phase: Arc::clone(&phase), mail, held };
        let task = shard::run(node, led, mine, guard.clone());
        self.node.env.spawn("coordinator_shard", task);
        Some(Handle { mailbox, phase, partition })
    }

    /// A partition that could not be led when its topic was created is led now.
    pub(crate) fn partition_led(&self, topic: &Topic, id: PartitionId) {
        if &*topic.name == OFFSETS_TOPIC
            && let Some(guard) = self.tasks.guard()
            && let Some(handle) = self.load(id, &guard)
        {
            self.shards.lock().by_index.insert(id.index, handle);
        }
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
            let room = self.rooms.empty();
            drop(mailbox.send(Mail { command, answer, room }).await);
        }
    }

    fn mailboxes(&self) -> Vec<mpsc::Sender<Mail>> {
        let shards = self.shards.lock();
        let working = shards.by_index.values().filter(|handle| !handle.partition.is_failed());
        working.map(|handle| handle.mailbox.clone()).collect()
    }

    /// Ends every shard: appends under way finish, requests under way are sent elsewhere.
    pub(crate) async fn stop(&self) {
        *self.shards.lock() = Shards::default();
        self.tasks.ended().await;
    }

    /// Whether `group` is coordinated here.
    pub(crate) fn hosts(&self, group: &str) -> bool {
        let shards = self.shards.lock();
        let handle = shards.by_index.get(&partition_for(group, shards.count));
        handle.is_some_and(|handle| !handle.partition.is_failed())
    }

    fn handle(&self, group: &str) -> Option<(mpsc::Sender<Mail>, Phase)> {
        let shards = self.shards.lock();
        let handle = shards.by_index.get(&partition_for(group, shards.count))?;
        Some((handle.mailbox.clone(), handle.phase()))
    }

    /// Asks a group's coordinator. Joins and syncs are answered when the group is complete.
    pub(crate) async fn ask(&self, command: Command) -> Reply {
        if command.group().is_none() {
            return match command {
                Command::List => self.list().await,
                _ => command.refuse(GroupError::NotCoordinator),
            };
        }
        match self.begin(command) {
            Ok(asked) => self.finish(asked).await,
            Err(refused) => *refused,
        }
    }

    /// Asks about many groups at once; the answers are in the order of the questions.
    pub(crate) async fn ask_all(&self, commands: Vec<Command>) -> Vec<Reply> {
        let asked: Vec<_> = commands.into_iter().map(|command| self.begin(command)).collect();
        let mut replies = Vec::with_capacity(asked.len());
        for one in asked {
            replies.push(match one {
                Ok(asked) => self.finish(asked).await,
                Err(refused) => *refused,
            });
        }
        replies
    }

    /// Puts a command into the mailbox of its group's shard.
    ///
    /// # Errors
    /// The answer, if no shard takes it.
    fn begin(&self, command: Command) -> Result<Asked, Box<Reply>> {
        let (env, probe) = (&self.node.env, self.node.env.probe());
        let group = command.group().unwrap_or_default();
        let refused = match self.handle(group) {
            None => {
                probe.reached("group_not_coordinator");
                GroupError::NotCoordinator
            },
            Some((_, Phase::Loading)) => {
                probe.reached("group_load_in_progress");
                GroupError::CoordinatorLoadInProgress
            },
            Some((_, Phase::Broken)) => {
                probe.reached("group_coordinator_broken");
                GroupError::CoordinatorNotAvailable
            },
            Some((mailbox, Phase::Serving)) => match self.places(&mailbox, &command) {
                Err(refused) => refused,
                Ok((slot, room)) => {
                    // Only what is written has a time limit of its own; the shard bounds how long
                    // others wait.
                    let until = match &command {
                        Command::Commit(_)
                        | Command::Delete { .. }
                        | Command::DeleteOffsets { .. } => {
                            env.now().after(self.node.config.offsets_commit_timeout)
                        },
                        _ => Instant::NEVER,
                    };
                    let late = command.refuse(GroupError::CoordinatorNotAvailable);
                    let ended = command.refuse(GroupError::NotCoordinator);
                    let (answer, reply) = oneshot::channel();
                    slot.send(Mail { command, answer, room });
                    return Ok(Asked { reply, until, late, ended });
                },
            },
        };
        Err(Box::new(refuse(&command, refused)))
    }

    /// A place in the mailbox, and room for what the command may leave behind.
    fn places<'m>(
        &self,
        mailbox: &'m mpsc::Sender<Mail>,
        command: &Command,
    ) -> Result<(mpsc::Permit<'m, Mail>, Room), GroupError> {
        let probe = self.node.env.probe();
        let Ok(slot) = mailbox.try_reserve() else {
            probe.reached("group_mailbox_full");
            return Err(GroupError::CoordinatorNotAvailable);
        };
        let Some(room) = self.rooms.take(command.member_bytes()) else {
            probe.reached("group_members_have_no_room");
            return Err(GroupError::CoordinatorNotAvailable);
        };
        Ok((slot, room))
    }

    async fn finish(&self, asked: Asked) -> Reply {
        let (env, probe) = (&self.node.env, self.node.env.probe());
        match env::timeout_at(env, asked.until, asked.reply).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => {
                probe.reached("group_shard_ended");
                asked.ended
            },
            Err(env::Elapsed) => {
                probe.reached("group_commit_timed_out");
                asked.late
            },
        }
    }

    /// The groups of every shard, in order. Waits for shards that still load.
    async fn list(&self) -> Reply {
        let mut groups: Vec<Listed> = Vec::new();
        for mailbox in self.mailboxes() {
            let (answer, reply) = oneshot::channel();
            let (command, room) = (Command::List, self.rooms.empty());
            if mailbox.send(Mail { command, answer, room }).await.is_err() {
                return Reply::List(Err(GroupError::CoordinatorNotAvailable));
            }
            match reply.await {
                Ok(Reply::List(Ok(listed))) => groups.extend(listed),
                Ok(Reply::List(Err(error))) => return Reply::List(Err(error)),
                Ok(_) | Err(_) => return Reply::List(Err(GroupError::CoordinatorNotAvailable)),
            }
        }
        groups.sort_unstable_by(|a, b| a.group.cmp(&b.group));
        Reply::List(Ok(groups))
    }
}

/// The answer of a command that no shard takes.
fn refuse(command: &Command, why: GroupError) -> Reply {
    match command {
        // A member must not be told to rejoin because its coordinator has just restarted.
        Command::Heartbeat(_) if why == GroupError::CoordinatorLoadInProgress => {
            Reply::Heartbeat(Ok(()))
        },
        _ => command.refuse(why),
    }
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
    fn a_heartbeat_while_loading_keeps_the_member_calm() {
        let heartbeat = Command::Heartbeat(coordinator::MemberOf::default());
        let reply = refuse(&heartbeat, GroupError::CoordinatorLoadInProgress);
        assert_eq!(reply, Reply::Heartbeat(Ok(())));
    }
}
