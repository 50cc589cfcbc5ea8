//! Making written batches durable in their segment, without envelopes.
//!
//! Invariant: `flushed_end` moves only after a sync that began when the bytes were written, and
//! never after a sync that failed.

use base::{Instant, Offset, Probe};
use env::{Env, File};

use super::{FileOf, Log};
use crate::config::{FLUSH_AFTER, FLUSH_BYTES};
use crate::error::DirectoryFailed;

/// A tail that nobody added to for this long is given up when others need the room.
const TAIL_IDLE_SECONDS: u64 = 10;

impl<E: Env> Log<E> {
    /// Makes everything written so far durable, and returns one past its last record.
    ///
    /// # Errors
    /// The directory failed.
    pub async fn flush(&self) -> Result<Offset, DirectoryFailed> {
        self.check()?;
        let (file, end, flushed) = {
            let shared = self.inner.shared.lock();
            (shared.active().and_then(|s| s.file.clone()), shared.end, shared.flushed_end)
        };
        self.env().seam("storage_flush").await;
        if flushed < end {
            let Some(file) = file else { unreachable!("what is not durable keeps its file open") };
            self.sync(&file).await?;
            let mut shared = self.inner.shared.lock();
            shared.flushed_end = shared.flushed_end.max(end);
        }
        // Another sync may have failed meanwhile; then this one proves nothing.
        self.inner.dir.check()?;
        Ok(end)
    }

    /// Whether the background flush should take this log now.
    pub fn is_flush_due(&self, now: Instant) -> bool {
        let shared = self.inner.shared.lock();
        let late = shared.dirty_since.is_some_and(|since| now.since(since) >= FLUSH_AFTER / 2);
        late || shared.dirty_bytes >= FLUSH_BYTES / 2 || shared.is_spoiled()
    }

    pub(crate) fn is_dirty(&self) -> bool {
        let shared = self.inner.shared.lock();
        shared.dirty_since.is_some() || shared.is_spoiled()
    }

    pub(crate) fn release_idle_tail(&self, now: Instant) {
        let mut shared = self.inner.shared.lock();
        if now.since(shared.tail.used_at()).as_secs() >= TAIL_IDLE_SECONDS {
            shared.tail.clear();
        }
    }

    /// Syncs one of this log's files; an error is the end of the directory.
    pub(super) async fn sync(&self, file: &FileOf<E>) -> Result<(), DirectoryFailed> {
        match file.sync_data().await {
            Ok(()) => Ok(()),
            // Planted: the kernel is believed to have kept what it could not write.
            Err(_) if self.env().probe().mutant("trust_page_cache") => Ok(()),
            // Planted: tried again, and the kernel has nothing left to write.
            Err(_) if self.env().probe().mutant("sync_tried_again") => {
                let again = file.sync_data().await;
                again.map_err(|error| self.inner.dir.fail("sync", &self.inner.folder(), &error))
            },
            Err(error) => {
                self.env().probe().reached("storage_sync_failed");
                Err(self.inner.dir.fail("sync", &self.inner.folder(), &error))
            },
        }
    }
}
