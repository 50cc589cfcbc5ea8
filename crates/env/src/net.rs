//! Sockets: byte streams that are read into a buffer and written as segments.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use crate::{File, FileRegion};

/// The network of one process.
pub trait Net: Clone + Send + Sync + 'static {
    /// Files whose regions a stream can send.
    type File: File;
    /// A bound socket.
    type Listener: Listener<Stream = Self::Stream>;
    /// A connection.
    type Stream: Stream<File = Self::File>;

    /// Binds and listens. Port 0 picks a free one.
    fn listen(&self, at: SocketAddr) -> impl Future<Output = io::Result<Self::Listener>> + Send;
    /// Connects.
    fn connect(&self, to: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// A bound socket.
pub trait Listener: Send + 'static {
    /// What is accepted.
    type Stream;

    /// The next connection and its peer. Cancel-safe.
    ///
    /// # Errors
    /// What concerns a single connection is skipped. Any error is about the process or the host
    /// (no descriptor left, no memory) and the next call fails the same way until something is
    /// given back: the caller sleeps, say 100 ms, before it accepts again, or it spins.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
    /// Where it listens.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// One end of a connection.
pub trait Stream: Send + 'static {
    /// Files whose regions it can send.
    type File: File;

    /// Completes when a read would not wait: bytes have come, the peer has finished, or the
    /// connection failed. It may be wrong, but not again and again. Who waits here holds no buffer.
    /// Cancel-safe.
    fn readable(&mut self) -> impl Future<Output = io::Result<()>> + Send;

    /// Reads at least one byte and at most `most` into the spare capacity of `buf`, never growing it;
    /// 0 means the peer has finished (or there is no room). Cancel-safe: a cancelled call has read
    /// nothing.
    fn read_at_most(
        &mut self,
        buf: &mut BytesMut,
        most: usize,
    ) -> impl Future<Output = io::Result<usize>> + Send;

    /// [`Stream::read_at_most`] as fits.
    fn read_into(&mut self, buf: &mut BytesMut) -> impl Future<Output = io::Result<usize>> + Send {
        self.read_at_most(buf, usize::MAX)
    }
    /// Writes some of what is in `queue` and takes it off; at least a byte, if there is one. It waits
    /// only for the peer to take some. Not cancel-safe: drop the stream after a cancelled or failed
    /// call.
    fn write_some(
        &mut self,
        queue: &mut SegmentQueue<Self::File>,
    ) -> impl Future<Output = io::Result<()>> + Send;

    /// Writes everything in `queue`, emptying it. Not cancel-safe, as [`Stream::write_some`].
    fn write_segments(
        &mut self,
        queue: &mut SegmentQueue<Self::File>,
    ) -> impl Future<Output = io::Result<()>> + Send {
        async {
            while !queue.is_empty() {
                self.write_some(queue).await?;
            }
            Ok(())
        }
    }
    /// Tells the peer that nothing more comes.
    fn finish(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

/// A piece of a response.
#[derive(Clone, Debug)]
pub enum Segment<F> {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes still in a file.
    Region(FileRegion<F>),
}

impl<F> Segment<F> {
    /// Number of bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Region(region) => usize::try_from(region.len).unwrap_or(usize::MAX),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What is to be written, in order.
pub type SegmentQueue<F> = VecDeque<Segment<F>>;
