//! Reading the journal back: manifest, then groups in order.
//!
//! Invariants: changes nothing; a bad group with a later one of its lap behind it is corruption,
//! without one it is the last group, torn and never acknowledged; a lap that says it was continued,
//! without the next one, is corruption, and so are two files of a lap that is needed; of a file no more than one group and one window of blocks is
//! in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::Path;

use base::{Offset, SegGen};
use bytes::Bytes;
use env::{Access, Disk, EntryKind, Env, File};

use super::PLACE_BYTES;
use super::block::{BLOCK, JournalHeader, decode_block, decode_journal_header};
use super::manifest::{KeptLap, Manifest};
use super::record::{Change, JournalBatch, Record, decode_records};
use super::state::JournalState;
use crate::dir::Found;

/// Blocks read at once.
const WINDOW: usize = 16;

/// A file of the journal.
pub(crate) struct JournalFile<F> {
    pub(crate) number: u32,
    pub(crate) file: F,
    pub(crate) header: Option<JournalHeader>,
}

/// How the journal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalEnd {
    /// After a whole group.
    Whole,
    /// In a group that was never acknowledged.
    Torn,
    /// Before a group that was durable and cannot be read.
    Corrupt,
}

/// What the journal says.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Everything up to its end.
    pub state: JournalState,
    /// Batches whose segment may not be durable, by log, in order.
    pub batches: BTreeMap<Found, Vec<JournalBatch>>,
    /// How it ends.
    pub end: JournalEnd,
    /// Groups since the manifest.
    pub groups: u64,
    /// The last lap, and how many of its groups count.
    pub last: KeptLap,
    /// Which batches each lap holds: per log, one past the last offset.
    pub(crate) needs: BTreeMap<u64, BTreeMap<Found, Offset>>,
    /// Groups of each lap that was read.
    pub(crate) lap_groups: BTreeMap<u64, u64>,
    /// Where the last group lies: its file, its first byte, one past its last.
    pub(crate) last_group: Option<(u32, Range<u64>)>,
}

/// The files of the journal in `folder`, by number, and the names that are not ours.
pub(crate) async fn list_files<E: Env>(
    env: &E,
    folder: &Path,
    access: Access,
) -> io::Result<(Vec<JournalFile<<E::Disk as Disk>::File>>, Vec<String>)> {
    let (mut files, mut unknown) = (Vec::new(), Vec::new());
    let entries = match env.disk().list(folder).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let number = entry.name.parse::<u32>().ok();
        let number = number.filter(|number| number.to_string() == entry.name);
        let Some(number) = number.filter(|_| entry.kind == EntryKind::File) else {
            unknown.push(entry.name);
            continue;
        };
        let file = env.disk().open(&folder.join(&entry.name), access).await?;
        let header = decode_journal_header(&file.read_at(0, BLOCK).await?).ok();
        files.push(JournalFile { number, file, header });
    }
    files.sort_by_key(|file| file.number);
    Ok((files, unknown))
}

