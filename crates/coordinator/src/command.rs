//! What a group coordinator is asked, and what it answers.
//!
//! Invariants: every command gets exactly one reply; a reply that reports a change is emitted by
//! the step that received the proof that the change is in the log.

use base::{Duration, LeaderEpoch, Offset, TopicId};
use bytes::Bytes;

use crate::event::AppendError;

/// A request to one group's coordinator.
#[derive(Clone, Debug)]
pub enum Command {
    /// JoinGroup.
    Join(Join),
    /// SyncGroup.
    Sync(Sync),
    /// Heartbeat.
    Heartbeat(MemberOf),
    /// LeaveGroup.
    Leave {
        /// The group.
        group: String,
        /// Who leaves; each is answered alone.
        members: Vec<Leaving>,
    },
    /// OffsetCommit.
    Commit(Commit),
    /// OffsetFetch of one group.
    Offsets {
        /// The group.
        group: String,
        /// Which partitions; `None` is all with a committed offset.
        partitions: Option<Vec<(String, i32)>>,
    },
    /// ListGroups.
    List,
    /// DescribeGroups of one group.
    Describe {
        /// The group.
        group: String,
    },
    /// DeleteGroups of one group: its offsets, and that it ever was.
    Delete {
        /// The group.
        group: String,
    },
    /// OffsetDelete.
    DeleteOffsets {
        /// The group.
        group: String,
        /// Topics and partitions that are there; each is answered alone.
        partitions: Vec<(String, i32)>,
    },
    /// A topic is gone, and so are the offsets committed for it.
    TopicDeleted {
        /// Its name.
        topic: String,
    },
}

impl Command {
    /// The group it is for; `None` if it concerns every group.
    pub fn group(&self) -> Option<&str> {
        match self {
            Self::Join(join) => Some(&join.group),
            Self::Sync(sync) => Some(&sync.who.group),
            Self::Heartbeat(who) => Some(&who.group),
            Self::Commit(commit) => Some(&commit.who.group),
            Self::Leave { group, .. }
            | Self::Offsets { group, .. }
            | Self::Describe { group }
            | Self::Delete { group }
            | Self::DeleteOffsets { group, .. } => Some(group),
            Self::List | Self::TopicDeleted { .. } => None,
        }
    }

    /// Bytes of it that may be held for as long as its sender is a member; 0 for what leaves nothing
    /// behind, or waits only for the log.
    pub fn member_bytes(&self) -> usize {
        match self {
            Self::Join(join) => join.bytes(),
            Self::Sync(sync) => {
                let assignments = sync.assignments.iter();
                assignments.map(|(id, data)| id.len() + data.len()).fold(0, usize::saturating_add)
            },
            Self::Heartbeat(_)
            | Self::Leave { .. }
            | Self::Commit(_)
            | Self::Offsets { .. }
            | Self::List
            | Self::Describe { .. }
            | Self::Delete { .. }
            | Self::DeleteOffsets { .. }
            | Self::TopicDeleted { .. } => 0,
        }
    }

    /// Whether it only looks: nothing is otherwise for having been asked.
    pub fn only_looks(&self) -> bool {
        match self {
            Self::Offsets { .. } | Self::List | Self::Describe { .. } => true,
            Self::Join(_)
            | Self::Sync(_)
            | Self::Heartbeat(_)
            | Self::Leave { .. }
            | Self::Commit(_)
            | Self::Delete { .. }
            | Self::DeleteOffsets { .. }
            | Self::TopicDeleted { .. } => false,
        }
    }

    /// The answer that refuses it as a whole.
    pub fn refuse(&self, why: GroupError) -> Reply {
        match self {
            Self::Join(join) => Reply::Join(Err((why, join.member.clone()))),
            Self::Sync(_) => Reply::Sync(Err(why)),
            Self::Heartbeat(_) => Reply::Heartbeat(Err(why)),
            Self::Leave { .. } => Reply::Leave(Err(why)),
            Self::Commit(commit) => Reply::Commit(vec![Err(why); commit.offsets.len()]),
            Self::Offsets { .. } => Reply::Offsets(Err(why)),
            Self::List => Reply::List(Err(why)),
            Self::Describe { .. } => Reply::Describe(Err(why)),
            Self::Delete { .. } => Reply::Delete(Err(why)),
            Self::DeleteOffsets { .. } => Reply::DeleteOffsets(Err(why)),
            Self::TopicDeleted { .. } => Reply::TopicDeleted(Err(why)),
        }
    }
}

