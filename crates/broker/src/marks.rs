//! Rare branches of this crate that a simulation campaign must reach.

/// Every mark, by file.
pub const MARKS: &[&str] = &[
    "produce_duplicate",
    "produce_duplicate_of_pending",
    "produce_out_of_order",
    "produce_fenced",
    "produce_overloaded",
    "produce_timed_out",
    "produce_batch_refused",
    "produce_transactional",
    "produce_larger_than_segment",
    "produce_while_stopping",
    "produce_unknown_partition",
    "produce_internal_topic",
    "partition_writer_spawned",
    "partition_append_failed",
];
