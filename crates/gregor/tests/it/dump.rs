//! `gregor dump` on directories that were stopped, killed and damaged.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::support::{Broker, error, fresh_dir, json, run, text};

fn dump(dir: &Path, more: &[&str]) -> std::process::Output {
    run(&[&["dump", dir.to_str().unwrap()], more].concat(), "")
}

fn of_kind<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

fn filled(name: &str) -> Broker {
    let broker = Broker::start(&fresh_dir(name));
    broker.prints(&["topic", "create", "words"]);
    text(&broker.run_with(&["produce", "words"], "one\ntwo\n"));
    text(&broker.run_with(&["produce", "words"], "three\n"));
    broker
}

/// Every file below, with length and time of change.
fn files(dir: &Path) -> Vec<(PathBuf, u64, SystemTime)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let about = entry.metadata().unwrap();
        if about.is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push((entry.path(), about.len(), about.modified().unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_cleanly_stopped_directory_is_shown_whole_and_not_changed() {
    let broker = filled("dump-clean");
    let dir = broker.dir.clone();
    assert!(broker.stop());
    let before = files(&dir);

    let lines = json(&dump(&dir, &["--records", "--json"]));

    assert_eq!(of_kind(&lines, "directory")[0]["sealed"], true);
    let log = of_kind(&lines, "log")[0];
    assert_eq!((&log["topic"], &log["sealed"]), (&"words".into(), &true.into()));
    assert_eq!(log["flushed_end"], 3);
    assert_eq!(of_kind(&lines, "batch").len(), 2);
    let values: Vec<_> = of_kind(&lines, "record").iter().map(|line| &line["value"]).collect();
    assert_eq!(values, ["one", "two", "three"]);
    let shown = text(&dump(&dir, &["--topic", "words", "--partition", "0"]));
    assert!(shown.contains("closed cleanly") && shown.contains("log words-0"), "{shown}");
    assert!(files(&dir) == before, "the directory was changed");
}

#[test]
fn a_killed_brokers_directory_is_no_damage() {
    let broker = filled("dump-killed");
    let dir = broker.dir.clone();
    broker.kill();

    let lines = json(&dump(&dir, &["--json"]));

    let shown = text(&dump(&dir, &["--topic", "words"]));
    assert!(shown.contains("high watermark at least "), "{shown}");
    assert_eq!(of_kind(&lines, "directory")[0]["sealed"], false);
    assert!(of_kind(&lines, "damage").is_empty());
    assert_eq!(of_kind(&lines, "segment")[0]["records"], 3);
}

#[test]
fn a_changed_byte_is_damage_with_its_place_and_exit_code_1() {
    let broker = filled("dump-damaged");
    let dir = broker.dir.clone();
    assert!(broker.stop());
    let is_log = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "log")
            && std::fs::metadata(path).unwrap().len() > 0
    };
    let segment = files(&dir).into_iter().map(|(path, ..)| path).find(is_log).unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&segment, bytes).unwrap();

    let found = dump(&dir, &[]);

    let shown = String::from_utf8(found.stdout.clone()).unwrap();
    assert!(shown.contains("DAMAGED") && shown.contains("checksum"), "{shown}");
    assert!(error(&found).contains("1 damaged place"));
}

#[test]
fn what_is_not_in_the_directory_is_an_error_that_says_what_lists_it() {
    let broker = filled("dump-nosuch");
    let dir = broker.dir.clone();
    assert!(broker.stop());

    let said = error(&dump(&dir, &["--topic", "nosuch"]));
    let shown = dir.display();
    assert!(said.contains(&format!("there is no topic 'nosuch' in {shown}\n")), "{said}");
    assert!(said.contains(&format!("hint: gregor dump {shown} lists the topics")), "{said}");
    let said = error(&dump(&dir, &["--topic", "words", "--partition", "7"]));
    assert!(said.contains("topic 'words' has no partition 7"), "{said}");
    text(&dump(&dir, &["--topic", "words", "--partition", "0"]));
}

#[test]
fn a_directory_of_something_else_is_refused() {
    let dir = fresh_dir("dump-nothing");
    assert!(error(&dump(&dir, &[])).contains("no data directory"));
}
