//! One log directory: who it belongs to, how the last process left it, and the logs in it.
//!
//! Invariants: the lock is held for as long as the value lives; the seal is gone, durably, before
//! a log is touched, and comes back only if every log was opened and flushed; after the first
//! write error nothing is written ever again, and a full disk is none. Source: replication design, crash classes.

mod deletion;
mod files;
mod flusher;
mod identity;
mod known;
mod open;
mod room;
mod salvage;
mod seal;
mod starts;

use env::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{PartitionId, Probe, ReplicaGen, SegGen, SortedMap, Uuid};
use env::{Disk, Env, Lock, Rank};

use crate::config::{DirOptions, Expect, LogConfig};
use crate::error::{DirError, DirectoryFailed, DirectoryFull, OpenError, WriteError};
use crate::journal::{Change, CommitError, Journal, JournalBatch, Record};
use crate::log::{Log, Recovery};
use crate::names::{DIRECTORIES, log_folder};
use crate::replace::{replace, sync_dir};
use crate::tail::TailBudget;

pub use identity::{Identity, decode_identity, encode_identity};
pub use known::{KnownDir, decode_known, encode_known};
pub use room::{Room, is_full, of_sync};
pub(crate) use room::{TRY_EVERY, has_no_descriptor};
pub use seal::{Seal, decode_seal, encode_seal};
pub use starts::{SLOT_BYTES, Start, StartClass, decode_start, decode_starts, encode_start};

/// Taken inside a log's lock.
const DIR_RANK: Rank = Rank(210);
const DIRTY_RANK: Rank = Rank(211);
const FAILURE_RANK: Rank = Rank(212);
const BATCHES_RANK: Rank = Rank(213);
const ROOM_RANK: Rank = Rank(214);
const DELETIONS_RANK: Rank = Rank(215);

/// Records of different logs that are committed together, at most: they fit into the smallest group.
const RECORDS_TOGETHER: usize = 200;

/// A log on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Which partition.
    pub partition: PartitionId,
    /// Which incarnation of the replica.
    pub replica_gen: ReplicaGen,
}

/// How this process found the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartInfo {
    /// How the last process stopped.
    pub class: StartClass,
    /// This process.
    pub start_id: Uuid,
    /// How many starts the directory has seen, this one included.
    pub ordinal: u32,
    /// The cluster.
    pub cluster_id: String,
    /// This directory, for ever.
    pub dir_id: Uuid,
    /// Entries whose names are not ours: left alone.
    pub unknown: Vec<String>,
    /// Logs whose interrupted deletion was finished.
    pub deletions_finished: usize,
    /// Logs that hold records and whose folder is gone.
    pub missing: Vec<Found>,
    /// Partitions whose log may never have been made, in any directory; after a clean stop.
    pub unmade: BTreeSet<PartitionId>,
    /// A part of the journal that was durable could not be read: every log is marked uncertain.
    pub journal_damaged: bool,
}

/// How a graceful stop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealOutcome {
    /// Everything is durable and the seal says so: the next start reads no segment.
    Sealed,
    /// Everything open is durable, but these many logs were never opened: no seal.
    NotAllOpened(usize),
}

/// A log directory in use. Clones share it.
pub struct LogDir<E: Env> {
    pub(crate) shared: Arc<DirShared<E>>,
    held: Arc<Held<E>>,
}

/// What only the directory's handles share: logs know [`DirShared`], which knows no log.
struct Held<E: Env> {
    logs: Lock<SortedMap<Found, Slot<E>>>,
    _lock: <E::Disk as Disk>::DirLock,
}

impl<E: Env> Clone for LogDir<E> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), held: self.held.clone() }
    }
}

impl<E: Env> std::fmt::Debug for LogDir<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogDir({})", self.shared.path.display())
    }
}

