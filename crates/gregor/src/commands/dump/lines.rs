//! The lines of `gregor dump --json`. The field names are part of the interface.

use std::collections::BTreeMap;

use broker::inspect::TopicReport;
use serde::Serialize;
use storage::StartClass;
use storage::inspect::BatchReport;

use crate::commands::consume::RecordLine;
use crate::output::counted;

/// One line; `kind` says which.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line<'a> {
    /// The directory as a whole.
    Directory(&'a Directory<'a>),
    /// A process start.
    Start(Start),
    /// A topic of the metadata.
    Topic(Topic<'a>),
    /// A partition's log.
    Log(&'a Log),
    /// A segment.
    Segment(&'a Segment),
    /// A batch.
    Batch(Batch<'a>),
    /// A record.
    Record(RecordLine),
    /// Bytes behind the durable end that are no batch; the next start cuts them.
    Torn(Damage<'a>),
    /// A damaged place.
    Damage(Damage<'a>),
}

/// The directory as a whole.
#[derive(Serialize)]
pub struct Directory<'a> {
    pub path: &'a str,
    pub cluster_id: Option<String>,
    pub node_id: Option<i32>,
    pub directory_id: Option<String>,
    pub sealed: bool,
    pub logs: usize,
    pub starts: usize,
    pub starts_damaged: usize,
    pub metadata_bytes: Option<u64>,
    pub metadata_next_index: Option<u64>,
    pub metadata_torn: Option<bool>,
    pub unknown: Vec<String>,
}

/// A process start.
#[derive(Serialize)]
pub struct Start {
    pub ordinal: u32,
    pub start_id: String,
    /// What it found: a clean stop, a process crash, or a crash of the system.
    pub found: &'static str,
    pub at_ms: i64,
    pub boot_id: String,
}

/// What a start found, in a word.
pub fn class_name(class: StartClass) -> &'static str {
    match class {
        StartClass::Clean => "clean stop",
        StartClass::Process => "process crash",
        StartClass::Os => "system crash",
    }
}

/// A topic of the metadata.
#[derive(Serialize)]
pub struct Topic<'a> {
    topic: &'a str,
    topic_id: String,
    configs: BTreeMap<&'a str, &'a str>,
    partitions: Vec<Partition>,
}

#[derive(Serialize)]
struct Partition {
    partition: usize,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
}

impl<'a> Topic<'a> {
    /// The topic as a line.
    pub fn new(topic: &'a TopicReport) -> Self {
        let partitions = topic.partitions.iter().enumerate().map(|(index, found)| Partition {
            partition: index,
            leader: found.leader.map(|leader| leader.0),
            leader_epoch: found.leader_epoch.0,
            replicas: found.replicas.iter().map(|broker| broker.0).collect(),
            isr: found.isr.iter().map(|broker| broker.0).collect(),
        });
        Self {
            topic: &topic.name,
            topic_id: topic.id.0.to_string(),
            configs: topic.configs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
            partitions: partitions.collect(),
        }
    }
}

/// A partition's log.
#[derive(Serialize)]
pub struct Log {
    pub topic: String,
    pub partition: i32,
    pub replica_gen: u64,
    pub sealed: Option<bool>,
    pub uncertain: bool,
    pub log_start: Option<i64>,
    pub flushed_end: Option<i64>,
    pub high_watermark: Option<i64>,
    pub producers: Option<usize>,
    pub epochs: Vec<(i32, i64)>,
    pub faulty: Vec<(i64, i64)>,
    pub segments: usize,
    pub unknown: Vec<String>,
}

/// A segment.
#[derive(Serialize)]
pub struct Segment {
    pub topic: String,
    pub partition: i32,
    pub file: String,
    pub base_offset: i64,
    /// One past the last record; the base offset if there is none.
    pub end_offset: i64,
    pub bytes: u64,
    pub batches: u64,
    pub records: u64,
    pub envelopes: Option<usize>,
    /// Whether the file of envelopes must be written anew, which a start does.
    pub envelopes_incomplete: bool,
}

/// A batch.
#[derive(Serialize)]
pub struct Batch<'a> {
    topic: &'a str,
    partition: i32,
    file: &'a str,
    position: u64,
    bytes: usize,
    base_offset: i64,
    last_offset: i64,
    records: i32,
    leader_epoch: i32,
    max_timestamp: i64,
    compression: &'static str,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    transactional: bool,
    control: bool,
    crc_matches: bool,
}

impl<'a> Batch<'a> {
    /// The batch as a line.
    pub fn new(segment: &'a Segment, batch: &BatchReport) -> Self {
        let header = &batch.header;
        Self {
            topic: &segment.topic,
            partition: segment.partition,
            file: &segment.file,
            position: batch.position,
            bytes: header.len_bytes(),
            base_offset: header.base_offset.0,
            last_offset: header.last_offset().0,
            records: header.record_count,
            leader_epoch: header.partition_leader_epoch,
            max_timestamp: header.max_timestamp.0,
            compression: header.attributes.compression().map_or("unknown", |codec| codec.name()),
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            transactional: header.attributes.is_transactional(),
            control: header.attributes.is_control(),
            crc_matches: batch.crc_matches,
        }
    }

    /// The batch as text.
    pub fn text(&self) -> String {
        let producer = match self.producer_id {
            id if id >= 0 => format!(
                ", producer {id} epoch {} sequence {}",
                self.producer_epoch, self.base_sequence
            ),
            _ => String::new(),
        };
        let control = if self.control { ", control" } else { "" };
        format!(
            "    batch {}..{} at {}: {}, {} bytes, epoch {}, {}, time {}{producer}{control}",
            self.base_offset,
            self.last_offset,
            self.position,
            counted(u64::try_from(self.records).unwrap_or(0), "record"),
            self.bytes,
            self.leader_epoch,
            self.compression,
            self.max_timestamp,
        )
    }
}

/// A place and what is wrong with it.
#[derive(Serialize)]
pub struct Damage<'a> {
    pub at: &'a str,
    pub why: String,
}
