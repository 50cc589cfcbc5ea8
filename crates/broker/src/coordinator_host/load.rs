//! Replaying a partition of the coordinators' topic.
//!
//! Invariant: all of it, as it was written, or an error: a shard that has forgotten a part would lose
//! offsets, and one that believes a damaged record makes them up.

use base::{Offset, Probe};
use bytes::{Bytes, BytesMut};
use env::{Env, File, Segment};
use records::STORED_INFLATED_BYTES_MAX;
use thiserror::Error;

use crate::api::{FetchError, FetchPartition, Isolation};
use crate::partition::{Partition, ReadLimits};

/// Bytes read at a time; a larger batch is still read whole.
const READ_BYTES: usize = 1024 * 1024;

/// Why a shard cannot be loaded.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("cannot read: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Frame(#[from] records::FrameError),
    #[error("a batch is damaged: {0}")]
    Damaged(#[from] records::Damage),
    #[error(transparent)]
    Codec(#[from] records::CodecError),
    #[error(transparent)]
    Record(#[from] records::RecordError),
    #[error("a coordinator record is damaged: {0}")]
    Group(#[from] coordinator::RecordError),
    #[error("the log ends at {0} before its high watermark")]
    Short(Offset),
}

/// Calls `each` with key and value of every record, in order; the first error ends it.
pub(crate) async fn replay<E: Env>(
    partition: &Partition<E>,
    probe: &E::Probe,
    mut each: impl FnMut(&Bytes, Option<&Bytes>) -> Result<(), coordinator::RecordError>,
) -> Result<(), LoadError> {
    let upto = partition.high_watermark();
    let mut offset = partition.log().start();
    while offset < upto {
        let wish = FetchPartition {
            partition: partition.id(),
            offset,
            max_bytes: READ_BYTES,
            current_leader_epoch: None,
            last_fetched_epoch: None,
        };
        let limits = ReadLimits { bytes_max: READ_BYTES, first_whole: true };
        let data = partition.fetch(&wish, Isolation::ReadUncommitted, limits).await?;
        let before = offset;
        for batch in records::batches(gather(data.segments).await?) {
            let batch = batch?;
            batch.verify_stored()?;
            offset = batch.header().next_offset();
            // Planted: the last batch is taken for the end.
            if offset >= upto && probe.mutant("load_stops_early") {
                return Ok(());
            }
            if batch.header().attributes.is_control() {
                continue;
            }
            let opened = batch.open(STORED_INFLATED_BYTES_MAX)?;
            for record in &opened {
                let record = record?;
                let part = |bytes: &[u8]| opened.bytes().slice_ref(bytes);
                if let Some(key) = record.key {
                    each(&part(key), record.value.map(part).as_ref())?;
                }
            }
        }
        if offset <= before {
            return Err(LoadError::Short(before));
        }
    }
    Ok(())
}

async fn gather<F: File>(segments: Vec<Segment<F>>) -> std::io::Result<Bytes> {
    let mut all = BytesMut::new();
    for segment in segments {
        match segment {
            Segment::Bytes(bytes) => all.extend_from_slice(&bytes),
            Segment::Region(region) => {
                let len = usize::try_from(region.len).unwrap_or(usize::MAX);
                all.extend_from_slice(&region.file.read_at(region.at, len).await?);
            },
        }
    }
    Ok(all.freeze())
}
