//! Buffers of one process, reused so that hot paths do not page-fault fresh memory.
//!
//! Invariant: at most [`Pools::KEPT_MAX`] idle buffers are kept; the rest is returned to the
//! allocator. One set per *process* (per simulated node), never a static.

use bytes::BytesMut;

use crate::{Lock, Rank};

/// A small free list of read buffers.
#[derive(Debug)]
pub struct Pools {
    read: Lock<Vec<BytesMut>>,
}

impl Default for Pools {
    fn default() -> Self {
        Self { read: Lock::new(Rank(250), Vec::new()) }
    }
}

impl Pools {
    /// Capacity of a read buffer in bytes.
    pub const READ_BYTES: usize = 64 * 1024;
    /// Idle buffers kept at most.
    pub const KEPT_MAX: usize = 64;

    /// An empty buffer with [`Pools::READ_BYTES`] of capacity.
    pub fn take_read(&self) -> BytesMut {
        let kept = self.read.lock().pop();
        kept.unwrap_or_else(|| BytesMut::with_capacity(Self::READ_BYTES))
    }

    /// Gives a buffer back. It is dropped if parts of it are still referenced or enough are kept.
    pub fn give_read(&self, mut buffer: BytesMut) {
        buffer.clear();
        if buffer.try_reclaim(Self::READ_BYTES) && buffer.capacity() <= 2 * Self::READ_BYTES {
            let mut kept = self.read.lock();
            if kept.len() < Self::KEPT_MAX {
                kept.push(buffer);
            }
        }
    }
}
