//! Deleting what is old enough, or too much.
//!
//! Invariants: whole segments only, oldest first, stopping at the first that stays; never anything
//! at or beyond the high watermark. The segment that grows is ended first, so a log at rest becomes
//! empty. Source: Kafka's log retention (`retention.ms`, `retention.bytes`). Ours: files go at once
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
    let filled = segments.iter().take_while(|segment| segment.bytes > 0 && segment.end <= upto);
    for segment in filled {
        let too_old = match (config.retention_age, segment.max_timestamp) {
            (Some(age), Some(latest)) => {
                i128::from(now.0) - i128::from(latest.0)
                    > i128::try_from(age.as_millis()).unwrap_or(i128::MAX)
            },
            (_, None) | (None, _) => false,
        };
        let left = total.saturating_sub(segment.bytes);
        let too_much = config.retention_bytes.is_some_and(|keep| left >= keep);
        if !too_old && !too_much {
            break;
        }
        total = left;
        start = Some(segment.end);
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
}
