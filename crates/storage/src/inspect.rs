//! Looking at a log directory without changing it: what `gregor dump` prints.
//!
//! Invariant: nothing is written, locked or repaired, and nothing that is damaged stops the look;
//! a directory in use may be looked at, its last bytes may then be half-written.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use base::{Offset, PartitionId, ReplicaGen};
use env::{Access, Disk, EntryKind, Env, File};
use records::BatchHeader;
use records::batch::{BatchView, FrameError};

use crate::codec::FormatError;
use crate::dir::Found;
use crate::dir::{Identity, Seal, Start, decode_identity, decode_seal, decode_starts};
use crate::envelope::{Envelopes, Owner, decode_file};
use crate::journal::{LogState, ReadJournal, read_journal};
use crate::names::{
    IDENTITY, OURS, PRODUCERS, SEAL, STARTS, SegmentName, TMP, log_folder, parse_log_folder,
};
use crate::producers::{ProducerSnapshot, decode_snapshot};
use crate::replace::read_whole;

/// A small file: absent, or read, or damaged.
pub type SideFile<T> = Option<Result<T, FormatError>>;

/// A directory.
#[derive(Clone, Debug)]
pub struct DirReport {
    /// Whose it is.
    pub identity: SideFile<Identity>,
    /// Present only after a clean stop.
    pub seal: SideFile<Seal>,
    /// Every process start that is on file, oldest first.
    pub starts: Vec<Start>,
    /// Start slots that are not whole.
    pub starts_damaged: usize,
    /// What the journal says.
    pub journal: ReadJournal,
    /// The logs, by partition: those that the journal names, or, if it cannot be read, those that
    /// have a folder.
    pub logs: Vec<LogReport>,
    /// Entries whose names are not ours.
    pub unknown: Vec<String>,
}

/// A log.
#[derive(Clone, Debug)]
pub struct LogReport {
    /// Which partition.
    pub partition: PartitionId,
    /// Which incarnation of the replica.
    pub replica_gen: ReplicaGen,
    /// What the journal says of it; `None` if that cannot be read.
    pub state: Option<Arc<LogState>>,
    /// Its producers' file.
    pub producers: SideFile<ProducerSnapshot>,
    /// Its segments, by first offset: those that the journal names, where it can be read.
    pub segments: Vec<SegmentReport>,
    /// Files whose names are not ours, and segments that the journal does not name.
    pub unknown: Vec<String>,
}

/// A segment.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// Its name.
    pub name: SegmentName,
    /// Bytes that count: of its file, or fewer if the journal says so.
    pub bytes: u64,
    /// Its envelopes; `None` without such a file.
    pub envelopes: Option<Envelopes>,
}

/// A batch in a segment.
#[derive(Clone, Debug)]
pub struct BatchReport {
    /// Its first byte in the file.
    pub position: u64,
    /// Its header.
    pub header: BatchHeader,
    /// Whether its bytes have the CRC that the header claims.
    pub crc_matches: bool,
}

/// Batches of a segment, and what ended the look.
#[derive(Clone, Debug)]
pub struct BatchesReport {
    /// The batches, in order.
    pub batches: Vec<BatchReport>,
    /// Where the next one would start.
    pub position: u64,
    /// Why there is no batch there although the file goes on.
    pub stopped: Option<FrameError>,
}

/// Looks at a whole directory; reads no batch.
///
/// # Errors
/// Only what the operating system refuses.
pub async fn directory<E: Env>(env: &E, path: &Path) -> io::Result<DirReport> {
    let identity = side_file(env, &path.join(IDENTITY), decode_identity).await?;
    let seal = side_file(env, &path.join(SEAL), decode_seal).await?;
    let starts = read_whole(env, &path.join(STARTS)).await?.unwrap_or_default();
    let (starts, starts_damaged) = decode_starts(&starts);
    let journal = read_journal(env, path).await?;
    let (logs, unknown) = (Vec::new(), Vec::new());
    let state = journal.replayed.as_ref().map(|replayed| replayed.state.clone());
    let mut report = DirReport { identity, seal, starts, starts_damaged, journal, logs, unknown };
    let mut folders = BTreeSet::new();
    for entry in env.disk().list(path).await? {
        if let Some((partition, replica_gen)) = parse_log_folder(&entry.name)
            && entry.kind == EntryKind::Dir
        {
            folders.insert(Found { partition, replica_gen });
        } else if !OURS.contains(&entry.name.strip_suffix(TMP).unwrap_or(&entry.name)) {
            report.unknown.push(entry.name);
        }
    }
    let Some(state) = state else {
        for found in folders {
            report.logs.push(log(env, path, found, None).await?);
        }
        return Ok(report);
    };
    for (found, known) in state.logs().iter() {
        report.logs.push(log(env, path, *found, Some(known.clone())).await?);
    }
    for Found { partition, replica_gen } in folders {
        if !state.logs().contains_key(&Found { partition, replica_gen }) {
            report.unknown.push(log_folder(partition, replica_gen));
        }
    }
    Ok(report)
}

