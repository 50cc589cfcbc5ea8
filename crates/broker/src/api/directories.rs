//! The log directories as an operator sees them.

use std::path::PathBuf;
use std::sync::Arc;

use base::{Instant, PartitionId, Uuid};
use env::Space;

/// One log directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryView {
    /// Where it is.
    pub path: PathBuf,
    /// Its identity; `None` if it could not be opened.
    pub dir_id: Option<Uuid>,
    /// Whether the metadata log is in it: the broker cannot do without.
    pub is_metadata: bool,
    /// Partitions that are known to live in it.
    pub partitions: usize,
    /// How it is.
    pub state: DirectoryState,
}

/// How a log directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryState {
    /// In use.
    Online,
    /// In use, but its disk is full: reads go on, producers get a storage error.
    Full {
        /// Since when.
        since: Instant,
        /// What could not be done first.
        reason: Arc<str>,
    },
    /// A write failed, or it could not be opened: nothing is served from it before a restart.
    Failed {
        /// Why.
        reason: Arc<str>,
    },
}

/// What a log directory is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryUsage {
    /// Where it is.
    pub path: PathBuf,
    /// Nothing is served from it; then nothing else is known of it.
    pub is_failed: bool,
    /// The file system's room, if it says.
    pub space: Option<Space>,
    /// The logs in it that were asked for, in order.
    pub logs: Vec<LogUsage>,
}

/// What a log takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogUsage {
    /// Whose it is.
    pub partition: PartitionId,
    /// Its segments, bytes.
    pub bytes: u64,
}
