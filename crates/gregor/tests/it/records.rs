//! Records in and out, and groups.

use crate::support::{Broker, error, fresh_dir, text};

#[test]
fn what_is_produced_is_consumed_with_keys_offsets_and_order() {
    let broker = Broker::start(&fresh_dir("records"));
    broker.prints(&["topic", "create", "words"]);

    let lines = "ann:one\nbob:two\nthree\n";
    let made = broker.run_with(&["produce", "words", "--key-separator", ":"], lines);
    assert!(text(&made).starts_with("3 records acknowledged\n"));

    assert_eq!(broker.prints(&["consume", "words"]), "one\ntwo\nthree\n");
    let shown = broker.prints(&["consume", "words", "--from", "1", "--format", "%p/%o %k=%s\\n"]);
    assert_eq!(shown, "0/1 bob=two\n0/2 =three\n");
    assert_eq!(broker.prints(&["consume", "words", "--max", "1"]), "one\n");
    assert_eq!(broker.prints(&["consume", "words", "--from", "end"]), "");
    assert_eq!(broker.prints(&["consume", "words", "--from", "@0"]), "one\ntwo\nthree\n");
    let records = broker.json(&["consume", "words"]);
    assert_eq!(records.len(), 3);
    assert_eq!((&records[0]["key"], &records[0]["value"]), (&"ann".into(), &"one".into()));
    assert_eq!((&records[2]["key"], &records[2]["offset"]), (&serde_json::Value::Null, &2.into()));
}

#[test]
fn a_large_input_over_several_partitions_arrives_whole_and_is_counted() {
    let broker = Broker::start(&fresh_dir("many"));
    broker.prints(&["topic", "create", "numbers", "--partitions", "3"]);
    let lines: String = (0..50_000).map(|number| format!("record {number}\n")).collect();

    let made = broker.run_with(&["produce", "numbers", "--json"], &lines);

    let made = &crate::support::json(&made)[0];
    assert_eq!((&made["sent"], &made["acknowledged"]), (&50_000.into(), &50_000.into()));
    let mut consumed: Vec<String> =
        broker.prints(&["consume", "numbers"]).lines().map(str::to_owned).collect();
    let mut expected: Vec<&str> = lines.lines().collect();
    consumed.sort_unstable();
    expected.sort_unstable();
    assert!(consumed == expected, "{} records", consumed.len());
    broker.prints(&["topic", "create", "unheard"]);
    let sent = broker.run_with(&["produce", "unheard", "--acks", "0"], "a\n");
    assert!(text(&sent).contains("none is acknowledged"));
}

#[test]
fn a_group_goes_on_where_it_stopped_also_after_kill_9_and_its_sums_are_right() {
    let dir = fresh_dir("groups");
    let broker = Broker::start(&dir);
    broker.prints(&["topic", "create", "jobs"]);
    text(&broker.run_with(&["produce", "jobs"], "a\nb\nc\nd\ne\n"));

    let first = broker.prints(&["consume", "jobs", "--group", "workers", "--max", "2"]);
    assert_eq!(first, "a\nb\n");
    let group = &broker.json(&["group", "describe", "workers"])[0];
    assert_eq!((&group["consumed"], &group["remaining"]), (&2.into(), &3.into()));
    let shown = broker.prints(&["group", "describe", "workers"]);
    assert!(shown.contains("t = Σ o_i") && shown.contains("r = Σ (m_i - o_i)"), "{shown}");

    broker.kill();
    let broker = Broker::start(&dir);
    assert_eq!(broker.prints(&["consume", "jobs", "--group", "workers"]), "c\nd\ne\n");
    let group = &broker.json(&["group", "describe", "workers"])[0];
    assert_eq!((&group["consumed"], &group["remaining"]), (&5.into(), &0.into()));
    assert_eq!(broker.json(&["group", "list"])[0]["group"], "workers");
}

#[test]
fn records_that_nobody_acknowledged_are_a_failure() {
    let broker = Broker::start(&fresh_dir("unacknowledged"));
    broker.prints(&["topic", "create", "small", "--config", "max.message.bytes=100"]);
    let long = "x".repeat(1_000);

    let said = error(&broker.run_with(&["produce", "small"], &long));

    assert!(said.contains("MESSAGE_TOO_LARGE"), "{said}");
}
