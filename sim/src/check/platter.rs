//! Reading a partition's log straight off a simulated disk.
//!
//! Owns: the way from a partition to its bytes, without the broker's help but by its documented
//! layout. Invariant: only what is contiguous and whole from the log's first byte on counts.

use std::path::{Path, PathBuf};

use base::{PartitionId, PartitionIndex, TopicId, Uuid};
use bytes::Bytes;
use env::EntryKind;
use records::BatchView;
use storage::names::{DELETED, SegmentName, parse_log_folder};

use super::RecordId;
use crate::disk::Image;

/// Where the broker keeps its files.
pub const DATA_DIR: &str = "/data";

/// Which of a disk's two truths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// What a process reads.
    Cache,
    /// What is left if the power goes out and everything unsynced is lost.
    Durable,
}

/// What a partition's log holds.
#[derive(Clone, Debug, Default)]
pub struct DiskLog {
    /// Offset and number of each record, in order.
    pub records: Vec<(i64, RecordId)>,
    /// One past the last record.
    pub end: i64,
    /// Why reading stopped before the last byte, if it did.
    pub stopped: Option<String>,
}

impl DiskLog {
    /// The record at `offset`.
    pub fn at(&self, offset: i64) -> Option<RecordId> {
        let found = self.records.binary_search_by_key(&offset, |(at, _)| *at).ok()?;
        Some(self.records[found].1)
    }
}

fn list(image: &Image, dir: &Path, view: View) -> Vec<(String, EntryKind)> {
    match view {
        View::Durable => image.durable_list(dir),
        View::Cache => {
            let entries = image.list(dir).unwrap_or_default();
            entries.into_iter().map(|entry| (entry.name, entry.kind)).collect()
        },
    }
}

fn bytes_of(image: &Image, path: &Path, view: View) -> Option<Bytes> {
    let found = match view {
        View::Durable => image.durable_file(path),
        View::Cache => image.cached_file(path),
    };
    found.map(Bytes::copy_from_slice)
}

/// The folder of the partition's current replica.
fn folder(image: &Image, topic: Uuid, partition: i32, view: View) -> Option<PathBuf> {
    let wanted = PartitionId { topic: TopicId(topic), index: PartitionIndex(partition) };
    let root = Path::new(DATA_DIR);
    let found = list(image, root, view).into_iter().filter_map(|(name, _)| {
        let (of, replica_gen) = parse_log_folder(&name)?;
        let path = root.join(&name);
        let deleted = list(image, &path, view).iter().any(|(name, _)| name == DELETED);
        (of == wanted && !deleted).then_some((replica_gen, path))
    });
    found.max().map(|(_, path)| path)
}

/// Reads the log of a partition as far as it is whole. `None` if there is no folder for it.
pub fn read_log(image: &Image, topic: Uuid, partition: i32, view: View) -> Option<DiskLog> {
    let folder = folder(image, topic, partition, view)?;
    let mut segments: Vec<SegmentName> = list(image, &folder, view)
        .into_iter()
        .filter_map(|(name, _)| SegmentName::parse(&name))
        .filter_map(|(segment, is_envelopes)| (!is_envelopes).then_some(segment))
        .collect();
    segments.sort_unstable();
    let mut log = DiskLog::default();
    for (at, segment) in segments.iter().enumerate() {
        if segment.base.0 != log.end {
            let (base, end) = (segment.base.0, log.end);
            log.stopped = Some(format!("a segment begins at {base}, the one before ends at {end}"));
            break;
        }
        let bytes = bytes_of(image, &folder.join(segment.log()), view).unwrap_or_default();
        if let Err(why) = read_segment(bytes, &mut log) {
            let last = at + 1 == segments.len();
            let kind = if last { "the last segment" } else { "a closed segment" };
            log.stopped = Some(format!("{kind}, {}: {why}", segment.log()));
            break;
        }
    }
    Some(log)
}

fn read_segment(bytes: Bytes, log: &mut DiskLog) -> Result<(), String> {
    for batch in records::batches(bytes) {
        let batch = batch.map_err(|error| error.to_string())?;
        read_batch(&batch, log.end, &mut log.records)?;
        log.end = batch.header().next_offset().0;
    }
    Ok(())
}

/// Adds the records of a batch that begins at `expected`.
pub fn read_batch(
    batch: &BatchView,
    expected: i64,
    into: &mut Vec<(i64, RecordId)>,
) -> Result<(), String> {
    batch.verify_crc().map_err(|error| error.to_string())?;
    let base = batch.header().base_offset.0;
    if base != expected {
        return Err(format!("a batch begins at {base}, not at {expected}"));
    }
    let set = batch.open(1 << 24).map_err(|error| error.to_string())?;
    for record in set.iter() {
        let record = record.map_err(|error| error.to_string())?;
        let id = record.value.and_then(RecordId::from_value);
        into.push((record.offset.0, id.ok_or("a record that no client wrote")?));
    }
    Ok(())
}
