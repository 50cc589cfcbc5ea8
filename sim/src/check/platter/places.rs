//! Where in a log directory damage can be told from what a crash leaves.
//!
//! Invariants: every place is durable and lies where the product could know: not in the last thing
//! it wrote, which a torn write explains as well, and not in bytes that no checksum covers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base::{PartitionId, Uuid};
use bytes::Bytes;
use env::EntryKind;

use super::{DATA_DIRS, Found, View, bytes_of, journal, list, logs, place_of, segment_bytes};
use crate::disk::{Image, Place};
use crate::fault::DirFile;

/// Bytes of an envelope; where its run begins, and how long that is.
const SLOT: usize = 128;
const POSITION: usize = 72;
const LENGTH: usize = 76;

/// Files of a kind, and where each may be damaged. `topic` is everybody's. `unprotected`: also where
/// damage is known to go unnoticed.
pub fn places(image: &Image, topic: Uuid, file: DirFile, unprotected: bool) -> Vec<Place> {
    let in_dir = |name: &str| {
        let each = DATA_DIRS.iter().map(|dir| Path::new(dir).join(name));
        let there = each.filter(|path| bytes_of(image, path, View::Cache).is_some());
        there.map(Place::whole).collect::<Vec<_>>()
    };
    let ours = || logs(image, View::Cache, |of| of.topic.0 == topic).into_values();
    match file {
        DirFile::Journal => {
            let of = |dir: &&str| {
                let root = Path::new(dir);
                let folder = root.join("journal");
                let each = journal::protected(image, root, unprotected).into_iter();
                each.map(move |(name, within)| Place { within, ..Place::whole(folder.join(name)) })
            };
            DATA_DIRS.iter().flat_map(of).collect()
        },
        DirFile::Manifest => in_dir("manifest"),
        DirFile::Seal => in_dir("seal"),
        DirFile::Starts => in_dir("starts"),
        DirFile::Identity => in_dir("identity"),
        DirFile::Metadata => metadata(image, unprotected).into_iter().collect(),
        DirFile::Producers => {
            ours().map(|found| Place::whole(Path::new(&found.folder).join("producers"))).collect()
        },
        DirFile::Envelopes => ours().flat_map(|found| envelopes(image, &found)).collect(),
        DirFile::Coordinator => {
            let ours = coordinators(image, topic);
            let all = logs(image, View::Cache, |of| ours.contains(of)).into_values();
            all.flat_map(|found| durable(image, &found)).collect()
        },
        DirFile::OpenSegment => ours().flat_map(|found| durable(image, &found).pop()).collect(),
        DirFile::ClosedSegment => super::closed_segments(image, topic),
    }
}

/// The coordinators' logs: those of the topic that the metadata log has under their name. Their first
/// record may be lost, or not there yet. `topic` is everybody's.
pub fn coordinators(image: &Image, topic: Uuid) -> BTreeSet<PartitionId> {
    let name = "__consumer_offsets";
    let (_, log) = metadata_log(image, View::Cache).unwrap_or_default();
    let theirs = topic_named(&log, name).filter(|theirs| *theirs != topic);
    logs(image, View::Cache, |of| Some(of.topic.0) == theirs).into_keys().collect()
}

/// The topic that was created under a name of less than 128 bytes: in the record of it the name
/// follows the id.
fn topic_named(log: &[u8], name: &str) -> Option<Uuid> {
    const NAME: u8 = 0x12;
    let field = [&[NAME, u8::try_from(name.len()).ok()?], name.as_bytes()].concat();
    let at = log.windows(field.len()).position(|bytes| bytes == field)?;
    Some(Uuid(*log[..at].last_chunk()?))
}

fn metadata_log(image: &Image, view: View) -> Option<(PathBuf, Bytes)> {
    let mut paths = DATA_DIRS.iter().map(|dir| Path::new(dir).join("metadata/log"));
    paths.find_map(|path| bytes_of(image, &path, view).map(|bytes| (path, bytes)))
}

pub(super) fn env_path(found: &Found, segment: &journal::Segment) -> PathBuf {
    let [_, name] = segment.files();
    Path::new(&found.folder).join(name)
}

