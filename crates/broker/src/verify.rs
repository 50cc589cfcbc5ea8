//! What a start would do to a node's log directories, without doing it: what `gregor verify` prints.
//!
//! Invariants: nothing in the directories is created, changed or removed; what is told was decided by
//! the code of a start, on an overlay of them ([`env::overlay`]), and by nothing else; a directory of
//! the node that is not looked at is told, and what lives there is not taken for lost; of one log at
//! a time files are open.
//! Source: ADR 0017.

mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{BrokerId, Offset, PartitionId, PartitionIndex, ReplicaGen, TopicId, Uuid};
use env::overlay::Overlay;
use env::{Access, Disk, Env};
use metadata::{Image, Topic};
use storage::journal::{JournalEnd, read_journal};
use storage::{DirError, Found, KnownDir, LogConfig, LogDir, OpenError, Recovery, StartInfo};
use thiserror::Error;

use crate::BrokerConfig;
use crate::broker::StartError;
use crate::broker::opened::{self, OpenedDirs};
use crate::metadata_log::{self, MetadataLog};

pub use look::Deep;

/// Why nothing can be told.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// A directory has no identity, so no broker ever used it.
    #[error("{} is no data directory of Gregor's", .0.display())]
    NotOurs(PathBuf),
    /// A start would refuse before it looks at a log, or a living process holds a directory.
    #[error(transparent)]
    Refused(#[from] StartError),
}

impl From<DirError> for VerifyError {
    fn from(error: DirError) -> Self {
        Self::Refused(error.into())
    }
}

/// Which directories are looked at.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Those of a configuration: what is told is what a start with it does.
    Config(Box<BrokerConfig>),
    /// These, whose ever they are. Of the node's others it is told that they were not looked at.
    Dirs(Vec<PathBuf>),
}

/// What a start would find in the directories of a node.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Whose they are.
    pub node_id: BrokerId,
    /// Each directory, in the order in which they were asked for.
    pub dirs: Vec<VerifiedDir>,
    /// Index of the next metadata record, and whether the last entry is torn and would be cut.
    pub metadata: Option<(u64, bool)>,
    /// Directories of the node that were not asked for. A start without them is refused.
    pub away: Vec<KnownDir>,
    /// Partitions of topics that have no log: their creation was interrupted, and would be finished.
    pub absent: Vec<(Arc<str>, PartitionId)>,
    /// Partitions without a log here, as they live in a directory that is away or cannot be used.
    pub elsewhere: Vec<(Arc<str>, PartitionId)>,
    /// Why a start would be refused although the directories can be read.
    pub refusal: Option<String>,
}

/// One directory.
#[derive(Clone, Debug)]
pub struct VerifiedDir {
    /// Where it is.
    pub path: PathBuf,
    /// Whether the metadata is in it.
    pub is_home: bool,
    /// Whether a start would take it into use for the first time.
    pub is_new: bool,
    /// What is in it, or why a start would do without it.
    pub contents: Result<VerifiedContents, String>,
}

/// What a start would find in a directory.
#[derive(Clone, Debug)]
pub struct VerifiedContents {
    /// What the start would know of the one before; its own id and ordinal are made up.
    pub start: StartInfo,
    /// Groups of the journal since its manifest, and how it ends; `None` if there is no journal.
    pub journal: Option<(u64, JournalEnd)>,
    /// Every log that the journal names, in order.
    pub logs: Vec<VerifiedLog>,
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
    pub outcome: Result<VerifiedRecovery, Unopened>,
}

/// Why a log cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unopened {
    /// In words.
    pub why: String,
    /// Whether a start would go on without its whole directory; otherwise it is refused.
    pub takes_directory: bool,
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
    /// The worst that was found in what was looked at.
    pub fn conclusion(&self) -> Conclusion {
        let tidies = self.metadata.is_some_and(|(_, torn)| torn) || !self.absent.is_empty();
        let own = match &self.refusal {
            Some(_) => Conclusion::Refused,
            None if tidies => Conclusion::Recovers,
            None => Conclusion::Clean,
        };
        self.dirs.iter().map(VerifiedDir::conclusion).fold(own, Conclusion::max)
    }

    /// Every log of every directory.
    pub fn logs(&self) -> impl Iterator<Item = &VerifiedLog> {
        self.dirs.iter().flat_map(VerifiedDir::logs)
    }
}

impl VerifiedDir {
    /// The worst that was found in it.
    pub fn conclusion(&self) -> Conclusion {
        let Ok(VerifiedContents { start, logs, .. }) = &self.contents else {
            return Conclusion::Damaged;
        };
        let tidies = start.class != storage::StartClass::Clean || start.deletions_finished > 0;
        let own = if start.journal_damaged || !start.missing.is_empty() {
            Conclusion::Damaged
        } else if tidies {
            Conclusion::Recovers
        } else {
            Conclusion::Clean
        };
        logs.iter().map(VerifiedLog::conclusion).fold(own, Conclusion::max)
    }

