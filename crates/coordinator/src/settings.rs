//! The limits a coordinator works within.
//!
//! Owns: numbers from the broker's configuration, and our own bounds on what may wait or be held.

use base::Duration;

/// Numbers from the broker's configuration, and bounds on memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `group.min.session.timeout.ms`: a shorter session is refused.
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`: a longer session is refused.
    pub session_timeout_max: Duration,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members.
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`: members of one group; beyond it a join is refused.
    pub group_size_max: usize,
    /// `offset.metadata.max.bytes`: longer text beside an offset is refused. Counted, as Kafka
    /// does, in UTF-16 units.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`: how long an offset is kept that nobody needs; from when, see
    /// `shard::expiry`.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`: how often expired offsets, and groups of which nothing
    /// is left, are looked for.
    pub offsets_check_interval: Duration,
    /// How long a new member's first join may wait (fixed in Kafka).
    pub new_member_join_timeout: Duration,
    /// Groups of one shard; beyond it a new one is refused as not available (ours).
    pub groups_max: usize,
    /// Member ids of one group handed out and not yet presented; beyond it a join is refused as
    /// not available (ours).
    pub pending_members_max: usize,
    /// Requests of one shard that wait for others or for the log; beyond it a request is refused
    /// as not available (ours).
    pub waiting_requests_max: usize,
    /// The largest batch that the log takes, to begin with ([`crate::Shard::limit_batches`]); records
    /// that do not fit into one are refused.
    pub batch_bytes_max: usize,
    /// Bytes of records beyond which nothing more is put into an append; it waits for the next.
    pub append_bytes_max: usize,
    /// Records of one append.
    pub append_records_max: usize,
}

impl Default for Settings {
    /// Kafka's defaults, and ours for what Kafka leaves open.
    fn default() -> Self {
        Self {
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(1800),
            initial_rebalance_delay: Duration::from_secs(3),
            group_size_max: usize::try_from(i32::MAX).unwrap_or(usize::MAX),
            offset_metadata_max_bytes: 4096,
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
            offsets_check_interval: Duration::from_secs(600),
            new_member_join_timeout: Duration::from_secs(300),
            groups_max: 100_000,
            pending_members_max: 10_000,
            waiting_requests_max: 100_000,
            batch_bytes_max: 1_048_588,
            append_bytes_max: 900_000,
            append_records_max: 10_000,
        }
    }
}
