//! The front door's marks: every refusal, error answer and timer that a campaign must reach; and the
//! bugs that can be planted in it.

/// Rare branches a campaign must reach. Sorted.
pub const MARKS: &[&str] = &[
    "accept_failed",
    "alter_configs_of_broker",
    "alter_configs_refused",
    "answer_too_long",
    "answer_turn_ended",
    "api_versions_bad_software_name",
    "api_versions_half_named",
    "api_versions_other_cluster",
    "api_versions_unknown_version",
    "client_gone_while_waiting",
    "connection_idle_closed",
    "connection_refused_by_limit",
    "connection_turn_ended",
    "connection_write_stalled",
    "create_partitions_refused",
    "create_topic_refused",
    "create_topics_too_many",
    "delete_group_refused",
    "delete_offsets_refused",
    "delete_records_refused",
    "delete_records_unknown_topic",
    "delete_topic_badly_named",
    "delete_topic_refused",
    "describe_client_quotas_refused",
    "describe_cluster_wrong_endpoint",
    "describe_configs_refused",
    "describe_group_refused",
    "describe_producers_unknown_topic",
    "describe_quorum_refused",
    "describe_topic_partitions_bad_cursor",
    "describe_topic_partitions_paged",
    "describe_topic_partitions_unknown_topic",
    "describe_transactions_refused",
    "elect_leaders_refused",
    "end_of_epoch_unknown_topic",
    "fetch_session_emptied",
    "fetch_session_evicted",
    "fetch_session_made",
    "fetch_session_no_room",
    "fetch_session_other_epoch",
    "fetch_session_other_names",
    "fetch_session_overtaken",
    "fetch_session_unknown",
    "fetch_unknown_topic",
    "find_coordinator_not_available",
    "find_coordinator_refused",
    "group_member_refused",
    "init_producer_id_failed",
    "init_producer_id_refused",
    "list_config_resources_refused",
    "list_groups_refused",
    "list_offsets_duplicate_partition",
    "list_offsets_unknown_rule",
    "list_offsets_unknown_topic",
    "metadata_ids_before_their_version",
    "metadata_unknown_topic",
    "metadata_unknown_topic_id",
    "offset_commit_refused",
    "offset_commit_with_retention",
    "offset_fetch_refused",
    "offset_fetch_unknown_topic_id",
    "produce_acks_0_failed",
    "produce_invalid_acks",
    "produce_not_one_batch",
    "produce_together",
    "produce_transactional_without_id",
    "produce_turn_ended",
    "produce_unknown_partition_of_topic",
    "produce_unknown_topic",
    "produce_zstd_too_early",
    "reassignment_refused",
    "replies_written_early",
    "request_begun_while_scarce",
    "request_budget_exhausted",
    "request_length_refused",
    "request_refused",
    "request_too_slow",
    "sasl_refused",
    "server_stop_deadline",
    "topic_auto_created",
    "topic_not_auto_created",
    "wait_ended_by_stop",
];

/// Sites that behave in an unusual but legal way when the simulator says so. Sorted.
pub const BUGGIFY_SITES: &[&str] = &["short_turns"];

/// Planted bugs of this crate. Sorted.
pub const MUTANTS: &[&str] = &["session_omits_lagging", "session_order_stays"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_mutants_are_sorted_and_unique() {
        assert!(MARKS.is_sorted_by(|a, b| a < b));
        assert!(MUTANTS.is_sorted_by(|a, b| a < b));
    }
}
