//! Whom the bench measures: a broker of this program, the floor, genuine Kafka, or one that runs.
//!
//! Invariants: a program started here ends with its [`Broker`], and so does its folder; a topic is
//! used once every partition of it has a leader that answers.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use env::Env;
use env_tokio::TokioEnv;
use serde::Serialize;
use wire::client::{Client, ClientError, TopicWish, WhichOffset};
use wire::error_code::ErrorCode;

use super::process::{Usage, usage};
use crate::cli;
use crate::failure::Failure;
use crate::output::aside;
use crate::remote;

/// How long a program may take until it answers.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a topic may take until all its partitions are led.
const LED_MAX: Duration = Duration::from_secs(60);
/// Pause between two tries.
const TRY_EVERY: Duration = Duration::from_millis(2);
/// What brokers of this program and the floor print before their address.
const READY: &str = " is ready on ";

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The program of `tests/floor`, which has every topic.
    Floor,
    /// This one.
    Gregor,
    /// Apache Kafka.
    Kafka,
    /// Whatever runs at an address.
    Other,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Floor => "floor",
            Self::Gregor => "gregor",
            Self::Kafka => "kafka",
            Self::Other => "other",
        })
    }
}

/// A broker to be measured.
#[derive(Debug)]
pub struct Broker {
    /// Which program.
    pub kind: Kind,
    /// Where it listens.
    pub at: SocketAddr,
    /// Its process, if that is known.
    pub pid: Option<u32>,
    child: Option<Child>,
    dir: Option<PathBuf>,
    begun: Instant,
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
        if let Some(dir) = self.dir.take()
            && let Err(error) = std::fs::remove_dir_all(&dir)
        {
            aside(&format!("{} is left: {error}", dir.display()));
        }
    }
}

impl Broker {
    /// The broker that the arguments name.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be started or found.
    pub fn of(target: &cli::Target) -> Result<Self, Failure> {
        let Some(servers) = &target.bootstrap_server else {
            return Self::gregor(&target.dir, &target.overrides);
        };
        let at = servers.0.first().map_or("", String::as_str);
        let failed = |source| Failure::Connect { at: at.to_owned(), source };
        let found = at.to_socket_addrs().map_err(failed)?.next();
        let none = || failed(std::io::Error::from(std::io::ErrorKind::NotFound));
        Ok(Self {
            kind: Kind::Other,
            at: found.ok_or_else(none)?,
            pid: target.pid,
            child: None,
            dir: None,
            begun: Instant::now(),
        })
    }

