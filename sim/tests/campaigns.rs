//! Campaigns through the binary: what they come to depends on their seeds only, however they are
//! run, stopped and resumed.
#![expect(clippy::unwrap_used, reason = "how a test fails")]
#![expect(clippy::disallowed_methods, reason = "a test looks at the campaign's own file")]

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.args(arguments.split_whitespace());
    command
}

fn sim(arguments: &str) -> Output {
    command(arguments).output().unwrap()
}

/// What it said, but for the commit: somebody may make one meanwhile.
fn text(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines()
        .map(|line| line.split("# at commit").next().unwrap_or(line).to_owned() + "\n")
        .collect()
}

/// A file for a campaign's standing that does not exist yet.
fn fresh(name: &str) -> String {
    let path = format!("{}/{name}.json", env!("CARGO_TARGET_TMPDIR"));
    drop(std::fs::remove_file(&path));
    path
}

/// The campaign of `arguments` comes to the same, run in each of these ways.
fn check_ways(arguments: &str, ways: &[&str]) {
    let plain = sim(arguments);
    for way in ways {
        let other = sim(&format!("{arguments} {way}"));
        assert_eq!(text(&other), text(&plain), "{arguments} {way}");
        assert_eq!(other.status.code(), plain.status.code(), "{arguments} {way}");
    }
}

#[test]
fn processes_of_their_own_and_more_threads_change_nothing() {
    check_ways("--seeds 13 --start 3", &["--isolate", "--jobs 1", "--isolate --jobs 3"]);
}

#[test]
fn a_campaign_that_ends_at_its_twentieth_failure_ends_there_in_any_way() {
    let arguments = "--seeds 120 --mutant ack_before_write";
    assert_eq!(text(&sim(arguments)).matches("FAILED seed").count(), 20);
    check_ways(arguments, &["--isolate --jobs 3", "--jobs 1"]);
}

#[test]
fn an_abort_costs_one_batch_and_names_it() {
    let output = sim("--seeds 12 --isolate --jobs 2 --abort-at 7");

    let said = text(&output);
    assert_eq!(output.status.code(), Some(12), "{said}");
    assert!(said.starts_with("6 seeds, "), "{said}");
    let lost = "LOST seeds 6 to 11: their process ended with signal: 6 (SIGABRT)";
    assert!(said.contains(lost) && said.contains(", at seed 7\n"), "{said}");
    assert!(said.contains("reproduce: cargo sim --seed 7 "), "{said}");
}

#[test]
fn a_seed_that_never_ends_is_ended_and_named() {
    let output = sim("--seeds 1 --start 7 --isolate --hang-at 7 --seed-secs-max 1");

    let said = text(&output);
    assert_eq!(output.status.code(), Some(12), "{said}");
    let lost = "LOST seeds 7 to 7: their process ended with our signal, after 1 s with one seed";
    assert!(said.contains(lost) && said.contains(", at seed 7\n"), "{said}");
}

#[test]
fn without_isolation_an_abort_ends_the_campaign() {
    let output = sim("--seeds 4 --abort-at 2");

    assert_eq!(output.status.signal(), Some(6));
}

#[test]
fn a_campaign_goes_on_for_the_time_it_is_given() {
    let short = sim("--for 1s --start 5");

    assert_eq!(short.status.code(), Some(0), "{}", text(&short));
    let seeds: u64 = text(&short).split(' ').next().unwrap().parse().unwrap();
    assert!(seeds > 0);
    // The seeds are those that a campaign of as many has.
    assert_eq!(text(&short), text(&sim(&format!("--seeds {seeds} --start 5"))));
}

#[test]
fn time_that_was_spent_before_counts() {
    let file = fresh("time");
    let first = sim(&format!("--for 1s --isolate --resume {file}"));

    let again = sim(&format!("--for 1s --isolate --resume {file}"));

    assert_eq!(text(&first), text(&again));
}

