//! Serving Kafka clients.
//!
//! Owns: the listeners and every connection. Invariants: replies leave in request order; request
//! bytes in memory stay within the [`budget`]; the number of connections is bounded; after
//! [`Server::stop`] no new request is begun and every connection ends.

mod budget;
mod connection;
mod counters;
mod frames;
mod listener;
mod settings;
mod stop;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use base::config::connections_per_ip;
use base::{BrokerId, Probe};
use broker::Broker;
use env::{Disk, Env, Lock, Net, Rank};

use crate::sessions::{SessionCounts, Sessions};
use budget::ByteBudget;
use counters::Counters;
pub use counters::{ApiMeasures, ServerMeasures};
pub(crate) use frames::Frame;
use listener::Peers;
pub use settings::{Advertised, CONNECTIONS_MAX, FixedLoggers, Loggers, Pace, ServerSettings};
use stop::Stop;

/// The file type whose regions leave through this world's sockets.
pub(crate) type FileOf<E> = <<E as Env>::Disk as Disk>::File;

/// A running front door. Clones share it.
#[derive(Clone)]
pub struct Server<E: Env> {
    shared: Arc<Shared<E>>,
}

/// What every connection sees.
pub(crate) struct Shared<E: Env> {
    pub(crate) env: E,
    pub(crate) broker: Broker<E>,
    pub(crate) settings: ServerSettings,
    pub(crate) sessions: Sessions,
    budget: ByteBudget,
    pub(crate) stop: Stop,
    pub(crate) counters: Counters,
    peers: Lock<Peers>,
    open: AtomicUsize,
    /// The port bound first.
    port: OnceLock<u16>,
}

impl<E: Env> Shared<E> {
    /// Where clients find a broker, if they can.
    pub(crate) fn advertised(&self, id: BrokerId) -> Option<(&str, i32)> {
        let at = self.settings.advertised.get(&id)?;
        let port = match (at.port, self.port.get()) {
            (0, Some(bound)) => *bound,
            (port, _) => port,
        };
        Some((&at.host, i32::from(port)))
    }
}

/// How many connections there may be.
pub(crate) struct Limits {
    /// Of everybody.
    all: usize,
    /// Of one address.
    of_address: usize,
}

impl<E: Env> Shared<E> {
    /// The limits in force for `ip`: what was set while the broker ran, or else what its file says.
    pub(crate) fn limits(&self, ip: IpAddr) -> Limits {
        let settings = &self.settings;
        let view = self.broker.cluster();
        let file = self.broker.file();
        let set = view.layers(settings.node_id, &file);
        let number = |name: &str| {
            let value = set.set(name)?.trim().parse::<i64>().ok()?;
            usize::try_from(value).ok()
        };
        let overrides = set.set("max.connections.per.ip.overrides");
        let overrides = overrides.and_then(|list| connections_per_ip(list).ok());
        let overrides = overrides.unwrap_or_default();
        // An address of version 4 may come as one of version 6.
        let of_address = overrides.get(&ip.to_canonical()).copied();
        let of_address = of_address.or_else(|| number("max.connections.per.ip"));
        let all = number("max.connections").map(|all| all.min(CONNECTIONS_MAX));
        Limits {
            all: all.unwrap_or(settings.connections_max),
            of_address: of_address.unwrap_or(settings.connections_per_ip_max),
        }
    }
}

impl<E: Env> Server<E> {
    /// A front door for `broker`; it serves nobody before [`Server::listen`].
    pub fn new(env: E, broker: Broker<E>, settings: ServerSettings) -> Self {
        let budget =
            ByteBudget::new(settings.request_bytes_in_flight_max, settings.request_bytes_max);
        Self {
            shared: Arc::new(Shared {
                env,
                broker,
                sessions: Sessions::new(&settings),
                settings,
                budget,
                stop: Stop::default(),
                counters: Counters::default(),
                peers: Lock::new(Rank(5), Peers::default()),
                open: AtomicUsize::new(0),
                port: OnceLock::new(),
            }),
        }
    }

    /// Binds `at` and serves it until [`Server::stop`]. Returns the bound address.
    ///
    /// # Errors
    /// What the system says about the address.
    pub async fn listen(&self, at: SocketAddr) -> std::io::Result<SocketAddr> {
        let listener = self.shared.env.net().listen(at).await?;
        let bound = env::Listener::local_addr(&listener)?;
        self.shared.port.get_or_init(|| bound.port());
        let shared = Arc::clone(&self.shared);
        self.shared.env.spawn("listener", listener::accept_loop(shared, listener));
        Ok(bound)
    }

    /// Takes no new connection and no new request; completes when every connection has ended, at
    /// `deadline` at the latest. Returns whether all had.
    pub async fn stop(&self, deadline: base::Instant) -> bool {
        self.shared.stop.stop();
        let done = self.shared.stop.until(|| self.connections() == 0);
        let ended = env::timeout_at(&self.shared.env, deadline, done).await.is_ok();
        if !ended {
            self.shared.env.probe().reached("server_stop_deadline");
        }
        ended
    }

    /// Takes a reading of what was counted.
    pub fn measure(&self) -> ServerMeasures {
        ServerMeasures {
            connections: self.connections(),
            request_bytes_held: self.request_bytes_in_flight(),
            request_bytes_max: self.shared.settings.request_bytes_in_flight_max,
            ..self.shared.counters.read()
        }
    }

    /// Connections open now.
    pub fn connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// The fetch sessions there are now.
    pub fn fetch_sessions(&self) -> SessionCounts {
        self.shared.sessions.counts()
    }

    /// Request bytes held in memory now.
    pub fn request_bytes_in_flight(&self) -> usize {
        self.shared.budget.used()
    }
}
