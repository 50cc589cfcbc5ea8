//! What the coordinator remembers, as records of `__consumer_offsets`.
//!
//! Owns: the mapping between our records and Kafka's bytes: a key is a kind (two bytes) and its
//! fields, a value a version (two bytes) and its fields, no value a tombstone. Written as Kafka
//! 4.4 writes: offsets in version 4, groups in version 3. Every version is read.
//! Invariant: reading is total, and what was written is read back as it was.

use base::codec::{DecodeError, EncodeError, Message, Reader, Wire, Writer};
use base::{Duration, LeaderEpoch, Offset, Timestamp, TopicId};
use bytes::Bytes;
use thiserror::Error;

use crate::CommittedOffset;
use crate::generated::group_metadata_value::MemberMetadata;
use crate::generated::{
    GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey, OffsetCommitKey, OffsetCommitValue,
};

const OFFSET_VERSION: i16 = 4;
/// The only version that can say when an offset expires. It knows no leader epoch and no topic id.
const EXPIRING_OFFSET_VERSION: i16 = 1;
const GROUP_VERSION: i16 = 3;

/// A record of the kinds the classic coordinator keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An offset was committed, or is gone.
    Offset {
        /// Group, topic and partition.
        key: OffsetKey,
        /// `None`: gone.
        value: Option<StoredOffset>,
    },
    /// A group reached a generation, or is gone.
    Group {
        /// Its id.
        group: String,
        /// `None`: gone.
        value: Option<StoredGroup>,
    },
}

/// What an offset was committed for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OffsetKey {
    /// The group.
    pub group: String,
    /// Topic name.
    pub topic: String,
    /// Partition index.
    pub partition: i32,
}

/// A committed offset and when it was committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredOffset {
    /// What a client gets to see.
    pub committed: CommittedOffset,
    /// By the coordinator's wall clock.
    pub at: Timestamp,
    /// When it expires, if its client said how long it is to be kept; then
    /// `committed` has neither leader epoch nor topic id, see [`StoredOffset::expiring`].
    pub expires_at: Option<Timestamp>,
}

impl StoredOffset {
    /// The same offset, to be kept until `at`: what the log cannot say of such a one is left out, so
    /// that it is the same before and after a load.
    pub fn expiring(mut self, at: Timestamp) -> Self {
        self.committed.leader_epoch = None;
        self.committed.topic_id = TopicId::default();
        self.expires_at = Some(at);
        self
    }
}

/// A generation of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredGroup {
    /// "consumer", "connect"…
    pub protocol_type: String,
    /// The generation.
    pub generation: i32,
    /// The chosen protocol; `None` without members.
    pub protocol: Option<String>,
    /// The leader's member id; `None` without members.
    pub leader: Option<String>,
    /// When it was reached, if known.
    pub at: Option<Timestamp>,
    /// Everybody, in the order they were written in.
    pub members: Vec<StoredMember>,
}

/// A member of a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredMember {
    /// Its id.
    pub member: String,
    /// `group.instance.id`.
    pub instance: Option<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it comes from.
    pub client_host: String,
    /// How long a rebalance waits for it.
    pub rebalance_timeout: Duration,
    /// How long it may be silent.
    pub session_timeout: Duration,
    /// Metadata of the chosen protocol.
    pub metadata: Bytes,
    /// What it owns.
    pub assignment: Bytes,
}

