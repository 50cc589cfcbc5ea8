//! A partition's part in compaction and in DeleteRecords.
//!
//! Invariants: nothing at or beyond the high watermark is deleted, nor anything compacted from the last
//! stable offset on; a cleaning that found nothing to do is not tried again at once; the log's start
//! never falls, and is durable before anybody is told of it. Source: KIP-58, KIP-107, KIP-354.

use std::sync::Arc;

use base::{Offset, Probe, Timestamp};
use env::Env;
use storage::clean::{CleanConfig, Dirty};
use storage::{CompactError, Compaction};
use tokio::sync::oneshot;

use crate::alive::Guard;
use crate::api::DeleteRecordsError;
use crate::node::Node;
use crate::partition::Partition;
use crate::partition::ledger::Fate;
use crate::partition::read::Bounds;

/// How a cleaning ended.
#[derive(Debug)]
pub(crate) enum CleaningEnd {
    /// The log is cleaner than before.
    Cleaned,
    /// It is as it was, and would be so again.
    Refused,
}

impl<E: Env> Partition<E> {
    /// What of the partition can be compacted now.
    pub(crate) async fn dirty(&self, now: Timestamp) -> Option<Dirty> {
        let (fate, stable) = {
            let ledger = self.ledger.lock();
            (ledger.fate, Bounds::of(&ledger).last_stable())
        };
        let config = self.config();
        if fate != Fate::Open || !config.compact {
            return None;
        }
        let config = CleanConfig {
            dirty_ppm_min: config.dirty_ppm_min,
            lag_min: config.compaction_lag_min,
            lag_max: config.compaction_lag_max,
        };
        let dirty = self.log.dirty(&config, stable, now).await;
        dirty.inspect_err(|error| self.tell_uncleaned(error)).ok().flatten()
    }

    /// Compacts what [`Partition::dirty`] found.
    pub(crate) async fn compact(&self, dirty: Dirty, node: &Node<E>) -> CleaningEnd {
        let wish = Compaction {
            dirty,
            now: self.env().wall(),
            tombstones_for: self.config().tombstones_for,
            map_bytes_max: node.rules().cleaner_map_bytes,
            bytes_per_second: node.rules().cleaner_bytes_per_second,
        };
        match self.log.compact(&wish, &|| !node.is_stopping()).await {
            Ok(done) => {
                self.env().probe().reached("cleaner_compacted");
                let (before, after) = (done.bytes_before, done.bytes_after);
                tracing::debug!(partition = %self.id(), upto = %done.upto, before, after, "compacted");
                if let Some(unread) = done.unread {
                    self.env().probe().reached("cleaner_ended_before_damage");
                    tracing::error!(partition = %self.id(), upto = %done.upto, %unread, "compacted only what can be decided without what cannot be read");
                }
                CleaningEnd::Cleaned
            },
            // It is decided by a marker, and not dirty before.
            Err(CompactError::Undecided { at }) => {
                tracing::debug!(partition = %self.id(), %at, "not compacted: a transaction is open");
                CleaningEnd::Refused
            },
            // The directory's flusher hears of it too, and tells the node.
            Err(CompactError::Failed(_)) => CleaningEnd::Refused,
            Err(CompactError::Interrupted) => {
                self.env().probe().reached("cleaner_interrupted");
                CleaningEnd::Refused
            },
            Err(
                error @ (CompactError::Damaged { .. }
                | CompactError::MapTooSmall { .. }
                | CompactError::Full(_)
                | CompactError::Io(_)),
            ) => {
                self.tell_uncleaned(&error);
                CleaningEnd::Refused
            },
        }
    }

    fn tell_uncleaned(&self, error: &(dyn std::error::Error + 'static)) {
        self.env().probe().reached("cleaner_refused");
        tracing::error!(partition = %self.id(), error, "not compacted");
    }

    /// Deletes every record below `upto` (`None`: below the high watermark) and returns the log's
    /// start. Deleting what is gone already is fine.
    ///
    /// # Errors
    /// [`DeleteRecordsError`]; nothing was deleted.
    pub(crate) async fn delete_records(
        self: &Arc<Self>,
        upto: Option<Offset>,
        guard: Guard,
    ) -> Result<Offset, DeleteRecordsError> {
        let upto = self.deletable_upto(upto)?;
        let (tell, told) = oneshot::channel();
        let partition = Arc::clone(self);
        // The client may hang up; what is being written may not be dropped halfway.
        self.env().spawn("delete_records", async move {
            let moved = partition.log.set_log_start(upto).await;
            let start = partition.show_log_start();
            // Nobody may be waiting any more.
            drop(tell.send(moved.map(|()| start)));
            drop(guard);
        });
        match told.await {
            Ok(Ok(start)) => {
                self.env().probe().reached("delete_records_done");
                Ok(start)
            },
            Ok(Err(_)) | Err(_) => Err(DeleteRecordsError::StorageFailed),
        }
    }

    /// Up to where records are to be deleted.
    fn deletable_upto(&self, upto: Option<Offset>) -> Result<Offset, DeleteRecordsError> {
        // Empty is to keep for ever, and whoever wants that may still delete by hand.
        let config = self.config();
        if config.compact && !config.delete {
            self.env().probe().reached("delete_records_of_compacted_topic");
            return Err(DeleteRecordsError::Policy);
        }
        let (fate, high_watermark) = {
            let ledger = self.ledger.lock();
            (ledger.fate, ledger.high_watermark)
        };
        match fate {
            Fate::Open => {},
            Fate::Deleted => return Err(DeleteRecordsError::UnknownPartition),
            Fate::Stopping => return Err(DeleteRecordsError::Stopping),
            Fate::Failed => return Err(DeleteRecordsError::StorageFailed),
        }
        let upto = upto.unwrap_or(high_watermark);
        if upto < Offset::ZERO || upto > high_watermark {
            self.env().probe().reached("delete_records_out_of_range");
            return Err(DeleteRecordsError::OutOfRange);
        }
        Ok(upto)
    }

    /// Takes over the start of the log, which is durable.
    pub(super) fn show_log_start(&self) -> Offset {
        let mut ledger = self.ledger.lock();
        ledger.log_start = ledger.log_start.max(self.log.start());
        ledger.log_start
    }
}
