//! Taking the journal into use, and looking at one that another process uses.
//!
//! Invariants: what was read is durable before anything is built on it (after a failed sync the
//! page cache may hold what the disk does not): the last group is written again, then a new
//! manifest says the rest; corruption is noted in that manifest, once; each start begins a lap.

use env::atomic::{AtomicBool, AtomicU64};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use base::{Probe, Uuid};
use env::{Access, Disk, Env, File, IoBufs, Lock};
use thiserror::Error;

use super::block::{BLOCK, BLOCK_PAYLOAD, JournalHeader, decode_block};
use super::files::{fit, fresh_header, make_file, write_header};
use super::manifest::{KeptLap, Manifest, decode_manifest};
use super::record::JournalBatch;
use super::replay::{JournalEnd, JournalFile, Replayed, list_files, replay};
use super::state::JournalState;
use super::{
    FIRST_FILE_BYTES, FileOf, FreeFile, GROUP_BYTES_MAX, JOURNAL_FILE_BYTES_MIN, Journal,
    JournalOptions, Lap, PLACE_BYTES, QUEUE_RANK, Queue, TABLE_RANK, Table, Writer,
};
use crate::codec::FormatError;
use crate::dir::Found;
use crate::names::{JOURNAL, MANIFEST};
use crate::replace::read_whole;

/// Why the journal cannot be used.
#[derive(Debug, Error)]
pub enum JournalFailure {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The manifest is not what was written.
    #[error("{}: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: FormatError,
    },
    /// The manifest is of another directory.
    #[error("{} is of directory {found}, not {expected}", path.display())]
    OtherDirectory {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: Uuid,
        /// What the identity says.
        expected: Uuid,
    },
    /// There are logs or groups, but no manifest.
    #[error("{} is gone", path.display())]
    Lost {
        /// The manifest.
        path: PathBuf,
    },
}

/// A journal in use, and what it said.
pub struct OpenedJournal<E: Env> {
    /// The journal.
    pub journal: Journal<E>,
    /// How it ended.
    pub end: JournalEnd,
    /// Groups read since the manifest.
    pub groups: u64,
    /// Batches whose segment may not be durable.
    pub batches: BTreeMap<Found, Vec<JournalBatch>>,
    /// Files in its folder whose names are not ours.
    pub unknown: Vec<String>,
}

impl<E: Env> std::fmt::Debug for OpenedJournal<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, {:?} after {} groups", self.journal, self.end, self.groups)
    }
}

/// What is read before anything is written.
struct Everything<F> {
    manifest: Option<Manifest>,
    files: Vec<JournalFile<F>>,
    replayed: Replayed,
}

impl<E: Env> Journal<E> {
    /// Takes the journal of the directory `root` into use; makes one if there is none and
    /// `may_be_new` says that there is nothing it would have to know.
    ///
    /// # Errors
    /// [`JournalFailure`].
    pub async fn open(
        env: &E,
        root: &Path,
        dir_id: Uuid,
        options: JournalOptions,
        may_be_new: bool,
    ) -> Result<OpenedJournal<E>, JournalFailure> {
        let folder = root.join(JOURNAL);
        let failed = |source| JournalFailure::Io { path: folder.clone(), source };
        env.disk().create_dir(&folder).await.map_err(failed)?;
        env.disk().sync_dir(root).await.map_err(failed)?;
        let manifest = read_manifest(env, root).await?;
        if let Some(found) = manifest.as_ref().map(|read| read.dir_id).filter(|id| *id != dir_id) {
            env.probe().reached("storage_manifest_of_another_directory");
            let (path, expected) = (root.join(MANIFEST), dir_id);
            return Err(JournalFailure::OtherDirectory { path, found, expected });
        }
        let (files, unknown) = list_files(env, &folder, Access::Write).await.map_err(failed)?;
        let fresh = manifest.is_none();
        if fresh && (!may_be_new || holds_a_group(&files).await.map_err(failed)?) {
            return Err(JournalFailure::Lost { path: root.join(MANIFEST) });
        }
        let replayed = match &manifest {
            // Planted: a lap's word that there is a next one is not heeded.
            Some(manifest) => {
                let heeds = !env.probe().mutant("continued_not_heeded");
                replay(manifest, &files, heeds).await.map_err(failed)?
            },
            None => nothing(),
        };
        let (end, groups, batches) = (replayed.end, replayed.groups, replayed.batches.clone());
        note(env, &replayed);
        let found = Everything { manifest, files, replayed };
        let place = (root.to_owned(), folder.clone());
        let journal = begin(env, place, dir_id, options, found).await.map_err(failed)?;
        Ok(OpenedJournal { journal, end, groups, batches, unknown })
    }
}

async fn read_manifest<E: Env>(env: &E, root: &Path) -> Result<Option<Manifest>, JournalFailure> {
    let path = root.join(MANIFEST);
    let bytes = read_whole(env, &path).await;
    let bytes = bytes.map_err(|source| JournalFailure::Io { path: path.clone(), source })?;
    let manifest = bytes.map(|bytes| decode_manifest(&bytes)).transpose();
    manifest.map_err(|source| {
        env.probe().reached("storage_manifest_damaged");
        JournalFailure::Damaged { path, source }
    })
}

