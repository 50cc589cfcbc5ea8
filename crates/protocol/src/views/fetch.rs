//! The view of a Fetch request.

use base::Uuid;
use base::codec::{DecodeError, Message as _, Reader, Wire as _};

use super::{ASKED_BYTES, Element, Elements};
use crate::messages::FetchRequest;
use crate::messages::fetch_request::ReplicaState;
use crate::messages::fetch_response::{FetchableTopicResponse, PartitionData};

/// A Fetch request within its frame.
#[derive(Clone, Debug)]
pub struct FetchView<'a> {
    /// The cluster the client believes to talk to.
    pub cluster_id: Option<&'a str>,
    /// The replica that asks; −1 for a consumer. From version 15 on see `replica_state`.
    pub replica_id: i32,
    /// The replica that asks, from version 15 on.
    pub replica_state: ReplicaState,
    /// How long to wait for `min_bytes`, in milliseconds.
    pub max_wait_ms: i32,
    /// How many bytes are worth an answer.
    pub min_bytes: i32,
    /// How many bytes the answer may hold, but for a first batch that is larger.
    pub max_bytes: i32,
    /// 0: everything, 1: only what is committed.
    pub isolation_level: i8,
    /// The fetch session; 0 for none.
    pub session_id: i32,
    /// −1: no session; 0: a new one; else its next epoch.
    pub session_epoch: i32,
    /// What to read, by topic.
    pub topics: Elements<'a, FetchTopicView<'a>>,
    /// What to drop from the session.
    pub forgotten_topics: Elements<'a, FetchForgottenView<'a>>,
    /// Where the client is.
    pub rack_id: &'a str,
}

/// What to read of one topic.
#[derive(Clone, Debug)]
pub struct FetchTopicView<'a> {
    /// Its name; empty from version 13 on.
    pub topic: &'a str,
    /// Its id; zero before version 13.
    pub topic_id: Uuid,
    /// What to read, by partition.
    pub partitions: Elements<'a, FetchPartitionView>,
}

/// What to read of one partition.
#[derive(Clone, Copy, Debug)]
pub struct FetchPartitionView {
    /// Its number.
    pub partition: i32,
    /// The epoch of the leader the client knows; −1 for unknown.
    pub current_leader_epoch: i32,
    /// Where to start.
    pub fetch_offset: i64,
    /// The epoch of the last record fetched; −1 for unknown.
    pub last_fetched_epoch: i32,
    /// Where the log of a following replica starts; −1 for a consumer.
    pub log_start_offset: i64,
    /// How many bytes of this partition the answer may hold.
    pub partition_max_bytes: i32,
    /// The directory of a following replica.
    pub replica_directory_id: Uuid,
    /// The high watermark a following replica knows.
    pub high_watermark: i64,
}

/// Partitions to drop from the session.
#[derive(Clone, Debug)]
pub struct FetchForgottenView<'a> {
    /// The topic's name; empty from version 13 on.
    pub topic: &'a str,
    /// Its id; zero before version 13.
    pub topic_id: Uuid,
    /// The partitions.
    pub partitions: Elements<'a, i32>,
}

impl<'a> FetchView<'a> {
    /// Reads the body of a request; the reader is then behind it.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not such a body in `version`.
    pub fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        if !(FetchRequest::VERSION_MIN..=FetchRequest::VERSION_MAX).contains(&version) {
            return Err(DecodeError::Version { message: FetchRequest::NAME, version });
        }
        let flexible = FetchRequest::is_flexible(version);
        let mut view = Self {
            cluster_id: None,
            replica_id: if version <= 14 { reader.i32()? } else { -1 },
            replica_state: ReplicaState::default(),
            max_wait_ms: reader.i32()?,
            min_bytes: reader.i32()?,
            max_bytes: reader.i32()?,
            isolation_level: reader.i8()?,
            session_id: if version >= 7 { reader.i32()? } else { 0 },
            session_epoch: if version >= 7 { reader.i32()? } else { -1 },
            topics: Elements::read(reader, flexible, version)?,
            forgotten_topics: if version >= 7 {
                Elements::read(reader, flexible, version)?
            } else {
                Elements::none()
            },
            rack_id: if version >= 11 { reader.str(flexible)? } else { "" },
        };
        if flexible {
            reader.tags(|tag, value| {
                match tag {
                    0 => view.cluster_id = value.nullable_str(true)?,
                    1 if version >= 15 => {
                        view.replica_state = ReplicaState::decode(value, version)?
                    },
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
        }
        Ok(view)
    }
}

/// A topic by name before version 13, by id from then on.
fn topic<'a>(reader: &mut Reader<'a>, version: i16) -> Result<(&'a str, Uuid), DecodeError> {
    if version >= 13 {
        return Ok(("", reader.uuid()?));
    }
    Ok((reader.str(FetchRequest::is_flexible(version))?, Uuid::ZERO))
}

impl<'a> Element<'a> for FetchTopicView<'a> {
    const BYTES_MIN: usize = 3;
    const MEMORY_BYTES: usize = size_of::<FetchableTopicResponse>() + ASKED_BYTES;

    fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        let flexible = FetchRequest::is_flexible(version);
        let (topic, topic_id) = topic(reader, version)?;
        let partitions = Elements::read(reader, flexible, version)?;
        if flexible {
            reader.skip_tags()?;
        }
        Ok(Self { topic, topic_id, partitions })
    }
}

impl Element<'_> for FetchPartitionView {
    const BYTES_MIN: usize = 16;
    /// What is asked for is kept as the client said it, for its session, and as the broker reads it.
    const MEMORY_BYTES: usize = size_of::<PartitionData>() + 2 * ASKED_BYTES;

    fn read(reader: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let mut view = Self {
            partition: reader.i32()?,
            current_leader_epoch: if version >= 9 { reader.i32()? } else { -1 },
            fetch_offset: reader.i64()?,
            last_fetched_epoch: if version >= 12 { reader.i32()? } else { -1 },
            log_start_offset: if version >= 5 { reader.i64()? } else { -1 },
            partition_max_bytes: reader.i32()?,
            replica_directory_id: Uuid::ZERO,
            high_watermark: i64::MAX,
        };
        if FetchRequest::is_flexible(version) {
            reader.tags(|tag, value| {
                match tag {
                    0 if version >= 17 => view.replica_directory_id = value.uuid()?,
                    1 if version >= 18 => view.high_watermark = value.i64()?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
        }
        Ok(view)
    }
}

impl<'a> Element<'a> for FetchForgottenView<'a> {
    const BYTES_MIN: usize = 3;
    const MEMORY_BYTES: usize = 0;

    fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        let flexible = FetchRequest::is_flexible(version);
        let (topic, topic_id) = topic(reader, version)?;
        let partitions = Elements::read(reader, flexible, version)?;
        if flexible {
            reader.skip_tags()?;
        }
        Ok(Self { topic, topic_id, partitions })
    }
}
