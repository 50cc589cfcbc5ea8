//! The second opinion: the `kafka-protocol` crate reads and writes every message and version that
//! both know, full, empty, null, with arrays of 0, 1 and 3 elements and with unknown tagged fields,
//! and must agree with us on every byte and every field. It only ever sees valid bytes: its decoder
//! allocates from unchecked counts.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on should say so")]

mod debug_tree;

use std::path::Path;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};
use proptest::prelude::*;
use proto::sample::{self, STYLES, Sampler, Style};
use proto::schema::{Message as Description, Schema, Subject};
use protocol::{Message, Reader, messages as ours};

use debug_tree::leaves;

/// What their crate makes of bytes: how the value prints, and what it encodes to; nothing if it
/// does not know the version.
type Opinion = fn(&Bytes, i16) -> Option<(String, Bytes)>;

fn opinion<T: TheirMessage + Encodable + Decodable + std::fmt::Debug>(
    bytes: &Bytes,
    version: i16,
) -> Option<(String, Bytes)> {
    if version < T::VERSIONS.min || version > T::VERSIONS.max {
        return None;
    }
    let mut rest = bytes.clone();
    let value = T::decode(&mut rest, version)
        .unwrap_or_else(|e| panic!("{} {version}: {e}", std::any::type_name::<T>()));
    assert!(rest.is_empty(), "{} {version}: {} left", std::any::type_name::<T>(), rest.len());
    let mut out = BytesMut::new();
    value.encode(&mut out, version).expect("what was decoded can be encoded");
    Some((format!("{value:?}"), out.freeze()))
}

fn our_text<M: Message + std::fmt::Debug>(bytes: &Bytes, version: i16) -> String {
    let value = M::decode(&mut Reader::from(bytes), version).expect("valid bytes");
    format!("{value:?}")
}

macro_rules! known_to_both {
    ($(($request:ident, $response:ident))*) => {
        /// Both opinions on a message, or nothing if their crate lacks it.
        fn opinions_on(name: &str) -> Option<(Opinion, fn(&Bytes, i16) -> String)> {
            Some(match name {
                $(
                    stringify!($request) =>
                        (opinion::<theirs::$request> as Opinion, our_text::<ours::$request>),
                    stringify!($response) =>
                        (opinion::<theirs::$response> as Opinion, our_text::<ours::$response>),
                )*
                "ConsumerProtocolAssignment" => (
                    opinion::<theirs::ConsumerProtocolAssignment> as Opinion,
                    our_text::<ours::ConsumerProtocolAssignment>,
                ),
                "ConsumerProtocolSubscription" => (
                    opinion::<theirs::ConsumerProtocolSubscription> as Opinion,
                    our_text::<ours::ConsumerProtocolSubscription>,
                ),
                _ => return None,
            })
        }
    };
}
known_to_both! {
    (AddOffsetsToTxnRequest, AddOffsetsToTxnResponse)
    (AddPartitionsToTxnRequest, AddPartitionsToTxnResponse)
    (AddRaftVoterRequest, AddRaftVoterResponse)
    (AlterClientQuotasRequest, AlterClientQuotasResponse)
    (AlterConfigsRequest, AlterConfigsResponse)
    (AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse)
    (AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse)
    (AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse)
    (AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse)
    (ApiVersionsRequest, ApiVersionsResponse)
    (ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse)
    (ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse)
    (CreateAclsRequest, CreateAclsResponse)
    (CreateDelegationTokenRequest, CreateDelegationTokenResponse)
    (CreatePartitionsRequest, CreatePartitionsResponse)
    (CreateTopicsRequest, CreateTopicsResponse)
    (DeleteAclsRequest, DeleteAclsResponse)
    (DeleteGroupsRequest, DeleteGroupsResponse)
    (DeleteRecordsRequest, DeleteRecordsResponse)
    (DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse)
    (DeleteShareGroupStateRequest, DeleteShareGroupStateResponse)
    (DeleteTopicsRequest, DeleteTopicsResponse)
    (DescribeAclsRequest, DescribeAclsResponse)
    (DescribeClientQuotasRequest, DescribeClientQuotasResponse)
    (DescribeClusterRequest, DescribeClusterResponse)
    (DescribeConfigsRequest, DescribeConfigsResponse)
    (DescribeDelegationTokenRequest, DescribeDelegationTokenResponse)
    (DescribeGroupsRequest, DescribeGroupsResponse)
    (DescribeLogDirsRequest, DescribeLogDirsResponse)
    (DescribeProducersRequest, DescribeProducersResponse)
    (DescribeQuorumRequest, DescribeQuorumResponse)
    (DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsResponse)
    (DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse)
    (DescribeTransactionsRequest, DescribeTransactionsResponse)
    (DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse)
    (ElectLeadersRequest, ElectLeadersResponse)
    (EndTxnRequest, EndTxnResponse)
    (ExpireDelegationTokenRequest, ExpireDelegationTokenResponse)
    (FetchRequest, FetchResponse)
    (FindCoordinatorRequest, FindCoordinatorResponse)
    (GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse)
    (HeartbeatRequest, HeartbeatResponse)
    (IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse)
    (InitProducerIdRequest, InitProducerIdResponse)
    (InitializeShareGroupStateRequest, InitializeShareGroupStateResponse)
    (JoinGroupRequest, JoinGroupResponse)
    (LeaveGroupRequest, LeaveGroupResponse)
    (ListConfigResourcesRequest, ListConfigResourcesResponse)
    (ListGroupsRequest, ListGroupsResponse)
    (ListOffsetsRequest, ListOffsetsResponse)
    (ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse)
    (ListTransactionsRequest, ListTransactionsResponse)
    (MetadataRequest, MetadataResponse)
    (OffsetCommitRequest, OffsetCommitResponse)
    (OffsetDeleteRequest, OffsetDeleteResponse)
    (OffsetFetchRequest, OffsetFetchResponse)
    (OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse)
    (ProduceRequest, ProduceResponse)
    (PushTelemetryRequest, PushTelemetryResponse)
    (ReadShareGroupStateRequest, ReadShareGroupStateResponse)
    (ReadShareGroupStateSummaryRequest, ReadShareGroupStateSummaryResponse)
    (RemoveRaftVoterRequest, RemoveRaftVoterResponse)
    (RenewDelegationTokenRequest, RenewDelegationTokenResponse)
    (SaslAuthenticateRequest, SaslAuthenticateResponse)
    (SaslHandshakeRequest, SaslHandshakeResponse)
    (ShareAcknowledgeRequest, ShareAcknowledgeResponse)
    (ShareFetchRequest, ShareFetchResponse)
    (ShareGroupDescribeRequest, ShareGroupDescribeResponse)
    (ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse)
    (SyncGroupRequest, SyncGroupResponse)
    (TxnOffsetCommitRequest, TxnOffsetCommitResponse)
    (UnregisterBrokerRequest, UnregisterBrokerResponse)
    (UpdateFeaturesRequest, UpdateFeaturesResponse)
    (WriteShareGroupStateRequest, WriteShareGroupStateResponse)
    (WriteTxnMarkersRequest, WriteTxnMarkersResponse)
}

