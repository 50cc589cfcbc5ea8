//! `--shrink` through the binary: a planted bug's failure comes down to the few faults it needs.
#![expect(clippy::unwrap_used, reason = "how a test fails")]
#![expect(clippy::disallowed_methods, reason = "a test reads what the simulator wrote")]

use std::process::{Command, Output};

use sim::campaign::{Hunt, Range, hunt};
use sim::fault::Plan;
use sim::scenario::{RunOptions, run_plan};
use sim::shrink::{Signature, Size};
use sim::world::install_panic_hook;

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn load(path: &str) -> Plan {
    Plan::from_json(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn signature(plan: &Plan) -> Option<Signature> {
    run_plan(plan, &RunOptions::default()).failure.as_ref().map(Signature::of)
}

/// Of a few plans that fail with a planted bug the one with the most faults, in a file.
fn failing(name: &str) -> (String, Plan) {
    install_panic_hook();
    let mut kills = Vec::new();
    let mut keep = |hunt: &Hunt| {
        kills.clone_from(&hunt.kills);
        Ok(())
    };
    hunt(&["ack_before_write"], &Range::new(0, 100, 2), 5, &mut keep).unwrap();
    let plan = kills.into_iter().map(|(plan, _)| plan).max_by_key(|plan| plan.faults.len());
    let (path, plan) = (format!("{}/{name}.json", env!("CARGO_TARGET_TMPDIR")), plan.unwrap());
    std::fs::write(&path, plan.to_json().unwrap()).unwrap();
    (path, plan)
}

#[test]
fn a_planted_bugs_failure_is_shrunk_to_few_faults_and_fits_into_the_corpus() {
    let (path, before) = failing("before");
    let after = concat!(env!("CARGO_TARGET_TMPDIR"), "/shrunk.json");

    let output = sim(&["--plan", &path, "--shrink", "--out", after]);

    assert_eq!(output.status.code(), Some(10), "{}", text(&output));
    assert!(text(&output).contains(&format!("written to {after}")), "{}", text(&output));
    assert!(text(&output).contains(&format!("reproduce: cargo sim --plan {after}   # at commit")));
    assert!(String::from_utf8_lossy(&output.stderr).contains(" runs: "), "no progress");
    let after = load(after);
    assert!(before.faults.len() > 3 && after.faults.len() <= 3, "{after:?}");
    assert!(Size::of(&after).records < Size::of(&before).records, "{after:?}");
    assert!(Size::of(&after).noise < Size::of(&before).noise, "{after:?}");
    // What `sim/tests/corpus.rs` demands of a plan, and the same failure.
    assert!(signature(&after).is_some());
    assert_eq!(signature(&after), signature(&before));
    assert_eq!(signature(&Plan { mutants: Vec::new(), ..after }), None);
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let (plan, _) = failing("threads");
    let shrunk = |jobs: &str| {
        let path = format!("{}/shrunk-{jobs}.json", env!("CARGO_TARGET_TMPDIR"));
        let output = sim(&["--plan", &plan, "--shrink", "--jobs", jobs, "--out", &path]);
        assert_eq!(output.status.code(), Some(10), "{}", text(&output));
        load(&path)
    };

    assert_eq!(shrunk("1"), shrunk("3"));
}

#[test]
fn what_does_not_fail_is_not_shrunk() {
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/never.json");

    let output = sim(&["--seed", "1", "--shrink", "--out", path]);

    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output).contains("nothing to shrink"), "{}", text(&output));
    assert!(std::fs::read(path).is_err());
}
