//! Vocabulary shared by every crate of Gregor.
//!
//! Owns: ids, offsets, time, probes, deterministic and compact maps and the PRNG. Pure: no await, clock,
//! randomness, lock, file or socket; everything that varies is handed in.
#![forbid(unsafe_code)]

pub mod codec;
pub mod config;
pub mod fixed;
pub mod ids;
mod invariant;
pub mod measure;
pub mod prng;
pub mod probe;
pub mod sorted;
pub mod time;
pub mod trace;
pub mod uuid;

pub use fixed::{FixedMap, FixedSet};
pub use ids::{
    BrokerId, LeaderEpoch, Offset, PartitionId, PartitionIndex, ProducerEpoch, ProducerId,
    ReplicaGen, SegGen, TopicId,
};
pub use prng::Prng;
pub use probe::Probe;
pub use sorted::SortedMap;
pub use time::{Duration, Instant, Timestamp};
pub use uuid::Uuid;
