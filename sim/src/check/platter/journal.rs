//! The journal of a log directory, read by its documented layout and without the product's decoder:
//! which segments count, how far, and which batches only the journal holds.
//!
//! Invariants: total over any bytes; what cannot be read ends the reading and adds nothing.

use std::collections::BTreeMap;
use std::path::Path;

use base::{PartitionId, PartitionIndex, ReplicaGen, TopicId, Uuid};

use super::{DATA_DIRS, View, bytes_of, list};
use crate::disk::Image;

const BLOCK: usize = 4096;

/// A log: partition and replica generation.
pub type LogKey = (PartitionId, ReplicaGen);

/// A segment that counts.
#[derive(Clone, Debug)]
pub struct Segment {
    pub base: i64,
    pub generation: u64,
    /// One past its last offset and its bytes, once nothing is added.
    pub closed: Option<(i64, usize)>,
}

impl Segment {
    /// The names of its two files.
    pub fn files(&self) -> [String; 2] {
        ["log", "env"].map(|kind| format!("{:020}-{}.{kind}", self.base, self.generation))
    }
}

/// Batches in the journal.
#[derive(Clone, Debug)]
pub struct Held {
    pub generation: u64,
    pub position: usize,
    pub bytes: Vec<u8>,
}

/// What counts of a log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub start: i64,
    /// Compaction has been through everything below; only there a log may have holes.
    pub cleaned: i64,
    pub segments: Vec<Segment>,
    pub held: Vec<Held>,
    /// Whether it may hold less than it was promised to.
    pub uncertain: bool,
    /// Offsets that were durable and are not what was written: the first, one past the last.
    pub faulty: Vec<(i64, i64)>,
}

/// Every log that exists, with the number of its directory, in order of the key.
pub fn logs(image: &Image, view: View) -> Vec<(usize, LogKey, Log)> {
    each(|root, logs| read(image, root, view, logs))
}

/// The same as the manifests alone have it, whatever the journal's files say.
pub fn logs_of_manifests(image: &Image, view: View) -> Vec<(usize, LogKey, Log)> {
    each(|root, logs| apply(logs, &manifest(image, root, view)?.state, true, true))
}

fn each(
    read: impl Fn(&Path, &mut BTreeMap<LogKey, Log>) -> Option<()>,
) -> Vec<(usize, LogKey, Log)> {
    let mut all = Vec::new();
    for (at, root) in DATA_DIRS.iter().enumerate() {
        let mut logs = BTreeMap::new();
        read(Path::new(root), &mut logs);
        all.extend(logs.into_iter().map(|(key, log)| (at, key, log)));
    }
    all.sort_by_key(|(at, key, _)| (*key, *at));
    all
}

/// The journal's state at one moment.
struct Manifest {
    /// That moment: a lap, and a group of it.
    lap: u64,
    group: u64,
    /// How many groups of older laps have batches that count.
    kept: BTreeMap<u64, u64>,
    state: Vec<u8>,
}

fn manifest(image: &Image, root: &Path, view: View) -> Option<Manifest> {
    let manifest = bytes_of(image, &root.join("manifest"), view)?;
    let (summed, crc) = manifest.split_at_checked(manifest.len().checked_sub(4)?)?;
    if !summed.starts_with(b"GRGMANIF") || crc32fast::hash(summed).to_le_bytes() != *crc {
        return None;
    }
    let mut body = Fields(summed.get(16..)?);
    body.take(16)?;
    let (lap, group) = (body.u64()?, body.u64()?);
    let mut kept = BTreeMap::new();
    for _ in 0..body.u32()? {
        let lap = body.u64()?;
        kept.insert(lap, body.u64()?);
    }
    Some(Manifest { lap, group, kept, state: body.0.to_vec() })
}

fn read(image: &Image, root: &Path, view: View, logs: &mut BTreeMap<LogKey, Log>) -> Option<()> {
    let Manifest { lap, group, kept, state } = manifest(image, root, view)?;
    apply(logs, &state, true, true)?;
    let files = files(image, root, view);
    for (lap_before, groups) in kept.iter().filter(|(kept, _)| **kept < lap) {
        let all = files.get(lap_before).map(|file| file.groups()).unwrap_or_default();
        for records in all.into_iter().take(usize::try_from(*groups).ok()?) {
            apply(logs, &records, false, true)?;
        }
    }
    for at in lap.. {
        let groups = files.get(&at)?.groups();
        let count = files.get(&(at + 1)).map_or(u64::MAX, |next| next.groups_before);
        for (number, records) in (0..count).zip(&groups) {
            let is_new = at > lap || number >= group;
            let held = is_new || kept.get(&at).is_some_and(|groups| number < *groups);
            apply(logs, records, is_new, held)?;
        }
    }
    Some(())
}

