//! The marks that a campaign has to reach, and from which size on.
//!
//! Invariants: each crate lists its own marks and a test of this crate holds the lists against the
//! source; a mark that no plan reaches is excused here, with the reason; a mark is in one table at
//! most.

use crate::fault::DirFile;

/// Marks that few universes reach, and how many universes a campaign has before it demands them.
/// Every other mark is demanded of each campaign that is judged at all. By the rates of a campaign of
/// 19 964 universes: where fourteen are to be expected, none at all is a finding and not bad luck (one
/// campaign in a million).
pub const RARE: &[(u64, &[&str])] = &[
    (
        2_000,
        &[
            "cleaner_refused",
            "connection_write_stalled",
            "create_topics_too_many",
            "fetch_corrupt",
            "fetch_io_error",
            "find_coordinator_not_available",
            "group_append_failed",
            "group_append_found_no_room",
            "group_append_taken_apart",
            "group_append_unknown",
            "group_commit_timed_out",
            "group_coordinator_broken",
            "group_error_coordinator_not_available",
            "group_join_answered_again",
            "group_join_deferred",
            "group_load_failed",
            "group_request_superseded",
            "group_static_replaced",
            "list_offsets_unreadable",
            "metadata_disk_full",
            "metadata_gone_beside_its_directories",
            "metadata_torn_entry_cut",
            "metadata_write_failed",
            "mode_change_not_durable",
            "open_deletes_stray_log",
            "open_finds_unnamed_files",
            "produce_duplicate_of_pending",
            "produce_overloaded",
            "produce_timed_out",
            "request_budget_exhausted",
            "server_stop_deadline",
            "stop_with_unmade_log",
            "stop_without_seal",
            "storage_deletion_resumed",
            "storage_identity_damaged",
            "storage_identity_lost",
            "storage_index_rebuilt_on_read",
            "storage_journal_record_missed",
            "storage_journal_upkeep_put_off",
            "storage_log_made_after_damage",
            "storage_log_made_beside_its_files",
            "storage_manifest_damaged",
            "storage_producers_behind_damage",
            "storage_read_found_damage",
            "storage_seal_damaged",
            "storage_sealed_state_contradicted",
            "storage_segment_found_no_room",
            "storage_segments_gone",
            "storage_stray_salvaged",
            "storage_unknown_entry",
        ],
    ),
    (
        20_000,
        &[
            "cleaner_interrupted",
            "directory_lost",
            "group_emptied_told_again",
            "group_load_in_progress",
            "init_producer_id_failed",
            "metadata_rewrite_put_off",
            "storage_compaction_disk_full",
            "storage_compaction_overtaken",
            "storage_durable_bytes_damaged",
            "storage_envelopes_missing",
            "storage_epoch_learned",
            "storage_journal_spare_gone",
            "storage_no_room_to_reserve",
            "storage_producers_put_away",
            "storage_seal_withheld",
            "storage_segment_made_again",
        ],
    ),
    (60_000, &["storage_compaction_interrupted"]),
];

