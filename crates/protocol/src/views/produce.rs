//! The view of a Produce request.

use base::Uuid;
use base::codec::{DecodeError, Message as _, Reader};

use super::{ASKED_BYTES, Element, Elements};
use crate::messages::ProduceRequest;
use crate::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};

/// A Produce request within its frame.
#[derive(Clone, Debug)]
pub struct ProduceView<'a> {
    /// The transaction it belongs to.
    pub transactional_id: Option<&'a str>,
    /// −1, 0 or 1; other numbers are the caller's to refuse.
    pub acks: i16,
    /// How long to wait for replicas, in milliseconds.
    pub timeout_ms: i32,
    /// What is written, by topic.
    pub topics: Elements<'a, ProduceTopicView<'a>>,
}

/// What is written to one topic.
#[derive(Clone, Debug)]
pub struct ProduceTopicView<'a> {
    /// Its name; empty from version 13 on.
    pub name: &'a str,
    /// Its id; zero before version 13.
    pub topic_id: Uuid,
    /// What is written, by partition.
    pub partitions: Elements<'a, ProducePartitionView<'a>>,
}

/// What is written to one partition.
#[derive(Clone, Copy, Debug)]
pub struct ProducePartitionView<'a> {
    /// Its number.
    pub index: i32,
    /// Record batches, or null. `Bytes::slice_ref` of the frame makes them owned without a copy.
    pub records: Option<&'a [u8]>,
}

impl<'a> ProduceView<'a> {
    /// Reads the body of a request; the reader is then behind it.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not such a body in `version`.
    pub fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        if !(ProduceRequest::VERSION_MIN..=ProduceRequest::VERSION_MAX).contains(&version) {
            return Err(DecodeError::Version { message: ProduceRequest::NAME, version });
        }
        let flexible = ProduceRequest::is_flexible(version);
        let view = Self {
            transactional_id: reader.nullable_str(flexible)?,
            acks: reader.i16()?,
            timeout_ms: reader.i32()?,
            topics: Elements::read(reader, flexible, version)?,
        };
        if flexible {
            reader.skip_tags()?;
        }
        Ok(view)
    }
}

impl<'a> Element<'a> for ProduceTopicView<'a> {
    const BYTES_MIN: usize = 3;
    const MEMORY_BYTES: usize = size_of::<TopicProduceResponse>() + ASKED_BYTES;

    fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        let flexible = ProduceRequest::is_flexible(version);
        let (name, topic_id) =
            if version >= 13 { ("", reader.uuid()?) } else { (reader.str(flexible)?, Uuid::ZERO) };
        let partitions = Elements::read(reader, flexible, version)?;
        if flexible {
            reader.skip_tags()?;
        }
        Ok(Self { name, topic_id, partitions })
    }
}

impl<'a> Element<'a> for ProducePartitionView<'a> {
    const BYTES_MIN: usize = 6;
    const MEMORY_BYTES: usize = size_of::<PartitionProduceResponse>() + ASKED_BYTES;

    fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        let flexible = ProduceRequest::is_flexible(version);
        let view = Self { index: reader.i32()?, records: reader.nullable_slice(flexible)? };
        if flexible {
            reader.skip_tags()?;
        }
        Ok(view)
    }
}
