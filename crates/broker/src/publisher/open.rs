//! Opening every log at the start.
//!
//! Invariants: a log goes only if the deletion of its topic is on record; a topic without
//! a log is a creation that a crash interrupted and is finished. Where neither can be true somebody
//! lost something, and [`nothing_lost`] refuses the start, as often as it is tried. While a directory
//! is offline, a topic without a log is one that lives there. Source: ADR 0020.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{BrokerId, LeaderEpoch, PartitionId, PartitionIndex, Probe, SortedMap};
use env::Env;
use metadata::{Image, Topic};
use storage::{Found, Log, LogConfig, LogDir, OpenError, Recovery, StartClass};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::alive::side_by_side;
use crate::api::ClusterView;
use crate::publisher::{
    Publisher, REPLICA_GEN, begin_epoch, create_log, lead, log_config, show_brokers, show_topic,
    topic_config,
};

/// Why the logs do not fit the metadata.
#[derive(Debug, Error)]
pub enum OpenAllError {
    /// A log cannot be opened.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// There are logs, or there was a note of the directories, but no metadata.
    #[error(
        "the log directory holds {0} logs but its metadata log is gone: restore metadata/log, or move the directory away to start empty"
    )]
    MetadataLost(usize),
    /// There is a log of a topic that was never deleted, and the metadata does not have the topic.
    #[error(
        "{} holds the log of {partition}, a topic that is not in the metadata log and whose deletion is not on record: the metadata log is damaged, or older than the logs; restore metadata/log, or, if the topic is to go, start once with --accept-lost-topic {}",
        dir.display(),
        partition.topic.0
    )]
    TopicLost {
        /// Of which partition.
        partition: PartitionId,
        /// The directory that has it.
        dir: std::path::PathBuf,
    },
    /// After a clean stop a log is gone.
    #[error("the log of {0} is gone although the last stop was clean: restore it from a copy")]
    LogLost(PartitionId),
    /// Two directories have the same log.
    #[error(
        "the log of {partition} is in {} and in {}: one of the two was copied; move the older one away",
        one.display(),
        other.display()
    )]
    InTwoDirectories {
        /// Of which partition.
        partition: PartitionId,
        /// One directory.
        one: std::path::PathBuf,
        /// The other.
        other: std::path::PathBuf,
    },
    /// A task that opened logs ended early.
    #[error("opening logs was interrupted")]
    Interrupted,
}

/// Whether logs and metadata fit, looked at before either is touched: logs without any metadata,
/// the same log twice, a log of a topic that is neither there nor was deleted and, after a clean stop, topics without their logs (unless a directory is
/// not there, so that `some_are_away`, or the seal says that such a log may never have been made) have
/// been lost or copied by somebody. A log that a damaged
/// journal does not name any more is not missed: it is made anew beside its files, and says so;
/// nobody could bring it back, for this start has written the journal down again without it.
///
/// # Errors
/// What is lost.
pub(crate) fn nothing_lost<'a, E: Env>(
    dirs: impl Iterator<Item = &'a LogDir<E>> + Clone,
    image: &Image,
    me: BrokerId,
    some_are_away: bool,
) -> Result<(), OpenAllError> {
    let mut logs = BTreeMap::new();
    for dir in dirs.clone() {
        for found in dir.logs() {
            if let Some(other) = logs.insert(found.partition, dir.path()) {
                let (one, other) = (dir.path().to_owned(), other.to_owned());
                return Err(OpenAllError::InTwoDirectories {
                    partition: found.partition,
                    one,
                    other,
                });
            }
        }
    }
    if image.cluster_id.is_zero() && !logs.is_empty() {
        return Err(OpenAllError::MetadataLost(logs.len()));
    }
    let placed: BTreeSet<PartitionId> = placed(image, me).collect();
    let is_unknown = |id: &PartitionId| !placed.contains(id) && !image.deleted.contains(&id.topic);
    // A log is made only once its topic is durable in the metadata.
    if let Some((partition, dir)) = logs.iter().find(|(id, _)| is_unknown(id)) {
        let (partition, dir) = (*partition, dir.to_path_buf());
        return Err(OpenAllError::TopicLost { partition, dir });
    }
    if some_are_away || dirs.clone().any(|dir| dir.start().class != StartClass::Clean) {
        return Ok(());
    }
    let forgotten = dirs.clone().any(|dir| dir.start().journal_damaged);
    let missing: Vec<Found> = dirs.clone().flat_map(|dir| dir.start().missing.clone()).collect();
    let unmade: BTreeSet<PartitionId> = dirs.flat_map(|dir| dir.start().unmade.clone()).collect();
    let is_missed = |id: &PartitionId| !logs.contains_key(id) && !unmade.contains(id);
    let gone = |id: &PartitionId| {
        (!forgotten && is_missed(id)) || missing.iter().any(|found| found.partition == *id)
    };
    match placed.into_iter().find(gone) {
        Some(lost) => Err(OpenAllError::LogLost(lost)),
        None => Ok(()),
    }
}

