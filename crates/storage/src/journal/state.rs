//! What the journal's records add up to: which logs there are, and what is known of each.
//!
//! Invariants: only [`JournalState::apply`] changes it, and that is total; replaying
//! [`JournalState::records`] gives the same state, so the manifest is the journal in short;
//! segments are in order and do not overlap; the epoch history comes from its records alone.
//! Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::{Offset, SegGen, SortedMap, Uuid};

use super::record::{Change, Life, Mark, Record, SegmentSummary};
use crate::dir::Found;
use crate::epochs::EpochHistory;
use crate::log::FaultyRange;
use crate::names::SegmentName;

/// A segment that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownSegment {
    /// Its name.
    pub name: SegmentName,
    /// What it holds, once nothing is added to it.
    pub closed: Option<SegmentSummary>,
}

/// The last act of a process for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedLog {
    /// The process.
    pub start_id: Uuid,
    /// One past the last record.
    pub end: Offset,
    /// Bytes of the last segment.
    pub bytes: u32,
}

/// One log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// First offset that may be read.
    pub start: Offset,
    /// Compaction has been through everything below.
    pub cleaned: Offset,
    /// Everything below is durable in segments.
    pub flushed: Offset,
    /// A hint.
    pub high_watermark: Offset,
    /// Which epoch began where.
    pub epochs: EpochHistory,
    /// Oldest first. Only the last one may be open.
    pub segments: Vec<KnownSegment>,
    /// The newest generation that a segment of it ever had: a file of a newer one was named by a
    /// record that is lost.
    pub newest_gen: SegGen,
    /// Known damage.
    pub faulty: Vec<FaultyRange>,
    /// Whether it may hold less than it was promised to.
    pub uncertain: bool,
    /// How the last process left it, if it said so.
    pub sealed: Option<SealedLog>,
}

/// All logs of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalState {
    logs: SortedMap<Found, Arc<LogState>>,
    dropped: BTreeSet<Found>,
    /// What is known of a log that was only made: one for all of them.
    fresh: Arc<LogState>,
}

/// A record that cannot follow what was before it: our mistake, or damage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {} does not fit what is known of it", log.partition)]
pub struct Misfit {
    /// Which log.
    pub log: Found,
    /// Which record.
    pub what: &'static str,
}

impl JournalState {
    /// The logs, in order.
    pub fn logs(&self) -> &SortedMap<Found, Arc<LogState>> {
        &self.logs
    }

    /// Logs that are gone but may have left files.
    pub fn dropped(&self) -> &BTreeSet<Found> {
        &self.dropped
    }

    /// Takes in a durable record.
    ///
    /// # Errors
    /// [`Misfit`]; then nothing has changed.
    pub fn apply(&mut self, record: &Record) -> Result<(), Misfit> {
        let log = record.log;
        let misfit = |what| Misfit { log, what };
        match record.change.life() {
            Life::Begins => {
                if self.logs.contains_key(&log) || self.dropped.contains(&log) {
                    return Err(misfit("the creation"));
                }
                self.logs.insert(log, Arc::clone(&self.fresh));
            },
            Life::Ends => {
                self.logs.remove(&log).ok_or_else(|| misfit("the deletion"))?;
                self.dropped.insert(log);
            },
            Life::IsOver => {
                if !self.dropped.remove(&log) {
                    return Err(misfit("the removal"));
                }
            },
            Life::GoesOn => match self.logs.get_mut(&log) {
                Some(known) => Arc::make_mut(known).apply(&record.change).map_err(misfit)?,
                // It was under way when its log was dropped.
                None if self.dropped.contains(&log) => {},
                None => return Err(misfit("a change")),
            },
        }
        Ok(())
    }

    /// Marks every log as uncertain: a part of the journal could not be read.
    pub fn all_uncertain(&mut self) {
        for log in self.logs.values_mut().filter(|log| !log.uncertain) {
            Arc::make_mut(log).uncertain = true;
        }
    }

