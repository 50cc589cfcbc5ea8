//! Reading a partition's log straight off a simulated disk.
//!
//! Owns: the way from a partition to its bytes, without the broker's help but by its documented
//! layout. Invariant: only what is contiguous and whole from the log's first byte on counts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use base::{PartitionId, PartitionIndex, ReplicaGen, TopicId, Uuid};
use bytes::Bytes;
use env::EntryKind;
use records::BatchView;
use storage::names::{DELETED, SegmentName, parse_log_folder};

use super::RecordId;
use crate::disk::{Image, Place};

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

/// The folder of the current replica of each `wanted` partition.
pub(super) fn folders(
    image: &Image,
    view: View,
    wanted: impl Fn(&PartitionId) -> bool,
) -> BTreeMap<PartitionId, PathBuf> {
    let root = Path::new(DATA_DIR);
    let mut found = BTreeMap::<PartitionId, (ReplicaGen, PathBuf)>::new();
    for (name, _) in list(image, root, view) {
        let Some((of, replica_gen)) = parse_log_folder(&name) else { continue };
        let path = root.join(&name);
        if !wanted(&of) || list(image, &path, view).iter().any(|(name, _)| name == DELETED) {
            continue;
        }
        let newest = found.entry(of).or_insert_with(|| (replica_gen, path.clone()));
        if replica_gen > newest.0 {
            *newest = (replica_gen, path);
        }
    }
    found.into_iter().map(|(of, (_, path))| (of, path)).collect()
}

/// Reads the log of a partition as far as it is whole. `None` if there is no folder for it.
pub fn read_log(image: &Image, topic: Uuid, partition: i32, view: View) -> Option<DiskLog> {
    let wanted = PartitionId { topic: TopicId(topic), index: PartitionIndex(partition) };
    let folder = folders(image, view, |of| *of == wanted).remove(&wanted)?;
    let mut records = Vec::new();
    let (end, stopped) = walk(image, &folder, view, |batch| {
        read_batch(batch, batch.header().base_offset.0, &mut records)
    });
    Some(DiskLog { records, end, stopped })
}

/// The segments in `folder`, oldest first.
fn segments_in(image: &Image, folder: &Path, view: View) -> Vec<SegmentName> {
    let mut segments: Vec<SegmentName> = list(image, folder, view)
        .into_iter()
        .filter_map(|(name, _)| SegmentName::parse(&name))
        .filter_map(|(segment, is_envelopes)| (!is_envelopes).then_some(segment))
        .collect();
    segments.sort_unstable();
    segments
}

/// The files of all segments of a topic that are not written any more, and their bytes that no
/// checksum covers.
pub(super) fn closed_segments(image: &Image, topic: Uuid) -> Vec<Place> {
    let mut files = Vec::new();
    for folder in folders(image, View::Cache, |of| of.topic.0 == topic).into_values() {
        let mut segments = segments_in(image, &folder, View::Cache);
        segments.pop();
        for path in segments.iter().map(|segment| folder.join(segment.log())) {
            let bytes = bytes_of(image, &path, View::Cache).unwrap_or_default();
            let mut uncovered = BTreeSet::new();
            let mut at = 0;
            for batch in records::batches(bytes) {
                let Ok(batch) = batch else { break };
                uncovered.extend((at..at + 8).chain(at + 12..at + 16));
                at += u64::try_from(batch.bytes().len()).unwrap_or(0);
            }
            files.push((path, uncovered));
        }
    }
    files
}

/// Whether any segment of a partition is damaged.
pub(super) fn is_damaged(image: &Image, of: PartitionId) -> bool {
    let Some(folder) = folders(image, View::Cache, |found| *found == of).remove(&of) else {
        return false;
    };
    let segments = segments_in(image, &folder, View::Cache);
    segments.iter().any(|segment| image.is_damaged(&folder.join(segment.log()), 0..u64::MAX))
}

/// The offset behind the batch that holds `offset`, if that batch or one before it in its segment
/// is damaged: what a broker cannot read its way through.
pub(super) fn damage_at(image: &Image, of: PartitionId, offset: i64) -> Option<i64> {
    let folder = folders(image, View::Cache, |found| *found == of).remove(&of)?;
    for segment in segments_in(image, &folder, View::Cache) {
        let path = folder.join(segment.log());
        let (mut at, mut damaged) = (0, false);
        for batch in records::batches(bytes_of(image, &path, View::Cache)?) {
            let batch = batch.ok()?;
            let end = at + u64::try_from(batch.bytes().len()).ok()?;
            damaged |= image.is_damaged(&path, at..end);
            at = end;
            let next = batch.header().next_offset().0;
            if (batch.header().base_offset.0..next).contains(&offset) {
                return damaged.then_some(next);
            }
        }
    }
    None
}

/// Shows `each` batch of the log in `folder`, as far as it is whole. Returns the offset after the
/// last one, and why it went no further than that if there were more bytes.
pub(super) fn walk(
    image: &Image,
    folder: &Path,
    view: View,
    mut each: impl FnMut(&BatchView) -> Result<(), String>,
) -> (i64, Option<String>) {
    let segments = segments_in(image, folder, view);
    let mut end = 0;
    for (at, segment) in segments.iter().enumerate() {
        let base = segment.base.0;
        if base != end {
            let why = format!("a segment begins at {base}, the one before ends at {end}");
            return (end, Some(why));
        }
        let bytes = bytes_of(image, &folder.join(segment.log()), view).unwrap_or_default();
        if let Err(why) = walk_segment(bytes, &mut end, &mut each) {
            let last = at + 1 == segments.len();
            let kind = if last { "the last segment" } else { "a closed segment" };
            return (end, Some(format!("{kind}, {}: {why}", segment.log())));
        }
    }
    (end, None)
}

fn walk_segment(
    bytes: Bytes,
    end: &mut i64,
    each: &mut impl FnMut(&BatchView) -> Result<(), String>,
) -> Result<(), String> {
    for batch in records::batches(bytes) {
        let batch = batch.map_err(|error| error.to_string())?;
        batch.verify_crc().map_err(|error| error.to_string())?;
        let base = batch.header().base_offset.0;
        if base != *end {
            return Err(format!("a batch begins at {base}, not at {end}"));
        }
        each(&batch)?;
        *end = batch.header().next_offset().0;
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
