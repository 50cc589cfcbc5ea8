//! Looking at a data directory's metadata without a broker: what `gregor dump` prints. And at the
//! logs of a running broker, for who holds them against the disk.
//!
//! Invariant: nothing is written; the file is checked exactly as a start checks it.

use std::io;
use std::path::Path;

use base::{BrokerId, LeaderEpoch, Offset, PartitionId, ProducerId, TopicId, Uuid};
use env::{Access, Disk, Env, File};
use storage::SegmentExtent;

use crate::Broker;
use crate::metadata_log::{self, MetadataLogError};

/// What `<log dir>/metadata/log` says.
#[derive(Clone, Debug)]
pub struct MetadataReport {
    /// Bytes of the file.
    pub bytes: u64,
    /// Index of the next record.
    pub next_index: u64,
    /// Whether the last entry is incomplete; the next start cuts it, and nobody was promised it.
    pub torn: bool,
    /// The cluster.
    pub cluster_id: Uuid,
    /// Registered brokers.
    pub brokers: Vec<BrokerId>,
    /// First producer id that was never handed out.
    pub next_producer: ProducerId,
    /// Topics, by name.
    pub topics: Vec<TopicReport>,
}

/// A topic.
#[derive(Clone, Debug)]
pub struct TopicReport {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub id: TopicId,
    /// Overrides of the brokers' defaults.
    pub configs: Vec<(String, String)>,
    /// By index.
    pub partitions: Vec<PartitionReport>,
}

/// A partition.
#[derive(Clone, Debug)]
pub struct PartitionReport {
    /// Who holds a replica.
    pub replicas: Vec<BrokerId>,
    /// Who is in sync.
    pub isr: Vec<BrokerId>,
    /// Who leads.
    pub leader: Option<BrokerId>,
    /// The leader's term.
    pub leader_epoch: LeaderEpoch,
}

/// A log as a running broker knows it.
#[derive(Clone, Debug)]
pub struct LiveLog {
    /// Whose.
    pub partition: PartitionId,
    /// The first offset that may be read.
    pub start: Offset,
    /// One past the last record that is written.
    pub end: Offset,
    /// Oldest first.
    pub segments: Vec<SegmentExtent>,
}

/// Every log that `broker` leads, each as of one moment.
pub fn live<E: Env>(broker: &Broker<E>) -> Vec<LiveLog> {
    let look = |partition: &std::sync::Arc<crate::partition::Partition<E>>| {
        let log = partition.log();
        let (start, segments, end) = (log.start(), log.segments(), log.end());
        LiveLog { partition: partition.id(), start, end, segments }
    };
    broker.partitions().iter().map(look).collect()
}

/// Reads the metadata log of a data directory; `None` if there is none.
///
/// # Errors
/// [`MetadataLogError`] if the disk refuses or the file is damaged.
pub async fn metadata<E: Env>(
    env: &E,
    log_dir: &Path,
) -> Result<Option<MetadataReport>, MetadataLogError> {
    let path = log_dir.join("metadata").join("log");
    let failed = |source| MetadataLogError::Io { path: path.clone(), source };
    let file = match env.disk().open(&path, Access::Read).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let bytes = file.len().await.map_err(failed)?;
    let len = usize::try_from(bytes).map_err(|error| failed(io::Error::other(error)))?;
    let content = file.read_at(0, len).await.map_err(failed)?;
    metadata_bytes(&path, &content).map(Some)
}

/// Reads the bytes of a metadata log; `path` is named in errors and not opened. Total.
///
/// # Errors
/// [`MetadataLogError`] if they are damaged.
pub fn metadata_bytes(path: &Path, content: &[u8]) -> Result<MetadataReport, MetadataLogError> {
    let bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
    let replayed = metadata_log::replay(path, content)?;
    let image = replayed.image;
    let topics = image.names.iter().filter_map(|(name, id)| {
        let topic = image.topics.get(id)?;
        let configs = topic.configs.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        let partitions = topic.partitions.iter().map(|partition| PartitionReport {
            replicas: partition.replicas.to_vec(),
            isr: partition.isr.to_vec(),
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
        });
        Some(TopicReport {
            name: name.to_string(),
            id: *id,
            configs: configs.collect(),
            partitions: partitions.collect(),
        })
    });
    Ok(MetadataReport {
        bytes,
        next_index: replayed.next_index,
        torn: replayed.torn.is_some(),
        cluster_id: image.cluster_id,
        brokers: image.brokers.keys().copied().collect(),
        next_producer: image.next_producer,
        topics: topics.collect(),
    })
}
