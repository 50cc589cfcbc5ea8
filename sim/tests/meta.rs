//! The simulator holds itself to its own promise: same seed, same run.
#![expect(clippy::unwrap_used, reason = "how a test fails")]

use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn twenty_seeds_run_the_same_twice_here_and_once_in_another_process() {
    let output = sim(&["--check-determinism", "20"]);

    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("20 seeds, 0 differences"));
}

#[test]
fn iterating_one_randomly_keyed_map_is_noticed() {
    let output = sim(&["--check-determinism", "5", "--canary"]);

    assert_eq!(output.status.code(), Some(10), "{}", text(&output));
    assert!(text(&output).contains("in one process"));
    assert!(text(&output).contains("in another process"));
}

#[test]
fn tracing_changes_nothing() {
    let (quiet, loud) = (sim(&["--seed", "3"]), sim(&["--seed", "3", "--trace"]));

    let last = |output: &Output| text(output).lines().last().map(str::to_owned);
    assert_eq!(last(&quiet), last(&loud));
    assert!(text(&loud).lines().count() > 100);
}

#[test]
fn a_printed_plan_replays_its_seed() {
    let plan = text(&sim(&["--seed", "4", "--print-plan"]));
    let path = format!("{}/plan-4.json", env!("CARGO_TARGET_TMPDIR"));
    write(&path, &plan);

    let (by_seed, by_plan) = (sim(&["--seed", "4"]), sim(&["--plan", &path]));

    let first = |output: &Output| text(output).lines().next().map(str::to_owned);
    assert_eq!(first(&by_seed), first(&by_plan));
}

#[test]
fn wrong_usage_ends_with_two() {
    for wrong in [&["--bogus"][..], &["--seed", "1", "--mutant", "nobody"], &[]] {
        assert_eq!(sim(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test writes a plan for the simulator to read")]
fn write(path: &str, text: &str) {
    std::fs::write(path, text).unwrap();
}
