//! What is searched, how far, and which planted bugs are found.

use quorum::Change;

use crate::bfs::{Found, search};
use crate::world::{Budget, World, voter};

/// Searches all states within the budget, which nothing may break.
fn holds(name: &str, world: &World) {
    assert!(holds_among(name, world, 500_000), "{name}: there are more states");
}

/// Searches the states that are reached first; whether these are all.
fn holds_among(name: &str, world: &World, states_max: usize) -> bool {
    let Found { states, depth, took, whole, broken } = search(world, states_max);
    println!("{name}: {states} states, {depth} deep, {took:.1?}, all: {whole}");
    if let Some((why, way)) = broken {
        panic!("{why}\n{}", way.join("\n"));
    }
    whole
}

/// Searches until the planted bug is found.
fn finds(planted: &'static str, world: &World) {
    let Found { states, took, broken, .. } = search(world, 150_000);
    let Some((why, way)) = broken else { panic!("{planted} survives {states} states, {took:.1?}") };
    println!("{planted}: {why}, after {states} states, {took:.1?}:\n  {}", way.join("\n  "));
}

#[test]
fn elections_and_a_commit_of_three_voters_are_safe_in_the_first_states() {
    let budget = Budget { term: 2, proposals: 0, ..Budget::NONE };
    holds_among("elections", &World::of_voters(3, None, budget), 150_000);
}

#[test]
fn elections_with_a_power_loss_are_safe() {
    let budget = Budget { term: 1, proposals: 1, crashes: 1, ..Budget::NONE };
    holds("power loss", &World::of_voters(3, None, budget));
}

#[test]
fn a_change_of_voters_is_safe() {
    let changes = vec![(0, Change::Remove(voter(0)))];
    let budget = Budget { term: 1, changes, ..Budget::NONE };
    holds("removal", &World::of_voters(3, None, budget));
    let changes = vec![(0, Change::Add(voter(2)))];
    let budget = Budget { term: 1, changes, ..Budget::NONE };
    holds("addition", &World::of_voters(2, None, budget));
}

#[test]
fn what_an_old_term_left_behind_is_committed_safely_in_the_first_states() {
    let budget = Budget { term: 4, ..Budget::NONE };
    holds_among("old entries", &World::of_logs([&[1], &[2], &[]], 2, None, budget), 150_000);
}

#[test]
fn one_cluster_is_founded_in_the_first_states() {
    let budget = Budget { term: 1, wipes: 1, ..Budget::NONE };
    holds_among("founded", &World::empty(None, budget), 150_000);
}

#[test]
fn planted_bugs_of_votes_and_commits_are_found() {
    let crash = Budget { term: 2, proposals: 1, crashes: 1, ..Budget::NONE };
    let of_votes =
        ["vote_before_durable", "vote_twice", "match_before_durable", "self_match_before_durable"];
    for planted in of_votes {
        finds(planted, &World::of_voters(3, Some(planted), crash.clone()));
    }
}

#[test]
fn a_planted_bug_of_a_damaged_directory_is_found() {
    let planted = "corrupt_is_absent";
    let budget = Budget { term: 2, rots: 1, ..Budget::NONE };
    finds(planted, &World::of_voters(3, Some(planted), budget));
}
