//! Look-ups by time.
//!
//! Invariant: the answer is the record with the lowest offset that qualifies, not the one with the
//! lowest timestamp. Source: KIP-79, KIP-734.

use base::{LeaderEpoch, Offset, Timestamp};
use env::Env;
use records::batch::BatchView;
use records::header::NO_TIMESTAMP;
use records::inflated_bytes_max;

use super::batches::{Located, Walk};
use super::recover::FaultyRange;
use super::run_walk::RunWalk;
use super::{FileOf, Log};
use crate::error::ReadError;
use crate::names::SegmentName;

/// The answer of a look-up by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampHit {
    /// The record's offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The epoch it was appended in.
    pub epoch: LeaderEpoch,
}

/// Where a look-up under the lock got to.
enum Next {
    Nothing,
    Load(SegmentName),
    Run {
        from: Offset,
    },
    /// Damage there may hold an earlier one.
    Damaged {
        at: Offset,
    },
}

impl<E: Env> Log<E> {
    /// The record with the lowest offset whose timestamp is `at` or later.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] or [`ReadError::Io`].
    pub async fn offset_for_timestamp(
        &self,
        at: Timestamp,
    ) -> Result<Option<TimestampHit>, ReadError> {
        let mut from = self.start();
        loop {
            match self.next_run(from, at) {
                Next::Nothing => return Ok(None),
                Next::Damaged { at } => return Err(self.corrupt(at)),
                Next::Load(name) => {
                    // Nothing before it qualifies, and it may push that out of memory.
                    from = from.max(name.base);
                    self.load(name, from).await?;
                },
                Next::Run { from: start } => {
                    let (hit, end) = self.look_in_run(start, at).await?;
                    if hit.is_some() {
                        return Ok(hit);
                    }
                    from = end;
                },
            }
        }
    }

    /// The record with the largest timestamp (the first such); `None` if no record has one.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] or [`ReadError::Io`].
    pub async fn max_timestamp(&self) -> Result<Option<TimestampHit>, ReadError> {
        let largest = {
            let shared = self.inner.shared.lock();
            shared
                .segments
                .iter()
                .filter_map(|segment| segment.max_timestamp)
                .map(|max| max.0)
                .max()
        };
        match largest {
            Some(largest) => self.offset_for_timestamp(largest).await,
            None => Ok(None),
        }
    }

    /// The first run at or after `from` that may hold such a record.
    fn next_run(&self, from: Offset, at: Timestamp) -> Next {
        let shared = self.inner.shared.lock();
        let from = from.max(shared.start);
        if from >= shared.end {
            return Next::Nothing;
        }
        for segment in &shared.segments[shared.segment_of(from)..] {
            if segment.max_timestamp.is_none_or(|(max, _)| max < at) {
                continue;
            }
            let Some(runs) = &segment.runs else {
                return Next::Load(segment.name);
            };
            let behind = runs.partition_point(|run| run.last < from);
            let run = runs[behind..].iter().find(|run| run.max_timestamp >= at);
            let upto = run.map_or(segment.end, |run| run.base.max(from));
            let begin = from.max(segment.name.base);
            let within = |range: &&FaultyRange| range.from < upto && begin < range.to;
            if let Some(damage) = shared.faulty().iter().find(within) {
                return Next::Damaged { at: damage.from.max(begin) };
            }
            if run.is_some() {
                return Next::Run { from: upto };
            }
        }
        Next::Nothing
    }

    /// Looks through the run that holds `from`; also returns where that run ends.
    async fn look_in_run(
        &self,
        from: Offset,
        at: Timestamp,
    ) -> Result<(Option<TimestampHit>, Offset), ReadError> {
        let plan = loop {
            let plan = self.inner.shared.lock().plan_for(from)?;
            match plan {
                Ok(plan) => break plan,
                Err(name) => self.load(name, from).await?,
            }
        };
        let mut walk = RunWalk::within(plan.file, vec![plan.run]);
        while let Some(batch) = self.walked(walk.header().await, from)? {
            let header = &batch.header;
            let may = header.max_timestamp != NO_TIMESTAMP && header.max_timestamp >= at;
            if may && header.last_offset() >= from {
                let hit = self.look_in_batch(walk.inner(), &batch, from, at).await?;
                if hit.is_some() {
                    return Ok((hit, plan.run.end()));
                }
            }
        }
        Ok((None, plan.run.end()))
    }

    async fn look_in_batch(
        &self,
        walk: &mut Walk<FileOf<E>>,
        batch: &Located,
        from: Offset,
        at: Timestamp,
    ) -> Result<Option<TimestampHit>, ReadError> {
        let base = batch.header.base_offset;
        let bytes = walk.body(batch).await;
        let bytes = bytes.map_err(|_| self.corrupt(base))?;
        let view = BatchView::parse(&bytes).map_err(|_| self.corrupt(base))?;
        let found = view
            .first_at_or_after(at, from, inflated_bytes_max(bytes.len()))
            .map_err(|_| self.corrupt(base))?;
        let epoch = LeaderEpoch(batch.header.partition_leader_epoch);
        Ok(found.map(|found| TimestampHit {
            offset: found.offset,
            timestamp: found.timestamp,
            epoch,
        }))
    }
}
