//! What a broker changes in a batch: a new head in front of bytes that stay shared.
//!
//! Invariant: the records are never copied or touched. Base offset and leader epoch lie outside
//! the CRC, so the usual head is 16 bytes; a changed timestamp costs a new CRC over the batch and
//! a head of 61 bytes. Source: `assignOffsets` in Kafka's log validator, KIP-32.

use base::{LeaderEpoch, Offset, Timestamp};
use bytes::{BufMut, Bytes, BytesMut};

use crate::batch::BatchView;
use crate::header::{
    ATTRIBUTES_AT, BASE_OFFSET_AT, BatchHeader, CRC_AT, HEADER_LEN, LEADER_EPOCH_AT, LENGTH_AT,
    MAGIC_AT, TimestampType, crc32c_of_two,
};

/// Bytes of a head that changes nothing under the CRC: base offset, length, leader epoch.
pub const SHORT_HEAD_LEN: usize = MAGIC_AT;

/// What the leader decides about a batch as it appends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// New timestamps, if any; anything but [`Stamp::Keep`] reads the whole batch for its CRC.
    pub stamp: Stamp,
}

/// What happens to the batch's timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stamp {
    /// They stay as they are.
    #[default]
    Keep,
    /// `maxTimestamp` was wrong and becomes this, and the records have the times they came with
    /// (topics with CreateTime).
    Max(Timestamp),
    /// The broker's time stands for every record (`message.timestamp.type=LogAppendTime`).
    LogAppend(Timestamp),
}

/// A batch with a new head: `head` then `tail` is what goes to the log.
#[derive(Clone, Debug)]
pub struct Patched {
    header: BatchHeader,
    head: [u8; HEADER_LEN],
    head_len: usize,
    tail: Bytes,
}

impl Patched {
    /// The header as it is after the patch.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The new bytes in front: 16 of them, or 61 if a timestamp changed.
    pub fn head(&self) -> &[u8] {
        &self.head[..self.head_len]
    }

    /// The rest of the batch, shared with the original.
    pub fn tail(&self) -> &Bytes {
        &self.tail
    }

    /// Bytes of the whole batch; a patch never changes the length.
    pub fn len_bytes(&self) -> usize {
        self.header.len_bytes()
    }

    /// Appends the whole batch to `out`: the one copy a small batch gets.
    pub fn write_to(&self, out: &mut BytesMut) {
        out.put_slice(self.head());
        out.put_slice(&self.tail);
    }

    /// The two segments of a vectored write; only the head is copied.
    pub fn into_segments(self) -> [Bytes; 2] {
        [Bytes::copy_from_slice(&self.head[..self.head_len]), self.tail]
    }

    /// The patched batch in one piece. Copies all of it.
    pub fn to_view(&self) -> BatchView {
        let mut out = BytesMut::with_capacity(self.len_bytes());
        self.write_to(&mut out);
        BatchView::new(self.header, out.freeze())
    }
}

impl BatchView {
    /// The batch as `patch` makes it, sharing everything it does not change.
    pub fn patched(&self, patch: &Patch) -> Patched {
        let mut header = *self.header();
        header.base_offset = patch.base_offset;
        header.partition_leader_epoch = patch.leader_epoch.0;
        if patch.stamp == Stamp::Keep {
            return self.with_head(header, SHORT_HEAD_LEN);
        }
        header = header.stamped(patch.stamp);
        header.crc = crc32c_of_two(&header.encode()[ATTRIBUTES_AT..], &self.bytes()[HEADER_LEN..]);
        self.with_head(header, HEADER_LEN)
    }

    fn with_head(&self, header: BatchHeader, head_len: usize) -> Patched {
        Patched { header, head: header.encode(), head_len, tail: self.bytes().slice(head_len..) }
    }
}

