//! The journal of a directory: what its logs are, durable before it is true.
//!
//! Owns: `journal/N` and `manifest`. Whoever commits joins the next group; one fsync makes a group
//! of all logs durable, and the next group is submitted only after that returned. Invariants: a
//! commit returns after its group's fsync; after one write error nothing is committed ever again;
//! a file is used again only when a durable manifest needs none of its groups, under a fresh nonce
//! that is durable first; a lap without a durable word of it in the lap before, or in the manifest,
//! holds no group; one spare file waits, so that a full disk stops no change of state; room in a
//! file is reserved when it is made, and a commit that finds no file is taken back whole.
//! Source: replication design, the journal is the manifest. Drawn in `docs/storage-format.md`.

mod block;
mod files;
mod manifest;
mod open;
mod record;
mod replay;
mod state;
mod write;

use env::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use base::{Offset, Uuid};
use env::{Disk, Env, Lock, Rank};

pub use block::{
    BLOCK, BLOCK_PAYLOAD, JournalBlock, JournalHeader, decode_block, decode_journal_header,
    encode_continued, encode_group, encode_journal_header,
};
pub use manifest::{KeptLap, Manifest, decode_manifest, encode_manifest};
pub use open::{JournalFailure, OpenedJournal, ReadJournal, read_journal};
pub use record::{Change, JournalBatch, Mark, Record, SegmentSummary, decode_records};
pub use replay::{JournalEnd, Replayed};
pub use state::{JournalState, KnownSegment, LogState, Misfit, SealedLog};

use crate::dir::Found;

/// Records of one group, bytes at most; a larger commit is refused.
pub const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// Smallest file. In a small one groups are smaller too.
pub const JOURNAL_FILE_BYTES_MIN: u64 = 64 * 1024;
/// Bytes of the first file of a directory, at most: a first start waits until it is written.
const FIRST_FILE_BYTES: u64 = 256 * 1024;
/// Batches that wait for their group, bytes; whoever comes then writes a group first.
const QUEUE_BYTES_MAX: usize = 4 * GROUP_BYTES_MAX;
/// With so many laps in use no more batches are taken: they go to their segments at once.
const LAPS_FOR_BATCHES: usize = 3;
/// A block's place in a file.
const PLACE_BYTES: u64 = 4096;

const QUEUE_RANK: Rank = Rank(220);
const TABLE_RANK: Rank = Rank(221);

type FileOf<E> = <<E as Env>::Disk as Disk>::File;

/// What may be chosen about a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// Bytes of a file; at least [`JOURNAL_FILE_BYTES_MIN`].
    pub file_bytes: u64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { file_bytes: 16 * 1024 * 1024 }
    }
}

/// The journal of one directory.
pub struct Journal<E: Env> {
    env: E,
    root: PathBuf,
    folder: PathBuf,
    dir_id: Uuid,
    file_bytes: u64,
    /// A group fits into a file twice.
    group_bytes_max: usize,
    queue: Lock<Queue>,
    table: Lock<Table>,
    writer: tokio::sync::Mutex<Writer<FileOf<E>>>,
    /// Held by whoever writes the manifest or makes files.
    upkeep: tokio::sync::Mutex<()>,
    failed: AtomicBool,
    groups: AtomicU64,
}

/// Why nothing was committed, or why it is not known whether it was.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// There is no such log, or its deletion was committed before. Nothing was written.
    #[error("the log {} of replica generation {} does not exist", .0.partition, .0.replica_gen)]
    Gone(Found),
    /// A write or sync failed, now or earlier. Whether the records will be read back is not known.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Commits that wait for their group.
#[derive(Default)]
struct Queue {
    pending: VecDeque<Pending>,
    /// The logs that it creates or drops. Nothing joins that is about a log which does not exist
    /// once all of it is durable, so that no record follows its log's end.
    awaited: BTreeMap<Found, Awaited>,
    bytes: usize,
    /// The ticket of the next commit.
    next: u64,
}