/// A member as it names itself in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberOf {
    /// The group.
    pub group: String,
    /// Given by the coordinator; empty before the first join and for stand-alone commits.
    pub member: String,
    /// `group.instance.id`, for static members.
    pub instance: Option<String>,
    /// The generation the member believes in; negative for stand-alone commits.
    pub generation: i32,
}

/// JoinGroup.
#[derive(Clone, Debug, Default)]
pub struct Join {
    /// The group.
    pub group: String,
    /// Empty at the first join.
    pub member: String,
    /// `group.instance.id`.
    pub instance: Option<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it comes from, as Kafka prints it (`/127.0.0.1`).
    pub client_host: String,
    /// Without a sign of life for this long the member is removed.
    pub session_timeout: Duration,
    /// How long a rebalance waits for the member.
    pub rebalance_timeout: Duration,
    /// "consumer", "connect"…
    pub protocol_type: String,
    /// Names and metadata in order of preference.
    pub protocols: Vec<(String, Bytes)>,
    /// Whether a first join is answered with an id to be presented again (version 4 and up).
    pub member_id_required: bool,
    /// Whether the leader may be told to keep its assignment (version 9 and up).
    pub skip_assignment: bool,
}

impl Join {
    /// Bytes that a member takes who says this of itself.
    pub fn bytes(&self) -> usize {
        let instance = self.instance.as_ref().map_or(0, String::len);
        let texts = self.client_id.len() + self.client_host.len() + self.member.len() + instance;
        protocols_bytes(&self.protocols).saturating_add(texts)
    }
}

/// Bytes that a list of protocols takes.
pub(crate) fn protocols_bytes(protocols: &[(String, Bytes)]) -> usize {
    let each = protocols.iter().map(|(name, data)| {
        size_of::<(String, Bytes)>().saturating_add(name.len()).saturating_add(data.len())
    });
    each.fold(0, usize::saturating_add)
}

/// SyncGroup.
#[derive(Clone, Debug, Default)]
pub struct Sync {
    /// Who.
    pub who: MemberOf,
    /// If given, must be the group's.
    pub protocol_type: Option<String>,
    /// If given, must be the group's.
    pub protocol: Option<String>,
    /// From the leader: member id and assignment.
    pub assignments: Vec<(String, Bytes)>,
}

/// One member that leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaving {
    /// Its id; empty if named by instance only.
    pub member: String,
    /// `group.instance.id`.
    pub instance: Option<String>,
}

/// Who asked to leave, and whether it did.
pub type Left = (Leaving, Result<(), GroupError>);

/// OffsetCommit.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Who; negative generation and empty member are stand-alone.
    pub who: MemberOf,
    /// Whether an unknown group is answered with its own error (version 9 and up).
    pub group_must_exist: bool,
    /// How long the offsets are to be kept, if the client said (versions 2 to 4).
    pub retention: Option<Duration>,
    /// What.
    pub offsets: Vec<CommitOffset>,
}

/// One committed offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitOffset {
    /// Topic name.
    pub topic: String,
    /// Its present identity, zero if unknown.
    pub topic_id: TopicId,
    /// Partition index.
    pub partition: i32,
    /// Next offset to be consumed.
    pub offset: Offset,
    /// Epoch of the record before it, if known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Text kept beside it.
    pub metadata: String,
}

/// The answer to a [`Command`].
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// To [`Command::Join`]. An error carries the member id that goes with it (the one to be
    /// presented with [`GroupError::MemberIdRequired`]).
    Join(Result<Joined, (GroupError, String)>),
    /// To [`Command::Sync`].
    Sync(Result<Synced, GroupError>),
    /// To [`Command::Heartbeat`].
    Heartbeat(Result<(), GroupError>),
    /// To [`Command::Leave`]: for the whole, or for each member.
    Leave(Result<Vec<Left>, GroupError>),
    /// To [`Command::Commit`]: in the order of the request.
    Commit(Vec<Result<(), GroupError>>),
    /// To [`Command::Offsets`]. Absent offsets are `None`.
    Offsets(Result<Vec<FetchedOffset>, GroupError>),
    /// To [`Command::List`].
    List(Result<Vec<Listed>, GroupError>),
    /// To [`Command::Describe`]; an unknown group is `Err(GroupNotFound)`.
    Describe(Result<Described, GroupError>),
    /// To [`Command::Delete`].
    Delete(Result<(), GroupError>),
    /// To [`Command::DeleteOffsets`]: for the whole, or for each partition, in the order of the
    /// request. An offset that is not there is deleted without an error.
    DeleteOffsets(Result<Vec<Result<(), GroupError>>, GroupError>),
    /// To [`Command::TopicDeleted`].
    TopicDeleted(Result<(), GroupError>),
}

