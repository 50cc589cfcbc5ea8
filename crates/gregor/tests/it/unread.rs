//! Commands whose output nobody reads (`| head`, a log collector that died): what they fail with is
//! told all the same, and what they do is done.

use crate::support::{Broker, fresh_dir, json, run, run_unread, text};

/// Exit code and standard error of a command against a broker.
fn ends(broker: &Broker, args: &[&str], input: &str) -> (i32, String) {
    let output = run_unread(&[args, &["-b", &broker.at]].concat(), input);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn records_that_were_refused_are_a_failure_though_nobody_reads_the_report() {
    let broker = Broker::start(&fresh_dir("unread-produce"));
    broker.prints(&["topic", "create", "small", "--config", "max.message.bytes=100"]);
    let long = "x".repeat(1_000);

    let (code, said) = ends(&broker, &["produce", "small"], &format!("short\n{long}\n"));

    assert_eq!(code, 1, "{said}");
    assert!(said.contains("line 2 is too large"), "{said}");
    assert_eq!(ends(&broker, &["produce", "small"], "a\nb\n"), (0, String::new()));
    assert_eq!(broker.prints(&["consume", "small"]), "short\na\nb\n");
}

#[test]
fn damage_and_a_bad_configuration_are_exit_code_1_though_nobody_reads_where() {
    let broker = Broker::start(&fresh_dir("unread-damage"));
    broker.prints(&["topic", "create", "words"]);
    text(&broker.run_with(&["produce", "words"], "one\ntwo\n"));
    let (dir, shown) = (broker.dir.clone(), broker.dir.display().to_string());
    assert!(broker.stop());
    assert_eq!(run_unread(&["verify", "--deep", &shown], "").status.code(), Some(0));
    assert_eq!(run_unread(&["dump", &shown], "").status.code(), Some(0));
    let id = json(&run(&["dump", &shown, "--topic", "words", "--json"], ""));
    let segment = id.iter().find(|line| line["kind"] == "segment").unwrap();
    let folders = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let file = segment["file"].as_str().unwrap();
    let path = folders.map(|folder| folder.join(file)).find(|path| path.exists()).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();

    for args in [&["verify", "--deep", &shown][..], &["dump", &shown]] {
        let output = run_unread(args, "");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("1 damaged place in "), "{args:?}: {said}");
    }
    let properties = dir.join("bad.properties");
    std::fs::write(&properties, "num.partitions=zero\n").unwrap();
    let output = run_unread(&["config", "check", properties.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_look_that_ends_early_for_nobody_reads_it_is_no_success() {
    let broker = Broker::start(&fresh_dir("unread-early"));
    broker.prints(&["topic", "create", "words"]);
    text(&broker.run_with(&["produce", "words"], &"a line\n".repeat(20_000)));
    let shown = broker.dir.display().to_string();
    assert!(broker.stop());

    let output = run_unread(&["dump", &shown, "--records"], "");

    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("was not looked at to its end"), "{said}");
}

#[test]
fn what_only_shows_something_is_over_and_what_does_something_does_all_of_it() {
    let broker = Broker::start(&fresh_dir("unread-deeds"));
    for topic in ["a", "b", "c"] {
        broker.prints(&["topic", "create", topic]);
    }
    text(&broker.run_with(&["produce", "a"], "one\n"));

    for shows in [&["topic", "list"][..], &["topic", "describe", "a"], &["consume", "a"]] {
        assert_eq!(ends(&broker, shows, ""), (0, String::new()), "{shows:?}");
    }
    let (code, said) = ends(&broker, &["topic", "delete", "a", "nothing", "c"], "");

    assert_eq!(code, 1, "{said}");
    assert!(said.contains("there is no topic 'nothing'"), "{said}");
    let left = broker.json(&["topic", "list"]);
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_member_whose_output_nobody_reads_leaves_its_group_and_has_committed_nothing() {
    let broker = Broker::start(&fresh_dir("unread-member"));
    broker.prints(&["topic", "create", "t"]);
    text(&broker.run_with(&["produce", "t"], "one\ntwo\n"));

    assert_eq!(ends(&broker, &["consume", "t", "--group", "g"], ""), (0, String::new()));

    let group = &broker.json(&["group", "describe", "g"])[0];
    assert_eq!(group["state"], "Empty", "{group}");
    assert_eq!(broker.prints(&["consume", "t", "--group", "g"]), "one\ntwo\n");
}

#[test]
fn a_member_that_meets_damage_leaves_its_group_and_has_committed_what_it_wrote() {
    let broker = Broker::start(&fresh_dir("failing-member"));
    broker.prints(&["topic", "create", "t"]);
    for line in ["one\n", "two\n"] {
        text(&broker.run_with(&["produce", "t"], line));
    }
    let dir = broker.dir.clone();
    assert!(broker.stop());
    let is_log = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "log");
    let folders = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.filter(|path| path.is_dir()).flat_map(std::fs::read_dir);
    let segment = files.flatten().map(|entry| entry.unwrap().path()).find(is_log).unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let broker = Broker::start(&dir);

    let read = broker.run(&["consume", "t", "--group", "g"]);

    assert_eq!(read.status.code(), Some(1), "{}", String::from_utf8_lossy(&read.stderr));
    assert_eq!(String::from_utf8_lossy(&read.stdout), "one\n");
    let group = &broker.json(&["group", "describe", "g"])[0];
    assert_eq!((&group["state"], &group["consumed"]), (&"Empty".into(), &1.into()), "{group}");
}
