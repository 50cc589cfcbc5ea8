//! Files and directories.
//!
//! Invariants: see the crate head. Paths are absolute or relative to the process's folder; the
//! implementation never follows a path outside what it was given.

use std::io;
use std::path::Path;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::DirIdentity;

/// What is appended in one call: a few buffers, written one after the other.
pub type IoBufs = SmallVec<[Bytes; 4]>;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Must exist; no writing.
    Read,
    /// Must exist; read and write.
    Write,
    /// Created if missing; read and write.
    CreateOrWrite,
    /// Must not exist; read and write.
    CreateNew,
}

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name within its directory. Names that are not UTF-8 are listed lossily.
    pub name: String,
    /// File or directory; anything else is not listed.
    pub kind: EntryKind,
}

/// Room of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it, bytes.
    pub total_bytes: u64,
    /// What this process may still use, bytes; at most `total_bytes`.
    pub usable_bytes: u64,
}

/// Files and directories of one process.
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file.
    type File: File;
    /// Holds a directory's exclusive lock until dropped.
    type DirLock: Send + Sync + 'static;

    /// Opens a file. A created file's directory entry is not durable before [`Disk::sync_dir`].
    fn open(
        &self,
        path: &Path,
        access: Access,
    ) -> impl Future<Output = io::Result<Self::File>> + Send;
    /// Renames a file, replacing `to`; atomic, and durable after [`Disk::sync_dir`] of the folder.
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>> + Send;
    /// Removes a file.
    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send;
    /// Creates a directory and its missing parents; existing ones are fine.
    fn create_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send;
    /// The entries of a directory, sorted by name.
    fn list(&self, dir: &Path) -> impl Future<Output = io::Result<Vec<Entry>>> + Send;
    /// Makes the directory's entries durable.
    fn sync_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>> + Send;
    /// Makes everything of the file system that holds `dir` durable; an error anywhere is reported.
    fn sync_fs(&self, dir: &Path) -> impl Future<Output = io::Result<()>> + Send;
    /// Takes the exclusive lock file `path`.
    ///
    /// # Errors
    /// `WouldBlock` while a living process holds it.
    fn lock_dir(&self, path: &Path) -> impl Future<Output = io::Result<Self::DirLock>> + Send;
    /// How large the file system is that holds `dir`, and how much of it is left.
    fn space(&self, dir: &Path) -> impl Future<Output = io::Result<Space>> + Send;
    /// Which directory this is: survives a restart, changes if it was replaced.
    fn identity(&self, dir: &Path) -> impl Future<Output = io::Result<DirIdentity>> + Send;
}

/// An open file. Clones share it.
#[expect(clippy::len_without_is_empty, reason = "a length that is read from the disk")]
pub trait File: Clone + Send + Sync + 'static {
    /// Writes all of `bufs` at byte `at`. Usually ready at the first poll.
    ///
    /// # Errors
    /// After an error any prefix of the bytes may have been written, none of it promised.
    fn append(&self, at: u64, bufs: IoBufs) -> impl Future<Output = io::Result<()>> + Send;
    /// Reads up to `len` bytes at `at`; fewer only at the end of the file.
    fn read_at(&self, at: u64, len: usize) -> impl Future<Output = io::Result<Bytes>> + Send;
    /// Makes the bytes and the length durable.
    ///
    /// # Errors
    /// After an error nothing written since the last success may be trusted, ever, even if a later
    /// call succeeds (fsyncgate).
    fn sync_data(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// Cuts the file or extends it with zeros.
    fn set_len(&self, len: u64) -> impl Future<Output = io::Result<()>> + Send;
    /// Length in bytes.
    fn len(&self) -> impl Future<Output = io::Result<u64>> + Send;
    /// Reserves room for `len` bytes without changing the length. A hint: unsupported is `Ok`.
    fn preallocate(&self, len: u64) -> impl Future<Output = io::Result<()>> + Send;
    /// `len` bytes at `at`, to be sent without passing through user space where possible.
    fn region(&self, at: u64, len: u32) -> FileRegion<Self> {
        FileRegion { file: self.clone(), at, len }
    }
}

/// A range of a file that leaves through a socket; read when it is sent, not when it is made.
#[derive(Clone, Debug)]
pub struct FileRegion<F> {
    /// The file.
    pub file: F,
    /// First byte.
    pub at: u64,
    /// Number of bytes, all below the file's length when the region was made.
    pub len: u32,
}
