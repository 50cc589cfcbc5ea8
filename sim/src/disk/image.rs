//! One machine's file system, cache and platter.
//!
//! Owns: inodes, the journal of pending directory changes and lock files. Pure but for its random stream. Invariants: see [`super`]; a failed operation changed
//! nothing but what its trait says may have been written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use bytes::Bytes;
use env::{Access, Entry, EntryKind};

use super::armed::Armed;
use super::damage::AtRest;
use super::device::Device;
use super::inode::{FileNode, SECTOR, SyncPoint};
use super::lost::Hurt;
use super::names::{DirNode, DirOp, ROOT, parts};
use crate::world::{Dice, Knobs};

#[derive(Clone, Debug)]
pub(super) enum Inode {
    File(FileNode),
    Dir(DirNode),
}

/// See the module head.
#[derive(Clone, Debug)]
pub struct Image {
    device: u64,
    /// Folders of the root, each on the device with its number.
    pub(super) mounts: Vec<String>,
    pub(super) devices: Vec<Device>,
    /// A process ends with this device, or with all of the first so many.
    pub(super) vital: usize,
    pub(super) logs: usize,
    /// Whether the present process does not serve yet.
    pub(super) starting: bool,
    /// The device of the last operation.
    pub(super) operated_last: usize,
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) pending: Vec<DirOp>,
    next_inode: u64,
    locks: BTreeSet<u64>,
    pub(crate) armed: Armed,
    pub(crate) dice: Dice,
    pub(super) knobs: Knobs,
    /// Where a misdirected write may land.
    victims: Vec<AtRest>,
    /// So many of the pending changes a lying drive promised to have.
    pub(super) promised_ops: usize,
    /// Whether a power loss took what a lying drive had promised to have.
    pub(crate) lie_came_true: bool,
    /// The right file system, while another one is in its place.
    pub(super) aside: Option<BTreeMap<u64, Inode>>,
    /// Files that are lost, and others that were damaged on purpose.
    pub(super) hurt: Hurt,
}

/// The largest file, bytes: a bound on a mutant's mistake, far above any simulated log.
const FILE_MAX: u64 = 1 << 30;
/// What a directory entry takes of the room of a disk that is getting full, bytes.
const ENTRY_BYTES: u64 = 64;

impl Image {
    /// An empty file system of machine `node`.
    pub fn new(node: usize, knobs: Knobs, dice: Dice) -> Self {
        Self {
            device: 0x100 + u64::try_from(node).unwrap_or(0),
            mounts: Vec::new(),
            devices: vec![Device::default()],
            vital: 0,
            logs: 1,
            starting: false,
            operated_last: 0,
            inodes: BTreeMap::from([(ROOT, Inode::Dir(DirNode::default()))]),
            pending: Vec::new(),
            next_inode: ROOT + 1,
            locks: BTreeSet::new(),
            armed: Armed::default(),
            dice,
            knobs,
            victims: Vec::new(),
            promised_ops: 0,
            lie_came_true: false,
            aside: None,
            hurt: Hurt::default(),
        }
    }

    /// How long an operation takes, nanoseconds; syncs take longer.
    pub(crate) fn latency(&mut self, is_sync: bool) -> u64 {
        let knobs = &self.knobs;
        let most = if is_sync { knobs.sync_max_us } else { knobs.disk_max_us };
        let drawn = self.dice.between(knobs.disk_min_us * 1_000, most * 1_000);
        if self.armed.slow > 1 && std::mem::take(&mut self.armed.slow_is_news) {
            self.armed.missed.push("slow disk");
        }
        drawn * self.armed.slow.max(1)
    }

    /// Whether it is slow, full, stalled or lying right now.
    pub(crate) fn is_hurting(&self) -> bool {
        let armed = &self.armed;
        armed.slow > 1 || armed.lying || self.devices.iter().any(Device::is_hurting)
    }

    /// Switches every armed fault off. What a drive still holds in its own cache is written.
    pub(crate) fn heal(&mut self) {
        if self.armed.lying {
            self.drain();
        }
        self.armed = Armed::default();
        self.devices.iter_mut().for_each(Device::heal);
        self.repair_sectors();
    }

    /// Lets the next `count` writes also land on one of `victims`.
    pub(crate) fn misdirect(&mut self, count: u32, victims: Vec<AtRest>) {
        self.armed.misdirected = if victims.is_empty() { 0 } else { count };
        self.victims = victims;
    }

    // --- names ---------------------------------------------------------------------------------

