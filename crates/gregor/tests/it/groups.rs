//! Groups whose offsets are moved or deleted, groups that are deleted, and members whose output
//! nobody reads.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Broker, GREGOR, error, fresh_dir, text};

/// A broker with a topic of two partitions, five records each, and a group that has read them.
fn read_to_the_end(name: &str) -> Broker {
    let broker = Broker::start(&fresh_dir(name));
    broker.prints(&["topic", "create", "orders", "--partitions", "2"]);
    for partition in ["0", "1"] {
        let lines = "a\nb\nc\nd\ne\n";
        text(&broker.run_with(&["produce", "orders", "--partition", partition], lines));
    }
    broker.prints(&["consume", "orders", "--group", "readers"]);
    assert_eq!(committed(&broker), [Some(5), Some(5)]);
    broker
}

/// What the group has committed, by partition.
fn committed(broker: &Broker) -> Vec<Option<i64>> {
    let group = &broker.json(&["group", "describe", "readers"])[0];
    let places = group["partitions"].as_array().unwrap();
    places.iter().map(|place| place["committed"].as_i64()).collect()
}

fn reset(more: &[&'static str]) -> Vec<&'static str> {
    [&["group", "reset-offsets", "readers"], more].concat()
}

#[test]
fn offsets_are_moved_by_every_strategy_and_only_with_execute() {
    let broker = read_to_the_end("reset");

    let shown = broker.prints(&reset(&["--all-topics", "--to-earliest"]));
    let said = "nothing is changed; --execute commits 2 offsets of group readers\n";
    assert!(shown.starts_with("TOPIC ") && shown.ends_with(said), "{shown}");
    assert_eq!(committed(&broker), [Some(5), Some(5)]);

    let steps: &[(&[&'static str], [i64; 2])] = &[
        (&["--topic", "orders", "--to-earliest"], [0, 0]),
        (&["--topic", "orders:1", "--to-offset", "3"], [0, 3]),
        (&["--all-topics", "--shift-by", "1"], [1, 4]),
        (&["--all-topics", "--shift-by", "-2"], [0, 2]),
        (&["--topic", "orders", "--to-offset", "99"], [5, 5]),
        (&["--topic", "orders", "--to-datetime", "2020-01-31T12:00:00.000Z"], [0, 0]),
        (&["--topic", "orders", "--to-datetime", "2999-01-01"], [5, 5]),
        (&["--topic", "orders:0", "--topic", "orders:1", "--by-duration", "P1D"], [0, 0]),
        (&["--topic", "orders", "--to-latest"], [5, 5]),
    ];
    for (arguments, expected) in steps {
        let done = &broker.json(&reset(&[arguments, &["--execute"][..]].concat()))[0];
        assert_eq!(done["executed"], true);
        assert!(done["partitions"].as_array().unwrap().iter().all(|one| one["topic"] == "orders"));
        assert_eq!(committed(&broker), expected.map(Some), "{arguments:?}");
    }

    let done = broker.prints(&reset(&["--topic", "orders:0", "--to-offset", "4", "--execute"]));
    assert!(done.ends_with("committed 1 offset of group readers\n"), "{done}");
    assert_eq!(broker.prints(&["consume", "orders", "--group", "readers"]), "e\n");
    assert!(broker.stop());
}

#[test]
fn the_name_of_a_group_moves_no_cursor_and_adds_no_line() {
    let broker = Broker::start(&fresh_dir("named"));
    broker.prints(&["topic", "create", "t"]);
    let name = "a\u{1b}[2Jb\nc";
    broker.prints(&["consume", "t", "--group", name]);

    let listed = broker.prints(&["group", "list"]);
    let described = broker.prints(&["group", "describe", name]);
    let unknown = error(&broker.run(&["group", "delete", "a\u{1b}[2J"]));

    for shown in [&listed, &described, &unknown] {
        assert!(!shown.contains('\u{1b}') && shown.contains("a\\u{1b}[2J"), "{shown:?}");
    }
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert_eq!(broker.json(&["group", "list"])[0]["group"], name);
}

#[test]
fn offsets_go_to_a_file_and_come_back_from_it() {
    let broker = read_to_the_end("from-file");
    let file = broker.dir.with_extension("csv");
    let path: &'static str = file.display().to_string().leak();
    broker.prints(&reset(&["--topic", "orders:0", "--to-offset", "2", "--execute"]));

    let exported = broker.prints(&reset(&["--all-topics", "--to-current", "--export"]));
    assert_eq!(exported, "orders,0,2\norders,1,5\n");
    std::fs::write(&file, exported).unwrap();
    broker.prints(&reset(&["--all-topics", "--to-earliest", "--execute"]));
    assert_eq!(committed(&broker), [Some(0), Some(0)]);

    let shown = broker.prints(&reset(&["--from-file", path]));
    assert!(shown.contains("nothing is changed; --execute commits 2 offsets"), "{shown}");
    assert_eq!(committed(&broker), [Some(0), Some(0)]);
    let done = broker.prints(&reset(&["--from-file", path, "--execute"]));
    assert!(done.ends_with("committed 2 offsets of group readers\n"), "{done}");
    assert_eq!(committed(&broker), [Some(2), Some(5)]);

    // A partition without a committed offset goes behind its last record.
    broker.prints(&["group", "delete-offsets", "readers", "--topic", "orders:0"]);
    broker.prints(&reset(&["--topic", "orders", "--to-current", "--execute"]));
    assert_eq!(committed(&broker), [Some(5), Some(5)]);

    // Several groups name themselves in each line; one that is behind its log's end is taken to it.
    std::fs::write(&file, "readers,orders,1,3\nothers,orders,0,99\n").unwrap();
    let both = ["group", "reset-offsets", "readers", "others", "--from-file", path];
    let exported = broker.prints(&[&both[..], &["--execute", "--export"]].concat());
    assert_eq!(exported, "readers,orders,1,3\nothers,orders,0,5\n");
    assert_eq!(committed(&broker), [Some(5), Some(3)]);
    let again = broker.json(&[&both[..], &["--dry-run"]].concat());
    assert_eq!((&again[1]["group"], &again[1]["executed"]), (&"others".into(), &false.into()));
    assert_eq!(again[1]["partitions"][0]["committed"], 5);
    assert!(broker.stop());
}

#[test]
fn a_file_of_offsets_that_is_wrong_in_one_line_changes_nothing_and_the_line_is_named() {
    let broker = read_to_the_end("bad-file");
    let file = broker.dir.with_extension("csv");
    let path: &'static str = file.display().to_string().leak();
    for (text, what) in [
        (
            "orders,0,1\norders,one,2\n",
            "line 2: expected topic,partition,offset, found 'orders,one,2'",
        ),
        ("readers,orders,0,1\norders,1,2\n", "line 2: expected group,topic,partition,offset"),
        ("others,orders,0,1\n", "has no offset of group 'readers'"),
        ("", "has no offset of group 'readers'"),
        ("orders,0,1\nnowhere,0,1\n", "there is no topic 'nowhere'"),
        ("orders,0,1\norders,7,1\n", "has no partition 7"),
    ] {
        std::fs::write(&file, text).unwrap();
        let said = error(&broker.run(&reset(&["--from-file", path, "--execute"])));
        assert!(said.contains(what) && said.contains("hint: "), "{said}");
    }
    let said = error(&broker.run(&reset(&["--from-file", "/no/such.csv"])));
    assert!(said.contains("cannot read /no/such.csv"), "{said}");
    for wrong in [
        &["--from-file", path, "--all-topics"][..],
        &["--from-file", path, "--to-current"],
        &["--to-current"],
        &["--all-topics", "--to-current", "--export", "--json"],
    ] {
        assert_eq!(broker.run(&reset(wrong)).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(committed(&broker), [Some(5), Some(5)]);
    assert!(broker.stop());
}

#[test]
fn offsets_and_groups_are_deleted() {
    let broker = read_to_the_end("deleted");

    let done = broker.json(&["group", "delete-offsets", "readers", "--topic", "orders:1"]);
    assert_eq!((&done[0]["partition"], &done[0]["error"]), (&1.into(), &Value::Null));
    assert_eq!(committed(&broker), [Some(5), None]);

    assert_eq!(broker.prints(&["group", "delete", "readers"]), "deleted readers\n");
    assert!(broker.json(&["group", "list"]).is_empty());
    let said = error(&broker.run(&["group", "delete", "readers"]));
    assert!(said.contains("there is no group 'readers'") && said.contains("hint: "), "{said}");
    let missing = ["group", "delete-offsets", "readers", "--topic", "orders"];
    let said = error(&broker.run(&missing));
    assert!(said.contains("there is no group 'readers'"), "{said}");
    // A group that is not there yet begins where it is told to.
    broker.prints(&reset(&["--topic", "orders:0", "--to-offset", "4", "--execute"]));
    assert_eq!(broker.prints(&["consume", "orders", "--group", "readers", "--max", "1"]), "e\n");
    assert!(broker.stop());
}

#[test]
fn a_group_with_members_is_left_alone_and_the_error_says_what_to_do() {
    let broker = read_to_the_end("members");
    let mut follower = Command::new(GREGOR)
        .args(["consume", "orders", "--follow", "--group", "readers", "-b", &broker.at])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let stable = || broker.json(&["group", "describe", "readers"])[0]["state"] == "Stable";
    for _ in 0..2_000 {
        if stable() {
            break;
        }
    }

    for arguments in [
        &["group", "delete", "readers"][..],
        &["group", "reset-offsets", "readers", "--all-topics", "--to-earliest", "--execute"],
        &["group", "delete-offsets", "readers", "--topic", "orders"],
    ] {
        let said = error(&broker.run(arguments));
        let (what, hint) = said.split_once("hint: ").unwrap();
        assert!(what.contains("members"), "{said}");
        assert!(
            hint.contains("stop") && hint.contains("`gregor group describe readers`"),
            "{said}"
        );
    }

    assert_eq!(committed(&broker), [Some(5), Some(5)]);
    follower.kill().unwrap();
    follower.wait().unwrap();
    assert!(broker.stop());
}

#[test]
fn what_cannot_be_moved_is_told_before_anything_is() {
    let broker = read_to_the_end("unmoved");
    for (arguments, what) in [
        (&["--topic", "nowhere", "--to-latest", "--execute"][..], "there is no topic 'nowhere'"),
        (&["--topic", "orders:7", "--to-latest", "--execute"], "has no partition 7"),
    ] {
        let said = error(&broker.run(&reset(arguments)));
        assert!(said.contains(what) && said.contains("hint: "), "{said}");
    }
    let fresh = ["group", "reset-offsets", "fresh", "--topic", "orders", "--shift-by", "1"];
    let said = error(&broker.run(&fresh));
    assert!(said.contains("no committed offset") && said.contains("--to-earliest"), "{said}");
    let fresh = ["group", "reset-offsets", "fresh", "--all-topics", "--to-latest"];
    let said = error(&broker.run(&fresh));
    assert!(said.contains("has committed nothing") && said.contains("hint: "), "{said}");
    for wrong in [
        &["--topic", "orders"][..],
        &["--to-latest"],
        &["--topic", "orders", "--to-latest", "--to-earliest"],
        &["--topic", "orders", "--all-topics", "--to-latest"],
        &["--topic", "orders", "--to-latest", "--dry-run", "--execute"],
    ] {
        assert_eq!(broker.run(&reset(wrong)).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(committed(&broker), [Some(5), Some(5)]);
    assert!(broker.stop());
}

/// Records of the topic whose reader is slow: many times what a pipe takes.
const LINES: usize = 100_000;
/// What a member may take for what it does at once.
const SOON: Duration = Duration::from_secs(60);

/// A broker that allows short sessions, and a follower of a filled topic in a group; nobody reads
/// the follower's output yet.
fn blocked_follower(name: &str, more: &[&str]) -> (Broker, Child) {
    let broker = Broker::start_with(&fresh_dir(name), &["group.min.session.timeout.ms=1000"]);
    broker.prints(&["topic", "create", "orders"]);
    let lines: String = (0..LINES).map(|number| format!("record {number}\n")).collect();
    text(&broker.run_with(&["produce", "orders"], &lines));
    let follower = Command::new(GREGOR)
        .args(["consume", "orders", "--follow", "--group", "readers", "-b", &broker.at])
        .args(["--session-timeout", "2"])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (broker, follower)
}

fn described(broker: &Broker) -> Option<Value> {
    broker.json(&["group", "list"]).first()?;
    broker.json(&["group", "describe", "readers"]).into_iter().next()
}

/// What the group is like once it is like that.
fn once(broker: &Broker, is: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let group = described(broker);
        match group {
            Some(group) if is(&group) => return group,
            group => assert!(begun.elapsed() < SOON, "{group:?}"),
        }
    }
}

fn is_committed(group: &Value, offset: usize) -> bool {
    group["consumed"].as_u64() == Some(u64::try_from(offset).unwrap())
}

fn end(mut follower: Child) {
    let id = follower.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
    assert!(follower.wait().unwrap().success());
}

#[test]
fn a_member_whose_output_nobody_reads_stays_and_each_record_comes_once() {
    let (broker, mut follower) = blocked_follower("blocked", &[]);
    let joined = once(&broker, |group| group["state"] == "Stable");
    let member = &joined["members"][0]["member"];

    // Twice the session, and more.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        let group = described(&broker).unwrap();
        assert_eq!(group["state"], "Stable", "{group}");
        assert_eq!(&group["members"][0]["member"], member, "{group}");
        assert!(!is_committed(&group, LINES), "what nobody has read is committed");
    }

    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    for number in 0..LINES {
        assert_eq!(lines.next().unwrap().unwrap(), format!("record {number}"));
    }
    let group = once(&broker, |group| is_committed(group, LINES));
    assert_eq!(&group["members"][0]["member"], member, "{group}");
    end(follower);
    assert_eq!(lines.count(), 0, "nothing came twice");
    assert!(broker.stop());
}

#[test]
fn a_member_whose_output_nobody_reads_for_too_long_leaves_and_comes_back() {
    let (broker, mut follower) = blocked_follower("too-long", &["--max-poll-interval", "1.5"]);
    let mut said = String::new();
    let mut errors = BufReader::new(follower.stderr.take().unwrap());
    errors.read_line(&mut said).unwrap();
    let left = "left group 'readers': the output took nothing for 1.5 s; joins again when it does";
    assert_eq!(said.trim_end(), left);
    once(&broker, |group| group["state"] == "Empty");

    let mut seen = BTreeSet::new();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    while seen.len() < LINES {
        seen.insert(lines.next().unwrap().unwrap());
    }

    let group = once(&broker, |group| is_committed(group, LINES));
    assert_eq!(group["state"], "Stable");
    end(follower);
    assert!(broker.stop());
}

#[test]
fn a_member_whose_output_nobody_reads_ends_when_told_to_and_commits_what_was_taken() {
    let (broker, mut follower) = blocked_follower("told-to-end", &[]);
    let mut out = follower.stdout.take().unwrap();
    let mut taken = vec![0; 300_000];
    out.read_exact(&mut taken).unwrap();
    // What was taken is committed while the output takes no more.
    once(&broker, |group| group["consumed"].as_u64().is_some_and(|consumed| consumed > 0));

    end(follower);

    out.read_to_end(&mut taken).unwrap();
    let group = described(&broker).unwrap();
    assert_eq!(group["state"], "Empty", "{group}");
    let committed = usize::try_from(group["consumed"].as_u64().unwrap()).unwrap();
    let whole = taken.iter().filter(|byte| **byte == b'\n').count();
    assert!(0 < committed && committed <= whole && whole < LINES, "{committed} of {whole}");
    let rest = broker.prints(&["consume", "orders", "--group", "readers", "--max", "1"]);
    assert_eq!(rest, format!("record {committed}\n"));
    assert!(broker.stop());
}
