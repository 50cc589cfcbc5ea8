//! Reading from a partition: fetches and questions about offsets.
//!
//! Invariants: nobody sees a record at or beyond the high watermark; a batch is returned whole or
//! not at all; what the log cannot read is reported, never skipped. Sources: KIP-74 (first batch
//! whole), KIP-320 (epoch checks),
//! KIP-595 (truncation told by the fetch), KIP-79 and KIP-734 (times).

use std::sync::Arc;

use base::{LeaderEpoch, Offset, Probe};
use env::{Disk, Env};
use storage::ReadError;

use crate::api::{
    EpochEnd, FetchError, FetchPartition, FetchedData, FoundOffset, Isolation, ListOffset,
    ListOffsetError, OffsetSpec,
};
use crate::partition::Partition;
use crate::partition::ledger::{Fate, Ledger};
use crate::partition::readers::Signal;

/// How much one read may return.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadLimits {
    pub(crate) bytes_max: usize,
    /// Return the first batch even if it is larger than `bytes_max`.
    pub(crate) first_whole: bool,
}

type FileOf<E> = <<E as Env>::Disk as Disk>::File;

/// What became of an attempt to park.
#[derive(Debug)]
pub(crate) enum Park {
    /// Parked under this number.
    Parked(u64),
    /// There is more to read than the reader has seen.
    Changed,
    /// Too many readers are parked.
    Full,
}

impl<E: Env> Partition<E> {
    /// Whole batches from the one that contains `wish.offset` on, below the isolation's bound.
    pub(crate) async fn fetch(
        &self,
        wish: &FetchPartition,
        isolation: Isolation,
        limits: ReadLimits,
    ) -> Result<FetchedData<FileOf<E>>, FetchError> {
        self.env().seam("partition_fetch").await;
        let seen = self.bounds(wish.current_leader_epoch)?;
        let diverging = self.diverging(wish, &seen)?;
        // Planted: after a restart the end of a log is taken for out of range.
        let is_planted = seen.epoch > LeaderEpoch(0) && wish.offset == seen.end;
        let is_behind = wish.offset > seen.end
            || (is_planted && self.env().probe().mutant("end_is_out_of_range"));
        if wish.offset < seen.log_start || (is_behind && diverging.is_none()) {
            return Err(self.out_of_range(&seen));
        }
        let upto = match isolation {
            Isolation::ReadUncommitted => seen.high_watermark,
            Isolation::ReadCommitted => seen.last_stable(),
        };
        let mut data = FetchedData {
            high_watermark: seen.high_watermark,
            last_stable: seen.last_stable(),
            log_start: seen.log_start,
            segments: Vec::new(),
            bytes: 0,
            diverging,
            is_cut: diverging.is_none() && wish.offset < upto,
        };
        if data.diverging.is_some() {
            self.env().probe().reached("fetch_diverging");
            return Ok(data);
        }
        if wish.offset >= upto || (limits.bytes_max == 0 && !limits.first_whole) {
            return Ok(data);
        }
        let read = self.log.read(wish.offset, upto, limits.bytes_max, limits.first_whole).await;
        let slice = read.map_err(|error| self.read_failed(error))?;
        if slice.bytes == 0 && limits.first_whole {
            // Something was written there: what cannot be made out is damaged, not absent (simulator
            // seed 153).
            return Err(self.read_failed(ReadError::Corrupt { at: wish.offset }));
        }
        data.bytes = slice.bytes;
        data.is_cut = slice.next.is_none_or(|next| next < upto);
        data.segments = slice.segments.into_vec();
        Ok(data)
    }

    fn out_of_range(&self, seen: &Bounds) -> FetchError {
        self.env().probe().reached("fetch_out_of_range");
        FetchError::OutOfRange { start: seen.log_start, end: seen.end }
    }

    /// Where the log that the client has read and this one part, if they do. An epoch that never was
    /// here is told as an offset that never was here.
    fn diverging(
        &self,
        wish: &FetchPartition,
        seen: &Bounds,
    ) -> Result<Option<(LeaderEpoch, Offset)>, FetchError> {
        let Some(fetched) = wish.last_fetched_epoch else {
            return Ok(None);
        };
        // The history of a log without records has no epoch at all; there, every epoch up to the
        // present one ended where the log does.
        let present = (fetched <= seen.epoch).then_some((fetched, seen.end));
        let Some((epoch, end)) = self.log.end_of_epoch(fetched).or(present) else {
            self.env().probe().reached("fetch_epoch_never_was");
            return Err(self.out_of_range(seen));
        };
        Ok((epoch < fetched || end < wish.offset).then_some((epoch, end)))
    }

    fn read_failed(&self, error: ReadError) -> FetchError {
        match error {
            // Retention took the segment away between the look at the ledger and the read.
            ReadError::OutOfRange { start, end } => {
                self.env().probe().reached("fetch_lost_a_race_with_retention");
                FetchError::OutOfRange { start, end }
            },
            ReadError::Corrupt { .. } => {
                self.env().probe().reached("fetch_corrupt");
                FetchError::Corrupt
            },
            ReadError::Io(_) => {
                self.env().probe().reached("fetch_io_error");
                FetchError::StorageFailed
            },
        }
    }

