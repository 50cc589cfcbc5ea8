//! Whether a log is due for compaction, how far it may go, and which segments become one.
//!
//! Invariants: the active segment is never cleaned, nor is anything that is not committed or is
//! younger than `min.compaction.lag.ms`; what is chosen ends where a segment begins.

use std::ops::Range;

use base::{Duration, Offset, Timestamp};

use super::millis;

/// What may be chosen about the compaction of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanConfig {
    /// Share of dirty bytes from which on the log is due, in millionths
    /// (`min.cleanable.dirty.ratio`).
    pub dirty_ppm_min: u32,
    /// How long a record is left alone (`min.compaction.lag.ms`).
    pub lag_min: Duration,
    /// How long a record may stay dirty (`max.compaction.lag.ms`).
    pub lag_max: Duration,
}

/// A segment that is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanSegment {
    /// Its first offset.
    pub base: Offset,
    /// Its size.
    pub bytes: u64,
    /// The time of its first batch; −1 if it has none.
    pub first_timestamp: Timestamp,
    /// The latest time in it; −1 if it has none.
    pub max_timestamp: Timestamp,
}

/// The part of a log that can be cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirty {
    /// Where the part that was never cleaned begins.
    pub from: Offset,
    /// Where it ends: the base of a segment.
    pub upto: Offset,
    /// Its share of all that would be read, in millionths: the dirtiest log is cleaned first.
    pub dirty_ppm: u32,
    /// Whether it is time.
    pub due: bool,
    /// How often the log had been cut short by then; 0 of [`choose`], which does not know.
    pub cuts: u64,
}

/// What of a log can be cleaned; `None` if nothing.
///
/// `closed` are its closed segments in order, `active` the base of the one that is not, `cleaned`
/// where the last cleaning ended, `stable` the end of what is committed and decided.
pub fn choose(
    closed: &[CleanSegment],
    active: Offset,
    cleaned: Offset,
    stable: Offset,
    config: &CleanConfig,
    now: Timestamp,
) -> Option<Dirty> {
    let ends = closed.iter().skip(1).map(|segment| segment.base).chain([active]);
    let young = Timestamp(now.0.saturating_sub(millis(config.lag_min)));
    let held =
        |segment: &CleanSegment| config.lag_min > Duration::ZERO && segment.max_timestamp > young;
    let (mut clean_bytes, mut dirty_bytes) = (0_u64, 0_u64);
    let mut oldest: Option<Timestamp> = None;
    let (mut from, mut upto) = (None, None);
    for (segment, end) in closed.iter().zip(ends) {
        if end <= cleaned {
            clean_bytes = clean_bytes.saturating_add(segment.bytes);
            continue;
        }
        if end > stable || held(segment) {
            break;
        }
        from.get_or_insert(segment.base.max(cleaned));
        upto = Some(end);
        dirty_bytes = dirty_bytes.saturating_add(segment.bytes);
        if segment.first_timestamp >= Timestamp(0) {
            let time = segment.first_timestamp;
            oldest = Some(oldest.map_or(time, |oldest| oldest.min(time)));
        }
    }
    let dirty_ppm = share(dirty_bytes, clean_bytes.saturating_add(dirty_bytes));
    let late = Timestamp(now.0.saturating_sub(millis(config.lag_max)));
    let overdue = oldest.is_some_and(|oldest| oldest < late);
    let due = dirty_ppm > config.dirty_ppm_min || overdue;
    Some(Dirty { from: from?, upto: upto?, dirty_ppm, due, cuts: 0 })
}

/// Most segments that become one, so that the journal's record of it has a bound.
const GROUP_SEGMENTS_MAX: usize = 200;

/// Which of the segments below `upto` become one each: neighbours, as long as they fit.
///
/// A group of one is a segment that is written anew by itself.
pub fn groups(closed: &[CleanSegment], upto: Offset, segment_bytes: u64) -> Vec<Range<usize>> {
    let count = closed.iter().take_while(|segment| segment.base < upto).count();
    let mut groups = Vec::new();
    let mut from = 0;
    let mut bytes = 0_u64;
    for (at, segment) in closed.iter().enumerate().take(count) {
        let span = closed
            .get(at + 1)
            .map_or(upto, |next| next.base)
            .0
            .saturating_sub(closed.get(from).map_or(0, |first| first.base.0));
        let fits =
            bytes.saturating_add(segment.bytes) <= segment_bytes && span <= i64::from(i32::MAX);
        if at > from && (!fits || at - from >= GROUP_SEGMENTS_MAX) {
            groups.push(from..at);
            (from, bytes) = (at, 0);
        }
        bytes = bytes.saturating_add(segment.bytes);
    }
    if from < count {
        groups.push(from..count);
    }
    groups
}

