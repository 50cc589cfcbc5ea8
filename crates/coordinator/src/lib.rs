//! Groups, offsets and transactions as pure state machines over the records of internal topics.
//!
//! Owns: the records of `__consumer_offsets` and its siblings (generated), and what they mean.
#![forbid(unsafe_code)]

mod command;
mod event;
pub mod generated;
mod partition_for;
mod settings;

pub use command::{
    Command, Commit, CommitOffset, CommittedOffset, Described, DescribedMember, FetchedOffset,
    GroupError, GroupState, Join, Joined, JoinedMember, Leaving, Listed, MemberOf, Reply, Sync,
    Synced,
};
pub use event::{Action, AppendError, AppendId, Event, RequestId};
pub use partition_for::partition_for;
pub use settings::Settings;
