//! `gregor dump`: what is in a data directory, offline.
//!
//! Invariants: nothing in the directory is changed or locked; damage is named and counted and never
//! ends the look; one that ends early, for nobody reads what is printed, is no success; bytes behind the durable end of a log that was not closed are no damage, for the
//! next start cuts what is torn there.

mod lines;
mod logs;

use std::collections::BTreeMap;
use std::path::Path;

use base::TopicId;
use broker::inspect::{MetadataReport, TopicReport};
use env_tokio::TokioEnv;
use storage::inspect::{DirReport, LogReport, SideFile};

use crate::cli::Dump;
use crate::failure::Failure;
use crate::output::{Column, Output, counted, joined, or_dash};
use crate::remote;
use lines::{Damage, Directory, Line, Start, Topic, class_name};

/// The folder of the metadata log, which the storage layer does not know.
const METADATA: &str = "metadata";

/// Runs `gregor dump`.
///
/// # Errors
/// [`Failure::Damaged`] if anything durable is damaged, and what the system refuses.
pub fn run(arguments: &Dump) -> Result<(), Failure> {
    remote::in_runtime(|env| dump(env, arguments))
}

/// What is printed, and how much damage was found.
struct Report {
    out: Output,
    damaged: u64,
}

impl Report {
    /// Names a damaged place.
    fn damage(&mut self, at: &str, why: &dyn std::fmt::Display) -> Result<(), Failure> {
        self.damaged += 1;
        if self.out.is_json() {
            return self.out.object(&Line::Damage(Damage { at, why: why.to_string() }));
        }
        self.out.line(&format!("DAMAGED {at}: {why}"))
    }

    /// A side file that is there and whole.
    fn sound<'a, T>(&mut self, at: &str, file: &'a SideFile<T>) -> Result<Option<&'a T>, Failure> {
        match file {
            None => Ok(None),
            Some(Ok(content)) => Ok(Some(content)),
            Some(Err(error)) => self.damage(at, error).map(|()| None),
        }
    }
}

async fn dump(env: TokioEnv, arguments: &Dump) -> Result<(), Failure> {
    let dir = arguments.dir.as_path();
    let shown = dir.display().to_string();
    let unreadable = |source| Failure::Read { path: shown.clone(), source };
    let found = storage::inspect::directory(&env, dir).await.map_err(unreadable)?;
    let mut report = Report { out: Output::listing(arguments.format.json), damaged: 0 };
    let looked = look(&env, arguments, &found, &mut report).await;
    let is_whole = looked.is_ok();
    let printed = looked.and_then(|()| report.out.flush());
    // What is wrong with the directory is told whether or not the rest could be printed.
    if report.damaged > 0 && matches!(&printed, Ok(()) | Err(Failure::Output(_))) {
        return Err(Failure::Damaged { dir: shown, places: report.damaged });
    }
    match printed {
        // The last of it alone was not read: everything was looked at.
        Err(failure) if failure.is_unread() && is_whole => Ok(()),
        Err(failure) if failure.is_unread() => Err(Failure::Advised {
            what: format!("{shown} was not looked at to its end, for nobody reads what is printed"),
            hint: "let the output go to a file: the exit code is about all of it then".to_owned(),
        }),
        printed => printed,
    }
}

/// Prints all that is asked for.
async fn look(
    env: &TokioEnv,
    arguments: &Dump,
    found: &DirReport,
    report: &mut Report,
) -> Result<(), Failure> {
    let dir = arguments.dir.as_path();
    let shown = dir.display().to_string();
    let metadata = read_metadata(env, dir, report).await?;
    if found.identity.is_none() && metadata.is_none() {
        return Err(Failure::Advised {
            what: format!("{shown} is no data directory of Gregor's"),
            hint:
                "name the directory that the broker serves: --data or log.dirs, ./data by default"
                    .to_owned(),
        });
    }
    exists(arguments, &shown, &found.logs, metadata.as_ref())?;
    directory(report, &shown, found, metadata.as_ref())?;
    let names = names(metadata.as_ref());
    if let Some(metadata) = &metadata {
        topics(report, metadata, arguments)?;
    }
    logs::all(env, report, arguments, &found.logs, &names).await
}

/// Whether there is what was asked for, in the metadata or as a log.
fn exists(
    arguments: &Dump,
    shown: &str,
    logs: &[LogReport],
    metadata: Option<&MetadataReport>,
) -> Result<(), Failure> {
    let topics = metadata.map(|found| found.topics.as_slice()).unwrap_or_default();
    let names = names(metadata);
    let is_wanted = |id: TopicId| {
        let name = names.get(&id);
        let named = |topic: &String| Some(topic) == name || *topic == id.0.to_string();
        arguments.topic.as_ref().is_none_or(named)
    };
    let logs: Vec<_> = logs.iter().filter(|log| is_wanted(log.partition.topic)).collect();
    let topics: Vec<_> = topics.iter().filter(|topic| is_wanted(topic.id)).collect();
    let missing = |what: String| {
        Err(Failure::Advised { what, hint: format!("gregor dump {shown} lists the topics") })
    };
    if let Some(topic) = arguments.topic.as_ref().filter(|_| logs.is_empty() && topics.is_empty()) {
        return missing(format!("there is no topic '{topic}' in {shown}"));
    }
    let Some(partition) = arguments.partition else { return Ok(()) };
    let is_placed = |topic: &&TopicReport| {
        usize::try_from(partition).is_ok_and(|index| index < topic.partitions.len())
    };
    let is_there =
        topics.iter().any(is_placed) || logs.iter().any(|log| log.partition.index.0 == partition);
    match &arguments.topic {
        _ if is_there => Ok(()),
        Some(topic) => missing(format!("topic '{topic}' has no partition {partition} in {shown}")),
        None => missing(format!("no topic has a partition {partition} in {shown}")),
    }
}

