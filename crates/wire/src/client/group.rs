//! Groups: membership, offsets, lists.

use base::{Duration, Instant};
use bytes::Bytes;
use env::Env;
use protocol::messages::describe_groups_response::DescribedGroup;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::list_groups_response::ListedGroup;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
};

use super::{Client, ClientError, accepted};
use crate::error_code::ErrorCode;

/// The type of groups that consumers form.
const CONSUMER: &str = "consumer";
const FIND_COORDINATOR_VERSION: i16 = 6;
const JOIN_GROUP_VERSION: i16 = 9;
const SYNC_GROUP_VERSION: i16 = 5;
const HEARTBEAT_VERSION: i16 = 4;
const LEAVE_GROUP_VERSION: i16 = 5;
const OFFSET_COMMIT_VERSION: i16 = 9;
const OFFSET_FETCH_VERSION: i16 = 9;
const LIST_GROUPS_VERSION: i16 = 5;
const DESCRIBE_GROUPS_VERSION: i16 = 6;
const DELETE_GROUPS_VERSION: i16 = 3;
const OFFSET_DELETE_VERSION: i16 = 0;

/// A member of a group, as it names itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// The group.
    pub group: String,
    /// Given by the coordinator; empty before the first join.
    pub id: String,
    /// The generation it belongs to; −1 for commits from outside a group.
    pub generation: i32,
}

impl Member {
    /// Nobody yet, about to join `group`; may also commit while the group is empty.
    pub fn outside(group: &str) -> Self {
        Self { group: group.to_owned(), id: String::new(), generation: -1 }
    }
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Topic name.
    pub topic: String,
    /// Partition index.
    pub partition: i32,
    /// Next offset to be consumed.
    pub offset: i64,
    /// Text kept beside it.
    pub metadata: String,
}

