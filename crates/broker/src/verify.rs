//! What a start would do to a data directory, without doing it: what `gregor verify` prints.
//!
//! Invariants: nothing in the directory is created, changed or removed; what is told was decided by
//! the code of a start, on an overlay of the directory ([`env::overlay`]), and by nothing else.
//! Source: ADR 0017.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{BrokerId, Offset, PartitionId, PartitionIndex, ReplicaGen, TopicId};
use bytes::{Bytes, BytesMut};
use env::overlay::Overlay;
use env::{Access, Disk, Env, File, Segment};
use metadata::{Image, Topic};
use storage::journal::{JournalEnd, read_journal};
use storage::{
    DirOptions, Expect, FaultyRange, Found, Log, LogConfig, LogDir, ReadError, Recovery, StartInfo,
    decode_identity,
};
use thiserror::Error;

use crate::broker::StartError;
use crate::inspect;
use crate::metadata_log::MetadataLog;
use crate::publisher::nothing_lost;

/// Bytes read at a time when every batch is looked at.
const READ_BYTES: usize = 1024 * 1024;

/// Why nothing can be told of a directory.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// It has no identity, so no broker ever used it.
    #[error("{} is no data directory of Gregor's", .0.display())]
    NotOurs(PathBuf),
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A start would refuse it as a whole, or a living process holds it.
    #[error(transparent)]
    Refused(#[from] StartError),
}

/// What a start would find in a directory.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Whose it is.
    pub node_id: BrokerId,
    /// What the start would know of the one before; its own id and ordinal are made up.
    pub start: StartInfo,
    /// Groups of the journal since its manifest, and how it ends; `None` if there is no journal.
    pub journal: Option<(u64, JournalEnd)>,
    /// Index of the next metadata record, and whether the last entry is torn and would be cut.
    pub metadata: Option<(u64, bool)>,
    /// Every log that the journal names, in order.
    pub logs: Vec<VerifiedLog>,
    /// Partitions of topics that have no log: their creation was interrupted, and would be finished.
    pub absent: Vec<(Arc<str>, PartitionId)>,
    /// Why a start would refuse the directory although it can be read.
    pub refusal: Option<String>,
}

/// What a start would find in a log.
#[derive(Clone, Debug)]
pub struct VerifiedLog {
    /// Which partition.
    pub partition: PartitionId,
    /// Which incarnation of the replica.
    pub replica_gen: ReplicaGen,
    /// Its topic's name; `None` if no topic has it.
    pub topic: Option<Arc<str>>,
    /// Whether a start would remove it, since its topic was deleted.
    pub is_stray: bool,
    /// What opening it came to, or why it cannot be opened.
    pub outcome: Result<VerifiedRecovery, String>,
}

/// What opening a log came to.
#[derive(Clone, Debug)]
pub struct VerifiedRecovery {
    /// First offset that may be read.
    pub log_start: Offset,
    /// One past the last record.
    pub log_end: Offset,
    /// Bytes of its segments.
    pub bytes: u64,
    /// What the start would cut, note and write again.
    pub recovery: Recovery,
    /// What a look at every batch came to, if that was asked for.
    pub deep: Option<Deep>,
}

/// What a look at every batch of a log came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deep {
    /// Whole batches whose checksum matches.
    pub batches: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Offsets that cannot be read; damage that the journal notes already is among them.
    pub damaged: Vec<FaultyRange>,
}

/// What all of it comes to, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conclusion {
    /// A start would change nothing that anybody can read.
    Clean,
    /// A start would recover: it loses nothing that was promised.
    Recovers,
    /// Something is damaged or missing.
    Damaged,
    /// A start would refuse.
    Refused,
}

impl Verified {
    /// The worst that was found.
    pub fn conclusion(&self) -> Conclusion {
        let start = &self.start;
        let mut worst = Conclusion::Clean;
        let tidies = start.class != storage::StartClass::Clean
            || start.deletions_finished > 0
            || self.metadata.is_some_and(|(_, torn)| torn)
            || !self.absent.is_empty();
        if tidies {
            worst = Conclusion::Recovers;
        }
        if start.journal_damaged || !start.missing.is_empty() {
            worst = Conclusion::Damaged;
        }
        if self.refusal.is_some() {
            worst = Conclusion::Refused;
        }
        self.logs.iter().map(VerifiedLog::conclusion).fold(worst, Conclusion::max)
    }
}

