//! One direction of a connection.
//!
//! Invariants: at most [`Pipe::WINDOW`] bytes are under way or unread; after a reset nothing
//! moves any more, but what had arrived can still be read.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::{Buf, Bytes, BytesMut};

/// A piece under way.
#[derive(Clone, Debug)]
pub enum Chunk {
    /// Bytes.
    Data(Bytes),
    /// Nothing more comes.
    Fin,
}

/// Which process holds one end of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Its node.
    pub node: usize,
    /// Its incarnation.
    pub incarnation: u32,
}

/// One direction of a connection.
#[derive(Debug)]
pub struct Pipe {
    /// Who writes.
    pub from: End,
    /// Who reads.
    pub to: End,
    /// Under way, with the instant of arrival.
    pub flight: VecDeque<(u64, Chunk)>,
    /// Arrived and unread.
    pub ready: BytesMut,
    /// The writer finished and all of it arrived.
    pub ended: bool,
    /// The writer finished.
    pub finishing: bool,
    /// Torn down.
    pub reset: bool,
    /// The reader is gone: what arrives is answered with a reset.
    pub unread: bool,
    /// Since when nothing gets through, nanoseconds.
    pub stuck_since: Option<u64>,
    /// Waits for bytes.
    pub reader: Option<Waker>,
    /// Waits for room.
    pub writer: Option<Waker>,
}

impl Pipe {
    /// Bytes under way and unread at most.
    pub const WINDOW: usize = 64 << 10;

    /// An empty pipe.
    pub fn new(from: End, to: End) -> Self {
        Self {
            from,
            to,
            flight: VecDeque::new(),
            ready: BytesMut::new(),
            ended: false,
            finishing: false,
            reset: false,
            unread: false,
            stuck_since: None,
            reader: None,
            writer: None,
        }
    }

    /// How many bytes may still be written.
    pub fn room(&self) -> usize {
        let flying: usize = self
            .flight
            .iter()
            .map(|(_, chunk)| match chunk {
                Chunk::Data(bytes) => bytes.len(),
                Chunk::Fin => 0,
            })
            .sum();
        Self::WINDOW.saturating_sub(flying + self.ready.len())
    }

    /// Sends a chunk that arrives at `at`, or when those before it have arrived. Returns when the
    /// first chunk arrives, if this is the first.
    pub fn send(&mut self, at: u64, chunk: Chunk) -> Option<u64> {
        let at = self.flight.back().map_or(at, |(last, _)| at.max(*last));
        let first = self.flight.is_empty();
        self.flight.push_back((at, chunk));
        first.then_some(at)
    }

    /// Tears this direction down; `bytes` of what was under way still arrive.
    pub fn tear(&mut self, bytes: usize, wakers: &mut Vec<Waker>) {
        if self.reset {
            return;
        }
        if let Some((_, Chunk::Data(data))) = self.flight.front_mut() {
            data.truncate(bytes);
            self.ready.extend_from_slice(data);
        }
        self.reset = true;
        self.flight.clear();
        wakers.extend(self.reader.take());
        wakers.extend(self.writer.take());
    }

    /// Moves up to `most` arrived bytes into `into`.
    pub fn read(&mut self, most: usize, into: &mut BytesMut) -> usize {
        let count = most.min(self.ready.len());
        into.extend_from_slice(&self.ready[..count]);
        self.ready.advance(count);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> Pipe {
        let end = End { node: 0, incarnation: 1 };
        Pipe::new(end, end)
    }

    #[test]
    fn a_chunk_never_overtakes_the_one_before() {
        let mut pipe = pipe();
        assert_eq!(pipe.send(50, Chunk::Data(Bytes::from_static(b"slow"))), Some(50));
        assert_eq!(pipe.send(10, Chunk::Data(Bytes::from_static(b"fast"))), None);

        assert_eq!(pipe.flight.back().map(|(at, _)| *at), Some(50));
    }

    #[test]
    fn the_window_counts_what_is_under_way_and_what_is_unread() {
        let mut pipe = pipe();
        pipe.send(1, Chunk::Data(vec![0; 1000].into()));
        pipe.ready.extend_from_slice(&[0; 24]);

        assert_eq!(pipe.room(), Pipe::WINDOW - 1024);
    }

    #[test]
    fn a_reset_cuts_the_stream_inside_a_chunk_and_the_rest_never_arrives() {
        let mut pipe = pipe();
        pipe.send(1, Chunk::Data(Bytes::from_static(b"hello")));
        pipe.send(2, Chunk::Data(Bytes::from_static(b"never")));

        pipe.tear(3, &mut Vec::new());

        let mut got = BytesMut::with_capacity(16);
        assert_eq!((pipe.read(16, &mut got), &got[..]), (3, &b"hel"[..]));
        assert!(pipe.flight.is_empty());
    }
}