/// Fields that Kafka 4.1, which their crate was made from, called otherwise: theirs, ours.
const RENAMED_SINCE_4_1: [(&str, &str); 1] = [(".generationid", ".generationidormemberepoch")];

/// A field of ShareFetch that no version has any more; their crate keeps it.
const ONLY_IN_WITHDRAWN_VERSIONS: &str = ".partitionmaxbytes";

fn descriptions() -> Vec<Description> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let schemas = proto::read_schemas(&root).expect("the text files make sense");
    let ours = |s: &Schema| !matches!(s.subject, Subject::Record { .. });
    schemas.into_iter().filter(ours).flat_map(|schema| schema.messages).collect()
}

/// Holds both opinions on one sample against each other; false if there is only ours.
fn agree(message: &Description, version: i16, style: Style, seed: u64) -> bool {
    let Some((theirs, ours)) = opinions_on(&message.name) else { return false };
    let values = Sampler::new(style, seed).message(message, version);
    for unknown_tags in [false, true] {
        let bytes = Bytes::from(sample::encode(message, version, &values, unknown_tags));
        let Some((their_text, again)) = theirs(&bytes, version) else { return false };
        let at = format!("{} {version} {style:?}", message.name);
        assert_eq!(again, bytes, "{at}: {their_text}");
        let our_text = ours(&bytes, version);
        let our_leaves = leaves(&our_text);
        for (mut path, value) in leaves(&their_text) {
            for (theirs, ours) in RENAMED_SINCE_4_1 {
                if path.ends_with(theirs) && !our_leaves.contains_key(&path) {
                    path = path.replace(theirs, ours);
                }
            }
            let ours = our_leaves.get(&path);
            if ours.is_none() && path.ends_with(ONLY_IN_WITHDRAWN_VERSIONS) {
                continue;
            }
            assert_eq!(ours, Some(&value), "{at}{path}\n{our_text}\n{their_text}");
        }
    }
    true
}

#[test]
fn kafka_protocol_agrees_on_every_message_and_version_that_both_know() {
    let (mut agreed, mut alone) = (0, Vec::new());
    for message in &descriptions() {
        for version in message.versions.iter() {
            let mut both = true;
            for style in STYLES {
                both &= agree(message, version, style, 7);
            }
            if both {
                agreed += 1;
            } else {
                alone.push(format!("{} {version}", message.name));
            }
        }
    }

    println!("agreed on {agreed}, alone on {}: {alone:?}", alone.len());
    // The rest is held against frames from Kafka's own client, see `golden/main.rs`.
    assert_eq!((agreed, alone.len()), (539, 39));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn kafka_protocol_agrees_on_any_value(seed in any::<u64>()) {
        for message in &descriptions() {
            for version in message.versions.iter() {
                agree(message, version, Style::Mixed, seed);
            }
        }
    }
}
