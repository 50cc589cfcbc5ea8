//! What all parts of one broker share.
//!
//! Owns: the log directories, the table of partitions, and the snapshot of the metadata that clients
//! see. Invariants: the snapshot is swapped whole, and its index never falls; a partition whose
//! directory failed has no leader in it; the broker ends with its last directory, or with the one
//! that holds the metadata.

use env::atomic::{AtomicBool, Ordering};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use base::config::Configs;
use base::trace::{Entry, Kind};
use base::{PartitionId, PartitionIndex, Probe};
use env::{Env, Lock, Rank};
use metadata::Resource;

use crate::alive::Alive;
use crate::api::{
    ClusterView, DeleteRecordsError, FetchError, ListOffsetError, ProduceError, TopicView,
};
use crate::config::BrokerConfig;
use crate::dirs::Dirs;
use crate::openers::Openers;
use crate::partition::Partition;
use crate::partition::ledger::Fate;
use crate::partitions::Partitions;
use crate::recorder::Recorder;
use crate::unmade::UnmadeLogs;

/// Taken alone.
const RULES_RANK: Rank = Rank(58);
/// Taken before that of the directories.
const VIEW_RANK: Rank = Rank(60);

/// Shared by everything that runs in one broker.
pub(crate) struct Node<E: Env> {
    pub(crate) env: E,
    /// As it was started.
    pub(crate) config: BrokerConfig,
    rules: Lock<Rules>,
    pub(crate) dirs: Dirs<E>,
    pub(crate) partitions: Partitions<E>,
    pub(crate) unmade: UnmadeLogs,
    /// Background tasks that the stop waits for.
    pub(crate) tasks: Alive,
    /// The cleaner, which the stop waits for before it seals the directory.
    pub(crate) cleaner: Alive,
    pub(crate) openers: Arc<Openers>,
    recorder: Recorder,
    view: Lock<Arc<ClusterView>>,
    stopping: AtomicBool,
    /// Told once, when the broker begins to stop.
    pub(crate) stop: tokio::sync::Notify,
}

/// The configuration while the broker runs.
struct Rules {
    /// As the file has it: as it was started, until the file is read again.
    told: Arc<BrokerConfig>,
    /// With what was set while the broker ran on top.
    in_force: Arc<BrokerConfig>,
}

impl<E: Env> Node<E> {
    pub(crate) fn new(env: E, config: BrokerConfig, dirs: Dirs<E>) -> Arc<Self> {
        let recorder = Recorder::new(config.flight_recorder_bytes);
        let told = Arc::new(config.clone());
        let rules = Lock::new(RULES_RANK, Rules { in_force: Arc::clone(&told), told });
        Arc::new(Self {
            env,
            config,
            recorder,
            rules,
            dirs,
            partitions: Partitions::default(),
            unmade: UnmadeLogs::default(),
            tasks: Alive::default(),
            cleaner: Alive::default(),
            openers: Arc::default(),
            view: Lock::new(VIEW_RANK, Arc::default()),
            stopping: AtomicBool::new(false),
            stop: tokio::sync::Notify::new(),
        })
    }

    /// The configuration in force.
    pub(crate) fn rules(&self) -> Arc<BrokerConfig> {
        Arc::clone(&self.rules.lock().in_force)
    }

    /// From now on these settings lie on top of what the file says.
    pub(crate) fn set_rules(&self, settings: &BTreeMap<Resource, Configs>) {
        let mut rules = self.rules.lock();
        rules.in_force = Arc::new(rules.told.with(settings));
    }

    /// From now on the file says this, below the settings.
    pub(crate) fn retell(&self, told: &BrokerConfig, settings: &BTreeMap<Resource, Configs>) {
        let told = Arc::new(self.config.retold(told));
        let in_force = Arc::new(told.with(settings));
        *self.rules.lock() = Rules { told, in_force };
    }

