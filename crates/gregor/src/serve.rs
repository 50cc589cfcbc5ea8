//! `gregor serve`: one broker, from the first log line to a clean stop.
//!
//! Invariants: the ready line is printed once every listener is bound and every log is open; a
//! signal leads to a stop that refuses new work, finishes what is under way and seals the
//! directory, and that is a success only if it was sealed; a second signal ends at once, which is safe
//! and costs a recovery, and so does the first one while the broker starts: nobody was served, and the
//! locks of the directories last as long as the process does. The side door is open before the
//! directories are, so that whoever asks is told how far the start is.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use base::Duration;
use broker::{Broker, BrokerConfig, StartError};
use env::Env;
use env_tokio::{Settings, TokioEnv};
use storage::DirError;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use wire::server::Server;

use crate::cli::Serve;
use crate::config::{self, Config};
use crate::daemon::{Daemon, Phase, Served};
use crate::failure::Failure;
use crate::logging::{Levels, READY};
use crate::notify::Manager;
use crate::reload::Reloader;
use crate::{dynamic, http, listeners};

/// How long connections may take to finish at a stop.
const STOP_CONNECTIONS_MAX: Duration = Duration::from_secs(5);

/// Tasks that a busy worker runs between two looks at what the sockets have. A look costs a
/// microsecond; with tokio's default of 61, a client waits for sixty others before its request is
/// even noticed.
const EVENT_INTERVAL: u32 = 8;

/// Runs the broker until it is told to stop.
///
/// # Errors
/// [`Failure`] if it could not start or had to stop.
pub fn run(arguments: &Serve) -> Result<(), Failure> {
    let levels = Levels::start(arguments.log_format())?;
    let config = config::load(arguments)?;
    if !levels.is_fixed() {
        let wrong = |why| Failure::Config(format!("gregor.log.level: {why}"));
        levels.set(&config.log_level).map_err(wrong)?;
    }
    let reloader = Reloader::new(arguments.clone(), &config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()
        .map_err(|source| Failure::System { what: "starting the runtime".to_owned(), source })?;
    let drop_dynamic = arguments.drop_dynamic.clone();
    let outcome = runtime.block_on(serve(config, levels, reloader, drop_dynamic));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn serve(
    mut config: Config,
    levels: Levels,
    mut reloader: Reloader,
    drop_dynamic: Vec<String>,
) -> Result<(), Failure> {
    for unknown in &config.unknown {
        warn!("{unknown}; it is ignored");
    }
    if !config.inert.is_empty() {
        warn!("inert, without effect in this version: {}", config.inert.join(", "));
    }
    let env = TokioEnv::new(tokio::runtime::Handle::current(), Settings::default())
        .map_err(|source| Failure::System { what: "asking the system".to_owned(), source })?;
    let mut signals = Signals::new()?;
    let manager = Manager::from_environment();
    // Half of what the process may have open is for logs, the rest for connections and reads.
    let descriptors = usize::try_from(env_tokio::raise_descriptor_limit()).unwrap_or(usize::MAX);
    config.broker.open_files_max = descriptors / 2;
    let dirs = config.broker.log_dirs.iter().chain(&config.broker.metadata_log_dir);
    if let Some(file) = dirs.into_iter().find(|dir| is_file(dir)) {
        return Err(Failure::Advised {
            what: format!("{} is a file, not a directory", file.display()),
            hint: "name a directory with --data DIR; it is made if it is not there".to_owned(),
        });
    }
    let daemon = Daemon::new(env.clone(), levels, config.limits);
    http::open(&config.http, &daemon).await?;
    let shown: Vec<String> =
        config.broker.log_dirs.iter().map(|dir| dir.display().to_string()).collect();
    let node = config.broker.node_id;
    let broker = start(&env, config.broker, &mut signals, reloader.has_file()).await?;
    config.server.loggers = Arc::new(daemon.levels().clone());
    let server = Server::new(env.clone(), broker.clone(), config.server);
    let opened = async {
        if !drop_dynamic.is_empty() {
            dynamic::drop_settings(&broker, node, &drop_dynamic).await?;
        }
        listen(&server, &config.listeners).await
    };
    let (addresses, port) = match opened.await {
        Ok(bound) => bound,
        Err(failure) => {
            // Nothing was served; the directory is closed like after any other stop, or says so itself.
            server.stop(env.now()).await;
            broker.stop().await;
            return Err(failure);
        },
    };
    if let Some(host) = config.only_here {
        warn!(
            "clients are told {host}:{port}, so only this machine can connect; \
             set advertised.listeners=PLAINTEXT://HOST:{port}"
        );
    }
    let at = addresses.first().and_then(|at| at.parse().ok());
    let served = Served { broker, server, at };
    daemon.serves(served.clone());
    daemon.reaches(Phase::Serving);
    let (version, addresses) = (env!("CARGO_PKG_VERSION"), addresses.join(" and "));
    info!(target: READY, "Gregor {version} is ready on {addresses}, data in {}", shown.join(" and "));
    manager.tell(&format!("READY=1\nSTATUS=serving on {addresses}"));
    let ended = until_told(&daemon, &manager, &mut signals, &mut reloader).await;
    info!("stopping");
    daemon.reaches(Phase::Stopping);
    manager.tell("STOPPING=1\nSTATUS=stopping");
    signals.end_at_the_next();
    ended.and(stop(&env, &served).await)
}

/// Stops what is served, and says whether that was done as it should be.
async fn stop(env: &TokioEnv, served: &Served) -> Result<(), Failure> {
    served.server.stop(env.now().after(STOP_CONNECTIONS_MAX)).await;
    let stopped = served.broker.stop().await;
    if !stopped.failed.is_empty() {
        let dirs: Vec<_> = stopped.failed.iter().map(|dir| dir.display().to_string()).collect();
        return Err(Failure::Unsealed { dirs: dirs.join(" and ") });
    }
    tokio::select! {
        biased;
        reason = env.halted() => Err(Failure::Halted(reason)),
        () = std::future::ready(()) => Ok(()),
    }
}

/// Starts the broker, unless a signal or a failure comes first.
async fn start(
    env: &TokioEnv,
    config: BrokerConfig,
    signals: &mut Signals,
    reloads: bool,
) -> Result<Broker<TokioEnv>, Failure> {
    let mut start = pin!(Broker::start(env.clone(), config));
    tokio::select! {
        biased;
        code = signals.end(reloads) => {
            // Not by giving up the start: it would let go of the directories while the disk may still
            // be at what it was told, and another process might find them free.
            warn!("a signal: the start ends here, nobody was served; the next one begins anew");
            end_at_once(code)
        },
        started = &mut start => started.map_err(|error| not_started(&error)),
        reason = env.halted() => Err(Failure::Halted(reason)),
    }
}

/// Completes when the broker is to stop; until then every SIGHUP reads the configuration again.
async fn until_told(
    daemon: &Daemon,
    manager: &Manager,
    signals: &mut Signals,
    reloader: &mut Reloader,
) -> Result<(), Failure> {
    let mut meanwhile = None;
    loop {
        let told = match meanwhile.take() {
            Some(told) => told,
            None => tokio::select! {
                biased;
                reason = daemon.env().halted() => return Err(Failure::Halted(reason)),
                told = signals.next() => told,
            },
        };
        match told {
            Told::Reload if reloader.has_file() => {
                manager.tell("RELOADING=1");
                // It may wait for a disk, and what is asked of the process meanwhile may not.
                tokio::select! {
                    biased;
                    reason = daemon.env().halted() => return Err(Failure::Halted(reason)),
                    told = signals.next() => meanwhile = Some(told),
                    () = reloader.reload(daemon) => {},
                }
                manager.tell("READY=1");
            },
            // Without a file there is nothing to read again: the terminal has gone.
            Told::Reload | Told::Stop => return Ok(()),
        }
    }
}

fn is_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_dir())
}

