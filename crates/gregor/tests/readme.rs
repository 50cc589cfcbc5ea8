//! The tour of README.md, typed by a machine: every command in order, in an empty directory, on a
//! free port instead of 9092, each compared with what the page prints.
//!
//! `cargo run --release --bin gregor --` stands for the binary this test was built with. What needs
//! cargo itself is run elsewhere (`tests/tests/docs.rs` says where). A program that is not ours and
//! not installed is named and left out, unless `GREGOR_README_ALL` is set, as in CI.
#![expect(clippy::unwrap_used, reason = "how a test fails")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a reader has a machine")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tests::console::{self, Step};
use tests::markdown::Page;

/// How a reader starts the binary, and what stands for it here.
const BY_CARGO: &str = "cargo run --release --bin gregor -- ";
/// Programs of the tour that a machine may lack.
const FOREIGN: &[&str] = &["kcat"];
/// A command that takes longer hangs, seconds.
const TIMEOUT: &str = "60";

/// One reader at work.
struct Reader {
    folder: PathBuf,
    port: u16,
    broker: Option<Child>,
    missing: Vec<String>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.kill_broker();
    }
}

impl Reader {
    fn new() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme");
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(folder.join("bin")).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        let reader = Self { folder, port, broker: None, missing: Vec::new() };
        reader.install();
        reader
    }

    /// Puts a `gregor` on the path that knows the port.
    fn install(&self) {
        let (binary, port) = (env!("CARGO_BIN_EXE_gregor"), self.port);
        let script = format!(
            "#!/bin/sh\n\
             case \"$1\" in\n\
             serve) exec '{binary}' \"$@\" --override listeners=PLAINTEXT://localhost:{port} --override gregor.http.listener=localhost:0 ;;\n\
             topic|produce|consume|group)\n\
             exec '{binary}' \"$@\" --bootstrap-server 127.0.0.1:{port} ;;\n\
             *) exec '{binary}' \"$@\" ;;\n\
             esac\n"
        );
        let path = self.folder.join("bin/gregor");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn shell(&self, command: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("timeout");
        shell.args([TIMEOUT, "sh", "-c", &format!("{{ {command}\n}} 2>&1")]);
        shell.current_dir(&self.folder).stdin(Stdio::null());
        shell.env("PATH", format!("{}:{path}", self.folder.join("bin").display()));
        shell
    }

    /// Types one command and holds what it prints against the page.
    fn does(&mut self, step: &Step) -> Result<(), String> {
        let command = step.command.replace(BY_CARGO, "gregor ");
        if command.starts_with("cargo ") || command.starts_with("export PATH=") {
            return Ok(());
        }
        if command == "pkill -9 -x gregor" {
            self.kill_broker();
            return Ok(());
        }
        if command.starts_with("gregor serve") {
            return self.start_broker(&command, &step.output);
        }
        let mut words = command.split_whitespace();
        if words.any(|word| FOREIGN.contains(&word) && !self.has(word)) {
            self.missing.push(command);
            return Ok(());
        }
        let ported = command.replace(":9092", &format!(":{}", self.port));
        let output = self.shell(&ported).output().unwrap();
        let found = self.as_on_the_page(&String::from_utf8_lossy(&output.stdout));
        if !output.status.success() {
            return Err(format!("{}\n{found}", output.status));
        }
        if console::has_shape(&step.output, &found) { Ok(()) } else { Err(found) }
    }

    fn has(&self, program: &str) -> bool {
        let looked = self.shell(&format!("command -v {program}")).output();
        looked.is_ok_and(|output| output.status.success())
    }

    fn as_on_the_page(&self, text: &str) -> String {
        text.replace(&format!(":{}", self.port), ":9092")
    }

    /// Starts the broker in the background and waits until it prints the last line of `expected`.
    fn start_broker(&mut self, command: &str, expected: &[String]) -> Result<(), String> {
        let ready = expected.iter().rev().find(|line| !line.is_empty()).cloned();
        let ready = ready.ok_or("the page does not say what a ready broker prints")?;
        let mut shell = Command::new(self.folder.join("bin/gregor"));
        shell.args(command.split_whitespace().skip(1)).current_dir(&self.folder);
        let mut child = shell
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        self.broker = Some(child);
        let mut printed = String::new();
        for line in lines.by_ref() {
            let line = self.as_on_the_page(&line.unwrap());
            if console::line_matches(&ready, &line) {
                // Somebody has to go on reading, or the broker waits for its log one day.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(());
            }
            printed = printed + &line + "\n";
        }
        Err(printed)
    }

    fn kill_broker(&mut self) {
        if let Some(mut broker) = self.broker.take() {
            broker.kill().unwrap();
            broker.wait().unwrap();
        }
    }
}

#[test]
fn every_command_of_the_tour_prints_what_the_page_says() {
    let page = fs::read_to_string(tests::root().join("README.md")).unwrap();
    let steps = console::steps(&Page::read(&page));
    let mut reader = Reader::new();
    for step in &steps {
        if let Err(found) = reader.does(step) {
            let expected = step.output.join("\n");
            let (line, command) = (step.line, &step.command);
            panic!("README.md:{line}: $ {command}\nexpected\n{expected}\nbut it printed\n{found}");
        }
    }
    assert!(steps.len() > 10, "only {} commands", steps.len());
    println!("not installed here: {:?}", reader.missing);
    let all = std::env::var_os("GREGOR_README_ALL").is_some();
    assert!(!all || reader.missing.is_empty(), "not installed: {:?}", reader.missing);
}
