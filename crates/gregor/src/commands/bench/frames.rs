//! Requests that were encoded before, and the little that is read of their answers.
//!
//! Invariants: what differs from request to request is written over in place, so a request costs
//! the client no encoding; an answer's error is always looked at; its records are counted and
//! skipped.

use base::Timestamp;
use bytes::Bytes;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{FetchRequest, ProduceRequest};
use protocol::{Part, Records, Request, frame};
use records::{BatchBuilder, NewRecord};
use wire::error_code::ErrorCode;

use crate::failure::Failure;

/// The last versions that name topics by name: what is asked is then the same for every broker.
const PRODUCE_VERSION: i16 = 11;
const FETCH_VERSION: i16 = 12;
/// Stands in a request for the offset that is written over it.
const ANY_OFFSET: i64 = 0x0123_4567_89ab_cdef;
/// Where the correlation id is: behind the length, the key and the version.
const CORRELATION_AT: usize = 8;

/// A batch as producers send it.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The bytes.
    pub bytes: Bytes,
    /// Records in it.
    pub records: u32,
}

impl Batch {
    /// As many records with values of `record_bytes` as fit into `batch_bytes`, but one.
    ///
    /// # Errors
    /// [`Failure::Other`] if a batch cannot be that large.
    pub fn new(batch_bytes: u32, record_bytes: u32, now: Timestamp) -> Result<Self, Failure> {
        let (batch_bytes, record_bytes) = (length(batch_bytes), length(record_bytes));
        // Nothing that a codec on the way could make small.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let value: Vec<u8> = (0..record_bytes)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_be_bytes()[0]
            })
            .collect();
        let record = NewRecord { timestamp: now, value: Some(&value), ..NewRecord::default() };
        let mut batch = BatchBuilder::new();
        let mut records = 0;
        let mut one = 0;
        while records == 0 || batch.len_bytes().saturating_add(one) <= batch_bytes {
            let before = batch.len_bytes();
            batch.push(&record).map_err(|error| Failure::Other(error.to_string()))?;
            // The next one may have longer varints.
            one = batch.len_bytes().saturating_sub(before).saturating_add(3);
            records += 1;
        }
        let bytes = batch.finish_bytes().map_err(|error| Failure::Other(error.to_string()))?;
        Ok(Self { bytes, records })
    }
}

fn length(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// A request in pieces: what is its own, what is shared, what is its own again.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Up to the batch, or all of it.
    pub head: Vec<u8>,
    /// The batch.
    pub batch: Bytes,
    /// What follows the batch.
    pub tail: Bytes,
    /// Where a fetch has its offset.
    offset_at: Option<usize>,
}

