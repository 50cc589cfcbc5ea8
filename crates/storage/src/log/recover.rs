//! Opening a log: by its state file after a clean stop, otherwise by its segments.
//!
//! Invariants: what lies below the recovery point is never cut, only reported; what lies beyond it
//! is checked, written again and synced before it counts (after a failed sync the page cache may
//! hold bytes that the disk does not); a clean start reads no segment body.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{Offset, Probe};
use env::{Access, Disk, EntryKind, Env, File, Lock};

use super::checkpoint::create_segment;
use super::{FileOf, LOG_RANK, Log, LogInner, SegmentState, Shared, Upkeep};
use crate::config::LogConfig;
use crate::dir::{DirShared, Found};
use crate::envelope::{Envelopes, Owner, SLOT, decode_file};
use crate::epochs::EpochHistory;
use crate::error::OpenError;
use crate::names::{STATE, SegmentName, TMP};
use crate::producers::ProducerStates;
use crate::replace::read_whole;
use crate::state::{SegmentSummary, State, decode_state};
use crate::tail::Tail;

/// Bytes that were taken off the end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where the log ends now.
    pub at: Offset,
    /// How many bytes.
    pub bytes: u64,
    /// Whether a process crash alone explains it: one incomplete batch, then zeros or nothing.
    pub torn: bool,
}

/// Offsets whose bytes were durable and are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultyRange {
    /// The first damaged offset.
    pub from: Offset,
    /// One past the last one.
    pub to: Offset,
}

/// What opening a log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the directory was sealed, so that no segment was read.
    pub clean: bool,
    /// Where the scan began: everything before was durable.
    pub recovery_point: Offset,
    /// Bytes checked, written again and synced.
    pub scanned_bytes: u64,
    /// Bytes read below the recovery point, to rebuild look-ups and producers from headers.
    pub rebuilt_bytes: u64,
    /// What was taken off the end.
    pub cut: Option<Cut>,
    /// Damage below the recovery point: kept, reported, never cut.
    pub faulty: Vec<FaultyRange>,
    /// Whether the state file was missing or damaged, so that history and producers come from
    /// the batches.
    pub state_lost: bool,
    /// Files whose names are not ours, or that another file replaced: left alone.
    pub unknown: Vec<String>,
}

/// A log that is being opened.
pub(super) struct Opening<E: Env> {
    pub(super) dir: Arc<DirShared<E>>,
    pub(super) found: Found,
    pub(super) folder: PathBuf,
    pub(super) recovery: Recovery,
}

/// What an opened log starts from.
pub(super) struct Loaded<F> {
    pub(super) segments: Vec<SegmentState<F>>,
    pub(super) start: Offset,
    pub(super) high_watermark: Offset,
    pub(super) epochs: EpochHistory,
    pub(super) producers: ProducerStates,
    pub(super) faulty: Vec<FaultyRange>,
    pub(super) upkeep: Upkeep<F>,
}

impl<E: Env> Log<E> {
    pub(crate) async fn create(
        dir: Arc<DirShared<E>>,
        found: Found,
        config: LogConfig,
    ) -> Result<Self, OpenError> {
        dir.check()?;
        let folder = dir.folder(found);
        let created = dir.env.disk().create_dir(&folder).await;
        created.map_err(|error| dir.fail("create", &folder, &error))?;
        let opening = Opening { dir, found, folder, recovery: Recovery::default() };
        let loaded = opening.fresh(Offset::ZERO).await?;
        opening.dir.sync_folder(&opening.dir.path).await?;
        let log = opening.assemble(loaded, config);
        log.write_state(&mut *log.inner.upkeep.lock().await, false).await?;
        Ok(log)
    }