fn share(part: u64, whole: u64) -> u32 {
    let ppm = u128::from(part) * 1_000_000 / u128::from(whole.max(1));
    u32::try_from(ppm).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: CleanConfig =
        CleanConfig { dirty_ppm_min: 500_000, lag_min: Duration::ZERO, lag_max: Duration::MAX };
    const NOW: Timestamp = Timestamp(10_000);

    /// Segments of ten offsets and a hundred bytes, a second apart; the last ends at `NOW`.
    fn segments(count: i64) -> Vec<CleanSegment> {
        (0..count)
            .map(|at| CleanSegment {
                base: Offset(at * 10),
                bytes: 100,
                first_timestamp: Timestamp(NOW.0 - (count - at) * 1_000),
                max_timestamp: Timestamp(NOW.0 - (count - at - 1) * 1_000),
            })
            .collect()
    }

    fn chosen(cleaned: i64, stable: i64, config: &CleanConfig) -> Option<(i64, i64, u32, bool)> {
        let dirty = choose(&segments(4), Offset(40), Offset(cleaned), Offset(stable), config, NOW)?;
        Some((dirty.from.0, dirty.upto.0, dirty.dirty_ppm, dirty.due))
    }

    #[test]
    fn a_log_is_due_when_more_than_the_share_is_dirty() {
        assert_eq!(chosen(0, 50, &CONFIG), Some((0, 40, 1_000_000, true)));
        assert_eq!(chosen(20, 50, &CONFIG), Some((20, 40, 500_000, false)));
        assert_eq!(chosen(10, 50, &CONFIG), Some((10, 40, 750_000, true)));
        assert_eq!(chosen(40, 50, &CONFIG), None);
    }

    #[test]
    fn a_cleaning_that_ended_inside_a_segment_goes_on_there() {
        assert_eq!(chosen(25, 50, &CONFIG), Some((25, 40, 500_000, false)));
    }

    #[test]
    fn what_is_not_committed_is_left_alone() {
        assert_eq!(chosen(0, 39, &CONFIG), Some((0, 30, 1_000_000, true)));
        assert_eq!(chosen(0, 9, &CONFIG), None);
    }

    #[test]
    fn what_is_young_is_left_alone() {
        let config = CleanConfig { lag_min: Duration::from_millis(1_000), ..CONFIG };
        assert_eq!(chosen(0, 50, &config), Some((0, 30, 1_000_000, true)));
        let config = CleanConfig { lag_min: Duration::from_millis(60_000), ..CONFIG };
        assert_eq!(chosen(0, 50, &config), None);
    }

    #[test]
    fn what_is_old_makes_a_log_due_whatever_its_share() {
        let config = |lag| CleanConfig { lag_max: Duration::from_millis(lag), ..CONFIG };
        assert_eq!(chosen(30, 50, &config(1_000)), Some((30, 40, 250_000, false)));
        assert_eq!(chosen(30, 50, &config(999)), Some((30, 40, 250_000, true)));
    }

    #[test]
    fn neighbours_become_one_segment_as_long_as_they_fit() {
        let segments = segments(5);
        assert_eq!(groups(&segments, Offset(50), 250), [0..2, 2..4, 4..5]);
        assert_eq!(groups(&segments, Offset(30), 1_000), std::slice::from_ref(&(0..3)));
        assert_eq!(groups(&segments, Offset(20), 99), [0..1, 1..2]);
        assert_eq!(groups(&segments, Offset(0), 1_000), []);
        let far = [segments[0], CleanSegment { base: Offset(1 << 31), ..segments[1] }];
        assert_eq!(groups(&far, Offset((1 << 31) + 1), 1_000), [0..1, 1..2]);
    }
}