    /// A broker of this program, in a folder of its own below `dir`.
    ///
    /// # Errors
    /// [`Failure`] if it does not start.
    pub fn gregor(dir: &Path, overrides: &[(String, String)]) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|source| Failure::System {
            what: "looking for this program".to_owned(),
            source,
        })?;
        let own = own_dir(dir, Kind::Gregor)?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--data").arg(own.join("data"));
        command.args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"]);
        for (key, value) in overrides {
            command.arg("--override").arg(format!("{key}={value}"));
        }
        Self::start(Kind::Gregor, own, command)
    }

    /// The floor, in a folder of its own below `dir`.
    ///
    /// # Errors
    /// [`Failure`] if it does not start.
    pub fn floor(program: &Path, dir: &Path) -> Result<Self, Failure> {
        let own = own_dir(dir, Kind::Floor)?;
        let mut command = Command::new(program);
        command.arg(&own);
        Self::start(Kind::Floor, own, command)
    }

    /// Genuine Kafka as one node, of the jars in `jars`, in a folder of its own below `dir`. It is
    /// formatted first, which is no part of its start.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be formatted or started.
    pub fn kafka(jars: &Path, dir: &Path) -> Result<Self, Failure> {
        let own = own_dir(dir, Kind::Kafka)?;
        let ports = [free_port()?, free_port()?];
        let at = SocketAddr::from(([127, 0, 0, 1], ports[0].1));
        let config = own.join("server.properties");
        write(&config, &kafka_config(&own, at.port(), ports[1].1))?;
        drop(ports);
        let java = |main: &str| {
            let mut command = Command::new("java");
            // As its own start script has them.
            command.args([
                "-Xmx1G",
                "-Xms1G",
                "-server",
                "-XX:+UseG1GC",
                "-Djava.awt.headless=true",
            ]);
            command.args(["-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35"]);
            command.arg("-XX:+ExplicitGCInvokesConcurrent");
            command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error");
            command.arg("-cp").arg(jars.join("*")).arg(main);
            command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
            command
        };
        let failed = |source| Failure::System { what: "running java".to_owned(), source };
        let mut format = java("kafka.tools.StorageTool");
        format.args(["format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c"]).arg(&config);
        if !format.status().map_err(failed)?.success() {
            return Err(Failure::Other(format!("no Kafka can be run from {}", jars.display())));
        }
        let begun = Instant::now();
        let child = java("kafka.Kafka").arg(&config).spawn().map_err(failed)?;
        let pid = Some(child.id());
        Ok(Self { kind: Kind::Kafka, at, pid, child: Some(child), dir: Some(own), begun })
    }

    /// Runs a program that prints where it is ready.
    fn start(kind: Kind, dir: PathBuf, mut command: Command) -> Result<Self, Failure> {
        let begun = Instant::now();
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = spawned
            .spawn()
            .map_err(|source| Failure::System { what: format!("starting {kind}"), source })?;
        let stderr = child.stderr.take();
        let pid = Some(child.id());
        let at = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut broker = Self { kind, at, pid, child: Some(child), dir: Some(dir), begun };
        let (sender, lines) = sync_channel(64);
        if let Some(stderr) = stderr {
            // Goes on reading when nobody listens any more, or the broker waits for its log one day.
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    drop(sender.try_send(line));
                }
            });
        }
        let mut last = String::new();
        loop {
            match lines.recv_timeout(START_MAX.saturating_sub(begun.elapsed())) {
                Ok(line) => match line.split_once(READY) {
                    Some((_, rest)) => {
                        let address = rest.split([',', ' ']).next().unwrap_or_default();
                        broker.at = address.parse().map_err(|_| Failure::Other(line.clone()))?;
                        return Ok(broker);
                    },
                    None => last = line,
                },
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Other(format!("{kind} did not start: {last}")));
                },
            }
        }
    }

    /// How long ago it was started.
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What its process has used; `None` if the process is not known.
    ///
    /// # Errors
    /// [`Failure::System`].
    pub fn usage(&self) -> Result<Option<Usage>, Failure> {
        self.pid.map(usage).transpose()
    }

    /// Makes a topic, and waits until each of its partitions has a leader that answers.
    ///
    /// # Errors
    /// [`Failure`], at the latest a minute later.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), Failure> {
        if self.kind == Kind::Floor {
            return Ok(());
        }
        let wish = TopicWish {
            name: name.to_owned(),
            partitions: Some(partitions),
            replication_factor: Some(1),
            configs: Vec::new(),
        };
        self.with_client(async |env, mut client| {
            let deadline = env.now().after(Duration::from_secs(LED_MAX.as_secs()));
            loop {
                let created = client.create_topic(wish.clone(), deadline).await;
                match created {
                    Err(ref error) if is_passing(error) && env.now() < deadline => {
                        env.sleep(Duration::from_millis(20)).await;
                    },
                    Ok(_) => break,
                    Err(error) => return Err(refused("creating a topic", error)),
                }
            }
            let mut led = 0;
            while led < partitions {
                match client.list_offset((name, led), WhichOffset::Latest, deadline).await {
                    Ok(_) => led += 1,
                    Err(error) if is_passing(&error) && env.now() < deadline => {
                        env.sleep(Duration::from_millis(20)).await;
                    },
                    Err(error) => return Err(refused("waiting for a leader", error)),
                }
            }
            Ok(())
        })
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn delete_topic(&self, name: &str) -> Result<(), Failure> {
        if self.kind == Kind::Floor {
            return Ok(());
        }
        self.with_client(async |env, mut client| {
            let deadline = env.now().after(Duration::from_secs(LED_MAX.as_secs()));
            let deleted = client.delete_topic(name, deadline).await;
            deleted.map(|_| ()).map_err(|error| refused("deleting a topic", error))
        })
    }

    /// Runs something with a connection of our own client.
    fn with_client(
        &self,
        work: impl AsyncFnOnce(TokioEnv, Client<TokioEnv>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        remote::in_runtime(async |env| {
            let begun = Instant::now();
            let client = loop {
                let deadline = env.now().after(Duration::from_secs(10));
                match Client::connect(&env, self.at, "gregor-bench", deadline).await {
                    Ok(client) => break client,
                    Err(_) if begun.elapsed() < START_MAX => std::thread::sleep(TRY_EVERY),
                    Err(error) => return Err(refused("connecting", error)),
                }
            };
            work(env, client).await
        })
    }
}

/// Whether the same question may soon be answered: Kafka elects leaders after it has answered that a
/// topic exists.
fn is_passing(error: &ClientError) -> bool {
    const PASSING: [ErrorCode; 5] = [
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::LEADER_NOT_AVAILABLE,
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::INVALID_REPLICATION_FACTOR,
    ];
    error.code().is_some_and(|code| PASSING.contains(&code))
}

fn refused(what: &str, error: ClientError) -> Failure {
    Failure::Other(format!("{what}: {error}"))
}

/// A new folder below `dir`.
fn own_dir(dir: &Path, kind: Kind) -> Result<PathBuf, Failure> {
    let made = (0..1_000).find_map(|number| {
        let path = dir.join(format!("gregor-bench-{kind}-{}-{number}", std::process::id()));
        match std::fs::create_dir_all(dir).and_then(|()| std::fs::create_dir(&path)) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => None,
            made => Some(made.map(|()| path)),
        }
    });
    let failed =
        |source| Failure::System { what: format!("making a folder in {}", dir.display()), source };
    made.unwrap_or_else(|| Err(std::io::ErrorKind::AlreadyExists.into())).map_err(failed)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .map_err(|source| Failure::System { what: format!("writing {}", path.display()), source })
}

/// A port that was free a moment ago; it is held until the listener is dropped.
fn free_port() -> Result<(TcpListener, u16), Failure> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| {
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    });
    bound.map_err(|source| Failure::System { what: "looking for a free port".to_owned(), source })
}

/// One node that is its own controller; all else as Kafka has it.
fn kafka_config(dir: &Path, port: u16, controller: u16) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n",
        dir.join("logs").display()
    )
}