    /// Records that make this state out of nothing.
    pub fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for (log, state) in self.logs.iter() {
            let record = |change| Record { log: *log, change };
            records.push(record(Change::Create));
            records.extend(state.changes().into_iter().map(record));
        }
        for log in &self.dropped {
            records.push(Record { log: *log, change: Change::Create });
            records.push(Record { log: *log, change: Change::Drop });
        }
        records
    }
}

impl LogState {
    /// One past the last offset that its segments are known to hold, as far as that is known.
    pub fn known_end(&self) -> Offset {
        let last = self.segments.last();
        let end = last.map_or(self.start, |segment| {
            segment.closed.map_or(segment.name.base, |closed| closed.end)
        });
        end.max(self.start)
    }

    fn apply(&mut self, change: &Change) -> Result<(), &'static str> {
        match change {
            Change::SegAdd(name) => {
                if name.base < self.segments_end() || self.knows(*name) {
                    return Err("a segment");
                }
                self.segments.push(KnownSegment { name: *name, closed: None });
                self.newest_gen = self.newest_gen.max(name.seg_gen);
            },
            Change::Close(summary) => self.close(summary)?,
            Change::Cut(at) => self.cut(*at),
            Change::Swap { drop, add } => self.swap(drop, add)?,
            Change::LogStart(at) => self.move_start(*at),
            Change::Cleaned(at) => self.cleaned = self.cleaned.max(*at),
            Change::Epoch { epoch, start } => {
                self.epochs.begin(*epoch, *start);
            },
            Change::Flushed { end, high_watermark } => {
                self.flushed = self.flushed.max(*end);
                self.high_watermark = self.high_watermark.max(*high_watermark);
            },
            Change::Mark(mark) => self.mark(*mark),
            Change::Sealed { start_id, end, bytes } => {
                let (start_id, end, bytes) = (*start_id, *end, *bytes);
                self.sealed = Some(SealedLog { start_id, end, bytes });
            },
            // The log itself keeps its batches; they end with their segment.
            Change::Batch(_) => {},
            Change::Create | Change::Drop | Change::Removed => return Err("a life"),
        }
        Ok(())
    }

    fn knows(&self, name: SegmentName) -> bool {
        self.segments.iter().any(|segment| segment.name.seg_gen == name.seg_gen)
    }

    fn segments_end(&self) -> Offset {
        self.segments.last().map_or(Offset::ZERO, |segment| {
            segment.closed.map_or(segment.name.base, |closed| closed.end)
        })
    }

    fn close(&mut self, summary: &SegmentSummary) -> Result<(), &'static str> {
        let last = self.segments.last_mut().filter(|last| last.name == summary.name);
        let last = last.ok_or("the end of a segment")?;
        last.closed = Some(*summary);
        if summary.end <= self.start {
            self.segments.pop();
        }
        Ok(())
    }

    fn cut(&mut self, at: Offset) {
        self.segments.retain(|segment| segment.name.base < at);
        self.epochs.cut(at);
        self.cleaned = self.cleaned.min(at);
        self.flushed = self.flushed.min(at);
        self.high_watermark = self.high_watermark.min(at);
        self.faulty.retain(|range| range.from < at);
        for range in &mut self.faulty {
            range.to = range.to.min(at);
        }
        let start = self.start;
        self.faulty.retain(|range| range.to > start);
        self.faulty.sort_by_key(|range| (range.from, range.to));
        self.faulty.dedup();
        if let Some(last) = self.segments.last_mut()
            && let Some(closed) = &mut last.closed
            && closed.end > at
        {
            // How many bytes that leaves is said by the record that closes it again.
            last.closed = None;
        }
        self.sealed = None;
    }

    fn swap(&mut self, drop: &[SegmentName], add: &[SegmentSummary]) -> Result<(), &'static str> {
        let mut segments = self.segments.clone();
        segments.retain(|segment| !drop.contains(&segment.name));
        segments.extend(
            add.iter().map(|summary| KnownSegment { name: summary.name, closed: Some(*summary) }),
        );
        segments.retain(|segment| segment.closed.is_none_or(|closed| closed.end > self.start));
        segments.sort_by_key(|segment| segment.name);
        let in_order = segments.windows(2).all(|pair| {
            let end = pair[0].closed.map(|closed| closed.end);
            end.is_some_and(|end| end <= pair[1].name.base && pair[0].name != pair[1].name)
        });
        let gens: BTreeSet<_> = segments.iter().map(|segment| segment.name.seg_gen).collect();
        if !in_order || gens.len() != segments.len() {
            return Err("a swap of segments");
        }
        self.segments = segments;
        let newest = add.iter().map(|summary| summary.name.seg_gen).max();
        self.newest_gen = self.newest_gen.max(newest.unwrap_or_default());
        Ok(())
    }

    fn move_start(&mut self, at: Offset) {
        self.start = self.start.max(at);
        let start = self.start;
        self.faulty.retain(|range| range.to > start);
        self.segments.retain(|segment| segment.closed.is_none_or(|closed| closed.end > start));
        // A scan begins with the first segment, which may begin before the log does.
        let first = self.segments.first().map_or(start, |segment| segment.name.base.min(start));
        self.epochs.forget_before(first);
    }

    fn mark(&mut self, mark: Mark) {
        match mark {
            Mark::Uncertain => self.uncertain = true,
            Mark::ClearUncertain => self.uncertain = false,
            Mark::Faulty(range) => {
                if range.to > self.start && !self.faulty.contains(&range) {
                    self.faulty.push(range);
                    self.faulty.sort_by_key(|range| (range.from, range.to));
                }
            },
            Mark::ClearFaulty(range) => self.faulty.retain(|known| *known != range),
        }
    }

    fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        let newest = self.segments.iter().map(|segment| segment.name.seg_gen).max();
        if newest.unwrap_or_default() < self.newest_gen {
            let name = SegmentName { base: Offset::ZERO, seg_gen: self.newest_gen };
            changes.extend([Change::SegAdd(name), Change::Cut(Offset::ZERO)]);
        }
        if self.start > Offset::ZERO {
            changes.push(Change::LogStart(self.start));
        }
        if self.cleaned > Offset::ZERO {
            changes.push(Change::Cleaned(self.cleaned));
        }
        for segment in &self.segments {
            changes.push(Change::SegAdd(segment.name));
            changes.extend(segment.closed.map(Change::Close));
        }
        let entries = self.epochs.entries().iter();
        changes
            .extend(entries.map(|entry| Change::Epoch { epoch: entry.epoch, start: entry.start }));
        let (end, high_watermark) = (self.flushed, self.high_watermark);
        if end > Offset::ZERO || high_watermark > Offset::ZERO {
            changes.push(Change::Flushed { end, high_watermark });
        }
        changes.extend(self.faulty.iter().map(|range| Change::Mark(Mark::Faulty(*range))));
        if self.uncertain {
            changes.push(Change::Mark(Mark::Uncertain));
        }
        if let Some(SealedLog { start_id, end, bytes }) = self.sealed {
            changes.push(Change::Sealed { start_id, end, bytes });
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use base::LeaderEpoch;
    use proptest::prelude::*;

    use super::super::record::tests::{log, record};
    use super::*;

    fn after(changes: &[Change]) -> JournalState {
        let mut state = JournalState::default();
        for change in std::iter::once(&Change::Create).chain(changes) {
            state.apply(&Record { log: log(1), change: change.clone() }).unwrap();
        }
        state
    }

    fn name(base: i64, number: u64) -> SegmentName {
        SegmentName { base: Offset(base), seg_gen: SegGen(number) }
    }

    fn closed(base: i64, number: u64, end: i64) -> SegmentSummary {
        let (name, end) = (name(base, number), Offset(end));
        SegmentSummary { name, end, bytes: 10, max_timestamp: None }
    }

    fn known(state: &JournalState) -> &LogState {
        state.logs().get(&log(1)).expect("a log")
    }

    fn names(state: &JournalState) -> Vec<SegmentName> {
        known(state).segments.iter().map(|segment| segment.name).collect()
    }

    #[test]
    fn a_swap_that_uses_a_generation_twice_is_no_swap() {
        let mut state = after(&[]);
        let add = vec![closed(0, 7, 1), closed(49, 7, 49)];
        let swap = Record { log: log(1), change: Change::Swap { drop: Vec::new(), add } };
        assert!(state.apply(&swap).is_err());
        assert_eq!(state, after(&[]), "and changes nothing");
    }

    #[test]
    fn a_cut_below_the_start_leaves_no_damage_that_cannot_be_told_again() {
        let damage = Mark::Faulty(FaultyRange { from: Offset(5), to: Offset(51) });
        let state =
            after(&[Change::Mark(damage), Change::LogStart(Offset(48)), Change::Cut(Offset(6))]);
        assert!(known(&state).faulty.is_empty());
        let mut again = JournalState::default();
        state.records().iter().for_each(|record| again.apply(record).unwrap());
        assert_eq!(again, state);
    }

    #[test]
    fn a_cut_voids_what_lies_behind_it_in_every_older_generation() {
        let epoch =
            |epoch, start| Change::Epoch { epoch: LeaderEpoch(epoch), start: Offset(start) };
        let state = after(&[
            Change::SegAdd(name(0, 1)),
            Change::Close(closed(0, 1, 10)),
            Change::SegAdd(name(10, 2)),
            epoch(0, 0),
            epoch(3, 10),
            Change::Cut(Offset(7)),
            Change::Close(closed(0, 1, 7)),
            Change::SegAdd(name(7, 3)),
        ]);

        assert_eq!(names(&state), vec![name(0, 1), name(7, 3)]);
        let known = known(&state);
        assert_eq!(known.epochs.latest().unwrap().epoch, LeaderEpoch(0));
        assert_eq!(known.segments[0].closed, Some(closed(0, 1, 7)));
    }

    #[test]
    fn a_moved_start_lets_go_of_whole_segments_and_keeps_the_open_one() {
        let state = after(&[
            Change::SegAdd(name(0, 1)),
            Change::Close(closed(0, 1, 10)),
            Change::SegAdd(name(10, 2)),
            Change::LogStart(Offset(10)),
        ]);

        assert_eq!(names(&state), vec![name(10, 2)]);
        assert_eq!(known(&state).start, Offset(10));
    }

    #[test]
    fn a_dropped_log_cannot_come_back_before_its_files_are_gone() {
        let mut state = after(&[]);
        let record = |change| Record { log: log(1), change };
        state.apply(&record(Change::Drop)).unwrap();

        assert!(state.apply(&record(Change::Create)).is_err());
        state.apply(&record(Change::Removed)).unwrap();
        state.apply(&record(Change::Create)).unwrap();
    }

    #[test]
    fn records_of_unknown_logs_and_segments_out_of_order_do_not_fit() {
        let mut state = after(&[Change::SegAdd(name(10, 2)), Change::Close(closed(10, 2, 20))]);
        let before = state.clone();
        for (number, change) in [
            (2, Change::LogStart(Offset(1))),
            (1, Change::SegAdd(name(15, 3))),
            (1, Change::SegAdd(name(20, 2))),
            (1, Change::Close(closed(0, 1, 5))),
            (1, Change::Swap { drop: vec![], add: vec![closed(5, 2, 10)] }),
            (1, Change::Swap { drop: vec![], add: vec![closed(5, 3, 11)] }),
            (1, Change::Removed),
        ] {
            assert!(state.apply(&Record { log: log(number), change }).is_err());
        }
        assert_eq!(state, before);
    }

    proptest! {
        #[test]
        fn the_state_is_what_its_records_add_up_to(
            records in prop::collection::vec(record(), 0..60),
        ) {
            let mut state = JournalState::default();
            for record in &records {
                let before = state.clone();
                if state.apply(record).is_err() {
                    prop_assert_eq!(&state, &before);
                }
            }
            let mut again = JournalState::default();
            for record in state.records() {
                prop_assert_eq!(again.apply(&record), Ok(()));
            }
            prop_assert_eq!(again, state);
        }
    }
}
