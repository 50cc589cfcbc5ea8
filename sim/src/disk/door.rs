//! `env::Disk` and `env::File` of one simulated process.
//!
//! Invariants: an operation takes effect at one instant, between its latency and its answer; a
//! crash tied to it happens after the effect and before the answer, or instead of both; a dead process's operations
//! never return.

use std::io;
use std::path::Path;

use bytes::Bytes;
use env::{Access, DirIdentity, Disk, Entry, EntryKind, File, IoBufs, Space};

use super::armed::{OpKind, Sprung};
use super::image::Image;
use crate::world::{MS, Note, Process, digest};

/// How often an operation on a stalled disk looks whether it may return, nanoseconds.
const STALL_LOOK: u64 = 5 * MS;

/// The disk of one process.
#[derive(Clone)]
pub struct SimDisk(Process);

/// An open file of one process.
#[derive(Clone)]
pub struct SimFile {
    process: Process,
    inode: u64,
    name: std::sync::Arc<str>,
    writable: bool,
}

/// A lock file, held until dropped or until the process dies.
pub struct SimDirLock {
    process: Process,
    lock: u64,
}

impl Drop for SimDirLock {
    fn drop(&mut self) {
        if self.process.alive() {
            self.process.world.disks[self.process.node].lock().unlock(self.lock);
        }
    }
}

/// One operation on its way through the disk.
struct Op<'a> {
    process: &'a Process,
    /// Of what it is done to.
    name: &'a str,
    /// The device that is on.
    device: usize,
    note: Note,
}

impl<'a> Op<'a> {
    fn on_path(process: &'a Process, kind: &'static str, path: &'a Path) -> Self {
        let target = digest(path.as_os_str().as_encoded_bytes());
        let name = path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        let device = process.world.disks[process.node].lock().device_of(path);
        Self { process, name, device, note: Note { kind, target, ..Note::default() } }
    }

    /// Waits as long as the disk takes.
    async fn wait(&self, is_sync: bool) {
        self.process.must_live().await;
        let (world, node) = (&self.process.world, self.process.node);
        let begun = world.now();
        let (nanos, stalled) = {
            let mut disk = world.disks[node].lock();
            (disk.latency(is_sync), disk.device(self.device).stalled_until)
        };
        world.sleep_until(begun + nanos).await;
        if stalled > begun {
            world.fired_on(node, "stalled disk");
            // It may be over earlier than was said.
            while world.disks[node].lock().device(self.device).stalled_until > world.now() {
                world.sleep_until(world.now() + STALL_LOOK).await;
            }
        }
        self.process.must_live().await;
    }

    /// Makes it happen, traces it, and ends the machine here if a fault says so.
    async fn take_effect<T>(
        &self,
        trap: Option<OpKind>,
        text: impl FnOnce() -> String,
        effect: impl FnOnce(&mut Image) -> io::Result<T>,
    ) -> io::Result<T> {
        self.process.must_live().await;
        let world = &self.process.world;
        let node = self.process.node;
        let before = world.disks[node].lock().armed.before(trap);
        if let Some(sprung) = before {
            self.end(sprung);
            self.process.must_live().await;
        }
        let (result, fired, sprung) = {
            let mut disk = world.disks[node].lock();
            disk.operated(self.device);
            let result = effect(&mut disk);
            let trap = trap.filter(|_| result.is_ok());
            let sprung = disk.armed.after(trap, self.name);
            let missed = std::mem::take(&mut disk.armed.missed);
            (result, disk.armed.fired.take().into_iter().chain(missed), sprung)
        };
        let note = match &result {
            Ok(_) => self.note,
            Err(error) => Note { result: digest(error.to_string().as_bytes()), ..self.note },
        };
        self.process.note(note, || match &result {
            Ok(_) => text(),
            Err(error) => format!("{}: {error}", text()),
        });
        for class in fired {
            world.fired_on(node, class);
        }
        if let Some(sprung) = sprung {
            self.end(sprung);
        }
        self.process.must_live().await;
        result
    }

    /// A fault ends the process or the machine here.
    fn end(&self, sprung: Sprung) {
        let (world, node) = (&self.process.world, self.process.node);
        world.fired_at(node, sprung.class);
        world.crash(node, sprung.how);
        world.restart_later(node);
    }
}

impl SimDisk {
    pub(crate) fn new(process: Process) -> Self {
        Self(process)
    }

