//! A world in memory: one disk that forgets what was not synced, a clock that stands still unless
//! told, no network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::{io, ops::Range};

use base::{Duration, Instant, Prng, Probe, Timestamp};
use bytes::Bytes;
use env::{
    Access, DirIdentity, Disk, Entry, EntryKind, Env, File, Host, IoBufs, Lock, Pools, Rank, Space,
};

use crate::inode::Inode;

pub use crate::batches::*;

/// What the disk does wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// From this operation (counted from the start) on, everything fails: the process is dead.
    pub crash_at: Option<u64>,
    /// This operation, if it is a sync, fails, once.
    pub fail_sync_at: Option<u64>,
    /// No file can grow and none be made.
    pub full: bool,
    /// No room is left to reserve.
    pub no_reserve: bool,
    /// When the disk is full no longer; never by itself if there is no such time.
    pub full_until: Option<Instant>,
    /// So many bytes of what finds no room are written all the same.
    pub partial: usize,
    /// The next sync says that the disk is full.
    pub full_at_sync: bool,
    /// This operation says so, and does nothing.
    pub full_at: Option<u64>,
    /// The journal gets no new file and no new manifest.
    pub journal_full: bool,
    /// So many times a directory cannot be opened to be synced, for want of a descriptor.
    pub undescribed: u64,
}

#[derive(Default)]
struct World {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    dirs: BTreeSet<PathBuf>,
    next_inode: u64,
    ops: u64,
    faults: Faults,
    incarnation: u64,
    locked: bool,
    body_reads: u64,
    syncs: u64,
}

/// The probe: chosen mutants and buggify sites, and the marks that were reached.
#[derive(Clone, Default)]
pub struct TestProbe {
    pub mutants: BTreeSet<&'static str>,
    pub buggified: BTreeSet<&'static str>,
    pub marks: Arc<Lock2<BTreeSet<&'static str>>>,
}

/// A lock with a default.
pub struct Lock2<T>(Lock<T>);

impl<T> Lock2<T> {
    pub fn lock(&self) -> env::Guard<'_, T> {
        self.0.lock()
    }
}

impl<T: Default> Default for Lock2<T> {
    fn default() -> Self {
        Self(Lock::new(Rank(255), T::default()))
    }
}

impl Probe for TestProbe {
    fn mutant(&self, id: &'static str) -> bool {
        self.mutants.contains(id)
    }

    fn reached(&self, mark: &'static str) {
        let known = storage::MARKS.contains(&mark) || storage::MARKS_DAMAGE.contains(&mark);
        assert!(known, "{mark} is not listed");
        self.marks.0.lock().insert(mark);
    }

    fn buggify(&self, site: &'static str) -> bool {
        self.buggified.contains(site)
    }
}

/// One process on the machine; `next` is the one after a crash.
#[derive(Clone)]
pub struct MemEnv {
    world: Arc<Lock<World>>,
    incarnation: u64,
    boot: u64,
    pub probe: TestProbe,
    pools: Arc<Pools>,
    clock: Arc<AtomicU64>,
    random: Arc<AtomicU64>,
    /// How often anybody slept.
    pub sleeps: Arc<AtomicU64>,
    /// Whether operations sometimes have to be polled twice.
    pub restless: bool,
}

impl MemEnv {
    pub fn new() -> Self {
        let world = World { next_inode: 1, ..World::default() };
        Self {
            world: Arc::new(Lock::new(Rank(254), world)),
            incarnation: 0,
            boot: 0,
            probe: TestProbe::default(),
            pools: Arc::default(),
            clock: Arc::new(AtomicU64::new(1)),
            random: Arc::new(AtomicU64::new(1)),
            sleeps: Arc::default(),
            restless: false,
        }
    }

    pub fn with_buggify(mut self, site: &'static str) -> Self {
        self.probe.buggified.insert(site);
        self
    }

    pub fn with_mutant(mut self, id: &'static str) -> Self {
        self.probe.mutants.insert(id);
        self
    }

    pub fn set_faults(&self, faults: Faults) {
        self.world.lock().faults = faults;
    }

    pub fn ops(&self) -> u64 {
        self.world.lock().ops
    }

    pub fn body_reads(&self) -> u64 {
        self.world.lock().body_reads
    }