/// Why a record of the log cannot be taken in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The key of a kind we know is not one.
    #[error("key of a record of kind {kind} is damaged")]
    Key {
        /// The kind.
        kind: i16,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
    /// There is no key, or it is too short to have a kind.
    #[error("a record without a kind")]
    NoKind,
    /// The value of a kind we know is not one.
    #[error("value of a record of kind {kind} is damaged")]
    Value {
        /// The kind.
        kind: i16,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
}

impl Record {
    /// The group it belongs to.
    pub fn group(&self) -> &str {
        match self {
            Self::Offset { key, .. } => &key.group,
            Self::Group { group, .. } => group,
        }
    }

    /// Its key, and its value unless it is a tombstone.
    ///
    /// # Errors
    /// [`EncodeError`] if a text or a list is too long for its length prefix.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        match self {
            Self::Offset { key, value } => {
                let wire = OffsetCommitKey {
                    group: key.group.clone(),
                    topic: key.topic.clone(),
                    partition: key.partition,
                };
                let key = framed(OffsetCommitKey::KIND, &wire, 0)?;
                let value = value.as_ref().map(|value| {
                    let version = match value.expires_at {
                        Some(_) => EXPIRING_OFFSET_VERSION,
                        None => OFFSET_VERSION,
                    };
                    framed(version, &OffsetCommitValue::from(value), version)
                });
                Ok((key, value.transpose()?))
            },
            Self::Group { group, value } => {
                let wire = GroupMetadataKey { group: group.clone() };
                let key = framed(GroupMetadataKey::KIND, &wire, 0)?;
                let value = value.as_ref().map(|value| {
                    framed(GROUP_VERSION, &GroupMetadataValue::from(value), GROUP_VERSION)
                });
                Ok((key, value.transpose()?))
            },
        }
    }

    /// Reads a record; `None` if it is of a kind this coordinator does not keep.
    ///
    /// # Errors
    /// [`RecordError`] if it is of a kind we keep and damaged.
    pub fn decode(key: &Bytes, value: Option<&Bytes>) -> Result<Option<Self>, RecordError> {
        let mut reader = Reader::from(key);
        let kind = reader.i16().map_err(|_| RecordError::NoKind)?;
        let damaged_key = |source| RecordError::Key { kind, source };
        match kind {
            LegacyOffsetCommitKey::KIND | OffsetCommitKey::KIND => {
                // The legacy kind has the same fields.
                let wire: OffsetCommitKey = rest(&mut reader, 0).map_err(damaged_key)?;
                let key =
                    OffsetKey { group: wire.group, topic: wire.topic, partition: wire.partition };
                let value = body::<OffsetCommitValue>(kind, value)?.map(StoredOffset::from);
                Ok(Some(Self::Offset { key, value }))
            },
            GroupMetadataKey::KIND => {
                let wire: GroupMetadataKey = rest(&mut reader, 0).map_err(damaged_key)?;
                let value = body::<GroupMetadataValue>(kind, value)?.map(StoredGroup::from);
                Ok(Some(Self::Group { group: wire.group, value }))
            },
            _ => Ok(None),
        }
    }
}

fn framed<T: Wire>(prefix: i16, body: &T, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    writer.i16(prefix);
    body.encode(&mut writer, version)?;
    // Only a file region has no bytes, and none was written.
    Ok(writer.into_bytes().unwrap_or_default())
}

fn rest<T: Wire>(reader: &mut Reader<'_>, version: i16) -> Result<T, DecodeError> {
    let read = T::decode(reader, version)?;
    reader.finish()?;
    Ok(read)
}

fn body<T: Message>(kind: i16, value: Option<&Bytes>) -> Result<Option<T>, RecordError> {
    let Some(value) = value else { return Ok(None) };
    let mut reader = Reader::from(value);
    let read = reader.i16().and_then(|version| rest(&mut reader, version));
    read.map(Some).map_err(|source| RecordError::Value { kind, source })
}

impl From<&StoredOffset> for OffsetCommitValue {
    fn from(stored: &StoredOffset) -> Self {
        Self {
            offset: stored.committed.offset.0,
            leader_epoch: stored.committed.leader_epoch.map_or(-1, |epoch| epoch.0),
            metadata: stored.committed.metadata.clone(),
            commit_timestamp: stored.at.0,
            expire_timestamp: stored.expires_at.map_or(-1, |at| at.0),
            topic_id: stored.committed.topic_id.0,
        }
    }
}

impl From<OffsetCommitValue> for StoredOffset {
    fn from(wire: OffsetCommitValue) -> Self {
        Self {
            committed: CommittedOffset {
                offset: Offset(wire.offset),
                leader_epoch: (wire.leader_epoch >= 0).then_some(LeaderEpoch(wire.leader_epoch)),
                metadata: wire.metadata,
                topic_id: TopicId(wire.topic_id),
            },
            at: Timestamp(wire.commit_timestamp),
            expires_at: (wire.expire_timestamp != -1).then_some(Timestamp(wire.expire_timestamp)),
        }
    }
}

