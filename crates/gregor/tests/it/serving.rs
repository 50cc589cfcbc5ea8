//! A broker's start, as its log and its sockets show it.

use std::net::TcpStream;
use std::process::Command;

use crate::support::{Broker, GREGOR, error, fresh_dir, port_of_our_own, run, text};

#[test]
fn a_wildcard_serves_both_families_and_says_that_clients_are_told_this_machine_only() {
    let port = port_of_our_own();
    let listener = format!("listeners=PLAINTEXT://:{port}");

    let broker = Broker::start_with(&fresh_dir("wildcard"), &[&listener]);

    let log = &broker.log;
    assert!(log.contains(&format!("clients are told 127.0.0.1:{port}")), "{log}");
    assert!(log.contains(&format!("advertised.listeners=PLAINTEXT://HOST:{port}")), "{log}");
    assert!(!log.contains("not listening"), "{log}");
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        TcpStream::connect(("::1", port)).unwrap();
    }
    let told = Broker::start_with(&fresh_dir("told"), &["listeners=PLAINTEXT://localhost:0"]);
    assert!(!told.log.contains("clients are told"), "{}", told.log);
}

#[test]
fn a_port_that_is_taken_on_the_second_address_is_an_error() {
    let Ok(taken) = std::net::TcpListener::bind("[::1]:0") else { return };
    let port = taken.local_addr().unwrap().port();
    let dir = fresh_dir("second-taken");
    let data = dir.to_str().unwrap();
    let listener = format!("listeners=PLAINTEXT://localhost:{port}");

    let said = error(&run(&["serve", "--data", data, "--override", &listener], ""));

    assert!(said.contains(&format!("cannot listen on [::1]:{port}")), "{said}");
    let found = text(&run(&["dump", data], ""));
    assert!(
        found.contains("closed cleanly"),
        "the directory is not left as after a crash: {found}"
    );
}

#[test]
fn a_log_filter_that_is_none_is_wrong_usage_and_the_ready_line_comes_whatever_is_filtered() {
    let dir = fresh_dir("filtered");
    let serve = |filter: &str| {
        let mut command = Command::new(GREGOR);
        command.env("GREGOR_LOG", filter).args(["serve", "--data", dir.to_str().unwrap()]);
        command.args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"]);
        command
    };

    let refused = serve("a=b=c").output().unwrap();

    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    let wanted = "error: GREGOR_LOG=a=b=c: write error, warn, info, debug, or module=level, separated by commas\n";
    assert_eq!(said, wanted);
    let broker = Broker::ready(serve("error"), &dir);
    assert_eq!(broker.log.lines().count(), 1, "{}", broker.log);
}

#[test]
fn a_directory_that_cannot_be_served_is_named_with_the_flag_that_chooses_another() {
    let broker = Broker::start(&fresh_dir("in-use"));
    let used = broker.dir.to_str().unwrap();
    let said = error(&run(&["serve", "--data", used], ""));
    assert!(said.contains("in use by another process") && said.contains("--data DIR"), "{said}");
    let file = fresh_dir("no-dir").join("file");
    std::fs::write(&file, "").unwrap();
    let said = error(&run(&["serve", "--data", file.to_str().unwrap()], ""));
    assert!(said.contains("is a file, not a directory"), "{said}");
}

#[test]
fn the_log_says_in_words_what_the_last_process_left() {
    let dir = fresh_dir("in-words").join("data");
    let first = Broker::start(&dir);
    let shown = dir.display();
    assert!(first.log.contains(&format!("created data directory {shown}")), "{}", first.log);
    first.prints(&["topic", "create", "t"]);
    first.kill();
    let second = Broker::start(&dir);
    let wanted = format!("opened {shown}: the last process was killed; 1 log checked, 0 bytes cut");
    assert!(second.log.contains(&wanted), "{}", second.log);
    assert!(second.stop());
    let third = Broker::start(&dir);
    let wanted = format!("opened {shown}: it was closed cleanly; 1 log");
    assert!(third.log.contains(&wanted), "{}", third.log);
}

#[test]
fn the_room_of_a_journal_file_is_written_and_not_only_reserved() {
    let broker = Broker::start(&fresh_dir("journal-room"));

    let file = std::fs::File::open(broker.dir.join("journal/0")).unwrap();
    let first_hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(0)).unwrap();

    let len = file.metadata().unwrap().len();
    assert!(len >= 256 * 1024, "{len}");
    assert_eq!(first_hole, len, "what was only reserved counts as a hole");
}
