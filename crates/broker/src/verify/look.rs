//! A look at every batch of a log, beyond what a start reads.
//!
//! Invariants: it goes on behind damage, and what it cannot read is told as a range of offsets;
//! offsets that compaction left without a record are no damage.

use std::io;

use base::Offset;
use bytes::{Bytes, BytesMut};
use env::{Env, File, Segment};
use storage::{FaultyRange, Log, ReadError};

/// Bytes read at a time.
const READ_BYTES: usize = 1024 * 1024;

/// What a look at every batch of a log came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deep {
    /// Whole batches whose checksum matches.
    pub batches: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Offsets that cannot be read; damage that the journal notes already is among them.
    pub damaged: Vec<FaultyRange>,
    /// Why the look ended early: what the system said, and from which offset on.
    pub ended: Option<(Offset, String)>,
}

impl Deep {
    /// Whether every record can be read.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.ended.is_none()
    }
}

/// Reads every batch of a log.
pub(super) async fn look<E: Env>(log: &Log<E>) -> Deep {
    let (mut at, end) = (log.start(), log.end());
    let mut deep = Deep::default();
    while at < end {
        match step(log, &mut deep, at).await {
            Ok(Some(next)) => {
                base::invariant!(LOG_1, next > at, "a look at {log:?} stands still at {at}");
                at = next;
            },
            Ok(None) => break,
            Err(error) => {
                deep.ended = Some((at, error.to_string()));
                break;
            },
        }
    }
    deep
}

/// Reads what begins at `at`; returns where to go on, `None` if nothing is there any more.
async fn step<E: Env>(log: &Log<E>, deep: &mut Deep, at: Offset) -> io::Result<Option<Offset>> {
    match log.read(at, log.end(), READ_BYTES, true).await {
        Ok(slice) => {
            let is_empty = slice.bytes == 0;
            let bytes = whole(slice.segments).await?;
            match (take(deep, bytes, at), noted_behind(log, at)) {
                (next, _) if next > at => return Ok(Some(next)),
                // There is no record before it.
                (_, Some(noted)) if is_empty => return Ok(Some(noted)),
                // Not even a head.
                _ => {},
            }
        },
        Err(ReadError::Corrupt { .. }) => {},
        Err(ReadError::OutOfRange { .. }) => return Ok(None),
        Err(ReadError::Io(error)) => return Err(error),
    }
    let to = behind(log, at).await?;
    deep.damaged.push(FaultyRange { from: at, to });
    Ok(Some(to))
}

async fn whole<F: File>(segments: impl IntoIterator<Item = Segment<F>>) -> io::Result<Bytes> {
    let mut bytes = BytesMut::new();
    for segment in segments {
        match segment {
            Segment::Bytes(piece) => bytes.extend_from_slice(&piece),
            Segment::Region(region) => {
                let len = usize::try_from(region.len).map_err(io::Error::other)?;
                bytes.extend_from_slice(&region.file.read_at(region.at, len).await?);
            },
        }
    }
    Ok(bytes.freeze())
}

/// Takes in what was read from `at` on; returns the next offset to look at.
fn take(deep: &mut Deep, bytes: Bytes, mut at: Offset) -> Offset {
    for batch in records::batches(bytes) {
        let Ok(batch) = batch else { break };
        let next = batch.header().next_offset();
        if batch.verify_crc().is_ok() {
            deep.batches += 1;
            deep.bytes += u64::try_from(batch.bytes().len()).unwrap_or(0);
        } else {
            let from = batch.header().base_offset;
            deep.damaged.push(FaultyRange { from, to: next });
        }
        at = at.max(next);
    }
    at
}

/// Where the next damage behind `at` begins that the journal notes.
fn noted_behind<E: Env>(log: &Log<E>, at: Offset) -> Option<Offset> {
    log.faulty().into_iter().map(|range| range.from).filter(|from| *from > at).min()
}

/// Where a look goes on behind damage at `at`: behind the range that is noted, or else at the next
/// batch that a reader of this segment can find, for damaged bytes do not say where it begins.
async fn behind<E: Env>(log: &Log<E>, at: Offset) -> io::Result<Offset> {
    if let Some(noted) = log.faulty().into_iter().find(|range| range.from <= at && at < range.to) {
        return Ok(noted.to);
    }
    let segment = log.segments().into_iter().find(|s| s.base <= at && at < s.end);
    let end = segment.map_or(log.end(), |segment| segment.end);
    // What lies in one run of the index with the damage is lost with it, what lies behind it is not.
    let (mut lost, mut found, mut step) = (at.0, end, 1);
    while lost.saturating_add(step) < end.0 {
        let probe = lost.saturating_add(step);
        if let Some(base) = first_batch(log, Offset(probe)).await? {
            found = nearer(base, probe, lost);
            break;
        }
        (lost, step) = (probe, step.saturating_mul(2));
    }
    while found.0.saturating_sub(lost) > 1 {
        let probe = lost + (found.0 - lost) / 2;
        match first_batch(log, Offset(probe)).await? {
            Some(base) => found = nearer(base, probe, lost),
            None => lost = probe,
        }
    }
    Ok(found)
}

/// Where a look can go on, as a read of `probe` begins with the batch at `base`. Between the two there
/// may be offsets that compaction took, and the search is not to stand still there.
fn nearer(base: Offset, probe: i64, lost: i64) -> Offset {
    Offset(base.0.min(probe).max(lost.saturating_add(1)))
}

/// Where the batch begins that a read of `at` begins with; `None` if that is damaged.
async fn first_batch<E: Env>(log: &Log<E>, at: Offset) -> io::Result<Option<Offset>> {
    match log.read(at, log.end(), 1, true).await {
        Ok(slice) => Ok(slice.first_base),
        Err(ReadError::Corrupt { .. } | ReadError::OutOfRange { .. }) => Ok(None),
        Err(ReadError::Io(error)) => Err(error),
    }
}