impl BatchHeader {
    /// This header with the timestamps that `stamp` says; its CRC is not that of the batch then.
    pub(crate) fn stamped(&self, stamp: Stamp) -> Self {
        let (timestamps, max_timestamp) = match stamp {
            Stamp::Keep => return *self,
            Stamp::Max(max) => (TimestampType::CreateTime, max),
            Stamp::LogAppend(now) => (TimestampType::LogAppendTime, now),
        };
        let attributes = self.attributes.with_timestamp_type(timestamps);
        Self { attributes, max_timestamp, ..*self }
    }
}

/// Assigns offset and epoch in a buffer that holds a whole header at its front, without touching
/// anything under the CRC. For callers that own a mutable copy of the batch anyway.
pub fn assign_in_place(
    header: &mut [u8; SHORT_HEAD_LEN],
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
) {
    header[BASE_OFFSET_AT..LENGTH_AT].copy_from_slice(&base_offset.0.to_be_bytes());
    header[LEADER_EPOCH_AT..MAGIC_AT].copy_from_slice(&leader_epoch.0.to_be_bytes());
}

/// Where the CRC-covered bytes begin is behind everything [`assign_in_place`] writes.
const _: () = assert!(SHORT_HEAD_LEN <= CRC_AT);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{BatchBuilder, NewRecord};
    use crate::header::Compression;

    fn batch() -> BatchView {
        let mut batch = BatchBuilder::new().compression(Compression::Gzip);
        for at in [10, 30, 20] {
            let timestamp = Timestamp(at);
            batch.push(&NewRecord { timestamp, ..NewRecord::default() }).unwrap();
        }
        batch.finish().unwrap()
    }

    fn patched(stamp: Stamp) -> Patched {
        batch().patched(&Patch {
            base_offset: Offset(1 << 40),
            leader_epoch: LeaderEpoch(6),
            stamp,
        })
    }

    #[test]
    fn offset_and_epoch_cost_sixteen_bytes_and_no_crc() {
        let batch = batch();
        let patch = Patch {
            base_offset: Offset(1 << 40),
            leader_epoch: LeaderEpoch(6),
            stamp: Stamp::Keep,
        };

        let patched = batch.patched(&patch);

        assert_eq!(patched.head().len(), SHORT_HEAD_LEN);
        let shared = batch.bytes()[SHORT_HEAD_LEN..].as_ptr();
        assert_eq!(patched.tail().as_ptr(), shared, "a slice, not a copy");
        let whole = patched.to_view();
        assert_eq!(whole.verify_crc(), Ok(()));
        assert_eq!(whole.header().base_offset, Offset(1 << 40));
        assert_eq!(whole.header().leader_epoch(), Some(LeaderEpoch(6)));
        assert_eq!(whole.header().last_offset(), Offset((1 << 40) + 2));
        assert_eq!(whole.bytes()[SHORT_HEAD_LEN..], batch.bytes()[SHORT_HEAD_LEN..]);
    }

    #[test]
    fn a_new_time_gets_a_new_crc() {
        let now = Timestamp(99);
        for (stamp, kind) in [
            (Stamp::Max(now), TimestampType::CreateTime),
            (Stamp::LogAppend(now), TimestampType::LogAppendTime),
        ] {
            let patched = patched(stamp);
            assert_eq!(patched.head().len(), HEADER_LEN);

            let whole = patched.to_view();

            assert_eq!(whole.verify_crc(), Ok(()));
            assert_eq!(whole.header().max_timestamp, now);
            assert_eq!(whole.header().attributes.timestamp_type(), kind);
            let first = whole.open(1000).unwrap().iter().next().unwrap().unwrap().timestamp;
            let expected = if kind == TimestampType::CreateTime { Timestamp(10) } else { now };
            assert_eq!(first, expected);
        }
    }

    #[test]
    fn every_way_out_of_a_patch_gives_the_same_bytes() {
        let whole = patched(Stamp::Keep).to_view();

        let [head, tail] = patched(Stamp::Keep).into_segments();
        assert_eq!(&[head, tail].concat(), whole.bytes());

        let mut bytes = batch().bytes().to_vec();
        let head = bytes.first_chunk_mut().unwrap();
        assign_in_place(head, Offset(1 << 40), LeaderEpoch(6));
        assert_eq!(&bytes, whole.bytes());
    }
}
