//! Reading a partition's log straight off a simulated disk.
//!
//! Owns: the way from a partition to its bytes, without the broker's help but by its documented
//! layout: the journal says which segments count and how far, and batches in it count as if they
//! were in their segment. Invariant: only what is whole from the log's first byte on counts, without
//! a hole but those that the journal says compaction may have made.

mod journal;
mod leaks;
mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use base::{PartitionId, PartitionIndex, ReplicaGen, TopicId, Uuid};
use bytes::Bytes;
use env::EntryKind;
use records::{BatchHeader, BatchView};

use super::RecordId;
use crate::disk::{Harmed, Image, Place};

pub(super) use journal::Log as KnownLog;
pub(super) use leaks::leaked;
pub(super) use places::{coordinators, places, stray_files};

/// Where the broker keeps its files: its log directories, as many of them as a plan asks for. Each is
/// on a device of its own.
pub const DATA_DIRS: &[&str] = &["/data", "/data-1", "/data-2", "/data-3"];

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
    /// Offsets of which the journal says that they are damaged, from and to.
    pub told: Vec<(i64, i64)>,
    /// Whether its directory failed, and nothing is served from it until the next start.
    pub out_of_service: bool,
}

impl DiskLog {
    /// The record at `offset`.
    pub fn at(&self, offset: i64) -> Option<RecordId> {
        let found = self.records.binary_search_by_key(&offset, |(at, _)| *at).ok()?;
        Some(self.records[found].1)
    }

    /// Whether a start has said that `offset` is damaged.
    pub fn is_told(&self, offset: i64) -> bool {
        self.told.iter().any(|(from, to)| (*from..*to).contains(&offset))
    }
}

fn list(image: &Image, dir: &Path, view: View) -> Vec<(String, EntryKind)> {
    match view {
        View::Durable => image.durable_list(dir),
        View::Cache => image.cached_list(dir),
    }
}

fn bytes_of(image: &Image, path: &Path, view: View) -> Option<Bytes> {
    let found = match view {
        View::Durable => image.durable_file(path),
        View::Cache => image.cached_file(path),
    };
    found.map(Bytes::copy_from_slice)
}

/// The current replica of each `wanted` partition.
pub(super) fn logs(
    image: &Image,
    view: View,
    wanted: impl Fn(&PartitionId) -> bool,
) -> BTreeMap<PartitionId, Found> {
    let mut found = BTreeMap::new();
    // In order of the generation, so that the newest one stays.
    for (dir, (of, replica_gen), log) in journal::logs(image, view) {
        if wanted(&of) {
            let folder = folder(dir, of, replica_gen);
            found.insert(of, Found { folder, dir, log });
        }
    }
    found
}

fn folder(dir: usize, of: PartitionId, replica_gen: ReplicaGen) -> String {
    format!("{}/{of}-{replica_gen}", DATA_DIRS[dir])
}

/// The directories of which a file of the journal was ever harmed.
pub(super) fn harmed_journals(image: &Image) -> BTreeSet<usize> {
    let journal = |dir: usize| Path::new(DATA_DIRS[dir]).join("journal");
    let is_harmed = |dir: &usize| image.harmed().any(|one| one.path.starts_with(journal(*dir)));
    (0..DATA_DIRS.len()).filter(is_harmed).collect()
}

/// A partition that two directories say they have, with both.
pub(super) fn in_two_places(image: &Image, view: View) -> Option<(PartitionId, usize, usize)> {
    let mut places = BTreeMap::new();
    for (dir, (of, _), _) in journal::logs(image, view) {
        if let Some(other) = places.insert(of, dir).filter(|other| *other != dir) {
            return Some((of, other, dir));
        }
    }
    None
}

/// A log and where its files are.
pub(super) struct Found {
    folder: String,
    /// In which of the directories.
    pub(super) dir: usize,
    pub(super) log: journal::Log,
}

impl Found {
    /// Up to where the log was compacted.
    pub(super) fn cleaned(&self) -> i64 {
        self.log.cleaned
    }

    /// Whether nothing has to be there between two offsets.
    fn may_be_hole(&self, from: i64, to: i64) -> bool {
        from < to && to <= self.log.cleaned
    }

    /// Whether a read from `offset` on comes to what begins at `base`, before anything else.
    fn is_next(&self, offset: i64, base: i64) -> bool {
        base <= offset || self.may_be_hole(offset, base)
    }

