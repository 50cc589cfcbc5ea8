//! What was written over a file.
//!
//! Invariants: extents do not overlap and none is empty; the file below shows through between them
//! up to `shown`, and zeros do behind that.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

/// Bytes written over a file, and its length.
#[derive(Clone, Debug, Default)]
pub(super) struct Extents {
    written: BTreeMap<u64, Bytes>,
    /// Length of the file.
    pub(super) len: u64,
    /// Bytes of the file below that still count.
    pub(super) shown: u64,
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn small(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl Extents {
    /// A file of `len` bytes over which nothing was written.
    pub(super) fn over(len: u64) -> Self {
        Self { written: BTreeMap::new(), len, shown: len }
    }

    /// What was written of `at..end`, in order.
    pub(super) fn within(&self, at: u64, end: u64) -> Vec<(u64, Bytes)> {
        let before = self.written.range(..end).rev();
        let met = before.take_while(|(start, bytes)| start.saturating_add(length(bytes)) > at);
        let mut met: Vec<_> = met.map(|(start, bytes)| (*start, bytes.clone())).collect();
        met.reverse();
        met
    }

    /// Takes bytes in.
    pub(super) fn write(&mut self, at: u64, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let end = at.saturating_add(length(&bytes));
        self.clear(at, end);
        self.written.insert(at, bytes);
        self.len = self.len.max(end);
    }

    /// Cuts the file or extends it with zeros.
    pub(super) fn set_len(&mut self, len: u64) {
        self.clear(len, u64::MAX);
        self.shown = self.shown.min(len);
        self.len = len;
    }

    /// Forgets what was written of `at..end`.
    fn clear(&mut self, at: u64, end: u64) {
        for (start, bytes) in self.within(at, end) {
            self.written.remove(&start);
            if start < at {
                self.written.insert(start, bytes.slice(..small(at - start)));
            }
            if start.saturating_add(length(&bytes)) > end {
                self.written.insert(end, bytes.slice(small(end - start)..));
            }
        }
    }
}

/// `len` bytes from `at` on: what shows through of the file below, with what was written over it.
pub(super) fn laid_over(at: u64, len: usize, below: &[u8], written: &[(u64, Bytes)]) -> Bytes {
    let mut whole = BytesMut::zeroed(len);
    let shown = below.len().min(len);
    whole[..shown].copy_from_slice(&below[..shown]);
    for (start, bytes) in written {
        let (skip, to) = (small(at.saturating_sub(*start)), small(start.saturating_sub(at)));
        let part = bytes.get(skip..).unwrap_or_default();
        let room = whole.get_mut(to..).unwrap_or_default();
        let count = part.len().min(room.len());
        room[..count].copy_from_slice(&part[..count]);
    }
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Change {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let bytes = proptest::collection::vec(1_u8.., 0..20);
        let write = (0_u64..60, bytes).prop_map(|(at, bytes)| Change::Write(at, bytes));
        let change = prop_oneof![4 => write, 1 => (0_u64..80).prop_map(Change::SetLen)];
        proptest::collection::vec(change, 0..30)
    }

    fn read(extents: &Extents, below: &[u8], at: u64, len: usize) -> Bytes {
        let len = len.min(small(extents.len.saturating_sub(at)));
        let end = at + length(&vec![0; len]);
        let shown = below.get(small(at)..small(extents.shown.min(end).max(at))).unwrap_or_default();
        laid_over(at, len, shown, &extents.within(at, end))
    }

    proptest! {
        #[test]
        fn a_file_reads_like_an_array_of_bytes(changes in changes(), at in 0_u64..90, len in 0_usize..90) {
            let below = [9_u8; 40];
            let mut extents = Extents::over(40);
            let mut model = below.to_vec();
            for change in changes {
                match change {
                    Change::Write(at, bytes) => {
                        let end = small(at) + bytes.len();
                        if !bytes.is_empty() {
                            model.resize(model.len().max(end), 0);
                            model[small(at)..end].copy_from_slice(&bytes);
                        }
                        extents.write(at, bytes.into());
                    },
                    Change::SetLen(len) => {
                        model.resize(small(len), 0);
                        extents.set_len(len);
                    },
                }
            }
            prop_assert_eq!(small(extents.len), model.len());
            let end = (small(at) + len).min(model.len());
            let expected = model.get(small(at)..end).unwrap_or_default();
            prop_assert_eq!(&read(&extents, &below, at, len)[..], expected);
        }
    }
}
