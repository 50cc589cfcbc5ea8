//! Opening every log at the start.
//!
//! Invariants: a log without a topic belongs to a deleted one and goes; a topic without
//! a log is a creation that a crash interrupted and is finished. Where neither can be true somebody
//! lost something, and [`nothing_lost`] refuses the start, as often as it is tried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{BrokerId, PartitionId, PartitionIndex, Probe};
use env::Env;
use metadata::{Image, Topic};
use storage::{Found, Log, LogConfig, LogDir, OpenError, Recovery, StartClass};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::alive::side_by_side;
use crate::api::ClusterView;
use crate::publisher::{
    Publisher, REPLICA_GEN, create_log, lead, log_config, show_brokers, show_topic, topic_config,
};

/// Why the logs do not fit the metadata.
#[derive(Debug, Error)]
pub enum OpenAllError {
    /// A log cannot be opened.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// There are logs but no metadata.
    #[error(
        "the log directory holds {0} logs but its metadata log is gone: restore metadata/log, or move the directory away to start empty"
    )]
    MetadataLost(usize),
    /// After a clean stop a log is gone.
    #[error("the log of {0} is gone although the last stop was clean: restore it from a copy")]
    LogLost(PartitionId),
    /// A task that opened logs ended early.
    #[error("opening logs was interrupted")]
    Interrupted,
}

/// Whether logs and metadata fit, looked at before either is touched: logs without any metadata
/// and, after a clean stop, topics without their logs have been lost by somebody.
///
/// # Errors
/// What is lost.
pub(crate) fn nothing_lost<E: Env>(
    dir: &LogDir<E>,
    image: &Image,
    me: BrokerId,
) -> Result<(), OpenAllError> {
    let logs: BTreeSet<PartitionId> = dir.logs().iter().map(|found| found.partition).collect();
    if image.cluster_id.is_zero() && !logs.is_empty() {
        return Err(OpenAllError::MetadataLost(logs.len()));
    }
    if dir.start().class != StartClass::Clean {
        return Ok(());
    }
    let placed = image.topics.values().flat_map(|topic| {
        let numbered = (0..).map(PartitionIndex).zip(&topic.partitions);
        let here = numbered.filter(|(_, partition)| partition.leader == Some(me));
        here.map(|(index, _)| PartitionId { topic: topic.id, index })
    });
    let missing = &dir.start().missing;
    let gone =
        |id: &PartitionId| !logs.contains(id) || missing.iter().any(|found| found.partition == *id);
    match placed.into_iter().find(gone) {
        Some(lost) => Err(OpenAllError::LogLost(lost)),
        None => Ok(()),
    }
}

/// What opening every log came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    /// Logs that were there.
    pub(crate) logs: usize,
    /// Bytes cut off their ends.
    pub(crate) bytes_cut: u64,
}

type OneOpened<E> = (PartitionId, Result<(Log<E>, Recovery), OpenError>);

impl<E: Env> Publisher<E> {
    /// Opens every log that `image` places here and shows the image. [`nothing_lost`] has agreed.
    pub(crate) async fn open_all(
        &self,
        image: &Image,
        next_index: u64,
    ) -> Result<Opened, OpenAllError> {
        let mut strays: BTreeSet<Found> = self.node.dir.logs().into_iter().collect();
        let mut wanted = BTreeMap::new();
        let mut missing = Vec::new();
        for topic in image.topics.values() {
            let config = topic_config(&self.node, topic);
            for (id, epoch) in self.led(topic) {
                let found = Found { partition: id, replica_gen: REPLICA_GEN };
                if strays.remove(&found) {
                    wanted.insert(id, (Arc::clone(topic), epoch, Arc::clone(&config)));
                } else {
                    missing.push((Arc::clone(topic), id, epoch));
                }
            }
        }
        let list = wanted.iter().map(|(id, (_, _, config))| (*id, log_config(config))).collect();
        let mut opening = self.open_logs(list);
        let mut whole = Opened { logs: wanted.len(), bytes_cut: 0 };
        for _ in 0..wanted.len() {
            let (id, opened) = opening.recv().await.ok_or(OpenAllError::Interrupted)?;
            let (log, recovery) = opened?;
            self.report(id, &recovery);
            let cut = recovery.cut.map_or(0, |cut| cut.bytes);
            whole.bytes_cut = whole.bytes_cut.saturating_add(cut);
            if let Some((topic, epoch, _)) = wanted.get(&id) {
                lead(&self.node, topic, id, *epoch, log).await?;
            }
        }
        for (topic, id, epoch) in missing {
            self.node.env.probe().reached("open_creates_missing_log");
            let log = create_log(&self.node, &topic, id).await?;
            lead(&self.node, &topic, id, epoch, log).await?;
        }
        for stray in strays {
            self.node.env.probe().reached("open_deletes_stray_log");
            self.node.dir.delete_log(stray.partition, stray.replica_gen).await?;
        }
        self.show_all(image, next_index);
        Ok(whole)
    }

    fn show_all(&self, image: &Image, next_index: u64) {
        let mut view = ClusterView::default();
        for topic in image.topics.values() {
            show_topic(&mut view, topic);
        }
        show_brokers(&mut view, image, next_index, &self.node);
        self.node.show(view);
        for topic in image.topics.values() {
            let topic: &Topic = topic;
            self.coordinators.topic_created(topic);
        }
    }

    /// A clean start is all latency, so logs are opened side by side.
    fn open_logs(&self, list: Vec<(PartitionId, LogConfig)>) -> mpsc::Receiver<OneOpened<E>> {
        let dir = self.node.dir.clone();
        side_by_side(&self.node.env, "open_logs", list, move |(id, rules)| {
            let dir = dir.clone();
            async move { (id, dir.open_log(id, REPLICA_GEN, rules).await) }
        })
    }

    fn report(&self, id: PartitionId, recovery: &Recovery) {
        if let Some(cut) = recovery.cut {
            self.node.env.probe().reached("open_cut_a_log");
            tracing::warn!(partition = %id, at = %cut.at, bytes = cut.bytes, torn = cut.torn, "cut the end of a log");
        }
        if recovery.uncertain {
            self.node.env.probe().reached("open_found_damage");
            tracing::error!(partition = %id, "the log may hold less than it was promised to");
        }
        for faulty in &recovery.faulty {
            self.node.env.probe().reached("open_found_damage");
            tracing::error!(partition = %id, from = %faulty.from, to = %faulty.to, "bytes on disk are damaged");
        }
    }
}
