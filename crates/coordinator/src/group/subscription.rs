//! What a group still reads: since when its offsets count as unused, and which of them never do.
//!
//! Invariant: what is not known counts as read, so that no offset goes which a member may need.
//! Source: KIP-211, KIP-496.

use std::collections::BTreeSet;

use base::Timestamp;
use base::codec::{DecodeError, Reader};
use bytes::Bytes;

use super::Group;
use crate::GroupState;

/// The protocol type of consumers, the only one whose metadata the coordinator can read.
const CONSUMER: &str = "consumer";

/// From when on an offset counts as unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnusedSince {
    /// It is in use.
    Never,
    /// From its commit.
    Commit,
    /// From when the group's last member was gone.
    Emptied(Timestamp),
}

impl Group {
    /// From when on the group's offsets count as unused, those of topics [subscribed
    /// to](Group::subscribes_to) aside.
    pub fn unused_since(&self) -> UnusedSince {
        if self.protocol_type.is_empty() {
            // Nobody was ever a member: its offsets are committed from outside.
            return UnusedSince::Commit;
        }
        match self.state {
            GroupState::Empty => self.empty_since.map_or(UnusedSince::Commit, UnusedSince::Emptied),
            GroupState::Stable if self.subscribed.is_some() => UnusedSince::Commit,
            GroupState::Stable
            | GroupState::PreparingRebalance
            | GroupState::CompletingRebalance
            | GroupState::Dead => UnusedSince::Never,
        }
    }

    /// Whether a member reads `topic`; while that is not known, every consumer group does.
    pub fn subscribes_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_of_consumers(),
        }
    }

    /// Whether its members are consumers.
    pub fn is_of_consumers(&self) -> bool {
        self.protocol_type == CONSUMER
    }

    /// Notes what the members of this generation subscribe to.
    pub(super) fn note_subscriptions(&mut self) {
        self.subscribed = self.subscriptions();
    }

    fn subscriptions(&self) -> Option<BTreeSet<String>> {
        if !self.is_of_consumers() {
            return None;
        }
        let mut topics = BTreeSet::new();
        if self.members.is_empty() {
            return Some(topics);
        }
        let protocol = self.protocol.as_deref()?;
        for member in self.members.values() {
            topics.extend(subscribed_topics(&member.metadata(protocol)?).ok()?);
        }
        Some(topics)
    }
}

/// The topics in a consumer's metadata. Every version begins like the first: a version, the topics,
/// the user's data.
fn subscribed_topics(metadata: &Bytes) -> Result<Vec<String>, DecodeError> {
    let mut reader = Reader::from(metadata);
    reader.i16()?;
    let topics = reader.array(false, 2, |reader| reader.string(false))?;
    reader.nullable_slice(false)?;
    Ok(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(version: i16, topics: &[&str], rest: &[u8]) -> Bytes {
        let mut bytes = version.to_be_bytes().to_vec();
        bytes.extend(u32::try_from(topics.len()).unwrap().to_be_bytes());
        for topic in topics {
            bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
            bytes.extend(topic.as_bytes());
        }
        bytes.extend(rest);
        bytes.into()
    }

    #[test]
    fn topics_are_read_from_every_version_and_whatever_follows() {
        let expected = Ok(vec!["a".to_owned(), "b".to_owned()]);
        let no_data = [0xff; 4];
        assert_eq!(subscribed_topics(&metadata(0, &["a", "b"], &no_data)), expected);
        let newer = [&no_data[..], b"owned partitions and what else there is"].concat();
        assert_eq!(subscribed_topics(&metadata(7, &["a", "b"], &newer)), expected);
    }

    #[test]
    fn metadata_that_are_not_a_consumers_say_nothing() {
        for bytes in [&b""[..], b"\0", b"topics", b"\0\0", b"\0\0\0\0\0\0"] {
            assert!(subscribed_topics(&Bytes::from_static(bytes)).is_err(), "{bytes:?}");
        }
        assert!(subscribed_topics(&metadata(0, &["a"], &[0, 0, 0, 9])).is_err());
    }
}
