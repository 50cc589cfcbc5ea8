//! The real world with a disk whose appends and syncs can be held back or fail, and a probe that
//! plants bugs.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use base::{Duration, Instant, Probe, Timestamp};
use bytes::{Bytes, BytesMut};
use env::{
    Access, DirIdentity, Disk, Entry, Env, File, Host, IoBufs, Listener, Lock, Net, Pools, Rank,
    SegmentQueue, Space, Stream,
};
use env_tokio::{TokioDisk, TokioEnv, TokioFile};
use tokio::sync::Notify;

const FREE: u8 = 0;
const HELD: u8 = 1;
const FAILING: u8 = 2;
const FULL: u8 = 3;

/// Controls shared by all clones.
#[derive(Default)]
struct Controls {
    mode: AtomicU8,
    syncs_held: AtomicBool,
    /// Syncs of the journal that pass although syncs are held.
    journal_passes: AtomicU64,
    /// How many of each wait.
    appends: AtomicU64,
    journal_syncs: AtomicU64,
    segment_syncs: AtomicU64,
    unreadable: AtomicBool,
    /// Segments open now, and at most.
    open: AtomicU64,
    open_max: AtomicU64,
    /// So many nanoseconds the clock is ahead.
    ahead: AtomicU64,
    changed: Notify,
    /// Nothing below it can be written or made.
    broken: Lock3,
    /// No file can be made below it for want of room.
    crowded: Lock3,
    halted: Lock2,
}

struct Lock2(Lock<Option<String>>);

struct Lock3(Lock<Option<PathBuf>>);

impl Default for Lock3 {
    fn default() -> Self {
        Self(Lock::new(Rank(252), None))
    }
}

