//! A cluster as a client sees it: connections to its brokers, its metadata, and answers that are
//! checked.
//!
//! Invariants: a connection on which anything went wrong is made anew when it is next needed;
//! nothing waits longer than `--timeout`; no topic is created by asking for it.

mod cluster;

use std::collections::BTreeMap;
use std::io;
use std::net::ToSocketAddrs;

use base::{Duration, Instant};
use env::Env;
use env_tokio::{Settings, TokioEnv};
use protocol::messages::ApiVersionsRequest;
use wire::client::{Client, ClientError};
use wire::error_code::ErrorCode;

use crate::cli::Connect;
use crate::failure::Failure;
use crate::output::aside;

pub use cluster::{PartitionOf, TopicOf};

/// The client id that brokers see.
const CLIENT_ID: &str = "gregor-cli";

/// A connection.
pub type Broker = Client<TokioEnv>;

/// A connection, and the address it goes to.
struct Link {
    at: String,
    broker: Broker,
    /// When its last answer came, or when it was made.
    heard: Instant,
}

/// A connection that has been quiet for longer may have been given up by the other end.
const QUIET: Duration = Duration::from_millis(100);
/// The first version of ApiVersions: every broker answers it, on every connection.
const API_VERSIONS_VERSION: i16 = 0;

/// Which broker is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum To {
    /// The one named on the command line.
    Any,
    /// A broker by its id, as the metadata told.
    Node(i32),
}

/// A cluster.
pub struct Remote {
    env: TokioEnv,
    timeout: Duration,
    /// Where each is; of the broker named on the command line, every address that was named.
    addresses: BTreeMap<To, Vec<String>>,
    clients: BTreeMap<To, Link>,
    /// Whether the user knows that a broker is away.
    told_lost: bool,
}

/// Runs a command's future on a small runtime, with the cluster of `connect`.
///
/// # Errors
/// Those of `command`, and what the system refuses.
pub fn run<F: Future<Output = Result<(), Failure>>>(
    connect: &Connect,
    command: impl FnOnce(Remote) -> F,
) -> Result<(), Failure> {
    in_runtime(|env| {
        command(Remote {
            env,
            timeout: connect.timeout,
            addresses: BTreeMap::from([(To::Any, connect.bootstrap_server.0.clone())]),
            clients: BTreeMap::new(),
            told_lost: false,
        })
    })
}

/// Runs a future on a small runtime.
///
/// # Errors
/// Those of `command`, and what the system refuses.
pub fn in_runtime<F: Future<Output = Result<(), Failure>>>(
    command: impl FnOnce(TokioEnv) -> F,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::System { what: "starting the runtime".to_owned(), source })?;
    let env = TokioEnv::new(runtime.handle().clone(), Settings::default())
        .map_err(|source| Failure::System { what: "asking the system".to_owned(), source })?;
    runtime.block_on(command(env))
}

impl Remote {
    /// The world this runs in.
    pub fn env(&self) -> &TokioEnv {
        &self.env
    }

    /// `--timeout`.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// When an answer asked for now is late.
    pub fn deadline(&self) -> Instant {
        self.env.now().after(self.timeout)
    }

    /// Whether `at` is still to come.
    pub fn is_before(&self, at: Instant) -> bool {
        self.env.now() < at
    }

    /// The brokers that the metadata named.
    pub fn brokers(&self) -> Vec<To> {
        self.addresses.keys().copied().filter(|to| *to != To::Any).collect()
    }