pub(crate) struct DirShared<E: Env> {
    pub(crate) env: E,
    pub(crate) path: PathBuf,
    pub(crate) options: DirOptions,
    pub(crate) start: StartInfo,
    /// The start id in the seal, if the last process left one.
    pub(crate) sealed_by: Option<Uuid>,
    pub(crate) tail_budget: TailBudget,
    pub(crate) journal: Journal<E>,
    /// Batches that the journal held at the start, until their log is opened.
    batches: Lock<BTreeMap<Found, Vec<JournalBatch>>>,
    is_failed: AtomicBool,
    stopped: AtomicBool,
    failure: Lock<Option<DirectoryFailed>>,
    room: Lock<room::Watch>,
    /// Deletions for which there was no room.
    deletions: Lock<BTreeSet<Found>>,
    seg_gens: AtomicU64,
    /// The logs that had a folder at the start.
    pub(crate) folders: BTreeSet<Found>,
    /// Those of them that the journal does not name: as a folder comes after the record of its log,
    /// that record is lost.
    pub(crate) unexplained: BTreeSet<Found>,
    files: files::Files,
    dirty: Lock<BTreeSet<Found>>,
    kick: tokio::sync::Notify,
}

/// What is known about a log.
enum Slot<E: Env> {
    /// On disk, nobody asked for it yet.
    Found,
    /// Somebody creates, opens or deletes it right now.
    Busy,
    /// In use.
    Open(Log<E>),
}

impl<E: Env> LogDir<E> {
    /// Takes the directory into use, creating it on the first start.
    ///
    /// In this order: the lock, the identity, the seal (read, then removed for good), the start
    /// slot (durable), deletions that were interrupted.
    ///
    /// # Errors
    /// [`DirError`]; each variant says what the operator should do.
    pub async fn open(
        env: &E,
        path: &Path,
        expect: Expect,
        options: DirOptions,
    ) -> Result<(Self, StartInfo), DirError> {
        open::open(env, path, expect, options).await
    }

    /// Whose the directory is, without taking it into use; `None` if it is nobody's yet.
    ///
    /// # Errors
    /// [`DirError`] if that cannot be read.
    pub async fn peek(env: &E, path: &Path) -> Result<Option<Identity>, DirError> {
        open::peek(env, path).await
    }

    /// The directories of the node, as they were noted here; none if they never were.
    ///
    /// # Errors
    /// [`DirError`] if that cannot be read.
    pub async fn read_known(&self) -> Result<Vec<KnownDir>, DirError> {
        open::read_known(&self.shared.env, &self.shared.path).await
    }

    /// The directories of the node as noted in the one at `path`, without taking it into use.
    ///
    /// # Errors
    /// [`DirError`] if that cannot be read.
    pub async fn peek_known(env: &E, path: &Path) -> Result<Vec<KnownDir>, DirError> {
        open::read_known(env, path).await
    }

    /// Notes the directories of the node, durably.
    ///
    /// # Errors
    /// The directory failed, or its disk is full.
    pub async fn write_known(&self, known: &[KnownDir]) -> Result<(), WriteError> {
        self.shared.check()?;
        let DirShared { env, path, .. } = &*self.shared;
        let result = replace(env, path, DIRECTORIES, encode_known(known)).await;
        result.map_err(|error| self.shared.refuse("note the directories in", path, &error))
    }

    /// Every log on disk, in order.
    pub fn logs(&self) -> Vec<Found> {
        self.held.logs.lock().keys().copied().collect()
    }

    /// Creates an empty log, durably. It has no folder before its first append.
    ///
    /// # Errors
    /// [`OpenError::Exists`], [`OpenError::Full`] (there is no log then), or the directory failed.
    pub async fn create_log(
        &self,
        partition: PartitionId,
        replica_gen: ReplicaGen,
        config: LogConfig,
    ) -> Result<Log<E>, OpenError> {
        let found = Found { partition, replica_gen };
        let mut created = self.create_logs(vec![(found, config)]).await;
        created.pop().unwrap_or(Err(OpenError::Missing { partition, replica_gen }))
    }

    /// Whether files of a log are here that the journal does not name: what it says of that log is lost.
    pub fn has_unnamed(&self, found: &Found) -> bool {
        self.shared.unexplained.contains(found)
    }

    /// Creates the log of a partition that was there before this start, durably. Its creation was
    /// interrupted; but if a part of the journal is lost, so may be that there was a log.
    ///
    /// # Errors
    /// Those of [`LogDir::create_log`].
    pub async fn create_missing_log(
        &self,
        partition: PartitionId,
        replica_gen: ReplicaGen,
        config: LogConfig,
    ) -> Result<Log<E>, OpenError> {
        let is_doubted = self.shared.start.journal_damaged;
        let found = Found { partition, replica_gen };
        let mut created = self.create_all(vec![(found, config)], is_doubted).await;
        created.pop().unwrap_or(Err(OpenError::Missing { partition, replica_gen }))
    }