async fn holds_a_group<F: File>(files: &[JournalFile<F>]) -> io::Result<bool> {
    for JournalFile { file, header, .. } in files {
        let bytes = file.read_at(PLACE_BYTES, BLOCK).await?;
        let ours = |header: &JournalHeader| {
            decode_block(&bytes).is_ok_and(|block| block.nonce == header.nonce)
        };
        if header.as_ref().is_some_and(ours) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn nothing() -> Replayed {
    Replayed {
        state: JournalState::default(),
        batches: BTreeMap::new(),
        end: JournalEnd::Whole,
        groups: 0,
        last: KeptLap { lap: 0, groups: 0 },
        needs: BTreeMap::new(),
        lap_groups: BTreeMap::new(),
        last_group: None,
    }
}

fn note<E: Env>(env: &E, replayed: &Replayed) {
    match replayed.end {
        JournalEnd::Whole => {},
        JournalEnd::Torn => env.probe().reached("storage_journal_group_torn"),
        JournalEnd::Corrupt => env.probe().reached("storage_journal_corrupt"),
    }
    if replayed.groups > 0 {
        env.probe().reached("storage_journal_replayed");
    }
    if !replayed.batches.is_empty() {
        env.probe().reached("storage_journal_held_batches");
    }
}

/// Begins a lap and writes what was read down again.
async fn begin<E: Env>(
    env: &E,
    (root, folder): (PathBuf, PathBuf),
    dir_id: Uuid,
    options: JournalOptions,
    found: Everything<FileOf<E>>,
) -> io::Result<Journal<E>> {
    let Everything { manifest, files, mut replayed } = found;
    let corrupt = replayed.end == JournalEnd::Corrupt;
    // Planted: a damaged group is the last one, torn.
    if corrupt && !env.probe().mutant("journal_damage_is_torn") {
        replayed.state.all_uncertain();
    }
    // Planted: what was read is believed to be on the disk.
    if !env.probe().mutant("last_group_trusted") {
        write_last_group_again(&files, &replayed).await?;
    }
    let LapPlan { lap, groups_before, file, mut free, same_manifest } =
        plan(manifest.as_ref(), &files, &replayed);
    let file_bytes = options.file_bytes.max(JOURNAL_FILE_BYTES_MIN);
    let mut next_number = files.iter().map(|file| file.number + 1).max().unwrap_or(0);
    let taken = match file.or_else(|| free.pop()) {
        Some(taken) => taken,
        None => {
            let first = file_bytes.min(FIRST_FILE_BYTES);
            let bytes = if files.is_empty() { first } else { file_bytes };
            make_file(env, &folder, next_number, bytes).await?;
            next_number += 1;
            FreeFile { number: next_number - 1, nonce: None }
        },
    };
    let path = folder.join(taken.number.to_string());
    let file = env.disk().open(&path, Access::Write).await?;
    let room = fit(&file, file_bytes, PLACE_BYTES).await?;
    let header = fresh_header(env, lap, groups_before, taken);
    write_header(&file, &header).await?;
    env.disk().sync_dir(&folder).await?;
    let state = std::mem::take(&mut replayed.state);
    let laps = kept_laps(&files, replayed);
    let mut table =
        Table { state, done: 0, lap, group: 0, laps, free, filed: BTreeMap::new(), next_number };
    table.begin_lap(taken.number, &header);
    let writer = Writer { file, lap, nonce: header.nonce, group: 0, at: PLACE_BYTES, room };
    let journal = Journal {
        env: env.clone(),
        root,
        folder,
        dir_id,
        file_bytes,
        group_bytes_max: group_bytes_max(file_bytes),
        queue: Lock::new(QUEUE_RANK, Queue::default()),
        table: Lock::new(TABLE_RANK, table),
        writer: tokio::sync::Mutex::new(writer),
        upkeep: tokio::sync::Mutex::new(()),
        failed: AtomicBool::new(false),
        groups: AtomicU64::new(0),
    };
    if same_manifest {
        // Its name may not be durable yet.
        env.disk().sync_dir(&journal.root).await?;
    } else {
        journal.write_manifest().await?;
    }
    journal.table.lock().free_the_rest(&files);
    // The spare file of a new directory is made once it serves.
    if !files.is_empty() {
        journal.upkeep().await?;
    }
    Ok(journal)
}

impl Table {
    /// Files that no lap is in are free.
    fn free_the_rest<F>(&mut self, files: &[JournalFile<F>]) {
        for file in files {
            let used = self.laps.values().any(|lap| lap.number == file.number);
            let known = self.free.iter().any(|free| free.number == file.number);
            if !used && !known {
                let nonce = file.header.map(|header| header.nonce);
                self.free.push(FreeFile { number: file.number, nonce });
            }
        }
    }
}

/// After a failed sync only the page cache may have it. All groups before it were synced.
async fn write_last_group_again<F: File>(
    files: &[JournalFile<F>],
    replayed: &Replayed,
) -> io::Result<()> {
    if let Some((number, range)) = &replayed.last_group
        && let Some(last) = files.iter().find(|file| file.number == *number)
    {
        let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let bytes = last.file.read_at(range.start, len).await?;
        last.file.append(range.start, IoBufs::from_iter([bytes])).await?;
        last.file.sync_data().await?;
    }
    Ok(())
}

/// The laps whose batches are still needed.
fn kept_laps<F>(files: &[JournalFile<F>], mut replayed: Replayed) -> BTreeMap<u64, Lap> {
    let mut laps = BTreeMap::new();
    for file in files {
        let Some(seen) = file.header else { continue };
        let needs = replayed.needs.remove(&seen.lap).filter(|needs| !needs.is_empty());
        if let Some(needs) = needs {
            let groups = replayed.lap_groups.get(&seen.lap).copied().unwrap_or(0);
            let kept = Lap { number: file.number, nonce: seen.nonce, groups, needs };
            laps.insert(seen.lap, kept);
        }
    }
    laps
}

/// Where the new lap goes.
struct LapPlan {
    lap: u64,
    groups_before: u64,
    /// The file of a lap without groups that is begun again.
    file: Option<FreeFile>,
    /// Files that neither the manifest nor what was read needs.
    free: Vec<FreeFile>,
    same_manifest: bool,
}

fn plan<F>(manifest: Option<&Manifest>, files: &[JournalFile<F>], replayed: &Replayed) -> LapPlan {
    let corrupt = replayed.end == JournalEnd::Corrupt;
    let lap_of = |file: &JournalFile<F>| file.header.map(|header| header.lap);
    let free_file = |file: &JournalFile<F>| FreeFile {
        number: file.number,
        nonce: file.header.map(|header| header.nonce),
    };
    // A lap whose header is lost is not begun again: that would hide the loss.
    let named = manifest.filter(|_| corrupt).map(|manifest| manifest.lap);
    let newest = files.iter().filter_map(lap_of).chain(named).max().unwrap_or(0);
    let last = replayed.last;
    let empty = files.iter().find(|file| lap_of(file) == Some(newest));
    let empty = empty.filter(|_| !corrupt && last.lap == newest && last.groups == 0);
    // A header that the manifest needs is not written over: a power loss could tear it (simulator
    // seed 1082).
    let empty = empty.filter(|_| manifest.is_none_or(|manifest| manifest.lap < newest));
    if let Some((file, header)) = empty.and_then(|file| Some((file, file.header?))) {
        let same_manifest = manifest.is_some_and(|m| m.lap == newest && m.kept.is_empty());
        let free = Vec::new();
        let groups_before = header.groups_before;
        let file = Some(free_file(file));
        return LapPlan { lap: newest, groups_before, file, free, same_manifest };
    }
    let needed = |lap: u64| {
        manifest.is_some_and(|m| lap >= m.lap || m.kept.iter().any(|kept| kept.lap == lap))
    };
    let free = files.iter().filter(|file| !lap_of(file).is_some_and(needed));
    LapPlan {
        lap: newest + 1,
        // A crash before the manifest must not hide what is missing.
        groups_before: if corrupt { u64::MAX } else { last.groups },
        file: None,
        free: free.map(free_file).collect(),
        same_manifest: false,
    }
}

fn group_bytes_max(file_bytes: u64) -> usize {
    let blocks = usize::try_from(file_bytes).unwrap_or(usize::MAX) / BLOCK - 1;
    (blocks / 2 * BLOCK_PAYLOAD).min(GROUP_BYTES_MAX)
}

/// What the journal of a directory says, read without changing anything.
#[derive(Clone, Debug)]
pub struct ReadJournal {
    /// The manifest; `None` if there is none.
    pub manifest: Option<Result<Manifest, FormatError>>,
    /// What the groups since then say as well, if the manifest could be read.
    pub replayed: Option<Replayed>,
    /// The files: number, header, bytes.
    pub files: Vec<(u32, Option<JournalHeader>, u64)>,
    /// Files whose names are not ours.
    pub unknown: Vec<String>,
}

/// Looks at the journal of the directory `root`.
///
/// # Errors
/// Only what the operating system refuses.
pub async fn read_journal<E: Env>(env: &E, root: &Path) -> io::Result<ReadJournal> {
    let bytes = read_whole(env, &root.join(MANIFEST)).await?;
    let manifest = bytes.map(|bytes| decode_manifest(&bytes));
    let (found, unknown) = list_files(env, &root.join(JOURNAL), Access::Read).await?;
    let replayed = match &manifest {
        Some(Ok(manifest)) => Some(replay(manifest, &found, true).await?),
        Some(Err(_)) | None => None,
    };
    let mut files = Vec::new();
    for JournalFile { number, file, header } in found {
        files.push((number, header, file.len().await?));
    }
    Ok(ReadJournal { manifest, replayed, files, unknown })
}
