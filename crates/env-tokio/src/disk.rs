//! Directories and the opening of files.
//!
//! Invariant: every call here may touch the disk and so runs on the blocking pool.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use base::measure::TimeCounts;
use env::{Access, DirIdentity, Disk, Entry, EntryKind, Lock, Rank, Space};
use rustix::fs::{FlockOperation, flock, fstat, stat, statvfs, syncfs};
use tokio::runtime::Handle;

use crate::blocking::Blocking;
use crate::file::{self, TokioFile};
use crate::{Settings, host};

/// Files and directories of this process. Clones share the bounds.
#[derive(Clone, Debug)]
pub struct TokioDisk {
    pools: file::Shared,
    /// One open directory per path given to `sync_fs`, kept so that a write-back error which
    /// somebody else's sync has already been told is still reported to us: the kernel remembers
    /// per open file what it has reported. At most [`SYNCED_DIRS_MAX`].
    synced: Arc<Lock<BTreeMap<PathBuf, Arc<fs::File>>>>,
}

const SYNCED_DIRS_MAX: usize = 64;

/// Holds a lock file until dropped; the kernel drops it with the process.
#[derive(Debug)]
pub struct TokioDirLock {
    _locked: OwnedFd,
}

impl TokioDisk {
    pub(crate) fn new(handle: &Handle, settings: Settings) -> Self {
        Self {
            pools: file::Shared {
                work: Blocking::new(handle, settings.blocking_max),
                reads: Blocking::new(handle, settings.cold_reads_max),
                append_inline_bytes_max: settings.append_inline_bytes_max,
                read_inline_bytes_max: settings.read_inline_bytes_max,
                syncs: Arc::default(),
                writes: Arc::default(),
                stalls: Arc::default(),
            },
            synced: Arc::new(Lock::new(Rank(251), BTreeMap::new())),
        }
    }

    /// How long the disk took for each sync of a file or a directory so far.
    pub fn sync_times(&self) -> TimeCounts {
        self.pools.syncs.read()
    }

    /// Calls that wrote to a file so far.
    pub fn write_calls(&self) -> u64 {
        self.pools.writes.load(Ordering::Relaxed)
    }

    async fn run<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let path = path.to_owned();
        self.pools.work.run(move || work(&path)).await
    }
}

impl Disk for TokioDisk {
    type File = TokioFile;
    type DirLock = TokioDirLock;

    async fn open(&self, path: &Path, access: Access) -> io::Result<TokioFile> {
        let file = self.run(path, move |path| options(access).open(path)).await?;
        Ok(TokioFile::new(file.into(), self.pools.clone()))
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let to = to.to_owned();
        self.run(from, move |from| fs::rename(from, to)).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.run(path, |path| fs::remove_file(path)).await
    }

    async fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.run(path, |path| fs::create_dir_all(path)).await
    }

    async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.run(path, |path| fs::remove_dir(path)).await
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.run(dir, list).await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let syncs = Arc::clone(&self.pools.syncs);
        let work = move |dir: &Path| {
            let dir = open_dir(dir)?;
            let begun = Instant::now();
            let result = dir.sync_all();
            syncs.count(begun.elapsed());
            result
        };
        self.run(dir, work).await
    }

    async fn sync_fs(&self, dir: &Path) -> io::Result<()> {
        let (synced, syncs) = (Arc::clone(&self.synced), Arc::clone(&self.pools.syncs));
        self.run(dir, move |dir| {
            let open = kept_dir(&synced, dir)?;
            let begun = Instant::now();
            let result = file::retried(|| syncfs(&open));
            syncs.count(begun.elapsed());
            result
        })
        .await
    }

    async fn lock_dir(&self, path: &Path) -> io::Result<TokioDirLock> {
        self.run(path, |path| {
            let locked = OwnedFd::from(options(Access::CreateOrWrite).open(path)?);
            file::retried(|| flock(&locked, FlockOperation::NonBlockingLockExclusive))?;
            Ok(TokioDirLock { _locked: locked })
        })
        .await
    }

    async fn space(&self, dir: &Path) -> io::Result<Space> {
        self.run(dir, |dir| {
            let found = statvfs(dir)?;
            let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
            let total_bytes = bytes(found.f_blocks);
            Ok(Space { total_bytes, usable_bytes: bytes(found.f_bavail).min(total_bytes) })
        })
        .await
    }

    async fn identity(&self, dir: &Path) -> io::Result<DirIdentity> {
        self.run(dir, host::identity).await
    }
}

fn options(access: Access) -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true);
    match access {
        Access::Read => &mut options,
        Access::Write => options.write(true),
        Access::CreateOrWrite => options.write(true).create(true).truncate(false),
        Access::CreateNew => options.write(true).create_new(true),
    };
    options
}

/// Opens a directory; refuses a file.
fn open_dir(dir: &Path) -> io::Result<fs::File> {
    let open = fs::File::open(dir)?;
    if open.metadata()?.is_dir() { Ok(open) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

/// The kept handle of `dir`, opened anew if the path leads elsewhere by now.
fn kept_dir(
    synced: &Lock<BTreeMap<PathBuf, Arc<fs::File>>>,
    dir: &Path,
) -> io::Result<Arc<fs::File>> {
    let kept = synced.lock().get(dir).cloned();
    if let Some(kept) = kept {
        let (there, here) = (stat(dir)?, fstat(&*kept)?);
        if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino) {
            return Ok(kept);
        }
    }
    let open = Arc::new(open_dir(dir)?);
    let mut synced = synced.lock();
    if synced.len() < SYNCED_DIRS_MAX || synced.contains_key(dir) {
        synced.insert(dir.to_owned(), Arc::clone(&open));
    }
    Ok(open)
}

fn list(dir: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let kind = if kind.is_dir() {
            EntryKind::Dir
        } else if kind.is_file() {
            EntryKind::File
        } else {
            continue;
        };
        entries.push(Entry { name: entry.file_name().to_string_lossy().into_owned(), kind });
    }
    entries.sort_unstable();
    Ok(entries)
}