/// A journal file.
struct JournalFile {
    name: String,
    nonce: u64,
    groups_before: u64,
    bytes: Vec<u8>,
}

/// The files of a directory's journal by lap.
fn files(image: &Image, root: &Path, view: View) -> BTreeMap<u64, JournalFile> {
    let folder = root.join("journal");
    let mut files = BTreeMap::new();
    let mut names: Vec<String> = list(image, &folder, view).into_iter().map(|(n, _)| n).collect();
    // One whose header nobody can read may have a lap that was begun anew elsewhere.
    names.sort_by_key(|name| !image.is_damaged(&folder.join(name), 0..44));
    for name in names {
        let Some(bytes) = bytes_of(image, &folder.join(&name), view) else { continue };
        let Some((summed, rest)) = bytes.split_at_checked(40) else { continue };
        let sound = rest.starts_with(&crc32fast::hash(summed).to_le_bytes());
        let mut head = Fields(&summed[16..]);
        if let (true, true, Some(lap), Some(nonce), Some(groups_before)) =
            (summed.starts_with(b"GRGJRNL\0"), sound, head.u64(), head.u64(), head.u64())
        {
            let bytes = bytes.to_vec();
            files.insert(lap, JournalFile { name, nonce, groups_before, bytes });
        }
    }
    files
}

impl JournalFile {
    /// The records' bytes of every group, up to the first that is not whole.
    fn groups(&self) -> Vec<Vec<u8>> {
        self.groups_and_ends().into_iter().map(|(group, _)| group).collect()
    }

    /// The same, each with the position one past its last block.
    fn groups_and_ends(&self) -> Vec<(Vec<u8>, usize)> {
        let mut groups = Vec::new();
        let mut blocks = self.bytes.chunks_exact(BLOCK).skip(1);
        while let Some(group) = self.group(&mut blocks, u64::try_from(groups.len()).unwrap_or(0)) {
            groups.push((group, self.bytes.len() / BLOCK * BLOCK - blocks.len() * BLOCK));
        }
        groups
    }

    fn group<'a>(
        &self,
        blocks: &mut std::iter::Skip<std::slice::ChunksExact<'a, u8>>,
        group: u64,
    ) -> Option<Vec<u8>> {
        let mut records = Vec::new();
        let (mut at, mut count) = (0, 1);
        while at < count {
            let (summed, crc) = blocks.next()?.split_at(BLOCK - 4);
            let mut head = Fields(summed);
            let ours = head.u64()? == self.nonce && head.u64()? == group && head.u32()? == at;
            count = head.u32()?;
            let len = usize::try_from(head.u32()?).ok()?;
            // Another kind of block is the lap's last word.
            let ours = ours && head.u32()? == 0;
            if !ours || crc32fast::hash(summed).to_le_bytes() != *crc {
                return None;
            }
            records.extend_from_slice(summed.get(32..32_usize.checked_add(len)?)?);
            at += 1;
        }
        Some(records)
    }
}

/// Takes records in: changes of state, or batches, or both.
fn apply(
    logs: &mut BTreeMap<LogKey, Log>,
    records: &[u8],
    state: bool,
    batches: bool,
) -> Option<()> {
    let mut rest = Fields(records);
    while !rest.0.is_empty() {
        let kind = rest.take(1)?[0];
        let len = usize::try_from(rest.u32()?).ok()?;
        let mut body = Fields(rest.take(len)?);
        let topic = TopicId(Uuid(body.take(16)?.try_into().ok()?));
        let index = PartitionIndex(i32::try_from(body.u32()?).ok()?);
        let key = (PartitionId { topic, index }, ReplicaGen(body.u64()?));
        match kind {
            1 if state => drop(logs.insert(key, Log::default())),
            2 if state => drop(logs.remove(&key)),
            11 if batches => {
                let generation = body.u64()?;
                let position = usize::try_from(body.u32()?).ok()?;
                body.take(16)?;
                let bytes = body.0.to_vec();
                if let Some(log) = logs.get_mut(&key) {
                    log.held.push(Held { generation, position, bytes });
                }
            },
            _ if state => {
                if let Some(log) = logs.get_mut(&key) {
                    log.change(kind, &mut body)?;
                }
            },
            _ => {},
        }
    }
    Some(())
}

