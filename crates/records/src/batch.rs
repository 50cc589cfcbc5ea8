//! Finding batches in a run of bytes, and the view of one.
//!
//! Invariant: a [`BatchView`] holds exactly the bytes its header claims. Its CRC and its records
//! are judged only when asked ([`BatchView::verify_crc`], `check`).

use base::Offset;
use bytes::Bytes;
use thiserror::Error;

use crate::header::{ATTRIBUTES_AT, BatchHeader, HEADER_LEN, crc32c};

/// Why the bytes at some position are not a whole batch.
///
/// What Kafka answers for each in a produce request: [`FrameError::Length`] and an unknown
/// [`FrameError::Magic`] are CORRUPT_MESSAGE (2), magic 0 and 1 INVALID_RECORD (87), and
/// [`FrameError::Truncated`] is to Kafka as if the bytes were not there, hence INVALID_RECORD (87)
/// if no batch came before.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The bytes end before the batch does. In a log: a torn tail, or the end of what was read.
    #[error("a batch of {need} bytes, but only {have} are left")]
    Truncated {
        /// Bytes of the batch (or, if its header is not whole, of a header).
        need: usize,
        /// Bytes there are.
        have: usize,
    },
    /// Not format v2. 0 and 1 are Kafka's message sets, which were never stored here.
    #[error("magic {0} instead of 2")]
    Magic(u8),
    /// A length field no batch can have. Zero: a preallocated tail that was never written.
    #[error("a batch cannot have length {0}")]
    Length(i32),
}

/// The CRC in the header is not that of the bytes. Kafka answers CORRUPT_MESSAGE (2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("crc is {found:#010x}, the header says {claimed:#010x}")]
pub struct CrcMismatch {
    /// What the header says.
    pub claimed: u32,
    /// What the bytes have.
    pub found: u32,
}

/// Why a batch that was found in a log, or came from a leader, is not one that a leader wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// The CRC is wrong.
    #[error(transparent)]
    Crc(#[from] CrcMismatch),
    /// Offsets below zero or beyond 63 bits, or more records than offsets. Base offset and leader
    /// epoch are outside the CRC, so this can be all that shows of damage there.
    #[error("offsets or counts of the header make no sense")]
    Header,
}

/// One whole batch: its bytes, shared with whoever holds them, and its parsed header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchView {
    header: BatchHeader,
    bytes: Bytes,
}

impl BatchView {
    /// The batch at the front of `bytes`, without copying; what follows it is left out.
    ///
    /// # Errors
    /// [`FrameError`] if `bytes` does not start with a whole batch of format v2.
    pub fn parse(bytes: &Bytes) -> Result<Self, FrameError> {
        let header = BatchHeader::parse(bytes)?;
        let need = header.len_bytes();
        if bytes.len() < need {
            return Err(FrameError::Truncated { need, have: bytes.len() });
        }
        Ok(Self { header, bytes: bytes.slice(..need) })
    }

    /// Puts together what already fits; for the patcher.
    pub(crate) fn new(header: BatchHeader, bytes: Bytes) -> Self {
        debug_assert_eq!(header.len_bytes(), bytes.len());
        Self { header, bytes }
    }

    /// The parsed header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch, header included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole batch, header included.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// What follows the header: records, or one compressed block of them.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN..)
    }

    /// Compares the CRC-32C of the bytes with the one in the header. About 30 to 90 µs per MB.
    ///
    /// # Errors
    /// [`CrcMismatch`] if they differ.
    pub fn verify_crc(&self) -> Result<(), CrcMismatch> {
        let found = crc32c(&self.bytes[ATTRIBUTES_AT..]);
        let claimed = self.header.crc;
        if found == claimed { Ok(()) } else { Err(CrcMismatch { claimed, found }) }
    }

    /// What recovery and a follower check: the CRC, and that the header's offsets and counts can
    /// be those of a batch in a log (compaction may have left fewer records than offsets).
    ///
    /// # Errors
    /// [`Damage`].
    pub fn verify_stored(&self) -> Result<(), Damage> {
        self.verify_crc()?;
        let header = &self.header;
        let last_delta = i64::from(header.last_offset_delta);
        let next =
            header.base_offset.0.checked_add(last_delta).and_then(|last| last.checked_add(1));
        let sound = header.base_offset >= Offset::ZERO
            && header.partition_leader_epoch >= 0
            && last_delta >= 0
            && next.is_some()
            && (0..=last_delta + 1).contains(&i64::from(header.record_count));
        if sound { Ok(()) } else { Err(Damage::Header) }
    }
}

