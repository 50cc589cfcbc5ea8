//! Records: produce, fetch, look offsets up.

use base::{Duration, Instant, ProducerEpoch, ProducerId};
use broker::api::Acks;
use bytes::Bytes;
use env::Env;
use protocol::Records;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{FetchRequest, InitProducerIdRequest, ListOffsetsRequest, ProduceRequest};

use super::{Client, ClientError, accepted};

/// The last versions that name topics by name, which is what people and tests know.
const PRODUCE_VERSION: i16 = 11;
const FETCH_VERSION: i16 = 12;
const LIST_OFFSETS_VERSION: i16 = 10;
const INIT_PRODUCER_ID_VERSION: i16 = 5;

/// Where an acknowledged batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: i64,
    /// The broker's time of the append in milliseconds; −1 if records keep the producer's.
    pub log_append_time: i64,
    /// First offset of the log.
    pub log_start: i64,
}

/// What to read.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// First offset wanted.
    pub offset: i64,
    /// How long the broker may wait for at least one byte.
    pub max_wait: Duration,
    /// At most this many bytes, but always one whole batch.
    pub max_bytes: i32,
    /// Only up to the last stable offset.
    pub read_committed: bool,
}

impl Read {
    /// From `offset`, up to a mebibyte, waiting up to `max_wait`.
    pub fn from(offset: i64, max_wait: Duration) -> Self {
        Self { offset, max_wait, max_bytes: 1024 * 1024, read_committed: false }
    }
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batches {
    /// One past the last record that every in-sync replica has.
    pub high_watermark: i64,
    /// One past the last record that no open transaction precedes.
    pub last_stable: i64,
    /// First offset of the log.
    pub log_start: i64,
    /// Whole batches; the first may begin before the offset asked for.
    pub bytes: Bytes,
}

/// Which offset to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichOffset {
    /// One past the last record.
    Latest,
    /// The first record.
    Earliest,
    /// The first record with the largest timestamp.
    MaxTimestamp,
    /// The first record not older than this many milliseconds since 1970.
    AtOrAfter(i64),
}

impl WhichOffset {
    fn timestamp(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::AtOrAfter(time) => time.max(0),
        }
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

impl<E: Env> Client<E> {
    /// Appends one record batch. With [`Acks::None`] there is no answer, and none is returned.
    ///
    /// # Errors
    /// [`ClientError`]. All but a refusal leave open whether the batch is in the log.
    pub async fn produce(
        &mut self,
        (topic, partition): (&str, i32),
        acks: Acks,
        batch: Bytes,
        deadline: Instant,
    ) -> Result<Option<Appended>, ClientError> {
        let request = ProduceRequest {
            acks: match acks {
                Acks::None => 0,
                Acks::Leader => 1,
                Acks::All => -1,
            },
            timeout_ms: millis(deadline.since(self.env.now())),
            topic_data: vec![TopicProduceData {
                name: topic.to_owned(),
                partition_data: vec![PartitionProduceData {
                    index: partition,
                    records: Records::from(batch),
                }],
                ..TopicProduceData::default()
            }],
            ..ProduceRequest::default()
        };
        if acks == Acks::None {
            self.send(PRODUCE_VERSION, &request, deadline).await?;
            return Ok(None);
        }
        let response = self.call(PRODUCE_VERSION, &request, deadline).await?;
        let topic = response.responses.into_iter().next().ok_or(ClientError::Incomplete)?;
        let part = topic.partition_responses.into_iter().next().ok_or(ClientError::Incomplete)?;
        accepted(part.error_code, part.error_message.as_deref())?;
        Ok(Some(Appended {
            base_offset: part.base_offset,
            log_append_time: part.log_append_time_ms,
            log_start: part.log_start_offset,
        }))
    }

    /// Reads batches of one partition.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn fetch(
        &mut self,
        (topic, partition): (&str, i32),
        read: Read,
        deadline: Instant,
    ) -> Result<Batches, ClientError> {
        let request = FetchRequest {
            max_wait_ms: millis(read.max_wait),
            min_bytes: 1,
            max_bytes: read.max_bytes,
            isolation_level: i8::from(read.read_committed),
            topics: vec![FetchTopic {
                topic: topic.to_owned(),
                partitions: vec![FetchPartition {
                    partition,
                    fetch_offset: read.offset,
                    partition_max_bytes: read.max_bytes,
                    ..FetchPartition::default()
                }],
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        let response = self.call(FETCH_VERSION, &request, deadline).await?;
        accepted(response.error_code, None)?;
        let topic = response.responses.into_iter().next().ok_or(ClientError::Incomplete)?;
        let part = topic.partitions.into_iter().next().ok_or(ClientError::Incomplete)?;
        accepted(part.error_code, None)?;
        Ok(Batches {
            high_watermark: part.high_watermark,
            last_stable: part.last_stable_offset,
            log_start: part.log_start_offset,
            bytes: part.records.as_bytes().cloned().unwrap_or_default(),
        })
    }

    /// Looks an offset up; `None` if there is no such record.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list_offset(
        &mut self,
        (topic, partition): (&str, i32),
        which: WhichOffset,
        deadline: Instant,
    ) -> Result<Option<i64>, ClientError> {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: topic.to_owned(),
                partitions: vec![ListOffsetsPartition {
                    partition_index: partition,
                    timestamp: which.timestamp(),
                    ..ListOffsetsPartition::default()
                }],
            }],
            ..ListOffsetsRequest::default()
        };
        let response = self.call(LIST_OFFSETS_VERSION, &request, deadline).await?;
        let topic = response.topics.into_iter().next().ok_or(ClientError::Incomplete)?;
        let part = topic.partitions.into_iter().next().ok_or(ClientError::Incomplete)?;
        accepted(part.error_code, None)?;
        Ok((part.offset >= 0).then_some(part.offset))
    }

    /// A fresh producer id for an idempotent producer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn init_producer_id(
        &mut self,
        deadline: Instant,
    ) -> Result<(ProducerId, ProducerEpoch), ClientError> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..InitProducerIdRequest::default()
        };
        let response = self.call(INIT_PRODUCER_ID_VERSION, &request, deadline).await?;
        accepted(response.error_code, None)?;
        Ok((ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch)))
    }
}