/// Marks that no plan reaches, by the reason.
pub const EXCUSED: &[(&str, &[&str])] = &[
    (
        "wants a disk so full that the journal finds no file just when it needs one; held by the tests of storage",
        &[
            "storage_deletion_done_later",
            "storage_fsync_by_segment_when_full",
            "storage_journal_full",
        ],
    ),
    (
        "wants damage of a batch that compaction reads, and no seed damages a keeper's topic; held by the tests of storage",
        &["cleaner_ended_before_damage", "storage_compaction_stopped_by_damage"],
    ),
    (
        "a partition is closed before its log goes, so that nothing is committed about it; held by the tests of storage",
        &["storage_journal_log_gone"],
    ),
    (
        "wants a process without file descriptors, which the simulated disk has no end of; held by the tests of storage",
        &["storage_sync_waits_for_descriptor"],
    ),
    (
        "wants the same of a directory without the metadata, which is full as well; held by the broker's own tests",
        &["log_made_later"],
    ),
    (
        "wants a log that cannot be made though its directory is well: damage and errors are met when a start opens it",
        &["publisher_failed"],
    ),
    (
        "wants members that say 64 MiB of themselves; held by the broker's own tests",
        &["group_members_have_no_room"],
    ),
    ("wants an answer of 64 MiB; held by the tests of wire", &["answer_too_long"]),
    ("wants another replica, with another history", &["storage_truncated"]),
    (
        "wants a second broker, or leadership that moves: there is one broker",
        &["api_versions_other_cluster"],
    ),
    ("wants records of kinds that only other coordinators write", &["group_record_skipped"]),
    (
        "wants more keys than the clients have; held by storage's own tests",
        &["storage_compaction_map_full"],
    ),
    (
        "wants transactions, which no broker takes yet; held by storage's own tests",
        &["storage_compaction_saw_transaction", "storage_compaction_undecided"],
    ),
    ("wants a listener that fails, which no simulated fault causes", &["accept_failed"]),
    (
        "a failed write of a partition mostly ends the process before its coordinator is told, or closes it; held by the coordinator's own tests",
        &["group_shard_ended", "list_groups_refused"],
    ),
    (
        "wants thousands of requests that wait at the same time, or a coordinator that is far behind",
        &["fetch_readers_full", "group_append_refused", "group_mailbox_full"],
    ),
    (
        "wants a record larger than an append takes: no name or text in a request is that long",
        &[
            "group_empty_untold",
            "group_error_invalid_commit_offset_size",
            "group_error_unknown_server_error",
        ],
    ),
    (
        "wants a group with more offsets than an append takes; held by the coordinator's own tests",
        &["group_deletion_in_parts"],
    ),
    (
        "the shard itself is asked only once it has loaded; held by the coordinator's own tests",
        &["group_error_coordinator_load_in_progress"],
    ),
    (
        "wants files of others, or an operator who takes one directory for another; held by the tests of storage",
        &[
            "storage_deletion_left_foreign_files",
            "storage_directory_locked",
            "storage_manifest_of_another_directory",
            "storage_old_format",
            "storage_other_cluster",
            "storage_other_node",
            "storage_unknown_file",
        ],
    ),
    ("wants four MiB of batches that wait for one group", &["storage_journal_queue_full"]),
    (
        "a race between two looks at one partition or at the stop, without a wait between them that a simulation could stretch",
        &[
            "fetch_changed_before_parking",
            "fetch_lost_a_race_with_retention",
            "group_assignment_overtaken",
            "metadata_while_stopping",
            "produce_while_stopping",
            "storage_read_out_of_range",
        ],
    ),
];

/// The marks of every crate of the product, those of damage included.
pub fn all() -> impl Iterator<Item = &'static str> {
    [
        storage::MARKS,
        storage::MARKS_DAMAGE,
        broker::MARKS,
        metadata::MARKS,
        coordinator::MARKS,
        wire::MARKS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// Fault classes that take effect in few universes, beside damage of each kind of file, by the same
/// measure as [`RARE`].
const RARE_CLASSES: &[&str] = &[
    "bit rot",
    "directory changes reordered",
    "latent sector",
    "lying sync",
    "misdirected write",
    "stalled reader",
];
/// So many universes must meet each rare class.
const RARE_CLASSES_FROM: u64 = 2_000;

/// Whether a fault class must take effect in a campaign of `seeds` universes.
pub fn is_expected(class: &str, seeds: u64) -> bool {
    let is_rare =
        RARE_CLASSES.contains(&class) || DirFile::ALL.iter().any(|file| file.class() == class);
    seeds >= RARE_CLASSES_FROM || !is_rare
}

/// The marks that a campaign of `seeds` universes must reach.
pub fn catalog(seeds: u64) -> impl Iterator<Item = &'static str> {
    let excused = |mark| EXCUSED.iter().any(|(_, marks)| marks.contains(&mark));
    let too_rare =
        move |mark| RARE.iter().any(|(from, marks)| seeds < *from && marks.contains(&mark));
    all().filter(move |mark| !excused(*mark) && !too_rare(*mark))
}
