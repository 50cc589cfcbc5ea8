//! `gregor group reset-offsets`, `delete-offsets` and `delete`.
//!
//! Invariants: nothing is changed without `--execute` where that is asked for; what is printed as
//! done was acknowledged; an offset that is committed lies within its log, or was committed before;
//! of several groups none is changed before all were looked at.

use std::collections::BTreeMap;

use env::Env;
use serde::Serialize;
use wire::client::{CommittedOffset, Member, WhichOffset};
use wire::error_code::ErrorCode;

use super::plan::{self, Plan};
use crate::cli::{DeleteOffsets, Places, ResetOffsets, Scope, Strategy};
use crate::failure::Failure;
use crate::output::{Column, Output, aside, counted, or_dash};
use crate::remote::{Broker, Remote, To, TopicOf};

/// States of a group that has no members.
const WITHOUT_MEMBERS: &[&str] = &["Empty", super::DEAD];

/// Topic and partition.
pub type Place = (String, i32);
type Committed = BTreeMap<Place, i64>;

#[derive(Serialize)]
struct Reset {
    group: String,
    executed: bool,
    partitions: Vec<Moved>,
}

#[derive(Serialize)]
struct Moved {
    topic: String,
    partition: i32,
    committed: Option<i64>,
    new_offset: i64,
}

/// `gregor group reset-offsets`.
///
/// # Errors
/// [`Failure`]; the groups before the one whose commit is refused are moved.
pub async fn reset(mut remote: Remote, asked: ResetOffsets) -> Result<(), Failure> {
    let mut out = Output::new(asked.format.json);
    let file = asked.strategy.from_file.as_deref();
    let file = file.map(|path| Plan::read(path, &asked.groups)).transpose()?;
    let mut resets = Vec::new();
    for group in &asked.groups {
        let planned = file.as_ref().map(|file| file.of(group)).transpose()?;
        resets.push(planned_reset(&mut remote, group, planned, &asked).await?);
    }
    let is_only = resets.len() == 1;
    for (coordinator, mut reset) in resets {
        if asked.execute {
            commit(&mut remote, coordinator, &reset).await?;
            reset.executed = true;
        }
        if asked.export {
            for moved in &reset.partitions {
                let (place, group) = ((moved.topic.as_str(), moved.partition), &reset.group);
                let group = (!is_only).then_some(group.as_str());
                // To be read back: a name stays as it is.
                let line = plan::line(group, place, moved.new_offset) + "\n";
                out.bytes(line.as_bytes())?;
            }
            out.flush()?;
        } else {
            print_reset(&mut out, reset)?;
        }
    }
    Ok(())
}

/// Where the offsets of a group go, and who coordinates it. Nothing is changed.
async fn planned_reset(
    remote: &mut Remote,
    group: &str,
    planned: Option<&Committed>,
    asked: &ResetOffsets,
) -> Result<(To, Reset), Failure> {
    let coordinator = remote.coordinator(group).await?;
    let state = state_of(remote, coordinator, group).await?;
    if !WITHOUT_MEMBERS.contains(&state.as_str()) {
        return Err(has_members(group, "move its offsets"));
    }
    let committed = committed(remote, coordinator, group).await?;
    let of_file = |planned: &Committed| {
        let place = |(topic, partition): &Place| Places {
            topic: topic.clone(),
            partitions: Some(vec![*partition]),
        };
        Scope { topics: planned.keys().map(place).collect(), all_topics: false }
    };
    let scope = planned.map_or_else(|| asked.scope.clone(), of_file);
    let known = Known { committed: &committed, planned };
    let mut partitions = Vec::new();
    for (name, topic, indexes) in places(remote, group, &scope, &committed).await? {
        let found = targets(remote, (&name, &topic), &indexes, known, &asked.strategy).await?;
        partitions.extend(found);
    }
    Ok((coordinator, Reset { group: group.to_owned(), executed: false, partitions }))
}

async fn commit(remote: &mut Remote, coordinator: To, reset: &Reset) -> Result<(), Failure> {
    let group = reset.group.as_str();
    let offsets: Vec<CommittedOffset> = reset
        .partitions
        .iter()
        .map(|moved| CommittedOffset {
            topic: moved.topic.clone(),
            partition: moved.partition,
            offset: moved.new_offset,
            metadata: String::new(),
        })
        .collect();
    let what = format!("the offsets of group '{group}'");
    let question = async |broker: &mut Broker, at| {
        broker.commit_offsets(&Member::outside(group), &offsets, at).await
    };
    match remote.ask(coordinator, &what, question).await {
        // Somebody has joined since it was looked at.
        Err(Failure::Refused { code: ErrorCode::UNKNOWN_MEMBER_ID, .. }) => {
            Err(has_members(group, "move its offsets"))
        },
        done => done,
    }
}