/// What becomes of a log.
struct Awaited {
    lives: bool,
    /// With which commit.
    ticket: u64,
}

/// One commit.
struct Pending {
    ticket: u64,
    bytes: Vec<u8>,
    changes: Vec<Record>,
    /// One past the last offset of batches among the records.
    batch: Option<(Found, Offset)>,
}

/// Where the next group goes.
struct Writer<F> {
    file: F,
    lap: u64,
    nonce: u64,
    group: u64,
    at: u64,
    /// Bytes of the file.
    room: u64,
}

/// What is durable, and in which files.
struct Table {
    state: JournalState,
    /// Every commit with a smaller ticket is durable.
    done: u64,
    /// The next group to become durable.
    lap: u64,
    group: u64,
    /// Laps in use, the current one included.
    laps: BTreeMap<u64, Lap>,
    /// Files that nobody needs, with the nonce of their last lap.
    free: Vec<FreeFile>,
    /// How far each log is durable in its segments, with envelopes, as it was last noted.
    filed: BTreeMap<Found, Offset>,
    /// Number of the next file to be made.
    next_number: u32,
}

struct Lap {
    number: u32,
    nonce: u64,
    groups: u64,
    /// Batches whose segments are not known to be durable: per log, one past the last offset.
    needs: BTreeMap<Found, Offset>,
}

#[derive(Clone, Copy)]
struct FreeFile {
    number: u32,
    nonce: Option<u64>,
}

impl<E: Env> Journal<E> {
    /// What is durable now.
    pub fn state(&self) -> JournalState {
        self.table.lock().state.clone()
    }

    /// Groups written by this process, one flush each.
    pub fn groups(&self) -> u64 {
        self.groups.load(Ordering::Relaxed)
    }

    /// Whether a log is gone, though its files may still be there.
    pub fn is_dropped(&self, log: Found) -> bool {
        self.table.lock().state.dropped().contains(&log)
    }

    /// What is durably known of one log.
    pub fn log(&self, log: Found) -> Option<Arc<LogState>> {
        self.table.lock().state.logs().get(&log).cloned()
    }

    /// Makes `records` durable, all or none of them, and takes them in.
    ///
    /// # Errors
    /// [`CommitError`]. If the journal has not failed ([`Journal::is_failed`]) there was no room, and
    /// none of the records will be read back.
    pub async fn commit(&self, records: Vec<Record>) -> Result<(), CommitError> {
        let mut bytes = Vec::with_capacity(64 * records.len());
        records.iter().for_each(|record| record.encode(&mut bytes));
        let ends = records.iter().filter_map(|record| match &record.change {
            Change::Batch(batch) => Some((record.log, batch.end)),
            _ => None,
        });
        let batch = ends.last();
        if records.is_empty() {
            return Ok(());
        }
        self.submit(bytes, records, batch).await
    }

    /// Whether batches should still be made durable here rather than in their segments.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        let small = bytes <= self.group_bytes_max / 4;
        small && self.table.lock().laps.len() < LAPS_FOR_BATCHES
    }

    /// Everything of `log` below `end` is durable in its segments, with envelopes.
    pub fn note_filed(&self, log: Found, end: Offset) {
        let mut table = self.table.lock();
        // No batch ends there, and most logs are at rest.
        if end > Offset::ZERO {
            table.filed.insert(log, end);
        } else {
            table.filed.remove(&log);
        }
        for lap in table.laps.values_mut() {
            if lap.needs.get(&log).is_some_and(|need| *need <= end) {
                lap.needs.remove(&log);
            }
        }
    }

    /// Whether anything failed.
    pub fn is_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    fn check(&self) -> io::Result<()> {
        if self.is_failed() {
            return Err(io::Error::other("the journal failed earlier"));
        }
        Ok(())
    }

    fn fail(&self, error: io::Error) -> io::Error {
        self.failed.store(true, Ordering::Release);
        error
    }
}

impl<E: Env> std::fmt::Debug for Journal<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Journal({})", self.folder.display())
    }
}
