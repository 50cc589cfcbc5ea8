//! Opening a log: by what the journal says after a clean stop, otherwise with a look at its last
//! segment.
//!
//! Invariants: which segments count, and how far, is the journal's word; what lies below the
//! recovery point is never cut, only reported; what lies beyond it is checked, written again and
//! synced before it counts (after a failed sync the page cache may hold bytes that the disk does
//! not); a clean start reads no segment body, and a log without a segment touches no file.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{Offset, Probe};
use env::{Access, Disk, EntryKind, Env, File, Lock};

use super::run_walk::Untold;
use super::{FileOf, LOG_RANK, Limits, Log, LogInner, Rare, SegmentState, Shared, Upkeep};
use crate::config::LogConfig;
use crate::dir::{DirShared, Found};
use crate::envelope::{Envelopes, Owner, SLOT, decode_file};
use crate::epochs::{EpochHistory, EpochStart};
use crate::error::OpenError;
use crate::journal::{Change, LogState, Mark, Record, SealedLog, SegmentSummary};
use crate::names::{PRODUCERS, SegmentName, TMP};
use crate::producers::{ProducerSnapshot, ProducerStates, decode_snapshot};
use crate::replace::read_whole;
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
    /// Bytes of batches that only the journal had.
    pub journal_bytes: u64,
    /// Bytes read below the recovery point, to rebuild look-ups and producers from headers.
    pub rebuilt_bytes: u64,
    /// What was taken off the end.
    pub cut: Option<Cut>,
    /// Damage below the recovery point: kept, reported, never cut.
    pub faulty: Vec<FaultyRange>,
    /// Whether the log may hold less than it was promised to, now or since an earlier start.
    pub uncertain: bool,
    /// Whether the producers' file was missing or damaged, so that they come from the batches.
    pub producers_lost: bool,
    /// Damaged batches, which tell of no producer.
    pub untold: Option<Untold>,
    /// Files whose names are not ours: left alone.
    pub unknown: Vec<String>,
}

/// A log that is being opened.
pub(super) struct Opening<E: Env> {
    pub(super) dir: Arc<DirShared<E>>,
    pub(super) found: Found,
    pub(super) folder: PathBuf,
    /// What the journal says of it, and epochs that it has forgotten.
    pub(super) known: Arc<LogState>,
    /// Epochs that the journal is still to be told of.
    pub(super) learned: Vec<EpochStart>,
    pub(super) recovery: Recovery,
}

/// What an opened log starts from.
pub(super) struct Loaded<F> {
    pub(super) segments: Vec<SegmentState<F>>,
    pub(super) start: Offset,
    pub(super) end: Offset,
    pub(super) high_watermark: Offset,
    pub(super) epochs: EpochHistory,
    pub(super) producers: ProducerStates,
    pub(super) faulty: Vec<FaultyRange>,
    /// Bytes of batches that the producers' file does not know; not 0 if it is not of the end.
    pub(super) state_age_bytes: u64,
    pub(super) upkeep: Upkeep,
}

/// Segment files in a log's folder.
pub(super) struct Listing {
    pub(super) logs: BTreeSet<SegmentName>,
    pub(super) envs: BTreeSet<SegmentName>,
}

impl<E: Env> Log<E> {
    /// What the journal has to be told of a new log; `is_doubted` if one may have been lost.
    pub(crate) fn creation(dir: &DirShared<E>, log: Found, is_doubted: bool) -> Vec<Record> {
        let mut records = vec![Record { log, change: Change::Create }];
        let is_unexplained = dir.unexplained.contains(&log);
        if is_unexplained {
            // It may have held more than nothing, and its files are not to be removed.
            dir.env.probe().reached("storage_log_made_beside_its_files");
        } else if is_doubted {
            dir.env.probe().reached("storage_log_made_after_damage");
        }
        if is_unexplained || is_doubted {
            records.push(Record { log, change: Change::Mark(Mark::Uncertain) });
        }
        records
    }

    /// The log, once the journal knows it.
    pub(crate) fn created(
        dir: Arc<DirShared<E>>,
        found: Found,
        config: LogConfig,
        is_doubted: bool,
    ) -> Self {
        let uncertain = is_doubted || dir.unexplained.contains(&found);
        let mut opening = Opening::new(dir, found, Arc::default());
        opening.recovery.uncertain = uncertain;
        opening.assemble(opening.without_segments(), &config)
    }

