//! Groups, offsets and transactions as pure state machines over the records of internal topics.
//!
//! Owns: the records of `__consumer_offsets` and its siblings (generated), and what they mean: today
//! the classic groups and their offsets. One [`Shard`] per partition; see there how it is driven.
#![forbid(unsafe_code)]

mod command;
mod durable;
mod event;
pub mod generated;
mod group;
mod io;
mod marks;
mod partition_for;
mod pipeline;
mod record;
mod settings;
mod shard;

pub use command::{
    Command, Commit, CommitOffset, CommittedOffset, Described, DescribedMember, FetchedOffset,
    GroupError, GroupState, Join, Joined, JoinedMember, Leaving, Left, Listed, MemberOf, Reply,
    Sync, Synced,
};
pub use durable::{Durable, DurableGroup};
pub use event::{Action, AppendError, AppendId, Event, RequestId};
pub use marks::{MARKS, MUTANTS};
pub use partition_for::partition_for;
pub use record::{OffsetKey, Record, RecordError, StoredGroup, StoredMember, StoredOffset};
pub use settings::Settings;
pub use shard::Shard;
