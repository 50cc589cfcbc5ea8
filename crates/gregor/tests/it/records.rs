//! Records in and out, and groups.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use crate::support::{Broker, GREGOR, error, fresh_dir, port_of_our_own, text};

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
fn headers_nulls_and_every_codec_come_back_as_they_were_written() {
    let broker = Broker::start(&fresh_dir("headers"));
    broker.prints(&["topic", "create", "words"]);
    let how = ["--headers-separator", "|", "--key-separator", ":", "--null", "-"];
    for (index, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].iter().enumerate() {
        let produce = ["produce", "words", "--headers", "of=all", "--compression", codec];
        let made = broker.run_with(&[&produce[..], &how].concat(), "lang=en,tone=|k:v\nk:-\n");
        assert!(text(&made).starts_with("2 records acknowledged\n"));
        let from = (2 * index).to_string();
        let format = "%h;%k;%s\\n";
        let read = broker.prints(&["consume", "words", "--from-offset", &from, "--format", format]);
        assert_eq!(read, "lang=en,tone=,of=all;k;v\nof=all;k;\n", "{codec}");
    }
    let records = broker.json(&["consume", "words", "--from-time", "0", "--max", "2"]);
    assert_eq!(records[1]["value"], serde_json::Value::Null);
    let codecs = text(&crate::support::run(
        &["dump", broker.dir.to_str().unwrap(), "--topic", "words", "--batches"],
        "",
    ));
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        assert!(codecs.contains(&format!("epoch 0, {codec}, time")), "{codec}: {codecs}");
    }
}