    pub(crate) async fn open(
        dir: Arc<DirShared<E>>,
        found: Found,
        config: LogConfig,
    ) -> Result<(Self, Recovery), OpenError> {
        dir.check()?;
        let Found { partition, replica_gen } = found;
        let known = dir.journal.log(found);
        let known = known.ok_or(OpenError::Missing { partition, replica_gen })?;
        let mut opening = Opening::new(dir, found, known);
        opening.recovery.uncertain = opening.known.uncertain;
        opening.recovery.faulty.clone_from(&opening.known.faulty);
        let loaded = opening.load().await?;
        let log = opening.assemble(loaded, &config);
        if opening.recovery.clean {
            opening.probe().reached("storage_log_opened_clean");
        } else {
            let mut upkeep = log.inner.upkeep.lock().await;
            if upkeep.has_folder {
                log.make_recovered_durable(&mut upkeep).await?;
            }
        }
        opening.dir.journal.note_filed(found, log.end());
        opening.dir.forget_batches(found);
        Ok((log, opening.recovery))
    }
}

impl<E: Env> Log<E> {
    /// The producers' file, as it is now.
    pub(super) async fn read_producers(&self) -> io::Result<Option<ProducerSnapshot>> {
        read_producers(&self.inner.dir, self.found()).await
    }
}

impl<E: Env> Opening<E> {
    fn new(dir: Arc<DirShared<E>>, found: Found, known: Arc<LogState>) -> Self {
        let folder = dir.folder(found);
        let recovery = Recovery::default();
        Self { dir, found, folder, known, learned: Vec::new(), recovery }
    }

    async fn load(&mut self) -> Result<Loaded<FileOf<E>>, OpenError> {
        let sealed = self.known.sealed;
        let sealed = sealed.filter(|sealed| Some(sealed.start_id) == self.dir.sealed_by);
        if self.known.segments.is_empty() {
            // Nothing was ever written here, or all of it was let go of.
            // A damaged journal may have forgotten its segments (simulator seed 85010341).
            self.recovery.clean = self.dir.sealed_by.is_some() && !self.dir.start.journal_damaged;
            self.recovery.recovery_point = self.known.start;
            if !self.recovery.clean && self.dir.folders.contains(&self.found) {
                // It may hold a segment whose record is lost.
                let listing = self.list().await?;
                return self.load_unclean(&listing).await;
            }
            let mut loaded = self.without_segments();
            if loaded.start > Offset::ZERO {
                let snapshot = self.read_producers().await?;
                let snapshot = snapshot.filter(|snapshot| snapshot.upto <= loaded.end);
                loaded.producers = snapshot.map(|found| found.producers).unwrap_or_default();
            }
            return Ok(loaded);
        }
        let listing = self.list().await?;
        if let Some(sealed) = sealed {
            if let Some(loaded) = self.load_clean(&listing, &sealed).await? {
                self.recovery.clean = true;
                self.recovery.recovery_point = sealed.end;
                return Ok(loaded);
            }
            self.probe().reached("storage_sealed_state_contradicted");
        }
        self.load_unclean(&listing).await
    }