    pub(crate) async fn open(
        dir: Arc<DirShared<E>>,
        found: Found,
        config: LogConfig,
    ) -> Result<(Self, Recovery), OpenError> {
        dir.check()?;
        let folder = dir.folder(found);
        let mut opening = Opening { dir, found, folder, recovery: Recovery::default() };
        let names = opening.list().await?;
        let state = opening.read_state().await?;
        let sealed = state.as_ref().filter(|s| s.sealed && Some(s.start_id) == opening.sealed_by());
        if let Some(state) = sealed {
            if let Some(loaded) = opening.load_clean(&names, state).await? {
                opening.recovery.clean = true;
                opening.recovery.recovery_point = state.flushed_end;
                opening.recovery.faulty.clone_from(&state.faulty);
                opening.probe().reached("storage_log_opened_clean");
                return Ok((opening.assemble(loaded, config), opening.recovery));
            }
            opening.probe().reached("storage_sealed_state_contradicted");
        }
        opening.recovery.state_lost = state.is_none();
        let loaded = opening.load_unclean(&names, state).await?;
        opening.recovery.faulty.clone_from(&loaded.faulty);
        opening.dir.sync_folder(&opening.folder).await?;
        let log = opening.assemble(loaded, config);
        log.write_state(&mut *log.inner.upkeep.lock().await, false).await?;
        Ok((log, opening.recovery))
    }
}

impl<E: Env> Opening<E> {
    pub(super) fn probe(&self) -> &E::Probe {
        self.dir.env.probe()
    }

    fn sealed_by(&self) -> Option<base::Uuid> {
        self.dir.sealed_by
    }

    pub(super) fn owner(&self, name: SegmentName) -> Owner {
        let Found { partition, replica_gen } = self.found;
        Owner { partition, replica_gen, seg_gen: name.seg_gen }
    }

