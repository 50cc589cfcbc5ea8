//! Runs.
use base::{LeaderEpoch, Offset, Timestamp};
/// Run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Offset of its first record.
    pub base: Offset,
    /// Offset of its last record.
    pub last: Offset,
    /// Epoch of all its batches.
    pub epoch: LeaderEpoch,
    /// Largest timestamp of its batches.
    pub max_timestamp: Timestamp,
    /// First byte in the segment file.
    pub position: u32,
    /// Bytes.
    pub bytes: u32,
    /// Batches.
    pub batches: u32,
}