impl Frame {
    /// An append of `batch` to one partition.
    ///
    /// # Errors
    /// [`Failure::Other`] if it cannot be encoded.
    pub fn produce(topic: &str, partition: i32, acks: i16, batch: &Bytes) -> Result<Self, Failure> {
        let request = ProduceRequest {
            acks,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: topic.to_owned(),
                partition_data: vec![PartitionProduceData {
                    index: partition,
                    records: Records::from(batch.clone()),
                }],
                ..TopicProduceData::default()
            }],
            ..ProduceRequest::default()
        };
        let whole = encoded(PRODUCE_VERSION, &request)?;
        let unclear = || Failure::Other("a request without its batch".to_owned());
        // The batch may have been copied or not: only its place matters.
        let start = find(&whole, batch).ok_or_else(unclear)?;
        let tail = whole.get(start.saturating_add(batch.len())..).ok_or_else(unclear)?;
        Ok(Self {
            head: whole.get(..start).ok_or_else(unclear)?.to_vec(),
            batch: batch.clone(),
            tail: Bytes::copy_from_slice(tail),
            offset_at: None,
        })
    }

    /// A read of at most `bytes_max` of one partition, waiting up to `wait_ms` for the first byte.
    ///
    /// # Errors
    /// [`Failure::Other`] if it cannot be encoded.
    pub fn fetch(
        topic: &str,
        partition: i32,
        bytes_max: i32,
        wait_ms: i32,
    ) -> Result<Self, Failure> {
        let request = FetchRequest {
            max_wait_ms: wait_ms,
            min_bytes: 1,
            max_bytes: bytes_max,
            topics: vec![FetchTopic {
                topic: topic.to_owned(),
                partitions: vec![FetchPartition {
                    partition,
                    fetch_offset: ANY_OFFSET,
                    partition_max_bytes: bytes_max,
                    ..FetchPartition::default()
                }],
                ..FetchTopic::default()
            }],
            session_id: 0,
            session_epoch: -1,
            ..FetchRequest::default()
        };
        let head = encoded(FETCH_VERSION, &request)?;
        let offset_at = find(&head, &ANY_OFFSET.to_be_bytes());
        Ok(Self { head, batch: Bytes::new(), tail: Bytes::new(), offset_at })
    }

    /// Writes the number of the request, and the offset of a fetch, over those before.
    pub fn set(&mut self, correlation: i32, offset: i64) {
        self.put(CORRELATION_AT, &correlation.to_be_bytes());
        if let Some(at) = self.offset_at {
            self.put(at, &offset.to_be_bytes());
        }
    }

    fn put(&mut self, at: usize, with: &[u8]) {
        let place = self.head.get_mut(at..).and_then(|rest| rest.get_mut(..with.len()));
        if let Some(place) = place {
            place.copy_from_slice(with);
        }
    }

    /// Bytes of the whole frame.
    pub fn len(&self) -> usize {
        self.head.len().saturating_add(self.batch.len()).saturating_add(self.tail.len())
    }
}

fn encoded(version: i16, request: &impl Request) -> Result<Vec<u8>, Failure> {
    let parts = frame::request(version, 0, Some("gregor-bench"), request)
        .map_err(|error| Failure::Other(error.to_string()))?;
    let mut whole = Vec::new();
    for part in parts {
        match part {
            Part::Bytes(bytes) => whole.extend_from_slice(&bytes),
            Part::External { .. } => {
                return Err(Failure::Other("a request with records elsewhere".to_owned()));
            },
        }
    }
    Ok(whole)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which request it answers.
    pub correlation: i32,
    /// The first error in it.
    pub error: ErrorCode,
    /// Bytes of records in it.
    pub record_bytes: u64,
}

/// What must be there of an answer before it is read; a topic's name may take half of it.
pub const ANSWER_HEAD_BYTES: usize = 160;

/// Reads the beginning of an answer to a [`Frame::produce`], behind its length.
pub fn produced(head: &[u8]) -> Option<Answer> {
    let mut at = Cursor(head);
    let correlation = at.i32()?;
    at.skip(1)?; // tags
    at.uvarint()?; // one topic
    let name = at.uvarint()?.checked_sub(1)?;
    at.skip(usize::try_from(name).ok()?)?;
    at.uvarint()?; // one partition
    at.skip(4)?;
    Some(Answer { correlation, error: ErrorCode(at.i16()?), record_bytes: 0 })
}

