//! Which partition of `__consumer_offsets` a group belongs to.
//!
//! Invariant: the answer is Kafka's, for ever: tools compute it, and the log is laid out by it.

use base::PartitionIndex;

/// The partition, of `partitions`, that keeps `group`: Java's hash of the text's UTF-16 units,
/// made positive, modulo the count. Partition 0 if `partitions` is not positive.
pub fn partition_for(group: &str, partitions: i32) -> PartitionIndex {
    let hash = group
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // Kafka's `abs` maps the one number without a positive counterpart to zero.
    let positive = hash.checked_abs().unwrap_or(0);
    PartitionIndex(positive.checked_rem(partitions.max(0)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_lies_where_java_would_put_it() {
        // "test".hashCode() = 3556498, "console-consumer".hashCode() = -648006740.
        assert_eq!(partition_for("test", 50), PartitionIndex(48));
        assert_eq!(partition_for("console-consumer", 50), PartitionIndex(40));
        assert_eq!(partition_for("", 50), PartitionIndex(0));
        // A surrogate pair counts as two units: 0xd83d * 31 + 0xde00.
        assert_eq!(partition_for("\u{1f600}", 50), PartitionIndex(1_772_899 % 50));
    }

    #[test]
    fn the_hash_without_a_positive_counterpart_is_partition_zero() {
        // The classic text whose Java hash is the smallest integer.
        assert_eq!(partition_for("polygenelubricants", 50), PartitionIndex(0));
    }

    #[test]
    fn no_partitions_is_partition_zero() {
        assert_eq!(partition_for("test", 0), PartitionIndex(0));
        assert_eq!(partition_for("test", -3), PartitionIndex(0));
    }
}
