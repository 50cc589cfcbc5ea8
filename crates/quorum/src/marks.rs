//! Names that a search or a campaign asks for: rare branches it must reach, bugs it can plant.

/// Every mark of this crate, sorted; a campaign in which one never fires is not thorough.
pub const MARKS: &[&str] = &[
    "quorum_bootstrapped",
    "quorum_check_quorum_failed",
    "quorum_conflict_cut",
    "quorum_doubt_ended",
    "quorum_handed_over",
    "quorum_leads",
    "quorum_learns_bootstrap",
    "quorum_pre_vote_refused_while_led",
    "quorum_read_confirmed",
    "quorum_removed_itself",
    "quorum_snapshot_installed",
    "quorum_snapshot_sent",
    "quorum_voters_changed",
    "quorum_wiped_voter_learns",
];

/// Planted bugs of this crate. Sorted.
pub const MUTANTS: &[&str] = &[
    "bootstrap_despite_a_log",
    "change_before_commit_in_term",
    "commit_of_older_term",
    "corrupt_is_absent",
    "empty_directory_votes",
    "leader_counted_always",
    "match_before_durable",
    "no_check_quorum",
    "pre_vote_granted_while_led",
    "pre_vote_is_heard",
    "read_without_round",
    "restarted_leader_leads_on",
    "self_match_before_durable",
    "two_changes_at_once",
    "vote_answer_term_ignored",
    "vote_before_durable",
    "vote_ignores_log",
    "vote_twice",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_mutants_are_sorted_and_unique() {
        assert!(MARKS.is_sorted_by(|a, b| a < b));
        assert!(MUTANTS.is_sorted_by(|a, b| a < b));
    }
}
