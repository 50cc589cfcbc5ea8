//! Taking a directory into use, in the order that a crash at any point permits.

use env::atomic::{AtomicBool, AtomicU64};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use base::{Probe, Uuid};
use bytes::Bytes;
use env::{Access, Disk, EntryKind, Env, File, IoBufs, Lock};

use super::identity::{CLUSTER_ID_MAX, Identity, decode_identity, encode_identity};
use super::known::{KnownDir, decode_known};
use super::seal::{Seal, decode_seal};
use super::starts::{SLOT_BYTES, SLOTS_MAX, Start, StartClass, decode_starts, encode_start};
use super::{DIR_RANK, DirShared, FAILURE_RANK, Found, Held, LogDir, Slot, StartInfo, deletion};
use crate::config::{DirOptions, Expect};
use crate::error::DirError;
use crate::journal::{
    Journal, JournalEnd, JournalFailure, JournalOptions, JournalState, OpenedJournal,
};
use crate::names::{
    DIRECTORIES, IDENTITY, JOURNAL, LOCK, MANIFEST, OLD_STATE, OURS, SEAL, STARTS, TMP,
    parse_log_folder,
};
use crate::replace::{read_whole, replace};
use crate::tail::TailBudget;

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirError {
    move |source| DirError::Io { what, path: path.to_owned(), source }
}

pub(super) async fn open<E: Env>(
    env: &E,
    path: &Path,
    expect: Expect,
    options: DirOptions,
) -> Result<(LogDir<E>, StartInfo), DirError> {
    let disk = env.disk();
    disk.create_dir(path).await.map_err(io_error("create", path))?;
    let lock = take_lock(env, path).await?;
    let (identity, is_new) = identify(env, path, expect).await?;
    let contents = survey(env, path).await?;
    // Planted: the entries that lead here are believed to be durable since the first start.
    if is_new || !env.probe().mutant("ancestors_trusted") {
        sync_ancestors(env, path).await?;
    }
    let seal = take_seal(env, path).await?;
    let (start, seal) = note_start(env, path, seal, is_new).await?;
    let (sealed_by, unmade) = seal.map(|seal| (seal.start_id, seal.unmade)).unzip();
    let folders = contents.logs();
    let (opened, unknown) = open_journal(env, path, identity.dir_id, &options, contents).await?;
    let state = opened.journal.state();
    let info = StartInfo {
        class: start.class,
        start_id: start.start_id,
        ordinal: start.ordinal,
        cluster_id: identity.cluster_id,
        dir_id: identity.dir_id,
        unknown,
        deletions_finished: state.dropped().len(),
        missing: missing(&state, &folders),
        unmade: unmade.unwrap_or_default(),
        journal_damaged: opened.end == JournalEnd::Corrupt,
    };
    let mut unexplained = folders.clone();
    unexplained.retain(|found| {
        let explained = state.dropped().contains(found) && !info.journal_damaged;
        !explained && !state.logs().contains_key(found)
    });
    let shared = DirShared {
        env: env.clone(),
        path: path.to_owned(),
        tail_budget: TailBudget::new(options.tail_bytes_max, env.probe()),
        files: super::files::Files::new(options.open_files_max, env.probe()),
        options,
        start: info.clone(),
        sealed_by,
        journal: opened.journal,
        batches: Lock::new(super::BATCHES_RANK, opened.batches),
        is_failed: AtomicBool::new(false),
        stopped: AtomicBool::new(false),
        failure: Lock::new(FAILURE_RANK, None),
        room: Lock::new(super::ROOM_RANK, super::room::Watch::default()),
        deletions: Lock::new(super::DELETIONS_RANK, BTreeSet::new()),
        seg_gens: AtomicU64::new(first_seg_gen(&start, &state)),
        folders,
        unexplained,
        dirty: Lock::new(super::DIRTY_RANK, BTreeSet::new()),
        kick: tokio::sync::Notify::new(),
    };
    for found in state.dropped() {
        env.probe().reached("storage_deletion_resumed");
        let finished = deletion::finish(&shared, *found).await;
        finished.map_err(|failed| DirError::Io {
            what: "finish a deletion in",
            path: path.to_owned(),
            source: io::Error::other(failed),
        })?;
    }
    let logs = state.logs().keys().map(|found| (*found, Slot::Found)).collect();
    let held = Held { logs: Lock::new(DIR_RANK, logs), _lock: lock };
    Ok((LogDir { shared: Arc::new(shared), held: Arc::new(held) }, info))
}

