//! A network on which nothing is ever reached.

use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;

use bytes::BytesMut;

use crate::{File, Listener, Net, SegmentQueue, Stream};

/// Refuses everything.
#[derive(Clone, Debug)]
pub struct NoNet<F>(PhantomData<F>);

impl<F> Default for NoNet<F> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "there is no network here"))
}

impl<F: File> Net for NoNet<F> {
    type File = F;
    type Listener = Self;
    type Stream = Self;

    async fn listen(&self, _at: SocketAddr) -> io::Result<Self> {
        refused()
    }

    async fn connect(&self, _to: SocketAddr) -> io::Result<Self> {
        refused()
    }
}

impl<F: File> Listener for NoNet<F> {
    type Stream = Self;

    async fn accept(&mut self) -> io::Result<(Self, SocketAddr)> {
        refused()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        refused()
    }
}

impl<F: File> Stream for NoNet<F> {
    type File = F;

    async fn readable(&mut self) -> io::Result<()> {
        refused()
    }

    async fn read_at_most(&mut self, _buf: &mut BytesMut, _most: usize) -> io::Result<usize> {
        refused()
    }

    async fn write_some(&mut self, _queue: &mut SegmentQueue<F>) -> io::Result<()> {
        refused()
    }

    async fn finish(&mut self) -> io::Result<()> {
        refused()
    }
}
