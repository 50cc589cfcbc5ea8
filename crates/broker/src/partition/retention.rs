//! Deleting what is old enough, or too much.
//!
//! Invariants: whole segments only, oldest first, stopping at the first that stays; never anything
//! at or beyond the high watermark. A segment whose time is not known (no record has one, or damage took
//! it) goes by age when a later one does: Kafka goes by its file's time instead. The segment that grows
//! is ended first, if it holds something, so a log at rest becomes empty. Source: Kafka's log retention (`retention.ms`, `retention.bytes`). Ours: files go at once
//! (`file.delete.delay.ms` has no effect), and who still reads from one may finish.

use std::sync::Arc;

use base::{Offset, Probe, Timestamp};
use env::Env;
use storage::{SegmentExtent, WriteError};

use crate::config::TopicConfig;
use crate::partition::Partition;
use crate::partition::ledger::Fate;

impl<E: Env> Partition<E> {
    /// Deletes the segments that the topic's rules do not keep.
    ///
    /// # Errors
    /// The directory failed, or not even its journal has room.
    pub(crate) async fn retain(&self, now: Timestamp) -> Result<(), WriteError> {
        let (fate, upto) = {
            let ledger = self.ledger.lock();
            (ledger.fate, ledger.high_watermark)
        };
        let config = self.rules_of_retention();
        if fate != Fate::Open || !config.delete {
            return Ok(());
        }
        let mut segments = self.log.segments();
        let mut start = first_kept(&segments, &config, now, upto);
        if segments.last().is_some_and(|last| last.open && start == Some(last.end)) {
            self.env().probe().reached("retention_closed_segment");
            self.log.close_segment().await?;
            // Somebody may have appended meanwhile, and what grows again is young.
            segments = self.log.segments();
            segments.retain(|segment| !segment.open);
            start = first_kept(&segments, &config, now, upto);
        }
        let Some(start) = start else {
            return Ok(());
        };
        self.log.set_log_start(start).await?;
        self.env().probe().reached("retention_deleted");
        self.show_log_start();
        Ok(())
    }

    fn rules_of_retention(&self) -> Arc<TopicConfig> {
        let config = self.config();
        // Planted: records live half as long as they should.
        if self.env().probe().mutant("retention_age_halved") {
            let retention_age = config.retention_age.map(|age| age / 2);
            return Arc::new(TopicConfig { retention_age, ..TopicConfig::clone(&config) });
        }
        config
    }
}

/// The new start of the log; `None` if everything stays.
fn first_kept(
    segments: &[SegmentExtent],
    config: &TopicConfig,
    now: Timestamp,
    upto: Offset,
) -> Option<Offset> {
    let mut total: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut start = None;
    // One that has just begun is not ended. The file of a closed one may be lost, which keeps nothing.
    let has_begun = |segment: &&SegmentExtent| segment.open && segment.bytes == 0;
    let decided = segments.iter().take_while(|s| !has_begun(s) && s.end <= upto);
    for segment in decided {
        let too_old = match (config.retention_age, segment.max_timestamp) {
            (Some(age), Some(latest)) => Some(
                i128::from(now.0) - i128::from(latest.0)
                    > i128::try_from(age.as_millis()).unwrap_or(i128::MAX),
            ),
            (Some(_), None) => None,
            (None, _) => Some(false),
        };
        let left = total.saturating_sub(segment.bytes);
        let too_much = config.retention_bytes.is_some_and(|keep| left >= keep);
        if too_old == Some(false) && !too_much {
            break;
        }
        total = left;
        if too_old == Some(true) || too_much {
            start = Some(segment.end);
        }
    }
    start
}

#[cfg(test)]
mod tests {
    use base::Duration;

    use super::*;

    fn segments() -> Vec<SegmentExtent> {
        let segment = |base: i64, time: i64| SegmentExtent {
            base: Offset(base),
            end: Offset(base + 10),
            bytes: 100,
            open: base == 30,
            max_timestamp: Some(Timestamp(time)),
        };
        vec![segment(0, 1000), segment(10, 2000), segment(20, 1500), segment(30, 4000)]
    }

