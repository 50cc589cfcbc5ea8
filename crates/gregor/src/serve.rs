//! `gregor serve`: one broker, from the first log line to a clean stop.
//!
//! Invariants: the ready line is printed once every listener is bound and every log is open; a
//! signal leads to a stop that refuses new work, finishes what is under way and seals the
//! directory; a second signal ends at once, which is safe and costs a recovery.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;

use base::Duration;
use broker::Broker;
use env::Env;
use env_tokio::{Settings, TokioEnv};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use wire::server::Server;

use crate::cli::Serve;
use crate::config::{self, Config};
use crate::failure::Failure;
use crate::listeners;

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
    start_logging(arguments.log_json);
    let config = config::load(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()
        .map_err(|source| Failure::System { what: "starting the runtime".to_owned(), source })?;
    let outcome = runtime.block_on(serve(config));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

fn start_logging(json: bool) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("GREGOR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if json {
        builder.json().init();
    } else {
        builder.with_target(false).with_ansi(io::stderr().is_terminal()).init();
    }
}

async fn serve(config: Config) -> Result<(), Failure> {
    for name in &config.unknown {
        warn!("{name} is not a key this broker knows; it is ignored");
    }
    if !config.inert.is_empty() {
        warn!("without effect in this version: {}", config.inert.join(", "));
    }
    let env = TokioEnv::new(tokio::runtime::Handle::current(), Settings::default())
        .map_err(|source| Failure::System { what: "asking the system".to_owned(), source })?;
    let signals = Signals::new()?;
    let data = config.broker.log_dir.clone();
    let broker = Broker::start(env.clone(), config.broker)
        .await
        .map_err(|error| Failure::Start(error.to_string()))?;
    let server = Server::new(env.clone(), broker.clone(), config.server);
    let addresses = listen(&server, &config.listeners).await?;
    let (version, addresses) = (env!("CARGO_PKG_VERSION"), addresses.join(" and "));
    info!("Gregor {version} is ready on {addresses}, data in {}", data.display());
    let ended = tokio::select! {
        biased;
        reason = env.halted() => Err(Failure::Halted(reason)),
        () = signals.first() => Ok(()),
    };
    info!("stopping");
    let at = env.now().after(STOP_CONNECTIONS_MAX);
    server.stop(at).await;
    broker.stop().await;
    info!("stopped");
    ended
}

/// Binds every listener; the addresses for the ready line. The second address of a name gets the
/// port that the first one got.
async fn listen(
    server: &Server<TokioEnv>,
    endpoints: &[listeners::Endpoint],
) -> Result<Vec<String>, Failure> {
    let mut addresses = Vec::new();
    for endpoint in endpoints {
        let mut port = endpoint.port;
        for bind in listeners::binds(endpoint)? {
            let at = SocketAddr::new(bind.at.ip(), port);
            match server.listen(at).await {
                Ok(bound) => {
                    port = bound.port();
                    addresses.push(bound.to_string());
                },
                Err(source) if bind.required => {
                    return Err(Failure::Listen { at: at.to_string(), source });
                },
                Err(error) => info!("not listening on {at}: {error}"),
            }
        }
    }
    Ok(addresses)
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
            tokio::select! {
                biased;
                _ = self.terminate.recv() => {},
                _ = self.interrupt.recv() => {},
            }
            warn!("a second signal: ending at once; the next start recovers");
            std::process::abort();
        });
    }
}
