//! The records inside a batch: walking them and looking at one.
//!
//! Invariants: walking allocates nothing and copies nothing; it is total; and a walk that ends
//! without an error has seen exactly `recordsCount` records and every byte.

use base::{Offset, Timestamp};
use bytes::Bytes;
use thiserror::Error;

use crate::batch::BatchView;
use crate::codec::{self, CodecError};
use crate::header::{BatchHeader, TimestampType};
use crate::varint::Reader;

/// Why the bytes of a batch are not the records its header claims. Kafka answers
/// INVALID_RECORD (87) for each in a produce request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The bytes end inside record `index`, or a number in it makes no sense.
    #[error("record {index} is cut off or malformed")]
    Malformed {
        /// Which record of the batch, from 0.
        index: i32,
    },
    /// The fields of record `index` do not fill the length it claims.
    #[error("record {index} is shorter than it claims")]
    Size {
        /// Which record of the batch, from 0.
        index: i32,
    },
    /// The header promises this many records.
    #[error("a batch cannot have {0} records")]
    Count(i32),
    /// Bytes are left after the last record.
    #[error("{0} bytes are left after the last record")]
    Trailing(usize),
}

/// Why the records of a batch cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The compressed block cannot be opened.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The records are malformed.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// One record, as slices of the (decompressed) batch.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its offset in the partition.
    pub offset: Offset,
    /// Its time: the producer's, or the append time for a LogAppendTime batch; −1 for none.
    pub timestamp: Timestamp,
    /// Offset minus the batch's base offset.
    pub offset_delta: i32,
    /// Timestamp minus the batch's base timestamp, milliseconds.
    pub timestamp_delta: i64,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: Headers<'a>,
}

/// One header of a record. Kafka wants the key to be UTF-8; nobody checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name; names may repeat.
    pub key: &'a [u8],
    /// Its value.
    pub value: Option<&'a [u8]>,
}

/// The headers of a record, already checked, parsed again as they are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    left: i32,
    reader: Reader<'a>,
}

impl Headers<'_> {
    /// How many are still to come.
    pub fn len(&self) -> usize {
        usize::try_from(self.left).unwrap_or(0)
    }

    /// Whether none is to come.
    pub fn is_empty(&self) -> bool {
        self.left <= 0
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1).filter(|left| *left >= 0)?;
        header(&mut self.reader)
    }
}

fn header<'a>(reader: &mut Reader<'a>) -> Option<Header<'a>> {
    let key = reader.nullable_bytes()??;
    let value = reader.nullable_bytes()?;
    Some(Header { key, value })
}

/// The records of one batch, decompressed if need be; owns (a share of) their bytes.
#[derive(Clone, Debug)]
pub struct RecordSet {
    header: BatchHeader,
    bytes: Bytes,
}

impl RecordSet {
    /// The bytes of the records, uncompressed, one after the other.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The header of the batch they came from.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Walks the records from the first.
    pub fn iter(&self) -> Records<'_> {
        Records { header: self.header, reader: Reader::new(&self.bytes), index: 0, ended: false }
    }
}

impl<'a> IntoIterator for &'a RecordSet {
    type Item = Result<Record<'a>, RecordError>;
    type IntoIter = Records<'a>;

    fn into_iter(self) -> Records<'a> {
        self.iter()
    }
}

impl BatchView {
    /// The batch's records, decompressed into at most `bytes_max` bytes; without compression
    /// nothing is copied and `bytes_max` does not matter.
    ///
    /// # Errors
    /// [`CodecError`] if the block is damaged, of an unknown codec or larger than `bytes_max`.
    pub fn open(&self, bytes_max: usize) -> Result<RecordSet, CodecError> {
        let attributes = self.header().attributes;
        let codec = attributes.compression().ok_or(CodecError::Unknown(attributes.codec_id()))?;
        let bytes = codec::decompress(codec, self.body(), bytes_max)?;
        Ok(RecordSet { header: *self.header(), bytes })
    }
}

/// Yields each record, then, if the bytes are not what the header claims, one error, then nothing.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    header: BatchHeader,
    reader: Reader<'a>,
    index: i32,
    ended: bool,
}

impl<'a> Records<'a> {
    fn at_end(&self) -> Option<RecordError> {
        if self.header.record_count < 0 {
            Some(RecordError::Count(self.header.record_count))
        } else if self.reader.is_empty() {
            None
        } else {
            Some(RecordError::Trailing(self.reader.rest().len()))
        }
    }
}

/// The record at the front of `reader`, number `index` of its batch.
#[inline]
pub(crate) fn read<'a>(
    header: &BatchHeader,
    index: i32,
    reader: &mut Reader<'a>,
) -> Result<Record<'a>, RecordError> {
    let malformed = RecordError::Malformed { index };
    let len = reader.varint().and_then(|len| usize::try_from(len).ok());
    let body = len.and_then(|len| reader.take(len)).ok_or(malformed)?;
    let mut body = Reader::new(body);
    let record = fields(header, &mut body).ok_or(malformed)?;
    if body.is_empty() { Ok(record) } else { Err(RecordError::Size { index }) }
}