/// Where this process begins to number segments: behind all that an earlier one may have numbered,
/// even if the file of the starts is lost and counts from one again.
fn first_seg_gen(start: &Start, state: &JournalState) -> u64 {
    let newest = state.logs().values().map(|log| log.newest_gen.0 >> 32).max();
    let behind = newest.map_or(0, |newest| newest + 1);
    u64::from(start.ordinal).max(behind) << 32
}

async fn take_lock<E: Env>(env: &E, path: &Path) -> Result<<E::Disk as Disk>::DirLock, DirError> {
    match env.disk().lock_dir(&path.join(LOCK)).await {
        Ok(lock) => Ok(lock),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            env.probe().reached("storage_directory_locked");
            Err(DirError::Locked { path: path.to_owned() })
        },
        Err(error) => Err(io_error("lock", path)(error)),
    }
}

/// Takes the journal into use. Also returns every entry that it does not explain.
async fn open_journal<E: Env>(
    env: &E,
    path: &Path,
    dir_id: Uuid,
    options: &DirOptions,
    contents: Contents,
) -> Result<(OpenedJournal<E>, Vec<String>), DirError> {
    let may_be_new = contents.folders.is_empty();
    let options = JournalOptions { file_bytes: options.journal_file_bytes };
    let opened = Journal::open(env, path, dir_id, options, may_be_new).await;
    let mut opened = opened.map_err(|failure| journal_error(path, failure))?;
    let state = opened.journal.state();
    let mut unknown = contents.unknown;
    unknown.extend(opened.unknown.drain(..).map(|name| format!("{JOURNAL}/{name}")));
    let known = |folder: &String| {
        let found = parse_log_folder(folder);
        let found = found.map(|(partition, replica_gen)| Found { partition, replica_gen });
        found.is_some_and(|f| state.logs().contains_key(&f) || state.dropped().contains(&f))
    };
    for folder in contents.folders.into_iter().filter(|folder| !known(folder)) {
        env.probe().reached("storage_unknown_entry");
        unknown.push(folder);
    }
    Ok((opened, unknown))
}

fn journal_error(path: &Path, failure: JournalFailure) -> DirError {
    match failure {
        JournalFailure::Io { path, source } => {
            DirError::Io { what: "use the journal in", path, source }
        },
        JournalFailure::Damaged { path, source } => DirError::Damaged { path, source },
        JournalFailure::OtherDirectory { path, found, expected } => {
            DirError::OtherManifest { path, found, expected }
        },
        JournalFailure::Lost { .. } => DirError::ManifestLost { path: path.to_owned() },
    }
}

/// Whose the directory is; `None` if it is nobody's.
pub(super) async fn peek<E: Env>(env: &E, path: &Path) -> Result<Option<Identity>, DirError> {
    let file = path.join(IDENTITY);
    let bytes = read_whole(env, &file).await.map_err(io_error("read", &file))?;
    match bytes {
        Some(bytes) => match decode_identity(&bytes) {
            Ok(identity) => Ok(Some(identity)),
            Err(source) => Err(DirError::Damaged { path: file, source }),
        },
        None => must_be_new(env, path).await.map(|()| None),
    }
}

/// Nobody's directory holds nothing of ours yet: the identity was durable before there was a manifest or
/// a journal. Either may be lost with it (simulator seed 85010248).
async fn must_be_new<E: Env>(env: &E, path: &Path) -> Result<(), DirError> {
    let entries = match env.disk().list(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error("list", path)(error)),
        Ok(entries) => entries,
    };
    if entries.iter().any(|entry| entry.name == MANIFEST || entry.name == JOURNAL) {
        env.probe().reached("storage_identity_lost");
        return Err(DirError::IdentityLost { path: path.to_owned() });
    }
    Ok(())
}

