//! Which files of a log are open.
//!
//! Invariants: a file is opened by who first needs it and closed when the directory has too many
//! open; while something of the open segment is not durable its file stays open, for an error of
//! the disk is told to who had the file open when it happened.

use base::{Instant, Probe};
use env::{Access, Disk, Env};

use super::{FileOf, Log};
use crate::error::WriteError;
use crate::names::SegmentName;

impl<E: Env> Log<E> {
    /// Opens the open segment again, for appends and reads.
    pub(super) async fn open_active(&self, name: SegmentName) -> Result<FileOf<E>, WriteError> {
        let path = self.inner.folder().join(name.log());
        self.env().probe().reached("storage_file_opened_again");
        self.inner.dir.note_opened();
        let opened = self.env().disk().open(&path, Access::Write).await;
        let opened = opened.map_err(|error| self.inner.dir.refuse("open", &path, &error))?;
        let mut shared = self.inner.shared.lock();
        match shared.active_mut().filter(|segment| segment.name == name) {
            Some(segment) => Ok(segment.file.get_or_insert(opened).clone()),
            None => Ok(opened),
        }
    }

    /// How many files are open.
    pub(crate) fn files_open(&self) -> usize {
        let shared = self.inner.shared.lock();
        shared.segments.iter().filter(|segment| segment.file.is_some()).count()
    }

    /// When the log was last written to.
    pub(crate) fn used_at(&self) -> Instant {
        self.inner.shared.lock().tail.used_at()
    }

    /// Closes the files that are not needed now; returns how many that were. Who needs one later
    /// opens it again.
    pub fn release_files(&self) -> usize {
        let mut shared = self.inner.shared.lock();
        let is_durable = shared.flushed_end == shared.end && shared.dirty_since.is_none();
        let keep = shared.appending || !is_durable;
        let mut released = 0;
        for segment in shared.segments.iter_mut().filter(|segment| !(segment.open && keep)) {
            released += usize::from(segment.file.take().is_some());
        }
        if released > 0 {
            self.env().probe().reached("storage_files_released");
        }
        released
    }
}