    /// Creates empty logs, durably, with few flushes however many they are. Each succeeds or fails
    /// alone; in the order given.
    ///
    /// # Errors
    /// Those of [`LogDir::create_log`].
    pub async fn create_logs(
        &self,
        wished: Vec<(Found, LogConfig)>,
    ) -> Vec<Result<Log<E>, OpenError>> {
        self.create_all(wished, false).await
    }

    async fn create_all(
        &self,
        wished: Vec<(Found, LogConfig)>,
        is_doubted: bool,
    ) -> Vec<Result<Log<E>, OpenError>> {
        let mut created = Vec::with_capacity(wished.len());
        let mut refused = None;
        for some in wished.chunks(RECORDS_TOGETHER) {
            let is_new: Vec<bool> = some.iter().map(|(found, _)| self.claim_new(*found)).collect();
            let new = some.iter().zip(&is_new).filter(|(_, is_new)| **is_new);
            let records =
                new.flat_map(|((found, _), _)| Log::creation(&self.shared, *found, is_doubted));
            if refused.is_none() {
                refused = self.shared.commit_records(records.collect()).await.err();
            }
            for ((found, config), is_new) in some.iter().zip(is_new) {
                let Found { partition, replica_gen } = *found;
                created.push(match &refused {
                    _ if !is_new => Err(OpenError::Exists { partition, replica_gen }),
                    Some(refused) => {
                        self.held.logs.lock().remove(found);
                        Err(refused.clone().into())
                    },
                    None => {
                        let dir = self.shared.clone();
                        let log = Log::created(dir, *found, config.clone(), is_doubted);
                        self.held.logs.lock().insert(*found, Slot::Open(log.clone()));
                        Ok(log)
                    },
                });
            }
        }
        created
    }

    /// Makes sure that nobody else creates, opens or deletes the log; false if it exists.
    fn claim_new(&self, found: Found) -> bool {
        let mut logs = self.held.logs.lock();
        let is_new = !logs.contains_key(&found);
        if is_new {
            logs.insert(found, Slot::Busy);
        }
        is_new
    }

    /// Opens a log that is on disk, recovering it if the last process did not stop cleanly.
    ///
    /// # Errors
    /// [`OpenError`]; the log can be tried again unless the directory failed.
    pub async fn open_log(
        &self,
        partition: PartitionId,
        replica_gen: ReplicaGen,
        config: LogConfig,
    ) -> Result<(Log<E>, Recovery), OpenError> {
        let found = Found { partition, replica_gen };
        self.claim(found)?;
        let result = Log::open(self.shared.clone(), found, config).await;
        let (log, recovery) = match result {
            Ok((log, recovery)) => (Ok(log), Some(recovery)),
            Err(error) => (Err(error), None),
        };
        let log = self.settle(found, log)?;
        Ok((log, recovery.unwrap_or_default()))
    }

    /// Deletes a log, open or not. Whoever still reads from it may finish. If the disk is so full
    /// that even this finds no room, it is done later: by the flusher, or else by the next start.
    ///
    /// # Errors
    /// [`OpenError::Missing`], or the directory failed. An interrupted deletion is finished by the
    /// next start.
    pub async fn delete_log(
        &self,
        partition: PartitionId,
        replica_gen: ReplicaGen,
    ) -> Result<(), OpenError> {
        let found = Found { partition, replica_gen };
        let slot = self.held.logs.lock().insert(found, Slot::Busy);
        match slot {
            None => {
                self.held.logs.lock().remove(&found);
                return Err(OpenError::Missing { partition, replica_gen });
            },
            Some(Slot::Busy) => return Err(OpenError::Exists { partition, replica_gen }),
            Some(Slot::Open(log)) => log.close().await,
            Some(Slot::Found) => {},
        }
        match deletion::delete(&self.shared, found).await {
            Ok(()) => drop(self.held.logs.lock().remove(&found)),
            Err(WriteError::Full(_)) => drop(self.shared.deletions.lock().insert(found)),
            Err(WriteError::Failed(failed)) => return Err(failed.into()),
        }
        Ok(())
    }