/// Reads what `manifest` and `files` say. `heeds_continued` is whether a lap is believed that says
/// it was continued; only a planted bug does not.
pub(crate) async fn replay<F: File>(
    manifest: &Manifest,
    files: &[JournalFile<F>],
    heeds_continued: bool,
) -> io::Result<Replayed> {
    let by_lap: BTreeMap<u64, &JournalFile<F>> =
        files.iter().filter_map(|file| Some((file.header?.lap, file))).collect();
    let mut replay = Replay {
        held: BTreeMap::new(),
        kept: manifest.kept.iter().map(|kept| (kept.lap, kept.groups)).collect(),
        from: (manifest.lap, manifest.group),
        heeds_continued,
        out: Replayed {
            state: manifest.state.clone(),
            batches: BTreeMap::new(),
            end: JournalEnd::Whole,
            groups: 0,
            last: KeptLap { lap: manifest.lap, groups: 0 },
            needs: BTreeMap::new(),
            lap_groups: BTreeMap::new(),
            last_group: None,
        },
    };
    if has_twins(manifest, files) {
        replay.out.end = JournalEnd::Corrupt;
    }
    for kept in manifest.kept.iter().filter(|kept| kept.lap < manifest.lap) {
        let read = match by_lap.get(&kept.lap) {
            Some(file) => replay.lap(file, Some(kept.groups)).await?.0,
            None => 0,
        };
        if read < kept.groups {
            replay.out.end = JournalEnd::Corrupt;
        }
    }
    let mut lap = manifest.lap;
    loop {
        let Some(file) = by_lap.get(&lap) else {
            replay.out.end = JournalEnd::Corrupt;
            break;
        };
        let next = by_lap.get(&(lap + 1)).and_then(|file| file.header);
        let (read, end) = replay.lap(file, next.map(|header| header.groups_before)).await?;
        replay.out.last = KeptLap { lap, groups: read };
        let too_few = lap == manifest.lap && read < manifest.group;
        let lost = match next {
            Some(next) => read < next.groups_before,
            None => by_lap.range(lap + 1..).next().is_some(),
        };
        if too_few || lost || end == JournalEnd::Corrupt {
            replay.out.end = JournalEnd::Corrupt;
            break;
        }
        if next.is_none() {
            if replay.out.end == JournalEnd::Whole {
                replay.out.end = end;
            }
            break;
        }
        lap += 1;
    }
    replay.hold_what_is_open();
    Ok(replay.out)
}

/// Whether two files are of one lap that is needed. Nobody makes such two, and which of them has what
/// was acknowledged is not known.
fn has_twins<F>(manifest: &Manifest, files: &[JournalFile<F>]) -> bool {
    let is_needed =
        |lap: u64| lap >= manifest.lap || manifest.kept.iter().any(|kept| kept.lap == lap);
    let laps = files.iter().filter_map(|file| file.header).map(|header| header.lap);
    let mut seen = BTreeSet::new();
    laps.filter(|lap| is_needed(*lap)).any(|lap| !seen.insert(lap))
}

struct Replay {
    /// The batches so far, each with its lap.
    held: BTreeMap<Found, Vec<(u64, JournalBatch)>>,
    kept: BTreeMap<u64, u64>,
    from: (u64, u64),
    heeds_continued: bool,
    out: Replayed,
}

impl Replay {
    /// Reads the groups of one lap, `at_most` so many if that is known. Returns how many, and what
    /// stopped it.
    async fn lap<F: File>(
        &mut self,
        file: &JournalFile<F>,
        at_most: Option<u64>,
    ) -> io::Result<(u64, JournalEnd)> {
        let Some(header) = file.header else {
            return Ok((0, JournalEnd::Corrupt));
        };
        let mut blocks = Blocks { file: file.file.clone(), at: PLACE_BYTES, window: Bytes::new() };
        let mut group = 0;
        let end = loop {
            if at_most.is_some_and(|most| group >= most) {
                break JournalEnd::Whole;
            }
            let begun = blocks.at;
            let payload = match blocks.group(&header, group).await? {
                Next::Group(payload) => payload,
                Next::Continued if !self.heeds_continued => break JournalEnd::Whole,
                // With the next lap at hand nobody reads so far.
                Next::Continued => break JournalEnd::Corrupt,
                Next::Bad => break blocks.what_follows(begun, &header, group).await?,
            };
            let Ok(records) = decode_records(&payload) else {
                break JournalEnd::Corrupt;
            };
            if self.take(header.lap, group, records).is_err() {
                break JournalEnd::Corrupt;
            }
            group += 1;
            self.out.last_group = Some((file.number, begun..blocks.at));
        };
        self.out.lap_groups.insert(header.lap, group);
        Ok((group, end))
    }

