//! Looking at a log directory without changing it: what `gregor dump` prints.
//!
//! Invariant: nothing is written, locked or repaired, and nothing that is damaged stops the look;
//! a directory in use may be looked at, its last bytes may then be half-written.

use std::io;
use std::path::Path;

use base::{Offset, PartitionId, ReplicaGen};
use env::{Access, Disk, EntryKind, Env, File};
use records::BatchHeader;
use records::batch::{BatchView, FrameError};

use crate::codec::FormatError;
use crate::dir::{Identity, Seal, Start, decode_identity, decode_seal, decode_starts};
use crate::envelope::{Envelopes, Owner, decode_file};
use crate::names::{
    IDENTITY, LOCK, METADATA, SEAL, STARTS, STATE, SegmentName, TMP, parse_log_folder,
};
use crate::replace::read_whole;
use crate::state::{State, decode_state};

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
    /// The logs, by partition.
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
    /// Its state file.
    pub state: SideFile<State>,
    /// Its segments, by first offset.
    pub segments: Vec<SegmentReport>,
    /// Files whose names are not ours.
    pub unknown: Vec<String>,
}

/// A segment.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// Its name.
    pub name: SegmentName,
    /// Bytes of its file.
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
    let (logs, unknown) = (Vec::new(), Vec::new());
    let mut report = DirReport { identity, seal, starts, starts_damaged, logs, unknown };
    for entry in env.disk().list(path).await? {
        if let Some((partition, replica_gen)) = parse_log_folder(&entry.name)
            && entry.kind == EntryKind::Dir
        {
            report.logs.push(log(env, &path.join(&entry.name), partition, replica_gen).await?);
        } else if ![IDENTITY, SEAL, STARTS, LOCK, METADATA].contains(&entry.name.as_str()) {
            report.unknown.push(entry.name);
        }
    }
    Ok(report)
}

/// Looks at one log's folder; reads no batch.
///
/// # Errors
/// Only what the operating system refuses.
pub async fn log<E: Env>(
    env: &E,
    folder: &Path,
    partition: PartitionId,
    replica_gen: ReplicaGen,
) -> io::Result<LogReport> {
    let state = side_file(env, &folder.join(STATE), decode_state).await?;
    let mut report =
        LogReport { partition, replica_gen, state, segments: Vec::new(), unknown: Vec::new() };
    for entry in env.disk().list(folder).await? {
        match SegmentName::parse(&entry.name) {
            Some((name, false)) => {
                let file = env.disk().open(&folder.join(name.log()), Access::Read).await?;
                let owner = Owner { partition, replica_gen, seg_gen: name.seg_gen };
                let envelopes = read_whole(env, &folder.join(name.env())).await?;
                let envelopes = envelopes.map(|bytes| decode_file(&owner, name.base, &bytes));
                report.segments.push(SegmentReport { name, bytes: file.len().await?, envelopes });
            },
            Some((_, true)) => {},
            None if entry.name == STATE || entry.name.ends_with(TMP) => {},
            None => report.unknown.push(entry.name),
        }
    }
    report.segments.sort_by_key(|segment| segment.name);
    Ok(report)
}

/// Looks at up to `count` batches of a segment file from byte `position` on.
///
/// # Errors
/// Only what the operating system refuses.
pub async fn batches<E: Env>(
    env: &E,
    segment: &Path,
    position: u64,
    count: usize,
) -> io::Result<BatchesReport> {
    let file = env.disk().open(segment, Access::Read).await?;
    let end = file.len().await?;
    let mut report = BatchesReport { batches: Vec::new(), position, stopped: None };
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
