//! Each script with the trace it leaves, in `../traces`. Rewritten with `UPDATE_EXPECT=1`; read the
//! difference line by line.

use expect_test::expect_file;

use crate::log::Watch;
use crate::world::World;
use crate::{deletions, scripts};

pub(crate) fn check(script: fn() -> World, name: &str) {
    expect_file![format!("../traces/{name}.txt")].assert_eq(&script().trace);
}

#[test]
fn every_mark_is_reached_by_a_script() {
    let watches: Vec<Watch> =
        scripts::ALL.iter().chain(deletions::ALL).map(|script| script().watch).collect();
    let missing = coordinator::MARKS
        .iter()
        .filter(|mark| watches.iter().all(|watch| watch.missing().contains(mark)));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[test]
fn members_that_come_within_the_delay_share_one_generation_and_own_after_the_log_has_it() {
    check(scripts::first_generation, "first_generation");
}

#[test]
fn a_first_join_is_sent_away_with_an_id_and_comes_back_with_it() {
    check(scripts::member_id_required, "member_id_required");
}

#[test]
fn an_id_that_is_not_presented_again_leaves_no_group_behind() {
    check(scripts::pending_member_never_returns, "pending_member_never_returns");
}

#[test]
fn a_newcomer_makes_everybody_join_again() {
    check(scripts::member_joins_stable_group, "member_joins_stable_group");
}

#[test]
fn a_silent_member_is_removed_and_the_others_join_again() {
    check(scripts::member_falls_silent, "member_falls_silent");
}

#[test]
fn a_rebalance_goes_on_without_those_who_do_not_join_in_time() {
    check(scripts::slow_member_is_left_behind, "slow_member_is_left_behind");
}

#[test]
fn a_member_that_never_asks_for_its_share_is_removed() {
    check(scripts::leader_falls_silent_before_syncing, "leader_falls_silent_before_syncing");
}

#[test]
fn an_assignment_the_log_did_not_take_is_nobodys() {
    check(scripts::assignment_is_lost, "assignment_is_lost");
}

#[test]
fn an_assignment_that_lands_in_a_later_rebalance_is_not_given_out() {
    check(scripts::assignment_is_overtaken, "assignment_is_overtaken");
}

#[test]
fn a_group_without_members_keeps_offsets_and_is_forgotten_without_them() {
    check(scripts::everybody_leaves, "everybody_leaves");
}

#[test]
fn a_leader_that_joins_again_makes_everybody_join_a_follower_does_not() {
    check(scripts::leader_joins_again, "leader_joins_again");
}

#[test]
fn who_asks_again_gets_the_answer_again() {
    check(scripts::answers_were_lost, "answers_were_lost");
}

#[test]
fn each_wrong_request_gets_its_own_error() {
    check(scripts::joins_that_cannot_be, "joins_that_cannot_be");
}

#[test]
fn members_carry_on_in_their_generation_after_a_crash() {
    check(scripts::crash_between_generations, "crash_between_generations");
}

#[test]
fn a_static_member_takes_its_place_again_without_a_rebalance() {
    check(scripts::static_member_restarts, "static_member_restarts");
}

#[test]
fn static_members_that_restart_together_take_turns() {
    check(scripts::static_members_restart_together, "static_members_restart_together");
}

#[test]
fn a_static_member_that_restarts_in_a_rebalance_fences_its_older_self() {
    check(scripts::static_member_restarts_in_a_rebalance, "static_member_restarts_in_a_rebalance");
}

#[test]
fn a_group_whose_static_members_are_away_waits_for_their_sessions_to_end() {
    check(scripts::static_members_are_all_away, "static_members_are_all_away");
}

#[test]
fn who_may_commit_depends_on_the_state_of_the_group() {
    check(scripts::commits_in_every_state, "commits_in_every_state");
}

#[test]
fn each_wrong_commit_gets_its_own_error_and_nothing_committed_is_no_error() {
    check(scripts::commits_that_cannot_be, "commits_that_cannot_be");
}

#[test]
fn a_commit_the_log_did_not_take_is_not_fetched() {
    check(scripts::commit_is_lost, "commit_is_lost");
}

#[test]
fn commits_that_are_too_large_together_are_tried_one_by_one() {
    check(scripts::commits_too_large_together, "commits_too_large_together");
}

#[test]
fn what_fits_is_decided_by_the_limit_of_the_moment() {
    check(scripts::limit_of_batches_changes, "limit_of_batches_changes");
}

#[test]
fn offsets_of_a_deleted_topic_are_removed_even_those_on_their_way() {
    check(scripts::topic_is_deleted, "topic_is_deleted");
}

#[test]
fn a_shard_that_loads_or_has_resigned_says_so() {
    check(scripts::loading_and_resigned, "loading_and_resigned");
}

#[test]
fn what_is_too_large_or_too_many_is_refused() {
    check(scripts::too_much, "too_much");
}

#[test]
fn a_group_whose_name_does_not_fit_a_record_never_becomes_stable() {
    check(scripts::group_name_too_long, "group_name_too_long");
}

#[test]
fn a_static_leader_that_does_not_join_in_time_stays_a_member_and_leads_no_more() {
    check(scripts::static_leader_does_not_join, "static_leader_does_not_join");
}
