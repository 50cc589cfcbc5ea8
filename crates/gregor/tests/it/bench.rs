//! `gregor bench` measures a broker that it starts itself, or one that runs.

use serde_json::Value;

use crate::support::{Broker, fresh_dir, json, run, text};

/// A short measurement against a broker that the bench starts in a folder of its own.
fn measured(name: &str, args: &[&str]) -> Value {
    let dir = fresh_dir(name);
    let short = ["--warmup", "0.05", "--seconds", "0.2", "--json", "--dir", dir.to_str().unwrap()];
    let outcome = json(&run(&[&["bench"], args, &short].concat(), ""));
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "the folder is removed");
    outcome.into_iter().next().unwrap()
}

fn is_sound(outcome: &Value) {
    assert_eq!(outcome["broker"], "gregor");
    assert!(outcome["requests"].as_u64().unwrap() > 0, "{outcome}");
    assert!(outcome["mb_per_s"].as_f64().unwrap() > 0.0, "{outcome}");
    assert!(outcome["resident_mb"].as_f64().unwrap() > 1.0, "{outcome}");
    let latency = &outcome["latency_us"];
    assert!(latency["p50"].as_u64().unwrap() <= latency["p99"].as_u64().unwrap(), "{outcome}");
}

#[test]
fn appends_over_several_connections_and_partitions_are_measured_and_drawn() {
    let drawing = fresh_dir("bench-drawing").join("latency.svg");
    let load = ["--connections", "2", "--partitions", "3", "--batch-bytes", "2000"];
    let plot = ["--plot", drawing.to_str().unwrap()];
    is_sound(&measured("bench-produce", &[&["produce"], &load[..], &plot].concat()));
    assert!(std::fs::read_to_string(drawing).unwrap().starts_with("<svg"));
}

#[test]
fn reads_of_several_batches_at_a_time_are_measured() {
    let outcome = measured("bench-fetch", &["fetch", "--fetch-bytes", "100000"]);
    is_sound(&outcome);
    let bytes = |name: &str| outcome[name].as_f64().unwrap();
    let of_one = bytes("mb_per_s") * bytes("seconds") * 1e6 / bytes("requests");
    assert!(of_one > 60_000.0, "an answer has {of_one} bytes");
}

#[test]
fn a_load_at_a_fixed_rate_is_the_load_that_was_asked_for() {
    let outcome = measured("bench-mixed", &["mixed", "--rate", "2", "--batch-bytes", "2000"]);
    is_sound(&outcome);
    // Half of it is read back; a busy machine may be late with some of it.
    assert!(outcome["mb_per_s"].as_f64().unwrap() < 8.0, "{outcome}");
}

#[test]
fn a_running_broker_is_measured_where_it_runs() {
    let broker = Broker::start(&fresh_dir("bench-running"));
    let args = ["bench", "produce", "--warmup", "0.05", "--seconds", "0.2"];
    let printed = broker.prints(&args);
    assert!(printed.contains("unknown (--pid tells)"), "{printed}");
    let topics = broker.prints(&["topic", "list"]);
    assert!(!topics.contains("gregor-bench"), "the topic is deleted: {topics}");
    assert!(broker.stop());
}

#[test]
fn idle_connections_are_counted_and_weighed() {
    let dir = fresh_dir("bench-connections");
    let args = ["bench", "connections", "--count", "30", "--seconds", "0.1", "--dir"];
    let printed = text(&run(&[&args[..], &[dir.to_str().unwrap()]].concat(), ""));
    assert!(printed.starts_with("30 idle connections to gregor: "), "{printed}");
}

#[test]
fn growth_is_told_relative_to_the_first() {
    let dir = fresh_dir("bench-growth");
    let few = ["--partitions", "1,2", "--connections", "1", "--rounds", "1", "--seconds", "0.3"];
    let args = [&["bench", "growth", "--json", "--dir", dir.to_str().unwrap()], &few[..]].concat();
    let lines = json(&run(&args, ""));
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["ratio"], &lines[1]["partitions"]), (&1.0.into(), &2.into()));
}