    fn take(&mut self, lap: u64, group: u64, records: Vec<Record>) -> Result<(), super::Misfit> {
        let is_new = (lap, group) >= self.from;
        let may_hold = is_new || self.kept.get(&lap).is_some_and(|groups| group < *groups);
        self.out.groups += u64::from(is_new);
        for record in records {
            if is_new {
                self.out.state.apply(&record)?;
            }
            match record.change {
                Change::Batch(batch) if may_hold => {
                    self.held.entry(record.log).or_default().push((lap, batch));
                },
                Change::Drop => drop(self.held.remove(&record.log)),
                _ => {},
            }
        }
        Ok(())
    }

    /// Lets go of batches of segments that are closed, hence durable, or not known any more: a
    /// log's namesake from before its deletion, which the journal of the time does not tell apart.
    fn hold_what_is_open(&mut self) {
        for (log, batches) in std::mem::take(&mut self.held) {
            let Some(known) = self.out.state.logs().get(&log) else { continue };
            let open: BTreeSet<SegGen> = known
                .segments
                .iter()
                .filter(|segment| segment.closed.is_none())
                .map(|segment| segment.name.seg_gen)
                .collect();
            for (lap, batch) in batches.into_iter().filter(|(_, b)| open.contains(&b.seg_gen)) {
                let needs = self.out.needs.entry(lap).or_default();
                let need = needs.entry(log).or_insert(batch.end);
                *need = batch.end.max(*need);
                self.out.batches.entry(log).or_default().push(batch);
            }
        }
    }
}

/// What lies where a group may begin.
enum Next {
    /// Its records' bytes.
    Group(Vec<u8>),
    /// The lap's last word: there was a next lap.
    Continued,
    /// Nothing whole.
    Bad,
}

/// A file, read block by block.
struct Blocks<F> {
    file: F,
    /// The next block.
    at: u64,
    /// What was read from `at` on.
    window: Bytes,
}

impl<F: File> Blocks<F> {
    /// The next block's bytes; `None` at the file's end.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.window.len() < BLOCK {
            self.window = self.file.read_at(self.at, WINDOW * BLOCK).await?;
        }
        if self.window.len() < BLOCK {
            return Ok(None);
        }
        self.at += PLACE_BYTES;
        Ok(Some(self.window.split_to(BLOCK)))
    }

    /// The group `group`, if all of it is here.
    async fn group(&mut self, header: &JournalHeader, group: u64) -> io::Result<Next> {
        let mut payload = Vec::new();
        let (mut index, mut count) = (0, 1);
        while index < count {
            let Some(bytes) = self.next().await? else { return Ok(Next::Bad) };
            let Ok(block) = decode_block(&bytes) else { return Ok(Next::Bad) };
            let ours = block.nonce == header.nonce && block.group == group;
            let in_place = block.index == index && (index == 0 || block.count == count);
            if !ours || !in_place {
                return Ok(Next::Bad);
            }
            if block.continued {
                return Ok(Next::Continued);
            }
            payload.extend_from_slice(block.payload);
            count = block.count;
            index += 1;
        }
        Ok(Next::Group(payload))
    }

    /// Whether a later group lies behind the bad one at `begun`, which then was durable.
    async fn what_follows(
        &mut self,
        begun: u64,
        header: &JournalHeader,
        group: u64,
    ) -> io::Result<JournalEnd> {
        (self.at, self.window) = (begun, Bytes::new());
        let mut end = JournalEnd::Whole;
        // To the end of the file, for damage may be as long as that.
        while let Some(bytes) = self.next().await? {
            if !bytes.starts_with(&header.nonce.to_le_bytes()) {
                continue;
            }
            if bytes[8..].starts_with(&group.to_le_bytes()) {
                end = JournalEnd::Torn;
            }
            let Ok(block) = decode_block(&bytes) else { continue };
            if block.group > group {
                return Ok(JournalEnd::Corrupt);
            }
        }
        Ok(end)
    }
}
