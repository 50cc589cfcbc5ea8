//! Compaction as rules: when a log is due, what is looked at, and what stays of each batch.
//!
//! Invariants: of every key the record with the highest offset stays, and everything from the end
//! of the cleaned range on; a tombstone stays for `delete.retention.ms` after the first cleaning
//! that saw it; data of aborted transactions goes, and the marker of a transaction stays for
//! `delete.retention.ms` after the first cleaning that saw no data of it; the last batch of every
//! producer that is still remembered stays, if need be without records, and so does a marker of an epoch
//! in which it has sent nothing yet; offsets, times and order never change. Pure. Source: KIP-58,
//! KIP-354 (`max.compaction.lag.ms`), KIP-534 (delete horizon), and Kafka 4.4's behaviour.

mod choice;
mod offset_map;
mod rules;
mod transactions;

pub use choice::{CleanConfig, CleanSegment, Dirty, choose, groups};
pub use offset_map::OffsetMap;
pub use rules::{Cleaned, LastBatch, Rules, note_keys};
pub use transactions::{Endings, Seen};

/// Kafka's milliseconds.
fn millis(duration: base::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
