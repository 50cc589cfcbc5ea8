//! The lines of `gregor verify --json`. The field names are part of the interface.

use broker::verify::{Conclusion, Verified, VerifiedDir, VerifiedLog};
use serde::Serialize;
use storage::journal::JournalEnd;
use storage::{FaultyRange, StartClass};

/// One line; `kind` says which.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line<'a> {
    /// A directory as a whole.
    Directory(Directory<'a>),
    /// A partition's log.
    Log(Log<'a>),
    /// A log that a start would create.
    Absent(Partition<'a>),
    /// A directory of the node that was not looked at.
    Away(Away<'a>),
    /// A partition whose log is in a directory that was not looked at or cannot be used.
    Elsewhere(Partition<'a>),
    /// What is damaged, missing or refused.
    Damage { at: String, why: String },
    /// The last line: `clean`, `recovers`, `damaged` or `refused`.
    Conclusion { conclusion: &'static str },
}

/// A partition, by name.
#[derive(Serialize)]
pub struct Partition<'a> {
    /// Of this topic.
    pub topic: &'a str,
    /// Which.
    pub partition: i32,
}

/// A directory that was not looked at.
#[derive(Serialize)]
pub struct Away<'a> {
    /// Where it was when a broker last started.
    pub path: &'a str,
    /// Its identity.
    pub directory_id: String,
}

/// A directory as a whole.
#[derive(Serialize)]
pub struct Directory<'a> {
    path: &'a str,
    node_id: i32,
    has_metadata: bool,
    is_new: bool,
    unusable: Option<&'a str>,
    metadata_next_index: Option<u64>,
    metadata_torn: Option<bool>,
    refusal: Option<&'a str>,
    #[serde(flatten)]
    contents: Option<Contents<'a>>,
}

/// What is in a directory that can be used.
#[derive(Serialize)]
struct Contents<'a> {
    cluster_id: &'a str,
    directory_id: String,
    found: &'static str,
    journal_groups: Option<u64>,
    journal_end: Option<&'static str>,
    journal_damaged: bool,
    deletions_finished: usize,
    missing: Vec<String>,
    unknown: &'a [String],
}

impl<'a> Directory<'a> {
    /// The directory as a line.
    pub fn new(path: &'a str, verified: &'a Verified, dir: &'a VerifiedDir) -> Self {
        let contents = dir.contents.as_ref().ok().map(|contents| {
            let start = &contents.start;
            Contents {
                cluster_id: &start.cluster_id,
                directory_id: start.dir_id.to_string(),
                found: match start.class {
                    StartClass::Clean => "clean stop",
                    StartClass::Process => "process crash",
                    StartClass::Os => "system crash",
                },
                journal_groups: contents.journal.map(|(groups, _)| groups),
                journal_end: contents.journal.map(|(_, end)| end_name(end)),
                journal_damaged: start.journal_damaged,
                deletions_finished: start.deletions_finished,
                missing: start.missing.iter().map(|found| found.partition.to_string()).collect(),
                unknown: &start.unknown,
            }
        });
        let metadata = verified.metadata.filter(|_| dir.is_home);
        Self {
            path,
            node_id: verified.node_id.0,
            has_metadata: dir.is_home,
            is_new: dir.is_new,
            unusable: dir.contents.as_ref().err().map(String::as_str),
            metadata_next_index: metadata.map(|(index, _)| index),
            metadata_torn: metadata.map(|(_, torn)| torn),
            refusal: verified.refusal.as_deref().filter(|_| dir.is_home),
            contents,
        }
    }
}

/// How the journal ends, in a word.
pub fn end_name(end: JournalEnd) -> &'static str {
    match end {
        JournalEnd::Whole => "whole",
        JournalEnd::Torn => "torn",
        JournalEnd::Corrupt => "damaged",
    }
}

/// What it all comes to, in a word.
pub fn conclusion_name(conclusion: Conclusion) -> &'static str {
    match conclusion {
        Conclusion::Clean => "clean",
        Conclusion::Recovers => "recovers",
        Conclusion::Damaged => "damaged",
        Conclusion::Refused => "refused",
    }
}

/// A partition's log.
#[derive(Serialize)]
pub struct Log<'a> {
    directory: &'a str,
    topic: Option<&'a str>,
    topic_id: String,
    partition: i32,
    replica_gen: u64,
    removed: bool,
    refusal: Option<&'a str>,
    #[serde(flatten)]
    recovery: Option<Recovery<'a>>,
}

/// What opening it came to.
#[derive(Serialize)]
struct Recovery<'a> {
    log_start: i64,
    log_end: i64,
    bytes: u64,
    clean: bool,
    recovery_point: i64,
    scanned_bytes: u64,
    journal_bytes: u64,
    cut_at: Option<i64>,
    cut_bytes: u64,
    cut_torn: Option<bool>,
    faulty: Vec<Range>,
    uncertain: bool,
    producers_lost: bool,
    unknown: &'a [String],
    deep_batches: Option<u64>,
    deep_bytes: Option<u64>,
    deep_damaged: Option<Vec<Range>>,
    deep_ended_at: Option<i64>,
}

/// Offsets, the second one not included.
#[derive(Serialize)]
struct Range {
    from: i64,
    to: i64,
}

fn ranges(ranges: &[FaultyRange]) -> Vec<Range> {
    ranges.iter().map(|range| Range { from: range.from.0, to: range.to.0 }).collect()
}

impl<'a> Log<'a> {
    /// The log as a line.
    pub fn new(directory: &'a str, log: &'a VerifiedLog) -> Self {
        let recovery = log.outcome.as_ref().ok().map(|found| {
            let recovery = &found.recovery;
            let deep = found.deep.as_ref();
            Recovery {
                log_start: found.log_start.0,
                log_end: found.log_end.0,
                bytes: found.bytes,
                clean: recovery.clean,
                recovery_point: recovery.recovery_point.0,
                scanned_bytes: recovery.scanned_bytes,
                journal_bytes: recovery.journal_bytes,
                cut_at: recovery.cut.map(|cut| cut.at.0),
                cut_bytes: recovery.cut.map_or(0, |cut| cut.bytes),
                cut_torn: recovery.cut.map(|cut| cut.torn),
                faulty: ranges(&recovery.faulty),
                uncertain: recovery.uncertain,
                producers_lost: recovery.producers_lost,
                unknown: &recovery.unknown,
                deep_batches: deep.map(|deep| deep.batches),
                deep_bytes: deep.map(|deep| deep.bytes),
                deep_damaged: deep.map(|deep| ranges(&deep.damaged)),
                deep_ended_at: deep.and_then(|deep| Some(deep.ended.as_ref()?.0.0)),
            }
        });
        Self {
            directory,
            topic: log.topic.as_deref(),
            topic_id: log.partition.topic.0.to_string(),
            partition: log.partition.index.0,
            replica_gen: log.replica_gen.0,
            removed: log.is_stray,
            refusal: log.outcome.as_ref().err().map(|unopened| unopened.why.as_str()),
            recovery,
        }
    }
}