/// The fields of one record: attributes (unused), deltas, key, value, headers.
#[inline]
fn fields<'a>(of: &BatchHeader, body: &mut Reader<'a>) -> Option<Record<'a>> {
    body.byte()?;
    let timestamp_delta = body.varlong()?;
    let offset_delta = body.varint()?;
    let key = body.nullable_bytes()?;
    let value = body.nullable_bytes()?;
    let left = body.varint().filter(|count| *count >= 0)?;
    let headers = Headers { left, reader: *body };
    for _ in 0..left {
        header(body)?;
    }
    let (offset, timestamp) = place(of, offset_delta, timestamp_delta)?;
    Some(Record { offset, timestamp, offset_delta, timestamp_delta, key, value, headers })
}

/// Offset and time of a record with these deltas; `None` if they are beyond 63 bits.
#[inline]
pub(crate) fn place(
    header: &BatchHeader,
    offset_delta: i32,
    timestamp_delta: i64,
) -> Option<(Offset, Timestamp)> {
    let offset = Offset(header.base_offset.0.checked_add(i64::from(offset_delta))?);
    let timestamp = match header.attributes.timestamp_type() {
        TimestampType::CreateTime => {
            Timestamp(header.base_timestamp.0.checked_add(timestamp_delta)?)
        },
        TimestampType::LogAppendTime => header.max_timestamp,
    };
    Some((offset, timestamp))
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.index >= self.header.record_count {
            self.ended = true;
            return self.at_end().map(Err);
        }
        let record = read(&self.header, self.index, &mut self.reader);
        self.index = self.index.saturating_add(1);
        self.ended = record.is_err();
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{BatchBuilder, NewRecord};

    /// A set with a sound header for `count` records and the given bytes.
    fn set(count: i32, bytes: &[u8]) -> RecordSet {
        let mut batch = BatchBuilder::new();
        batch.push(&NewRecord { timestamp: Timestamp(0), ..NewRecord::default() }).unwrap();
        let mut header = *batch.finish().unwrap().header();
        header.record_count = count;
        RecordSet { header, bytes: Bytes::copy_from_slice(bytes) }
    }

    fn only_error(set: &RecordSet) -> RecordError {
        let mut records = set.iter();
        let error = records.find_map(Result::err).unwrap();
        assert!(records.next().is_none(), "the walk ends with its first error");
        error
    }

    /// Length 6, attributes, both deltas 0, null key, null value, no headers.
    const SMALLEST: [u8; 7] = [12, 0, 0, 0, 1, 1, 0];

    #[test]
    fn the_smallest_record_has_seven_bytes() {
        let set = set(1, &SMALLEST);
        let record = set.iter().next().unwrap().unwrap();

        assert_eq!((record.key, record.value, record.headers.len()), (None, None, 0));
        assert!(record.headers.is_empty());
        assert_eq!(set.iter().count(), 1);
    }

    #[test]
    fn a_record_that_does_not_fill_or_overruns_its_length_is_refused() {
        assert_eq!(only_error(&set(1, &[14, 0, 0, 0, 1, 1, 0, 0])), RecordError::Size { index: 0 });
        assert_eq!(
            only_error(&set(1, &[10, 0, 0, 0, 1, 1, 0])),
            RecordError::Malformed { index: 0 }
        );
    }

    #[test]
    fn senseless_lengths_and_counts_are_refused() {
        for bytes in [
            [11, 0, 0, 0, 1, 1, 0],  // the record's length is negative
            [12, 0, 0, 0, 3, 1, 0],  // the key's length is -2
            [12, 0, 0, 0, 1, 99, 0], // the value is longer than the record
            [12, 0, 0, 0, 1, 1, 1],  // the headers' count is -1
            [12, 0, 0, 0, 1, 1, 2],  // one header is promised
        ] {
            assert_eq!(only_error(&set(1, &bytes)), RecordError::Malformed { index: 0 });
        }
        assert_eq!(only_error(&set(-1, &SMALLEST)), RecordError::Count(-1));
    }

    #[test]
    fn a_header_without_a_name_is_refused() {
        let named_null = [16, 0, 0, 0, 1, 1, 2, 1, 1];
        let named_empty = [16, 0, 0, 0, 1, 1, 2, 0, 1];

        assert_eq!(only_error(&set(1, &named_null)), RecordError::Malformed { index: 0 });
        let set = set(1, &named_empty);
        let headers: Vec<_> = set.iter().next().unwrap().unwrap().headers.collect();
        assert_eq!(headers, [Header { key: b"", value: None }]);
    }

    #[test]
    fn too_few_and_too_many_records_are_told() {
        assert_eq!(only_error(&set(2, &SMALLEST)), RecordError::Malformed { index: 1 });
        assert_eq!(only_error(&set(0, &SMALLEST)), RecordError::Trailing(7));
    }
}