impl VerifiedLog {
    /// The worst that was found in it.
    pub fn conclusion(&self) -> Conclusion {
        let Ok(found) = &self.outcome else { return Conclusion::Refused };
        let recovery = &found.recovery;
        let damaged = found.deep.as_ref().is_some_and(|deep| !deep.damaged.is_empty());
        // A cut that a killed process does not explain may have been read and acknowledged.
        let odd_cut = recovery.cut.is_some_and(|cut| !cut.torn);
        if damaged || odd_cut || recovery.uncertain || !recovery.faulty.is_empty() {
            Conclusion::Damaged
        } else if self.is_stray || !recovery.clean {
            Conclusion::Recovers
        } else {
            Conclusion::Clean
        }
    }
}

/// Does what a start does with the directory `dir`, on an overlay of it. `deep` reads every batch.
///
/// # Errors
/// [`VerifyError`].
pub async fn verify<E: Env>(env: &E, dir: &Path, deep: bool) -> Result<Verified, VerifyError> {
    let node_id = owner(env, dir).await?;
    let io_error = |source| VerifyError::Io { path: dir.to_owned(), source };
    let journal = read_journal(env, dir).await.map_err(io_error)?.replayed;
    let journal = journal.map(|replayed| (replayed.groups, replayed.end));
    let torn = inspect::metadata(env, dir).await.ok().flatten().map(|found| found.torn);
    let env = Overlay::new(env.clone());
    let expect = Expect { cluster_id: None, node_id };
    let opened = LogDir::open(&env, dir, expect, DirOptions::default()).await;
    let (opened, start) = opened.map_err(StartError::from)?;
    let (placed, metadata, refusal) = match MetadataLog::open(env.clone(), dir).await {
        Ok((log, image)) => {
            let metadata = torn.map(|torn| (log.next_index(), torn));
            let lost = nothing_lost(&opened, &image, node_id).err();
            (Some(placed(&image, node_id)), metadata, lost.map(|lost| lost.to_string()))
        },
        Err(error) => (None, None, Some(error.to_string())),
    };
    let mut logs = Vec::new();
    for found in opened.logs() {
        let topic = placed.as_ref().and_then(|placed| placed.get(&found.partition)).cloned();
        let Found { partition, replica_gen } = found;
        let is_stray = placed.is_some() && topic.is_none();
        let outcome = open(&opened, found, deep).await;
        logs.push(VerifiedLog { partition, replica_gen, topic, is_stray, outcome });
    }
    let there: BTreeSet<PartitionId> = logs.iter().map(|log| log.partition).collect();
    let absent = placed.into_iter().flatten().filter(|(id, _)| !there.contains(id));
    let absent = absent.map(|(id, name)| (name, id)).collect();
    Ok(Verified { node_id, start, journal, metadata, logs, absent, refusal })
}

/// Whose directory it is.
async fn owner<E: Env>(env: &E, dir: &Path) -> Result<BrokerId, VerifyError> {
    let path = dir.join(storage::names::IDENTITY);
    let read = async {
        let file = env.disk().open(&path, Access::Read).await?;
        let len = usize::try_from(file.len().await?).map_err(io::Error::other)?;
        file.read_at(0, len).await
    };
    match read.await {
        Ok(bytes) => match decode_identity(&bytes) {
            Ok(identity) => Ok(identity.node_id),
            Err(source) => {
                Err(StartError::from(storage::DirError::Damaged { path, source }).into())
            },
        },
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Err(VerifyError::NotOurs(dir.to_owned()))
        },
        Err(source) => Err(VerifyError::Io { path, source }),
    }
}

/// The partitions that `me` leads, with their topics' names.
fn placed(image: &Image, me: BrokerId) -> BTreeMap<PartitionId, Arc<str>> {
    let of = |(id, topic): (&TopicId, &Arc<Topic>)| {
        let (id, name) = (*id, Arc::clone(&topic.name));
        let numbered = (0..).map(PartitionIndex).zip(&topic.partitions);
        let here = numbered.filter(|(_, partition)| partition.leader == Some(me));
        let here = here.map(|(index, _)| (PartitionId { topic: id, index }, Arc::clone(&name)));
        here.collect::<Vec<_>>()
    };
    image.topics.iter().flat_map(of).collect()
}

