//! The rare branches a campaign must reach.
//!
//! Owns: the list, the mark of each error answer, and the list of bugs that can be planted.

use crate::GroupError;

/// Rare branches a campaign must reach.
pub const MARKS: &[&str] = &[
    "group_append_failed",
    "group_append_taken_apart",
    "group_assignment_overtaken",
    "group_deleted",
    "group_deletion_in_parts",
    "group_emptied",
    "group_emptied_told_again",
    "group_empty_untold",
    "group_error_coordinator_load_in_progress",
    "group_error_coordinator_not_available",
    "group_error_fenced_instance_id",
    "group_error_group_not_found",
    "group_error_group_subscribed_to_topic",
    "group_error_illegal_generation",
    "group_error_inconsistent_group_protocol",
    "group_error_invalid_commit_offset_size",
    "group_error_invalid_group_id",
    "group_error_invalid_session_timeout",
    "group_error_max_size_reached",
    "group_error_member_id_required",
    "group_error_non_empty_group",
    "group_error_not_coordinator",
    "group_error_offset_metadata_too_large",
    "group_error_rebalance_in_progress",
    "group_error_unknown_member_id",
    "group_error_unknown_server_error",
    "group_forgotten",
    "group_initial_delay_extended",
    "group_initial_delay_over",
    "group_join_answered_again",
    "group_join_deferred",
    "group_join_phase_timed_out",
    "group_join_postponed",
    "group_leader_elected_anew",
    "group_leader_rejoined",
    "group_loaded_stable",
    "group_member_left",
    "group_offsets_deleted",
    "group_offsets_expired",
    "group_offsets_kept_by_subscription",
    "group_pending_expired",
    "group_record_skipped",
    "group_request_superseded",
    "group_session_expired",
    "group_static_replaced",
    "group_static_swapped",
    "group_sync_timed_out",
    "group_topic_offsets_removed",
];

/// Bugs that can be planted here. Sorted.
pub const MUTANTS: &[&str] =
    &["delete_ignores_members", "forget_group_offsets", "group_deletion_not_durable"];

/// The mark of an error answer.
pub(crate) fn error_mark(error: GroupError) -> &'static str {
    match error {
        GroupError::InvalidGroupId => "group_error_invalid_group_id",
        GroupError::InvalidSessionTimeout => "group_error_invalid_session_timeout",
        GroupError::UnknownMemberId => "group_error_unknown_member_id",
        GroupError::IllegalGeneration => "group_error_illegal_generation",
        GroupError::InconsistentGroupProtocol => "group_error_inconsistent_group_protocol",
        GroupError::RebalanceInProgress => "group_error_rebalance_in_progress",
        GroupError::MemberIdRequired => "group_error_member_id_required",
        GroupError::FencedInstanceId => "group_error_fenced_instance_id",
        GroupError::GroupMaxSizeReached => "group_error_max_size_reached",
        GroupError::OffsetMetadataTooLarge => "group_error_offset_metadata_too_large",
        GroupError::InvalidCommitOffsetSize => "group_error_invalid_commit_offset_size",
        GroupError::GroupNotFound => "group_error_group_not_found",
        GroupError::NonEmptyGroup => "group_error_non_empty_group",
        GroupError::GroupSubscribedToTopic => "group_error_group_subscribed_to_topic",
        GroupError::CoordinatorLoadInProgress => "group_error_coordinator_load_in_progress",
        GroupError::CoordinatorNotAvailable => "group_error_coordinator_not_available",
        GroupError::NotCoordinator => "group_error_not_coordinator",
        GroupError::UnknownServerError => "group_error_unknown_server_error",
        // Said by the front door, never here.
        GroupError::UnknownTopicOrPartition => "group_error_unknown_topic_or_partition",
    }
}