    fn check(config: &TopicConfig, now: i64, upto: i64, expected: Option<i64>) {
        let start = first_kept(&segments(), config, Timestamp(now), Offset(upto));
        assert_eq!(start, expected.map(Offset));
    }

    #[test]
    fn age_stops_at_the_first_segment_that_is_young_enough() {
        let config = TopicConfig {
            retention_age: Some(Duration::from_millis(1000)),
            ..TopicConfig::default()
        };
        check(&config, 2000, 40, None);
        check(&config, 2001, 40, Some(10));
        check(&config, 2999, 40, Some(10));
        check(&config, 5000, 40, Some(30));
        check(&config, 5001, 40, Some(40));
        check(&config, 9999, 25, Some(20));
    }

    #[test]
    fn size_keeps_at_least_what_is_asked_for() {
        let config = TopicConfig {
            retention_age: None,
            retention_bytes: Some(200),
            ..TopicConfig::default()
        };
        check(&config, 0, 40, Some(20));
        let config = TopicConfig { retention_bytes: Some(301), ..config };
        check(&config, 0, 40, None);
        let config = TopicConfig { retention_bytes: Some(0), ..config };
        check(&config, 0, 40, Some(40));
    }

    #[test]
    fn without_limits_everything_stays() {
        let config = TopicConfig { retention_age: None, ..TopicConfig::default() };
        check(&config, i64::MAX, 40, None);
    }

    #[test]
    fn a_segment_whose_time_is_not_known_goes_with_the_next_one_that_does() {
        let config = TopicConfig {
            retention_age: Some(Duration::from_millis(1000)),
            ..TopicConfig::default()
        };
        let start = |untimed: &[usize], now| {
            let mut segments = segments();
            untimed.iter().for_each(|at| segments[*at].max_timestamp = None);
            first_kept(&segments, &config, Timestamp(now), Offset(40))
        };
        assert_eq!(start(&[0], 2600), None, "the next one is young");
        assert_eq!(start(&[0], 3001), Some(Offset(30)), "the next two are old");
        assert_eq!(start(&[1, 2], 2600), Some(Offset(10)));
        assert_eq!(start(&[0, 1, 2], 5001), Some(Offset(40)));
        assert_eq!(start(&[0, 1, 2, 3], i64::MAX), None, "nothing tells how old they are");
        let by_size = TopicConfig { retention_bytes: Some(301), ..config.clone() };
        let mut untimed = segments();
        untimed[0].max_timestamp = None;
        assert_eq!(first_kept(&untimed, &by_size, Timestamp(2600), Offset(40)), None);
        let by_size = TopicConfig { retention_bytes: Some(300), ..by_size };
        assert_eq!(first_kept(&untimed, &by_size, Timestamp(2600), Offset(40)), Some(Offset(10)));
    }

    #[test]
    fn a_segment_whose_file_is_lost_keeps_nothing_behind_it() {
        let mut lost = segments();
        lost[0].bytes = 0;
        let config = TopicConfig {
            retention_age: Some(Duration::from_millis(1000)),
            ..TopicConfig::default()
        };
        let start = |config, now| first_kept(&lost, config, Timestamp(now), Offset(40));
        assert_eq!(start(&config, 2000), None);
        assert_eq!(start(&config, 2001), Some(Offset(10)));
        assert_eq!(start(&config, 5001), Some(Offset(40)));
        let config = TopicConfig {
            retention_age: None,
            retention_bytes: Some(200),
            ..TopicConfig::default()
        };
        assert_eq!(start(&config, 0), Some(Offset(20)));
    }

    #[test]
    fn a_segment_that_has_just_begun_is_not_ended() {
        let mut empty = segments();
        empty[3] = SegmentExtent { end: Offset(30), bytes: 0, max_timestamp: None, ..empty[3] };
        let config = TopicConfig { retention_bytes: Some(0), ..TopicConfig::default() };
        let start = |segments: &[_]| first_kept(segments, &config, Timestamp(0), Offset(30));
        assert_eq!(start(&empty), Some(Offset(30)));
        assert_eq!(start(&empty[3..]), None);
    }
}
