//! What retention and compaction owe once everything is quiet.
//!
//! Invariants: only what was due long enough ago is demanded, of a broker that was left in peace
//! since, and of logs in which nothing is damaged: with damage a segment may have no latest time, and
//! compaction leaves alone what it cannot read.

use super::History;
use super::platter::{Extent, extents};
use super::tables::{EXPIRES_MS, Table, clocks_agree, only_partition};
use crate::fault::BROKER;
use crate::world::{MS, World};

/// The broker looks for old segments every second, and for what is dirty every tenth of one. What is
/// due longer than three such looks is overdue, milliseconds.
pub(super) const OVERDUE_MS: u64 = 3_000;

impl History {
    /// What can be compacted now has to be before the end.
    pub fn tables_are_due(&self, world: &World) {
        let mut seen = self.seen();
        let disk = world.disk(BROKER);
        for table in seen.tables.values_mut() {
            let Some(id) = table.id else { continue };
            let found = extents(&disk, only_partition(id));
            table.due_upto = found.map_or(0, |found| compactable(&found.segments));
        }
    }

    /// Nothing is there that should have been deleted or compacted long ago.
    pub fn nothing_is_overdue(&self, world: &World) {
        let peace = world.now().saturating_sub(world.disturbed_at(BROKER));
        if peace < OVERDUE_MS * MS {
            return;
        }
        let agree = clocks_agree(world);
        let now = world.wall(BROKER).0;
        let seen = self.seen();
        let disk = world.disk(BROKER);
        for (topic, table) in &seen.tables {
            let Some(found) = table.id.and_then(|id| extents(&disk, only_partition(id))) else {
                continue;
            };
            if !found.is_sound {
                continue;
            }
            let Table { rules, due_upto, .. } = table;
            let old = expired(&found.segments, now).filter(|_| agree && rules.expires);
            world.check("retention", old.is_none(), || {
                format!("{topic}: {old:?} is still there at {now}, {EXPIRES_MS} ms are enough")
            });
            let is_compacted = !rules.too_young && rules.compacted;
            let dirty =
                is_compacted.then(|| uncompacted(&found.segments, found.cleaned, *due_upto));
            let dirty = dirty.flatten();
            world.check("compaction", dirty.is_none(), || {
                format!("{topic} was compacted up to {}, not {dirty:?}", found.cleaned)
            });
        }
    }
}

/// One past the last offset that may be compacted. The last segment that holds something is left alone,
/// even if it is closed and nothing was written to the next one, or there was no room for one.
fn compactable(segments: &[Extent]) -> i64 {
    let last = segments.iter().rposition(|segment| segment.latest.is_some()).unwrap_or(0);
    let finished = segments.iter().take(last);
    finished.filter_map(|segment| segment.closed).map(|(end, _)| end).max().unwrap_or(0)
}

/// The oldest segment, if retention should have deleted it long ago: nothing is added to it, and its
/// latest record was old enough by then.
fn expired(segments: &[Extent], now: i64) -> Option<&Extent> {
    let overdue = i64::try_from(OVERDUE_MS).unwrap_or(i64::MAX);
    let oldest = segments.first().filter(|segment| segment.closed.is_some())?;
    let age = now.saturating_sub(oldest.latest?);
    (age > EXPIRES_MS + overdue).then_some(oldest)
}

/// What should have been compacted by now and was not: closed segments below `due`, if they are more
/// than a hundredth of all closed ones.
fn uncompacted(segments: &[Extent], cleaned: i64, due: i64) -> Option<&Extent> {
    let closed = segments.iter().filter_map(|segment| Some((segment, segment.closed?)));
    let all: usize = closed.clone().map(|(_, (_, bytes))| bytes).sum();
    let dirty = closed.filter(|(_, (end, _))| (cleaned + 1..=due).contains(end));
    let bytes: usize = dirty.clone().map(|(_, (_, bytes))| bytes).sum();
    dirty.map(|(segment, _)| segment).next().filter(|_| bytes.saturating_mul(50) > all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(base: i64, latest: i64) -> Extent {
        Extent { base, closed: Some((base + 10, 100)), latest: Some(latest) }
    }

    fn open(base: i64, latest: i64) -> Extent {
        Extent { closed: None, ..closed(base, latest) }
    }

    #[test]
    fn a_closed_segment_that_is_older_than_it_may_be_is_found_and_no_other() {
        let late = EXPIRES_MS + 3_000;
        assert!(expired(&[closed(0, 100), closed(10, 9_000)], 101 + late).is_some());
        assert_eq!(expired(&[closed(0, 100)], 100 + late), None, "there may be no look since");
        assert_eq!(expired(&[open(0, 100)], 101 + late), None, "something may be added");
        assert_eq!(expired(&[closed(0, 9_000), closed(10, 100)], 101 + late), None, "in order");
        assert_eq!(expired(&[Extent { latest: None, ..closed(0, 0) }], 101 + late), None);
        assert_eq!(expired(&[], 101 + late), None);
    }

    #[test]
    fn a_closed_segment_that_was_due_and_is_not_compacted_is_found() {
        let log = [closed(0, 1), closed(10, 1), closed(20, 1), open(30, 1)];
        let due = compactable(&log);

        assert_eq!(due, 30);
        assert_eq!(compactable(&log[..3]), 20, "the last one is left alone");
        let begun = [closed(0, 1), closed(10, 1), Extent { latest: None, ..open(20, 1) }];
        assert_eq!(compactable(&begun), 10, "the next one holds nothing yet");
        assert_eq!(uncompacted(&log, 20, due).map(|found| found.base), Some(20));
        assert_eq!(uncompacted(&log, 30, due), None);
        assert_eq!(uncompacted(&log, 20, 20), None, "it was closed since");
        assert_eq!(uncompacted(&[], 0, 0), None);
    }

    #[test]
    fn too_little_is_not_due() {
        let mut log = [closed(0, 1), closed(10, 1), open(20, 1)];
        log[0].closed = Some((10, 10_000));
        assert_eq!(uncompacted(&log, 10, compactable(&log)), None);
    }
}