    pub(super) fn probe(&self) -> &E::Probe {
        self.dir.env.probe()
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

    /// The segment files that are there.
    async fn list(&mut self) -> Result<Listing, OpenError> {
        let mut listing = Listing { logs: BTreeSet::new(), envs: BTreeSet::new() };
        let entries = match self.dir.env.disk().list(&self.folder).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listing),
            Err(error) => return Err(self.io("list", &self.folder)(error)),
        };
        for entry in entries {
            let stem = entry.name.strip_suffix(TMP).unwrap_or(&entry.name);
            match SegmentName::parse(&entry.name) {
                Some((name, false)) if entry.kind == EntryKind::File => {
                    listing.logs.insert(name);
                },
                Some((name, true)) if entry.kind == EntryKind::File => {
                    listing.envs.insert(name);
                },
                _ if stem == PRODUCERS || SegmentName::parse(stem).is_some() => {},
                _ => {
                    self.probe().reached("storage_unknown_file");
                    self.recovery.unknown.push(entry.name);
                },
            }
        }
        Ok(listing)
    }

    /// The producers' file; `None` if it is missing or damaged.
    pub(super) async fn read_producers(&self) -> Result<Option<ProducerSnapshot>, OpenError> {
        let found = read_producers(&self.dir, self.found).await;
        found.map_err(self.io("read the producers in", &self.folder))
    }

    /// Everything from the journal and the last segment's envelopes; `None` if they contradict
    /// what is there.
    async fn load_clean(
        &self,
        listing: &Listing,
        sealed: &SealedLog,
    ) -> Result<Option<Loaded<FileOf<E>>>, OpenError> {
        let Some(snapshot) = self.read_producers().await?.filter(|s| s.upto == sealed.end) else {
            return Ok(None);
        };
        let known = &self.known.segments;
        let all_there = known.iter().all(|segment| listing.logs.contains(&segment.name));
        let Some(last) = known.last().filter(|_| all_there) else {
            return Ok(None);
        };
        let closed: Vec<SegmentSummary> = known.iter().filter_map(|s| s.closed).collect();
        let mut segments: Vec<_> = closed.iter().map(SegmentState::unloaded).collect();
        let mut upkeep = Upkeep { has_folder: true, ..Upkeep::default() };
        if last.closed.is_none() {
            let (file, len) = self.open_segment_file(last.name, Access::Write).await?;
            let envelopes = self.read_envelopes(last.name).await?;
            let indexed = envelopes.runs.last().map_or(0, crate::envelope::Run::end_position);
            let same = len == u64::from(sealed.bytes) && indexed == sealed.bytes;
            if !same || envelopes.damaged {
                return Ok(None);
            }
            upkeep.env_bytes = slots_len(envelopes.runs.len());
            let (mut segment, _) = super::scan::from_envelopes(last.name, &file, &envelopes, len);
            segment.enveloped = envelopes.runs.len();
            segments.push(segment);
        }
        let known = &self.known;
        let end = segments.last().map_or(known.start, |segment| segment.end).max(known.start);
        if segments.len() != known.segments.len() || end != sealed.end {
            return Ok(None);
        }
        Ok(Some(Loaded {
            segments,
            start: known.start,
            end,
            high_watermark: known.high_watermark,
            epochs: known.epochs.clone(),
            producers: snapshot.producers,
            faulty: known.faulty.clone(),
            state_age_bytes: 0,
            upkeep,
        }))
    }

    /// A log that holds no batch.
    fn without_segments(&self) -> Loaded<FileOf<E>> {
        let start = self.known.start;
        Loaded {
            segments: Vec::new(),
            start,
            end: start,
            high_watermark: start,
            epochs: self.known.epochs.clone(),
            producers: ProducerStates::default(),
            faulty: self.known.faulty.clone(),
            state_age_bytes: 0,
            upkeep: Upkeep::default(),
        }
    }

    pub(super) async fn open_segment_file(
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
            return Ok(Envelopes { damaged: true, lost: true, ..Envelopes::default() });
        };
        Ok(decode_file(&self.owner(name), name.base, &bytes))
    }

    fn assemble(&self, mut loaded: Loaded<FileOf<E>>, config: &LogConfig) -> Log<E> {
        // Whoever needs one opens it: most logs are at rest.
        loaded.segments.iter_mut().for_each(|segment| segment.file = None);
        let tiny_tail = self.probe().buggify("storage_tiny_tail");
        let end = loaded.end;
        let shared = Shared {
            limits: Limits::from(config),
            segments: loaded.segments,
            start: loaded.start,
            end,
            flushed_end: end,
            journaled_end: end,
            high_watermark: loaded.high_watermark.min(end),
            cleaned: self.known.cleaned.min(end),
            rare: (!loaded.faulty.is_empty())
                .then(|| Box::new(Rare { faulty: loaded.faulty, ..Rare::default() })),
            epochs: loaded.epochs,
            producers: loaded.producers,
            uncertain: self.recovery.uncertain,
            tail: Tail::default(),
            tiny_tail,
            dirty_since: None,
            dirty_bytes: 0,
            state_age_bytes: loaded.state_age_bytes,
            appending: false,
            closing: false,
            closed: false,
        };
        Log::new(LogInner {
            dir: self.dir.clone(),
            partition: self.found.partition,
            replica_gen: self.found.replica_gen,
            shared: Lock::new(LOG_RANK, shared),
            upkeep: tokio::sync::Mutex::new(loaded.upkeep),
        })
    }
}

/// The producers' file of a log; `None` if it is missing or damaged.
async fn read_producers<E: Env>(
    dir: &DirShared<E>,
    log: Found,
) -> io::Result<Option<ProducerSnapshot>> {
    let bytes = read_whole(&dir.env, &dir.folder(log).join(PRODUCERS)).await?;
    let snapshot = bytes.and_then(|bytes| decode_snapshot(&bytes).ok());
    Ok(snapshot.filter(|snapshot| snapshot.log == log))
}

/// Bytes of a file of this many envelopes.
pub(super) fn slots_len(count: usize) -> u64 {
    u64::try_from(count.saturating_mul(SLOT)).unwrap_or(u64::MAX)
}

impl<F> SegmentState<F> {
    /// A closed segment, known from its summary only.
    pub(super) fn unloaded(summary: &SegmentSummary) -> Self {
        Self {
            name: summary.name,
            end: summary.end,
            bytes: summary.bytes,
            open: false,
            max_timestamp: summary.max_timestamp,
            first_timestamp: None,
            file: None,
            runs: None,
            enveloped: 0,
            run_open: false,
            spoiled: false,
            reserved: 0,
        }
    }
}