    /// The logs that could be looked at.
    pub fn logs(&self) -> impl Iterator<Item = &VerifiedLog> {
        self.contents.iter().flat_map(|contents| &contents.logs)
    }
}

impl VerifiedLog {
    /// The worst that was found in it. Nobody misses a log that a start would remove.
    pub fn conclusion(&self) -> Conclusion {
        if self.is_stray {
            return Conclusion::Recovers;
        }
        let found = match &self.outcome {
            Ok(found) => found,
            Err(unopened) if unopened.takes_directory => return Conclusion::Damaged,
            Err(_) => return Conclusion::Refused,
        };
        let recovery = &found.recovery;
        let damaged = found.deep.as_ref().is_some_and(|deep| !deep.is_sound());
        // A cut that a killed process does not explain may have been read and acknowledged.
        let odd_cut = recovery.cut.is_some_and(|cut| !cut.torn);
        if damaged || odd_cut || recovery.uncertain || !recovery.faulty.is_empty() {
            Conclusion::Damaged
        } else if !recovery.clean {
            Conclusion::Recovers
        } else {
            Conclusion::Clean
        }
    }
}

/// Does what a start does with the directories, on an overlay of them. `deep` reads every batch.
///
/// # Errors
/// [`VerifyError`].
pub async fn verify<E: Env>(env: &E, asked: &Asked, deep: bool) -> Result<Verified, VerifyError> {
    let (config, away) = match asked {
        Asked::Config(config) => (BrokerConfig::clone(config), Vec::new()),
        Asked::Dirs(dirs) => config_of(env, dirs).await?,
    };
    let overlay = Overlay::new(env.clone());
    let found = opened::open(&overlay, &config).await?;
    let home = found.home().ok_or(StartError::NoDirectory)?.clone();
    if LogDir::<E>::peek(env, home.path()).await?.is_none() {
        return Err(VerifyError::NotOurs(home.path().to_owned()));
    }
    let (topics, metadata, refusal) = look_at_metadata(&overlay, &found, home, &config).await;
    let mut dirs = Vec::with_capacity(found.dirs.len());
    for (at, one) in found.dirs.iter().enumerate() {
        let (path, is_home) = (one.path.clone(), at == found.home);
        // What cannot be told is told by its opening.
        let is_new = matches!(LogDir::<E>::peek(env, &path).await, Ok(None));
        let contents = match &one.dir {
            Some(dir) => Ok(look_into(env, dir, is_home, topics.as_ref(), deep).await),
            None => Err(one.failure.as_deref().unwrap_or_default().to_owned()),
        };
        dirs.push(VerifiedDir { path, is_home, is_new, contents });
    }
    let all_are_here = away.is_empty() && dirs.iter().all(|dir| dir.contents.is_ok());
    let (absent, elsewhere) = (Vec::new(), Vec::new());
    let node_id = config.node_id;
    let mut verified = Verified { node_id, dirs, metadata, away, absent, elsewhere, refusal };
    let there: BTreeSet<PartitionId> =
        verified.logs().filter(|log| !log.is_stray).map(|log| log.partition).collect();
    let placed = topics.map(|topics| topics.placed).into_iter().flatten();
    let absent = placed.filter(|(id, _)| !there.contains(id));
    let absent = absent.map(|(id, name)| (name, id)).collect();
    *(if all_are_here { &mut verified.absent } else { &mut verified.elsewhere }) = absent;
    Ok(verified)
}

/// What the metadata says of topics.
struct Topics {
    /// The partitions that the node leads, with their topics' names.
    placed: BTreeMap<PartitionId, Arc<str>>,
    /// Those of which a start removes what is left.
    deleted: BTreeSet<TopicId>,
}

/// What the metadata says, its next index and whether its last entry is torn, and why a start would
/// be refused.
async fn look_at_metadata<E: Env>(
    overlay: &Overlay<E>,
    found: &OpenedDirs<Overlay<E>>,
    home: LogDir<Overlay<E>>,
    config: &BrokerConfig,
) -> (Option<Topics>, Option<(u64, bool)>, Option<String>) {
    let mut read = match metadata_log::read(overlay, &home).await {
        Ok(read) => read,
        Err(error) => return (None, None, Some(error.to_string())),
    };
    found.settle_deletions(&mut read, config);
    let metadata = (!read.is_new()).then_some((read.next_index, read.torn.is_some()));
    let topics =
        Topics { placed: placed(&read.image, config.node_id), deleted: read.image.deleted.clone() };
    let refusal = match fits(found, &read.image, config) {
        Ok(()) => MetadataLog::open(overlay.clone(), home, read).await.err().map(StartError::from),
        Err(unfit) => Some(unfit),
    };
    (Some(topics), metadata, refusal.map(|error| error.to_string()))
}

