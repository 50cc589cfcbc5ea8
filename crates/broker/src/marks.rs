//! Names that a simulation campaign asks for: rare branches it must reach, bugs it can plant.

/// Every mark of this crate, sorted; a campaign in which one never fires is not thorough.
pub const MARKS: &[&str] = &[
    "broker_reconfigured",
    "cleaner_compacted",
    "cleaner_ended_before_damage",
    "cleaner_interrupted",
    "cleaner_refused",
    "delete_records_done",
    "delete_records_internal_topic",
    "delete_records_of_compacted_topic",
    "delete_records_out_of_range",
    "delete_records_unknown_partition",
    "directory_failed",
    "directory_lost",
    "directory_offline_at_start",
    "end_of_epoch_unknown_partition",
    "epoch_fenced",
    "epoch_unknown",
    "fetch_changed_before_parking",
    "fetch_corrupt",
    "fetch_diverging",
    "fetch_epoch_never_was",
    "fetch_io_error",
    "fetch_lost_a_race_with_retention",
    "fetch_out_of_range",
    "fetch_readers_full",
    "fetch_unknown_partition",
    "fetch_waited_in_vain",
    "fetch_woken",
    "flusher_failed",
    "group_append_found_no_room",
    "group_append_refused",
    "group_append_unknown",
    "group_commit_timed_out",
    "group_coordinator_broken",
    "group_load_failed",
    "group_load_in_progress",
    "group_mailbox_full",
    "group_members_have_no_room",
    "group_not_coordinator",
    "group_shard_ended",
    "group_topic_created",
    "list_offsets_unknown_partition",
    "list_offsets_unreadable",
    "log_made_later",
    "metadata_disk_full",
    "metadata_gone_beside_its_directories",
    "metadata_rewrite_put_off",
    "metadata_snapshot_written",
    "metadata_torn_entry_cut",
    "metadata_while_stopping",
    "metadata_write_failed",
    "mode_change_flushed",
    "mode_change_not_durable",
    "mode_change_waits_for_writer",
    "open_creates_missing_log",
    "open_cut_a_log",
    "open_deletes_stray_log",
    "open_finds_unnamed_files",
    "open_found_damage",
    "open_partition_offline",
    "partition_append_failed",
    "partition_disk_full",
    "partition_writer_spawned",
    "produce_batch_refused",
    "produce_before_refused_first",
    "produce_block_damaged",
    "produce_converted",
    "produce_duplicate",
    "produce_duplicate_of_pending",
    "produce_fenced",
    "produce_internal_topic",
    "produce_larger_than_segment",
    "produce_out_of_order",
    "produce_overloaded",
    "produce_timed_out",
    "produce_transactional",
    "produce_unknown_partition",
    "produce_while_stopping",
    "publisher_failed",
    "retention_closed_segment",
    "retention_deleted",
    "stop_with_unmade_log",
    "stop_without_seal",
    "topic_deletion_disabled",
    "topic_logs_deleted",
];

/// Planted bugs this crate knows.
pub const MUTANTS: &[&str] = &[
    "ack_before_write",
    "ack_by_new_mode",
    "ack_on_failed_directory",
    "ack_on_full_disk",
    "added_partitions_not_durable",
    "broker_settings_not_logged",
    "config_change_not_durable",
    "converted_keeps_old_crc",
    "duplicate_is_error",
    "duplicate_out_of_order",
    "end_is_out_of_range",
    "held_last_forgotten",
    "last_batch_kept_only",
    "load_stops_early",
    "metadata_cache_trusted",
    "mode_change_not_published",
    "mode_change_without_flush",
    "new_partitions_await_start",
    "recorder_keeps_all",
    "refused_first_forgotten",
    "retention_age_halved",
    "sequence_does_not_wrap",
    "sequence_gap_accepted",
    "watermark_from_journal",
    "write_error_ignored",
];

/// Planted bugs that need two threads, which the simulator does not have: `tests/interleavings`
/// finds them.
pub const MUTANTS_OF_THREADS: &[&str] = &["snapshot_by_halves", "writer_leaves_late"];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The literals given to `call` anywhere in the sources below `dir`.
    #[expect(clippy::disallowed_methods, reason = "reads its own sources")]
    fn named(dir: &Path, call: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).expect("the sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                named(&path, call, found);
            } else if !path.ends_with("marks.rs") {
                let text = std::fs::read_to_string(&path).expect("text");
                for piece in text.split(call).skip(1) {
                    let literal =
                        piece.trim_start().strip_prefix('"').and_then(|p| p.split('"').next());
                    found.extend(literal.map(ToOwned::to_owned));
                }
            }
        }
    }

    fn check(call: &str, listed: &[&str]) {
        let mut found = BTreeSet::new();
        named(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), call, &mut found);
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, listed, "{call}");
    }

    #[test]
    fn every_mark_and_mutant_in_the_sources_is_listed_and_no_other() {
        check(".reached(", MARKS);
        let mut mutants = [MUTANTS, MUTANTS_OF_THREADS].concat();
        mutants.sort_unstable();
        check(".mutant(", &mutants);
    }
}
