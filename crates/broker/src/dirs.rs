//! The log directories of one broker, and which partition lives where.
//!
//! Owns: the directories in the order of `log.dirs`, which of them failed, the place of every
//! partition, and the partitions that are offline with their directory. Invariants: a partition has
//! one place for ever; a new one goes to the directory with the fewest, the first of several; a
//! failed directory gets no further partition and never comes back in this process.
//! Source: Kafka's placement (KIP-112, JBOD).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use base::{PartitionId, SortedMap};
use env::{Env, Lock, Rank};
use storage::{LogDir, Room};

use crate::api::{DirectoryState, DirectoryView};
use crate::measure::DirectoryMeasures;

/// Taken inside that of the view, alone otherwise.
const DIRS_RANK: Rank = Rank(65);

/// One directory.
pub(crate) struct OneDir<E: Env> {
    pub(crate) path: PathBuf,
    /// None if it could not be opened.
    pub(crate) dir: Option<LogDir<E>>,
    /// Whether partitions may live in it, not the metadata alone.
    pub(crate) takes_logs: bool,
    /// Why nothing is served from it.
    pub(crate) failure: Option<Arc<str>>,
}

/// All of them.
pub(crate) struct Dirs<E: Env> {
    /// The place of the directory with the metadata.
    home: usize,
    all: Vec<(PathBuf, Option<LogDir<E>>)>,
    state: Lock<State>,
}

struct State {
    takes_logs: Vec<bool>,
    failures: Vec<Option<Arc<str>>>,
    places: SortedMap<PartitionId, usize>,
    /// How many partitions each directory has.
    counts: Vec<usize>,
    offline: BTreeSet<PartitionId>,
}

impl State {
    fn put(&mut self, id: PartitionId, at: usize) {
        self.take(&id);
        self.places.insert(id, at);
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
    }

    fn take(&mut self, id: &PartitionId) {
        if let Some(at) = self.places.remove(id)
            && let Some(count) = self.counts.get_mut(at)
        {
            *count -= 1;
        }
    }
}

impl<E: Env> Dirs<E> {
    /// The directories in their order; `home` must be open.
    pub(crate) fn new(home: usize, dirs: Vec<OneDir<E>>) -> Self {
        let mut all = Vec::new();
        let (mut takes_logs, mut failures) = (Vec::new(), Vec::new());
        for dir in dirs {
            all.push((dir.path, dir.dir));
            takes_logs.push(dir.takes_logs);
            failures.push(dir.failure);
        }
        let (places, offline) = (SortedMap::new(), BTreeSet::new());
        let counts = vec![0; all.len()];
        let state = State { takes_logs, failures, places, counts, offline };
        Self { home, all, state: Lock::new(DIRS_RANK, state) }
    }

    /// Every directory that was opened, failed meanwhile or not.
    pub(crate) fn opened(&self) -> impl Iterator<Item = (usize, &LogDir<E>)> {
        self.all.iter().enumerate().filter_map(|(at, (_, dir))| Some((at, dir.as_ref()?)))
    }

    /// Whether all were.
    pub(crate) fn all_opened(&self) -> bool {
        self.all.iter().all(|(_, dir)| dir.is_some())
    }

    /// Whether the metadata log is in it.
    pub(crate) fn is_home(&self, at: usize) -> bool {
        at == self.home
    }

    /// The directory of a partition, if that works.
    pub(crate) fn of(&self, id: &PartitionId) -> Option<(usize, &LogDir<E>)> {
        let at = {
            let state = self.state.lock();
            let at = *state.places.get(id)?;
            state.failures.get(at)?.is_none().then_some(at)?
        };
        Some((at, self.all.get(at)?.1.as_ref()?))
    }

    /// Notes where a partition was found. Returns where it was found before.
    pub(crate) fn found(&self, id: PartitionId, at: usize) -> Option<usize> {
        let mut state = self.state.lock();
        let before = state.places.get(&id).copied();
        state.put(id, at);
        before
    }

