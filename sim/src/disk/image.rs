//! One machine's file system, cache and platter.
//!
//! Owns: inodes, the journal of pending directory changes, lock files, and the faults that are
//! armed. Pure but for its random stream. Invariants: see [`super`]; a failed operation changed
//! nothing but what its trait says may have been written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use bytes::Bytes;
use env::{Access, Entry, EntryKind};
use serde::{Deserialize, Serialize};

use super::inode::{FileNode, SyncPoint};
use super::names::{DirNode, DirOp, ROOT, parts};
use crate::world::{Crash, Dice, Knobs};

/// Operations a crash can be tied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpKind {
    /// A file was written.
    Write,
    /// A file was synced.
    Sync,
    /// A file was renamed.
    Rename,
    /// A directory was synced.
    SyncDir,
    /// A file was created.
    Create,
    /// A file or directory was removed.
    Remove,
    /// A file's length was set.
    SetLen,
}

#[derive(Clone, Debug)]
enum Inode {
    File(FileNode),
    Dir(DirNode),
}

/// Faults that wait for their operation.
#[derive(Clone, Debug, Default)]
pub struct Armed {
    /// So many of the next syncs fail.
    pub failed_syncs: u32,
    /// So many of the next writes stop short with an error.
    pub short_writes: u32,
    /// Nothing more fits.
    pub full: bool,
    /// The machine ends when the countdown of this operation is over.
    pub crash_at: Option<(OpKind, u32, Crash)>,
    /// Operations take so many times as long; 0 and 1 are normal.
    pub slow: u64,
}

/// See the module head.
#[derive(Debug)]
pub struct Image {
    device: u64,
    inodes: BTreeMap<u64, Inode>,
    pending: Vec<DirOp>,
    next_inode: u64,
    locks: BTreeSet<u64>,
    pub(crate) armed: Armed,
    pub(crate) dice: Dice,
    knobs: Knobs,
}

/// The largest file, bytes: a bound on a mutant's mistake, far above any simulated log.
const FILE_MAX: u64 = 1 << 30;

impl Image {
    /// An empty file system of machine `node`.
    pub fn new(node: usize, knobs: Knobs, dice: Dice) -> Self {
        Self {
            device: 0x100 + u64::try_from(node).unwrap_or(0),
            inodes: BTreeMap::from([(ROOT, Inode::Dir(DirNode::default()))]),
            pending: Vec::new(),
            next_inode: ROOT + 1,
            locks: BTreeSet::new(),
            armed: Armed::default(),
            dice,
            knobs,
        }
    }

    /// How long an operation takes, nanoseconds; syncs take longer.
    pub(crate) fn latency(&mut self, is_sync: bool) -> u64 {
        let knobs = &self.knobs;
        let most = if is_sync { knobs.sync_max_us } else { knobs.disk_max_us };
        let drawn = self.dice.between(knobs.disk_min_us * 1_000, most * 1_000);
        drawn * self.armed.slow.max(1)
    }

    /// Whether it is slow or full right now.
    pub(crate) fn is_hurting(&self) -> bool {
        self.armed.full || self.armed.slow > 1
    }

    /// Switches every armed fault off.
    pub(crate) fn heal(&mut self) {
        self.armed = Armed::default();
    }

    // --- names ---------------------------------------------------------------------------------

