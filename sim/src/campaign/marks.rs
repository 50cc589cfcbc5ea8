//! The marks that a campaign has to reach, and from which size on.
//!
//! Invariants: each crate lists its own marks and a test of this crate holds the lists against the
//! source; a mark that no plan reaches is excused here, with the reason; a mark is in one table at
//! most.

/// Marks that few universes reach, and how many universes a campaign has before it demands them.
/// Every other mark is demanded of each campaign that is judged at all.
pub const RARE: &[(u64, &[&str])] = &[
    (
        2_000,
        &[
            "client_gone_while_waiting",
            "group_error_not_coordinator",
            "group_join_answered_again",
            "group_leader_rejoined",
            "group_request_superseded",
            "group_session_expired",
            "metadata_torn_entry_cut",
            "metadata_write_failed",
            "open_creates_missing_log",
            "produce_duplicate_of_pending",
            "produce_overloaded",
            "produce_timed_out",
            "stop_without_seal",
            "storage_deletion_resumed",
        ],
    ),
    (
        20_000,
        &[
            "group_error_offset_metadata_too_large",
            "group_join_phase_timed_out",
            "group_load_in_progress",
            "group_pending_expired",
            "group_sync_timed_out",
            "open_deletes_stray_log",
            "publisher_failed",
        ],
    ),
];

/// Marks that no plan reaches, by the reason.
pub const EXCUSED: &[(&str, &[&str])] = &[
    (
        "wants a second broker, or leadership that moves: there is one broker",
        &["api_versions_other_cluster", "find_coordinator_not_available", "group_shard_ended"],
    ),
    (
        "wants damage on the disk, which no simulated fault causes",
        &[
            "fetch_corrupt",
            "fetch_io_error",
            "group_coordinator_broken",
            "group_error_coordinator_not_available",
            "group_error_unknown_server_error",
            "group_load_failed",
            "group_record_skipped",
            "list_offsets_unreadable",
            "open_found_damage",
            "storage_read_out_of_range",
        ],
    ),
    (
        "a request that meets the very moment of a clean stop, which 400 seeds did not show",
        &["metadata_while_stopping", "produce_while_stopping", "server_stop_deadline"],
    ),
    (
        "wants a broker with other settings than the simulated one has",
        &[
            "accept_failed",
            "connection_idle_closed",
            "connection_refused_by_limit",
            "fetch_lost_a_race_with_retention",
            "group_emptied_told_again",
            "group_error_invalid_commit_offset_size",
            "group_error_max_size_reached",
            "group_forgotten",
            "request_budget_exhausted",
            "retention_deleted",
            "topic_auto_created",
            "topic_deletion_disabled",
            "topic_not_auto_created",
        ],
    ),
    (
        "wants members with an instance id, and the simulated ones are dynamic; held by the coordinator's own tests",
        &["group_error_fenced_instance_id", "group_static_replaced", "group_static_swapped"],
    ),
    (
        "a race or an overload that 400 seeds did not show",
        &[
            "connection_write_stalled",
            "fetch_changed_before_parking",
            "fetch_readers_full",
            "group_append_failed",
            "group_append_refused",
            "group_append_unknown",
            "group_assignment_overtaken",
            "group_commit_timed_out",
            "group_empty_untold",
            "group_error_coordinator_load_in_progress",
            "group_join_deferred",
            "group_join_postponed",
            "group_leader_elected_anew",
            "group_mailbox_full",
            "init_producer_id_failed",
            "list_groups_refused",
            "replies_written_early",
        ],
    ),
    (
        "not asked for by the odd client yet",
        &[
            "api_versions_unknown_version",
            "create_topics_too_many",
            "describe_topic_partitions_paged",
            "group_topic_offsets_removed",
            "produce_larger_than_segment",
            "produce_unknown_partition",
        ],
    ),
];

/// The marks that crashes, lost power, broken connections and ordinary work can reach.
fn reachable() -> impl Iterator<Item = &'static str> {
    [storage::MARKS, broker::MARKS, metadata::MARKS, coordinator::MARKS, wire::MARKS]
        .into_iter()
        .flatten()
        .copied()
}

/// The marks of every crate of the product, those of damage that no fault here causes included.
pub fn all() -> impl Iterator<Item = &'static str> {
    reachable().chain(storage::MARKS_DAMAGE.iter().copied())
}

/// The marks that a campaign of `seeds` universes must reach.
pub fn catalog(seeds: u64) -> impl Iterator<Item = &'static str> {
    let excused = |mark| EXCUSED.iter().any(|(_, marks)| marks.contains(&mark));
    let too_rare =
        move |mark| RARE.iter().any(|(from, marks)| seeds < *from && marks.contains(&mark));
    reachable().filter(move |mark| !excused(*mark) && !too_rare(*mark))
}
