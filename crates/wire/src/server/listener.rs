//! Accepting connections.
//!
//! Invariants: at most `max.connections` are open, at most `max.connections.per.ip` from one
//! address, as these are set now; a failing accept waits before it tries again, so it cannot spin; everybody else gets a
//! turn between two accepts, so a storm of connections queues up in the kernel and not before the
//! requests of those who are connected.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::{Duration, Probe};
use env::{Env, Listener, Net};
use tracing::{debug, warn};

use super::Shared;
use super::connection;

/// Pause after an accept that failed (out of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections by address.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    open: BTreeMap<IpAddr, usize>,
}

/// A place among the connections, given back when dropped.
struct Place<E: Env> {
    shared: Arc<Shared<E>>,
    ip: IpAddr,
}

impl<E: Env> Place<E> {
    fn take(shared: &Arc<Shared<E>>, ip: IpAddr) -> Option<Self> {
        let limits = shared.limits(ip);
        let mut peers = shared.peers.lock();
        let all = shared.open.load(Ordering::SeqCst);
        let here = peers.open.get(&ip).copied().unwrap_or(0);
        if all >= limits.all || here >= limits.of_address {
            return None;
        }
        peers.open.insert(ip, here + 1);
        shared.open.store(all + 1, Ordering::SeqCst);
        Some(Self { shared: Arc::clone(shared), ip })
    }
}

impl<E: Env> Drop for Place<E> {
    fn drop(&mut self) {
        let mut peers = self.shared.peers.lock();
        match peers.open.get_mut(&self.ip) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                peers.open.remove(&self.ip);
            },
        }
        self.shared.open.fetch_sub(1, Ordering::SeqCst);
        drop(peers);
        self.shared.stop.connection_ended();
    }
}

/// Accepts until the server stops.
pub(crate) async fn accept_loop<E: Env>(
    shared: Arc<Shared<E>>,
    mut listener: <E::Net as Net>::Listener,
) {
    loop {
        let Some(accepted) = shared.stop.unless(listener.accept()).await else { return };
        match accepted {
            Ok((stream, peer)) => match Place::take(&shared, peer.ip()) {
                Some(place) => {
                    shared.counters.accepted();
                    let task = serve(Arc::clone(&shared), stream, peer.ip(), place);
                    shared.env.spawn("connection", task);
                },
                None => {
                    shared.counters.refused();
                    shared.env.probe().reached("connection_refused_by_limit");
                    debug!(%peer, "connection refused: max.connections or max.connections.per.ip reached");
                },
            },
            Err(error) => {
                shared.env.probe().reached("accept_failed");
                warn!(%error, "accepting a connection failed; trying again");
                shared.env.sleep(ACCEPT_PAUSE).await;
            },
        }
        shared.env.yield_now().await;
    }
}

async fn serve<E: Env>(
    shared: Arc<Shared<E>>,
    stream: <E::Net as Net>::Stream,
    peer: IpAddr,
    place: Place<E>,
) {
    connection::run(shared, stream, peer).await;
    drop(place);
}