    fn dir(&self, inode: u64) -> io::Result<&DirNode> {
        match self.inodes.get(&inode) {
            Some(Inode::Dir(dir)) => Ok(dir),
            Some(Inode::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn resolve(&self, names: &[String]) -> io::Result<u64> {
        let mut at = ROOT;
        for name in names {
            at = *self.dir(at)?.entries.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    /// The directory that holds `path`, and its name there.
    fn place(&self, path: &Path) -> io::Result<(u64, String)> {
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

    fn make_durable(&mut self, op: &DirOp) {
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

    fn make(&mut self, dir: u64, name: String, node: Inode) -> io::Result<u64> {
        if self.armed.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = self.next_inode;
        self.next_inode += 1;
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
            (None, Access::Read | Access::Write) => Err(io::ErrorKind::NotFound.into()),
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

    /// The entries of a directory, sorted by name.
    pub fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let dir = self.dir(self.resolve(&parts(path)?)?)?;
        let entry =
            |(name, inode): (&String, &u64)| Entry { name: name.clone(), kind: self.kind(*inode) };
        Ok(dir.entries.iter().map(entry).collect())
    }

    fn kind(&self, inode: u64) -> EntryKind {
        match self.inodes.get(&inode) {
            Some(Inode::Dir(_)) => EntryKind::Dir,
            Some(Inode::File(_)) | None => EntryKind::File,
        }
    }

    /// Makes a directory's pending changes durable.
    pub fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.resolve(&parts(path)?)?;
        self.dir(dir)?;
        if self.sync_fails() {
            return Err(injected());
        }
        let pending = std::mem::take(&mut self.pending);
        let (covered, rest) = pending.into_iter().partition(|op| op.touches(dir));
        self.pending = rest;
        let covered: Vec<DirOp> = covered;
        covered.iter().for_each(|op| self.make_durable(op));
        Ok(())
    }

    /// Makes everything durable.
    pub fn sync_fs(&mut self, path: &Path) -> io::Result<()> {
        self.resolve(&parts(path)?)?;
        let fails = self.sync_fails();
        for op in std::mem::take(&mut self.pending) {
            self.make_durable(&op);
        }
        for node in self.inodes.values_mut() {
            if let Inode::File(file) = node {
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
        let inode = self.resolve(&parts(path)?)?;
        Ok((self.device, inode, self.dir(inode)?.born))
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
        // Room that a file has already is not taken from it.
        let grows = end > self.len_of(inode)?;
        let error = if self.armed.full && grows {
            Some(io::ErrorKind::StorageFull.into())
        } else if self.armed.short_writes > 0 {
            self.armed.short_writes -= 1;
            Some(injected())
        } else {
            None
        };
        let mut left = if error.is_some() { self.dice.index(total.max(1)) } else { total };
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

    /// Up to `len` bytes at `at`.
    pub fn read(&self, inode: u64, at: u64, len: usize) -> io::Result<Bytes> {
        let cache = self.file(inode)?.cache();
        let low = to_usize(at).min(cache.len());
        Ok(Bytes::copy_from_slice(&cache[low..low.saturating_add(len).min(cache.len())]))
    }

    /// Begins a sync.
    pub fn sync_begin(&self, inode: u64) -> io::Result<SyncPoint> {
        Ok(self.file(inode)?.sync_point())
    }

    /// Ends a sync, well or badly.
    pub fn sync_end(&mut self, inode: u64, point: SyncPoint) -> io::Result<()> {
        let fails = self.sync_fails();
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

    fn sync_fails(&mut self) -> bool {
        let fails = self.armed.failed_syncs > 0;
        self.armed.failed_syncs = self.armed.failed_syncs.saturating_sub(1);
        fails
    }

    /// Cuts the file or extends it with zeros.
    pub fn set_len(&mut self, inode: u64, len: u64) -> io::Result<()> {
        if len > FILE_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let full = self.armed.full;
        let file = self.file_mut(inode)?;
        if full && to_usize(len) > file.cache().len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.set_len(len);
        Ok(())
    }

    /// Length in bytes.
    pub fn len_of(&self, inode: u64) -> io::Result<u64> {
        Ok(u64::try_from(self.file(inode)?.cache().len()).unwrap_or(u64::MAX))
    }

    // --- crashes -------------------------------------------------------------------------------

    /// Counts an operation that took effect; says whether the machine ends with it.
    pub(crate) fn crash_after(&mut self, kind: OpKind) -> Option<Crash> {
        let (wanted, left, how) = self.armed.crash_at.as_mut()?;
        if *wanted != kind {
            return None;
        }
        *left = left.saturating_sub(1);
        if *left > 0 {
            return None;
        }
        let how = *how;
        self.armed.crash_at = None;
        Some(how)
    }

    /// The process died: the kernel closes its files and lets its locks go. The cache stays.
    pub fn process_died(&mut self) {
        self.locks.clear();
    }

    /// The power goes out. Returns how many dirty sectors were dropped or torn, plus how many
    /// directory changes were undone.
    pub fn power_loss(&mut self) -> u64 {
        let pending = std::mem::take(&mut self.pending);
        let kept = if self.dice.chance(self.knobs.keep) {
            pending.len()
        } else {
            self.dice.index(pending.len() + 1)
        };
        pending[..kept].iter().for_each(|op| self.make_durable(op));
        let mut lost = u64::try_from(pending.len() - kept).unwrap_or(0);
        let mut reachable = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(at) = open.pop() {
            if let Some(Inode::Dir(dir)) = self.inodes.get_mut(&at) {
                dir.entries.clone_from(&dir.durable);
                let fresh = dir.entries.values().filter(|inode| reachable.insert(**inode));
                open.extend(fresh);
            }
        }
        self.inodes.retain(|inode, _| reachable.contains(inode));
        for node in self.inodes.values_mut() {
            if let Inode::File(file) = node {
                lost += file.power_loss(&mut self.dice, &self.knobs);
            }
        }
        lost
    }

    // --- what the oracles see ------------------------------------------------------------------

    /// The entries of a directory if everything unsynced were lost now.
    pub fn durable_list(&self, path: &Path) -> Vec<(String, EntryKind)> {
        let Some(Inode::Dir(dir)) = self.durable_node(path) else { return Vec::new() };
        dir.durable.iter().map(|(name, inode)| (name.clone(), self.kind(*inode))).collect()
    }

    /// A file's bytes if everything unsynced were lost now.
    pub fn durable_file(&self, path: &Path) -> Option<&[u8]> {
        match self.durable_node(path)? {
            Inode::File(file) => Some(file.durable()),
            Inode::Dir(_) => None,
        }
    }

    /// A file's bytes as its process sees them.
    pub fn cached_file(&self, path: &Path) -> Option<&[u8]> {
        let inode = self.resolve(&parts(path).ok()?).ok()?;
        self.file(inode).ok().map(FileNode::cache)
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
        image.armed.failed_syncs = 1;
        sync(&mut image, inode).unwrap_err();
        sync(&mut image, inode).unwrap();

        assert_eq!(image.cached_file(Path::new("a")), Some(&b"bytes"[..]));
    }

    #[test]
    fn a_short_write_leaves_a_prefix_and_an_error() {
        let mut image = image(0);
        let inode = create(&mut image, "a");
        image.armed.short_writes = 1;

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
        image.armed.full = true;

        assert_eq!(
            image.write(inode, 0, &[Bytes::from_static(b"x")]).unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
        image.open(Path::new("b"), Access::CreateNew).unwrap_err();
        image.set_len(inode, 10).unwrap_err();
        image.rename(Path::new("a"), Path::new("c")).unwrap();
    }

    #[test]
    fn a_crash_is_tied_to_the_nth_operation_of_its_kind() {
        let mut image = image(0);
        image.armed.crash_at = Some((OpKind::Write, 2, Crash::Power));

        assert_eq!(image.crash_after(OpKind::Sync), None);
        assert_eq!(image.crash_after(OpKind::Write), None);
        assert_eq!(image.crash_after(OpKind::Write), Some(Crash::Power));
        assert_eq!(image.crash_after(OpKind::Write), None);
    }
}