    /// Whether a range of offsets may be damaged: it lies within one segment, whose file is damaged or
    /// was lost.
    pub(super) fn may_be_damaged(&self, image: &Image, (from, to): (i64, i64)) -> bool {
        let segments = &self.log.segments;
        let behind = segments.partition_point(|segment| segment.base <= from);
        let Some(segment) = behind.checked_sub(1).map(|at| &segments[at]) else { return false };
        let end = segment.closed.map_or(i64::MAX, |(end, _)| end);
        let end = segments.get(behind).map_or(end, |next| next.base);
        to <= end && image.was_hurt(&self.path(segment))
    }

    /// What was ever done to the files of a partition, in whichever directory it was.
    pub(super) fn harms(image: &Image, of: PartitionId) -> impl Iterator<Item = &Harmed> {
        let ours = format!("{of}-");
        image.harmed().filter(move |harmed| {
            let folder = harmed.path.parent().and_then(Path::file_name);
            folder.is_some_and(|name| name.to_string_lossy().starts_with(&ours))
        })
    }

    fn path(&self, segment: &journal::Segment) -> PathBuf {
        let [name, _] = segment.files();
        Path::new(&self.folder).join(name)
    }
}

/// A segment that the journal names and whose files are not there, though the journal does not say
/// that its records are damaged; `None` if all are. `untold`: damage took effect, and no start has
/// come far enough to tell more of it than that a log is uncertain.
pub fn missing_segment(image: &Image, view: View, untold: bool) -> Option<String> {
    for (dir, (of, replica_gen), log) in journal::logs(image, view) {
        let folder = folder(dir, of, replica_gen);
        let named = log.segments.iter().filter(|segment| !log.tells_of_all(segment));
        let files = named.flat_map(|segment| {
            let spared = segment.closed.is_some() && log.uncertain;
            let [bytes, index] = segment.files();
            [Some(bytes), (!spared).then_some(index)].into_iter().flatten()
        });
        for name in files {
            if untold && log.uncertain {
                continue;
            }
            let path = Path::new(&folder).join(&name);
            if bytes_of(image, &path, view).is_none() {
                return Some(format!("{folder}/{name}"));
            }
        }
    }
    None
}

/// Whether a segment is gone of which the journal says that it is damaged as a whole.
pub(super) fn told_segment_is_gone(image: &Image) -> bool {
    journal::logs(image, View::Cache).into_iter().any(|(dir, (of, replica_gen), log)| {
        let folder = folder(dir, of, replica_gen);
        let mut told = log.segments.iter().filter(|segment| log.tells_of_all(segment));
        told.any(|segment| {
            let [name, _] = segment.files();
            let path = Path::new(&folder).join(name);
            image.is_lost(&path) || bytes_of(image, &path, View::Cache).is_none()
        })
    })
}

/// Reads the log of a partition as far as it is whole. `None` if there is none.
pub fn read_log(image: &Image, topic: Uuid, partition: i32, view: View) -> Option<DiskLog> {
    let wanted = PartitionId { topic: TopicId(topic), index: PartitionIndex(partition) };
    let found = logs(image, view, |of| *of == wanted).remove(&wanted)?;
    let mut records = Vec::new();
    let (end, stopped) = walk(image, &found, view, |batch| {
        read_batch(batch, batch.header().base_offset.0, &mut records)
    });
    let out_of_service = image.is_out_of_service(found.dir);
    Some(DiskLog { records, end, stopped, told: found.log.faulty, out_of_service })
}

/// Up to where the manifests and envelopes vouch for each log of a topic, in files that are sound:
/// what is served whatever becomes of the journal.
pub(super) fn vouched(image: &Image, topic: Uuid) -> BTreeMap<PartitionId, i64> {
    let mut all = BTreeMap::new();
    for (dir, (of, replica_gen), log) in journal::logs_of_manifests(image, View::Durable) {
        let manifest = Path::new(DATA_DIRS[dir]).join("manifest");
        if of.topic.0 == topic && !image.was_hurt(&manifest) {
            let found = Found { folder: folder(dir, of, replica_gen), dir, log };
            all.insert(of, vouched_end(image, &found));
        }
    }
    all
}

fn vouched_end(image: &Image, found: &Found) -> i64 {
    let mut end = found.log.segments.first().map_or(found.log.start, |first| first.base);
    for segment in &found.log.segments {
        let path = found.path(segment);
        let Some(bytes) = bytes_of(image, &path, View::Durable) else { break };
        if segment.base != end || image.was_hurt(&path) {
            break;
        }
        let len = match segment.closed {
            Some((_, len)) => len,
            None if image.was_hurt(&places::env_path(found, segment)) => 0,
            None => places::vouched_for(image, found, segment),
        };
        if len > bytes.len() {
            break;
        }
        let walked = walk_segment(found, bytes.slice(..len), &mut end, &mut |_| Ok(()));
        if walked.is_err() || segment.closed.is_none() {
            break;
        }
    }
    end
}