#[test]
fn a_resumed_campaign_comes_to_what_an_uninterrupted_one_does() {
    let plain = sim("--seeds 40 --start 9");
    for way in ["", "--isolate"] {
        // It ends as by a kill: at once, wherever it is.
        let file = fresh(&format!("abort{way}"));
        let arguments = format!("--seeds 40 --start 9 --resume {file}");
        let stopped = sim(&format!("{arguments} --jobs 1 --abort-at 38"));
        assert_eq!(stopped.status.signal(), Some(6));
        let kept = std::fs::read_to_string(&file).unwrap();
        assert!(kept.contains("\"seeds\":16,"), "{kept}");

        let resumed = sim(&format!("{arguments} {way}"));

        assert_eq!(text(&resumed), text(&plain));
        assert_eq!(text(&sim(&arguments)), text(&plain), "nothing is left to run");
    }
}

#[test]
fn an_interrupted_campaign_of_processes_goes_on_where_it_was() {
    let file = fresh("interrupt");
    let arguments = format!("--seeds 130 --start 2 --isolate --resume {file}");
    let mut child =
        command(&arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    // Its first word comes after two seconds.
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("/130 seeds"));
    let interrupt = format!("kill -INT {}", child.id());
    Command::new("sh").args(["-c", &interrupt]).status().unwrap();
    child.wait().unwrap();

    let resumed = sim(&arguments);

    assert_eq!(text(&resumed), text(&sim("--seeds 130 --start 2")));
}

#[test]
fn a_standing_of_another_campaign_or_a_damaged_one_is_refused() {
    let file = fresh("refused");
    assert!(sim(&format!("--seeds 2 --resume {file}")).status.success());

    for other in ["--seeds 2 --start 1", "--seeds 1", "--seeds 2 --mutant skip_dir_sync"] {
        let output = sim(&format!("{other} --resume {file}"));
        assert_eq!(output.status.code(), Some(2), "{other}");
    }
    let whole = std::fs::read_to_string(&file).unwrap();
    let other_build = whole.replacen("\"build\":\"", "\"build\":\"0", 1);
    for damaged in [&whole[..whole.len() / 2], "", &other_build] {
        std::fs::write(&file, damaged).unwrap();
        let output = sim(&format!("--seeds 2 --resume {file}"));
        assert_eq!(output.status.code(), Some(2), "{damaged}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("cannot resume"));
    }
}

#[test]
fn what_belongs_to_a_campaign_is_refused_elsewhere() {
    for wrong in [
        "--seed 1 --isolate",
        "--seed 1 --resume x",
        "--for 5",
        "--seeds 2 --start 18446744073709551615",
    ] {
        assert_eq!(sim(wrong).status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn a_standing_that_cannot_be_kept_ends_the_campaign_before_it_begins_and_is_named() {
    let output = sim("--seeds 100000 --resume /nowhere/at/all.json");

    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("/nowhere/at/all.json"), "{said}");
}

#[test]
fn a_campaign_whose_process_is_told_to_stop_says_how_far_it_came_and_does_not_succeed() {
    let mut parent = command("--seeds 3 --start 7 --isolate --jobs 1 --hang-at 7");
    let parent = parent.stdout(Stdio::piped()).spawn().unwrap();
    // Its child is there soon, and never ends by itself.
    let children = format!("cat /proc/{}/task/*/children", parent.id());
    let child = loop {
        let found = Command::new("sh").args(["-c", &children]).output().unwrap();
        if let Some(child) = String::from_utf8_lossy(&found.stdout).split_whitespace().next() {
            break child.to_owned();
        }
    };
    Command::new("kill").args(["-TERM", &child]).status().unwrap();

    let output = parent.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(14), "{}", text(&output));
    assert!(text(&output).contains("STOPPED after 0 of 3 seeds"), "{}", text(&output));
}

#[test]
fn a_comparison_begins_where_it_is_told_and_never_runs_past_the_last_seed() {
    for first in ["--seed 5", "--start 5"] {
        let output = sim(&format!("--check-determinism 1 {first}"));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }
    let beyond = sim("--check-determinism 2 --seed 18446744073709551615");
    assert_eq!(beyond.status.code(), Some(2));
}
