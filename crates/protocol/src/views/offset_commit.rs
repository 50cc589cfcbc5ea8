//! The view of an OffsetCommit request.

use base::Uuid;
use base::codec::{DecodeError, Message as _, Reader};

use super::{ASKED_BYTES, Element, Elements};
use crate::messages::OffsetCommitRequest;
use crate::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

/// An OffsetCommit request within its frame.
#[derive(Clone, Debug)]
pub struct OffsetCommitView<'a> {
    /// The group.
    pub group_id: &'a str,
    /// Generation (classic) or member epoch; −1 for neither.
    pub generation_id_or_member_epoch: i32,
    /// The member, or nothing.
    pub member_id: &'a str,
    /// The static name of the member.
    pub group_instance_id: Option<&'a str>,
    /// How long to keep the offsets, in milliseconds; −1 for the broker's default.
    pub retention_time_ms: i64,
    /// What is committed, by topic.
    pub topics: Elements<'a, OffsetCommitTopicView<'a>>,
}

/// What is committed for one topic.
#[derive(Clone, Debug)]
pub struct OffsetCommitTopicView<'a> {
    /// Its name; empty from version 10 on.
    pub name: &'a str,
    /// Its id; zero before version 10.
    pub topic_id: Uuid,
    /// What is committed, by partition.
    pub partitions: Elements<'a, OffsetCommitPartitionView<'a>>,
}

/// What is committed for one partition.
#[derive(Clone, Copy, Debug)]
pub struct OffsetCommitPartitionView<'a> {
    /// Its number.
    pub partition_index: i32,
    /// The next offset to read.
    pub committed_offset: i64,
    /// The epoch of the last record read; −1 for unknown.
    pub committed_leader_epoch: i32,
    /// Whatever the client wants to keep with it.
    pub committed_metadata: Option<&'a str>,
}

impl<'a> OffsetCommitView<'a> {
    /// Reads the body of a request; the reader is then behind it.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not such a body in `version`.
    pub fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        let versions = OffsetCommitRequest::VERSION_MIN..=OffsetCommitRequest::VERSION_MAX;
        if !versions.contains(&version) {
            return Err(DecodeError::Version { message: OffsetCommitRequest::NAME, version });
        }
        let flexible = OffsetCommitRequest::is_flexible(version);
        let view = Self {
            group_id: reader.str(flexible)?,
            generation_id_or_member_epoch: reader.i32()?,
            member_id: reader.str(flexible)?,
            group_instance_id: if version >= 7 { reader.nullable_str(flexible)? } else { None },
            retention_time_ms: if version <= 4 { reader.i64()? } else { -1 },
            topics: Elements::read(reader, flexible, version)?,
        };
        if flexible {
            reader.skip_tags()?;
        }
        Ok(view)
    }
}

impl<'a> Element<'a> for OffsetCommitTopicView<'a> {
    const BYTES_MIN: usize = 3;
    const MEMORY_BYTES: usize = size_of::<OffsetCommitResponseTopic>() + ASKED_BYTES;

    fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        let flexible = OffsetCommitRequest::is_flexible(version);
        let (name, topic_id) =
            if version >= 10 { ("", reader.uuid()?) } else { (reader.str(flexible)?, Uuid::ZERO) };
        let partitions = Elements::read(reader, flexible, version)?;
        if flexible {
            reader.skip_tags()?;
        }
        Ok(Self { name, topic_id, partitions })
    }
}

impl<'a> Element<'a> for OffsetCommitPartitionView<'a> {
    const BYTES_MIN: usize = 14;
    const MEMORY_BYTES: usize = size_of::<OffsetCommitResponsePartition>() + ASKED_BYTES;

    fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        let flexible = OffsetCommitRequest::is_flexible(version);
        let view = Self {
            partition_index: reader.i32()?,
            committed_offset: reader.i64()?,
            committed_leader_epoch: if version >= 6 { reader.i32()? } else { -1 },
            committed_metadata: reader.nullable_str(flexible)?,
        };
        if flexible {
            reader.skip_tags()?;
        }
        Ok(view)
    }
}