/// The batches that follow each other in `bytes`; see [`Batches`].
pub fn batches(bytes: Bytes) -> Batches {
    Batches { rest: bytes, position: 0, broken: false }
}

/// Yields each whole batch, then, if bytes are left over, one error, then nothing.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
    position: usize,
    broken: bool,
}

impl Batches {
    /// Bytes consumed so far: where the next batch, or the error just yielded, starts.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl Iterator for Batches {
    type Item = Result<BatchView, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken || self.rest.is_empty() {
            return None;
        }
        let next = BatchView::parse(&self.rest);
        match &next {
            Ok(batch) => {
                let len = batch.bytes.len();
                self.rest = self.rest.slice(len..);
                self.position = self.position.saturating_add(len);
            },
            Err(_) => self.broken = true,
        }
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use base::LeaderEpoch;
    use proptest::prelude::*;

    use super::*;
    use crate::build::{BatchBuilder, NewRecord};

    fn batch(value: &[u8]) -> Bytes {
        let mut batch = BatchBuilder::new();
        batch.push(&NewRecord { value: Some(value), ..NewRecord::default() }).unwrap();
        batch.finish_bytes().unwrap()
    }

    #[test]
    fn batches_come_in_order_then_one_error_then_nothing() {
        let (one, two) = (batch(b"one"), batch(b"twotwo"));
        let torn = &two[..two.len() - 1];
        let mut found = batches(Bytes::from([&one, &two, torn].concat()));

        assert_eq!(found.next().unwrap().unwrap().bytes(), &one);
        assert_eq!(found.next().unwrap().unwrap().bytes(), &two);
        assert_eq!(found.position(), one.len() + two.len());
        let error = FrameError::Truncated { need: two.len(), have: torn.len() };
        assert_eq!(found.next(), Some(Err(error)));
        assert_eq!(found.position(), one.len() + two.len());
        assert_eq!(found.next(), None);
    }

    #[test]
    fn a_tail_of_zeros_is_told_from_a_torn_one() {
        let zeros = Bytes::from([&batch(b"x")[..], &[0; 4096]].concat());

        let errors: Vec<_> = batches(zeros).filter_map(Result::err).collect();

        assert_eq!(errors, [FrameError::Length(0)]);
    }

    #[test]
    fn a_stored_batch_has_sound_offsets_and_an_epoch() {
        let assigned = |offset, epoch| {
            let mut batch = BatchBuilder::new().assigned(Offset(offset), LeaderEpoch(epoch));
            batch.push_at(9, &NewRecord::default()).unwrap();
            batch.finish().unwrap().verify_stored()
        };

        assert_eq!(assigned(5, 0), Ok(()));
        assert_eq!(assigned(i64::MAX - 10, 0), Ok(()));
        assert_eq!(assigned(i64::MAX - 9, 0), Err(Damage::Header));
        assert_eq!(assigned(-1, 0), Err(Damage::Header));
        assert_eq!(assigned(5, -1), Err(Damage::Header));
        let mut bytes = batch(b"x").to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let flipped = BatchView::parse(&Bytes::from(bytes)).unwrap().verify_stored();
        assert!(matches!(flipped, Err(Damage::Crc(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_finder_panic_or_run_on(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let len = bytes.len();
            let found = batches(Bytes::from(bytes)).count();
            prop_assert!(found <= len / HEADER_LEN + 1);
        }

        #[test]
        fn a_batch_cut_anywhere_is_truncated(cut in any::<prop::sample::Index>()) {
            let whole = batch(&[7; 50]);
            let cut = cut.index(whole.len());
            let truncated = matches!(BatchView::parse(&whole.slice(..cut)), Err(FrameError::Truncated { have, .. }) if have == cut);
            prop_assert!(truncated);
        }
    }
}