fn print_reset(out: &mut Output, reset: Reset) -> Result<(), Failure> {
    if out.is_json() {
        out.object(&reset)?;
        return out.flush();
    }
    let count = u64::try_from(reset.partitions.len()).unwrap_or(u64::MAX);
    let row = |moved: Moved| {
        let (partition, new) = (moved.partition.to_string(), moved.new_offset.to_string());
        vec![moved.topic, partition, or_dash(moved.committed), new]
    };
    let columns = [
        Column::Text("TOPIC"),
        Column::Number("PARTITION"),
        Column::Number("COMMITTED"),
        Column::Number("NEW OFFSET"),
    ];
    out.table(&columns, reset.partitions.into_iter().map(row).collect())?;
    let offsets = counted(count, "offset");
    out.line(&if reset.executed {
        format!("committed {offsets} of group {}", reset.group)
    } else {
        format!("nothing is changed; --execute commits {offsets} of group {}", reset.group)
    })?;
    out.flush()
}

/// What offsets of a group there are before they are moved.
#[derive(Clone, Copy)]
struct Known<'a> {
    committed: &'a Committed,
    /// Those of a file, where one is read.
    planned: Option<&'a Committed>,
}

/// The new offsets of some partitions of a topic.
async fn targets(
    remote: &mut Remote,
    (name, topic): (&str, &TopicOf),
    indexes: &[i32],
    known: Known<'_>,
    strategy: &Strategy,
) -> Result<Vec<Moved>, Failure> {
    let starts = remote.offsets(name, topic, indexes, WhichOffset::Earliest).await?;
    let ends = remote.offsets(name, topic, indexes, WhichOffset::Latest).await?;
    let now = remote.env().wall().0;
    let time = strategy.to_datetime.or(strategy.by_duration.map(|ago| now.saturating_sub(ago)));
    let by_time = match time {
        None => BTreeMap::new(),
        Some(time) => remote.offsets(name, topic, indexes, WhichOffset::AtOrAfter(time)).await?,
    };
    let mut moved = Vec::new();
    for index in indexes {
        let place = (name.to_owned(), *index);
        let before = known.committed.get(&place).copied();
        let planned = known.planned.and_then(|planned| planned.get(&place)).copied();
        let start = starts.get(index).copied().flatten().unwrap_or(0);
        let end = ends.get(index).copied().flatten().unwrap_or(start);
        let wanted = if strategy.to_earliest {
            start
        } else if let Some(offset) = planned.or(strategy.to_offset) {
            offset
        } else if let Some(by) = strategy.shift_by {
            let before = before.ok_or_else(|| Failure::Advised {
                what: format!("{name}-{index} has no committed offset that could be shifted"),
                hint: "--to-earliest, --to-latest or --to-offset N gives it one".to_owned(),
            })?;
            before.saturating_add(by)
        } else {
            // Behind the end if there is no record of that time or later.
            by_time.get(index).copied().flatten().unwrap_or(end)
        };
        // What is committed stays so, as in Kafka, wherever its log may begin by now.
        let stays = before.filter(|_| strategy.to_current);
        let new_offset = stays.unwrap_or_else(|| wanted.clamp(start, end.max(start)));
        if stays.is_none() && new_offset != wanted {
            let note =
                format!("{name}-{index} holds {start} to {end}; {wanted} becomes {new_offset}");
            aside(&format!("note: {note}"));
        }
        let (topic, partition) = place;
        moved.push(Moved { topic, partition, committed: before, new_offset });
    }
    Ok(moved)
}

/// The partitions that a command is about, by topic.
async fn places(
    remote: &mut Remote,
    group: &str,
    scope: &Scope,
    committed: &Committed,
) -> Result<Vec<(String, TopicOf, Vec<i32>)>, Failure> {
    let mut wanted: BTreeMap<String, Option<Vec<i32>>> = BTreeMap::new();
    for place in &scope.topics {
        let entry = wanted.entry(place.topic.clone()).or_insert_with(|| Some(Vec::new()));
        match (entry.as_mut(), &place.partitions) {
            (Some(all), Some(more)) => all.extend(more),
            (_, None) | (None, _) => *entry = None,
        }
    }
    if scope.all_topics {
        for (topic, partition) in committed.keys() {
            let entry = wanted.entry(topic.clone()).or_insert_with(|| Some(Vec::new()));
            entry.iter_mut().for_each(|all| all.push(*partition));
        }
        if wanted.is_empty() {
            return Err(Failure::Advised {
                what: format!("group '{group}' has committed nothing"),
                hint: "--topic TOPIC names a topic; `gregor topic list` shows them".to_owned(),
            });
        }
    }
    let mut found = Vec::new();
    for (name, indexes) in wanted {
        let topic = match remote.topic(&name).await {
            // Deleted since: nothing can be said of its offsets, and they go by themselves.
            Err(Failure::UnknownTopic(_)) if scope.all_topics => continue,
            topic => topic?,
        };
        let mut indexes = indexes
            .unwrap_or_else(|| topic.partitions.iter().map(|partition| partition.index).collect());
        indexes.sort_unstable();
        indexes.dedup();
        for index in &indexes {
            topic.leader(&name, *index)?;
        }
        found.push((name, topic, indexes));
    }
    Ok(found)
}