impl Log {
    fn change(&mut self, kind: u8, body: &mut Fields<'_>) -> Option<()> {
        match kind {
            4 => {
                let (base, generation) = (body.i64()?, body.u64()?);
                self.segments.push(Segment { base, generation, closed: None });
            },
            5 => {
                let (_, generation) = (body.i64()?, body.u64()?);
                let end = body.i64()?;
                let bytes = usize::try_from(body.u32()?).ok()?;
                let last = self.segments.last_mut().filter(|s| s.generation == generation)?;
                last.closed = Some((end, bytes));
                if end <= self.start {
                    self.segments.pop();
                }
            },
            6 => {
                let at = body.i64()?;
                self.cleaned = self.cleaned.min(at);
                self.segments.retain(|segment| segment.base < at);
                if let Some(last) = self.segments.last_mut()
                    && last.closed.is_some_and(|(end, _)| end > at)
                {
                    last.closed = None;
                }
                self.faulty.retain(|(from, _)| *from < at);
                self.faulty.iter_mut().for_each(|(_, to)| *to = at.min(*to));
            },
            7 => self.swap(body)?,
            17 => self.cleaned = self.cleaned.max(body.i64()?),
            8 => {
                let at = body.i64()?;
                self.start = self.start.max(at);
                self.segments.retain(|s| s.closed.is_none_or(|(end, _)| end > at));
            },
            12 => self.uncertain = true,
            13 => self.faulty.push((body.i64()?, body.i64()?)),
            14 => self.uncertain = false,
            15 => {
                let mended = (body.i64()?, body.i64()?);
                self.faulty.retain(|range| *range != mended);
            },
            _ => {},
        }
        Some(())
    }

    /// Whether the journal says that every record of a closed segment is damaged.
    pub fn tells_of_all(&self, segment: &Segment) -> bool {
        let from = segment.base.max(self.start);
        segment.closed.is_some_and(|(end, _)| self.told(from).is_some_and(|behind| behind >= end))
    }

    /// One past the damage that `offset` is in, as far as the journal tells of it.
    pub fn told(&self, offset: i64) -> Option<i64> {
        let holds = |(from, to): &&(i64, i64)| (*from..*to).contains(&offset);
        let mut at = self.faulty.iter().find(holds)?.1;
        while let Some((_, further)) = self.faulty.iter().find(|range| holds(range) && range.1 > at)
        {
            at = *further;
        }
        Some(at)
    }
}

/// Where damage of the journal is no torn write: in headers, and in groups with a later one behind
/// them. `newest`: whether the header of the newest lap counts.
pub fn protected(
    image: &Image,
    root: &Path,
    newest: bool,
) -> Vec<(String, Vec<std::ops::Range<u64>>)> {
    // What only the cache has may go, and then the group before it is the last.
    let files = files(image, root, View::Durable);
    let last = files.keys().next_back().copied();
    let block = u64::try_from(BLOCK).unwrap_or(0);
    let span = |(lap, file): (&u64, &JournalFile)| {
        let is_last = Some(*lap) == last;
        let ends: Vec<usize> = file.groups_and_ends().into_iter().map(|(_, end)| end).collect();
        let sure = ends.len().saturating_sub(usize::from(is_last));
        let end = sure.checked_sub(1).map_or(BLOCK, |at| ends[at]);
        let end = u64::try_from(end).unwrap_or(0);
        let mut within: Vec<_> = std::iter::once(block..end).collect();
        if newest || !is_last {
            within.push(0..block);
        }
        (file.name.clone(), within)
    };
    files.iter().map(span).collect()
}

impl Log {
    fn swap(&mut self, body: &mut Fields<'_>) -> Option<()> {
        for _ in 0..body.u32()? {
            let (_, generation) = (body.i64()?, body.u64()?);
            self.segments.retain(|segment| segment.generation != generation);
        }
        for _ in 0..body.u32()? {
            let (base, generation) = (body.i64()?, body.u64()?);
            let closed = Some((body.i64()?, usize::try_from(body.u32()?).ok()?));
            body.take(16)?;
            self.segments.push(Segment { base, generation, closed });
        }
        let start = self.start;
        self.segments.retain(|s| s.closed.is_none_or(|(end, _)| end > start));
        self.segments.sort_by_key(|segment| segment.base);
        Some(())
    }
}

/// Little-endian fields off the front of bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
}
