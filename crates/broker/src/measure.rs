//! What a running broker can be measured by: a reading, taken whole, that changes nothing.
//!
//! Invariants: a reading takes each partition's locks one after the other and for no longer than any
//! other look; what was counted is since the start of the process and never falls. Who waits for the
//! groups asks their coordinators as any client does ([`Broker::group`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{Offset, PartitionIndex};
use env::Env;

use crate::Broker;
use crate::api::DirectoryView;

/// A reading of a broker.
#[derive(Clone, Debug, Default)]
pub struct Measures {
    /// Topics in the metadata.
    pub topics: usize,
    /// Partitions in the metadata that have a replica here.
    pub partitions: usize,
    /// Of those, without a leader now: their log directory failed.
    pub offline: usize,
    /// Records of the metadata that are applied.
    pub metadata_records: u64,
    /// The partitions that are led here, by topic and index.
    pub led: BTreeMap<(Arc<str>, PartitionIndex), PartitionMeasures>,
    /// The log directories, in the order of `log.dirs`.
    pub directories: Vec<DirectoryMeasures>,
}

/// A partition that is led here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionMeasures {
    /// The first offset that may be read.
    pub start: Offset,
    /// One past the last record.
    pub end: Offset,
    /// One past the last record a consumer may see.
    pub high_watermark: Offset,
    /// Bytes of its segments.
    pub size_bytes: u64,
    /// Segments.
    pub segments: usize,
    /// Bytes of batches appended by this process.
    pub appended_bytes: u64,
    /// Bytes of batches that this process returned to clients.
    pub fetched_bytes: u64,
}

/// A log directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryMeasures {
    /// As [`Broker::directories`] has it.
    pub view: DirectoryView,
    /// Groups that this process has written to its journal, one flush each.
    pub journal_groups: u64,
    /// Recent bytes of its logs in memory.
    pub tail_bytes: usize,
}

impl<E: Env> Broker<E> {
    /// Takes a reading. It costs a few locks per partition.
    pub fn measure(&self) -> Measures {
        let view = self.cluster();
        let placed = view.topics.values().flat_map(|topic| &topic.partitions);
        let (mut partitions, mut offline) = (0, 0);
        for partition in placed {
            partitions += 1;
            offline += usize::from(partition.leader.is_none());
        }
        let led = self.partitions().into_iter().filter_map(|partition| {
            let id = partition.id();
            let name = Arc::clone(&view.by_id.get(&id.topic)?.name);
            let log = partition.log();
            let (appended_bytes, fetched_bytes) = partition.traffic();
            let measures = PartitionMeasures {
                start: log.start(),
                end: log.end(),
                high_watermark: partition.high_watermark(),
                size_bytes: log.size_bytes(),
                segments: log.segment_count(),
                appended_bytes,
                fetched_bytes,
            };
            Some(((name, id.index), measures))
        });
        Measures {
            topics: view.topics.len(),
            partitions,
            offline,
            metadata_records: view.metadata_index,
            led: led.collect(),
            directories: self.directory_measures(),
        }
    }
}