/// The directories that were noted here.
pub(super) async fn read_known<E: Env>(env: &E, path: &Path) -> Result<Vec<KnownDir>, DirError> {
    let file = path.join(DIRECTORIES);
    let bytes = read_whole(env, &file).await.map_err(io_error("read", &file))?;
    let known = bytes.map(|bytes| decode_known(&bytes)).transpose();
    Ok(known.map_err(|source| DirError::Damaged { path: file, source })?.unwrap_or_default())
}

/// Reads the identity and compares it, or makes it.
async fn identify<E: Env>(
    env: &E,
    path: &Path,
    expect: Expect,
) -> Result<(Identity, bool), DirError> {
    let file = path.join(IDENTITY);
    if let Some(bytes) = read_whole(env, &file).await.map_err(io_error("read", &file))? {
        let found = decode_identity(&bytes).map_err(|source| {
            env.probe().reached("storage_identity_damaged");
            DirError::Damaged { path: file.clone(), source }
        })?;
        if let Some(expected) = expect.cluster_id.filter(|id| *id != found.cluster_id) {
            env.probe().reached("storage_other_cluster");
            let found = found.cluster_id;
            return Err(DirError::OtherCluster { path: path.to_owned(), found, expected });
        }
        if found.node_id != expect.node_id {
            env.probe().reached("storage_other_node");
            let (found, expected) = (found.node_id, expect.node_id);
            return Err(DirError::OtherNode { path: path.to_owned(), found, expected });
        }
        return Ok((found, false));
    }
    must_be_new(env, path).await?;
    let cluster_id = expect.cluster_id.unwrap_or_else(|| env.random_uuid().to_string());
    if cluster_id.is_empty() || cluster_id.len() > CLUSTER_ID_MAX {
        return Err(DirError::ClusterId(cluster_id.len()));
    }
    let identity = Identity { cluster_id, node_id: expect.node_id, dir_id: env.random_uuid() };
    let bytes = encode_identity(&identity);
    replace(env, path, IDENTITY, bytes).await.map_err(io_error("write", &file))?;
    Ok((identity, true))
}

/// Makes the entries that lead to the directory durable. At every start: an earlier one may have
/// been killed between creating a folder and syncing its parent (simulator seed 1171).
async fn sync_ancestors<E: Env>(env: &E, path: &Path) -> Result<(), DirError> {
    for (distance, folder) in path.ancestors().skip(1).enumerate() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        match sync(env, folder).await {
            Err(DirError::Io { source, .. })
                if distance > 0 && source.kind() == io::ErrorKind::PermissionDenied =>
            {
                // A folder we may not read is not one that we created.
                return Ok(());
            },
            outcome => outcome?,
        }
    }
    Ok(())
}

async fn sync<E: Env>(env: &E, folder: &Path) -> Result<(), DirError> {
    env.disk().sync_dir(folder).await.map_err(io_error("sync", folder))
}

/// Reads the seal and removes it for good.
async fn take_seal<E: Env>(env: &E, path: &Path) -> Result<Option<Seal>, DirError> {
    let file = path.join(SEAL);
    let Some(bytes) = read_whole(env, &file).await.map_err(io_error("read", &file))? else {
        return Ok(None);
    };
    env.disk().remove(&file).await.map_err(io_error("remove", &file))?;
    sync(env, path).await?;
    match decode_seal(&bytes) {
        Ok(seal) => Ok(Some(seal)),
        Err(_) => {
            env.probe().reached("storage_seal_damaged");
            Ok(None)
        },
    }
}