async fn read_metadata(
    env: &TokioEnv,
    dir: &Path,
    report: &mut Report,
) -> Result<Option<MetadataReport>, Failure> {
    match broker::inspect::metadata(env, dir).await {
        Ok(found) => Ok(found),
        Err(error) => report.damage("metadata/log", &error).map(|()| None),
    }
}

fn names(metadata: Option<&MetadataReport>) -> BTreeMap<TopicId, String> {
    let topics = metadata.map(|found| found.topics.as_slice()).unwrap_or_default();
    topics.iter().map(|topic| (topic.id, topic.name.clone())).collect()
}

fn directory(
    report: &mut Report,
    shown: &str,
    found: &DirReport,
    metadata: Option<&MetadataReport>,
) -> Result<(), Failure> {
    let identity = report.sound("identity", &found.identity)?;
    let seal = report.sound("seal", &found.seal)?;
    let sealed = seal.is_some();
    let unknown: Vec<String> =
        found.unknown.iter().filter(|name| *name != METADATA).cloned().collect();
    let line = Directory {
        path: shown,
        cluster_id: identity.map(|identity| identity.cluster_id.clone()),
        node_id: identity.map(|identity| identity.node_id.0),
        directory_id: identity.map(|identity| identity.dir_id.to_string()),
        sealed,
        logs: found.logs.len(),
        starts: found.starts.len(),
        starts_damaged: found.starts_damaged,
        metadata_bytes: metadata.map(|metadata| metadata.bytes),
        metadata_next_index: metadata.map(|metadata| metadata.next_index),
        metadata_torn: metadata.map(|metadata| metadata.torn),
        unknown,
    };
    if report.out.is_json() {
        report.out.object(&Line::Directory(&line))?;
    } else {
        print_directory(&mut report.out, &line)?;
    }
    let starts = found.starts.iter().map(|start| Start {
        ordinal: start.ordinal,
        start_id: start.start_id.to_string(),
        found: class_name(start.class),
        at_ms: start.at.0,
        boot_id: start.boot_id.clone(),
    });
    if report.out.is_json() {
        return starts.into_iter().try_for_each(|start| report.out.object(&Line::Start(start)));
    }
    let row = |start: Start| {
        vec![
            start.ordinal.to_string(),
            start.at_ms.to_string(),
            start.found.to_owned(),
            start.start_id,
        ]
    };
    report.out.line("")?;
    let columns = [
        Column::Number("START"),
        Column::Number("AT (MS)"),
        Column::Text("FOUND"),
        Column::Text("START ID"),
    ];
    report.out.table(&columns, starts.map(row).collect())
}

fn print_directory(out: &mut Output, line: &Directory<'_>) -> Result<(), Failure> {
    out.line(&format!("directory {}, id {}", line.path, or_dash(line.directory_id.as_ref())))?;
    let (cluster, node) = (or_dash(line.cluster_id.as_ref()), or_dash(line.node_id));
    out.line(&format!("  cluster {cluster}, node {node}"))?;
    let closed = if line.sealed {
        "closed cleanly"
    } else {
        "not closed: in use, or its process ended without a stop"
    };
    let logs = u64::try_from(line.logs).unwrap_or(u64::MAX);
    out.line(&format!("  {closed}; {}", counted(logs, "log")))?;
    let count = |found: Option<u64>, noun| {
        found.map_or_else(|| format!("- {noun}s"), |found| counted(found, noun))
    };
    let bytes = count(line.metadata_bytes, "byte");
    let records = count(line.metadata_next_index, "record");
    let torn = if line.metadata_torn == Some(true) { ", last entry torn" } else { "" };
    out.line(&format!("  metadata: {bytes}, {records}{torn}"))?;
    if line.starts_damaged > 0 {
        out.line(&format!("  {} start slots are not whole", line.starts_damaged))?;
    }
    if !line.unknown.is_empty() {
        out.line(&format!("  not ours: {}", line.unknown.join(", ")))?;
    }
    Ok(())
}

fn topics(report: &mut Report, metadata: &MetadataReport, arguments: &Dump) -> Result<(), Failure> {
    let wanted = |name: &str, id: TopicId| {
        arguments.topic.as_ref().is_none_or(|topic| topic == name || *topic == id.0.to_string())
    };
    let mut rows = Vec::new();
    for topic in metadata.topics.iter().filter(|topic| wanted(&topic.name, topic.id)) {
        if report.out.is_json() {
            report.out.object(&Line::Topic(Topic::new(topic)))?;
            continue;
        }
        let configs: Vec<String> =
            topic.configs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        rows.push(vec![
            topic.name.clone(),
            topic.id.0.to_string(),
            topic.partitions.len().to_string(),
            joined(&configs),
        ]);
    }
    if !rows.is_empty() {
        report.out.line("")?;
    }
    let columns = [
        Column::Text("TOPIC"),
        Column::Text("ID"),
        Column::Number("PARTITIONS"),
        Column::Text("SETTINGS"),
    ];
    report.out.table(&columns, rows)
}