/// Reads the beginning of an answer to a [`Frame::fetch`], behind its length.
pub fn fetched(head: &[u8]) -> Option<Answer> {
    let mut at = Cursor(head);
    let correlation = at.i32()?;
    at.skip(1 + 4)?; // tags, throttle time
    let error = ErrorCode(at.i16()?);
    at.skip(4)?; // session
    let topics = at.uvarint()?;
    if topics < 2 {
        return Some(Answer { correlation, error, record_bytes: 0 });
    }
    let name = at.uvarint()?.checked_sub(1)?;
    at.skip(usize::try_from(name).ok()?)?;
    at.uvarint()?; // one partition
    at.skip(4)?;
    let of_partition = ErrorCode(at.i16()?);
    at.skip(3 * 8)?; // high watermark, last stable offset, log start
    at.uvarint()?; // no aborted transactions
    at.skip(4)?; // preferred replica
    let records = at.uvarint()?;
    let error = if error.is_none() { of_partition } else { error };
    Some(Answer { correlation, error, record_bytes: records.saturating_sub(1) })
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }

    fn i16(&mut self) -> Option<i16> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i16::from_be_bytes(*bytes))
    }

    fn i32(&mut self) -> Option<i32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*bytes))
    }

    fn uvarint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..=56).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use protocol::ApiKey;
    use protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
    use protocol::messages::{FetchResponse, ProduceResponse};
    use protocol::{Message, Reader, Wire};

    use super::*;

    fn answer(key: ApiKey, version: i16, body: &impl Message) -> Vec<u8> {
        let parts = frame::response(key, version, 77, body).unwrap();
        let bytes = parts.parts.iter().flat_map(|part| match part {
            Part::Bytes(bytes) => bytes.to_vec(),
            Part::External { .. } => Vec::new(),
        });
        bytes.skip(4).collect()
    }

    #[test]
    fn a_batch_is_as_large_as_fits() {
        for (batch_bytes, record_bytes) in [(16_384, 1_000), (65_536, 100), (1_048_576, 100)] {
            let batch = Batch::new(batch_bytes, record_bytes, Timestamp(1)).unwrap();
            let most = length(batch_bytes);
            assert!(batch.bytes.len() <= most);
            assert!(batch.bytes.len() + length(record_bytes) + 20 > most);
        }
        assert_eq!(Batch::new(1, 100, Timestamp(1)).unwrap().records, 1);
    }

    #[test]
    fn a_request_is_decoded_as_what_was_asked() {
        let batch = Batch::new(1_000, 100, Timestamp(1)).unwrap();
        let mut frame = Frame::produce("bench", 3, -1, &batch.bytes).unwrap();
        frame.set(9, 0);
        let whole = [&frame.head[..], &frame.batch, &frame.tail].concat();
        assert_eq!(whole.len(), frame.len());
        let whole = Bytes::from(whole).slice(4..);
        let mut reader = Reader::from(&whole);
        let header = protocol::RequestHeader::decode(&mut reader).unwrap().unwrap();
        let request = ProduceRequest::decode(&mut reader, header.api_version).unwrap();
        assert_eq!((header.correlation_id, request.acks), (9, -1));
        let part = &request.topic_data[0].partition_data[0];
        assert_eq!((part.index, part.records.as_bytes()), (3, Some(&batch.bytes)));
    }

    #[test]
    fn a_fetch_asks_for_the_offset_that_was_set() {
        let mut frame = Frame::fetch("bench", 3, 1_000, 0).unwrap();
        frame.set(9, 1_234);
        let whole = Bytes::from(frame.head).slice(4..);
        let mut reader = Reader::from(&whole);
        let header = protocol::RequestHeader::decode(&mut reader).unwrap().unwrap();
        let request = FetchRequest::decode(&mut reader, header.api_version).unwrap();
        assert_eq!(request.topics[0].partitions[0].fetch_offset, 1_234);
    }

    #[test]
    fn errors_and_record_bytes_of_answers_are_found() {
        let part = PartitionProduceResponse { index: 3, error_code: 6, ..Default::default() };
        let topic = TopicProduceResponse {
            name: "bench".to_owned(),
            partition_responses: vec![part],
            ..Default::default()
        };
        let body = ProduceResponse { responses: vec![topic], ..Default::default() };
        let read = produced(&answer(ApiKey::Produce, PRODUCE_VERSION, &body)).unwrap();
        assert_eq!((read.correlation, read.error), (77, ErrorCode(6)));

        let part = PartitionData {
            partition_index: 3,
            records: Records::from(Bytes::from(vec![0; 300])),
            ..Default::default()
        };
        let topic = FetchableTopicResponse {
            topic: "bench".to_owned(),
            partitions: vec![part],
            ..Default::default()
        };
        let body = FetchResponse { responses: vec![topic], ..Default::default() };
        let read = fetched(&answer(ApiKey::Fetch, FETCH_VERSION, &body)).unwrap();
        assert_eq!((read.error, read.record_bytes), (ErrorCode(0), 300));
        assert_eq!(fetched(&[0; 10]), None);
    }
}