/// Where a log ends, as far as it is whole.
pub(super) fn read_end(image: &Image, of: PartitionId, view: View) -> Option<i64> {
    let found = logs(image, view, |found| *found == of).remove(&of)?;
    Some(walk(image, &found, view, |_| Ok(())).0)
}

/// The files of all segments of a topic that are not written any more, and their bytes that no
/// checksum covers.
pub(super) fn closed_segments(image: &Image, topic: Uuid) -> Vec<Place> {
    let mut files = Vec::new();
    for found in logs(image, View::Cache, |of| of.topic.0 == topic).into_values() {
        for segment in found.log.segments.iter().filter(|segment| segment.closed.is_some()) {
            files.push(place_of(image, &found, segment));
        }
    }
    files
}

/// A segment's file, sparing the bytes that no checksum covers.
fn place_of(image: &Image, found: &Found, segment: &journal::Segment) -> Place {
    let mut spared = BTreeSet::new();
    let mut at = 0;
    for batch in records::batches(segment_bytes(image, found, segment, View::Cache)) {
        let Ok(batch) = batch else { break };
        spared.extend((at..at + 8).chain(at + 12..at + 16));
        at += u64::try_from(batch.bytes().len()).unwrap_or(0);
    }
    Place { spared, ..Place::whole(found.path(segment)) }
}

/// The segments of a log as they lie in the page cache.
pub(super) struct Extents {
    /// Oldest first.
    pub(super) segments: Vec<Extent>,
    /// Up to where the log was compacted.
    pub(super) cleaned: i64,
    /// Whether its directory is in service, and nothing of it is or was damaged.
    pub(super) is_sound: bool,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) base: i64,
    /// One past its last offset and its bytes, once nothing is added.
    pub(super) closed: Option<(i64, usize)>,
    /// The latest time in it, if it has a batch.
    pub(super) latest: Option<i64>,
}

/// Those of a partition, if it has a log.
pub(super) fn extents(image: &Image, of: PartitionId) -> Option<Extents> {
    let found = logs(image, View::Cache, |found| *found == of).remove(&of)?;
    let extent = |segment: &journal::Segment| {
        let batches = records::batches(segment_bytes(image, &found, segment, View::Cache));
        let times = batches.map_while(Result::ok).map(|batch| batch.header().max_timestamp.0);
        Extent { base: segment.base, closed: segment.closed, latest: times.max() }
    };
    let segments = found.log.segments.iter().map(extent).collect();
    let is_sound = !image.is_out_of_service(found.dir) && !is_damaged(image, of);
    Some(Extents { segments, cleaned: found.cleaned(), is_sound })
}

/// Whether any segment of a partition is damaged, or was before it was written to again.
pub(super) fn is_damaged(image: &Image, of: PartitionId) -> bool {
    let Some(found) = logs(image, View::Cache, |found| *found == of).remove(&of) else {
        return false;
    };
    let told = found.log.uncertain || !found.log.faulty.is_empty();
    let mut paths = found.log.segments.iter().map(|segment| found.path(segment));
    told || paths.any(|path| image.was_hurt(&path))
}

/// The offset behind the batch that holds `offset`, or is the next one behind a hole there, if that
/// batch or one before it in its segment is damaged: what a broker cannot read its way through.
/// Without its envelopes it has to read its way through the whole segment first. Behind the segment,
/// if its file is lost.
pub(super) fn damage_at(image: &Image, of: PartitionId, offset: i64) -> Option<i64> {
    let found = logs(image, View::Cache, |found| *found == of).remove(&of)?;
    if let Some(behind) = found.log.told(offset) {
        return Some(behind);
    }
    for segment in &found.log.segments {
        let path = found.path(segment);
        if let Some((end, _)) = segment.closed.filter(|(end, _)| offset < *end)
            && image.is_lost(&path)
        {
            return found.is_next(offset, segment.base).then_some(end);
        }
        let (mut at, all) = (0, 0..u64::MAX);
        let blind = image.is_damaged(&places::env_path(&found, segment), all.clone())
            || places::lacks_index(image, &found, segment);
        let mut damaged = blind && image.is_damaged(&path, all);
        for batch in records::batches(segment_bytes(image, &found, segment, View::Cache)) {
            let batch = batch.ok()?;
            let end = at + u64::try_from(batch.bytes().len()).ok()?;
            damaged |= image.is_damaged(&path, at..end);
            at = end;
            let next = batch.header().next_offset().0;
            if offset < next {
                let is_next = found.is_next(offset, batch.header().base_offset.0);
                return (damaged && is_next).then_some(next);
            }
        }
    }
    None
}