#[test]
fn a_long_input_shows_how_far_it_is_on_a_terminal_and_nothing_in_a_pipe() {
    let dir = fresh_dir("progress");
    let broker = Broker::start(&dir.join("data"));
    broker.prints(&["topic", "create", "words"]);
    let lines = dir.join("lines");
    std::fs::write(&lines, "a line of some length\n".repeat(200_000)).unwrap();
    let lines = lines.to_str().unwrap();

    let piped = broker.run(&["produce", "words", lines]);
    assert_eq!(String::from_utf8_lossy(&piped.stderr), "");
    // `script` gives it a terminal.
    let command = format!("{GREGOR} produce words {lines} -b {}", broker.at);
    let shown = Command::new("script").args(["-qec", &command, "/dev/null"]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("MiB of 4.20 MiB") || shown.contains("KiB of 4.20 MiB"), "{shown}");
    assert!(shown.contains("200000 records acknowledged"), "{shown}");
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

/// Reads lines of a running command until one holds `text`.
fn until(lines: &mut impl Iterator<Item = std::io::Result<String>>, text: &str) {
    let seen = lines.map(Result::unwrap).any(|line| line.contains(text));
    assert!(seen, "it ended without '{text}'");
}

#[test]
fn a_follower_in_a_group_or_alone_lives_through_a_restart_of_the_broker_and_says_so_once() {
    let dir = fresh_dir("followed");
    let listener = format!("listeners=PLAINTEXT://127.0.0.1:{}", port_of_our_own());
    let broker = Broker::start_with(&dir, &[&listener]);
    let at = broker.at.clone();
    broker.prints(&["topic", "create", "news"]);
    text(&broker.run_with(&["produce", "news"], "one\n"));
    let follow = |group: &[&str]| -> Child {
        Command::new(GREGOR)
            .args(["consume", "news", "--follow", "-b", &at])
            .args(group)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut followers = [follow(&[]), follow(&["--group", "readers"])];
    let mut streams = Vec::new();
    for follower in &mut followers {
        let mut out = BufReader::new(follower.stdout.take().unwrap()).lines();
        until(&mut out, "one");
        streams.push((out, BufReader::new(follower.stderr.take().unwrap()).lines()));
    }

    broker.kill();
    for (_, err) in &mut streams {
        until(err, &format!("lost {at}, trying again for 30 s"));
    }
    let broker = Broker::start_with(&dir, &[&listener]);
    text(&broker.run_with(&["produce", "news"], "two\n"));

    for ((out, err), follower) in streams.iter_mut().zip(&mut followers) {
        until(out, "two");
        drop(follower.kill());
        follower.wait().unwrap();
        assert_eq!(err.count(), 0, "said once");
    }
}

/// The program, with somebody who types what it reads.
fn typing(arguments: &[&str]) -> Child {
    let mut command = Command::new(GREGOR);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn a_pause_beyond_the_idle_limit_costs_no_record_that_is_sent_once() {
    let idle = "connections.max.idle.ms=300";
    let broker = Broker::start_with(&fresh_dir("pauses"), &[idle]);
    for (acks, said) in [("1", "2 records acknowledged"), ("0", "sent 2 records to t0; none")] {
        let topic = format!("t{acks}");
        broker.prints(&["topic", "create", &topic]);
        let mut typing = typing(&["produce", &topic, "--acks", acks, "-b", &broker.at]);
        let mut input = typing.stdin.take().unwrap();
        input.write_all(b"one\n").unwrap();
        let stored = format!("gregor_log_end_offset{{topic=\"{topic}\",partition=\"0\"}}");
        broker.until_metric(&stored, "1");
        broker.until_metric("gregor_connections", "0");

        input.write_all(b"two\n").unwrap();
        drop(input);

        let made = text(&typing.wait_with_output().unwrap());
        assert!(made.starts_with(said), "{made}");
        assert_eq!(broker.prints(&["consume", &topic]), "one\ntwo\n");
    }
}

#[test]
fn what_nobody_acknowledges_is_no_success_once_its_connection_is_gone() {
    let broker = Broker::start(&fresh_dir("blind"));
    broker.prints(&["topic", "create", "small", "--config", "max.message.bytes=100"]);
    let long = "x".repeat(500);

    let made = broker.run_with(&["produce", "small", "--acks", "0"], &format!("{long}\n"));

    let said = error(&made);
    assert!(said.contains("1 of 1 record was not sent, or lost on the way"), "{said}");
    let shown = String::from_utf8(made.stdout).unwrap();
    assert_eq!(shown, "sent 0 of 1 record to small; none is acknowledged\n");
}

#[test]
fn a_record_that_was_refused_before_a_pause_is_no_success_whatever_comes_after_it() {
    let broker = Broker::start(&fresh_dir("blind-pause"));
    broker.prints(&["topic", "create", "compact", "--config", "cleanup.policy=compact"]);
    let mut typing =
        typing(&["produce", "compact", "--acks", "0", "--key-separator", ":", "-b", &broker.at]);
    let mut input = typing.stdin.take().unwrap();
    input.write_all(b"bad\n").unwrap();
    broker.until_metric("gregor_connections", "0");

    drop(input.write_all(b"k:good\n"));
    drop(input);

    let made = typing.wait_with_output().unwrap();
    assert!(!made.status.success(), "{}", text(&made));
    let said = error(&made);
    assert!(said.contains("not sent, or lost on the way"), "{said}");
}

#[test]
fn records_that_nobody_acknowledged_are_a_failure() {
    let broker = Broker::start(&fresh_dir("unacknowledged"));
    broker.prints(&["topic", "create", "small", "--config", "max.message.bytes=100"]);
    let long = "x".repeat(1_000);

    let made = broker.run_with(&["produce", "small"], &format!("short\n{long}\nlost\n"));

    let said = error(&made);
    assert!(said.contains("error: line 2 is too large: a batch of 10"), "{said}");
    let rest = " bytes, 100 allowed; it was refused, 1 line behind it was not sent\n";
    assert!(said.contains(rest) && said.contains("hint: shorten it"), "{said}");
    assert!(!said.contains("may or may not"), "{said}");
    let shown = String::from_utf8(made.stdout).unwrap();
    assert!(shown.starts_with("1 of 3 records acknowledged\n"), "{shown}");
    let lines = "twenty bytes of text\n".repeat(10);
    let made = text(&broker.run_with(&["produce", "small"], &lines));
    assert!(made.starts_with("10 records acknowledged\n"), "lines have batches with room: {made}");
}

#[test]
fn a_new_group_is_waited_for_longer_than_the_timeout_by_as_long_as_the_broker_waits() {
    let delay = "group.initial.rebalance.delay.ms=3000";
    let broker = Broker::start_with(&fresh_dir("delayed"), &[delay]);
    broker.prints(&["topic", "create", "t"]);
    text(&broker.run_with(&["produce", "t"], "a\n"));

    let read = broker.prints(&["consume", "t", "--group", "g", "--timeout", "2.5"]);

    assert_eq!(read, "a\n");
}

#[test]
fn a_start_beyond_the_end_is_refused_and_the_end_itself_is_not() {
    let broker = Broker::start(&fresh_dir("beyond"));
    broker.prints(&["topic", "create", "t"]);
    let empty = error(&broker.run(&["consume", "t", "--from", "1"]));
    assert!(empty.contains("partition 0 is empty; --from 1 is beyond"), "{empty}");
    text(&broker.run_with(&["produce", "t"], "a\nb\n"));

    let said = error(&broker.run(&["consume", "t", "--from", "999"]));

    assert!(said.contains("partition 0 holds offsets 0 to 1; --from 999 is beyond"), "{said}");
    assert!(said.contains("hint: --from end waits for what comes"), "{said}");
    assert_eq!(broker.prints(&["consume", "t", "--from", "2"]), "");
}
