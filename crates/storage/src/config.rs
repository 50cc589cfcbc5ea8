//! What may be chosen about a directory and a log, and the constants nobody chooses.

use base::{BrokerId, Duration};

/// A log's background flush starts at the latest when this much is not yet durable.
pub const FLUSH_BYTES: u64 = 32 * 1024 * 1024;
/// A log's background flush starts at the latest this long after the oldest byte not yet durable.
pub const FLUSH_AFTER: Duration = Duration::from_millis(200);
/// With this much not yet durable an append flushes itself first: the bound of the recovery scan.
pub const FLUSH_BYTES_HARD: u64 = 128 * 1024 * 1024;
/// The producer snapshot is at most this many bytes of log old, so that recovery re-reads no more.
pub const STATE_BYTES: u64 = 64 * 1024 * 1024;
/// A run of batches is closed when it has this many bytes; one larger batch is a run of its own.
pub const RUN_BYTES: u32 = 64 * 1024;
/// From this many bytes on, a read is answered with a file region instead of bytes.
pub const REGION_BYTES_MIN: usize = 64 * 1024;
/// Batches below this size are copied together before they are written, if memory keeps them for
/// readers at the end ([`crate::Log::copies_below`]); larger ones never.
pub const COPY_BYTES_BELOW: usize = 16 * 1024;
/// One piece more in a write costs as much as to copy so many bytes: smaller batches always are.
pub const JOINED_BYTES_BELOW: usize = 1024;
/// Recent bytes kept in memory per log.
pub const TAIL_BYTES_PER_LOG: usize = 1024 * 1024;
/// The largest batch a segment may hold, and with it the largest segment: positions are `u32`.
pub const SEGMENT_BYTES_MAX: u64 = 0x7fff_ffff;

/// Whose directory it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// The cluster; `None` takes what the directory says, or makes one up on the first start.
    pub cluster_id: Option<String>,
    /// The node.
    pub node_id: BrokerId,
}

/// When an append is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Once it is written: every replica's page cache has it (`gregor.durability=replicated`).
    #[default]
    Replicated,
    /// Once it is durable with everything before it (`gregor.durability=fsync`).
    Fsync,
}

/// What may be chosen about a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirOptions {
    /// Bytes of a journal file (`gregor.journal.file.bytes`).
    pub journal_file_bytes: u64,
    /// Recent bytes kept in memory over all logs of the directory.
    pub tail_bytes_max: usize,
    /// Files of segments that all logs of the directory keep open.
    pub open_files_max: usize,
    /// How long a producer's state outlives its last write (`producer.id.expiration.ms`).
    pub producer_expiration: Duration,
}

impl Default for DirOptions {
    fn default() -> Self {
        Self {
            journal_file_bytes: 16 * 1024 * 1024,
            tail_bytes_max: 64 * 1024 * 1024,
            open_files_max: 400,
            producer_expiration: Duration::from_millis(86_400_000),
        }
    }
}

/// What may be chosen about a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A segment that would grow beyond this is closed first (`segment.bytes`). At most
    /// [`SEGMENT_BYTES_MAX`]; one larger batch still gets a segment of its own.
    pub segment_bytes: u64,
    /// A segment is closed when a batch is this much later than its first one (`segment.ms`).
    pub segment_age: Duration,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { segment_bytes: 1024 * 1024 * 1024, segment_age: Duration::from_millis(604_800_000) }
    }
}
