//! Each script with the trace it leaves. Rewritten with `UPDATE_EXPECT=1`; read the difference.

use expect_test::{Expect, expect};

use crate::log::Watch;
use crate::scripts;
use crate::world::World;

fn check(script: fn() -> World, expected: &Expect) {
    expected.assert_eq(&script().trace);
}

#[test]
fn every_mark_is_reached_by_a_script() {
    let watches: Vec<Watch> = scripts::ALL.iter().map(|script| script().watch).collect();
    let missing = coordinator::MARKS
        .iter()
        .filter(|mark| watches.iter().all(|watch| watch.missing().contains(mark)));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[test]
fn members_that_come_within_the_delay_share_one_generation_and_own_after_the_log_has_it() {
    check(
        scripts::first_generation,
        &expect![[r#"
        > a joins
        > 2000 ms pass
        > b joins
        > 5000 ms pass
        a joins: generation 1 of range as a-01, a-01 leads ["a-01", "b-02"]
        b joins: generation 1 of range as b-02, a-01 leads []
        > b syncs
        > a syncs
        append 0: g generation 1 [a-01 b"for a", b-02 b"for b"]
        > b beats
        b beats: ok
        > append 0 is in the log
        a syncs: owns b"for a"
        b syncs: owns b"for b"
        > describe
        describe: Stable "range" [a-01 b"topics" b"for a", b-02 b"topics" b"for b"]
        > list
        list: [g "consumer" Stable]
    "#]],
    );
}

#[test]
fn a_first_join_is_sent_away_with_an_id_and_comes_back_with_it() {
    check(
        scripts::member_id_required,
        &expect![[r#"
        > a joins
        a joins: MemberIdRequired "a-01"
        > describe
        describe: Empty "" []
        > a joins
        > 3000 ms pass
        a joins: generation 1 of range as a-01, a-01 leads ["a-01"]
        > a syncs
        append 0: g generation 1 [a-01 b"for a"]
        a syncs: owns b"for a"
    "#]],
    );
}

#[test]
fn an_id_that_is_not_presented_again_leaves_no_group_behind() {
    check(
        scripts::pending_member_never_returns,
        &expect![[r#"
        > a joins
        a joins: MemberIdRequired "a-01"
        > 10000 ms pass
        > describe
        describe: GroupNotFound
        > a joins
        a joins: MemberIdRequired "a-03"
        > a leaves
        a leaves: a-03 left
        > describe
        describe: GroupNotFound
    "#]],
    );
}

#[test]
fn a_newcomer_makes_everybody_join_again() {
    check(
        scripts::member_joins_stable_group,
        &expect![[r#"
        > b joins
        > a beats
        a beats: RebalanceInProgress
        > a joins
        a joins: generation 2 of range as a-01, a-01 leads ["a-01", "b-03"]
        b joins: generation 2 of range as b-03, a-01 leads []
        > b syncs
        > a syncs
        append 1: g generation 2 [a-01 b"half", b-03 b"half"]
        a syncs: owns b"half"
        b syncs: owns b"half"
    "#]],
    );
}

#[test]
fn a_silent_member_is_removed_and_the_others_join_again() {
    check(
        scripts::member_falls_silent,
        &expect![[r#"
        > 9000 ms pass
        > a beats
        a beats: ok
        > 1000 ms pass
        > a beats
        a beats: RebalanceInProgress
        > a joins
        a joins: generation 2 of range as a-01, a-01 leads ["a-01"]
        > b beats
        b beats: UnknownMemberId
        > a syncs
        append 1: g generation 2 [a-01 b"all"]
        a syncs: owns b"all"
    "#]],
    );
}

#[test]
fn a_rebalance_goes_on_without_those_who_do_not_join_in_time() {
    check(
        scripts::slow_member_is_left_behind,
        &expect![[r#"
        > c joins
        > 8000 ms pass
        > a beats
        a beats: RebalanceInProgress
        > b beats
        b beats: RebalanceInProgress
        > 8000 ms pass
        > a beats
        a beats: RebalanceInProgress
        > b beats
        b beats: RebalanceInProgress
        > 8000 ms pass
        > a beats
        a beats: RebalanceInProgress
        > b beats
        b beats: RebalanceInProgress
        > 8000 ms pass
        > a beats
        a beats: RebalanceInProgress
        > b beats
        b beats: RebalanceInProgress
        > 8000 ms pass
        > a beats
        a beats: RebalanceInProgress
        > b beats
        b beats: RebalanceInProgress
        > 8000 ms pass
        > a beats
        a beats: RebalanceInProgress
        > b beats
        b beats: RebalanceInProgress
        > 8000 ms pass
        > a beats
        a beats: RebalanceInProgress
        > b beats
        b beats: RebalanceInProgress
        > b joins
        > 4000 ms pass
        b joins: generation 2 of range as b-02, b-02 leads ["b-02", "c-05"]
        c joins: generation 2 of range as c-05, b-02 leads []
        > a beats
        a beats: UnknownMemberId
    "#]],
    );
}

#[test]
fn a_member_that_never_asks_for_its_share_is_removed() {
    check(
        scripts::leader_falls_silent_before_syncing,
        &expect![[r#"
        > a joins
        > b joins
        a joins: generation 2 of range as a-01, a-01 leads ["a-01", "b-02"]
        b joins: generation 2 of range as b-02, a-01 leads []
        > b syncs
        > 9000 ms pass
        > a beats
        a beats: ok
        > 9000 ms pass
        > a beats
        a beats: ok
        > 9000 ms pass
        > a beats
        a beats: ok
        > 9000 ms pass
        > a beats
        a beats: ok
        > 9000 ms pass
        > a beats
        a beats: ok
        > 9000 ms pass
        > a beats
        a beats: ok
        > 9000 ms pass
        b syncs: RebalanceInProgress
        > a beats
        a beats: UnknownMemberId
    "#]],
    );
}

#[test]
fn an_assignment_the_log_did_not_take_is_nobodys() {
    check(
        scripts::assignment_is_lost,
        &expect![[r#"
        > a joins
        > b joins
        a joins: generation 2 of range as a-01, a-01 leads ["a-01", "b-02"]
        b joins: generation 2 of range as b-02, a-01 leads []
        > b syncs
        > a syncs
        append 1: g generation 2 [a-01 b"new a", b-02 b"new b"]
        > append 1 failed: NotAvailable
        a syncs: CoordinatorNotAvailable
        b syncs: CoordinatorNotAvailable
        > a joins
        > b joins
        a joins: generation 3 of range as a-01, a-01 leads ["a-01", "b-02"]
        b joins: generation 3 of range as b-02, a-01 leads []
        > b syncs
        > a syncs
        append 2: g generation 3 [a-01 b"new a", b-02 b"new b"]
        > append 2 failed: NotCoordinator
        a syncs: NotCoordinator
        b syncs: NotCoordinator
        > a joins
        > b joins
        a joins: generation 4 of range as a-01, a-01 leads ["a-01", "b-02"]
        b joins: generation 4 of range as b-02, a-01 leads []
        > b syncs
        > a syncs
        append 3: g generation 4 [a-01 b"new a", b-02 b"new b"]
        > append 3 failed: TooLarge
        a syncs: UnknownServerError
        b syncs: UnknownServerError
    "#]],
    );
}

#[test]
fn an_assignment_that_lands_in_a_later_rebalance_is_not_given_out() {
    check(
        scripts::assignment_is_overtaken,
        &expect![[r#"
        > a joins
        a joins: generation 2 of range as a-01, a-01 leads ["a-01"]
        > a syncs
        append 1: g generation 2 [a-01 b"old"]
        > b joins
        a syncs: RebalanceInProgress
        > append 1 is in the log
        > a joins
        a joins: generation 3 of range as a-01, a-01 leads ["a-01", "b-05"]
        b joins: generation 3 of range as b-05, a-01 leads []
        > a syncs
        append 2: g generation 3 [a-01 b"new", b-05 b""]
        > a syncs
        a syncs: RebalanceInProgress
        > append 2 is in the log
        a syncs: owns b"new"
    "#]],
    );
}

#[test]
fn a_group_without_members_keeps_offsets_and_is_forgotten_without_them() {
    check(
        scripts::everybody_leaves,
        &expect![[r#"
        > a leaves
        a leaves: a-01 left
        > b leaves
        b leaves: b-02 left
        append 1: g generation 2 []
        > b leaves
        b leaves: b-02 UnknownMemberId
        > admin commits 5
        append 2: g t-0 at 5
        admin commits 5: [Ok(())]
        > topic goes
        append 3: g t-0 gone
        topic goes: done
        > describe
        describe: Empty "" []
        > 600000 ms pass
        append 4: g forgotten
        > describe
        describe: GroupNotFound
        > b leaves
        b leaves: b-02 UnknownMemberId
    "#]],
    );
}

#[test]
fn a_leader_that_joins_again_makes_everybody_join_a_follower_does_not() {
    check(
        scripts::leader_joins_again,
        &expect![[r#"
        > b joins
        b joins: generation 1 of range as b-02, a-01 leads []
        > a joins
        > a joins
        a joins: RebalanceInProgress "a-01"
        > b joins
        a joins: generation 2 of range as a-01, a-01 leads ["a-01", "b-02"]
        b joins: generation 2 of range as b-02, a-01 leads []
    "#]],
    );
}

#[test]
fn who_asks_again_gets_the_answer_again() {
    check(
        scripts::answers_were_lost,
        &expect![[r#"
        > b syncs
        b syncs: owns b"for b"
        > a joins
        > b joins
        a joins: generation 2 of range as a-01, a-01 leads ["a-01", "b-02"]
        b joins: generation 2 of range as b-02, a-01 leads []
        > a joins
        a joins: generation 2 of range as a-01, a-01 leads ["a-01", "b-02"]
        > b syncs
        > b syncs
        b syncs: RebalanceInProgress
        > a joins
        b syncs: RebalanceInProgress
    "#]],
    );
}

#[test]
fn each_wrong_request_gets_its_own_error() {
    check(
        scripts::joins_that_cannot_be,
        &expect![[r#"
        > no group
        no group: InvalidGroupId ""
        > short session
        short session: InvalidSessionTimeout ""
        > long session
        long session: InvalidSessionTimeout ""
        > unknown group
        unknown group: UnknownMemberId "x-1"
        > unknown member
        unknown member: UnknownMemberId "x-1"
        > other type
        other type: InconsistentGroupProtocol ""
        > other protocol
        other protocol: InconsistentGroupProtocol ""
        > no protocol
        no protocol: InconsistentGroupProtocol ""
        > old beat
        old beat: IllegalGeneration
        > beat nowhere
        beat nowhere: UnknownMemberId
        > other sync
        other sync: InconsistentGroupProtocol
        > other sync
        other sync: InconsistentGroupProtocol
        > sync nowhere
        sync nowhere: InvalidGroupId
        > leave nowhere
        leave nowhere: InvalidGroupId
        > list
        list: [g "consumer" Stable]
    "#]],
    );
}

#[test]
fn members_carry_on_in_their_generation_after_a_crash() {
    check(
        scripts::crash_between_generations,
        &expect![[r#"
        > a commits 7
        append 1: g t-0 at 7
        a commits 7: [Ok(())]
        > crash and reload
        > describe
        describe: Stable "range" [a-01 b"topics" b"for a", b-02 b"topics" b"for b"]
        > a beats
        a beats: ok
        > b syncs
        b syncs: owns b"for b"
        > fetch
        fetch: [t-0 Some((7, "note"))]
        > 9000 ms pass
        > a beats
        a beats: ok
        > 1000 ms pass
        > a beats
        a beats: RebalanceInProgress
        > b beats
        b beats: UnknownMemberId
    "#]],
    );
}

#[test]
fn a_static_member_takes_its_place_again_without_a_rebalance() {
    check(
        scripts::static_member_restarts,
        &expect![[r#"
        > b joins
        append 1: g generation 1 [one-01 b"for one", two-05 b"for two"]
        > a beats
        a beats: ok
        > append 1 failed: NotAvailable
        b joins: UnknownMemberId ""
        > old beats
        old beats: ok
        > b joins
        append 2: g generation 1 [one-01 b"for one", two-08 b"for two"]
        b joins: generation 1 of range as two-08, one-01 leads []
        > old beats
        old beats: FencedInstanceId
        > b syncs
        b syncs: owns b"for two"
        > a joins
        append 3: g generation 1 [one-0b b"for one", two-08 b"for two"]
        a joins: generation 1 of range as one-0b, one-0b leads ["one-0b", "two-08"], keep the assignment
        > a joins
        append 4: g generation 1 [one-0c b"for one", two-08 b"for two"]
        a joins: generation 1 of range as one-0c, one-0b leads []
        > admin
        admin: two left,  UnknownMemberId
    "#]],
    );
}

#[test]
fn static_members_that_restart_together_take_turns() {
    check(
        scripts::static_members_restart_together,
        &expect![[r#"
        > a joins
        append 1: g generation 1 [one-05 b"for one", two-02 b"for two"]
        > b joins
        > append 1 is in the log
        a joins: generation 1 of range as one-05, one-05 leads ["one-05", "two-02"], keep the assignment
        append 2: g generation 1 [one-05 b"for one", two-06 b"for two"]
        > append 2 is in the log
        b joins: generation 1 of range as two-06, one-05 leads []
        > a syncs
        a syncs: owns b"for one"
        > b syncs
        b syncs: owns b"for two"
        > b joins
        append 3: g generation 1 [one-05 b"for one", two-09 b"for two"]
        > c joins
        > append 3 is in the log
        > a joins
        c joins: generation 2 of range as c-0a, one-0b leads []
        a joins: generation 2 of range as one-0b, one-0b leads ["c-0a", "one-0b", "two-09"]
        b joins: generation 2 of range as two-09, one-0b leads []
    "#]],
    );
}

#[test]
fn a_static_member_that_restarts_in_a_rebalance_fences_its_older_self() {
    check(
        scripts::static_member_restarts_in_a_rebalance,
        &expect![[r#"
        > c joins
        > b joins
        > b joins
        b joins: FencedInstanceId "two-06"
        > a joins
        c joins: generation 2 of range as c-05, one-08 leads []
        a joins: generation 2 of range as one-08, one-08 leads ["c-05", "one-08", "two-07"]
        b joins: generation 2 of range as two-07, one-08 leads []
        > c syncs
        > c' joins
        c syncs: RebalanceInProgress
    "#]],
    );
}

#[test]
fn a_group_whose_static_members_are_away_waits_for_their_sessions_to_end() {
    check(
        scripts::static_members_are_all_away,
        &expect![[r#"
            > c joins
            > c leaves
            c joins: UnknownMemberId "c-05"
            c leaves: c-05 left
            > 20000 ms pass
            > describe
            describe: PreparingRebalance "" [one-01 b"" b"", two-02 b"" b""]
            > 200000 ms pass
            > 80000 ms pass
            append 1: g generation 2 []
            > append 1 failed: NotAvailable
            > 1000 ms pass
            append 2: g generation 2 []
            > append 2 is in the log
            > describe
            describe: Empty "" []
        "#]],
    );
}

#[test]
fn who_may_commit_depends_on_the_state_of_the_group() {
    check(
        scripts::commits_in_every_state,
        &expect![[r#"
        > admin commits 1
        append 0: g t-0 at 1
        admin commits 1: [Ok(())]
        > list
        list: [g "" Empty]
        > describe
        describe: Empty "" []
        > a joins
        > admin commits 2
        admin commits 2: [Err(UnknownMemberId)]
        > 3000 ms pass
        a joins: generation 1 of range as a-04, a-04 leads ["a-04"]
        > a commits 3
        a commits 3: [Err(RebalanceInProgress)]
        > a syncs
        append 1: g generation 1 [a-04 b"all"]
        a syncs: owns b"all"
        > a commits 4
        append 2: g t-0 at 4
        a commits 4: [Ok(())]
        > admin commits 5
        admin commits 5: [Err(UnknownMemberId)]
        > b joins
        > a commits 6
        append 3: g t-0 at 6
        a commits 6: [Ok(())]
        > a joins
        a joins: generation 2 of range as a-04, a-04 leads ["a-04", "b-0a"]
        b joins: generation 2 of range as b-0a, a-04 leads []
        > old commits 7
        old commits 7: [Err(IllegalGeneration)]
        > fetch
        fetch: [t-0 Some((6, "note"))]
    "#]],
    );
}

#[test]
fn each_wrong_commit_gets_its_own_error_and_nothing_committed_is_no_error() {
    check(
        scripts::commits_that_cannot_be,
        &expect![[r#"
        > new client commits 1
        new client commits 1: [Err(GroupNotFound)]
        > old client
        old client: [Err(IllegalGeneration)]
        > long note
        append 0: g t-0 at 1
        long note: [Ok(()), Err(OffsetMetadataTooLarge)]
        > only long note
        only long note: [Err(OffsetMetadataTooLarge)]
        > member of a group without members commits 2
        member of a group without members commits 2: [Err(UnknownMemberId)]
        > huge name
        huge name: [Err(InvalidCommitOffsetSize)]
        > fetch
        fetch: [t-0 Some((1, "note")), t-1 None, u-0 None]
        > fetch of nothing
        fetch of nothing: [t-0 None]
        > describe nothing
        describe nothing: GroupNotFound
    "#]],
    );
}

#[test]
fn a_commit_the_log_did_not_take_is_not_fetched() {
    check(
        scripts::commit_is_lost,
        &expect![[r#"
        > admin commits 1
        append 0: g t-0 at 1
        > admin commits 2
        > admin commits 3
        > append 0 is in the log
        admin commits 1: [Ok(())]
        append 1: g t-0 at 2
        append 1: g t-0 at 3
        > fetch
        fetch: [t-0 Some((1, "note"))]
        > append 1 failed: NotAvailable
        admin commits 2: [Err(CoordinatorNotAvailable)]
        admin commits 3: [Err(CoordinatorNotAvailable)]
        > fetch
        fetch: [t-0 Some((1, "note"))]
        > admin commits 4
        append 2: g t-0 at 4
        > append 2 failed: NotCoordinator
        admin commits 4: [Err(NotCoordinator)]
        > admin commits 5
        append 3: g t-0 at 5
        > append 3 failed: TooLarge
        admin commits 5: [Err(InvalidCommitOffsetSize)]
        > fetch
        fetch: [t-0 Some((1, "note"))]
    "#]],
    );
}

#[test]
fn offsets_of_a_deleted_topic_are_removed_even_those_on_their_way() {
    check(
        scripts::topic_is_deleted,
        &expect![[r#"
        > admin commits 1
        append 0: g t-0 at 1
        admin commits 1: [Ok(())]
        > elsewhere commits 2
        append 1: h t-0 at 2
        > topic goes
        > append 1 is in the log
        elsewhere commits 2: [Ok(())]
        append 2: g t-0 gone
        append 2: h t-0 gone
        > append 2 is in the log
        topic goes: done
        > fetch
        fetch: []
        > list
        list: []
        > topic goes
        topic goes: done
    "#]],
    );
}

#[test]
fn a_shard_that_loads_or_has_resigned_says_so() {
    check(
        scripts::loading_and_resigned,
        &expect![[r#"
        > a beats
        a beats: ok
        > a syncs
        a syncs: CoordinatorLoadInProgress
        > list
        list: CoordinatorLoadInProgress
        > a beats
        a beats: ok
        > b joins
        > a commits 1
        append 0: g t-0 at 1
        > resigned
        b joins: NotCoordinator ""
        a commits 1: [Err(NotCoordinator)]
        > a beats
        a beats: NotCoordinator
    "#]],
    );
}

#[test]
fn what_is_too_large_or_too_many_is_refused() {
    check(
        scripts::too_much,
        &expect![[r#"
        > a joins
        > b joins
        > 6000 ms pass
        a joins: generation 1 of range as a-01, a-01 leads ["a-01", "b-02"]
        b joins: generation 1 of range as b-02, a-01 leads []
        > c joins
        c joins: GroupMaxSizeReached ""
        > b syncs
        > a syncs
        a syncs: UnknownServerError
        b syncs: UnknownServerError
        > c joins
        > a joins
        > d joins
        d joins: MemberIdRequired "d-08"
        > e joins
        e joins: CoordinatorNotAvailable ""
        > f joins
        f joins: CoordinatorNotAvailable ""
        > third commits 1
        third commits 1: [Err(CoordinatorNotAvailable)]
        > many commits 1
        append 0: h t-0 at 1
        > many commits 2
        > many commits 3
        many commits 3: [Err(CoordinatorNotAvailable)]
        > many commits 4
        many commits 4: [Err(CoordinatorNotAvailable)]
        > many commits 5
        many commits 5: [Err(CoordinatorNotAvailable)]
    "#]],
    );
}

#[test]
fn a_group_whose_name_does_not_fit_a_record_never_becomes_stable() {
    check(
        scripts::group_name_too_long,
        &expect![[r#"
        > 3000 ms pass
        a joins: generation 1 of range as a-01, a-01 leads ["a-01"]
        > a syncs
        a syncs: UnknownServerError
        > a leaves
        a leaves: a-01 left
        > list
        list: []
    "#]],
    );
}

#[test]
fn a_static_leader_that_does_not_join_in_time_stays_a_member_and_leads_no_more() {
    check(
        scripts::static_leader_does_not_join,
        &expect![[r#"
        > c joins
        > 9000 ms pass
        > a beats
        a beats: RebalanceInProgress
        > b beats
        b beats: RebalanceInProgress
        > 9000 ms pass
        > a beats
        a beats: RebalanceInProgress
        > b beats
        b beats: RebalanceInProgress
        > 9000 ms pass
        > a beats
        a beats: RebalanceInProgress
        > b beats
        b beats: RebalanceInProgress
        > 9000 ms pass
        > a beats
        a beats: RebalanceInProgress
        > b beats
        b beats: RebalanceInProgress
        > 9000 ms pass
        > a beats
        a beats: RebalanceInProgress
        > b beats
        b beats: RebalanceInProgress
        > 9000 ms pass
        > a beats
        a beats: RebalanceInProgress
        > b beats
        b beats: RebalanceInProgress
        > 9000 ms pass
        c joins: generation 2 of range as c-05, c-05 leads ["c-05", "one-01", "two-02"]
        > a beats
        a beats: IllegalGeneration
        > b beats
        b beats: IllegalGeneration
    "#]],
    );
}