/// The partitions that `me` leads.
fn placed(image: &Image, me: BrokerId) -> impl Iterator<Item = PartitionId> {
    image.topics.values().flat_map(move |topic| {
        let numbered = (0..).map(PartitionIndex).zip(&topic.partitions);
        let here = numbered.filter(move |(_, partition)| partition.leader == Some(me));
        here.map(|(index, _)| PartitionId { topic: topic.id, index })
    })
}

/// What opening every log came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opened {
    /// Bytes cut off the ends of logs, by directory.
    pub(crate) bytes_cut: BTreeMap<usize, u64>,
}

type OneOpened<E> = (PartitionId, usize, Result<(Log<E>, Recovery), OpenError>);

impl<E: Env> Publisher<E> {
    /// Opens every log that `image` places here and shows the image. [`nothing_lost`] has agreed.
    pub(crate) async fn open_all(
        &self,
        image: &Image,
        next_index: u64,
    ) -> Result<Opened, OpenAllError> {
        let mut strays = BTreeSet::new();
        for (at, dir) in self.node.dirs.opened() {
            for found in dir.logs() {
                self.node.dirs.found(found.partition, at);
                strays.insert(found);
            }
        }
        let mut wanted = SortedMap::new();
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
        let list = wanted.iter();
        let list = list.map(|(id, (_, epoch, config))| (*id, *epoch, log_config(config))).collect();
        let mut opening = self.open_logs(list);
        let mut whole = Opened::default();
        for _ in 0..wanted.len() {
            let (id, at, opened) = opening.recv().await.ok_or(OpenAllError::Interrupted)?;
            let led = match (opened, wanted.get(&id)) {
                (Ok((log, recovery)), Some((topic, epoch, config))) => {
                    self.report(id, &recovery);
                    let cut = recovery.cut.map_or(0, |cut| cut.bytes);
                    *whole.bytes_cut.entry(at).or_default() += cut;
                    lead(&self.node, topic, config, id, *epoch, log).await
                },
                (Ok(_), None) => Ok(()),
                (Err(error), _) => Err(error),
            };
            self.or_offline(at, led)?;
        }
        for (topic, id, epoch) in missing {
            if !self.node.dirs.all_opened() {
                self.node.env.probe().reached("open_partition_offline");
                self.node.dirs.set_offline(id);
                continue;
            }
            self.node.env.probe().reached("open_creates_missing_log");
            let made = match create_log(&self.node, &topic, id, true).await {
                Ok(log) => {
                    let uncertain = log.is_uncertain();
                    self.report(id, &Recovery { uncertain, ..Recovery::default() });
                    let config = topic_config(&self.node, &topic);
                    lead(&self.node, &topic, &config, id, epoch, log).await
                },
                Err(error) => Err(error),
            };
            let at = self.node.dirs.place(id).ok_or(OpenAllError::Interrupted)?;
            self.or_offline(at, made)?;
        }
        strays.retain(|stray| image.deleted.contains(&stray.partition.topic));
        for stray in strays {
            self.node.env.probe().reached("open_deletes_stray_log");
            if let Some((at, dir)) = self.node.dirs.of(&stray.partition) {
                let deleted = dir.delete_log(stray.partition, stray.replica_gen).await;
                self.or_offline(at, deleted)?;
            }
            self.node.dirs.forget(&stray.partition);
        }
        self.show_all(image, next_index);
        Ok(whole)
    }

    /// A directory of which something cannot be read or written is offline, unless it is the one
    /// that the broker cannot do without.
    fn or_offline(&self, at: usize, done: Result<(), OpenError>) -> Result<(), OpenError> {
        match done {
            Err(error @ (OpenError::Io { .. } | OpenError::Failed(_) | OpenError::Full(_)))
                if !self.node.dirs.is_home(at) =>
            {
                self.node.env.probe().reached("directory_offline_at_start");
                self.node.directory_failed(at, &error.to_string());
                Ok(())
            },
            done => done,
        }
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

    /// A start is all latency, so logs are opened side by side, and their epochs begun: what they
    /// commit shares the journal's flushes.
    fn open_logs(
        &self,
        list: Vec<(PartitionId, LeaderEpoch, LogConfig)>,
    ) -> mpsc::Receiver<OneOpened<E>> {
        let place = |(id, epoch, rules): (PartitionId, LeaderEpoch, LogConfig)| {
            let (at, dir) = self.node.dirs.of(&id)?;
            Some((id, epoch, at, dir.clone(), rules))
        };
        let list: Vec<_> = list.into_iter().filter_map(place).collect();
        side_by_side(&self.node.env, "open_logs", list, |(id, epoch, at, dir, rules)| async move {
            let opened = async {
                let (log, recovery) = dir.open_log(id, REPLICA_GEN, rules).await?;
                // What hinders it meets who puts the log to work; what was found is told before.
                drop(begin_epoch(&log, epoch).await);
                Ok((log, recovery))
            };
            (id, at, opened.await)
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
