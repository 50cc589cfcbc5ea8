//! `gregor verify` on directories that were closed, killed, damaged and in use.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Broker, fresh_dir, json, run, text};

fn verify(dir: &Path, more: &[&str]) -> std::process::Output {
    run(&[&["verify", dir.to_str().unwrap()], more].concat(), "")
}

fn filled(name: &str) -> Broker {
    let broker = Broker::start(&fresh_dir(name));
    broker.prints(&["topic", "create", "words"]);
    text(&broker.run_with(&["produce", "words"], "one\ntwo\nthree\n"));
    broker
}

/// Every file below with its bytes and its time of change.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
            found.push((path.clone(), std::fs::read(&path).unwrap(), modified));
        }
    }
    found.sort();
    found
}

fn conclusion(lines: &[Value]) -> &str {
    lines.last().unwrap()["conclusion"].as_str().unwrap()
}

#[test]
fn a_closed_directory_is_clean_and_not_changed() {
    let broker = filled("verify-clean");
    let dir = broker.dir.clone();
    assert!(broker.stop());
    let before = files(&dir);

    let shown = text(&verify(&dir, &["--deep"]));
    let lines = json(&verify(&dir, &["--deep", "--json"]));

    assert!(shown.ends_with("clean: a start changes nothing that can be read\n"), "{shown}");
    assert!(shown.contains("words-0") && shown.contains("read 1 batch of "), "{shown}");
    assert_eq!(conclusion(&lines), "clean");
    let log = lines.iter().find(|line| line["kind"] == "log").unwrap();
    assert_eq!((&log["log_end"], &log["deep_batches"]), (&3.into(), &1.into()));
    assert!(files(&dir) == before, "the directory was changed");
}

#[test]
fn what_a_killed_broker_leaves_is_sound_and_its_torn_end_is_told() {
    let broker = filled("verify-killed");
    let dir = broker.dir.clone();
    broker.kill();
    let is_log = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "log");
    let segment = files(&dir).into_iter().map(|(path, ..)| path).find(is_log).unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes.extend_from_slice(&[7; 9]);
    std::fs::write(&segment, bytes).unwrap();

    let lines = json(&verify(&dir, &["--json"]));

    assert_eq!(conclusion(&lines), "recovers");
    let log = lines.iter().find(|line| line["kind"] == "log").unwrap();
    assert_eq!((&log["log_end"], &log["cut_bytes"]), (&3.into(), &9.into()));
    assert_eq!((&log["cut_torn"], &log["clean"]), (&true.into(), &false.into()));
    let broker = Broker::start(&dir);
    assert!(broker.log.contains("9 bytes cut"), "{}", broker.log);
}

#[test]
fn damage_is_exit_code_1_and_what_a_start_refuses_is_exit_code_2() {
    let broker = filled("verify-damaged");
    let dir = broker.dir.clone();
    assert!(broker.stop());
    let is_log = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "log");
    let segment = files(&dir).into_iter().map(|(path, ..)| path).find(is_log).unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&segment, bytes).unwrap();

    assert_eq!(verify(&dir, &[]).status.code(), Some(0), "a start after a clean stop reads none");
    let deep = verify(&dir, &["--deep"]);
    assert_eq!(deep.status.code(), Some(1));
    let shown = String::from_utf8(deep.stdout).unwrap();
    assert!(shown.contains("DAMAGED words-0: offsets 0 to 2 cannot be read"), "{shown}");

    std::fs::remove_file(dir.join("manifest")).unwrap();
    let refused = verify(&dir, &[]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("no manifest") && said.contains("nothing was changed"), "{said}");
}

#[test]
fn a_directory_in_use_and_one_of_something_else_are_exit_code_2() {
    let broker = filled("verify-used");

    let used = verify(&broker.dir, &[]);

    assert_eq!(used.status.code(), Some(2));
    let said = String::from_utf8(used.stderr).unwrap();
    assert!(said.contains("in use") && said.contains("stop the broker"), "{said}");
    let nothing = verify(&fresh_dir("verify-nothing"), &[]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(String::from_utf8(nothing.stderr).unwrap().contains("no data directory"));
}

#[test]
fn of_several_directories_those_that_are_not_named_are_told_and_a_configuration_misses_them() {
    let dir = fresh_dir("verify-several");
    let (a, b) = (dir.join("a"), dir.join("b"));
    let dirs = format!("log.dirs={},{}", a.display(), b.display());
    let properties = dir.join("server.properties");
    std::fs::write(&properties, &dirs).unwrap();
    let mut serve = std::process::Command::new(crate::support::GREGOR);
    serve.arg("serve").arg("--config").arg(&properties);
    serve.args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"]);
    let broker = Broker::ready(serve, &dir);
    broker.prints(&["topic", "create", "words", "--partitions", "2"]);
    assert!(broker.stop());
    let (shown_b, properties) = (b.display().to_string(), properties.to_str().unwrap());

    let both = text(&verify(&a, &[&shown_b]));
    assert!(both.contains("words-0") && both.contains("words-1"), "{both}");
    assert!(both.ends_with("clean: a start changes nothing that can be read\n"), "{both}");
    assert_eq!(text(&run(&["verify", "--config", properties], "")), both);

    let one = text(&verify(&a, &[]));
    assert!(one.contains(&format!("not looked at: directory {shown_b}, id ")), "{one}");
    assert!(one.contains("not here: the log words-1\n"), "{one}");
    let lines = json(&verify(&a, &["--json"]));
    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    assert_eq!(of("away")[0]["path"], shown_b.as_str());
    assert_eq!((of("elsewhere").len(), of("elsewhere")[0]["partition"].as_i64()), (1, Some(1)));
    assert_eq!(of("log")[0]["directory"], a.to_str().unwrap());
    assert_eq!(conclusion(&lines), "clean");

    let other = verify(&b, &[]);
    assert_eq!(other.status.code(), Some(2), "the metadata is in the first");

    std::fs::rename(&b, dir.join("elsewhere")).unwrap();
    let lost = run(&["verify", "--config", properties], "");
    assert_eq!(lost.status.code(), Some(2));
    let said = String::from_utf8(lost.stderr).unwrap();
    assert!(said.contains("is gone") && said.contains("--accept-lost-dir"), "{said}");
    let id = of("away")[0]["directory_id"].as_str().unwrap();
    let given_up =
        json(&run(&["verify", "--config", properties, "--accept-lost-dir", id, "--json"], ""));
    assert_eq!(conclusion(&given_up), "recovers");
    assert!(given_up.iter().any(|line| line["kind"] == "absent" && line["partition"] == 1));
    assert!(!b.exists(), "it was made");
}
