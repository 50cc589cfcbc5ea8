//! A broker as its operator meets it: health, readiness, the log, SIGHUP, the manual.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Broker, GREGOR, exchange, fresh_dir, run, text};

fn serve(dir: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(GREGOR);
    command.args(["serve", "--data", dir.to_str().unwrap()]);
    command.args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"]);
    command.args(["--override", "gregor.http.listener=127.0.0.1:0"]).args(more);
    command
}

#[test]
fn a_broker_says_that_it_is_alive_and_ready_and_in_which_directories() {
    let broker = Broker::start(&fresh_dir("healthy"));

    let alive: Value = serde_json::from_str(&broker.page("/health")).unwrap();
    let ready: Value = serde_json::from_str(&broker.page("/ready")).unwrap();

    assert_eq!(alive["alive"], true);
    assert_eq!((&ready["ready"], &ready["phase"]), (&true.into(), &"serving".into()));
    assert_eq!(ready["directories"][0]["state"], "online");
    assert_eq!(ready["directories"][0]["path"], broker.dir.to_str().unwrap());
    assert_eq!(broker.ask("GET", "/nothing", "", "").0, 404);
    assert_eq!(broker.ask("POST", "/ready", "", "").0, 405);
    assert_eq!(broker.ask("HEAD", "/metrics", "", ""), (200, String::new()));
}

#[test]
fn a_broker_without_one_of_its_directories_serves_and_is_not_ready() {
    let dir = fresh_dir("half");
    let dirs = format!("log.dirs={},{}", dir.join("a").display(), dir.join("b").display());
    let serve = || {
        let mut command = Command::new(GREGOR);
        command.args(["serve", "--override", &dirs]);
        command.args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"]);
        command.args(["--override", "gregor.http.listener=127.0.0.1:0"]);
        command
    };
    assert!(Broker::ready(serve(), &dir).stop());
    std::fs::remove_dir_all(dir.join("b")).unwrap();
    std::os::unix::fs::symlink("/proc/nothing/here", dir.join("b")).unwrap();

    let broker = Broker::ready(serve(), &dir);

    let (status, body) = broker.ask("GET", "/ready", "", "");
    let ready: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &ready["ready"]), (503, &false.into()), "{body}");
    let reason = ready["reasons"][0].as_str().unwrap();
    assert!(reason.contains("half/b is gone: "), "{reason}");
    let states: Vec<_> = ready["directories"].as_array().unwrap().iter().collect();
    assert_eq!((&states[0]["state"], &states[1]["state"]), (&"online".into(), &"failed".into()));
    assert!(broker.page("/metrics").contains("gregor_log_directories_failed 1\n"));
    assert!(broker.page("/health").contains("true"));
    broker.prints(&["topic", "create", "t"]);
}

#[test]
fn a_side_door_that_is_taken_or_shut_keeps_no_broker_from_serving() {
    let shut = Broker::start_with(&fresh_dir("shut"), &["gregor.http.listener=off"]);
    assert!(!shut.log.contains("/health"), "{}", shut.log);
    let first = Broker::start(&fresh_dir("first-door"));
    let taken = format!("gregor.http.listener={}", first.http());

    let refused = serve(&fresh_dir("second-door"), &["--override", &taken]).output().unwrap();

    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "what was asked for must be had");
    assert!(said.contains(&format!("cannot listen on {}", first.http())), "{said}");
}