/// A member of a new generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// The group's protocol type.
    pub protocol_type: String,
    /// The chosen protocol.
    pub protocol: String,
    /// The leader's member id.
    pub leader: String,
    /// This member's id.
    pub member: String,
    /// The leader keeps the assignment it made before.
    pub skip_assignment: bool,
    /// For the leader: everybody, with metadata of the chosen protocol. Empty for the others.
    pub members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member: String,
    /// `group.instance.id`.
    pub instance: Option<String>,
    /// Metadata of the chosen protocol.
    pub metadata: Bytes,
}

/// What a member owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// The group's protocol type.
    pub protocol_type: String,
    /// The chosen protocol.
    pub protocol: String,
    /// Opaque to the coordinator.
    pub assignment: Bytes,
}

/// One partition's committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedOffset {
    /// Topic name.
    pub topic: String,
    /// Partition index.
    pub partition: i32,
    /// `None` if nothing was committed.
    pub committed: Option<CommittedOffset>,
}

/// A committed offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Next offset to be consumed.
    pub offset: Offset,
    /// Epoch of the record before it, if known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Text kept beside it.
    pub metadata: String,
    /// Identity of the topic it was committed for, zero if unknown.
    pub topic_id: TopicId,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub group: String,
    /// "consumer", empty for stand-alone commits.
    pub protocol_type: String,
    /// Its state.
    pub state: GroupState,
}

/// A group in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its id.
    pub group: String,
    /// Its state.
    pub state: GroupState,
    /// "consumer", empty for stand-alone commits.
    pub protocol_type: String,
    /// The chosen protocol while stable, else empty.
    pub protocol: String,
    /// Members by id.
    pub members: Vec<DescribedMember>,
}

/// A member in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member: String,
    /// `group.instance.id`.
    pub instance: Option<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it comes from.
    pub client_host: String,
    /// Metadata of the chosen protocol while stable, else empty.
    pub metadata: Bytes,
    /// Assignment while stable, else empty.
    pub assignment: Bytes,
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupState {
    /// No members; it may have offsets.
    #[default]
    Empty,
    /// Waiting for members to join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Everybody has an assignment.
    Stable,
    /// Gone.
    Dead,
}

impl GroupState {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// Why a group request is refused; named as Kafka names its codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupError {
    /// The group id is empty where it may not be.
    InvalidGroupId,
    /// The session timeout is outside the broker's bounds.
    InvalidSessionTimeout,
    /// Not a member.
    UnknownMemberId,
    /// Another generation than the group's.
    IllegalGeneration,
    /// No protocol in common with the group.
    InconsistentGroupProtocol,
    /// Join again: a rebalance is under way.
    RebalanceInProgress,
    /// Join again with the id given.
    MemberIdRequired,
    /// The instance belongs to another member now.
    FencedInstanceId,
    /// `group.max.size` is reached.
    GroupMaxSizeReached,
    /// The text beside the offset is too long.
    OffsetMetadataTooLarge,
    /// One commit is larger than the log takes.
    InvalidCommitOffsetSize,
    /// No such group.
    GroupNotFound,
    /// The group has members.
    NonEmptyGroup,
    /// A member of the group subscribes to the topic.
    GroupSubscribedToTopic,
    /// The group's log is still being read.
    CoordinatorLoadInProgress,
    /// The coordinator cannot serve now; try again.
    CoordinatorNotAvailable,
    /// Another broker coordinates the group.
    NotCoordinator,
    /// No such topic or partition (said by the front door, which knows them).
    UnknownTopicOrPartition,
    /// What the group would have to remember is larger than the log takes.
    UnknownServerError,
}

impl GroupError {
    /// What a member is told when the record of its group could not be appended (as Kafka maps it).
    pub(crate) fn of_append(why: AppendError) -> Self {
        match why {
            AppendError::NotAvailable => Self::CoordinatorNotAvailable,
            AppendError::NotCoordinator => Self::NotCoordinator,
            AppendError::TooLarge => Self::UnknownServerError,
        }
    }
}
