//! Serving Kafka clients.
//!
//! Owns: the listeners and every connection. Invariants: replies leave in request order; request
//! bytes in memory stay within the [`budget`]; the number of connections is bounded; after
//! [`Server::stop`] no new request is begun and every connection ends.

mod budget;
mod connection;
mod frames;
mod listener;
mod settings;
mod stop;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use base::{BrokerId, Probe};
use broker::Broker;
use env::{Disk, Env, Lock, Net, Rank};

use crate::sessions::{SessionCounts, Sessions};
use budget::ByteBudget;
pub(crate) use frames::Frame;
use listener::Peers;
pub use settings::{Advertised, Pace, ServerSettings};
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