    pub(super) fn dir(&self, inode: u64) -> io::Result<&DirNode> {
        match self.inodes.get(&inode) {
            Some(Inode::Dir(dir)) => Ok(dir),
            Some(Inode::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The inode of a path, as the process sees it.
    pub(super) fn find(&self, path: &Path) -> Option<u64> {
        self.resolve(&parts(path).ok()?).ok()
    }

    pub(super) fn resolve(&self, names: &[String]) -> io::Result<u64> {
        let mut at = ROOT;
        for name in names {
            at = *self.dir(at)?.entries.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    /// The directory that holds `path`, and its name there.
    pub(super) fn place(&self, path: &Path) -> io::Result<(u64, String)> {
        let mut names = parts(path)?;
        let name = names.pop().ok_or(io::ErrorKind::InvalidInput)?;
        let dir = self.resolve(&names)?;
        self.dir(dir)?;
        Ok((dir, name))
    }

    fn change(&mut self, op: DirOp) {
        let inodes = &mut self.inodes;
        op.apply(|dir, name, inode| {
            if let Some(Inode::Dir(dir)) = inodes.get_mut(&dir) {
                match inode {
                    Some(inode) => dir.entries.insert(name.to_owned(), inode),
                    None => dir.entries.remove(name),
                };
            }
        });
        self.pending.push(op);
    }

    pub(super) fn make_durable(&mut self, op: &DirOp) {
        let inodes = &mut self.inodes;
        op.apply(|dir, name, inode| {
            if let Some(Inode::Dir(dir)) = inodes.get_mut(&dir) {
                match inode {
                    Some(inode) => dir.durable.insert(name.to_owned(), inode),
                    None => dir.durable.remove(name),
                };
            }
        });
    }

    fn make(&mut self, dir: u64, name: String, mut node: Inode) -> io::Result<u64> {
        // A directory entry takes room too.
        let device = self.device_for(dir, &name);
        if self.take_room(device, ENTRY_BYTES) < ENTRY_BYTES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = self.next_inode;
        self.next_inode += 1;
        match &mut node {
            Inode::File(file) => file.device = device,
            Inode::Dir(dir) => dir.device = device,
        }
        self.inodes.insert(inode, node);
        self.change(DirOp::Link { dir, name, inode });
        Ok(inode)
    }

    /// Opens or creates a file. Returns its inode and whether it was created.
    pub fn open(&mut self, path: &Path, access: Access) -> io::Result<(u64, bool)> {
        let (dir, name) = self.place(path)?;
        let found = self.dir(dir)?.entries.get(&name).copied();
        match (found, access) {
            (Some(_), Access::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(inode), Access::Read | Access::Write | Access::CreateOrWrite) => {
                self.file(inode)?;
                Ok((inode, false))
            },
            (None, Access::Read | Access::Write) => {
                self.missed(dir, Some(&name));
                Err(io::ErrorKind::NotFound.into())
            },
            (None, Access::CreateOrWrite | Access::CreateNew) => {
                self.make(dir, name, Inode::File(FileNode::default())).map(|inode| (inode, true))
            },
        }
    }

    /// Renames a file or directory.
    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        let inode = *self.dir(from.0)?.entries.get(&from.1).ok_or(io::ErrorKind::NotFound)?;
        if from == to {
            return Ok(());
        }
        if self.home_of(inode) != self.device_for(to.0, &to.1) {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        if let Some(old) = self.dir(to.0)?.entries.get(&to.1).copied() {
            match (&self.inodes[&inode], &self.inodes[&old]) {
                (Inode::File(_), Inode::File(_)) => {},
                (Inode::Dir(_), Inode::Dir(old)) if old.entries.is_empty() => {},
                (Inode::Dir(_), Inode::Dir(_)) => {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                },
                (Inode::File(_), Inode::Dir(_)) => return Err(io::ErrorKind::IsADirectory.into()),
                (Inode::Dir(_), Inode::File(_)) => {
                    return Err(io::ErrorKind::NotADirectory.into());
                },
            }
        }
        self.change(DirOp::Rename { from, to, inode });
        Ok(())
    }

    /// Removes a file, or an empty directory.
    pub fn remove(&mut self, path: &Path, kind: EntryKind) -> io::Result<()> {
        let (dir, name) = self.place(path)?;
        let inode = *self.dir(dir)?.entries.get(&name).ok_or(io::ErrorKind::NotFound)?;
        match (&self.inodes[&inode], kind) {
            (Inode::File(_), EntryKind::File) => {},
            (Inode::Dir(node), EntryKind::Dir) if node.entries.is_empty() => {},
            (Inode::Dir(_), EntryKind::Dir) => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
            (Inode::Dir(_), EntryKind::File) => return Err(io::ErrorKind::IsADirectory.into()),
            (Inode::File(_), EntryKind::Dir) => return Err(io::ErrorKind::NotADirectory.into()),
        }
        if let Some(Inode::File(file)) = self.inodes.get(&inode) {
            let bytes = u64::try_from(file.cache().len()).unwrap_or(0).max(file.reserved);
            self.devices[file.device].give_room(bytes.saturating_add(ENTRY_BYTES));
        }
        self.change(DirOp::Unlink { dir, name });
        Ok(())
    }

    /// Creates a directory and its missing parents.
    pub fn create_dir(&mut self, path: &Path, now: u64) -> io::Result<()> {
        let mut at = ROOT;
        for name in parts(path)? {
            at = match self.dir(at)?.entries.get(&name) {
                Some(inode) => *inode,
                None => {
                    self.make(at, name, Inode::Dir(DirNode { born: now, ..DirNode::default() }))?
                },
            };
        }
        self.dir(at).map(|_| ())
    }

    /// The entries of a directory, sorted by name, as a process sees them.
    pub fn list_seen(&mut self, path: &Path) -> io::Result<Vec<Entry>> {
        self.missed(self.resolve(&parts(path)?)?, None);
        self.list(path)
    }

    /// The entries of a directory, sorted by name.
    pub fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let dir = self.dir(self.resolve(&parts(path)?)?)?;
        let entry =
            |(name, inode): (&String, &u64)| Entry { name: name.clone(), kind: self.kind(*inode) };
        Ok(dir.entries.iter().map(entry).collect())
    }

    pub(super) fn kind(&self, inode: u64) -> EntryKind {
        match self.inodes.get(&inode) {
            Some(Inode::Dir(_)) => EntryKind::Dir,
            Some(Inode::File(_)) | None => EntryKind::File,
        }
    }

    /// Makes a directory's pending changes durable.
    pub fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.resolve(&parts(path)?)?;
        let device = self.dir(dir)?.device;
        if self.sync_fails(device) {
            return Err(injected());
        }
        if self.lies() {
            self.promised_ops = self.pending.len();
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let (covered, rest) = pending.into_iter().partition(|op| op.touches(dir));
        self.pending = rest;
        let covered: Vec<DirOp> = covered;
        covered.iter().for_each(|op| self.make_durable(op));
        Ok(())
    }

    /// Makes everything durable that is on the same device.
    pub fn sync_fs(&mut self, path: &Path) -> io::Result<()> {
        let device = self.home_of(self.resolve(&parts(path)?)?);
        let fails = self.sync_fails(device);
        if !fails && self.lies() {
            self.promised_ops = self.pending.len();
            for node in self.inodes.values_mut() {
                if let Inode::File(file) = node
                    && file.device == device
                {
                    let point = file.sync_point();
                    file.sync_promised(&point);
                }
            }
            return Ok(());
        }
        for op in std::mem::take(&mut self.pending) {
            if self.device_of_op(&op) == device {
                self.make_durable(&op);
            } else {
                self.pending.push(op);
            }
        }
        for node in self.inodes.values_mut() {
            if let Inode::File(file) = node
                && file.device == device
            {
                let point = file.sync_point();
                if fails {
                    file.sync_failed(point, &mut self.dice, 500);
                } else {
                    file.sync_done(point);
                }
            }
        }
        if fails { Err(injected()) } else { Ok(()) }
    }

    /// Device, inode and birth time of a directory.
    pub fn identity(&self, path: &Path) -> io::Result<(u64, u64, u64)> {
        const APART: u64 = 0x1000;
        let inode = self.resolve(&parts(path)?)?;
        let dir = self.dir(inode)?;
        let number = u64::try_from(dir.device).unwrap_or(0);
        Ok((self.device + APART * number, inode, dir.born))
    }

    /// Takes a lock file, creating it if needed. Returns what [`Image::unlock`] wants.
    pub fn lock(&mut self, path: &Path) -> io::Result<u64> {
        let (inode, _) = self.open(path, Access::CreateOrWrite)?;
        if self.locks.insert(inode) { Ok(inode) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// Lets a lock go.
    pub fn unlock(&mut self, lock: u64) {
        self.locks.remove(&lock);
    }

    // --- bytes ---------------------------------------------------------------------------------

    fn file(&self, inode: u64) -> io::Result<&FileNode> {
        match self.inodes.get(&inode) {
            Some(Inode::File(file)) => Ok(file),
            Some(Inode::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn file_mut(&mut self, inode: u64) -> io::Result<&mut FileNode> {
        match self.inodes.get_mut(&inode) {
            Some(Inode::File(file)) => Ok(file),
            Some(Inode::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Writes `bufs` one after the other at `at`; an armed fault lets only a prefix in.
    pub fn write(&mut self, inode: u64, at: u64, bufs: &[Bytes]) -> io::Result<()> {
        let total: usize = bufs.iter().map(Bytes::len).sum();
        let end = at.saturating_add(u64::try_from(total).unwrap_or(u64::MAX));
        if end > FILE_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let len = self.len_of(inode)?;
        // What lies within the file, or was reserved behind it, has its room already.
        let growth = end.saturating_sub(len.max(at).max(self.file(inode)?.reserved));
        let (mut left, mut error) = (total, None);
        let device = self.home_of(inode);
        let room = self.take_room(device, growth);
        if room < growth {
            left -= to_usize(growth - room);
            error = Some(io::ErrorKind::StorageFull.into());
        } else if self.devices[device].short_writes > 0 {
            self.devices[device].short_writes -= 1;
            self.fails(device, "short write");
            left = self.dice.index(total.max(1));
            error = Some(injected());
        } else if self.armed.misdirected > 0 && total > 0 {
            self.armed.misdirected -= 1;
            let victim = self.dice.pick(&self.victims).clone();
            let bytes: Vec<u8> = bufs.iter().flatten().copied().take(SECTOR).collect();
            self.land_on(&victim, &bytes, "misdirected write");
        }
        let file = self.file_mut(inode)?;
        let mut at = at;
        for buf in bufs {
            let taken = left.min(buf.len());
            file.write(at, &buf[..taken]);
            at += u64::try_from(taken).unwrap_or(0);
            left -= taken;
        }
        error.map_or(Ok(()), Err)
    }

    /// Up to `len` bytes at `at`, as the disk gives them.
    pub fn read(&mut self, inode: u64, at: u64, len: usize) -> io::Result<Bytes> {
        let device = self.home_of(inode);
        if self.devices[device].failed_reads > 0 {
            self.devices[device].failed_reads -= 1;
            self.fails(device, "failed read");
            return Err(injected());
        }
        let read = self.file_mut(inode)?.read(at, len);
        let (bytes, seen) = read.map_err(|()| {
            self.fails(device, "latent sector");
            injected()
        })?;
        self.armed.fired = self.armed.fired.or(seen);
        Ok(bytes.into())
    }

    /// Begins a sync.
    pub fn sync_begin(&self, inode: u64) -> io::Result<SyncPoint> {
        Ok(self.file(inode)?.sync_point())
    }

    /// Ends a sync, well or badly.
    pub fn sync_end(&mut self, inode: u64, point: SyncPoint) -> io::Result<()> {
        let fails = self.sync_fails(self.home_of(inode));
        if !fails && self.lies() {
            self.file_mut(inode)?.sync_promised(&point);
            return Ok(());
        }
        let kept = if fails && self.dice.chance(500) { 500 } else { 0 };
        let mut dice = self.dice.clone();
        let file = self.file_mut(inode)?;
        if fails {
            file.sync_failed(point, &mut dice, kept);
            self.dice = dice;
            return Err(injected());
        }
        file.sync_done(point);
        Ok(())
    }

    /// Whether the drive says that a sync is done and only keeps it in mind.
    fn lies(&mut self) -> bool {
        if self.armed.lying {
            self.armed.fired = Some("lying sync");
        }
        self.armed.lying
    }

    /// Cuts the file or extends it with zeros.
    pub fn set_len(&mut self, inode: u64, len: u64) -> io::Result<()> {
        if len > FILE_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let old = self.len_of(inode)?;
        let taken = self.file(inode)?.reserved.max(old);
        let growth = len.saturating_sub(taken);
        let device = self.home_of(inode);
        if self.take_room(device, growth) < growth {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if len <= old {
            // What was reserved behind the end goes with it.
            self.devices[device].give_room(taken.saturating_sub(len));
            self.file_mut(inode)?.reserved = len;
        }
        self.file_mut(inode)?.set_len(len);
        Ok(())
    }

    /// Reserves room for the first `len` bytes of a file. Where there is not enough, what there was is
    /// reserved all the same, as ext4 does it.
    pub fn reserve(&mut self, inode: u64, len: u64) -> io::Result<()> {
        let taken = self.file(inode)?.reserved.max(self.len_of(inode)?);
        let growth = len.saturating_sub(taken);
        let device = self.home_of(inode);
        let got = self.take_room(device, growth);
        let file = self.file_mut(inode)?;
        file.reserved = file.reserved.max(taken.saturating_add(got).min(len));
        if got < growth { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// Length in bytes.
    pub fn len_of(&self, inode: u64) -> io::Result<u64> {
        Ok(u64::try_from(self.file(inode)?.cache().len()).unwrap_or(u64::MAX))
    }

    // --- crashes -------------------------------------------------------------------------------

    /// The process died: the kernel closes its files and lets its locks go. The cache stays.
    pub fn process_died(&mut self) {
        self.locks.clear();
    }

    // --- what the oracles see ------------------------------------------------------------------

    /// The entries of a directory if everything unsynced were lost now.
    pub fn durable_list(&self, path: &Path) -> Vec<(String, EntryKind)> {
        let Some(Inode::Dir(dir)) = self.durable_node(path) else { return Vec::new() };
        let named = dir.durable.iter().map(|(name, inode)| (name.clone(), self.kind(*inode)));
        self.lost_in(path).into_iter().chain(named).collect()
    }

    /// The entries of a directory, lost ones first.
    pub fn cached_list(&self, path: &Path) -> Vec<(String, EntryKind)> {
        let entries = self.list(path).unwrap_or_default();
        let named = entries.into_iter().map(|entry| (entry.name, entry.kind));
        self.lost_in(path).into_iter().chain(named).collect()
    }

    /// A file's bytes if everything unsynced were lost now.
    pub fn durable_file(&self, path: &Path) -> Option<&[u8]> {
        match self.durable_node(path).or_else(|| self.lost_node(path))? {
            Inode::File(file) => Some(file.durable()),
            Inode::Dir(_) => None,
        }
    }

    /// A file's bytes as its process sees them.
    pub fn cached_file(&self, path: &Path) -> Option<&[u8]> {
        let found = self.find(path).and_then(|inode| self.inodes.get(&inode));
        match found.or_else(|| self.lost_node(path))? {
            Inode::File(file) => Some(file.cache()),
            Inode::Dir(_) => None,
        }
    }

    fn durable_node(&self, path: &Path) -> Option<&Inode> {
        let mut at = self.inodes.get(&ROOT)?;
        for name in parts(path).ok()? {
            let Inode::Dir(dir) = at else { return None };
            at = self.inodes.get(dir.durable.get(&name)?)?;
        }
        Some(at)
    }
}

fn injected() -> io::Error {
    io::Error::other("EIO (injected)")
}

/// An offset or length as an index; beyond the address space is beyond every file.
pub(super) fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(keep: u32) -> Image {
        let knobs = Knobs { keep, torn: 0, ..Knobs::default() };
        Image::new(0, knobs, Dice::new(3, "test"))
    }

    fn create(image: &mut Image, path: &str) -> u64 {
        image.open(Path::new(path), Access::CreateNew).unwrap().0
    }

    fn sync(image: &mut Image, inode: u64) -> io::Result<()> {
        let point = image.sync_begin(inode).unwrap();
        image.sync_end(inode, point)
    }

    fn names(image: &Image, dir: &str) -> Vec<String> {
        image.list(Path::new(dir)).unwrap().into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn a_slow_disk_counts_once_and_only_if_an_operation_comes() {
        let mut image = image(0);
        image.armed.slow = 9;
        image.armed.slow_is_news = true;
        assert!(image.armed.missed.is_empty());
        image.latency(false);
        image.latency(true);
        assert_eq!(image.armed.missed, ["slow disk"]);
    }

    #[test]
    fn unsynced_directory_entries_vanish_in_a_power_loss() {
        let mut vanished = false;
        for seed in 0..50 {
            let mut image =
                Image::new(0, Knobs { keep: 0, ..Knobs::default() }, Dice::new(seed, "t"));
            let inode = create(&mut image, "a");
            image.write(inode, 0, &[Bytes::from_static(b"x")]).unwrap();
            sync(&mut image, inode).unwrap();
            image.power_loss();
            vanished |= names(&image, "/").is_empty();
        }
        assert!(vanished, "a synced file without a synced entry is not safe");
    }

    #[test]
    fn synced_directory_entries_survive_every_power_loss() {
        for seed in 0..50 {
            let mut image =
                Image::new(0, Knobs { keep: 0, ..Knobs::default() }, Dice::new(seed, "t"));
            image.create_dir(Path::new("d/e"), 1).unwrap();
            create(&mut image, "d/e/f");
            for dir in ["/", "d", "d/e"] {
                image.sync_dir(Path::new(dir)).unwrap();
            }
            image.power_loss();
            assert_eq!(names(&image, "d/e"), ["f"]);
        }
    }

    #[test]
    fn a_directory_sync_covers_its_own_entries_only() {
        let mut image = image(0);
        image.create_dir(Path::new("d"), 1).unwrap();
        create(&mut image, "d/f");
        image.sync_dir(Path::new("d")).unwrap();

        assert_eq!(image.durable_list(Path::new("/")), []);
        assert!(image.durable_file(Path::new("d/f")).is_none());
        image.sync_dir(Path::new("/")).unwrap();
        assert!(image.durable_file(Path::new("d/f")).is_some());
    }

    #[test]
    fn a_power_loss_keeps_a_prefix_of_the_pending_directory_changes() {
        for seed in 0..50 {
            let mut image =
                Image::new(0, Knobs { keep: 0, ..Knobs::default() }, Dice::new(seed, "t"));
            for name in ["a", "b", "c"] {
                create(&mut image, name);
            }
            image.power_loss();
            let left = names(&image, "/");
            assert_eq!(left, ["a", "b", "c"][..left.len()]);
        }
    }

    #[test]
    fn a_process_crash_keeps_the_cache_and_lets_locks_go() {
        let mut image = image(0);
        let inode = create(&mut image, "a");
        image.write(inode, 0, &[Bytes::from_static(b"still here")]).unwrap();
        image.lock(Path::new("lock")).unwrap();
        assert!(image.lock(Path::new("lock")).is_err());

        image.process_died();

        assert_eq!(image.cached_file(Path::new("a")), Some(&b"still here"[..]));
        image.lock(Path::new("lock")).unwrap();
    }

    #[test]
    fn a_failed_sync_reports_an_error_once_and_the_next_one_lies() {
        let mut image = image(0);
        let inode = create(&mut image, "a");
        image.sync_dir(Path::new("/")).unwrap();
        image.write(inode, 0, &[Bytes::from_static(b"bytes")]).unwrap();
        image.device(0).failed_syncs = 1;
        sync(&mut image, inode).unwrap_err();
        sync(&mut image, inode).unwrap();

        assert_eq!(image.cached_file(Path::new("a")), Some(&b"bytes"[..]));
    }

    #[test]
    fn a_short_write_leaves_a_prefix_and_an_error() {
        let mut image = image(0);
        let inode = create(&mut image, "a");
        image.device(0).short_writes = 1;

        let bufs = [Bytes::from_static(b"hello "), Bytes::from_static(b"world")];
        image.write(inode, 0, &bufs).unwrap_err();

        let left = image.cached_file(Path::new("a")).unwrap();
        assert!(left.len() < 11);
        assert!(b"hello world".starts_with(left));
    }

    #[test]
    fn a_full_disk_refuses_growth_but_not_renames() {
        let mut image = image(0);
        let inode = create(&mut image, "a");
        image.device(0).room = Some(0);

        assert_eq!(
            image.write(inode, 0, &[Bytes::from_static(b"x")]).unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
        image.open(Path::new("b"), Access::CreateNew).unwrap_err();
        image.set_len(inode, 10).unwrap_err();
        image.rename(Path::new("a"), Path::new("c")).unwrap();
    }

    #[test]
    fn a_disk_that_is_nearly_full_takes_what_fits_and_more_once_something_is_removed() {
        let mut image = image(0);
        let (a, b) = (create(&mut image, "a"), create(&mut image, "b"));
        image.write(a, 0, &[Bytes::from_static(b"0123456789")]).unwrap();
        image.device(0).room = Some(4);

        let bytes = [Bytes::from_static(b"abcdefgh")];
        image.write(b, 0, &bytes).unwrap_err();
        assert_eq!(image.cached_file(Path::new("b")), Some(&b"abcd"[..]));
        image.write(b, 0, &[Bytes::from_static(b"ABCD")]).unwrap();
        image.remove(Path::new("a"), EntryKind::File).unwrap();
        image.write(b, 4, &bytes).unwrap();
    }
}
