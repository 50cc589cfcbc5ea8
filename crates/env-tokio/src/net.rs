//! Listening and connecting.
//!
//! Invariants: a socket on an IPv6 address serves IPv6 alone, so that the IPv4 wildcard has room
//! beside it whatever the system's default is; every stream has `TCP_NODELAY` on; a peer that is
//! gone before it was accepted is skipped, every other accept error is handed up.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use env::{Listener, Net};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::Settings;
use crate::file::TokioFile;
use crate::stream::TokioStream;

/// The network of this process. Clones share the counters.
#[derive(Clone, Debug)]
pub struct TokioNet {
    backlog: u32,
    counters: Arc<Counters>,
}

/// What the streams of a process have sent and received so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) receive_calls: AtomicU64,
    pub(crate) send_calls: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) sendfile_calls: AtomicU64,
    pub(crate) sendfile_bytes: AtomicU64,
    pub(crate) copied_bytes: AtomicU64,
    pub(crate) memory_bytes: AtomicU64,
}

/// A reading of what the streams of a process have sent and received so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetCounts {
    /// Calls that brought bytes in.
    pub receive_calls: u64,
    /// Calls that sent bytes from memory.
    pub send_calls: u64,
    /// Bytes that came in.
    pub received_bytes: u64,
    /// Successful `sendfile` calls.
    pub sendfile_calls: u64,
    /// Bytes of file regions that went from the page cache to the socket.
    pub sendfile_bytes: u64,
    /// Bytes of file regions that passed through our memory: cold, or `sendfile` unsupported.
    pub copied_bytes: u64,
    /// Bytes that were in memory to begin with.
    pub memory_bytes: u64,
}

impl NetCounts {
    /// All bytes that went out.
    pub fn sent_bytes(&self) -> u64 {
        self.sendfile_bytes.saturating_add(self.copied_bytes).saturating_add(self.memory_bytes)
    }
}

impl TokioNet {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { backlog: settings.backlog, counters: Arc::default() }
    }

    /// What was sent and received so far.
    pub fn counts(&self) -> NetCounts {
        let counters = &self.counters;
        NetCounts {
            receive_calls: counters.receive_calls.load(Ordering::Relaxed),
            send_calls: counters.send_calls.load(Ordering::Relaxed),
            received_bytes: counters.received_bytes.load(Ordering::Relaxed),
            sendfile_calls: counters.sendfile_calls.load(Ordering::Relaxed),
            sendfile_bytes: counters.sendfile_bytes.load(Ordering::Relaxed),
            copied_bytes: counters.copied_bytes.load(Ordering::Relaxed),
            memory_bytes: counters.memory_bytes.load(Ordering::Relaxed),
        }
    }
}

impl Net for TokioNet {
    type File = TokioFile;
    type Listener = TokioListener;
    type Stream = TokioStream;

    async fn listen(&self, at: SocketAddr) -> io::Result<TokioListener> {
        let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        if at.is_ipv6() {
            rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
        }
        socket.bind(at)?;
        let listener = socket.listen(self.backlog)?;
        Ok(TokioListener { listener, counters: Arc::clone(&self.counters) })
    }

    async fn connect(&self, to: SocketAddr) -> io::Result<TokioStream> {
        let tcp = TcpStream::connect(to).await?;
        tcp.set_nodelay(true)?;
        Ok(TokioStream::new(tcp, Arc::clone(&self.counters)))
    }
}

/// A bound socket.
#[derive(Debug)]
pub struct TokioListener {
    listener: TcpListener,
    counters: Arc<Counters>,
}

impl Listener for TokioListener {
    type Stream = TokioStream;

    async fn accept(&mut self) -> io::Result<(TokioStream, SocketAddr)> {
        loop {
            let cause = match self.listener.accept().await {
                Ok((tcp, peer)) => match tcp.set_nodelay(true) {
                    Ok(()) => return Ok((TokioStream::new(tcp, Arc::clone(&self.counters)), peer)),
                    Err(cause) => cause,
                },
                Err(cause) if concerns_one_connection(&cause) => cause,
                Err(cause) => return Err(cause),
            };
            tracing::debug!(%cause, "a connection ended before it was accepted");
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Whether the next accept has a fresh chance at once: this error used up its connection.
fn concerns_one_connection(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
