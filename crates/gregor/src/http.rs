//! The operator's side door: metrics, health and the log level, over HTTP/1.
//!
//! Owns: the listener and its bounds. Invariants: it decides nothing and changes nothing of the broker; at most
//! `gregor.http.max.connections` connections are served at a time, each for one request and for
//! `gregor.http.timeout.ms` at most, with a head of 16 KiB at most; further ones wait in the
//! kernel, so that no one outside can make the broker slow by asking. Not simulated: it reads what
//! the simulated parts count.

mod routes;
mod status;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;

use base::Duration;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use crate::config::HttpSettings;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::listeners::{self, Endpoint};

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Pause after an accept that failed (out of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds the side door and serves it for as long as the runtime lives.
///
/// # Errors
/// [`Failure`] if an address that was asked for cannot be bound.
pub async fn open(settings: &HttpSettings, daemon: &Daemon) -> Result<(), Failure> {
    let Some(endpoint) = &settings.at else { return Ok(()) };
    let listeners = match bind(endpoint).await {
        Ok(listeners) => listeners,
        Err(Failure::Listen { at, source }) if !settings.is_given => {
            warn!(
                "metrics, /health and /ready are not served: cannot listen on {at}: {source}; \
                 set gregor.http.listener to another address, or to off"
            );
            return Ok(());
        },
        Err(Failure::Listen { at, source }) => {
            return Err(Failure::Advised {
                what: format!("cannot listen on {at}: {source}"),
                hint: "set gregor.http.listener to another address of this machine, or to off"
                    .to_owned(),
            });
        },
        Err(failure) => return Err(failure),
    };
    let places = Arc::new(Semaphore::new(settings.connections_max));
    let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok());
    let shown: Vec<String> = addresses.map(|at| format!("http://{at}")).collect();
    tokio::spawn(accept(listeners, places, daemon.clone(), settings.timeout));
    info!("metrics, /health and /ready are served on {}", shown.join(" and "));
    Ok(())
}

/// The listeners of an endpoint: both families for localhost and for everywhere, where there are both.
async fn bind(endpoint: &Endpoint) -> Result<Vec<TcpListener>, Failure> {
    let failed = |at: SocketAddr| move |source| Failure::Listen { at: at.to_string(), source };
    if endpoint.host.is_empty() {
        // One socket serves both, unless the machine has but the one.
        let [both, v4] = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)]
            .map(|ip| SocketAddr::new(ip, endpoint.port));
        return match TcpListener::bind(both).await {
            Ok(listener) => Ok(vec![listener]),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(failed(both)(error)),
            Err(_) => Ok(vec![TcpListener::bind(v4).await.map_err(failed(v4))?]),
        };
    }
    let (mut listeners, mut port) = (Vec::new(), endpoint.port);
    for bind in listeners::binds(endpoint)? {
        let at = SocketAddr::new(bind.at.ip(), port);
        match TcpListener::bind(at).await {
            Ok(listener) => {
                port = listener.local_addr().map_err(failed(at))?.port();
                listeners.push(listener);
            },
            Err(source) if bind.required => return Err(failed(at)(source)),
            Err(error) => debug!("not listening on {at}: {error}"),
        }
    }
    Ok(listeners)
}

async fn accept(
    listeners: Vec<TcpListener>,
    places: Arc<Semaphore>,
    daemon: Daemon,
    timeout: Duration,
) {
    let mut turn = 0;
    loop {
        // Before the accept: who finds no place waits in the kernel and costs nothing here. One for
        // all listeners: of one each, those where nobody comes would keep theirs.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        turn = (turn + 1) % listeners.len().max(1);
        match first(&listeners, turn).await {
            Ok((stream, peer)) => {
                let daemon = daemon.clone();
                tokio::spawn(async move {
                    serve(stream, peer.ip(), daemon, timeout).await;
                    drop(place);
                });
            },
            Err(error) => {
                debug!(%error, "accepting an HTTP connection failed; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            },
        }
    }
}

/// The next connection of any listener; they are asked in turn, so that none keeps the others out.
async fn first(listeners: &[TcpListener], turn: usize) -> io::Result<(TcpStream, SocketAddr)> {
    std::future::poll_fn(|context| {
        for at in 0..listeners.len() {
            let listener = &listeners[(turn + at) % listeners.len()];
            if let Poll::Ready(accepted) = listener.poll_accept(context) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

/// One connection, one request.
async fn serve(stream: TcpStream, peer: IpAddr, daemon: Daemon, timeout: Duration) {
    let service = service_fn(|request| {
        let daemon = daemon.clone();
        async move { Ok::<_, Infallible>(routes::answer(&daemon, peer, request, timeout).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(timeout, connection).await {
        Ok(Ok(())) => {},
        Ok(Err(error)) => debug!(%peer, %error, "an HTTP connection ended"),
        Err(_) => debug!(%peer, "an HTTP connection took too long"),
    }
}
