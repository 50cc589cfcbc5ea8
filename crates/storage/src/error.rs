//! Why storage refused or failed, one type per operation.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use base::{BrokerId, Offset, PartitionId, ReplicaGen, Uuid};
use thiserror::Error;

use crate::codec::FormatError;

/// The directory is dead for this process: nothing it holds is acknowledged ever again (fsyncgate).
/// Only a restart, which trusts nothing that was not durable, brings it back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("log directory {} failed: {reason}; restart the broker once the disk is healthy", path.display())]
pub struct DirectoryFailed {
    /// The directory.
    pub path: PathBuf,
    /// The first failure.
    pub reason: Arc<str>,
}

/// The disk of a directory is full: nothing of what was wanted is done, and nothing that was done
/// before is in doubt. It is tried again as soon as somebody asks again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the disk of log directory {} is full: {reason}", path.display())]
pub struct DirectoryFull {
    /// The directory.
    pub path: PathBuf,
    /// What found no room.
    pub reason: Arc<str>,
}

/// Why something was not written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// There was no room.
    #[error(transparent)]
    Full(#[from] DirectoryFull),
    /// A write or sync failed, now or earlier.
    #[error(transparent)]
    Failed(#[from] DirectoryFailed),
}

/// Why a log directory cannot be used.
#[derive(Debug, Error)]
pub enum DirError {
    /// A living process holds it.
    #[error(
        "log directory {} is in use by another process; stop that process or choose another directory with log.dirs",
        path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// It belongs to another cluster.
    #[error(
        "log directory {} belongs to cluster {found}, not {expected}; point log.dirs elsewhere or set cluster.id={found}",
        path.display()
    )]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// What its identity says.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// It belongs to another node.
    #[error(
        "log directory {} belongs to node {found}, not {expected}; point log.dirs elsewhere or set node.id={found}",
        path.display()
    )]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// What its identity says.
        found: BrokerId,
        /// What was asked for.
        expected: BrokerId,
    },
    /// A file is damaged whose content nothing else can replace.
    #[error(
        "{} is damaged: {source}; restore it from a backup, or move the directory away to start empty",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: FormatError,
    },
    /// It was written by a release without a journal.
    #[error(
        "log directory {} has the format of a release without a journal ({} is there): read it with that release, and move it away to start empty",
        path.display(),
        found.display()
    )]
    OldFormat {
        /// The directory.
        path: PathBuf,
        /// What says so.
        found: PathBuf,
    },
    /// It holds logs, and what says which of them count is gone.
    #[error(
        "log directory {} has logs but no manifest; restore the manifest and the journal from a backup, or move the directory away to start empty",
        path.display()
    )]
    ManifestLost {
        /// The directory.
        path: PathBuf,
    },
    /// Its manifest and its identity are of two directories.
    #[error(
        "{} is of log directory {found}, and the identity beside it of {expected}: files of two directories were mixed; restore all of one from a backup, or move the directory away to start empty",
        path.display()
    )]
    OtherManifest {
        /// The manifest.
        path: PathBuf,
        /// The directory id in it.
        found: Uuid,
        /// The directory id in the identity.
        expected: Uuid,
    },
    /// It holds logs, and what says whose they are is gone.
    #[error(
        "log directory {} has a manifest or a journal, but no identity; restore the file identity from a backup, or move the directory away to start empty",
        path.display()
    )]
    IdentityLost {
        /// The directory.
        path: PathBuf,
    },
    /// The cluster id cannot be stored.
    #[error("a cluster id has 1 to 64 bytes, this one has {0}")]
    ClusterId(usize),
    /// The operating system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Why a log cannot be created, opened or deleted.
#[derive(Debug, Error)]
pub enum OpenError {
    /// There is one already.
    #[error("log {partition} of replica generation {replica_gen} exists already")]
    Exists {
        /// Which partition.
        partition: PartitionId,
        /// Which incarnation of the replica.
        replica_gen: ReplicaGen,
    },
    /// There is none.
    #[error("there is no log {partition} of replica generation {replica_gen}")]
    Missing {
        /// Which partition.
        partition: PartitionId,
        /// Which incarnation of the replica.
        replica_gen: ReplicaGen,
    },
    /// What is on disk contradicts itself; nothing was changed.
    #[error("log {partition} is damaged at offset {offset}: {what}; nothing was changed")]
    Damaged {
        /// Which partition.
        partition: PartitionId,
        /// Where.
        offset: Offset,
        /// What is wrong.
        what: &'static str,
    },
    /// Something could not be read; nothing was changed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There was no room.
    #[error(transparent)]
    Full(#[from] DirectoryFull),
    /// A write failed, now or earlier.
    #[error(transparent)]
    Failed(#[from] DirectoryFailed),
}

impl From<WriteError> for OpenError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Full(full) => Self::Full(full),
            WriteError::Failed(failed) => Self::Failed(failed),
        }
    }
}

/// Why a log was not cut.
#[derive(Debug, Error)]
pub enum TruncateError {
    /// The batch in which to cut cannot be made out.
    #[error("cannot tell where to cut the log: {0}")]
    Unreadable(#[from] ReadError),
    /// There was no room to note it; nothing has changed.
    #[error(transparent)]
    Full(#[from] DirectoryFull),
    /// The directory failed, now or earlier, or the log was deleted.
    #[error(transparent)]
    Failed(#[from] DirectoryFailed),
}

impl From<WriteError> for TruncateError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Full(full) => Self::Full(full),
            WriteError::Failed(failed) => Self::Failed(failed),
        }
    }
}

/// Why nothing was read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The offset lies before the log's start or behind its end.
    #[error("offset out of range: the log has {start} to {end}")]
    OutOfRange {
        /// First offset that can be read.
        start: Offset,
        /// One past the last one.
        end: Offset,
    },
    /// The bytes there are not what was written. Never answered with "no such offset".
    #[error("the log is damaged at offset {at}")]
    Corrupt {
        /// The first offset that cannot be read.
        at: Offset,
    },
    /// The operating system refused.
    #[error("cannot read the log: {0}")]
    Io(#[from] io::Error),
}
