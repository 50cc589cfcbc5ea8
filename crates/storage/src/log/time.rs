//! Look-ups by time.
//!
//! Invariants: the answer is the record with the lowest offset that qualifies, not the one with the
//! lowest timestamp; damage that may hold the answer is answered with damage, and nothing else is: a batch
//! may inflate to whatever it could when it was let in. Source: KIP-79, KIP-734.

use base::{LeaderEpoch, Offset, Timestamp};
use env::Env;
use records::STORED_INFLATED_BYTES_MAX;
use records::batch::BatchView;
use records::header::NO_TIMESTAMP;

use super::batches::{Located, Walk};
use super::recover::FaultyRange;
use super::run_walk::RunWalk;
use super::{FileOf, Log, SegmentState, Shared};
use crate::envelope::Run;
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
        let (start, mut times) = {
            let shared = self.inner.shared.lock();
            if let Some(at) = shared.untold_time() {
                return Err(self.corrupt(at));
            }
            (shared.start, shared.largest_times())
        };
        if let Some(largest) = times.pop()
            && let Some(hit) = self.offset_for_timestamp(largest).await?
        {
            return Ok(Some(hit));
        }
        // It may be of a record below the start, in the segment that the log begins in.
        times.extend(self.times_from(start).await?);
        times.sort_unstable();
        times.dedup();
        while let Some(largest) = times.pop() {
            let hit = self.offset_for_timestamp(largest).await?;
            if hit.is_some() {
                return Ok(hit);
            }
        }
        Ok(None)
    }

    /// The times at or behind `start` in its segment, of which the largest record is one: of the batch
    /// that it is in the largest that counts, of the batches behind that in its run theirs, and of
    /// every later run its own.
    async fn times_from(&self, start: Offset) -> Result<Vec<Timestamp>, ReadError> {
        let (file, run, mut times) = loop {
            let name = {
                let shared = self.inner.shared.lock();
                if start >= shared.end {
                    return Ok(Vec::new());
                }
                match shared.plan_for(start)? {
                    Ok(plan) => break (plan.file, plan.run, shared.times_behind(&plan.run)),
                    Err(name) => name,
                }
            };
            self.load(name, start).await?;
        };
        let mut walk = RunWalk::within(file, vec![run]);
        while let Some(batch) = self.walked(walk.header().await, start)? {
            let header = &batch.header;
            if header.base_offset >= start {
                times.push(header.max_timestamp);
            } else if header.last_offset() >= start {
                times.extend(self.latest_in_batch(walk.inner(), &batch, start).await?);
            }
        }
        times.retain(|time| *time != NO_TIMESTAMP);
        Ok(times)
    }

    async fn latest_in_batch(
        &self,
        walk: &mut Walk<FileOf<E>>,
        batch: &Located,
        from: Offset,
    ) -> Result<Option<Timestamp>, ReadError> {
        let base = batch.header.base_offset;
        let bytes = walk.body(batch).await.map_err(|_| self.corrupt(base))?;
        let view = BatchView::parse(&bytes).map_err(|_| self.corrupt(base))?;
        let latest = view.latest(from, STORED_INFLATED_BYTES_MAX);
        let latest = latest.map_err(|_| self.corrupt(base))?;
        Ok(latest.map(|found| found.timestamp))
    }

    /// The first run at or after `from` that may hold such a record.
    fn next_run(&self, from: Offset, at: Timestamp) -> Next {
        let shared = self.inner.shared.lock();
        let from = from.max(shared.start);
        if from >= shared.end {
            return Next::Nothing;
        }
        for segment in &shared.segments[shared.segment_of(from)..] {
            let tells = !shared.hides_its_time(segment);
            if tells && segment.max_timestamp.is_none_or(|(max, _)| max < at) {
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
            .first_at_or_after(at, from, STORED_INFLATED_BYTES_MAX)
            .map_err(|_| self.corrupt(base))?;
        let epoch = LeaderEpoch(batch.header.partition_leader_epoch);
        Ok(found.map(|found| TimestampHit {
            offset: found.offset,
            timestamp: found.timestamp,
            epoch,
        }))
    }
}

impl<F> Shared<F> {
    /// Whether damage took the largest time of a segment away. One that was closed before it was damaged
    /// still tells it.
    fn hides_its_time(&self, segment: &SegmentState<F>) -> bool {
        segment.max_timestamp.is_none() && self.damage_in(segment).is_some()
    }

    /// The largest time of each segment, in order.
    fn largest_times(&self) -> Vec<Timestamp> {
        let times = self.segments.iter().filter_map(|segment| segment.max_timestamp);
        let mut times: Vec<_> = times.map(|(time, _)| time).collect();
        times.sort_unstable();
        times
    }

    /// The largest times of the runs behind `run` in its segment.
    fn times_behind(&self, run: &Run) -> Vec<Timestamp> {
        let segment = self.segments.get(self.segment_of(run.base));
        let runs = segment.and_then(|segment| segment.runs.as_deref()).unwrap_or_default();
        runs.iter().filter(|other| other.base > run.base).map(|other| other.max_timestamp).collect()
    }

    /// Damage that may hold the largest time of all.
    fn untold_time(&self) -> Option<Offset> {
        let mut hidden = self.segments.iter().filter(|segment| self.hides_its_time(segment));
        hidden.find_map(|segment| self.damage_in(segment))
    }

    /// The first damaged offset in a segment that may be read.
    pub(super) fn damage_in(&self, segment: &SegmentState<F>) -> Option<Offset> {
        let begin = self.start.max(segment.name.base);
        let within = |range: &&FaultyRange| range.from < segment.end && begin < range.to;
        self.faulty().iter().find(within).map(|range| range.from.max(begin))
    }
}