impl Controls {
    fn check(&self, path: &Path) -> io::Result<()> {
        let broken = self.broken.0.lock().as_ref().is_some_and(|broken| path.starts_with(broken));
        if broken { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
    }
}

impl Default for Lock2 {
    fn default() -> Self {
        Self(Lock::new(Rank(251), None))
    }
}

#[derive(Clone)]
pub struct Shaky {
    inner: TokioEnv,
    disk: ShakyDisk,
    probe: Planted,
}

#[derive(Clone, Copy, Default)]
pub struct Planted(Option<&'static str>);

impl Probe for Planted {
    fn mutant(&self, id: &'static str) -> bool {
        self.0 == Some(id)
    }
}

impl Shaky {
    pub fn new(inner: TokioEnv, mutant: Option<&'static str>) -> Self {
        let disk = ShakyDisk { inner: inner.disk().clone(), controls: Arc::default() };
        Self { inner, disk, probe: Planted(mutant) }
    }

    /// Appends to logs wait until [`Shaky::release`].
    pub fn hold(&self) {
        self.disk.controls.mode.store(HELD, Ordering::SeqCst);
    }

    pub fn release(&self) {
        self.disk.controls.mode.store(FREE, Ordering::SeqCst);
        self.disk.controls.changed.notify_waiters();
    }

    /// Appends to logs fail, those that are held too.
    pub fn fail(&self) {
        self.disk.controls.mode.store(FAILING, Ordering::SeqCst);
        self.disk.controls.changed.notify_waiters();
    }

    /// Appends to logs find no room until [`Shaky::release`].
    pub fn fill(&self) {
        self.disk.controls.mode.store(FULL, Ordering::SeqCst);
    }

    /// From now on everything below `path` fails; or nothing.
    pub fn break_disk(&self, path: Option<&Path>) {
        *self.disk.controls.broken.0.lock() = path.map(Path::to_owned);
    }

    /// From now on no file can be made below `path`, for want of room.
    pub fn crowd(&self, path: Option<&Path>) {
        *self.disk.controls.crowded.0.lock() = path.map(Path::to_owned);
    }

    /// Lets time pass at once.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(0);
        self.disk.controls.ahead.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Syncs of segments and of the journal wait until [`Shaky::release_syncs`], but for the next
    /// `passes` of the journal.
    pub fn hold_syncs(&self, passes: u64) {
        self.disk.controls.journal_passes.store(passes, Ordering::SeqCst);
        self.disk.controls.syncs_held.store(true, Ordering::SeqCst);
    }

    pub fn release_syncs(&self) {
        self.disk.controls.syncs_held.store(false, Ordering::SeqCst);
        self.disk.controls.changed.notify_waiters();
    }

    /// Completes when an append to a log waits.
    pub async fn append_waits(&self) {
        let controls = &self.disk.controls;
        controls.until(|| controls.appends.load(Ordering::SeqCst) > 0).await;
    }

    /// Completes when a sync of the journal waits.
    pub async fn journal_waits(&self) {
        let controls = &self.disk.controls;
        controls.until(|| controls.journal_syncs.load(Ordering::SeqCst) > 0).await;
    }

    /// Whether reads of logs fail.
    pub fn unreadable(&self, yes: bool) {
        self.disk.controls.unreadable.store(yes, Ordering::SeqCst);
    }

    /// How many segments were open at the same time, at most.
    pub fn segments_open_max(&self) -> u64 {
        self.disk.controls.open_max.load(Ordering::SeqCst)
    }

    pub fn halted(&self) -> Option<String> {
        self.disk.controls.halted.0.lock().clone()
    }

    /// Completes when the process is told to stop, with the reason.
    pub async fn halts(&self) -> String {
        self.disk.controls.until(|| self.halted().is_some()).await;
        self.halted().unwrap_or_default()
    }
}

impl Controls {
    /// Completes when `holds`; looked at whenever anything changed.
    async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if holds() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until `is_free`, counted in `among`.
    async fn wait(&self, among: &AtomicU64, is_free: impl Fn() -> bool) {
        if is_free() {
            return;
        }
        among.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
        self.until(is_free).await;
        among.fetch_sub(1, Ordering::SeqCst);
    }

    fn passes(&self, kind: Kind) -> bool {
        let held = self.syncs_held.load(Ordering::SeqCst);
        let one_less = |passes: u64| passes.checked_sub(1);
        let order = Ordering::SeqCst;
        match kind {
            _ if !held => true,
            Kind::Other => true,
            Kind::Segment => false,
            Kind::Journal => self.journal_passes.fetch_update(order, order, one_less).is_ok(),
        }
    }
}

/// What a file is to the controls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Segment,
    Journal,
    Other,
}

impl Kind {
    fn of(path: &Path) -> Self {
        if path.extension().is_some_and(|extension| extension == "log") {
            Self::Segment
        } else if path.parent().is_some_and(|folder| folder.ends_with("journal")) {
            Self::Journal
        } else {
            Self::Other
        }
    }
}

#[derive(Clone)]
pub struct ShakyDisk {
    inner: TokioDisk,
    controls: Arc<Controls>,
}

#[derive(Clone)]
pub struct ShakyFile {
    inner: TokioFile,
    path: Arc<Path>,
    kind: Kind,
    controls: Arc<Controls>,
    _open: Option<Arc<OpenSegment>>,
}

/// Counts for as long as somebody has the file open.
struct OpenSegment(Arc<Controls>);

impl OpenSegment {
    fn new(controls: &Arc<Controls>) -> Arc<Self> {
        let open = controls.open.fetch_add(1, Ordering::SeqCst) + 1;
        controls.open_max.fetch_max(open, Ordering::SeqCst);
        Arc::new(Self(Arc::clone(controls)))
    }
}

impl Drop for OpenSegment {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Disk for ShakyDisk {
    type File = ShakyFile;
    type DirLock = <TokioDisk as Disk>::DirLock;

    async fn open(&self, path: &Path, access: Access) -> io::Result<ShakyFile> {
        self.controls.check(path)?;
        let crowded = self.controls.crowded.0.lock().clone();
        if crowded.is_some_and(|crowded| path.starts_with(crowded)) && !path.exists() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let (kind, controls) = (Kind::of(path), Arc::clone(&self.controls));
        let inner = self.inner.open(path, access).await?;
        let open = (kind == Kind::Segment).then(|| OpenSegment::new(&controls));
        Ok(ShakyFile { inner, path: path.into(), kind, controls, _open: open })
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path).await
    }

    async fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.controls.check(path)?;
        self.inner.create_dir(path).await
    }

    async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(path).await
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.inner.list(dir).await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir).await
    }

    async fn sync_fs(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_fs(dir).await
    }

    async fn lock_dir(&self, path: &Path) -> io::Result<Self::DirLock> {
        self.inner.lock_dir(path).await
    }

    async fn space(&self, dir: &Path) -> io::Result<Space> {
        self.inner.space(dir).await
    }

    async fn identity(&self, dir: &Path) -> io::Result<DirIdentity> {
        self.inner.identity(dir).await
    }
}