/// What vouches for bytes that are damaged themselves is left alone: with both, the end of a log
/// looks like a torn write.
fn envelopes(image: &Image, found: &Found) -> Vec<Place> {
    let sound = found.log.segments.iter().filter(|segment| !image.was_hurt(&found.path(segment)));
    sound.map(|segment| Place::whole(env_path(found, segment))).collect()
}

/// The segments of a log, as far as sound envelopes vouch for their bytes.
fn durable(image: &Image, found: &Found) -> Vec<Place> {
    let mut places = Vec::new();
    for segment in &found.log.segments {
        let mut place = place_of(image, found, segment);
        if segment.closed.is_none() && image.was_hurt(&env_path(found, segment)) {
            continue;
        }
        if segment.closed.is_none() {
            let end = vouched_for(image, found, segment);
            let end = end.min(segment_bytes(image, found, segment, View::Durable).len());
            place.within = std::iter::once(0..u64::try_from(end).unwrap_or(0)).collect();
        }
        places.push(place);
    }
    places
}

/// How many bytes of a segment its envelopes vouch for.
pub(super) fn vouched_for(image: &Image, found: &Found, segment: &journal::Segment) -> usize {
    let slots = bytes_of(image, &env_path(found, segment), View::Durable).unwrap_or_default();
    slots.chunks_exact(SLOT).next_back().map_or(0, run_end)
}

/// Whether the envelopes of a closed segment do not reach its end: who reads from it has to go through
/// all of it first.
pub(super) fn lacks_index(image: &Image, found: &Found, segment: &journal::Segment) -> bool {
    let slots = bytes_of(image, &env_path(found, segment), View::Cache).unwrap_or_default();
    let covered = slots.chunks_exact(SLOT).next_back().map_or(0, run_end);
    segment.closed.is_some_and(|(_, len)| covered < len)
}

fn run_end(slot: &[u8]) -> usize {
    let field = |at: usize| {
        let bytes = slot[at..].first_chunk::<4>().copied().unwrap_or_default();
        usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
    };
    field(POSITION).saturating_add(field(LENGTH))
}

/// The metadata log up to its last entry, which may be torn; after a clean stop all of it.
fn metadata(image: &Image, unprotected: bool) -> Option<Place> {
    const HEADER: usize = 32;
    const ENTRY_HEADER: usize = 16;
    let (path, bytes) = metadata_log(image, View::Durable)?;
    let field = |at: usize| {
        let bytes = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let mut last = HEADER.checked_add(field(12)?)?;
    let mut next = last;
    while let Some(end) =
        field(next).and_then(|len| next.checked_add(ENTRY_HEADER)?.checked_add(len))
        && end <= bytes.len()
    {
        (last, next) = (next, end);
    }
    let seal = path.parent().and_then(Path::parent).map(|home| home.join("seal"));
    let is_sealed = seal.is_some_and(|seal| bytes_of(image, &seal, View::Durable).is_some());
    let end = if unprotected || is_sealed { u64::MAX } else { u64::try_from(last).unwrap_or(0) };
    let within = std::iter::once(0..end).collect();
    Some(Place { within, ..Place::whole(path) })
}

/// Every file but one.
pub fn stray_files(image: &Image, but: &Path) -> Vec<Place> {
    let mut files = Vec::new();
    let mut open: Vec<PathBuf> = DATA_DIRS.iter().rev().map(PathBuf::from).collect();
    while let Some(folder) = open.pop() {
        for (name, kind) in list(image, &folder, View::Cache) {
            let path = folder.join(name);
            match kind {
                EntryKind::Dir => open.push(path),
                EntryKind::File if path != but => files.push(Place::whole(path)),
                EntryKind::File => {},
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coordinators_topic_is_known_by_its_name_in_the_metadata_log() {
        let record = |id, name: &[u8]| {
            let length = u8::try_from(name.len()).unwrap();
            [&[0x1a, 38, 0x0a, 16][..], &[id; 16], &[0x12, length], name].concat()
        };
        let theirs = record(7, b"__consumer_offsets");
        let log = [record(3, b"work"), record(4, b"__consumer_offset"), theirs.clone()].concat();

        assert_eq!(topic_named(&log, "__consumer_offsets"), Some(Uuid([7; 16])));
        assert_eq!(topic_named(&log[..log.len() - 1], "__consumer_offsets"), None);
        assert_eq!(topic_named(&theirs[5..], "__consumer_offsets"), None, "no whole id");
    }
}
