//! What a log's segments are, for those who decide which of them go.

use base::{Offset, Timestamp};
use env::Env;

use super::Log;

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentExtent {
    /// Offset of its first record.
    pub base: Offset,
    /// One past its last record.
    pub end: Offset,
    /// Bytes of its batches.
    pub bytes: u64,
    /// Whether batches are still added to it.
    pub open: bool,
    /// The largest timestamp in it; `None` if no record has one, or if it was lost with a damaged one.
    pub max_timestamp: Option<Timestamp>,
}

impl<E: Env> Log<E> {
    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.inner.shared.lock().segments.len()
    }

    /// Every segment, oldest first; the last one may grow.
    pub fn segments(&self) -> Vec<SegmentExtent> {
        let shared = self.inner.shared.lock();
        let segments = shared.segments.iter();
        segments
            .map(|segment| SegmentExtent {
                base: segment.name.base,
                end: segment.end,
                bytes: u64::from(segment.bytes),
                open: segment.open,
                max_timestamp: segment.max_timestamp.map(|(time, _)| time),
            })
            .collect()
    }
}
