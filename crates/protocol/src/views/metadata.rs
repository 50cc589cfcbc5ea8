//! The view of a Metadata request.

use base::Uuid;
use base::codec::{DecodeError, Message as _, Reader};

use super::{ASKED_BYTES, Element, Elements};
use crate::messages::MetadataRequest;
use crate::messages::metadata_response::MetadataResponseTopic;

/// A Metadata request within its frame.
#[derive(Clone, Debug)]
pub struct MetadataView<'a> {
    /// The topics asked for; null for all (in version 0, all is no topic).
    pub topics: Option<Elements<'a, MetadataTopicView<'a>>>,
    /// Whether a topic that is not there may be created; true before version 4.
    pub allow_auto_topic_creation: bool,
    /// Whether to say what the client may do with the cluster.
    pub include_cluster_authorized_operations: bool,
    /// Whether to say what the client may do with each topic.
    pub include_topic_authorized_operations: bool,
}

/// One topic asked for.
#[derive(Clone, Copy, Debug)]
pub struct MetadataTopicView<'a> {
    /// Its id; zero for none.
    pub topic_id: Uuid,
    /// Its name; null if it is asked for by its id.
    pub name: Option<&'a str>,
}

impl<'a> MetadataView<'a> {
    /// Reads the body of a request; the reader is then behind it.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not such a body in `version`.
    pub fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        if !(MetadataRequest::VERSION_MIN..=MetadataRequest::VERSION_MAX).contains(&version) {
            return Err(DecodeError::Version { message: MetadataRequest::NAME, version });
        }
        let flexible = MetadataRequest::is_flexible(version);
        let topics = Elements::read_nullable(reader, flexible, version)?;
        if topics.is_none() && version < 1 {
            return Err(DecodeError::Null);
        }
        let view = Self {
            topics,
            allow_auto_topic_creation: version < 4 || reader.bool()?,
            include_cluster_authorized_operations: (8..=10).contains(&version) && reader.bool()?,
            include_topic_authorized_operations: version >= 8 && reader.bool()?,
        };
        if flexible {
            reader.skip_tags()?;
        }
        Ok(view)
    }
}

impl<'a> Element<'a> for MetadataTopicView<'a> {
    const BYTES_MIN: usize = 2;
    const MEMORY_BYTES: usize = size_of::<MetadataResponseTopic>() + ASKED_BYTES;

    fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        let flexible = MetadataRequest::is_flexible(version);
        let topic_id = if version >= 10 { reader.uuid()? } else { Uuid::ZERO };
        let name = reader.nullable_str(flexible)?;
        if name.is_none() && version < 10 {
            return Err(DecodeError::Null);
        }
        if flexible {
            reader.skip_tags()?;
        }
        Ok(Self { topic_id, name })
    }
}