#[derive(Serialize)]
struct Deleted {
    topic: String,
    partition: i32,
    error: Option<String>,
}

/// `gregor group delete-offsets`.
///
/// # Errors
/// [`Failure`], also if one of the offsets is refused.
pub async fn delete_offsets(mut remote: Remote, asked: DeleteOffsets) -> Result<(), Failure> {
    let mut out = Output::new(asked.format.json);
    let group = asked.group;
    let coordinator = remote.coordinator(&group).await?;
    let known = committed(&mut remote, coordinator, &group).await?;
    let mut partitions = Vec::new();
    for (name, _, indexes) in places(&mut remote, &group, &asked.scope, &known).await? {
        partitions.extend(indexes.into_iter().map(|index| (name.clone(), index)));
    }
    let what = format!("offsets of group '{group}'");
    let question =
        async |broker: &mut Broker, at| broker.delete_offsets(&group, &partitions, at).await;
    let outcomes = match remote.ask(coordinator, &what, question).await {
        Err(Failure::Refused { code: ErrorCode::GROUP_ID_NOT_FOUND, .. }) => {
            return Err(Failure::UnknownGroup(group));
        },
        Err(Failure::Refused { code: ErrorCode::NON_EMPTY_GROUP, .. }) => {
            return Err(has_members(&group, "delete its offsets"));
        },
        outcomes => outcomes?,
    };
    let refused = outcomes.iter().find(|(_, _, code)| !code.is_none()).cloned();
    let printed = print_deleted(&mut out, outcomes);
    match refused {
        None => printed,
        Some((topic, _, ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC)) => Err(Failure::Advised {
            what: format!("members of group '{group}' read topic '{topic}'"),
            hint: format!(
                "stop these consumers first; `gregor group describe {group}` shows who they are"
            ),
        }),
        Some((topic, partition, code)) => {
            let what = format!("the offset of {topic}-{partition}");
            Err(Failure::Refused { what, code, told: None })
        },
    }
}

fn print_deleted(out: &mut Output, outcomes: Vec<(String, i32, ErrorCode)>) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for (topic, partition, code) in outcomes {
        let error = (!code.is_none()).then(|| code.to_string());
        if out.is_json() {
            out.object(&Deleted { topic, partition, error })?;
        } else {
            let said = error.unwrap_or_else(|| "deleted".to_owned());
            rows.push(vec![topic, partition.to_string(), said]);
        }
    }
    let columns = [Column::Text("TOPIC"), Column::Number("PARTITION"), Column::Text("OFFSET")];
    out.table(&columns, rows)?;
    out.flush()
}

#[derive(Serialize)]
struct Done<'a> {
    group: &'a str,
    done: &'static str,
}

/// `gregor group delete`.
///
/// # Errors
/// [`Failure`]; the groups before the one that is refused are deleted.
pub async fn delete(
    mut remote: Remote,
    groups: Vec<String>,
    mut out: Output,
) -> Result<(), Failure> {
    for group in groups {
        let coordinator = remote.coordinator(&group).await?;
        let what = format!("group '{group}'");
        let question = async |broker: &mut Broker, at| broker.delete_group(&group, at).await;
        match remote.ask(coordinator, &what, question).await {
            Err(Failure::Refused { code: ErrorCode::GROUP_ID_NOT_FOUND, .. }) => {
                return Err(Failure::UnknownGroup(group));
            },
            Err(Failure::Refused { code: ErrorCode::NON_EMPTY_GROUP, .. }) => {
                return Err(has_members(&group, "delete it"));
            },
            done => done?,
        }
        if out.is_json() {
            out.object(&Done { group: &group, done: "deleted" })?;
        } else {
            out.line(&format!("deleted {group}"))?;
        }
        out.flush()?;
    }
    Ok(())
}

fn has_members(group: &str, then: &str) -> Failure {
    Failure::Advised {
        what: format!("group '{group}' has members"),
        hint: format!(
            "stop its consumers (`gregor group describe {group}` shows them), then {then}; one \
             that was killed is a member until its session timeout"
        ),
    }
}

async fn state_of(remote: &mut Remote, at: To, group: &str) -> Result<String, Failure> {
    let what = format!("group '{group}'");
    let question = async |broker: &mut Broker, at| broker.describe_group(group, at).await;
    match remote.ask(at, &what, question).await {
        Err(Failure::Refused { code: ErrorCode::GROUP_ID_NOT_FOUND, .. }) => {
            Ok(super::DEAD.to_owned())
        },
        found => Ok(found?.group_state),
    }
}

async fn committed(remote: &mut Remote, at: To, group: &str) -> Result<Committed, Failure> {
    let what = format!("offsets of group '{group}'");
    let question = async |broker: &mut Broker, at| broker.committed_offsets(group, None, at).await;
    let found = remote.ask(at, &what, question).await?;
    Ok(found.into_iter().map(|one| ((one.topic, one.partition), one.offset)).collect())
}