#[test]
fn the_side_door_is_bounded_in_connections_in_time_and_in_bytes() {
    let bounds = ["gregor.http.max.connections=2", "gregor.http.timeout.ms=300"];
    let broker = Broker::start_with(&fresh_dir("bounded"), &bounds);
    let idle: Vec<_> = (0..6).map(|_| TcpStream::connect(broker.http()).unwrap()).collect();

    assert!(broker.page("/health").contains("alive"), "served once the idle ones are over");
    for mut stream in idle {
        let ended = std::io::Read::read(&mut stream, &mut [0; 1]);
        assert!(!matches!(ended, Ok(1..)), "it was never asked");
    }

    let head =
        format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let answer = exchange(&broker.http(), head.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert!(broker.page("/health").contains("alive"));
}

#[test]
fn one_place_at_the_side_door_serves_both_families() {
    let places = ["gregor.http.max.connections=1", "gregor.http.listener=localhost:0"];
    let broker = Broker::start_with(&fresh_dir("one-place"), &places);
    let (_, port) = broker.http().rsplit_once(':').map(|(_, port)| ((), port.to_owned())).unwrap();
    let mut doors = vec![format!("127.0.0.1:{port}")];
    if broker.log.contains(&format!("http://[::1]:{port}")) {
        doors.push(format!("[::1]:{port}"));
    }

    // Twice in a row each: one family does not wait for somebody to come by the other.
    for door in &doors {
        for _ in 0..2 {
            let answer = exchange(door, b"GET /health HTTP/1.0\r\n\r\n");
            assert!(answer.contains("\"alive\":true"), "{door}: {answer}");
        }
    }
}

#[test]
fn what_is_logged_changes_while_the_broker_runs_and_a_wish_that_is_none_changes_nothing() {
    let broker = Broker::start(&fresh_dir("levels"));
    assert_eq!(broker.page("/log-level"), "info\n");

    let (status, body) = broker.ask("PUT", "/log-level", "", "warn,wire=debug");
    assert_eq!((status, body.as_str()), (200, "warn,wire=debug\n"));
    broker.logs("the log level was info and is warn,wire=debug");
    drop(TcpStream::connect(&broker.at).unwrap());
    broker.logs("connection ended");

    let (status, body) = broker.ask("PUT", "/log-level", "", "loud");
    assert!(status == 400 && body.starts_with("write error, warn"), "{status} {body}");
    let from_a_page = "Origin: http://example.org\r\n";
    assert_eq!(broker.ask("PUT", "/log-level", from_a_page, "error").0, 403);
    assert_eq!(broker.page("/log-level"), "warn,wire=debug\n");
}

#[test]
fn sighup_reads_the_file_again_and_says_what_became_of_every_change() {
    let dir = fresh_dir("hup");
    let file = dir.join("server.properties");
    std::fs::write(&file, "num.partitions=2\n").unwrap();
    let broker =
        Broker::ready(serve(&dir.join("data"), &["--config", file.to_str().unwrap()]), &dir);

    let wished = "num.partitions=3\ngregor.log.level=debug\ngregor.metrics.max.partitions=no\n\
        log.cleaner.threads=4\nno.such.key=1\n";
    std::fs::write(&file, wished).unwrap();
    broker.signal("HUP");

    let said = broker.logs("num.partitions was 2");
    for line in [
        "reading",
        "gregor.log.level was the default and is debug: in force",
        "gregor.metrics.max.partitions is left at the default: ",
        "log.cleaner.threads was the default and is 4: without effect",
        "unknown key no.such.key",
        "num.partitions was 2 and is 3: needs a restart",
    ] {
        assert!(said.contains(line), "no '{line}' in\n{said}");
    }
    assert_eq!(broker.page("/log-level"), "debug\n");

    std::fs::write(&file, "this is\\").unwrap();
    std::fs::remove_file(&file).unwrap();
    broker.signal("HUP");
    broker.logs("everything is left as it was");
    assert!(broker.stop());
}

#[test]
fn sighup_puts_in_force_what_clients_may_change_below_what_they_have_set() {
    let dir = fresh_dir("hup-live");
    let file = dir.join("server.properties");
    std::fs::write(&file, "log.retention.ms=3600000\nmax.connections=50\n").unwrap();
    let broker =
        Broker::ready(serve(&dir.join("data"), &["--config", file.to_str().unwrap()]), &dir);
    broker.prints(&["topic", "create", "t"]);
    let large = "x".repeat(5_000);
    let fits = || broker.run_with(&["produce", "t"], &large).status.success();
    let shown = |key: &str| {
        let of_key = broker.json(&["config", "describe", key]);
        let one = of_key.iter().find(|line| line["key"] == key).unwrap();
        format!("{} from {}", one["value"].as_str().unwrap(), one["source"].as_str().unwrap())
    };
    assert!(fits());
    broker.prints(&["config", "alter", "--broker", "1", "--set", "compression.type=lz4"]);

    let wished = "compression.type=zstd\nlisteners=PLAINTEXT://127.0.0.1:0\n\
        log.retention.minutes=9\nmessage.max.bytes=1000\n";
    std::fs::write(&file, wished).unwrap();
    broker.signal("HUP");

    let said = broker.logs("message.max.bytes was");
    for line in [
        "compression.type was the default and is zstd: is overridden by the dynamic value of \
         broker 1, lz4",
        "log.retention.minutes was the default and is 9: needs a restart",
        "log.retention.ms was 3600000 and is the default: in force",
        "max.connections was 50 and is the default: in force",
        "message.max.bytes was the default and is 1000: in force",
    ] {
        assert!(said.contains(line), "no '{line}' in\n{said}");
    }
    assert!(!fits(), "no more than 1000 bytes");
    assert_eq!(shown("message.max.bytes"), "1000 from file or command line");
    assert_eq!(shown("compression.type"), "lz4 from this broker, changed while it ran");
    let of_topic = broker.prints(&["config", "describe", "--topic", "t", "retention.ms"]);
    assert!(of_topic.contains("604800000  default"), "{of_topic}");

    broker.prints(&["config", "alter", "--broker", "1", "--delete", "compression.type"]);
    assert_eq!(shown("compression.type"), "zstd from file or command line");
    assert!(broker.stop());
}

#[test]
fn listeners_set_while_it_runs_are_kept_and_shown_and_change_nothing_not_at_a_start_either() {
    let dir = fresh_dir("listeners-set");
    let broker = Broker::start(&dir);

    let set = "listeners=PLAINTEXT://127.0.0.1:1";
    broker.prints(&["config", "alter", "--broker", "1", "--set", set]);

    let shown = |broker: &Broker| broker.prints(&["config", "describe", "listeners"]);
    assert!(shown(&broker).contains("PLAINTEXT://127.0.0.1:1 "), "{}", shown(&broker));
    assert!(broker.stop());
    let broker = Broker::start(&dir);
    assert_ne!(broker.at, "127.0.0.1:1");
    assert!(shown(&broker).contains("PLAINTEXT://127.0.0.1:1 "), "{}", shown(&broker));
    assert!(broker.stop());
}

#[test]
fn sighup_without_a_file_is_the_end_of_the_terminal_and_a_clean_stop() {
    let dir = fresh_dir("hangup");
    let broker = Broker::start(&dir);

    broker.signal("HUP");

    broker.logs("stopped");
    assert!(broker.ends());
    assert!(Broker::start(&dir).log.contains("it was closed cleanly"));
}

#[test]
fn the_log_is_json_on_demand_whichever_way_it_is_asked_for() {
    for more in [&["--log-format", "json"][..], &["--log-json"]] {
        let dir = fresh_dir("json-log");
        let broker = Broker::ready(serve(&dir, more), &dir);
        for line in broker.log.lines() {
            let object: Value = serde_json::from_str(line).unwrap();
            assert!(object["fields"]["message"].is_string(), "{line}");
        }
    }
}

#[test]
fn the_manual_has_a_page_per_command_and_pages_of_keys_and_metrics() {
    let dir = fresh_dir("man");

    text(&run(&["man", dir.to_str().unwrap()], ""));

    let page = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    assert!(page("man1/gregor.1").contains("gregor\\-serve(1)"));
    assert!(page("man1/gregor-topic-create.1").contains("partitions"));
    let keys = page("man5/gregor.properties.5");
    assert!(keys.contains("gregor.http.listener") && keys.contains("min.insync.replicas"));
    assert!(page("man7/gregor-metrics.7").contains("gregor_request_duration_seconds"));
    assert!(!dir.join("man1/gregor-help.1").exists());
}
