//! Intensities of the background noise of one universe: data, part of the plan.

use serde::{Deserialize, Serialize};

/// Probabilities are per mille, times in microseconds. The default is a quiet, fast machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// Shortest one-way latency of a chunk, microseconds.
    pub latency_min_us: u64,
    /// Longest one-way latency of a chunk, microseconds.
    pub latency_max_us: u64,
    /// A chunk is lost and sent again after a retransmission timeout.
    pub loss: u32,
    /// A socket read or write moves fewer bytes than it could.
    pub short_io: u32,
    /// Shortest disk operation, microseconds.
    pub disk_min_us: u64,
    /// Longest disk operation, microseconds.
    pub disk_max_us: u64,
    /// Longest sync, microseconds.
    pub sync_max_us: u64,
    /// A dirty sector that a power loss does not keep is torn instead of dropped.
    pub torn: u32,
    /// A dirty sector survives a power loss.
    pub keep: u32,
    /// A buggify site is active in this universe (it then fires in a quarter of its visits).
    pub buggify: u32,
    /// A seam yields.
    pub seam: u32,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            latency_min_us: 50,
            latency_max_us: 500,
            loss: 0,
            short_io: 0,
            disk_min_us: 10,
            disk_max_us: 100,
            sync_max_us: 2_000,
            torn: 200,
            keep: 300,
            buggify: 0,
            seam: 0,
        }
    }
}
