//! What a group's coordinator can be asked.
//!
//! The words are the coordinator core's own: the front door translates Kafka's messages into
//! [`Command`]s and [`Reply`]s back, and names no core.

pub use coordinator::{
    Command, Commit, CommitOffset, CommittedOffset, Described, DescribedMember, FetchedOffset,
    GroupError, GroupState, Join, Joined, JoinedMember, Leaving, Listed, MemberOf, Reply, Sync,
    Synced,
};