    /// Gives a new partition its place; `None` if no directory is left.
    pub(crate) fn place(&self, id: PartitionId) -> Option<usize> {
        let mut state = self.state.lock();
        if let Some(at) = state.places.get(&id) {
            return Some(*at);
        }
        let usable = |at: &usize| {
            state.takes_logs.get(*at) == Some(&true)
                && state.failures.get(*at).is_some_and(Option::is_none)
        };
        // The first of several: `min_by_key` keeps it.
        let fewest = |at: &usize| state.counts.get(*at).copied();
        let at = (0..state.counts.len()).filter(usable).min_by_key(fewest)?;
        state.put(id, at);
        Some(at)
    }

    /// The partition is gone.
    pub(crate) fn forget(&self, id: &PartitionId) {
        let mut state = self.state.lock();
        state.take(id);
        state.offline.remove(id);
    }

    /// The partition cannot be served, wherever it is.
    pub(crate) fn set_offline(&self, id: PartitionId) {
        self.state.lock().offline.insert(id);
    }

    /// The partitions that are offline because nobody knows a directory of theirs.
    pub(crate) fn unplaced(&self) -> BTreeSet<PartitionId> {
        let state = self.state.lock();
        state.offline.iter().filter(|id| !state.places.contains_key(id)).copied().collect()
    }

    pub(crate) fn is_offline(&self, id: &PartitionId) -> bool {
        self.state.lock().offline.contains(id)
    }

    pub(crate) fn offline(&self) -> BTreeSet<PartitionId> {
        self.state.lock().offline.clone()
    }

    /// A directory failed: its partitions go offline and are returned. `None` if that was known.
    pub(crate) fn fail(&self, at: usize, reason: &str) -> Option<Vec<PartitionId>> {
        let mut state = self.state.lock();
        let failure = state.failures.get_mut(at)?;
        if failure.is_some() {
            return None;
        }
        *failure = Some(reason.into());
        let here = state.places.iter().filter(|(_, place)| **place == at);
        let here: Vec<PartitionId> = here.map(|(id, _)| *id).collect();
        state.offline.extend(&here);
        Some(here)
    }

    /// Whether a partition can live anywhere.
    pub(crate) fn any_left(&self) -> bool {
        let state = self.state.lock();
        state
            .takes_logs
            .iter()
            .zip(&state.failures)
            .any(|(takes, failure)| *takes && failure.is_none())
    }

    /// Those that partitions may live in: path, and the directory unless it failed.
    pub(crate) fn of_logs(&self) -> Vec<(usize, PathBuf, Option<&LogDir<E>>)> {
        let state = self.state.lock();
        let (takes_logs, failures) = (state.takes_logs.clone(), state.failures.clone());
        drop(state);
        let all = self.all.iter().zip(takes_logs.into_iter().zip(failures)).enumerate();
        all.filter(|(_, (_, (takes, _)))| *takes)
            .map(|(at, ((path, dir), (_, failure)))| {
                (at, path.clone(), dir.as_ref().filter(|_| failure.is_none()))
            })
            .collect()
    }

    /// As an operator sees them.
    pub(crate) fn views(&self) -> Vec<DirectoryView> {
        let state = self.state.lock();
        let (failures, counts) = (state.failures.clone(), state.counts.clone());
        drop(state);
        let mut views = Vec::new();
        for (at, ((path, dir), failure)) in self.all.iter().zip(failures).enumerate() {
            let room = dir.as_ref().map_or(Room::Enough, LogDir::room);
            views.push(DirectoryView {
                path: path.clone(),
                dir_id: dir.as_ref().map(|dir| dir.start().dir_id),
                is_metadata: at == self.home,
                partitions: counts.get(at).copied().unwrap_or_default(),
                state: match (failure, room) {
                    (Some(reason), _) => DirectoryState::Failed { reason },
                    (None, Room::Full { since, what }) => {
                        DirectoryState::Full { since, reason: what }
                    },
                    (None, Room::Enough) => DirectoryState::Online,
                },
            });
        }
        views
    }

    /// As they are measured.
    pub(crate) fn measures(&self) -> Vec<DirectoryMeasures> {
        let measured = self.views().into_iter().zip(&self.all).map(|(view, (_, dir))| {
            let journal_groups = dir.as_ref().map_or(0, LogDir::journal_groups);
            let tail_bytes = dir.as_ref().map_or(0, LogDir::tail_bytes);
            DirectoryMeasures { view, journal_groups, tail_bytes }
        });
        measured.collect()
    }
}