fn not_started(error: &StartError) -> Failure {
    match error {
        StartError::Dir(DirError::Locked { path }) => Failure::Advised {
            what: format!("{} is in use by another process", path.display()),
            hint: "stop that process, or choose another directory with --data DIR".to_owned(),
        },
        error => Failure::Start(error.to_string()),
    }
}

/// Binds every listener; the addresses for the ready line and the first one's port. The second
/// address of a name gets the port that the first one got.
async fn listen(
    server: &Server<TokioEnv>,
    endpoints: &[listeners::Endpoint],
) -> Result<(Vec<String>, u16), Failure> {
    let mut addresses = Vec::new();
    let mut first = None;
    for endpoint in endpoints {
        let mut port = endpoint.port;
        for bind in listeners::binds(endpoint)? {
            let at = SocketAddr::new(bind.at.ip(), port);
            match server.listen(at).await {
                Ok(bound) => {
                    port = bound.port();
                    first = first.or(Some(port));
                    addresses.push(bound.to_string());
                },
                // A port that we chose may be taken on the second address; one that was asked for
                // must be ours on both, or clients meet somebody else there.
                Err(source)
                    if bind.required
                        || (endpoint.port != 0 && source.kind() == io::ErrorKind::AddrInUse) =>
                {
                    return Err(Failure::Listen { at: at.to_string(), source });
                },
                Err(error) => info!("not listening on {at}: {error}"),
            }
        }
    }
    Ok((addresses, first.unwrap_or(0)))
}

/// What a shell adds to the number of the signal that ended a process.
const BY_SIGNAL: i32 = 128;

#[expect(clippy::exit, reason = "whoever sends a second signal wants no more waiting")]
fn end_at_once(code: i32) -> ! {
    std::process::exit(code);
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Stop,
    Reload,
}

/// SIGTERM, SIGINT and SIGHUP.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let install = |kind| {
            signal(kind).map_err(|source| Failure::System {
                what: "installing a signal handler".to_owned(),
                source,
            })
        };
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
            hangup: install(SignalKind::hangup())?,
        })
    }

    /// Completes at the next signal.
    async fn next(&mut self) -> Told {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hangup.recv() => Told::Reload,
        }
    }

    /// Completes when the process is to end, with its exit code. SIGHUP is left for later where there
    /// is something to reload (`reloads`).
    async fn end(&mut self, reloads: bool) -> i32 {
        let ended_by = tokio::select! {
            biased;
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.hangup.recv(), if !reloads => SignalKind::hangup(),
        };
        BY_SIGNAL + ended_by.as_raw_value()
    }

    /// From now on a further SIGTERM or SIGINT ends the process at once.
    fn end_at_the_next(mut self) {
        tokio::spawn(async move {
            let code = self.end(true).await;
            warn!("a second signal: ending at once; the next start recovers");
            end_at_once(code);
        });
    }
}