/// Offsets of batches that do not tell a start who wrote them: those that are damaged, and those behind a
/// damaged header in their segment, to which a broker does not find its way.
pub(super) fn untold_producers(image: &Image, of: PartitionId) -> Vec<Range<i64>> {
    let mut untold = Vec::new();
    for found in logs(image, View::Cache, |found| *found == of).into_values() {
        for segment in &found.log.segments {
            let path = found.path(segment);
            let (mut at, mut is_behind) = (0, false);
            for batch in records::batches(segment_bytes(image, &found, segment, View::Cache)) {
                let Ok(batch) = batch else { break };
                let end = at + u64::try_from(batch.bytes().len()).unwrap_or(u64::MAX);
                let header = batch.header();
                if is_behind || image.is_damaged(&path, at..end) {
                    untold.push(header.base_offset.0..header.next_offset().0);
                }
                let header_len = u64::try_from(BatchHeader::LEN).unwrap_or(0);
                is_behind |= image.is_damaged(&path, at..at + header_len);
                at = end;
            }
        }
    }
    untold
}

/// Shows `each` batch of a log, as far as it is whole. Returns the offset after the last one, and
/// why it went no further than that if there were more bytes.
pub(super) fn walk(
    image: &Image,
    found: &Found,
    view: View,
    mut each: impl FnMut(&BatchView) -> Result<(), String>,
) -> (i64, Option<String>) {
    let segments = &found.log.segments;
    // Where the log was let go of, it begins with a whole segment, or with nothing.
    let mut end = match segments.first() {
        Some(first) if found.log.start > 0 => first.base,
        Some(_) => 0,
        None => found.log.start,
    };
    for (at, segment) in segments.iter().enumerate() {
        if found.may_be_hole(end, segment.base) {
            end = segment.base;
        }
        if segment.base != end {
            let base = segment.base;
            let why = format!("a segment begins at {base}, the one before ends at {end}");
            return (end, Some(why));
        }
        let [name, _] = segment.files();
        let bytes = segment_bytes(image, found, segment, view);
        let walked = walk_segment(found, bytes, &mut end, &mut each);
        let closed_at = segment.closed.map(|(at, _)| at);
        if let (Ok(()), Some(at)) = (&walked, closed_at)
            && found.may_be_hole(end, at)
        {
            end = at;
        }
        // What the journal says is damaged need not be there.
        let (walked, closed_at) = match found.log.told(end) {
            Some(behind) => {
                end = behind.min(closed_at.unwrap_or(behind));
                (Ok(()), None)
            },
            None => (walked, closed_at),
        };
        let walked = match (walked, closed_at) {
            (Ok(()), Some(at)) if at != end => Err(format!("it was closed at {at}, not {end}")),
            (walked, _) => walked,
        };
        if let Err(why) = walked {
            let last = at + 1 == segments.len();
            let kind = if last { "the last segment" } else { "a closed segment" };
            return (end, Some(format!("{kind}, {name}: {why}")));
        }
    }
    (end, None)
}

/// The bytes of a segment that count: of its file, and what the journal holds of it.
fn segment_bytes(image: &Image, found: &Found, segment: &journal::Segment, view: View) -> Bytes {
    let bytes = bytes_of(image, &found.path(segment), view).unwrap_or_default();
    if let Some((_, len)) = segment.closed {
        return bytes.slice(..len.min(bytes.len()));
    }
    let mut bytes = bytes.to_vec();
    for held in found.log.held.iter().filter(|held| held.generation == segment.generation) {
        let end = held.position + held.bytes.len();
        if held.position <= bytes.len() {
            bytes.resize(bytes.len().max(end), 0);
            bytes[held.position..end].copy_from_slice(&held.bytes);
        }
    }
    bytes.into()
}

fn walk_segment(
    found: &Found,
    bytes: Bytes,
    end: &mut i64,
    each: &mut impl FnMut(&BatchView) -> Result<(), String>,
) -> Result<(), String> {
    for batch in records::batches(bytes) {
        let batch = batch.map_err(|error| error.to_string())?;
        batch.verify_crc().map_err(|error| error.to_string())?;
        let base = batch.header().base_offset.0;
        if base != *end && !found.may_be_hole(*end, base) {
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
