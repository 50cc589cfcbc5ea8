//! The life of a group of its own, with every mistake a member can make.

use bytes::Bytes;
use protocol::messages::describe_client_quotas_request::{
    ComponentData, DescribeClientQuotasRequest,
};
use protocol::messages::describe_groups_request::DescribeGroupsRequest;
use protocol::messages::describe_transactions_request::DescribeTransactionsRequest;
use protocol::messages::heartbeat_request::HeartbeatRequest;
use protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use protocol::messages::list_config_resources_request::ListConfigResourcesRequest;
use protocol::messages::list_groups_request::ListGroupsRequest;
use protocol::messages::list_transactions_request::ListTransactionsRequest;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_commit_response::OffsetCommitResponse;
use protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};

use super::{NO_ID, OWN, Odd};
use crate::client::errors::{ILLEGAL_GENERATION, NONE, REBALANCE_IN_PROGRESS, UNKNOWN_MEMBER_ID};

const GROUP: &str = "odd-group";
const OFFSET_METADATA_TOO_LARGE: i16 = 12;
const UNSUPPORTED_VERSION: i16 = 35;
const TRANSACTIONAL_ID_NOT_FOUND: i16 = 105;

pub(super) fn join(
    group: &str,
    kind: &str,
    session_timeout_ms: i32,
    member: &str,
) -> JoinGroupRequest {
    let metadata = Bytes::from_static(b"m");
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms,
        rebalance_timeout_ms: 1_000,
        member_id: member.into(),
        protocol_type: kind.into(),
        protocols: vec![JoinGroupRequestProtocol { name: "p".into(), metadata }],
        ..JoinGroupRequest::default()
    }
}

/// A commit of one offset.
pub(super) fn commit_of(
    group: &str,
    topic: &str,
    generation: i32,
    member: &str,
    metadata: &str,
) -> OffsetCommitRequest {
    let part = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: 0,
        committed_leader_epoch: -1,
        committed_metadata: Some(metadata.into()),
    };
    let topic = OffsetCommitRequestTopic {
        name: topic.into(),
        partitions: vec![part],
        ..OffsetCommitRequestTopic::default()
    };
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    }
}

impl Odd {
    pub(super) async fn group_life(&mut self) {
        const SESSION_MS: i32 = 10_000;
        for (ask, allowed) in [
            (join(GROUP, "consumer", 1, ""), 26),
            (join("", "consumer", SESSION_MS, ""), 24),
            (join(GROUP, "consumer", SESSION_MS, "nobody"), UNKNOWN_MEMBER_ID),
        ] {
            self.ask(3, &ask, |answer| Some(answer.error_code), &[allowed]).await;
        }
        let ask = join(GROUP, "consumer", SESSION_MS, "");
        let joined = self.ask(3, &ask, |answer| Some(answer.error_code), &[NONE]).await;
        let joined = joined.filter(|answer| answer.error_code == NONE);
        let (member, generation) =
            joined.map_or(("nobody".into(), 7), |answer| (answer.member_id, answer.generation_id));
        // A group may be gone by now, for the broker may have died.
        let gone = [UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS, NONE];
        let other = join(GROUP, "connect", SESSION_MS, "");
        self.ask(3, &other, |answer| Some(answer.error_code), &[23, NONE]).await;
        let ask = HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: generation + 40,
            member_id: member.clone(),
            group_instance_id: None,
        };
        self.ask(3, &ask, |answer| Some(answer.error_code), &gone[..3]).await;
        self.commits(&member, generation).await;
        self.leave(&member).await;
        self.look_at_groups().await;
        self.look_at_what_is_not_there().await;
    }

    /// Quotas and transactions, which this broker has none of, and resources of no kind.
    async fn look_at_what_is_not_there(&mut self) {
        let quota = ComponentData { entity_type: "team".into(), ..ComponentData::default() };
        for (components, allowed) in [(Vec::new(), NONE), (vec![quota], UNSUPPORTED_VERSION)] {
            let ask = DescribeClientQuotasRequest { components, strict: true };
            self.ask(1, &ask, |answer| Some(answer.error_code), &[allowed]).await;
        }
        let ask = DescribeTransactionsRequest { transactional_ids: vec!["t".into()] };
        let code = |answer: &protocol::messages::DescribeTransactionsResponse| {
            Some(answer.transaction_states.first()?.error_code)
        };
        self.ask(0, &ask, code, &[TRANSACTIONAL_ID_NOT_FOUND]).await;
        let ask = ListTransactionsRequest::default();
        self.ask(1, &ask, |answer| Some(answer.error_code), &[NONE]).await;
        for (kind, allowed) in [(2, NONE), (99, UNSUPPORTED_VERSION)] {
            let ask = ListConfigResourcesRequest { resource_types: vec![kind] };
            self.ask(1, &ask, |answer| Some(answer.error_code), &[allowed]).await;
        }
    }

    async fn commits(&mut self, member: &str, generation: i32) {
        let metadata = "m".repeat(5_000);
        let code = |answer: &OffsetCommitResponse| {
            Some(answer.topics.first()?.partitions.first()?.error_code)
        };
        // Nobody was ever a member of that generation; the others depend on who is left of the group.
        let refused: &[i16] = &[UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS];
        for (generation, member, metadata, allowed) in [
            (generation + 40, member, "", refused),
            (-1, "", &metadata[..], &[]),
            (-1, "", "", &[]),
        ] {
            let ask = commit_of(GROUP, OWN, generation, member, metadata);
            self.ask(7, &ask, code, allowed).await;
            // An old client that says how long its offsets are to be kept.
            let old = OffsetCommitRequest { retention_time_ms: 60_000, ..ask };
            self.ask(3, &old, code, allowed).await;
        }
        // A group without members takes offsets from anybody, but no novels beside them.
        for (metadata, allowed) in [(&metadata[..], OFFSET_METADATA_TOO_LARGE), ("", NONE)] {
            let ask = commit_of("odd-simple", OWN, -1, "", metadata);
            self.ask(7, &ask, code, &[allowed]).await;
        }
    }

    async fn leave(&mut self, member: &str) {
        for member in ["nobody", member] {
            let identity = MemberIdentity { member_id: member.into(), ..MemberIdentity::default() };
            let ask = LeaveGroupRequest {
                group_id: GROUP.into(),
                members: vec![identity],
                ..LeaveGroupRequest::default()
            };
            self.ask(4, &ask, |answer| Some(answer.error_code), &[NONE, UNKNOWN_MEMBER_ID]).await;
        }
    }

    async fn look_at_groups(&mut self) {
        let groups = vec!["no-such-group".into(), String::new()];
        let ask = DescribeGroupsRequest { groups, include_authorized_operations: false };
        self.ask(6, &ask, |answer| Some(answer.groups.first()?.error_code), &[69]).await;
        let ask = ListGroupsRequest {
            states_filter: vec!["Empty".into()],
            types_filter: vec!["classic".into()],
        };
        self.ask(5, &ask, |answer| Some(answer.error_code), &[NONE]).await;
        for topics in [None, Some(NO_ID)] {
            let unknown = |topic_id| {
                let partition_indexes = vec![0];
                vec![OffsetFetchRequestTopics {
                    topic_id,
                    partition_indexes,
                    ..OffsetFetchRequestTopics::default()
                }]
            };
            let group = OffsetFetchRequestGroup {
                group_id: GROUP.into(),
                topics: topics.map(unknown),
                ..OffsetFetchRequestGroup::default()
            };
            let ask = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
            self.ask(10, &ask, |answer| Some(answer.groups.first()?.error_code), &[NONE]).await;
        }
    }
}
