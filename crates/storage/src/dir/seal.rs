//! The `seal` file: the last act of a graceful stop.
//!
//! Invariant: it exists only while every log is durable with its state, and no process has the
//! directory in use. What it names must not be missed: in the directory with the metadata, the
//! partitions that had no log, or none that this process could see.

use env::atomic::Ordering;
use std::collections::BTreeSet;

use base::{PartitionId, PartitionIndex, Probe, TopicId, Uuid};
use env::{Env, all};

use super::{DirShared, LogDir, RECORDS_TOGETHER, SealOutcome};
use crate::codec::{FormatError, Reader, frame, unframe};
use crate::error::WriteError;
use crate::log::Log;
use crate::names::SEAL;
use crate::replace::replace;

const MAGIC: [u8; 8] = *b"GRGSEAL\0";
const VERSION: u16 = 1;

/// Who sealed the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The process.
    pub start_id: Uuid,
    /// Partitions whose log may never have been made, in any directory.
    pub unmade: BTreeSet<PartitionId>,
}

/// The whole file: `start id 16`, then per partition `topic id 16, index i32`, in a frame.
pub fn encode_seal(seal: &Seal) -> Vec<u8> {
    let mut body = seal.start_id.0.to_vec();
    for id in &seal.unmade {
        body.extend_from_slice(&id.topic.0.0);
        body.extend_from_slice(&id.index.0.to_le_bytes());
    }
    frame(MAGIC, VERSION, &body)
}

/// Reads the whole file.
///
/// # Errors
/// [`FormatError`] if it is not exactly what [`encode_seal`] writes.
pub fn decode_seal(bytes: &[u8]) -> Result<Seal, FormatError> {
    let mut reader = Reader::new(unframe(bytes, MAGIC, VERSION)?);
    let start_id = Uuid(reader.array()?);
    let mut unmade = BTreeSet::new();
    while !reader.is_empty() {
        let topic = TopicId(Uuid(reader.array()?));
        let id = PartitionId { topic, index: PartitionIndex(reader.i32()?) };
        if unmade.last().is_some_and(|last| *last >= id) {
            return Err(FormatError::Field("partition"));
        }
        unmade.insert(id);
    }
    Ok(Seal { start_id, unmade })
}

/// Logs that are made durable at the same time: their flushes share the file system's own log.
const LOGS_TOGETHER: usize = 16;

pub(super) async fn seal<E: Env>(
    handle: &LogDir<E>,
    unmade: &BTreeSet<PartitionId>,
) -> Result<SealOutcome, WriteError> {
    let dir = &handle.shared;
    let durable = make_durable(handle).await;
    // Sealed or not, this process is done with the directory, and so is the flusher.
    dir.stopped.store(true, Ordering::Release);
    dir.kick.notify_one();
    let others = durable?;
    dir.check()?;
    if others > 0 {
        dir.env.probe().reached("storage_seal_withheld");
        return Ok(SealOutcome::NotAllOpened(others));
    }
    write(dir, unmade).await?;
    dir.env.probe().reached("storage_sealed");
    Ok(SealOutcome::Sealed)
}

/// Makes every open log durable with its state. Returns how many were never opened.
async fn make_durable<E: Env>(handle: &LogDir<E>) -> Result<usize, WriteError> {
    let dir = &handle.shared;
    dir.check()?;
    let open = handle.open_logs();
    let others = handle.held.logs.lock().len() - open.len();
    let mut records = Vec::new();
    for some in open.chunks(LOGS_TOGETHER) {
        for sealed in all(some.iter().map(Log::seal).collect()).await {
            records.append(&mut sealed?);
        }
        if records.len() >= RECORDS_TOGETHER {
            dir.commit_records(std::mem::take(&mut records)).await?;
        }
    }
    dir.commit_records(records).await?;
    Ok(others)
}

/// Puts the seal back that this process took, if no log was opened since. The logs' own states
/// name the process that wrote them and not this one, so the next start looks at them again. After
/// damage of the journal there is none: the next start finds the journal whole, and a seal would
/// have it miss the logs that were behind the damage, for ever.
pub(super) async fn give_back<E: Env>(handle: &LogDir<E>) -> Result<(), WriteError> {
    let dir = &handle.shared;
    dir.check()?;
    let is_sealed = dir.sealed_by.is_some() && !dir.start.journal_damaged;
    if !is_sealed || !handle.open_logs().is_empty() {
        return Ok(());
    }
    write(dir, &dir.start.unmade).await
}

async fn write<E: Env>(
    dir: &DirShared<E>,
    unmade: &BTreeSet<PartitionId>,
) -> Result<(), WriteError> {
    let bytes = encode_seal(&Seal { start_id: dir.start.start_id, unmade: unmade.clone() });
    let result = replace(&dir.env, &dir.path, SEAL, bytes).await;
    result.map_err(|error| dir.refuse("write the seal in", &dir.path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_gives_back_what_was_written() {
        let id = |topic, index| PartitionId {
            topic: TopicId(Uuid([topic; 16])),
            index: PartitionIndex(index),
        };
        for unmade in [vec![], vec![id(1, 0)], vec![id(1, 0), id(1, 7), id(2, 0)]] {
            let seal = Seal { start_id: Uuid([8; 16]), unmade: unmade.into_iter().collect() };
            assert_eq!(decode_seal(&encode_seal(&seal)), Ok(seal.clone()));
            let torn = frame(MAGIC, VERSION, &[&seal.start_id.0[..], &[1; 19]].concat());
            assert_eq!(decode_seal(&torn), Err(FormatError::Truncated));
        }
    }
}