    /// The metadata as clients may see it now.
    pub(crate) fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.view.lock())
    }

    /// Keeps in the flight recorder what happened.
    pub(crate) fn record(&self, kind: Kind, what: &dyn Debug) {
        self.recorder.record(self.env.now(), kind, what, self.env.probe());
    }

    /// What the flight recorder holds, and how many entries are gone.
    pub(crate) fn recorded(&self) -> (Vec<Entry>, u64) {
        self.recorder.taken()
    }

    /// Swaps the metadata that clients see.
    pub(crate) fn show(&self, mut view: ClusterView) {
        let mut shown = self.view.lock();
        self.take_leaders(&mut view);
        base::invariant!(
            META_1,
            view.metadata_index >= shown.metadata_index,
            "{} after {}",
            view.metadata_index,
            shown.metadata_index
        );
        if self.env.probe().mutant("snapshot_by_halves") {
            // Planted: for a moment the index is new and the rest is old.
            let index = view.metadata_index;
            *shown = Arc::new(ClusterView { metadata_index: index, ..ClusterView::clone(&shown) });
            drop(shown);
            shown = self.view.lock();
        }
        *shown = Arc::new(view);
    }

    /// Partitions whose directory failed have no leader.
    fn take_leaders(&self, view: &mut ClusterView) {
        let offline = self.dirs.offline();
        if offline.is_empty() {
            return;
        }
        for (topic, known) in view.by_id.clone() {
            let mut changed = TopicView::clone(&known);
            let numbered = (0..).map(PartitionIndex).zip(&mut changed.partitions);
            for (_, partition) in numbered
                .filter(|(index, _)| offline.contains(&PartitionId { topic, index: *index }))
            {
                partition.leader = None;
                partition.offline = vec![self.config.node_id];
            }
            if changed.partitions != known.partitions {
                let changed = Arc::new(changed);
                view.topics.insert(Arc::clone(&changed.name), Arc::clone(&changed));
                view.by_id.insert(topic, changed);
            }
        }
    }

    /// A directory failed: what lives in it is not served any more. The broker goes on without it,
    /// if it can.
    pub(crate) fn directory_failed(&self, at: usize, why: &str) {
        let Some(partitions) = self.dirs.fail(at, why) else {
            return;
        };
        self.env.probe().reached("directory_failed");
        self.record(Kind::DirectoryFailed, &why);
        if self.dirs.is_home(at) || !self.dirs.any_left() {
            self.record(Kind::Halt, &why);
            return self.env.halt(why.to_owned());
        }
        let count = partitions.len();
        tracing::error!(partitions = count, "{why}; its partitions are offline, others go on");
        for id in partitions {
            self.close_failed(&id);
        }
        self.refresh();
    }

    /// One partition cannot be served any more.
    pub(crate) fn partition_failed(&self, id: PartitionId) {
        self.dirs.set_offline(id);
        self.close_failed(&id);
        self.refresh();
    }

    fn close_failed(&self, id: &PartitionId) {
        if let Some(partition) = self.partitions.find(id) {
            partition.close(Fate::Failed);
        }
    }

    /// Shows the present metadata again, with who is offline now.
    fn refresh(&self) {
        let mut shown = self.view.lock();
        let mut view = ClusterView::clone(&shown);
        self.take_leaders(&mut view);
        *shown = Arc::new(view);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// From now on nothing new is accepted.
    pub(crate) fn begin_stop(&self) {
        self.record(Kind::Stop, &format_args!("begins to stop"));
        self.stopping.store(true, Ordering::Release);
        self.stop.notify_waiters();
        self.unmade.wake();
    }

    /// Sleeps for `by`, or until the broker begins to stop; true if it goes on.
    pub(crate) async fn nap(&self, by: base::Duration) -> bool {
        let mut stop = std::pin::pin!(self.stop.notified());
        stop.as_mut().enable();
        if self.is_stopping() {
            return false;
        }
        let until = self.env.now().after(by);
        env::timeout_at(&self.env, until, stop).await.is_err()
    }

    /// The partition, or why it is not here.
    pub(crate) fn find(&self, id: &PartitionId) -> Result<Arc<Partition<E>>, NotHere> {
        if let Some(partition) = self.partitions.find(id) {
            return Ok(partition);
        }
        if self.dirs.is_offline(id) {
            return Err(NotHere::Offline);
        }
        let view = self.view();
        let topic = view.by_id.get(&id.topic).ok_or(NotHere::Unknown)?;
        let placed = topic.partition(id.index).ok_or(NotHere::Unknown)?;
        Err(NotHere::Elsewhere { leader: placed.leader, epoch: placed.leader_epoch })
    }
}

/// Why a partition is not led here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotHere {
    /// Nobody has it.
    Unknown,
    /// Its log directory failed.
    Offline,
    /// Another broker leads it, or none.
    Elsewhere {
        /// Who.
        leader: Option<base::BrokerId>,
        /// In which epoch.
        epoch: base::LeaderEpoch,
    },
}

impl From<NotHere> for ProduceError {
    fn from(why: NotHere) -> Self {
        match why {
            NotHere::Unknown => Self::UnknownPartition,
            NotHere::Offline => Self::StorageFailed,
            NotHere::Elsewhere { leader, epoch } => Self::NotLeader { leader, epoch },
        }
    }
}

impl From<NotHere> for FetchError {
    fn from(why: NotHere) -> Self {
        match why {
            NotHere::Unknown => Self::UnknownPartition,
            NotHere::Offline => Self::StorageFailed,
            NotHere::Elsewhere { leader, epoch } => Self::NotLeader { leader, epoch },
        }
    }
}

impl From<NotHere> for ListOffsetError {
    fn from(why: NotHere) -> Self {
        match why {
            NotHere::Unknown => Self::UnknownPartition,
            NotHere::Offline => Self::StorageFailed,
            NotHere::Elsewhere { leader, epoch } => Self::NotLeader { leader, epoch },
        }
    }
}

impl From<NotHere> for DeleteRecordsError {
    fn from(why: NotHere) -> Self {
        match why {
            NotHere::Unknown => Self::UnknownPartition,
            NotHere::Offline => Self::StorageFailed,
            NotHere::Elsewhere { leader, epoch } => Self::NotLeader { leader, epoch },
        }
    }
}