    /// Asks a broker one thing; `what` says what, for the message of a failure.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn ask<T>(
        &mut self,
        to: To,
        what: &str,
        question: impl AsyncFnOnce(&mut Broker, Instant) -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        self.ask_for(to, what, self.timeout, question).await
    }

    /// Asks like [`Remote::ask`], for an answer that may take as long as `timeout`.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn ask_for<T>(
        &mut self,
        to: To,
        what: &str,
        timeout: Duration,
        question: impl AsyncFnOnce(&mut Broker, Instant) -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        let env = self.env.clone();
        let deadline = env.now().after(timeout);
        let link = self.link(to, deadline).await?;
        let answer = question(&mut link.broker, deadline).await;
        let answer = answer.map_err(|error| failure(&link.at, what, timeout, error))?;
        link.heard = env.now();
        self.told_lost = false;
        Ok(answer)
    }

    /// Looks whether a connection that has been quiet is still there; if not, the next question goes
    /// to a new one. For what must not be sent twice: a broker closes connections that are idle.
    ///
    /// # Errors
    /// [`Failure`]: it was not.
    pub async fn revive(&mut self, to: To) -> Result<(), Failure> {
        let now = self.env.now();
        let is_quiet = self.clients.get(&to).is_some_and(|link| link.heard.after(QUIET) <= now);
        if is_quiet { self.is_alive(to).await } else { Ok(()) }
    }

    /// Asks for nothing but an answer, where there is a connection. It comes behind everything that
    /// was sent on that before.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn is_alive(&mut self, to: To) -> Result<(), Failure> {
        if !self.clients.get(&to).is_some_and(|link| link.broker.is_usable()) {
            return Ok(());
        }
        let question = async |broker: &mut Broker, at| {
            broker.call(API_VERSIONS_VERSION, &ApiVersionsRequest::default(), at).await
        };
        self.ask(to, "a sign of life", question).await.map(drop)
    }

    /// Tells the user, once until the next answer, that a broker is away and is tried again.
    pub fn tell_lost(&mut self, failure: &Failure) {
        let (Failure::Connect { at, .. } | Failure::Broken { at, .. }) = failure else { return };
        if !std::mem::replace(&mut self.told_lost, true) {
            let seconds = self.timeout.as_secs_f64();
            aside(&format!("lost {at}, trying again for {seconds} s"));
        }
    }

    /// The connection to a broker, made anew if need be: to its first address that answers.
    async fn link(&mut self, to: To, deadline: Instant) -> Result<&mut Link, Failure> {
        if !self.clients.get(&to).is_some_and(|link| link.broker.is_usable()) {
            let none = || Failure::Other(format!("the cluster has no broker {to:?}"));
            let mut last = None;
            for at in self.addresses.get(&to).ok_or_else(none)? {
                match connect(&self.env, at, deadline).await {
                    Ok(broker) => {
                        let heard = self.env.now();
                        self.clients.insert(to, Link { at: at.clone(), broker, heard });
                        last = None;
                        break;
                    },
                    Err(failure) => last = Some(failure),
                }
            }
            if let Some(failure) = last {
                return Err(failure);
            }
        }
        let link = self.clients.get_mut(&to);
        link.ok_or_else(|| Failure::Other("the connection is gone".to_owned()))
    }

    /// Notes where a broker is.
    pub fn note_address(&mut self, to: To, host: &str, port: i32) {
        let bracketed = host.contains(':') && !host.starts_with('[');
        let at = if bracketed { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let addresses = vec![at];
        if self.addresses.get(&to) != Some(&addresses) {
            self.clients.remove(&to);
            self.addresses.insert(to, addresses);
        }
    }

    /// Waits a little before something is tried again.
    pub async fn pause(&self) {
        self.env.sleep(Duration::from_millis(100)).await;
    }
}

async fn connect(env: &TokioEnv, at: &str, deadline: Instant) -> Result<Broker, Failure> {
    let failed = |source| Failure::Connect { at: at.to_owned(), source };
    let addresses = at.to_socket_addrs().map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => {
            failed(io::Error::new(io::ErrorKind::InvalidInput, "write the address as host:port"))
        },
        _ => failed(error),
    })?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match Client::connect(env, address, CLIENT_ID, deadline).await {
            Ok(client) => return Ok(client),
            Err(ClientError::Io(error)) => last = error,
            Err(error) => last = io::Error::other(error.to_string()),
        }
    }
    Err(failed(last))
}

fn failure(at: &str, what: &str, timeout: Duration, error: ClientError) -> Failure {
    let at = at.to_owned();
    match error {
        ClientError::Refused { code, message } => {
            Failure::Refused { what: what.to_owned(), code, told: message }
        },
        ClientError::TimedOut => {
            Failure::TimedOut { at, what: what.to_owned(), seconds: timeout.as_secs_f64() }
        },
        error => Failure::Broken { at, why: error.to_string() },
    }
}

/// An answer's error code as a failure.
///
/// # Errors
/// [`Failure::Refused`] for every code but "none".
pub fn accepted(
    code: i16,
    told: Option<&str>,
    what: impl FnOnce() -> String,
) -> Result<(), Failure> {
    let code = ErrorCode(code);
    if code.is_none() {
        return Ok(());
    }
    let told = told.filter(|text| !text.is_empty()).map(str::to_owned);
    Err(Failure::Refused { what: what(), code, told })
}
