//! A broker process and commands against it.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// The binary under test.
pub const GREGOR: &str = env!("CARGO_BIN_EXE_gregor");

/// An empty directory of its own.
pub fn fresh_dir(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// A broker on a port of its own; killed when dropped.
pub struct Broker {
    child: Child,
    /// Its data.
    pub dir: PathBuf,
    /// `127.0.0.1:port`.
    pub at: String,
    /// What it logged up to its ready line.
    pub log: String,
}

impl Broker {
    /// Starts a broker and waits for its ready line.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    /// Starts a broker with further keys and waits for its ready line.
    pub fn start_with(dir: &Path, keys: &[&str]) -> Self {
        let mut command = Command::new(GREGOR);
        command
            .args(["serve", "--data", dir.to_str().unwrap()])
            .args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"])
            .args(["--override", "group.initial.rebalance.delay.ms=0"])
            .args(["--override", "offsets.topic.num.partitions=4"]);
        for key in keys {
            command.args(["--override", key]);
        }
        Self::ready(command, dir)
    }

    /// Runs this `serve` and waits for its ready line.
    pub fn ready(mut command: Command, dir: &Path) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        for line in lines.by_ref() {
            let line = line.unwrap();
            seen = seen + &line + "\n";
            if let Some((_, rest)) = line.split_once(" is ready on ") {
                let at = rest.split([',', ' ']).next().unwrap().to_owned();
                // Somebody has to go on reading, or the broker waits for its log one day.
                std::thread::spawn(move || lines.for_each(drop));
                return Self { child, dir: dir.to_owned(), at, log: seen };
            }
        }
        drop(child.kill());
        drop(child.wait());
        panic!("no ready line:\n{seen}");
    }

    /// Runs a command against it.
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, "")
    }

    /// Runs a command against it with this standard input.
    pub fn run_with(&self, args: &[&str], input: &str) -> Output {
        run(&[args, &["--bootstrap-server", &self.at]].concat(), input)
    }

    /// What a command prints that must succeed.
    pub fn prints(&self, args: &[&str]) -> String {
        text(&self.run(args))
    }

    /// The objects that a command prints with `--json`.
    pub fn json(&self, args: &[&str]) -> Vec<Value> {
        json(&self.run(&[args, &["--json"]].concat()))
    }

    /// SIGTERM; whether it ended well.
    pub fn stop(mut self) -> bool {
        let sent = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        sent.success() && self.child.wait().unwrap().success()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port that nobody is given by chance: below those that the system hands out.
pub fn port_of_our_own() -> u16 {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let free = |port: &u16| {
        let bound = ["127.0.0.1", "::1"].map(|host| std::net::TcpListener::bind((host, *port)));
        bound.iter().all(|bound| !matches!(bound, Err(e) if e.kind() == ErrorKind::AddrInUse))
    };
    (first..first + 1_000).find(free).unwrap()
}

/// Runs the binary.
pub fn run(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(GREGOR)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone already.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

/// What was printed by a command that must have succeeded.
pub fn text(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The error of a command that must have failed with exit code 1.
pub fn error(output: &Output) -> String {
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    error
}

/// Every line as JSON.
pub fn json(output: &Output) -> Vec<Value> {
    text(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
