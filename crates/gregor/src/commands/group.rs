//! `gregor group`.

mod change;
mod plan;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use protocol::messages::consumer_protocol_assignment::ConsumerProtocolAssignment;
use protocol::messages::describe_groups_response::DescribedGroup;
use protocol::{Reader, Wire};
use serde::Serialize;
use wire::client::WhichOffset;
use wire::error_code::ErrorCode;

use crate::cli::GroupCommand;
use crate::failure::Failure;
use crate::output::{Column, Output, or_dash};
use crate::remote::{self, Broker, Remote, To};

/// The state that brokers give for a group they do not know.
const DEAD: &str = "Dead";

/// Runs `gregor group`.
///
/// # Errors
/// [`Failure`].
pub fn run(command: GroupCommand) -> Result<(), Failure> {
    match command {
        GroupCommand::List { connect, format } => {
            remote::run(&connect, |remote| list(remote, Output::listing(format.json)))
        },
        GroupCommand::Describe { groups, connect, format } => {
            remote::run(&connect, |remote| describe(remote, groups, Output::listing(format.json)))
        },
        GroupCommand::ResetOffsets(asked) => {
            remote::run(&asked.connect.clone(), |remote| change::reset(remote, asked))
        },
        GroupCommand::DeleteOffsets(asked) => {
            remote::run(&asked.connect.clone(), |remote| change::delete_offsets(remote, asked))
        },
        GroupCommand::Delete { groups, connect, format } => {
            remote::run(&connect, |remote| change::delete(remote, groups, Output::new(format.json)))
        },
    }
}

#[derive(Serialize)]
struct Listed {
    group: String,
    state: String,
    protocol_type: String,
}

async fn list(mut remote: Remote, mut out: Output) -> Result<(), Failure> {
    remote.cluster(Some(&[])).await?;
    let mut groups = BTreeMap::new();
    for broker in remote.brokers() {
        let question = async |broker: &mut Broker, at| broker.list_groups(at).await;
        for group in remote.ask(broker, "the groups", question).await? {
            groups.insert(group.group_id.clone(), group);
        }
    }
    let mut rows = Vec::new();
    for group in groups.into_values() {
        let (name, state, kind) = (group.group_id, group.group_state, group.protocol_type);
        if out.is_json() {
            out.object(&Listed { group: name, state, protocol_type: kind })?;
        } else {
            rows.push(vec![name, state, kind]);
        }
    }
    out.table(&[Column::Text("GROUP"), Column::Text("STATE"), Column::Text("TYPE")], rows)?;
    out.flush()
}

#[derive(Serialize)]
struct Described {
    group: String,
    state: String,
    protocol_type: String,
    assignor: String,
    members: Vec<Member>,
    partitions: Vec<Place>,
    /// t = Σ o_i.
    consumed: i64,
    /// r = Σ (m_i − o_i).
    remaining: i64,
}

#[derive(Serialize)]
struct Member {
    member: String,
    client_id: String,
    host: String,
    partitions: Vec<Owned>,
}

#[derive(Serialize)]
struct Owned {
    topic: String,
    partition: i32,
}

#[derive(Serialize)]
struct Place {
    topic: String,
    partition: i32,
    committed: Option<i64>,
    log_start: Option<i64>,
    log_end: Option<i64>,
    lag: Option<i64>,
    member: Option<String>,
}

impl Place {
    /// What is left to read: behind the committed offset, or everything without one.
    fn remaining(&self) -> i64 {
        let from = self.committed.or(self.log_start).unwrap_or(0);
        self.log_end.map_or(0, |end| end.saturating_sub(from).max(0))
    }
}

async fn describe(mut remote: Remote, groups: Vec<String>, mut out: Output) -> Result<(), Failure> {
    let mut first = true;
    for group in groups {
        let described = look_at(&mut remote, &group).await?;
        if out.is_json() {
            out.object(&described)?;
            continue;
        }
        if !first {
            out.line("")?;
        }
        first = false;
        print(&mut out, described)?;
    }
    out.flush()
}

async fn look_at(remote: &mut Remote, group: &str) -> Result<Described, Failure> {
    let coordinator = remote.coordinator(group).await?;
    let what = format!("group '{group}'");
    let question = async |broker: &mut Broker, at| broker.describe_group(group, at).await;
    let found = match remote.ask(coordinator, &what, question).await {
        Err(Failure::Refused { code: ErrorCode::GROUP_ID_NOT_FOUND, .. }) => None,
        found => Some(found?).filter(|group| group.group_state != DEAD),
    };
    let found = found.ok_or_else(|| Failure::UnknownGroup(group.to_owned()))?;
    let members = members(&found);
    let question = async |broker: &mut Broker, at| broker.committed_offsets(group, None, at).await;
    let mut committed = BTreeMap::new();
    for one in remote.ask(coordinator, &what, question).await? {
        committed.insert((one.topic, one.partition), one.offset);
    }
    let places = places(remote, &members, &committed).await?;
    Ok(Described {
        group: found.group_id,
        state: found.group_state,
        protocol_type: found.protocol_type,
        assignor: found.protocol_data,
        members,
        consumed: places.iter().filter_map(|place| place.committed).sum(),
        remaining: places.iter().map(Place::remaining).sum(),
        partitions: places,
    })
}

