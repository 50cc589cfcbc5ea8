//! A broker process and commands against it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

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
    /// The lines behind it.
    later: Receiver<String>,
}

/// A broker that does not say within this time what it has to say does not say it.
const PATIENCE: Duration = Duration::from_secs(60);

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
            .args(["--override", "gregor.http.listener=127.0.0.1:0"])
            .args(["--override", "offsets.topic.num.partitions=4"]);
        for key in keys {
            command.args(["--override", key]);
        }
        Self::ready(command, dir)
    }

    /// Runs this `serve` and waits for its ready line.
    pub fn ready(command: Command, dir: &Path) -> Self {
        Self::says(command, dir, " is ready on ")
    }

    /// Runs this `serve` and waits for a line that has `words` in it. Behind the words stands where it
    /// is served.
    pub fn says(mut command: Command, dir: &Path, words: &str) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        for line in lines.by_ref() {
            let line = line.unwrap();
            seen = seen + &line + "\n";
            if let Some((_, rest)) = line.split_once(words) {
                let at = rest.split([',', ' ']).next().unwrap().to_owned();
                let (said, later) = channel();
                // Somebody has to go on reading, or the broker waits for its log one day.
                let read = move || lines.map_while(Result::ok).for_each(|l| drop(said.send(l)));
                std::thread::spawn(read);
                return Self { child, dir: dir.to_owned(), at, log: seen, later };
            }
        }
        drop(child.kill());
        drop(child.wait());
        panic!("no line with '{words}':\n{seen}");
    }

    /// The value of a metric without labels, as soon as it is `wanted`.
    pub fn until_metric(&self, name: &str, wanted: &str) {
        let line = format!("{name} {wanted}");
        let until = std::time::Instant::now() + PATIENCE;
        while !self.page("/metrics").lines().any(|found| found == line) {
            assert!(std::time::Instant::now() < until, "never {line}");
        }
    }

    /// Everything it logs behind its ready line up to a line that has `words` in it.
    pub fn logs(&self, words: &str) -> String {
        let mut seen = String::new();
        loop {
            let line = self.later.recv_timeout(PATIENCE);
            seen += &line.unwrap_or_else(|_| panic!("no '{words}' in:\n{seen}"));
            seen.push('\n');
            if seen.contains(words) {
                return seen;
            }
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Where its side door is: `127.0.0.1:port`.
    pub fn http(&self) -> String {
        let (_, rest) = self.log.split_once(" served on http://").unwrap();
        rest.split(['\n', ' ', '"']).next().unwrap().to_owned()
    }

    /// Status and body of a request to its side door.
    pub fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let answer = exchange(&self.http(), (head + body).as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).unwrap_or_default();
        (status.parse().unwrap_or_else(|_| panic!("{answer}")), body.to_owned())
    }

    /// The body of a path that is answered with 200.
    pub fn page(&self, path: &str) -> String {
        let (status, body) = self.ask("GET", path, "", "");
        assert_eq!(status, 200, "{body}");
        body
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
    pub fn stop(self) -> bool {
        self.signal("TERM");
        self.ends()
    }

    /// Waits for its end; its exit code.
    pub fn exit_code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Waits for its end; whether it ended well.
    pub fn ends(self) -> bool {
        self.exit_code() == Some(0)
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

/// Everything that comes back for these bytes until the connection ends.
pub fn exchange(at: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A connection that is reset has said what it had to say.
    drop(stream.read_to_end(&mut answer));
    String::from_utf8(answer).unwrap()
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

/// Runs the binary with a standard output that nobody reads.
pub fn run_unread(args: &[&str], input: &str) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = Command::new(GREGOR)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
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
