//! Deleting what is old enough, or too much.
//!
//! Invariants: whole segments only, oldest first, stopping at the first that stays; never the
//! segment that grows; never anything at or beyond the high watermark. Source: Kafka's log
//! retention (`retention.ms`, `retention.bytes`). Ours: the segment that grows is not rolled early
//! to be deleted by time, so a log at rest keeps its last segment.

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
        let config = self.config();
        if fate != Fate::Open || !config.delete {
            return Ok(());
        }
        let Some(start) = first_kept(&self.log.segments(), &config, now, upto) else {
            return Ok(());
        };
        self.log.set_log_start(start).await?;
        self.env.probe().reached("retention_deleted");
        let mut ledger = self.ledger.lock();
        ledger.log_start = ledger.log_start.max(start);
        Ok(())
    }
}

/// The new start of the log; `None` if everything stays.
fn first_kept(
    segments: &[SegmentExtent],
    config: &TopicConfig,
    now: Timestamp,
    upto: Offset,
) -> Option<Offset> {
    let (_, closed) = segments.split_last()?;
    let mut total: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut start = None;
    for segment in closed.iter().take_while(|segment| segment.end <= upto) {
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
        check(&config, 9999, 40, Some(30));
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
        check(&config, 0, 40, Some(30));
    }

    #[test]
    fn without_limits_everything_stays() {
        let config = TopicConfig { retention_age: None, ..TopicConfig::default() };
        check(&config, i64::MAX, 40, None);
    }
}
