//! Stops that come too early, or meet a broken disk, and the way out of a setting that locks out.

use std::process::Command;

use crate::support::{Broker, GREGOR, fresh_dir};

#[test]
fn a_signal_while_the_broker_starts_ends_it_and_the_next_start_has_everything() {
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let dir = fresh_dir("stopped-early");
        let broker = Broker::start(&dir);
        broker.prints(&["topic", "create", "t"]);
        broker.kill();
        // A file that never comes to its end: the start waits for it.
        let (identity, kept) = (dir.join("identity"), dir.join("kept"));
        std::fs::rename(&identity, &kept).unwrap();
        assert!(Command::new("mkfifo").arg(&identity).status().unwrap().success());
        let mut command = Command::new(GREGOR);
        command.args(["serve", "--data", dir.to_str().unwrap()]);
        command.args(["--override", "gregor.http.listener=127.0.0.1:0"]);
        // The side door is open before the directory is, and signals are watched from before that.
        let starting = Broker::says(command, &dir, "are served on http://");

        starting.signal(signal);

        starting.logs("the start ends here");
        assert_eq!(starting.exit_code(), Some(code), "{signal}");
        std::fs::rename(&kept, &identity).unwrap();
        let broker = Broker::start(&dir);
        assert_eq!(broker.json(&["topic", "list"]).len(), 1);
        assert!(broker.stop());
    }
}

#[test]
fn a_stop_that_cannot_close_its_directory_is_a_failure() {
    let dir = fresh_dir("not-closed");
    let broker = Broker::start(&dir);
    // What closes the directory cannot be put in its place.
    std::fs::create_dir_all(dir.join("seal/in-the-way")).unwrap();

    broker.signal("TERM");

    let said = broker.logs("error: ");
    assert!(said.contains("stopped without a seal in "), "{said}");
    let wanted = format!("stopped, but could not close {}", dir.display());
    assert!(said.contains(&wanted), "{said}");
    assert!(!broker.ends());
}

#[test]
fn a_start_takes_back_what_was_set_while_it_ran_and_nothing_else() {
    let dir = fresh_dir("taken-back");
    let broker = Broker::start(&dir);
    let alter = |who: &[&str], set: &str| {
        broker.prints(&[&["config", "alter", "--set", set], who].concat());
    };
    alter(&["--broker", "1"], "message.max.bytes=1");
    alter(&[], "message.max.bytes=2");
    alter(&["--broker", "1"], "compression.type=lz4");
    assert!(broker.stop());
    let serve = |more: &[&str]| {
        let mut command = Command::new(GREGOR);
        command.args(["serve", "--data", dir.to_str().unwrap()]);
        command.args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"]);
        command.args(["--override", "gregor.http.listener=127.0.0.1:0"]).args(more);
        command
    };

    let broker = Broker::ready(serve(&["--drop-dynamic", "message.max.bytes"]), &dir);

    for taken in ["message.max.bytes=1, set for this broker", "message.max.bytes=2, set for all"] {
        assert!(broker.log.contains(taken), "{}", broker.log);
    }
    assert!(broker.stop());
    let broker = Broker::ready(serve(&[]), &dir);
    let shown = |key: &str| broker.prints(&["config", "describe", key, "--all"]);
    assert!(shown("message.max.bytes").contains("1048588  default"), "and it stays so");
    assert!(shown("compression.type").contains("lz4"));
    let refused = serve(&["--drop-dynamic", "max.conections"]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("did you mean max.connections?"), "{said}");
}