fn members(group: &DescribedGroup) -> Vec<Member> {
    let member =
        |member: &protocol::messages::describe_groups_response::DescribedGroupMember| Member {
            member: member.member_id.clone(),
            client_id: member.client_id.clone(),
            host: member.client_host.clone(),
            partitions: assigned(&member.member_assignment),
        };
    group.members.iter().map(member).collect()
}

/// The partitions in an assignment; none if it is not a consumer's.
pub fn assigned_partitions(bytes: &Bytes) -> BTreeMap<String, Vec<i32>> {
    let mut reader = Reader::from(bytes);
    let version = reader.i16().unwrap_or(0).clamp(0, 3);
    let assignment = ConsumerProtocolAssignment::decode(&mut reader, version);
    let topics = assignment.map(|found| found.assigned_partitions).unwrap_or_default();
    topics.into_iter().map(|topic| (topic.topic, topic.partitions)).collect()
}

fn assigned(bytes: &Bytes) -> Vec<Owned> {
    let each = |(topic, partitions): (String, Vec<i32>)| {
        partitions.into_iter().map(move |partition| Owned { topic: topic.clone(), partition })
    };
    assigned_partitions(bytes).into_iter().flat_map(each).collect()
}

/// Every partition of every topic that the group has something to do with.
async fn places(
    remote: &mut Remote,
    members: &[Member],
    committed: &BTreeMap<(String, i32), i64>,
) -> Result<Vec<Place>, Failure> {
    let owned = members.iter().flat_map(|member| &member.partitions);
    let names = committed.keys().map(|(topic, _)| topic.clone());
    let names: BTreeSet<String> = names.chain(owned.map(|owned| owned.topic.clone())).collect();
    let owner = |topic: &str, partition: i32| {
        let owns = |member: &&Member| {
            member
                .partitions
                .iter()
                .any(|owned| owned.topic == topic && owned.partition == partition)
        };
        members.iter().find(owns).map(|member| member.member.clone())
    };
    let mut places = Vec::new();
    for name in names {
        let topic = match remote.topic(&name).await {
            // Deleted since: its committed offsets are still there for a while.
            Err(Failure::UnknownTopic(_)) => {
                places.extend(orphans(&name, committed));
                continue;
            },
            topic => topic?,
        };
        let indexes: Vec<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
        let starts = remote.offsets(&name, &topic, &indexes, WhichOffset::Earliest).await?;
        let ends = remote.offsets(&name, &topic, &indexes, WhichOffset::Latest).await?;
        for index in indexes {
            let at = committed.get(&(name.clone(), index)).copied();
            let end = ends.get(&index).copied().flatten();
            places.push(Place {
                topic: name.clone(),
                partition: index,
                committed: at,
                log_start: starts.get(&index).copied().flatten(),
                log_end: end,
                lag: at.zip(end).map(|(at, end)| end.saturating_sub(at)),
                member: owner(&name, index),
            });
        }
    }
    Ok(places)
}

fn orphans(name: &str, committed: &BTreeMap<(String, i32), i64>) -> Vec<Place> {
    let of_topic = committed.iter().filter(|((topic, _), _)| topic == name);
    let place = |((topic, partition), at): (&(String, i32), &i64)| Place {
        topic: topic.clone(),
        partition: *partition,
        committed: Some(*at),
        log_start: None,
        log_end: None,
        lag: None,
        member: None,
    };
    of_topic.map(place).collect()
}

fn print(out: &mut Output, group: Described) -> Result<(), Failure> {
    let kind = if group.assignor.is_empty() { "none".into() } else { group.assignor };
    out.line(&format!(
        "group {}: {}, {} members, assignor {kind}",
        group.group,
        group.state,
        group.members.len()
    ))?;
    let columns = [
        Column::Text("TOPIC"),
        Column::Number("PARTITION"),
        Column::Number("COMMITTED"),
        Column::Number("LOG END"),
        Column::Number("LAG"),
        Column::Text("MEMBER"),
    ];
    let row = |place: Place| {
        vec![
            place.topic,
            place.partition.to_string(),
            or_dash(place.committed),
            or_dash(place.log_end),
            or_dash(place.lag),
            or_dash(place.member),
        ]
    };
    out.table(&columns, group.partitions.into_iter().map(row).collect())?;
    out.line(&format!("consumed   t = Σ o_i         = {}", group.consumed))?;
    out.line(&format!("remaining  r = Σ (m_i - o_i) = {}", group.remaining))
}

impl Remote {
    /// The broker that coordinates a group.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn coordinator(&mut self, group: &str) -> Result<To, Failure> {
        let what = format!("the coordinator of group '{group}'");
        let until = self.deadline();
        loop {
            let question = async |broker: &mut Broker, at| broker.find_coordinator(group, at).await;
            match self.ask(To::Any, &what, question).await {
                Ok((node, host, port)) => {
                    self.note_address(To::Node(node), &host, port);
                    return Ok(To::Node(node));
                },
                Err(failure) if failure.is_refused_for_now() && self.is_before(until) => {
                    self.pause().await;
                },
                Err(failure) => return Err(failure),
            }
        }
    }
}
