//! The rare branches of this crate, by name.

/// Marks that crashes, lost power, failed syncs and ordinary work reach; a campaign in which one
/// never fires is not thorough.
pub const MARKS: &[&str] = &[
    "storage_append_waits_for_flush",
    "storage_batch_from_journal",
    "storage_cut_journaled",
    "storage_damaged_tail_cut",
    "storage_deletion_resumed",
    "storage_directory_failed",
    "storage_envelopes_rewritten",
    "storage_fsync_by_journal",
    "storage_fsync_by_segment",
    "storage_journal_file_recycled",
    "storage_journal_group",
    "storage_journal_group_shared",
    "storage_journal_group_torn",
    "storage_journal_held_batches",
    "storage_journal_next_file",
    "storage_journal_replayed",
    "storage_log_opened_clean",
    "storage_log_recovered",
    "storage_manifest_written",
    "storage_producers_lost",
    "storage_read_out_of_range",
    "storage_sealed",
    "storage_segment_rolled",
    "storage_start_after_power_loss",
    "storage_start_after_process_crash",
    "storage_start_clean",
    "storage_start_slot_torn",
    "storage_stray_removed",
    "storage_sync_failed",
    "storage_tail_written_again",
    "storage_torn_tail_cut",
];

/// Marks that need rot, lost files, foreign files or an operator's mistake as well.
pub const MARKS_DAMAGE: &[&str] = &[
    "storage_deletion_left_foreign_files",
    "storage_directory_locked",
    "storage_durable_bytes_damaged",
    "storage_envelopes_missing",
    "storage_identity_damaged",
    "storage_index_rebuilt",
    "storage_index_rebuilt_on_read",
    "storage_journal_corrupt",
    "storage_journal_queue_full",
    "storage_journal_upkeep_put_off",
    "storage_log_made_beside_its_files",
    "storage_manifest_damaged",
    "storage_old_format",
    "storage_other_cluster",
    "storage_other_node",
    "storage_producers_behind_damage",
    "storage_read_found_damage",
    "storage_seal_damaged",
    "storage_seal_withheld",
    "storage_sealed_state_contradicted",
    "storage_segments_gone",
    "storage_stray_salvaged",
    "storage_unknown_entry",
    "storage_unknown_file",
];

/// Planted bugs this crate knows.
pub const MUTANTS: &[&str] = &[
    "ack_before_group_flush",
    "ancestors_trusted",
    "batches_trimmed_early",
    "closed_not_flushed",
    "cut_not_journaled",
    "emptied_before_cut",
    "envelope_after_journal",
    "envelope_before_flush",
    "epoch_zero_forgotten",
    "faulty_not_journaled",
    "flushed_is_written",
    "fsync_with_gap",
    "group_sync_tried_again",
    "held_batches_of_any_segment",
    "journal_batch_trusted",
    "journal_damage_is_torn",
    "laps_freed_early",
    "last_group_trusted",
    "lost_segment_is_empty",
    "manifest_not_synced",
    "read_bound_again",
    "recycle_keeps_nonce",
    "sealed_not_flushed",
    "skip_dir_sync",
    "snapshot_holds_future",
    "snapshot_not_synced",
    "sync_tried_again",
    "tail_synced_if_written",
    "tail_trusted",
    "trust_page_cache",
    "unlink_before_drop_flushed",
];

/// Planted bugs that need two threads, which the simulator does not have: `tests/interleavings`
/// finds them.
pub const MUTANTS_OF_THREADS: &[&str] = &["dirty_note_taken_late", "tail_budget_by_halves"];

/// Where the simulator may ask for small segments, tails, runs and an early flush.
pub const BUGGIFY_SITES: &[&str] =
    &["storage_segment_bytes", "storage_tiny_tail", "storage_short_run", "storage_flush_bound"];