impl From<&StoredGroup> for GroupMetadataValue {
    fn from(stored: &StoredGroup) -> Self {
        Self {
            protocol_type: stored.protocol_type.clone(),
            generation: stored.generation,
            protocol: stored.protocol.clone(),
            leader: stored.leader.clone(),
            current_state_timestamp: stored.at.map_or(-1, |at| at.0),
            members: stored.members.iter().map(MemberMetadata::from).collect(),
        }
    }
}

impl From<GroupMetadataValue> for StoredGroup {
    fn from(wire: GroupMetadataValue) -> Self {
        Self {
            protocol_type: wire.protocol_type,
            generation: wire.generation,
            protocol: wire.protocol,
            leader: wire.leader,
            at: (wire.current_state_timestamp >= 0)
                .then_some(Timestamp(wire.current_state_timestamp)),
            members: wire.members.into_iter().map(StoredMember::from).collect(),
        }
    }
}

impl From<&StoredMember> for MemberMetadata {
    fn from(stored: &StoredMember) -> Self {
        Self {
            member_id: stored.member.clone(),
            group_instance_id: stored.instance.clone(),
            client_id: stored.client_id.clone(),
            client_host: stored.client_host.clone(),
            rebalance_timeout: millis(stored.rebalance_timeout),
            session_timeout: millis(stored.session_timeout),
            subscription: stored.metadata.clone(),
            assignment: stored.assignment.clone(),
        }
    }
}

impl From<MemberMetadata> for StoredMember {
    fn from(wire: MemberMetadata) -> Self {
        let session_timeout = duration(wire.session_timeout);
        // Version 0 has no rebalance timeout; Kafka then takes the session's.
        let rebalance_timeout = if wire.rebalance_timeout < 0 {
            session_timeout
        } else {
            duration(wire.rebalance_timeout)
        };
        Self {
            member: wire.member_id,
            instance: wire.group_instance_id,
            client_id: wire.client_id,
            client_host: wire.client_host,
            rebalance_timeout,
            session_timeout,
            metadata: wire.subscription,
            assignment: wire.assignment,
        }
    }
}

/// Whole milliseconds, at most what the field holds.
fn millis(of: Duration) -> i32 {
    i32::try_from(of.as_millis()).unwrap_or(i32::MAX)
}

