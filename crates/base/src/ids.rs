//! Identifiers and log positions as distinct types.
//!
//! Invariants: a sentinel never lives here (wire `-1` becomes `None` in the codec); there is no
//! implicit arithmetic, so each addition says what it adds.

use std::fmt;

use crate::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $raw);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// `node.id`: which broker. Unique in a cluster, at least 0.
    BrokerId(i32)
}
id! {
    /// A partition's number within its topic, from 0.
    PartitionIndex(i32)
}
id! {
    /// The leader's term for one partition, from 0 (KIP-101).
    LeaderEpoch(i32)
}
id! {
    /// Producer id handed out by InitProducerId, at least 0 (KIP-98).
    ProducerId(i64)
}
id! {
    /// Epoch of a producer id, 0 to `i16::MAX` (KIP-98).
    ProducerEpoch(i16)
}
id! {
    /// The metadata index of the record that put this replica on this broker and directory (ours).
    ReplicaGen(u64)
}
id! {
    /// The journal sequence number that created a segment file (ours). Never reused in a directory.
    SegGen(u64)
}

/// A record's position in a partition, from 0. Also used for ends ("one past the last record").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

impl Offset {
    /// The first offset of every log.
    pub const ZERO: Self = Self(0);

    /// This offset moved on by `records`; `None` beyond `i64::MAX`.
    pub fn checked_add(self, records: i64) -> Option<Self> {
        self.0.checked_add(records).map(Self)
    }

    /// How many records lie between `earlier` and this offset, 0 if it is not later.
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A topic's identity. Never zero for an existing topic; a re-created topic has a new one (KIP-516).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub Uuid);

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One partition of one incarnation of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    /// The topic's incarnation.
    pub topic: TopicId,
    /// The partition's number.
    pub index: PartitionIndex,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}
