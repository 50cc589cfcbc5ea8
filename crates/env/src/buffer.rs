//! Buffers of one process, reused so that hot paths do not page-fault fresh memory.
//!
//! Invariants: a buffer comes back once nobody holds any of its bytes, however they were shared, and
//! is then handed out again, empty; at most [`Pools::KEPT_BYTES_MAX`] lie idle, the rest goes back to
//! the allocator. One set per *process* (per simulated node), never a static.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::{Lock, Rank};

/// Bytes are let go of under any lock there is.
const KEPT_RANK: Rank = Rank(255);

/// Free lists of buffers, by their room. Clones share them.
#[derive(Clone)]
pub struct Pools {
    kept: Arc<Lock<Kept>>,
}

/// Buffers that nobody uses.
#[derive(Default)]
struct Kept {
    by_room: BTreeMap<usize, Vec<BytesMut>>,
    bytes: usize,
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").field("kept_bytes", &self.kept_bytes()).finish_non_exhaustive()
    }
}

impl Default for Pools {
    fn default() -> Self {
        Self { kept: Arc::new(Lock::new(KEPT_RANK, Kept::default())) }
    }
}

impl Pools {
    /// The smallest buffer, in bytes: several requests fit, and the processor's cache holds it.
    pub const READ_BYTES: usize = 128 * 1024;
    /// Bytes of idle buffers that are kept at most.
    pub const KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;

    /// An empty buffer with room for `bytes`, and at most a quarter more, but at least
    /// [`Pools::READ_BYTES`].
    pub fn take(&self, bytes: usize) -> Buffer {
        let room = rounded(bytes);
        let found = {
            let mut kept = self.kept.lock();
            let found = kept.by_room.get_mut(&room).and_then(Vec::pop);
            if found.is_some() {
                kept.bytes = kept.bytes.saturating_sub(room);
            }
            found
        };
        let bytes = found.unwrap_or_else(|| BytesMut::with_capacity(room));
        Buffer { bytes, home: self.clone() }
    }

    /// Bytes of the buffers that nobody uses now.
    pub fn kept_bytes(&self) -> usize {
        self.kept.lock().bytes
    }

    fn give(&self, mut bytes: BytesMut) {
        bytes.clear();
        let room = bytes.capacity();
        // One that grew has a room that nobody asks for.
        if room == 0 || rounded(room) != room {
            return;
        }
        let mut kept = self.kept.lock();
        let all = kept.bytes.saturating_add(room);
        if all <= Self::KEPT_BYTES_MAX {
            kept.bytes = all;
            kept.by_room.entry(room).or_default().push(bytes);
            return;
        }
        // The allocator is asked when nobody else waits for the list.
        drop(kept);
        drop(bytes);
    }
}

/// The room of a buffer that has to hold so many bytes: few sizes, so that buffers are found again.
fn rounded(bytes: usize) -> usize {
    if bytes <= Pools::READ_BYTES {
        return Pools::READ_BYTES;
    }
    let step = bytes.checked_next_power_of_two().unwrap_or(bytes) / 8;
    bytes.checked_next_multiple_of(step).unwrap_or(bytes)
}

/// A buffer of a pool, to which it goes back when it is dropped.
#[derive(Debug)]
pub struct Buffer {
    bytes: BytesMut,
    home: Pools,
}

impl Buffer {
    /// The bytes, to be filled. Nothing may be split off, or the buffer does not come back whole.
    pub fn bytes_mut(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// How many bytes it can hold.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The bytes, to be shared; the buffer goes back when the last share is dropped.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.give(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_few_and_at_most_a_quarter_larger_than_asked_for() {
        let mut rooms = std::collections::BTreeSet::new();
        for bytes in (1..16).map(|step| step * 100_003) {
            let room = rounded(bytes);
            assert!(room >= bytes && rounded(room) == room, "{room} for {bytes}");
            assert!(bytes <= Pools::READ_BYTES || room <= bytes + bytes / 4, "{room} for {bytes}");
            rooms.insert(room);
        }
        assert!(rooms.len() <= 13);
    }
}
