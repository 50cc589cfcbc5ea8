//! One log directory: who it belongs to, how the last process left it, and the logs in it.
//!
//! Invariants: the lock is held for as long as the value lives; the seal is gone, durably, before
//! a log is touched, and comes back only if every log was opened and flushed; after the first
//! write error nothing is written ever again. Source: replication design, crash classes.

mod deletion;
mod flusher;
mod identity;
mod open;
mod seal;
mod starts;

use env::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{PartitionId, Probe, ReplicaGen, SegGen, Uuid};
use env::{Disk, Env, Lock, Rank};

use crate::config::{DirOptions, Expect, LogConfig};
use crate::error::{DirError, DirectoryFailed, OpenError};
use crate::journal::{Change, Journal, JournalBatch, Record};
use crate::log::{Log, Recovery};
use crate::names::log_folder;
use crate::tail::TailBudget;

pub use identity::{Identity, decode_identity, encode_identity};
pub use seal::{Seal, decode_seal, encode_seal};
pub use starts::{SLOT_BYTES, Start, StartClass, decode_start, decode_starts, encode_start};

/// Taken inside a log's lock.
const DIR_RANK: Rank = Rank(210);
const DIRTY_RANK: Rank = Rank(211);
const FAILURE_RANK: Rank = Rank(212);
const BATCHES_RANK: Rank = Rank(213);

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
    logs: Lock<BTreeMap<Found, Slot<E>>>,
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
    seg_gens: AtomicU64,
    /// Folders of logs that the journal does not name although a part of it cannot be read: it may
    /// have named them.
    pub(crate) unexplained: BTreeSet<Found>,
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

    /// Every log on disk, in order.
    pub fn logs(&self) -> Vec<Found> {
        self.held.logs.lock().keys().copied().collect()
    }

    /// Creates an empty log, durably. It has no folder before its first append.
    ///
    /// # Errors
    /// [`OpenError::Exists`], or the directory failed.
    pub async fn create_log(
        &self,
        partition: PartitionId,
        replica_gen: ReplicaGen,
        config: LogConfig,
    ) -> Result<Log<E>, OpenError> {
        let found = Found { partition, replica_gen };
        if self.held.logs.lock().contains_key(&found) {
            return Err(OpenError::Exists { partition, replica_gen });
        }
        self.held.logs.lock().insert(found, Slot::Busy);
        let result = Log::create(self.shared.clone(), found, config).await;
        self.settle(found, result, None)
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
        let log = self.settle(found, log, Some(Slot::Found))?;
        Ok((log, recovery.unwrap_or_default()))
    }

    /// Deletes a log, open or not. Whoever still reads from it may finish.
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
        deletion::delete(&self.shared, found).await?;
        self.held.logs.lock().remove(&found);
        Ok(())
    }

    /// A graceful stop: makes every open log durable with its state, then seals the directory.
    /// Nothing may be appended afterwards.
    ///
    /// # Errors
    /// The directory failed; then there is no seal.
    pub async fn seal(&self) -> Result<SealOutcome, DirectoryFailed> {
        seal::seal(self).await
    }

    /// For a start that is refused before it opened a log: leaves the directory as clean as it was
    /// found, so that the next start is as strict as this one.
    ///
    /// # Errors
    /// The directory failed.
    pub async fn give_back(&self) -> Result<(), DirectoryFailed> {
        seal::give_back(self).await
    }

    /// Recent bytes of all logs that are kept in memory now.
    pub fn tail_bytes(&self) -> usize {
        self.shared.tail_budget.used()
    }

    /// Why the directory is dead, if it is.
    pub fn failed(&self) -> Option<DirectoryFailed> {
        self.shared.check().err()
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
    /// [`crate::FLUSH_AFTER`] behind. Runs until the directory fails or is sealed.
    pub async fn run_flusher(&self) -> Result<(), DirectoryFailed> {
        flusher::run(self).await
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

    fn settle(
        &self,
        found: Found,
        result: Result<Log<E>, OpenError>,
        otherwise: Option<Slot<E>>,
    ) -> Result<Log<E>, OpenError> {
        let mut logs = self.held.logs.lock();
        match (&result, otherwise) {
            (Ok(log), _) => drop(logs.insert(found, Slot::Open(log.clone()))),
            (Err(_), Some(slot)) => drop(logs.insert(found, slot)),
            (Err(_), None) => drop(logs.remove(&found)),
        }
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

    /// Makes changes of one log true.
    pub(crate) async fn commit(
        &self,
        log: Found,
        changes: Vec<Change>,
    ) -> Result<(), DirectoryFailed> {
        let records = changes.into_iter().map(|change| Record { log, change });
        self.commit_records(records.collect()).await
    }

    pub(crate) async fn commit_records(&self, records: Vec<Record>) -> Result<(), DirectoryFailed> {
        self.check()?;
        let result = self.journal.commit(records).await;
        result.map_err(|error| self.fail("write the journal in", &self.path, &error))?;
        if self.journal.is_upkeep_due() {
            self.kick.notify_one();
        }
        // Something else may have failed meanwhile; then nothing is promised any more.
        self.check()
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
        let result = self.env.disk().sync_dir(folder).await;
        result.map_err(|error| self.fail("sync the directory", folder, &error))
    }
}
