//! What all parts of one broker share.
//!
//! Owns: the log directory, the table of partitions, and the snapshot of the metadata that clients
//! see. Invariant: the snapshot is swapped whole, and its index never falls.

use env::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use base::{PartitionId, Probe};
use env::{Env, Lock, Rank};
use storage::LogDir;

use crate::alive::Alive;
use crate::api::{ClusterView, FetchError, ListOffsetError, ProduceError};
use crate::config::BrokerConfig;
use crate::openers::Openers;
use crate::partition::Partition;
use crate::partitions::Partitions;

/// Taken alone.
const VIEW_RANK: Rank = Rank(60);

/// Shared by everything that runs in one broker.
pub(crate) struct Node<E: Env> {
    pub(crate) env: E,
    pub(crate) config: BrokerConfig,
    pub(crate) dir: LogDir<E>,
    pub(crate) partitions: Partitions<E>,
    /// Background tasks that the stop waits for.
    pub(crate) tasks: Alive,
    pub(crate) openers: Arc<Openers>,
    view: Lock<Arc<ClusterView>>,
    stopping: AtomicBool,
    /// Told once, when the broker begins to stop.
    pub(crate) stop: tokio::sync::Notify,
}

impl<E: Env> Node<E> {
    pub(crate) fn new(env: E, config: BrokerConfig, dir: LogDir<E>) -> Arc<Self> {
        Arc::new(Self {
            env,
            config,
            dir,
            partitions: Partitions::default(),
            tasks: Alive::default(),
            openers: Arc::default(),
            view: Lock::new(VIEW_RANK, Arc::default()),
            stopping: AtomicBool::new(false),
            stop: tokio::sync::Notify::new(),
        })
    }

    /// The metadata as clients may see it now.
    pub(crate) fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.view.lock())
    }

    /// Swaps the metadata that clients see.
    pub(crate) fn show(&self, view: ClusterView) {
        let mut shown = self.view.lock();
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

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// From now on nothing new is accepted.
    pub(crate) fn begin_stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stop.notify_waiters();
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
            NotHere::Elsewhere { leader, epoch } => Self::NotLeader { leader, epoch },
        }
    }
}

impl From<NotHere> for FetchError {
    fn from(why: NotHere) -> Self {
        match why {
            NotHere::Unknown => Self::UnknownPartition,
            NotHere::Elsewhere { leader, epoch } => Self::NotLeader { leader, epoch },
        }
    }
}

impl From<NotHere> for ListOffsetError {
    fn from(why: NotHere) -> Self {
        match why {
            NotHere::Unknown => Self::UnknownPartition,
            NotHere::Elsewhere { leader, epoch } => Self::NotLeader { leader, epoch },
        }
    }
}
