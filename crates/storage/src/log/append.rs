//! Append.
use super::*;
use crate::error::{DirectoryFailed, ReadError};
impl<E: Env> Log<E> {
    /// Writes whole batches at the log's end. One append at a time (the caller's combining writer).
    /// Usually ready at the first poll; it waits only to close a full segment, or when too much is
    /// not yet durable. Dropped halfway it kills the directory, so let it finish.
    ///
    /// # Errors
    /// The directory failed, now or earlier; whether the batches will be seen after a restart is
    /// unknown.
    pub async fn append(&self, _append: Append) -> Result<Appended, DirectoryFailed> {
        unimplemented!()
    }
    /// Makes everything written so far durable, and returns one past its last record.
    ///
    /// # Errors
    /// The directory failed.
    pub async fn flush(&self) -> Result<Offset, DirectoryFailed> {
        unimplemented!()
    }
    /// Notes, durably, that `epoch` begins at the log's end. An epoch that is not newer is ignored.
    ///
    /// # Errors
    /// The directory failed.
    pub async fn begin_epoch(&self, _epoch: LeaderEpoch) -> Result<(), DirectoryFailed> {
        unimplemented!()
    }
    /// Moves the log's start up (never down), durably, and removes segments that end before it.
    ///
    /// # Errors
    /// The directory failed.
    pub async fn set_log_start(&self, _start: Offset) -> Result<(), DirectoryFailed> {
        unimplemented!()
    }
    /// Whole batches from the one that holds `from` on, all of whose records lie below `upto`.
    ///
    /// At most `max_bytes`, but the first batch always if `min_one`. Small and recent reads are
    /// bytes in memory; large ones are a file region. Never more than one segment's worth.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read(
        &self,
        _from: Offset,
        _upto: Offset,
        _max_bytes: usize,
        _min_one: bool,
    ) -> Result<ReadSlice<FileOf<E>>, ReadError> {
        unimplemented!()
    }
}