    /// A graceful stop: makes every open log durable with its state, then seals the directory.
    /// Nothing may be appended afterwards.
    ///
    /// # Errors
    /// The directory failed, or its disk is full; then there is no seal.
    pub async fn seal(&self) -> Result<SealOutcome, WriteError> {
        self.seal_but(&BTreeSet::new()).await
    }

    /// As [`LogDir::seal`], and notes [`StartInfo::unmade`] for the next start.
    ///
    /// # Errors
    /// Those of [`LogDir::seal`].
    pub async fn seal_but(&self, lacks: &BTreeSet<PartitionId>) -> Result<SealOutcome, WriteError> {
        seal::seal(self, lacks).await
    }

    /// For a start that is refused before it opened a log: leaves the directory as clean as it was
    /// found, so that the next start is as strict as this one.
    ///
    /// # Errors
    /// The directory failed, or its disk is full.
    pub async fn give_back(&self) -> Result<(), WriteError> {
        seal::give_back(self).await
    }

    /// Groups that this process has written to the journal: one flush each.
    pub fn journal_groups(&self) -> u64 {
        self.shared.journal.groups()
    }

    /// Recent bytes of all logs that are kept in memory now.
    pub fn tail_bytes(&self) -> usize {
        self.shared.tail_budget.used()
    }

    /// Why the directory is dead, if it is.
    pub fn failed(&self) -> Option<DirectoryFailed> {
        self.shared.check().err()
    }

    /// Whether its disk has room.
    pub fn room(&self) -> Room {
        self.shared.room.lock().room().clone()
    }

    /// For who writes other files in the directory: one of them found no room.
    pub fn note_full(&self, what: &str) {
        self.shared.full(what, &self.shared.path);
    }