async fn open<E: Env>(
    dir: &LogDir<E>,
    found: Found,
    deep: bool,
) -> Result<VerifiedRecovery, String> {
    let opened = dir.open_log(found.partition, found.replica_gen, LogConfig::default()).await;
    let (log, recovery) = opened.map_err(|error| error.to_string())?;
    let deep = if deep { Some(look(&log).await.map_err(|error| error.to_string())?) } else { None };
    let (log_start, log_end, bytes) = (log.start(), log.end(), log.size_bytes());
    Ok(VerifiedRecovery { log_start, log_end, bytes, recovery, deep })
}

/// Reads every batch of a log.
async fn look<E: Env>(log: &Log<E>) -> io::Result<Deep> {
    let (mut at, end) = (log.start(), log.end());
    let mut deep = Deep::default();
    while at < end {
        let read = log.read(at, end, READ_BYTES, true).await;
        let next = match read {
            Ok(slice) => {
                let bytes = whole(slice.segments).await?;
                match take(&mut deep, bytes, at) {
                    next if next > at => next,
                    // Not even a head.
                    _ => {
                        let to = behind(log, at).await?;
                        deep.damaged.push(FaultyRange { from: at, to });
                        to
                    },
                }
            },
            Err(ReadError::Corrupt { at }) => {
                let to = behind(log, at).await?;
                deep.damaged.push(FaultyRange { from: at, to });
                to
            },
            Err(ReadError::OutOfRange { .. }) => break,
            Err(ReadError::Io(error)) => return Err(error),
        };
        base::invariant!(LOG_1, next > at, "a look at {log:?} stands still at {at}");
        at = next;
    }
    Ok(deep)
}

async fn whole<F: File>(segments: impl IntoIterator<Item = Segment<F>>) -> io::Result<Bytes> {
    let mut bytes = BytesMut::new();
    for segment in segments {
        match segment {
            Segment::Bytes(piece) => bytes.extend_from_slice(&piece),
            Segment::Region(region) => {
                let len = usize::try_from(region.len).map_err(io::Error::other)?;
                bytes.extend_from_slice(&region.file.read_at(region.at, len).await?);
            },
        }
    }
    Ok(bytes.freeze())
}

/// Takes in what was read from `at` on; returns the next offset to look at.
fn take(deep: &mut Deep, bytes: Bytes, mut at: Offset) -> Offset {
    for batch in records::batches(bytes) {
        let Ok(batch) = batch else { break };
        let next = batch.header().next_offset();
        if batch.verify_crc().is_ok() {
            deep.batches += 1;
            deep.bytes += u64::try_from(batch.bytes().len()).unwrap_or(0);
        } else {
            let from = batch.header().base_offset;
            deep.damaged.push(FaultyRange { from, to: next });
        }
        at = at.max(next);
    }
    at
}

/// Where a look goes on behind damage at `at`: behind the range that is noted, or else at the next
/// batch that a reader of this segment can find, for damaged bytes do not say where it begins.
async fn behind<E: Env>(log: &Log<E>, at: Offset) -> io::Result<Offset> {
    if let Some(noted) = log.faulty().into_iter().find(|range| range.from <= at && at < range.to) {
        return Ok(noted.to);
    }
    let segment = log.segments().into_iter().find(|s| s.base <= at && at < s.end);
    let end = segment.map_or(log.end(), |segment| segment.end);
    // What lies in one run of the index with the damage is lost with it, what lies behind it is not.
    let (mut lost, mut found, mut step) = (at.0, end, 1);
    while lost.saturating_add(step) < end.0 {
        let probe = lost.saturating_add(step);
        if let Some(base) = first_batch(log, Offset(probe)).await? {
            found = base.max(Offset(lost.saturating_add(1)));
            break;
        }
        (lost, step) = (probe, step.saturating_mul(2));
    }
    while found.0.saturating_sub(lost) > 1 {
        let probe = lost + (found.0 - lost) / 2;
        match first_batch(log, Offset(probe)).await? {
            Some(base) => found = base.max(Offset(lost.saturating_add(1))),
            None => lost = probe,
        }
    }
    Ok(found)
}

/// Where the batch begins that a read of `at` begins with; `None` if that is damaged.
async fn first_batch<E: Env>(log: &Log<E>, at: Offset) -> io::Result<Option<Offset>> {
    match log.read(at, log.end(), 1, true).await {
        Ok(slice) => Ok(slice.first_base),
        Err(ReadError::Corrupt { .. } | ReadError::OutOfRange { .. }) => Ok(None),
        Err(ReadError::Io(error)) => Err(error),
    }
}