/// Looks at one log of the directory `root`; reads no batch.
async fn log<E: Env>(
    env: &E,
    root: &Path,
    found: Found,
    state: Option<Arc<LogState>>,
) -> io::Result<LogReport> {
    let Found { partition, replica_gen } = found;
    let folder = root.join(log_folder(partition, replica_gen));
    let producers = side_file(env, &folder.join(PRODUCERS), decode_snapshot).await?;
    let (segments, unknown) = (Vec::new(), Vec::new());
    let mut report = LogReport { partition, replica_gen, state, producers, segments, unknown };
    let entries = match env.disk().list(&folder).await {
        Ok(entries) => entries,
        // A log without an append has no folder.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    for entry in entries {
        match SegmentName::parse(&entry.name) {
            Some((name, is_envelopes)) => {
                let known = report.known(name);
                match known {
                    Some(bytes_max) if !is_envelopes => {
                        let found = segment(env, &folder, (&report, name), bytes_max).await?;
                        report.segments.push(found);
                    },
                    Some(_) => {},
                    None => report.unknown.push(entry.name),
                }
            },
            None if entry.name == PRODUCERS || entry.name.ends_with(TMP) => {},
            None => report.unknown.push(entry.name),
        }
    }
    report.segments.sort_by_key(|segment| segment.name);
    Ok(report)
}

impl LogReport {
    /// How many bytes of a segment can count; `None` if it does not count.
    fn known(&self, name: SegmentName) -> Option<u64> {
        let Some(state) = &self.state else { return Some(u64::MAX) };
        let segment = state.segments.iter().find(|segment| segment.name == name)?;
        Some(segment.closed.map_or(u64::MAX, |closed| u64::from(closed.bytes)))
    }
}

async fn segment<E: Env>(
    env: &E,
    folder: &Path,
    (log, name): (&LogReport, SegmentName),
    bytes_max: u64,
) -> io::Result<SegmentReport> {
    let file = env.disk().open(&folder.join(name.log()), Access::Read).await?;
    let (partition, replica_gen) = (log.partition, log.replica_gen);
    let owner = Owner { partition, replica_gen, seg_gen: name.seg_gen };
    let envelopes = read_whole(env, &folder.join(name.env())).await?;
    let envelopes = envelopes.map(|bytes| decode_file(&owner, name.base, &bytes));
    Ok(SegmentReport { name, bytes: file.len().await?.min(bytes_max), envelopes })
}

/// Looks at up to `count` batches of a segment file within a range of bytes.
///
/// # Errors
/// Only what the operating system refuses.
pub async fn batches<E: Env>(
    env: &E,
    segment: &Path,
    range: Range<u64>,
    count: usize,
) -> io::Result<BatchesReport> {
    let file = env.disk().open(segment, Access::Read).await?;
    let end = file.len().await?.min(range.end);
    let mut report = BatchesReport { batches: Vec::new(), position: range.start, stopped: None };
    while report.batches.len() < count && report.position < end {
        match batch_at(&file, report.position, end).await? {
            Ok(batch) => {
                let header = *batch.header();
                let crc_matches = batch.verify_crc().is_ok();
                let position = report.position;
                report.position += u64::try_from(header.len_bytes()).map_err(io::Error::other)?;
                report.batches.push(BatchReport { position, header, crc_matches });
            },
            Err(error) => {
                report.stopped = Some(error);
                break;
            },
        }
    }
    Ok(report)
}

/// The whole batch at byte `position` of a file of `end` bytes.
async fn batch_at<F: File>(
    file: &F,
    position: u64,
    end: u64,
) -> io::Result<Result<BatchView, FrameError>> {
    let head = file.read_at(position, BatchHeader::LEN).await?;
    let header = match BatchHeader::parse(&head) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error)),
    };
    let need = header.len_bytes();
    let have = usize::try_from(end - position).unwrap_or(usize::MAX);
    if need > have {
        return Ok(Err(FrameError::Truncated { need, have }));
    }
    Ok(BatchView::parse(&file.read_at(position, need).await?))
}

/// The offset one past the last batch that can be read, for a summary line.
pub fn last_offset(report: &BatchesReport) -> Option<Offset> {
    report.batches.last().map(|batch| batch.header.last_offset())
}

async fn side_file<E: Env, T>(
    env: &E,
    path: &Path,
    decode: impl FnOnce(&[u8]) -> Result<T, FormatError>,
) -> io::Result<SideFile<T>> {
    Ok(read_whole(env, path).await?.map(|bytes| decode(&bytes)))
}
