//! Which leader epoch began at which offset.
//!
//! Invariant: both epochs and start offsets rise strictly from entry to entry. Source: KIP-101.

use base::{LeaderEpoch, Offset};
use smallvec::SmallVec;

/// One epoch's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Offset of the first record appended in it (or where it would have gone).
    pub start: Offset,
}

/// All epochs of one log, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochHistory {
    /// Most logs at rest know one epoch: it needs no allocation of its own.
    entries: SmallVec<[EpochStart; 1]>,
}

impl EpochHistory {
    /// The entries, oldest first.
    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    /// The newest entry.
    pub fn latest(&self) -> Option<EpochStart> {
        self.entries.last().copied()
    }

    /// Notes that `epoch` begins at `start`. An epoch that is not newer changes nothing; one
    /// without any record gives way to a newer one at the same offset.
    ///
    /// Returns whether anything changed.
    pub fn begin(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        match self.latest() {
            Some(last) if epoch <= last.epoch || start < last.start => return false,
            Some(last) if start == last.start => {
                self.entries.pop();
            },
            Some(_) | None => {},
        }
        self.entries.push(EpochStart { epoch, start });
        true
    }

    /// The epoch of the record at `offset`, if the history reaches back that far.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start <= offset);
        after.checked_sub(1).and_then(|at| self.entries.get(at)).map(|entry| entry.epoch)
    }

    /// Where `epoch` ended, given the log's end: the largest epoch not above it and where that one
    /// ended. Of an epoch from before the history only the second is known: where that begins.
    /// `None` for an epoch that never was here. Source: KIP-101, KIP-279.
    pub fn end_of(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        if epoch.0 < 0 {
            return None;
        }
        let after = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let before = after.checked_sub(1).and_then(|at| self.entries.get(at));
        match (before, self.entries.get(after)) {
            (Some(last), None) if last.epoch == epoch => Some((epoch, log_end)),
            (_, None) => None,
            (before, Some(next)) => Some((before.map_or(epoch, |found| found.epoch), next.start)),
        }
    }

    /// Forgets epochs that began beyond `end` (they cannot have).
    pub(crate) fn cut(&mut self, end: Offset) {
        self.entries.retain(|entry| entry.start <= end);
    }

    /// Forgets epochs that ended at or before `start`, keeping the one that covers it.
    pub(crate) fn forget_before(&mut self, start: Offset) {
        let covering = self.entries.partition_point(|entry| entry.start <= start);
        if covering > 1 {
            self.entries.drain(..covering - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(entries: &[(i32, i64)]) -> EpochHistory {
        let mut history = EpochHistory::default();
        for (epoch, start) in entries {
            assert!(history.begin(LeaderEpoch(*epoch), Offset(*start)));
        }
        history
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let history = history(&[(0, 0), (2, 10), (5, 30)]);

        assert_eq!(history.end_of(LeaderEpoch(0), Offset(40)), Some((LeaderEpoch(0), Offset(10))));
        assert_eq!(history.end_of(LeaderEpoch(1), Offset(40)), Some((LeaderEpoch(0), Offset(10))));
        assert_eq!(history.end_of(LeaderEpoch(5), Offset(40)), Some((LeaderEpoch(5), Offset(40))));
    }

    #[test]
    fn an_epoch_that_never_was_has_no_end_and_one_before_the_history_ended_where_it_begins() {
        let end_of = |history: &EpochHistory, epoch| history.end_of(LeaderEpoch(epoch), Offset(40));
        let known = history(&[(2, 10), (5, 30)]);

        for never in [-1, 6, i32::MAX] {
            assert_eq!(end_of(&known, never), None);
        }
        assert_eq!(end_of(&known, 1), Some((LeaderEpoch(1), Offset(10))));
        assert_eq!(end_of(&EpochHistory::default(), 0), None);
    }

    #[test]
    fn an_epoch_without_records_gives_way() {
        let mut history = history(&[(0, 0), (2, 10)]);

        assert!(history.begin(LeaderEpoch(3), Offset(10)));
        assert!(!history.begin(LeaderEpoch(3), Offset(20)));

        assert_eq!(history.latest(), Some(EpochStart { epoch: LeaderEpoch(3), start: Offset(10) }));
        assert_eq!(history.entries().len(), 2);
    }

    #[test]
    fn the_epoch_that_covers_the_log_start_is_kept() {
        let mut history = history(&[(0, 0), (2, 10), (5, 30)]);

        history.forget_before(Offset(15));

        assert_eq!(history.epoch_at(Offset(15)), Some(LeaderEpoch(2)));
        assert_eq!(history.epoch_at(Offset(5)), None);
    }
}