/// Decides the class of this start and appends its slot, durably. Also returns the seal, if it counts.
async fn note_start<E: Env>(
    env: &E,
    path: &Path,
    seal: Option<Seal>,
    is_new: bool,
) -> Result<(Start, Option<Seal>), DirError> {
    let file = path.join(STARTS);
    let bytes = read_whole(env, &file).await.map_err(io_error("read", &file))?;
    let exists = bytes.is_some();
    let bytes = bytes.unwrap_or_default();
    let (starts, damaged) = decode_starts(&bytes);
    if damaged > 0 {
        env.probe().reached("storage_start_slot_torn");
    }
    let dir = env.disk().identity(path).await.map_err(io_error("identify", path))?;
    let host = env.host();
    let last = starts.last();
    let seal = seal.filter(|seal| last.is_some_and(|last| last.start_id == seal.start_id));
    let class = match last {
        _ if seal.is_some() => StartClass::Clean,
        None if is_new => StartClass::Clean,
        // A torn last slot hides a start whose kernel is unknown.
        Some(last) if damaged == 0 && last.same_page_cache(&host, &dir) => StartClass::Process,
        Some(_) | None => StartClass::Os,
    };
    env.probe().reached(match class {
        StartClass::Clean => "storage_start_clean",
        StartClass::Process => "storage_start_after_process_crash",
        StartClass::Os => "storage_start_after_power_loss",
    });
    let largest = starts.iter().map(|start| start.ordinal).max().unwrap_or(0);
    let skipped = u32::try_from(damaged).unwrap_or(u32::MAX);
    let start = Start {
        start_id: env.random_uuid(),
        ordinal: largest.saturating_add(skipped).saturating_add(1),
        class,
        at: env.wall(),
        boot_id: host.boot_id,
        dir,
    };
    let slot = encode_start(&start);
    if !exists || bytes.len() / SLOT_BYTES >= SLOTS_MAX || damaged > 0 {
        let kept = starts.iter().rev().take(SLOTS_MAX / 2).rev();
        let mut all: Vec<u8> = kept.flat_map(encode_start).collect();
        all.extend_from_slice(&slot);
        replace(env, path, STARTS, all).await.map_err(io_error("write", &file))?;
    } else {
        append_slot(env, &file, bytes.len(), &slot).await.map_err(io_error("write", &file))?;
    }
    Ok((start, seal))
}

async fn append_slot<E: Env>(env: &E, path: &Path, at: usize, slot: &[u8]) -> io::Result<()> {
    let file = env.disk().open(path, Access::Write).await?;
    let at = u64::try_from(at).map_err(io::Error::other)?;
    file.append(at, IoBufs::from_iter([Bytes::copy_from_slice(slot)])).await?;
    file.sync_data().await
}

#[derive(Default)]
struct Contents {
    /// Folders with the name of a log.
    folders: Vec<String>,
    unknown: Vec<String>,
}

impl Contents {
    /// The logs that have a folder.
    fn logs(&self) -> BTreeSet<Found> {
        let parsed = self.folders.iter().filter_map(|name| parse_log_folder(name));
        parsed.map(|(partition, replica_gen)| Found { partition, replica_gen }).collect()
    }
}

/// Logs with segments and without a folder.
fn missing(state: &JournalState, folders: &BTreeSet<Found>) -> Vec<Found> {
    let filled = state.logs().iter().filter(|(_, log)| !log.segments.is_empty());
    filled.map(|(found, _)| *found).filter(|found| !folders.contains(found)).collect()
}

/// Looks at what is there and touches nothing; refuses what an older release wrote.
async fn survey<E: Env>(env: &E, path: &Path) -> Result<Contents, DirError> {
    let mut contents = Contents::default();
    let mut has_manifest = false;
    for entry in env.disk().list(path).await.map_err(io_error("list", path))? {
        has_manifest |= entry.name == MANIFEST;
        if parse_log_folder(&entry.name).is_some() && entry.kind == EntryKind::Dir {
            contents.folders.push(entry.name);
            continue;
        }
        let stem = entry.name.strip_suffix(TMP).unwrap_or(&entry.name);
        if !OURS.contains(&stem) {
            env.probe().reached("storage_unknown_entry");
            contents.unknown.push(entry.name);
        }
    }
    for name in contents.folders.iter().filter(|_| !has_manifest) {
        let folder = path.join(name);
        let entries = env.disk().list(&folder).await.map_err(io_error("list", &folder))?;
        if entries.iter().any(|entry| entry.name == OLD_STATE) {
            env.probe().reached("storage_old_format");
            let (path, found) = (path.to_owned(), folder.join(OLD_STATE));
            return Err(DirError::OldFormat { path, found });
        }
    }
    Ok(contents)
}
