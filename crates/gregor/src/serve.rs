//! `gregor serve`: one broker, from the first log line to a clean stop.
//!
//! Invariants: the ready line is printed once every listener is bound and every log is open; a
//! signal leads to a stop that refuses new work, finishes what is under way and seals the
//! directory; a second signal ends at once, which is safe and costs a recovery.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base::Duration;
use broker::{Broker, StartError};
use env::Env;
use env_tokio::{Settings, TokioEnv};
use storage::DirError;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;
use wire::server::{Loggers, Server};

use crate::cli::Serve;
use crate::config::{self, Config};
use crate::failure::Failure;
use crate::{listeners, log_levels};

/// What is logged.
const LOG_VARIABLE: &str = "GREGOR_LOG";
/// The ready line's target, which every filter lets through.
const READY: &str = "gregor::ready";

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
    let loggers = start_logging(arguments.log_json)?;
    let mut config = config::load(arguments)?;
    config.server.loggers = loggers;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()
        .map_err(|source| Failure::System { what: "starting the runtime".to_owned(), source })?;
    let outcome = runtime.block_on(serve(config));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// What `GREGOR_LOG` asks for.
///
/// # Errors
/// [`Failure::Usage`] for anything but levels and `module=level`, separated by commas.
fn log_filter(text: &str) -> Result<EnvFilter, Failure> {
    let wrong = || {
        Failure::Usage(format!(
            "{LOG_VARIABLE}={text}: write error, warn, info, debug, or module=level, separated by commas"
        ))
    };
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |text: &str| levels.iter().any(|level| level.eq_ignore_ascii_case(text));
    let is_module = |text: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':');
        !text.is_empty() && text.chars().all(known)
    };
    let mut filter = EnvFilter::default();
    let asked = if text.trim().is_empty() { "info" } else { text };
    for part in asked.split(',').map(str::trim) {
        let sound = match part.split_once('=') {
            None => is_level(part),
            Some((module, level)) => is_module(module) && is_level(level),
        };
        let directive = part.parse::<Directive>().ok().filter(|_| sound).ok_or_else(wrong)?;
        filter = filter.add_directive(directive);
    }
    // Whoever waits for the ready line waits whatever else is wanted.
    let ready = format!("{READY}=info").parse::<Directive>().map_err(|_| wrong())?;
    Ok(filter.add_directive(ready))
}

fn start_logging(json: bool) -> Result<Arc<dyn Loggers>, Failure> {
    let asked = std::env::var_os(LOG_VARIABLE).unwrap_or_default();
    log_levels::start(&asked.to_string_lossy(), json, log_filter)
}

async fn serve(mut config: Config) -> Result<(), Failure> {
    for unknown in &config.unknown {
        warn!("{unknown}; it is ignored");
    }
    if !config.inert.is_empty() {
        warn!("inert, without effect in this version: {}", config.inert.join(", "));
    }
    let env = TokioEnv::new(tokio::runtime::Handle::current(), Settings::default())
        .map_err(|source| Failure::System { what: "asking the system".to_owned(), source })?;
    let signals = Signals::new()?;
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
    let shown: Vec<String> =
        config.broker.log_dirs.iter().map(|dir| dir.display().to_string()).collect();
    let broker =
        Broker::start(env.clone(), config.broker).await.map_err(|error| not_started(&error))?;
    let server = Server::new(env.clone(), broker.clone(), config.server);
    let (addresses, port) = match listen(&server, &config.listeners).await {
        Ok(bound) => bound,
        Err(failure) => {
            // Nothing was served; the directory is closed like after any other stop.
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
    let (version, addresses) = (env!("CARGO_PKG_VERSION"), addresses.join(" and "));
    info!(target: READY, "Gregor {version} is ready on {addresses}, data in {}", shown.join(" and "));
    let ended = tokio::select! {
        biased;
        reason = env.halted() => Err(Failure::Halted(reason)),
        () = signals.first() => Ok(()),
    };
    info!("stopping");
    let at = env.now().after(STOP_CONNECTIONS_MAX);
    server.stop(at).await;
    broker.stop().await;
    ended
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
fn end_at_once(code: i32) {
    std::process::exit(code);
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
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
        })
    }

    /// Completes at the first signal; the second ends the process at once.
    async fn first(mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {},
            _ = self.interrupt.recv() => {},
        }
        tokio::spawn(async move {
            let code = tokio::select! {
                biased;
                _ = self.terminate.recv() => BY_SIGNAL + SignalKind::terminate().as_raw_value(),
                _ = self.interrupt.recv() => BY_SIGNAL + SignalKind::interrupt().as_raw_value(),
            };
            warn!("a second signal: ending at once; the next start recovers");
            end_at_once(code);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_filter_is_levels_and_modules_and_anything_else_is_refused() {
        for good in ["", "info", "debug", "warn,storage=debug", "broker::start=error, info"] {
            assert!(log_filter(good).is_ok(), "{good}");
        }
        for bad in ["bogus", "a=b=c", "=info", "storage=", "info,,warn", "[span]=info"] {
            let said = log_filter(bad).expect_err("refused").to_string();
            assert!(said.starts_with(&format!("GREGOR_LOG={bad}: write error, warn")), "{said}");
        }
    }
}