impl File for ShakyFile {
    async fn append(&self, at: u64, bufs: IoBufs) -> io::Result<()> {
        self.controls.check(&self.path)?;
        if self.kind == Kind::Segment {
            let mode = || self.controls.mode.load(Ordering::SeqCst);
            self.controls.wait(&self.controls.appends, || mode() != HELD).await;
            match mode() {
                FAILING => return Err(io::Error::other("planted")),
                FULL => return Err(io::ErrorKind::StorageFull.into()),
                _ => {},
            }
        }
        self.inner.append(at, bufs).await
    }

    async fn read_at(&self, at: u64, len: usize) -> io::Result<Bytes> {
        if self.kind == Kind::Segment && self.controls.unreadable.load(Ordering::SeqCst) {
            return Err(io::Error::other("planted"));
        }
        self.inner.read_at(at, len).await
    }

    async fn sync_data(&self) -> io::Result<()> {
        self.controls.check(&self.path)?;
        if !self.controls.passes(self.kind) {
            let syncs = match self.kind {
                Kind::Journal => &self.controls.journal_syncs,
                Kind::Segment | Kind::Other => &self.controls.segment_syncs,
            };
            let is_free = || !self.controls.syncs_held.load(Ordering::SeqCst);
            self.controls.wait(syncs, is_free).await;
        }
        self.inner.sync_data().await
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len).await
    }

    async fn len(&self) -> io::Result<u64> {
        self.inner.len().await
    }

    async fn preallocate(&self, len: u64) -> io::Result<()> {
        self.inner.preallocate(len).await
    }
}

impl Env for Shaky {
    type Probe = Planted;
    type Disk = ShakyDisk;
    type Net = NoNet;

    fn probe(&self) -> &Planted {
        &self.probe
    }

    fn disk(&self) -> &ShakyDisk {
        &self.disk
    }

    fn net(&self) -> &NoNet {
        &NoNet
    }

    fn host(&self) -> Host {
        self.inner.host()
    }

    fn pools(&self) -> &Pools {
        self.inner.pools()
    }

    fn now(&self) -> Instant {
        let ahead = self.disk.controls.ahead.load(Ordering::SeqCst);
        self.inner.now().after(Duration::from_nanos(ahead))
    }

    fn boot_now(&self) -> Instant {
        self.inner.boot_now()
    }

    fn wall(&self) -> Timestamp {
        self.inner.wall()
    }

    async fn sleep_until(&self, at: Instant) {
        self.inner.sleep_until(at).await;
    }

    async fn yield_now(&self) {
        self.inner.yield_now().await;
    }

    async fn seam(&self, site: &'static str) {
        self.inner.seam(site).await;
    }

    fn random_u64(&self) -> u64 {
        self.inner.random_u64()
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.spawn(name, task);
    }

    fn spawn_dedicated(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.spawn_dedicated(name, task);
    }

    fn halt(&self, reason: String) {
        *self.disk.controls.halted.0.lock() = Some(reason);
        self.disk.controls.changed.notify_waiters();
    }
}

/// No sockets.
#[derive(Clone, Copy)]
pub struct NoNet;

fn none<T>() -> io::Result<T> {
    Err(io::Error::other("no network"))
}

impl Net for NoNet {
    type File = ShakyFile;
    type Listener = Self;
    type Stream = Self;

    async fn listen(&self, _at: SocketAddr) -> io::Result<Self> {
        none()
    }

    async fn connect(&self, _to: SocketAddr) -> io::Result<Self> {
        none()
    }
}

impl Listener for NoNet {
    type Stream = Self;

    async fn accept(&mut self) -> io::Result<(Self, SocketAddr)> {
        none()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        none()
    }
}

impl Stream for NoNet {
    type File = ShakyFile;

    async fn readable(&mut self) -> io::Result<()> {
        none()
    }

    async fn read_at_most(&mut self, _buf: &mut BytesMut, _most: usize) -> io::Result<usize> {
        none()
    }

    async fn write_some(&mut self, _queue: &mut SegmentQueue<ShakyFile>) -> io::Result<()> {
        none()
    }

    async fn finish(&mut self) -> io::Result<()> {
        none()
    }
}
