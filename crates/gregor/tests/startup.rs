//! How long it takes from exec to the first answer.
//!
//! In a file of its own, so that no other test runs beside it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "how a test fails")]
#![expect(clippy::print_stdout, reason = "the figures are wanted")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "real time is measured")]
#![expect(dead_code, reason = "the support is shared with the other tests")]

#[path = "it/support.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{Broker, GREGOR, fresh_dir};

/// The promise: median of ten.
const LIMIT: Duration = Duration::from_millis(100);
/// ApiVersions in version 0 with correlation id 1 and without a client id.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
/// A broker that takes longer does not start, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// From exec to the first bytes of an ApiVersions answer.
fn start_and_ask(dir: &Path) -> Duration {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listener = format!("listeners=PLAINTEXT://127.0.0.1:{}", free.port());
    let begin = Instant::now();
    let mut broker = Command::new(GREGOR)
        .args(["serve", "--data", dir.to_str().unwrap(), "--override", &listener])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stream = loop {
        if let Ok(stream) = TcpStream::connect(free) {
            break stream;
        }
        assert!(begin.elapsed() < PATIENCE, "no connection");
        std::thread::yield_now();
    };
    stream.write_all(&API_VERSIONS).unwrap();
    let mut head = [0; 10];
    stream.read_exact(&mut head).unwrap();
    let took = begin.elapsed();
    assert_eq!(head[4..], [0, 0, 0, 1, 0, 0], "correlation id 1, no error");
    drop(stream);
    stop(&mut broker);
    took
}

fn stop(broker: &mut Child) {
    assert!(Command::new("kill").arg(broker.id().to_string()).status().unwrap().success());
    assert!(broker.wait().unwrap().success());
}

fn median(mut starts: Vec<Duration>, what: &str) -> Duration {
    starts.sort();
    let median = (starts[4] + starts[5]) / 2;
    println!("exec to first ApiVersions answer, {what}: median {median:?} of {starts:?}");
    median
}

#[test]
fn the_first_answer_comes_within_100_ms_of_exec() {
    let empty = |run| start_and_ask(&fresh_dir(&format!("startup-{run}")).join("data"));
    let empty = median((0..10).map(empty).collect(), "empty directory");

    let dir = fresh_dir("startup-topics");
    let broker = Broker::start(&dir);
    for number in 0..100 {
        broker.prints(&["topic", "create", &format!("topic-{number}")]);
    }
    assert!(broker.stop());
    let many = median((0..10).map(|_| start_and_ask(&dir)).collect(), "100 topics");

    assert!(empty <= LIMIT, "{empty:?} on an empty directory");
    assert!(many <= LIMIT, "{many:?} with 100 topics");
}