    pub(super) fn io<'a>(
        &self,
        what: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> OpenError + use<'a, E> {
        move |source| OpenError::Io { what, path: path.to_owned(), source }
    }

    /// The segments, by offset; per offset the newest.
    async fn list(&mut self) -> Result<Vec<SegmentName>, OpenError> {
        let entries = self.dir.env.disk().list(&self.folder).await;
        let entries = entries.map_err(self.io("list", &self.folder))?;
        let mut names = Vec::new();
        let mut envelopes = Vec::new();
        for entry in entries {
            let stem = entry.name.strip_suffix(TMP).unwrap_or(&entry.name);
            match SegmentName::parse(&entry.name) {
                Some((name, false)) if entry.kind == EntryKind::File => names.push(name),
                Some((name, true)) if entry.kind == EntryKind::File => envelopes.push(name),
                _ if stem == STATE || SegmentName::parse(stem).is_some() => {},
                _ => {
                    self.probe().reached("storage_unknown_file");
                    self.recovery.unknown.push(entry.name);
                },
            }
        }
        names.sort();
        let mut newest: Vec<SegmentName> = Vec::with_capacity(names.len());
        for name in names {
            if let Some(older) = newest.pop_if(|last| last.base == name.base) {
                self.probe().reached("storage_segment_superseded");
                self.recovery.unknown.push(older.log());
            }
            newest.push(name);
        }
        for orphan in envelopes.into_iter().filter(|name| newest.binary_search(name).is_err()) {
            self.probe().reached("storage_envelopes_without_segment");
            self.recovery.unknown.push(orphan.env());
        }
        Ok(newest)
    }

    async fn read_state(&self) -> Result<Option<State>, OpenError> {
        let path = self.folder.join(STATE);
        let bytes = read_whole(&self.dir.env, &path).await.map_err(self.io("read", &path))?;
        let Some(bytes) = bytes else {
            self.probe().reached("storage_state_missing");
            return Ok(None);
        };
        let ours = |state: &State| {
            state.partition == self.found.partition && state.replica_gen == self.found.replica_gen
        };
        let state = decode_state(&bytes).ok().filter(ours);
        if state.is_none() {
            self.probe().reached("storage_state_damaged");
        }
        Ok(state)
    }

    /// Everything from the state file and the last segment's envelopes; `None` if they contradict
    /// what is there.
    async fn load_clean(
        &self,
        names: &[SegmentName],
        state: &State,
    ) -> Result<Option<Loaded<FileOf<E>>>, OpenError> {
        let same = names.iter().eq(state.segments.iter().map(|segment| &segment.name));
        let Some(last) = state.segments.last().filter(|_| same) else {
            return Ok(None);
        };
        let (file, len) = self.open_segment(last.name, Access::Write).await?;
        let envelopes = self.read_envelopes(last.name).await?;
        let indexed = envelopes.runs.last().map_or(0, crate::envelope::Run::end_position);
        if len != u64::from(last.bytes) || indexed != last.bytes || envelopes.damaged {
            return Ok(None);
        }
        let path = self.folder.join(last.name.env());
        let env = self.dir.env.disk().open(&path, Access::Write).await;
        let env = env.map_err(self.io("open", &path))?;
        let env_bytes = slots_len(envelopes.runs.len());
        let mut segments: Vec<_> = state.segments.iter().map(SegmentState::unloaded).collect();
        if let Some(segment) = segments.last_mut() {
            segment.file = Some(file);
            segment.enveloped = envelopes.runs.len();
            segment.first_timestamp = envelopes.runs.first().map(|run| run.max_timestamp);
            segment.runs = Some(envelopes.runs);
        }
        Ok(Some(Loaded {
            segments,
            start: state.log_start,
            high_watermark: state.high_watermark,
            epochs: state.epochs.clone(),
            producers: state.producers.clone(),
            faulty: state.faulty.clone(),
            upkeep: Upkeep { env, env_bytes },
        }))
    }

    /// A log of one segment without a byte.
    pub(super) async fn fresh(&self, base: Offset) -> Result<Loaded<FileOf<E>>, OpenError> {
        let name = SegmentName { base, seg_gen: self.dir.next_seg_gen() };
        let (log, env) = create_segment(&self.dir, &self.folder, name).await?;
        self.dir.sync_folder(&self.folder).await?;
        Ok(Loaded {
            segments: vec![SegmentState::empty(name, log)],
            start: base,
            high_watermark: base,
            epochs: EpochHistory::default(),
            producers: ProducerStates::default(),
            faulty: Vec::new(),
            upkeep: Upkeep { env, env_bytes: 0 },
        })
    }

    pub(super) async fn open_segment(
        &self,
        name: SegmentName,
        access: Access,
    ) -> Result<(FileOf<E>, u64), OpenError> {
        let path = self.folder.join(name.log());
        let file = self.dir.env.disk().open(&path, access).await;
        let file = file.map_err(self.io("open", &path))?;
        let len = file.len().await.map_err(self.io("measure", &path))?;
        Ok((file, len))
    }

    pub(super) async fn read_envelopes(&self, name: SegmentName) -> Result<Envelopes, OpenError> {
        let path = self.folder.join(name.env());
        let bytes = read_whole(&self.dir.env, &path).await.map_err(self.io("read", &path))?;
        let Some(bytes) = bytes else {
            self.probe().reached("storage_envelopes_missing");
            return Ok(Envelopes { damaged: true, ..Envelopes::default() });
        };
        Ok(decode_file(&self.owner(name), name.base, &bytes))
    }

    fn assemble(&self, loaded: Loaded<FileOf<E>>, config: LogConfig) -> Log<E> {
        let end = loaded.segments.last().map_or(loaded.start, |segment| segment.end);
        let tiny = self.probe().buggify("storage_tiny_tail");
        let shared = Shared {
            config,
            segments: loaded.segments,
            start: loaded.start,
            end,
            flushed_end: end,
            high_watermark: loaded.high_watermark.min(end),
            epochs: loaded.epochs,
            producers: loaded.producers,
            faulty: loaded.faulty,
            tail: Tail::new(self.dir.tail_budget.clone(), tiny),
            dirty_since: None,
            dirty_bytes: 0,
            state_age_bytes: 0,
            appending: false,
            closed: false,
        };
        Log::new(LogInner {
            dir: self.dir.clone(),
            partition: self.found.partition,
            replica_gen: self.found.replica_gen,
            folder: self.folder.clone(),
            shared: Lock::new(LOG_RANK, shared),
            upkeep: tokio::sync::Mutex::new(loaded.upkeep),
        })
    }
}

/// Bytes of a file of this many envelopes.
pub(super) fn slots_len(count: usize) -> u64 {
    u64::try_from(count.saturating_mul(SLOT)).unwrap_or(u64::MAX)
}

impl<F> SegmentState<F> {
    /// A segment known from its summary only.
    pub(super) fn unloaded(summary: &SegmentSummary) -> Self {
        Self {
            name: summary.name,
            end: summary.end,
            bytes: summary.bytes,
            max_timestamp: summary.max_timestamp,
            first_timestamp: None,
            file: None,
            runs: None,
            enveloped: 0,
            run_open: false,
        }
    }
}
