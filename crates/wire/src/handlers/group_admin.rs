//! ListGroups and DescribeGroups. Source: KIP-518, KIP-430, KIP-848, KIP-1043.

use std::collections::BTreeSet;

use base::Probe;
use broker::api::group::{Command, Described, GroupError, GroupState, Reply};
use env::Env;
use protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use protocol::messages::list_groups_response::ListedGroup;
use protocol::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, ListGroupsRequest, ListGroupsResponse,
};

use super::answer::Answer;
use super::topics::{GROUP_OPERATIONS, NOT_ASKED};
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// The type of every group of this version.
const CLASSIC: &str = "classic";
/// The first version in which an unknown group is an error.
const NOT_FOUND_VERSION_MIN: i16 = 6;

pub(crate) async fn list<E: Env>(
    context: &Context<'_, E>,
    request: ListGroupsRequest,
) -> Outcome<FileOf<E>> {
    let listed = match context.shared.broker.group(Command::List).await {
        Reply::List(Ok(listed)) => listed,
        Reply::List(Err(error)) => {
            context.probe().reached("list_groups_refused");
            let error_code = ErrorCode::from(error).0;
            return context.reply(&ListGroupsResponse { error_code, ..Default::default() });
        },
        _ => {
            let error_code = ErrorCode::UNKNOWN_SERVER_ERROR.0;
            return context.reply(&ListGroupsResponse { error_code, ..Default::default() });
        },
    };
    let small = |texts: Vec<String>| -> BTreeSet<String> {
        texts.into_iter().map(|text| text.to_ascii_lowercase()).collect()
    };
    let (types, states) = (small(request.types_filter), small(request.states_filter));
    let is_asked = |filter: &BTreeSet<String>, value: &str| {
        filter.is_empty() || filter.contains(&value.to_ascii_lowercase())
    };
    let wanted = is_asked(&types, CLASSIC);
    let groups = listed.into_iter().filter(|group| wanted && is_asked(&states, group.state.name()));
    let groups = groups.map(|group| ListedGroup {
        group_id: group.group,
        protocol_type: group.protocol_type,
        group_state: group.state.name().to_owned(),
        group_type: CLASSIC.to_owned(),
    });
    let groups = groups.collect();
    context.reply(&ListGroupsResponse { groups, ..ListGroupsResponse::default() })
}

pub(crate) async fn describe<E: Env>(
    context: &Context<'_, E>,
    request: DescribeGroupsRequest,
) -> Outcome<FileOf<E>> {
    let operations =
        if request.include_authorized_operations { GROUP_OPERATIONS } else { NOT_ASKED };
    let mut seen = BTreeSet::new();
    let mut groups = request.groups;
    // Answered once, however often it is named: a few bytes must not cost a whole group.
    groups.retain(|group| seen.insert(group.clone()));
    let mut described = Answer::of::<DescribeGroupsResponse>(context, 1, groups.len());
    let mut pushed = Ok(());
    for group in groups {
        let command = Command::Describe { group: group.clone() };
        let answer = match context.shared.broker.group(command).await {
            Reply::Describe(Ok(described)) => known(described, operations),
            Reply::Describe(Err(error)) => {
                context.probe().reached("describe_group_refused");
                unknown(context.version(), group, error)
            },
            _ => failed(group, ErrorCode::UNKNOWN_SERVER_ERROR),
        };
        pushed = described.push(&answer).await;
        if pushed.is_err() {
            break;
        }
    }
    described.end(pushed)
}

fn known(described: Described, operations: i32) -> DescribedGroup {
    let members = described.members.into_iter().map(|member| DescribedGroupMember {
        member_id: member.member,
        group_instance_id: member.instance,
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    });
    DescribedGroup {
        group_id: described.group,
        group_state: described.state.name().to_owned(),
        protocol_type: described.protocol_type,
        protocol_data: described.protocol,
        members: members.collect(),
        authorized_operations: operations,
        ..DescribedGroup::default()
    }
}

/// Before version 6 a group that does not exist is one that is dead.
fn unknown(version: i16, group: String, error: GroupError) -> DescribedGroup {
    let missing = error == GroupError::GroupNotFound;
    let dead = GroupState::Dead.name().to_owned();
    if missing && version < NOT_FOUND_VERSION_MIN {
        return DescribedGroup { group_id: group, group_state: dead, ..DescribedGroup::default() };
    }
    let error_message = missing.then(|| format!("Group {group} not found."));
    let group_state = if missing { dead } else { String::new() };
    DescribedGroup { error_message, group_state, ..failed(group, ErrorCode::from(error)) }
}

fn failed(group_id: String, error: ErrorCode) -> DescribedGroup {
    DescribedGroup { group_id, error_code: error.0, ..DescribedGroup::default() }
}