    /// Room reserved behind the ends of segments.
    pub fn reserved(&self) -> usize {
        let world = self.world.lock();
        let segments =
            world.names.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "log"));
        let inodes = segments.map(|(_, inode)| &world.inodes[inode]);
        inodes.map(|inode| inode.reserved.saturating_sub(inode.data.len())).sum()
    }

    pub fn syncs(&self) -> u64 {
        self.world.lock().syncs
    }

    pub fn reached(&self, mark: &str) -> bool {
        self.probe.marks.0.lock().contains(mark)
    }

    pub fn advance(&self, by: Duration) {
        self.clock.fetch_add(u64::try_from(by.as_nanos()).unwrap(), Ordering::Relaxed);
    }

    pub fn wall_since_start(&self) -> Duration {
        self.now().since(Instant(1))
    }

    /// The process dies; the page cache lives.
    pub fn after_process_crash(&self) -> Self {
        let mut world = self.world.lock();
        world.incarnation += 1;
        world.faults = Faults::default();
        world.locked = false;
        let mut next = self.clone();
        next.incarnation = world.incarnation;
        next
    }

    /// The machine dies; of what was not synced, each sector is kept or lost by chance.
    pub fn after_power_loss(&self, seed: u64) -> Self {
        let mut prng = Prng::new(seed);
        let mut next = self.after_process_crash();
        next.boot += 1;
        let mut world = next.world.lock();
        for inode in world.inodes.values_mut() {
            inode.lose_power(&mut prng);
        }
        world.names = world.durable_names.clone();
        drop(world);
        next
    }

    /// Changes bytes of a file behind everybody's back.
    pub fn rot(&self, path: &Path, at: usize, with: u8) {
        let mut world = self.world.lock();
        let inode = world.names[path];
        let inode = world.inodes.get_mut(&inode).unwrap();
        inode.data[at] ^= with;
        if let Some(byte) = inode.durable.get_mut(at) {
            *byte ^= with;
        }
    }

    /// Reads of these bytes of a file fail from now on.
    pub fn unreadable(&self, path: &Path, bytes: Range<usize>) {
        let mut world = self.world.lock();
        let inode = world.names[path];
        world.inodes.get_mut(&inode).unwrap().unreadable = bytes;
    }

    /// Replaces a file's content behind everybody's back.
    pub fn overwrite(&self, path: &Path, bytes: &[u8]) {
        let mut world = self.world.lock();
        let number = world.inode_of(path);
        let inode = world.inodes.get_mut(&number).unwrap();
        (inode.data, inode.durable) = (bytes.to_vec(), bytes.to_vec());
        world.durable_names.insert(path.to_owned(), number);
    }

    pub fn content(&self, path: &Path) -> Vec<u8> {
        let world = self.world.lock();
        world.inodes[&world.names[path]].data.clone()
    }

    pub fn files(&self, below: &Path) -> Vec<PathBuf> {
        let world = self.world.lock();
        world.names.keys().filter(|path| path.starts_with(below)).cloned().collect()
    }

    pub fn delete(&self, path: &Path) {
        let mut world = self.world.lock();
        world.names.remove(path);
        world.durable_names.remove(path);
    }

    /// Half of the time lets other tasks in, if restless.
    async fn pause(&self) {
        let mut paused = !self.restless || self.random_u64().is_multiple_of(2);
        std::future::poll_fn(|_| {
            if std::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Counts an operation of this incarnation; errors if it is dead.
    fn op(&self) -> io::Result<u64> {
        let mut world = self.world.lock();
        if self.incarnation != world.incarnation {
            return Err(io::Error::other("dead incarnation"));
        }
        world.ops += 1;
        let op = world.ops;
        if world.faults.full_until.is_some_and(|until| self.now() >= until) {
            world.faults.full = false;
        }
        if world.faults.crash_at.is_some_and(|at| op >= at) {
            return Err(io::Error::other("crashed"));
        }
        let is_full = world.faults.full_at == Some(op);
        if is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(op) }
    }
}

impl World {
    fn inode_of(&mut self, path: &Path) -> u64 {
        if let Some(number) = self.names.get(path) {
            return *number;
        }
        let number = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(number, Inode::default());
        self.names.insert(path.to_owned(), number);
        number
    }
}

#[derive(Clone)]
pub struct MemFile {
    env: MemEnv,
    inode: u64,
    is_log: bool,
}

pub struct MemDirLock;

impl File for MemFile {
    async fn append(&self, at: u64, bufs: IoBufs) -> io::Result<()> {
        self.env.pause().await;
        let op = self.env.op();
        let torn = op.is_err();
        let mut world = self.env.world.lock();
        if world.incarnation != self.env.incarnation {
            return Err(io::Error::other("dead incarnation"));
        }
        let bytes: Vec<u8> = bufs.iter().flatten().copied().collect();
        let end = usize::try_from(at).unwrap() + bytes.len();
        if world.faults.full && end > world.inodes[&self.inode].data.len() {
            let len = world.faults.partial.min(bytes.len());
            let inode = world.inodes.get_mut(&self.inode).unwrap();
            inode.write(usize::try_from(at).unwrap(), &bytes[..len]);
            return Err(io::ErrorKind::StorageFull.into());
        }
        // The write that meets the crash gets halfway.
        let len = if !torn {
            bytes.len()
        } else if world.faults.crash_at == Some(world.ops) {
            bytes.len() / 2
        } else {
            0
        };
        let inode = world.inodes.get_mut(&self.inode).unwrap();
        inode.write(usize::try_from(at).unwrap(), &bytes[..len]);
        op.map(drop)
    }

    async fn read_at(&self, at: u64, len: usize) -> io::Result<Bytes> {
        self.env.pause().await;
        self.env.op()?;
        let mut world = self.env.world.lock();
        if self.is_log {
            world.body_reads += 1;
        }
        let inode = &world.inodes[&self.inode];
        let data = &inode.data;
        let from = usize::try_from(at).unwrap().min(data.len());
        let to = from.saturating_add(len).min(data.len());
        if from < inode.unreadable.end && inode.unreadable.start < to {
            return Err(io::Error::other("EIO"));
        }
        Ok(Bytes::copy_from_slice(&data[from..to]))
    }

    async fn sync_data(&self) -> io::Result<()> {
        self.env.pause().await;
        let op = self.env.op()?;
        let mut world = self.env.world.lock();
        world.syncs += 1;
        let fails = world.faults.fail_sync_at == Some(op);
        if std::mem::take(&mut world.faults.full_at_sync) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = world.inodes.get_mut(&self.inode).unwrap();
        if fails {
            inode.dirty.clear();
            return Err(io::Error::other("sync failed"));
        }
        inode.sync();
        Ok(())
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.env.op()?;
        let mut world = self.env.world.lock();
        let full = world.faults.full;
        let inode = world.inodes.get_mut(&self.inode).unwrap();
        let len = usize::try_from(len).unwrap();
        if full && len > inode.data.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inode.data.resize(len, 0);
        inode.reserved = len;
        Ok(())
    }

    async fn len(&self) -> io::Result<u64> {
        self.env.op()?;
        let world = self.env.world.lock();
        Ok(u64::try_from(world.inodes[&self.inode].data.len()).unwrap())
    }

    async fn preallocate(&self, len: u64) -> io::Result<()> {
        let mut world = self.env.world.lock();
        let full = world.faults.full || world.faults.no_reserve;
        let inode = world.inodes.get_mut(&self.inode).unwrap();
        let len = usize::try_from(len).unwrap();
        // As ext4 does it, which keeps what it got.
        let got = if full { usize::midpoint(inode.data.len(), len) } else { len };
        inode.reserved = inode.reserved.max(got);
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Disk for MemEnv {
    type File = MemFile;
    type DirLock = MemDirLock;

    async fn open(&self, path: &Path, access: Access) -> io::Result<MemFile> {
        self.pause().await;
        self.op()?;
        let mut world = self.world.lock();
        let exists = world.names.contains_key(path);
        match access {
            Access::Read | Access::Write if !exists => return Err(io::ErrorKind::NotFound.into()),
            Access::CreateNew if exists => return Err(io::ErrorKind::AlreadyExists.into()),
            _ if !exists && world.faults.full => return Err(io::ErrorKind::StorageFull.into()),
            Access::CreateOrWrite if world.faults.journal_full && is_of_journal(path) => {
                return Err(io::ErrorKind::StorageFull.into());
            },
            _ => {},
        }
        let inode = world.inode_of(path);
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        drop(world);
        Ok(MemFile { env: self.clone(), inode, is_log })
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pause().await;
        self.op()?;
        let mut world = self.world.lock();
        let inode = world.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.names.insert(to.to_owned(), inode);
        Ok(())
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.op()?;
        let removed = self.world.lock().names.remove(path);
        removed.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    async fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.op()?;
        self.world.lock().dirs.insert(path.to_owned());
        Ok(())
    }

    async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.op()?;
        let mut world = self.world.lock();
        assert!(!world.names.keys().any(|name| name.starts_with(path)), "not empty");
        world.dirs.remove(path);
        Ok(())
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.op()?;
        let world = self.world.lock();
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let in_dir = |path: &&PathBuf| path.parent() == Some(dir);
        let files = world.names.keys().filter(in_dir);
        let files = files.map(|path| Entry { name: name(path), kind: EntryKind::File });
        let dirs = world.dirs.iter().filter(in_dir);
        let dirs = dirs.map(|path| Entry { name: name(path), kind: EntryKind::Dir });
        let mut entries: Vec<_> = files.chain(dirs).collect();
        entries.sort();
        Ok(entries)
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.pause().await;
        self.op()?;
        let mut world = self.world.lock();
        if world.faults.undescribed > 0 {
            world.faults.undescribed -= 1;
            return Err(io::Error::from_raw_os_error(24));
        }
        let in_dir = |path: &Path| path.parent() == Some(dir);
        world.durable_names.retain(|path, _| !in_dir(path));
        let now: Vec<_> = world.names.iter().filter(|(path, _)| in_dir(path)).collect();
        let now: Vec<_> = now.into_iter().map(|(path, inode)| (path.clone(), *inode)).collect();
        world.durable_names.extend(now);
        Ok(())
    }

    async fn sync_fs(&self, _dir: &Path) -> io::Result<()> {
        self.op().map(drop)
    }

    async fn lock_dir(&self, _path: &Path) -> io::Result<MemDirLock> {
        self.op()?;
        let mut world = self.world.lock();
        if std::mem::replace(&mut world.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(MemDirLock)
    }

    async fn space(&self, _dir: &Path) -> io::Result<Space> {
        Ok(Space { total_bytes: 1 << 30, usable_bytes: 1 << 30 })
    }

    async fn identity(&self, _dir: &Path) -> io::Result<DirIdentity> {
        Ok(DirIdentity { fs_kind: "ext4".into(), device: 1, inode: 2, birth_ns: 3 })
    }
}

impl Env for MemEnv {
    type Probe = TestProbe;
    type Disk = Self;
    type Net = NoNet;

    fn probe(&self) -> &TestProbe {
        &self.probe
    }

    fn disk(&self) -> &Self {
        self
    }

    fn net(&self) -> &NoNet {
        &NoNet
    }

    fn host(&self) -> Host {
        Host { boot_id: format!("boot {}", self.boot) }
    }

    fn pools(&self) -> &Pools {
        &self.pools
    }

    fn now(&self) -> Instant {
        Instant(self.clock.load(Ordering::Relaxed))
    }

    fn boot_now(&self) -> Instant {
        self.now()
    }

    fn wall(&self) -> Timestamp {
        Timestamp(i64::try_from(self.now().0 / 1_000_000).unwrap())
    }

    async fn sleep_until(&self, at: Instant) {
        let slept = self.sleeps.fetch_add(1, Ordering::Relaxed);
        assert!(slept < 1_000, "somebody sleeps and sleeps, and nothing comes of it");
        self.clock.fetch_max(at.0, Ordering::Relaxed);
    }

    async fn yield_now(&self) {}

    async fn seam(&self, _site: &'static str) {
        self.pause().await;
    }

    fn random_u64(&self) -> u64 {
        Prng::new(self.random.fetch_add(1, Ordering::Relaxed)).next_u64()
    }

    fn spawn(&self, _name: &'static str, _task: impl Future<Output = ()> + Send + 'static) {
        unreachable!("storage spawns nothing");
    }

    fn spawn_dedicated(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn(name, task);
    }

    fn halt(&self, reason: String) {
        unreachable!("storage never halts: {reason}");
    }
}
