//! Directories and the journal of their changes.
//!
//! Invariants: the cache's entries are the durable ones plus the pending changes in order; a
//! directory's sync makes that directory's changes durable; a power loss keeps a prefix of what
//! is pending.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

/// The root directory's inode.
pub const ROOT: u64 = 1;

/// One directory.
#[derive(Clone, Debug, Default)]
pub struct DirNode {
    /// As the process sees it.
    pub entries: BTreeMap<String, u64>,
    /// As the platter has it.
    pub durable: BTreeMap<String, u64>,
    /// When it was made, nanoseconds.
    pub born: u64,
    /// The device it is on.
    pub device: usize,
}

/// A change of directory entries that may not be durable yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirOp {
    /// `name` in `dir` is now `inode`.
    Link { dir: u64, name: String, inode: u64 },
    /// `name` in `dir` is gone.
    Unlink { dir: u64, name: String },
    /// `from` became `to`.
    Rename { from: (u64, String), to: (u64, String), inode: u64 },
}

impl DirOp {
    /// Whether a sync of `dir` covers it.
    pub fn touches(&self, synced: u64) -> bool {
        match self {
            Self::Link { dir, .. } | Self::Unlink { dir, .. } => *dir == synced,
            Self::Rename { from, to, .. } => from.0 == synced || to.0 == synced,
        }
    }

    /// Applies it to the tables that `table` hands out.
    pub fn apply(&self, mut change: impl FnMut(u64, &str, Option<u64>)) {
        match self {
            Self::Link { dir, name, inode } => change(*dir, name, Some(*inode)),
            Self::Unlink { dir, name } => change(*dir, name, None),
            Self::Rename { from, to, inode } => {
                change(from.0, &from.1, None);
                change(to.0, &to.1, Some(*inode));
            },
        }
    }
}

/// The names a path consists of; the leading `/` means nothing, for a machine has one disk.
///
/// # Errors
/// `InvalidInput` for `..`, which no caller needs.
pub fn parts(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {},
            Component::ParentDir => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok(names)
}