    /// Parks a reader that has seen everything below `seen`.
    pub(crate) fn park(&self, signal: &Arc<Signal>, seen: Offset, room: usize) -> Park {
        let mut ledger = self.ledger.lock();
        if ledger.high_watermark != seen || ledger.fate != Fate::Open {
            return Park::Changed;
        }
        match ledger.park(signal, room) {
            Some(id) => Park::Parked(id),
            None => Park::Full,
        }
    }

    /// Takes a parked reader off the list.
    pub(crate) fn leave(&self, id: u64) {
        self.ledger.lock().leave_readers(id);
    }

    /// Answers a question about offsets.
    pub(crate) async fn list_offset(
        &self,
        wish: &ListOffset,
    ) -> Result<Option<FoundOffset>, ListOffsetError> {
        self.env().seam("partition_list_offset").await;
        let seen = self.bounds(wish.current_leader_epoch).map_err(to_list_error)?;
        let upto = match wish.isolation {
            Isolation::ReadUncommitted => seen.high_watermark,
            Isolation::ReadCommitted => seen.last_stable(),
        };
        let plain = |offset: Offset, epoch: Option<LeaderEpoch>| {
            Ok(Some(FoundOffset { offset, timestamp: None, leader_epoch: epoch }))
        };
        let hit = match wish.spec {
            OffsetSpec::Latest => return plain(upto, Some(seen.epoch)),
            OffsetSpec::Earliest => {
                return plain(seen.log_start, self.epoch_at(seen.log_start, &seen));
            },
            OffsetSpec::Tiered => return Ok(None),
            OffsetSpec::MaxTimestamp => self.log.max_timestamp().await,
            OffsetSpec::AtOrAfter(time) => self.log.offset_for_timestamp(time).await,
        };
        let hit = hit.map_err(|error| {
            self.env().probe().reached("list_offsets_unreadable");
            match error {
                ReadError::Corrupt { .. } => ListOffsetError::Corrupt,
                ReadError::OutOfRange { .. } | ReadError::Io(_) => ListOffsetError::StorageFailed,
            }
        })?;
        // A record the asker may not read yet is as good as none.
        Ok(hit.filter(|hit| hit.offset < upto).map(|hit| FoundOffset {
            offset: hit.offset,
            timestamp: Some(hit.timestamp),
            leader_epoch: Some(hit.epoch),
        }))
    }

    /// The largest epoch not above `wish.epoch`, and where it ended; `None` for an epoch that never was
    /// here. The present one ends where the log does, also before it has a record.
    pub(crate) fn end_of_epoch(
        &self,
        wish: &EpochEnd,
    ) -> Result<Option<(LeaderEpoch, Offset)>, ListOffsetError> {
        let seen = self.bounds(wish.current_leader_epoch).map_err(to_list_error)?;
        let Some(asked) = wish.epoch else { return Ok(None) };
        if asked == seen.epoch {
            return Ok(Some((asked, seen.end)));
        }
        // The history of a log without records has no epoch at all: all of them ended at its end.
        let before_any =
            (asked < seen.epoch && self.log.latest_epoch().is_none()).then_some((asked, seen.end));
        Ok(self.log.end_of_epoch(asked).or(before_any))
    }

    /// The epoch in which the record at `offset` was written, or will be while there is none.
    fn epoch_at(&self, offset: Offset, seen: &Bounds) -> Option<LeaderEpoch> {
        if offset >= seen.end {
            return Some(seen.epoch);
        }
        self.log.epochs().epoch_at(offset)
    }

    fn bounds(&self, claimed: Option<LeaderEpoch>) -> Result<Bounds, FetchError> {
        let ledger = self.ledger.lock();
        match ledger.fate {
            Fate::Open | Fate::Stopping => {},
            Fate::Deleted => return Err(FetchError::UnknownPartition),
            Fate::Failed => return Err(FetchError::StorageFailed),
        }
        let bounds = Bounds::of(&ledger);
        drop(ledger);
        match claimed {
            Some(claimed) if claimed < bounds.epoch => {
                self.env().probe().reached("epoch_fenced");
                Err(FetchError::FencedEpoch)
            },
            Some(claimed) if claimed > bounds.epoch => {
                self.env().probe().reached("epoch_unknown");
                Err(FetchError::UnknownEpoch)
            },
            Some(_) | None => Ok(bounds),
        }
    }
}

/// Where the partition stood at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    epoch: LeaderEpoch,
    log_start: Offset,
    end: Offset,
    high_watermark: Offset,
}

impl Bounds {
    pub(super) fn of(ledger: &Ledger) -> Self {
        Self {
            epoch: ledger.epoch,
            log_start: ledger.log_start,
            end: ledger.end,
            high_watermark: ledger.high_watermark,
        }
    }

    /// No transaction is ever open in this version.
    pub(super) fn last_stable(&self) -> Offset {
        self.high_watermark
    }
}

fn to_list_error(error: FetchError) -> ListOffsetError {
    match error {
        FetchError::UnknownPartition => ListOffsetError::UnknownPartition,
        FetchError::NotLeader { leader, epoch } => ListOffsetError::NotLeader { leader, epoch },
        FetchError::FencedEpoch => ListOffsetError::FencedEpoch,
        FetchError::UnknownEpoch => ListOffsetError::UnknownEpoch,
        FetchError::Corrupt => ListOffsetError::Corrupt,
        FetchError::OutOfRange { .. } | FetchError::StorageFailed => ListOffsetError::StorageFailed,
    }
}