impl<E: Env> Client<E> {
    /// Who coordinates a group: node id, host, port.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn find_coordinator(
        &mut self,
        group: &str,
        deadline: Instant,
    ) -> Result<(i32, String, i32), ClientError> {
        let request = FindCoordinatorRequest {
            coordinator_keys: vec![group.to_owned()],
            ..FindCoordinatorRequest::default()
        };
        let response = self.call(FIND_COORDINATOR_VERSION, &request, deadline).await?;
        let found = response.coordinators.into_iter().next().ok_or(ClientError::Incomplete)?;
        accepted(found.error_code, found.error_message.as_deref())?;
        Ok((found.node_id, found.host, found.port))
    }

    /// Joins, twice if the coordinator first gives an id, and notes id and generation in `member`.
    /// The answer names the leader, and for the leader all members.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn join_group(
        &mut self,
        member: &mut Member,
        (session, rebalance): (Duration, Duration),
        protocols: &[(&str, Bytes)],
        deadline: Instant,
    ) -> Result<JoinGroupResponse, ClientError> {
        let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        let protocols = protocols.iter().map(|(name, metadata)| JoinGroupRequestProtocol {
            name: (*name).to_owned(),
            metadata: metadata.clone(),
        });
        let mut request = JoinGroupRequest {
            group_id: member.group.clone(),
            session_timeout_ms: millis(session),
            rebalance_timeout_ms: millis(rebalance),
            member_id: member.id.clone(),
            protocol_type: CONSUMER.to_owned(),
            protocols: protocols.collect(),
            ..JoinGroupRequest::default()
        };
        let mut joined = self.call(JOIN_GROUP_VERSION, &request, deadline).await?;
        if ErrorCode(joined.error_code) == ErrorCode::MEMBER_ID_REQUIRED {
            request.member_id = joined.member_id;
            joined = self.call(JOIN_GROUP_VERSION, &request, deadline).await?;
        }
        accepted(joined.error_code, None)?;
        member.id.clone_from(&joined.member_id);
        member.generation = joined.generation_id;
        Ok(joined)
    }

    /// Gets the member's assignment; the leader brings everybody's.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn sync_group(
        &mut self,
        member: &Member,
        protocol: &str,
        assignments: Vec<(String, Bytes)>,
        deadline: Instant,
    ) -> Result<Bytes, ClientError> {
        let assignments = assignments
            .into_iter()
            .map(|(member_id, assignment)| SyncGroupRequestAssignment { member_id, assignment });
        let request = SyncGroupRequest {
            group_id: member.group.clone(),
            generation_id: member.generation,
            member_id: member.id.clone(),
            protocol_type: Some(CONSUMER.to_owned()),
            protocol_name: Some(protocol.to_owned()),
            assignments: assignments.collect(),
            ..SyncGroupRequest::default()
        };
        let response = self.call(SYNC_GROUP_VERSION, &request, deadline).await?;
        accepted(response.error_code, None)?;
        Ok(response.assignment)
    }

    /// Gives a sign of life.
    ///
    /// # Errors
    /// [`ClientError`]; a refusal of `REBALANCE_IN_PROGRESS` asks to join again.
    pub async fn heartbeat(
        &mut self,
        member: &Member,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let request = HeartbeatRequest {
            group_id: member.group.clone(),
            generation_id: member.generation,
            member_id: member.id.clone(),
            ..HeartbeatRequest::default()
        };
        let response = self.call(HEARTBEAT_VERSION, &request, deadline).await?;
        accepted(response.error_code, None)
    }

    /// Leaves the group.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn leave_group(
        &mut self,
        member: &Member,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let request = LeaveGroupRequest {
            group_id: member.group.clone(),
            members: vec![MemberIdentity {
                member_id: member.id.clone(),
                ..MemberIdentity::default()
            }],
            ..LeaveGroupRequest::default()
        };
        let response = self.call(LEAVE_GROUP_VERSION, &request, deadline).await?;
        accepted(response.error_code, None)?;
        let member = response.members.into_iter().next().ok_or(ClientError::Incomplete)?;
        accepted(member.error_code, None)
    }

    /// Commits offsets, all or the first error.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn commit_offsets(
        &mut self,
        member: &Member,
        offsets: &[CommittedOffset],
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let topics = offsets.iter().map(|one| OffsetCommitRequestTopic {
            name: one.topic.clone(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: one.partition,
                committed_offset: one.offset,
                committed_metadata: Some(one.metadata.clone()),
                ..OffsetCommitRequestPartition::default()
            }],
            ..OffsetCommitRequestTopic::default()
        });
        let request = OffsetCommitRequest {
            group_id: member.group.clone(),
            generation_id_or_member_epoch: member.generation,
            member_id: member.id.clone(),
            topics: topics.collect(),
            ..OffsetCommitRequest::default()
        };
        let response = self.call(OFFSET_COMMIT_VERSION, &request, deadline).await?;
        let mut parts = response.topics.iter().flat_map(|topic| &topic.partitions);
        parts.try_for_each(|part| accepted(part.error_code, None))
    }

    /// Committed offsets of a group, of these partitions or of all that have one. Partitions
    /// without a commit are left out.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn committed_offsets(
        &mut self,
        group: &str,
        partitions: Option<&[(&str, i32)]>,
        deadline: Instant,
    ) -> Result<Vec<CommittedOffset>, ClientError> {
        let topic = |(name, partition): &(&str, i32)| OffsetFetchRequestTopics {
            name: (*name).to_owned(),
            partition_indexes: vec![*partition],
            ..OffsetFetchRequestTopics::default()
        };
        let request = OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: group.to_owned(),
                topics: partitions.map(|partitions| partitions.iter().map(topic).collect()),
                ..OffsetFetchRequestGroup::default()
            }],
            ..OffsetFetchRequest::default()
        };
        let response = self.call(OFFSET_FETCH_VERSION, &request, deadline).await?;
        let group = response.groups.into_iter().next().ok_or(ClientError::Incomplete)?;
        accepted(group.error_code, None)?;
        let mut offsets = Vec::new();
        for topic in group.topics {
            for part in topic.partitions {
                accepted(part.error_code, None)?;
                if part.committed_offset >= 0 {
                    offsets.push(CommittedOffset {
                        topic: topic.name.clone(),
                        partition: part.partition_index,
                        offset: part.committed_offset,
                        metadata: part.metadata.unwrap_or_default(),
                    });
                }
            }
        }
        Ok(offsets)
    }

    /// The groups that this broker coordinates.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list_groups(
        &mut self,
        deadline: Instant,
    ) -> Result<Vec<ListedGroup>, ClientError> {
        let response =
            self.call(LIST_GROUPS_VERSION, &ListGroupsRequest::default(), deadline).await?;
        accepted(response.error_code, None)?;
        Ok(response.groups)
    }

    /// One group in full.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn describe_group(
        &mut self,
        group: &str,
        deadline: Instant,
    ) -> Result<DescribedGroup, ClientError> {
        let request = DescribeGroupsRequest {
            groups: vec![group.to_owned()],
            ..DescribeGroupsRequest::default()
        };
        let response = self.call(DESCRIBE_GROUPS_VERSION, &request, deadline).await?;
        let group = response.groups.into_iter().next().ok_or(ClientError::Incomplete)?;
        accepted(group.error_code, group.error_message.as_deref())?;
        Ok(group)
    }

    /// Deletes a group that has no members, with its offsets.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete_group(
        &mut self,
        group: &str,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let request = DeleteGroupsRequest { groups_names: vec![group.to_owned()] };
        let response = self.call(DELETE_GROUPS_VERSION, &request, deadline).await?;
        let group = response.results.into_iter().next().ok_or(ClientError::Incomplete)?;
        accepted(group.error_code, group.error_message.as_deref())
    }

    /// Deletes what a group has committed for these partitions; what became of each.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete_offsets(
        &mut self,
        group: &str,
        partitions: &[(String, i32)],
        deadline: Instant,
    ) -> Result<Vec<(String, i32, ErrorCode)>, ClientError> {
        let mut topics: Vec<OffsetDeleteRequestTopic> = Vec::new();
        for (name, partition_index) in partitions {
            let part = OffsetDeleteRequestPartition { partition_index: *partition_index };
            match topics.last_mut() {
                Some(topic) if topic.name == *name => topic.partitions.push(part),
                _ => {
                    let (name, partitions) = (name.clone(), vec![part]);
                    topics.push(OffsetDeleteRequestTopic { name, partitions });
                },
            }
        }
        let request = OffsetDeleteRequest { group_id: group.to_owned(), topics };
        let response = self.call(OFFSET_DELETE_VERSION, &request, deadline).await?;
        accepted(response.error_code, None)?;
        let mut outcomes = Vec::new();
        for topic in response.topics {
            let each = topic.partitions.into_iter();
            outcomes.extend(each.map(|part| {
                (topic.name.clone(), part.partition_index, ErrorCode(part.error_code))
            }));
        }
        Ok(outcomes)
    }
}