    async fn on_path<T>(
        &self,
        kind: &'static str,
        path: &Path,
        trap: Option<OpKind>,
        effect: impl FnOnce(&mut Image) -> io::Result<T>,
    ) -> io::Result<T> {
        let op = Op::on_path(&self.0, kind, path);
        op.wait(kind.starts_with("sync")).await;
        op.take_effect(trap, || path.display().to_string(), effect).await
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type DirLock = SimDirLock;

    async fn open(&self, path: &Path, access: Access) -> io::Result<SimFile> {
        let trap = match access {
            Access::CreateNew | Access::CreateOrWrite => Some(OpKind::Create),
            Access::Read | Access::Write => None,
        };
        let opened = self.on_path("open", path, trap, |image| image.open(path, access)).await;
        let (inode, _) = opened?;
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default().into();
        Ok(SimFile { process: self.0.clone(), inode, name, writable: access != Access::Read })
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.on_path("rename", to, Some(OpKind::Rename), |image| image.rename(from, to)).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        let trap = Some(OpKind::Remove);
        self.on_path("remove", path, trap, |image| image.remove(path, EntryKind::File)).await
    }

    async fn create_dir(&self, path: &Path) -> io::Result<()> {
        let now = self.0.world.now();
        let trap = Some(OpKind::Create);
        self.on_path("mkdir", path, trap, |image| image.create_dir(path, now)).await
    }

    async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let trap = Some(OpKind::Remove);
        self.on_path("rmdir", path, trap, |image| image.remove(path, EntryKind::Dir)).await
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.on_path("list", dir, None, |image| image.list_seen(dir)).await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let trap = Some(OpKind::SyncDir);
        self.on_path("sync_dir", dir, trap, |image| image.sync_dir(dir)).await
    }

    async fn sync_fs(&self, dir: &Path) -> io::Result<()> {
        self.on_path("sync_fs", dir, Some(OpKind::Sync), |image| image.sync_fs(dir)).await
    }

    async fn lock_dir(&self, path: &Path) -> io::Result<SimDirLock> {
        let lock = self.on_path("lock", path, None, |image| image.lock(path)).await?;
        Ok(SimDirLock { process: self.0.clone(), lock })
    }

    async fn space(&self, dir: &Path) -> io::Result<Space> {
        self.on_path("space", dir, None, |image| image.space(dir)).await
    }

    async fn identity(&self, dir: &Path) -> io::Result<DirIdentity> {
        let found = self.on_path("identity", dir, None, |image| image.identity(dir)).await;
        let (device, inode, birth_ns) = found?;
        Ok(DirIdentity { fs_kind: "ext4".into(), device, inode, birth_ns })
    }
}

impl SimFile {
    fn op(&self, kind: &'static str, offset: u64, len: usize) -> Op<'_> {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        let note = Note { kind, target: self.inode, offset, len, ..Note::default() };
        let device = self.process.world.disks[self.process.node].lock().home_of(self.inode);
        Op { process: &self.process, name: &self.name, device, note }
    }

    fn must_be_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }

    /// Reads without waiting: what the kernel does for `sendfile`.
    pub(crate) fn read_now(&self, at: u64, len: usize) -> io::Result<Bytes> {
        let (world, node) = (&self.process.world, self.process.node);
        let (read, fired) = {
            let mut disk = world.disks[node].lock();
            (disk.read(self.inode, at, len), disk.armed.fired.take())
        };
        if let Some(class) = fired {
            world.fired_on(node, class);
        }
        read
    }

    /// Its inode, the trace's name for it.
    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }
}

impl File for SimFile {
    async fn append(&self, at: u64, bufs: IoBufs) -> io::Result<()> {
        self.must_be_writable()?;
        let mut op = self.op("write", at, bufs.iter().map(Bytes::len).sum());
        op.note.result = bufs.iter().fold(0, |all: u64, buf| all.rotate_left(7) ^ digest(buf));
        // Usually the page cache takes it at once; here only every other time.
        let (world, node) = (&self.process.world, self.process.node);
        if world.disks[node].lock().dice.chance(500) {
            op.wait(false).await;
        }
        let inode = self.inode;
        op.take_effect(Some(OpKind::Write), String::new, |image| image.write(inode, at, &bufs))
            .await
    }

    async fn read_at(&self, at: u64, len: usize) -> io::Result<Bytes> {
        let op = self.op("read", at, len);
        op.wait(false).await;
        let read =
            op.take_effect(None, String::new, |image| image.read(self.inode, at, len)).await?;
        let result = digest(&read);
        self.process.note(Note { kind: "got", result, ..Note::default() }, String::new);
        Ok(read)
    }

    async fn sync_data(&self) -> io::Result<()> {
        let op = self.op("sync", 0, 0);
        self.process.must_live().await;
        let point = self.process.world.disks[self.process.node].lock().sync_begin(self.inode)?;
        op.wait(true).await;
        let inode = self.inode;
        let trap = Some(OpKind::Sync);
        op.take_effect(trap, String::new, |image| image.sync_end(inode, point)).await
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.must_be_writable()?;
        let op = self.op("set_len", len, 0);
        op.wait(false).await;
        let trap = Some(OpKind::SetLen);
        op.take_effect(trap, String::new, |image| image.set_len(self.inode, len)).await
    }

    async fn len(&self) -> io::Result<u64> {
        let op = self.op("len", 0, 0);
        op.take_effect(None, String::new, |image| image.len_of(self.inode)).await
    }

    async fn preallocate(&self, len: u64) -> io::Result<()> {
        self.must_be_writable()?;
        let op = self.op("reserve", len, 0);
        op.wait(false).await;
        op.take_effect(None, String::new, |image| image.reserve(self.inode, len)).await
    }
}
