//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup: being a member of a classic group.
//!
//! Invariants: a join or sync waits as long as the group takes, but not beyond the server's stop;
//! metadata and assignments are copied out of the request, which they would keep in memory
//! otherwise. Source: KIP-62, KIP-345, KIP-394, KIP-559, KIP-800, KIP-814.

use base::{Duration, Probe};
use broker::api::group::{Command, Join, Joined, Leaving, MemberOf, Reply, Sync, Synced};
use bytes::Bytes;
use env::Env;
use protocol::messages::join_group_response::JoinGroupResponseMember;
use protocol::messages::leave_group_response::MemberResponse;
use protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};

use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// A copy that does not keep the request in memory.
fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn millis(value: i32) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or(0))
}

fn refused<E: Env>(context: &Context<'_, E>, error: ErrorCode) -> ErrorCode {
    context.probe().reached("group_member_refused");
    error
}

/// A join without the bytes it came in.
pub(crate) fn read_join<E: Env>(context: &Context<'_, E>, request: JoinGroupRequest) -> Join {
    let version = context.version();
    let timeout =
        if version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms };
    let protocols = request.protocols.into_iter();
    Join {
        group: request.group_id,
        member: request.member_id,
        instance: request.group_instance_id,
        client_id: context.client_id().to_owned(),
        client_host: format!("/{}", context.peer),
        session_timeout: millis(request.session_timeout_ms),
        rebalance_timeout: millis(timeout),
        protocol_type: request.protocol_type,
        protocols: protocols.map(|one| (one.name, own(&one.metadata))).collect(),
        member_id_required: version >= 4,
        skip_assignment: version >= 9,
    }
}

pub(crate) async fn join<E: Env>(context: &Context<'_, E>, asked: Join) -> Outcome<FileOf<E>> {
    let version = context.version();
    let member = asked.member.clone();
    let answer = context.shared.broker.group(Command::Join(asked));
    let Some(reply) = context.unless_stopped(answer).await else {
        return Outcome::Close;
    };
    let outcome = match reply {
        Reply::Join(Ok(joined)) => Ok(joined),
        Reply::Join(Err((error, given))) => {
            Err((ErrorCode::from(error), if given.is_empty() { member } else { given }))
        },
        _ => Err((ErrorCode::UNKNOWN_SERVER_ERROR, member)),
    };
    let response = match outcome {
        Ok(joined) => joined_response(version, joined),
        Err((error, member_id)) => JoinGroupResponse {
            error_code: refused(context, error).0,
            generation_id: -1,
            protocol_name: (version < 7).then(String::new),
            member_id,
            ..JoinGroupResponse::default()
        },
    };
    context.reply(&response)
}

fn joined_response(version: i16, joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| JoinGroupResponseMember {
        member_id: member.member,
        group_instance_id: member.instance,
        metadata: member.metadata,
    });
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: Some(joined.protocol_type),
        protocol_name: Some(joined.protocol),
        leader: joined.leader,
        skip_assignment: joined.skip_assignment && version >= 9,
        member_id: joined.member,
        members: members.collect(),
        ..JoinGroupResponse::default()
    }
}

/// A sync without the bytes it came in.
pub(crate) fn read_sync(request: SyncGroupRequest) -> Sync {
    let assignments = request.assignments.into_iter();
    Sync {
        who: MemberOf {
            group: request.group_id,
            member: request.member_id,
            instance: request.group_instance_id,
            generation: request.generation_id,
        },
        protocol_type: request.protocol_type,
        protocol: request.protocol_name,
        assignments: assignments.map(|one| (one.member_id, own(&one.assignment))).collect(),
    }
}

pub(crate) async fn sync<E: Env>(context: &Context<'_, E>, asked: Sync) -> Outcome<FileOf<E>> {
    let unnamed = asked.protocol_type.is_none() || asked.protocol.is_none();
    let outcome = if context.version() >= 5 && unnamed {
        Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL)
    } else {
        let answer = context.shared.broker.group(Command::Sync(asked));
        match context.unless_stopped(answer).await {
            None => return Outcome::Close,
            Some(Reply::Sync(outcome)) => outcome.map_err(ErrorCode::from),
            Some(_) => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
        }
    };
    let response = match outcome {
        Ok(Synced { protocol_type, protocol, assignment }) => SyncGroupResponse {
            protocol_type: Some(protocol_type),
            protocol_name: Some(protocol),
            assignment,
            ..SyncGroupResponse::default()
        },
        Err(error) => SyncGroupResponse {
            error_code: refused(context, error).0,
            ..SyncGroupResponse::default()
        },
    };
    context.reply(&response)
}

pub(crate) async fn heartbeat<E: Env>(
    context: &Context<'_, E>,
    request: HeartbeatRequest,
) -> Outcome<FileOf<E>> {
    let command = Command::Heartbeat(MemberOf {
        group: request.group_id,
        member: request.member_id,
        instance: request.group_instance_id,
        generation: request.generation_id,
    });
    let error = match context.shared.broker.group(command).await {
        Reply::Heartbeat(Ok(())) => ErrorCode::NONE,
        Reply::Heartbeat(Err(error)) => refused(context, ErrorCode::from(error)),
        _ => ErrorCode::UNKNOWN_SERVER_ERROR,
    };
    context.reply(&HeartbeatResponse { error_code: error.0, throttle_time_ms: 0 })
}

pub(crate) async fn leave<E: Env>(
    context: &Context<'_, E>,
    request: LeaveGroupRequest,
) -> Outcome<FileOf<E>> {
    let is_batched = context.version() >= 3;
    let members = if is_batched {
        let members = request.members.into_iter();
        members
            .map(|one| Leaving { member: one.member_id, instance: one.group_instance_id })
            .collect()
    } else {
        vec![Leaving { member: request.member_id, instance: None }]
    };
    let command = Command::Leave { group: request.group_id, members };
    let outcome = match context.shared.broker.group(command).await {
        Reply::Leave(outcome) => outcome.map_err(ErrorCode::from),
        _ => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
    };
    let answers = match outcome {
        Ok(answers) => answers,
        Err(error) => {
            let error_code = refused(context, error).0;
            return context
                .reply(&LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() });
        },
    };
    let members = answers.into_iter().map(|(who, outcome)| MemberResponse {
        member_id: who.member,
        group_instance_id: who.instance,
        error_code: outcome.err().map_or(ErrorCode::NONE, |e| refused(context, e.into())).0,
    });
    let members: Vec<_> = members.collect();
    let response = if is_batched {
        LeaveGroupResponse { members, ..LeaveGroupResponse::default() }
    } else {
        let error_code = members.first().map_or(0, |member| member.error_code);
        LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() }
    };
    context.reply(&response)
}
