//! Where in a log directory damage can be told from what a crash leaves.
//!
//! Invariants: every place is durable and lies where the product could know: not in the last thing
//! it wrote, which a torn write explains as well, and not in bytes that no checksum covers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base::{PartitionId, Uuid};
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
        DirFile::Envelopes => ours().flat_map(|found| envelopes(&found)).collect(),
        DirFile::Coordinator => {
            let ours = coordinators(image, topic);
            let all = logs(image, View::Cache, |of| ours.contains(of)).into_values();
            all.flat_map(|found| durable(image, &found)).collect()
        },
        DirFile::OpenSegment => ours().flat_map(|found| durable(image, &found).pop()).collect(),
        DirFile::ClosedSegment => super::closed_segments(image, topic),
    }
}

/// The coordinators' logs: those whose first record has a key of theirs.
pub fn coordinators(image: &Image, topic: Uuid) -> BTreeSet<PartitionId> {
    let mut all = BTreeSet::new();
    for (of, found) in logs(image, View::Cache, |of| of.topic.0 != topic) {
        let mut is_one = false;
        super::walk(image, &found, View::Cache, |batch| {
            let set = batch.open(1 << 24).map_err(|error| error.to_string())?;
            let first = set.iter().next().and_then(Result::ok).and_then(|record| record.key);
            is_one |= first.is_some_and(|key| matches!(key, [0, 0..=2, ..]));
            Err("one is enough".to_owned())
        });
        if is_one {
            all.insert(of);
        }
    }
    all
}

pub(super) fn env_path(found: &Found, segment: &journal::Segment) -> PathBuf {
    let [_, name] = segment.files();
    Path::new(&found.folder).join(name)
}

fn envelopes(found: &Found) -> Vec<Place> {
    let paths = found.log.segments.iter().map(|segment| env_path(found, segment));
    paths.map(Place::whole).collect()
}

/// The segments of a log, as far as envelopes vouch for their bytes.
fn durable(image: &Image, found: &Found) -> Vec<Place> {
    let mut places = Vec::new();
    for segment in &found.log.segments {
        let mut place = place_of(image, found, segment);
        if segment.closed.is_none() {
            let slots =
                bytes_of(image, &env_path(found, segment), View::Durable).unwrap_or_default();
            let end = slots.chunks_exact(SLOT).next_back().map_or(0, run_end);
            let end = end.min(segment_bytes(image, found, segment, View::Durable).len());
            place.within = std::iter::once(0..u64::try_from(end).unwrap_or(0)).collect();
        }
        places.push(place);
    }
    places
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
    let mut paths = DATA_DIRS.iter().map(|dir| Path::new(dir).join("metadata/log"));
    let (path, bytes) =
        paths.find_map(|path| bytes_of(image, &path, View::Durable).map(|bytes| (path, bytes)))?;
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