/// With what a start would open these directories, and the node's others, which it would miss.
async fn config_of<E: Env>(
    env: &E,
    dirs: &[PathBuf],
) -> Result<(BrokerConfig, Vec<KnownDir>), VerifyError> {
    let mut ids = BTreeSet::new();
    let mut config = BrokerConfig { log_dirs: dirs.to_owned(), ..BrokerConfig::default() };
    let mut home: Option<(usize, &PathBuf)> = None;
    for dir in dirs {
        let identity = match LogDir::<E>::peek(env, dir).await {
            Ok(Some(identity)) => identity,
            Ok(None) => return Err(VerifyError::NotOurs(dir.clone())),
            Err(DirError::Io { source, .. }) if source.kind() == io::ErrorKind::NotADirectory => {
                return Err(VerifyError::NotOurs(dir.clone()));
            },
            Err(error) => return Err(error.into()),
        };
        ids.insert(identity.dir_id);
        let marks = marks_of_home(env, dir).await;
        if home.is_none_or(|(most, _)| marks > most) {
            if home.is_none() {
                config.node_id = identity.node_id;
            }
            home = Some((marks, dir));
        }
    }
    let (_, home) = home.ok_or(StartError::NoDirectory)?;
    config.metadata_log_dir = Some(home.clone());
    let is_named = |known: &KnownDir| {
        let path = opened::plain(Path::new(&known.path));
        ids.contains(&known.dir_id) || dirs.iter().any(|dir| opened::plain(dir) == path)
    };
    let mut away = LogDir::<E>::peek_known(env, home).await?;
    away.retain(|known| !is_named(known));
    config.accept_lost_dirs = away.iter().map(|known| known.dir_id).collect();
    Ok((config, away))
}

/// How many of the files are there that only the directory with the metadata has.
async fn marks_of_home<E: Env>(env: &E, dir: &Path) -> usize {
    let mut marks = 0;
    for file in [dir.join(storage::names::DIRECTORIES), dir.join("metadata").join("log")] {
        marks += usize::from(env.disk().open(&file, Access::Read).await.is_ok());
    }
    marks
}

/// Whether a start with `image` agrees to what was found.
fn fits<E: Env>(
    found: &OpenedDirs<E>,
    image: &Image,
    config: &BrokerConfig,
) -> Result<(), StartError> {
    found.fit(image, config)?;
    let dir = found.start.cluster_id.clone();
    if image.cluster_id.is_zero() || Uuid::parse(&dir) == Ok(image.cluster_id) {
        return Ok(());
    }
    Err(StartError::OtherCluster { dir, metadata: image.cluster_id })
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

async fn look_into<E: Env>(
    env: &E,
    dir: &LogDir<Overlay<E>>,
    is_home: bool,
    topics: Option<&Topics>,
    deep: bool,
) -> VerifiedContents {
    // Opening it said already what cannot be read.
    let journal = read_journal(env, dir.path()).await.ok().and_then(|journal| journal.replayed);
    let journal = journal.map(|replayed| (replayed.groups, replayed.end));
    let mut logs = Vec::new();
    for found in dir.logs() {
        let Found { partition, replica_gen } = found;
        let topic = topics.and_then(|topics| topics.placed.get(&partition)).cloned();
        let is_stray = topics.is_some_and(|topics| topics.deleted.contains(&partition.topic));
        let outcome = open(dir, found, deep).await.map_err(|error| Unopened {
            why: error.to_string(),
            takes_directory: !is_home && matches!(error, OpenError::Io { .. }),
        });
        logs.push(VerifiedLog { partition, replica_gen, topic, is_stray, outcome });
    }
    VerifiedContents { start: dir.start().clone(), journal, logs }
}

async fn open<E: Env>(
    dir: &LogDir<E>,
    found: Found,
    deep: bool,
) -> Result<VerifiedRecovery, OpenError> {
    let opened = dir.open_log(found.partition, found.replica_gen, LogConfig::default()).await;
    let (log, recovery) = opened?;
    let deep = if deep { Some(look::look(&log).await) } else { None };
    // No broker is at work that would close them when they are too many.
    log.release_files();
    let (log_start, log_end, bytes) = (log.start(), log.end(), log.size_bytes());
    Ok(VerifiedRecovery { log_start, log_end, bytes, recovery, deep })
}