/// Milliseconds; a negative number is none.
fn duration(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use base::Uuid;
    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: &Bytes) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn an_offset_is_written_as_kafka_writes_it() {
        let record = Record::Offset {
            key: OffsetKey { group: "g".into(), topic: "t".into(), partition: 3 },
            value: Some(StoredOffset {
                committed: CommittedOffset {
                    offset: Offset(10),
                    leader_epoch: None,
                    metadata: "m".into(),
                    topic_id: TopicId(Uuid([0x11; 16])),
                },
                at: Timestamp(1000),
                expires_at: None,
            }),
        };

        let (key, value) = record.encode().unwrap();

        assert_eq!(hex(&key), "0001000167000174".to_owned() + "00000003");
        let expected = "0004".to_owned()
            + "000000000000000a"
            + "ffffffff"
            + "026d"
            + "00000000000003e8"
            + "010010"
            + &"11".repeat(16);
        assert_eq!(hex(&value.unwrap()), expected);
    }

    #[test]
    fn an_offset_with_a_time_to_live_is_written_in_the_version_that_can_say_so() {
        let committed = CommittedOffset {
            offset: Offset(10),
            leader_epoch: Some(LeaderEpoch(4)),
            metadata: "m".into(),
            topic_id: TopicId(Uuid([0x11; 16])),
        };
        let stored = StoredOffset { committed, at: Timestamp(1000), expires_at: None };
        let value = Some(stored.expiring(Timestamp(1500)));
        let record = Record::Offset {
            key: OffsetKey { group: "g".into(), topic: "t".into(), partition: 3 },
            value,
        };

        let (key, value) = record.encode().unwrap();

        let expected = "0001".to_owned()
            + "000000000000000a"
            + "00016d"
            + "00000000000003e8"
            + "00000000000005dc";
        assert_eq!(value.as_ref().map(hex), Some(expected));
        assert_eq!(Record::decode(&key, value.as_ref()), Ok(Some(record)));
    }

    #[test]
    fn a_group_without_members_is_written_as_kafka_writes_it() {
        let value = StoredGroup {
            protocol_type: "consumer".into(),
            generation: 2,
            at: Some(Timestamp(5)),
            ..StoredGroup::default()
        };
        let record = Record::Group { group: "g".into(), value: Some(value) };

        let (key, value) = record.encode().unwrap();

        assert_eq!(hex(&key), "0002000167");
        let expected = "00030008636f6e73756d6572".to_owned()
            + "00000002"
            + "ffffffff"
            + "0000000000000005"
            + "00000000";
        assert_eq!(hex(&value.unwrap()), expected);
    }

    #[test]
    fn a_kind_of_another_coordinator_is_left_alone() {
        assert_eq!(Record::decode(&Bytes::from_static(&[0, 3, 0, 1, b'g']), None), Ok(None));
    }

    #[test]
    fn damage_is_reported_and_not_taken_for_absence() {
        let short = Record::decode(&Bytes::from_static(&[0]), None);
        assert_eq!(short, Err(RecordError::NoKind));
        let key = Bytes::from_static(&[0, 2, 0, 9, b'g']);
        assert!(matches!(Record::decode(&key, None), Err(RecordError::Key { kind: 2, .. })));
        let key = Bytes::from_static(&[0, 2, 0, 1, b'g']);
        let value = Bytes::from_static(&[0, 99]);
        let read = Record::decode(&key, Some(&value));
        assert!(matches!(read, Err(RecordError::Value { kind: 2, .. })));
    }

    prop_compose! {
        fn stored_member()(
            member in "[a-z]{1,8}",
            instance in proptest::option::of("[a-z]{1,8}"),
            client_id in "[a-z]{0,8}",
            times in (0..i32::MAX, 0..i32::MAX),
            metadata in proptest::collection::vec(any::<u8>(), 0..40),
            assignment in proptest::collection::vec(any::<u8>(), 0..40),
        ) -> StoredMember {
            StoredMember {
                member,
                instance,
                client_id,
                client_host: "/127.0.0.1".into(),
                rebalance_timeout: duration(times.0),
                session_timeout: duration(times.1),
                metadata: metadata.into(),
                assignment: assignment.into(),
            }
        }
    }

    proptest! {
        #[test]
        fn groups_round_trip(
            generation in any::<i32>(),
            protocol in proptest::option::of("[a-z]{0,8}"),
            at in proptest::option::of(0..i64::MAX),
            members in proptest::collection::vec(stored_member(), 0..4),
        ) {
            let value = StoredGroup {
                protocol_type: "consumer".into(),
                generation,
                leader: protocol.clone(),
                protocol,
                at: at.map(Timestamp),
                members,
            };
            let record = Record::Group { group: "g".into(), value: Some(value) };
            let (key, value) = record.encode().unwrap();
            prop_assert_eq!(Record::decode(&key, value.as_ref()), Ok(Some(record)));
        }

        #[test]
        fn offsets_round_trip(
            offset in any::<i64>(),
            epoch in proptest::option::of(0..i32::MAX),
            metadata in ".{0,20}",
            id in any::<[u8; 16]>(),
            partition in any::<i32>(),
            expires_at in proptest::option::of(0..i64::MAX),
        ) {
            let key = OffsetKey { group: "g".into(), topic: "t".into(), partition };
            let committed = CommittedOffset {
                offset: Offset(offset),
                leader_epoch: epoch.map(LeaderEpoch),
                metadata,
                topic_id: TopicId(Uuid(id)),
            };
            let mut value = StoredOffset { committed, at: Timestamp(7), expires_at: None };
            if let Some(expires_at) = expires_at {
                value = value.expiring(Timestamp(expires_at));
            }
            let record = Record::Offset { key, value: Some(value) };
            let (key, value) = record.encode().unwrap();
            prop_assert_eq!(Record::decode(&key, value.as_ref()), Ok(Some(record)));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(
            kind in 0_u8..4,
            key in proptest::collection::vec(any::<u8>(), 0..40),
            version in 0_u8..6,
            value in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let key: Bytes = [vec![0, kind], key].concat().into();
            let value: Bytes = [vec![0, version], value].concat().into();
            let _read = Record::decode(&key, Some(&value));
        }
    }
}