    /// How this process found the directory.
    pub fn start(&self) -> &StartInfo {
        &self.shared.start
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Makes logs durable in the background, at most [`crate::FLUSH_BYTES`] or
    /// [`crate::FLUSH_AFTER`] behind, and does what a full disk put off. `tell` hears when the
    /// disk becomes full, and when that is over. Runs until the directory fails or is sealed.
    ///
    /// # Errors
    /// Why the directory failed.
    pub async fn run_flusher(&self, tell: impl Fn(Room) + Send) -> Result<(), DirectoryFailed> {
        flusher::run(self, tell).await
    }

    fn claim(&self, found: Found) -> Result<(), OpenError> {
        let Found { partition, replica_gen } = found;
        let mut logs = self.held.logs.lock();
        match logs.get(&found) {
            None => Err(OpenError::Missing { partition, replica_gen }),
            Some(Slot::Busy | Slot::Open(_)) => Err(OpenError::Exists { partition, replica_gen }),
            Some(Slot::Found) => {
                logs.insert(found, Slot::Busy);
                Ok(())
            },
        }
    }

    /// The logs in use, in order.
    fn open_logs(&self) -> Vec<Log<E>> {
        let logs = self.held.logs.lock();
        let open = logs.values().filter_map(|slot| match slot {
            Slot::Open(log) => Some(log.clone()),
            Slot::Found | Slot::Busy => None,
        });
        open.collect()
    }

    fn settle(&self, found: Found, result: Result<Log<E>, OpenError>) -> Result<Log<E>, OpenError> {
        let slot = result.as_ref().map_or(Slot::Found, |log| Slot::Open(log.clone()));
        self.held.logs.lock().insert(found, slot);
        result
    }
}

impl<E: Env> DirShared<E> {
    /// # Errors
    /// The directory failed earlier.
    pub(crate) fn check(&self) -> Result<(), DirectoryFailed> {
        if !self.is_failed.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.failure.lock().clone() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Declares the directory dead; the first reason stays.
    pub(crate) fn fail(&self, what: &str, path: &Path, error: &io::Error) -> DirectoryFailed {
        self.env.probe().reached("storage_directory_failed");
        let mut failure = self.failure.lock();
        let reason = format!("cannot {what} {}: {error}", path.display());
        let failed = failure.get_or_insert_with(|| DirectoryFailed {
            path: self.path.clone(),
            reason: reason.into(),
        });
        let failed = failed.clone();
        drop(failure);
        self.is_failed.store(true, Ordering::Release);
        self.kick.notify_one();
        failed
    }

    /// What an operation that is no sync ended with: undone for lack of room, or the end of the
    /// directory.
    pub(crate) fn refuse(&self, what: &str, path: &Path, error: &io::Error) -> WriteError {
        if is_full(error) {
            self.full(what, path).into()
        } else {
            self.fail(what, path, error).into()
        }
    }

    pub(crate) fn full(&self, what: &str, path: &Path) -> DirectoryFull {
        self.env.probe().reached("storage_disk_full");
        let reason = format!("cannot {what} {}", path.display());
        if self.room.lock().found_none(self.env.now(), &reason) {
            self.kick.notify_one();
        }
        DirectoryFull { path: self.path.clone(), reason: reason.into() }
    }

    /// For appends: a full disk is not tried too often.
    ///
    /// # Errors
    /// It was full a moment ago.
    pub(crate) fn check_room(&self) -> Result<(), DirectoryFull> {
        let room = self.room.lock();
        // Planted: what was full once is full for good.
        let for_ever = self.env.probe().mutant("full_for_ever");
        match room.room() {
            Room::Full { what, .. } if for_ever || room.holds_back(self.env.now()) => {
                Err(DirectoryFull { path: self.path.clone(), reason: what.clone() })
            },
            Room::Full { .. } | Room::Enough => Ok(()),
        }
    }

    /// An append found room.
    pub(crate) fn note_room(&self) {
        self.room.lock().found_some();
    }

    /// Makes changes of one log true.
    ///
    /// # Errors
    /// [`WriteError`]: without room none of them is, or will be.
    pub(crate) async fn commit(&self, log: Found, changes: Vec<Change>) -> Result<(), WriteError> {
        let records = changes.into_iter().map(|change| Record { log, change });
        self.commit_records(records.collect()).await
    }

    pub(crate) async fn commit_records(&self, records: Vec<Record>) -> Result<(), WriteError> {
        self.check()?;
        match self.journal.commit(records).await {
            Ok(()) => {},
            Err(CommitError::Gone(log)) => return Err(self.gone(log).into()),
            Err(CommitError::Io(error)) => {
                let what = "write the journal in";
                return Err(if self.journal.is_failed() {
                    self.fail(what, &self.path, &error).into()
                } else {
                    self.refuse(what, &self.path, &error)
                });
            },
        }
        if self.journal.is_upkeep_due() {
            self.kick.notify_one();
        }
        // Something else may have failed meanwhile; then nothing is promised any more.
        Ok(self.check()?)
    }

    /// A log was deleted; the directory is well.
    pub(crate) fn gone(&self, log: Found) -> DirectoryFailed {
        DirectoryFailed { path: self.folder(log), reason: "the log was deleted".into() }
    }

    /// What the journal held of this log at the start.
    pub(crate) fn held_batches(&self, log: Found) -> Vec<JournalBatch> {
        self.batches.lock().get(&log).cloned().unwrap_or_default()
    }

    /// They are durable in their segment.
    pub(crate) fn forget_batches(&self, log: Found) {
        self.batches.lock().remove(&log);
    }

    /// A generation no segment of this directory has ever had.
    pub(crate) fn next_seg_gen(&self) -> SegGen {
        SegGen(self.seg_gens.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn folder(&self, found: Found) -> PathBuf {
        self.path.join(log_folder(found.partition, found.replica_gen))
    }

    /// Tells the flusher that the log has bytes that are not durable.
    pub(crate) fn note_dirty(&self, found: Found, urgent: bool) {
        let first = {
            let mut dirty = self.dirty.lock();
            dirty.insert(found) && dirty.len() == 1
        };
        if first || urgent {
            self.kick.notify_one();
        }
    }

    /// Makes the entries of `folder` durable.
    pub(crate) async fn sync_folder(&self, folder: &Path) -> Result<(), DirectoryFailed> {
        let result = sync_dir(&self.env, folder).await;
        result.map_err(|error| self.fail("sync the directory", folder, &error))
    }
}
