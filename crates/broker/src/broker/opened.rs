//! Opening the log directories at the start, and telling whether they are the right ones.
//!
//! Invariants: nothing is made in any of them before all are known to belong together; one that
//! the operating system does not let us use is offline, unless it holds the metadata; one that
//! should be there and is not is never taken for an empty one. Source: KIP-112, KIP-858; ours is
//! that a replaced directory is refused.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use base::{Probe, TopicId, Uuid};
use env::{Disk, Env};
use metadata::Image;
use storage::{DirError, DirOptions, Expect, KnownDir, LogDir, StartInfo};

use super::StartError;
use crate::BrokerConfig;
use crate::dirs::OneDir;
use crate::metadata_log::{self, Replayed};
use crate::publisher::{OpenAllError, nothing_lost};

/// What was opened.
pub(crate) struct OpenedDirs<E: Env> {
    /// Where in `dirs` the one with the metadata is.
    pub(crate) home: usize,
    pub(crate) dirs: Vec<OneDir<E>>,
    /// What the directory with the metadata found.
    pub(crate) start: StartInfo,
    /// What to note of them.
    pub(crate) known: Vec<KnownDir>,
}

impl<E: Env> OpenedDirs<E> {
    pub(crate) fn home(&self) -> Option<&LogDir<E>> {
        self.dirs.get(self.home)?.dir.as_ref()
    }

    pub(crate) fn opened(&self) -> impl Iterator<Item = &LogDir<E>> {
        self.dirs.iter().filter_map(|dir| dir.dir.as_ref())
    }

    /// What the metadata log says, if the logs that were found fit it. Changes nothing.
    ///
    /// # Errors
    /// It cannot be read, or [`OpenedDirs::fit`] says what is lost.
    pub(crate) async fn metadata(
        &self,
        env: &E,
        config: &BrokerConfig,
    ) -> Result<Replayed, StartError> {
        let home = self.home().ok_or(StartError::NoDirectory)?;
        let mut read = metadata_log::read(env, home).await?;
        // The directories are noted once there is a metadata log. With a damaged journal no log may be
        // left to speak for it.
        if read.is_new() && !home.read_known().await?.is_empty() {
            env.probe().reached("metadata_gone_beside_its_directories");
            let logs = self.opened().map(|dir| dir.logs().len()).sum();
            return Err(OpenAllError::MetadataLost(logs).into());
        }
        self.settle_deletions(&mut read, config);
        self.fit(&read.image, config)?;
        Ok(read)
    }

    /// Forgets the deletions of which no log is left anywhere, and takes in those of topics whose
    /// loss is accepted.
    pub(crate) fn settle_deletions(&self, read: &mut Replayed, config: &BrokerConfig) {
        let image = &mut read.image;
        let lost = config.accept_lost_topics.iter().filter(|id| !image.topics.contains_key(id));
        let lost: BTreeSet<TopicId> = lost.copied().collect();
        // Noted before the first log goes.
        read.entries |= lost.iter().any(|id| !image.deleted.contains(id));
        image.deleted.extend(lost);
        if self.opened().count() == self.dirs.len() {
            let logs = self.opened().flat_map(LogDir::logs);
            let there: BTreeSet<TopicId> = logs.map(|found| found.partition.topic).collect();
            image.deleted.retain(|id| there.contains(id));
        }
    }

    /// Whether the logs that were found fit the metadata.
    ///
    /// # Errors
    /// What is lost.
    pub(crate) fn fit(&self, image: &Image, config: &BrokerConfig) -> Result<(), OpenAllError> {
        let some_are_away = self.opened().count() < self.dirs.len();
        let some_are_away = some_are_away || !config.accept_lost_dirs.is_empty();
        let dirs = self.dirs.iter().filter_map(|one| one.dir.as_ref());
        nothing_lost(dirs, image, config.node_id, some_are_away)
    }

    /// For a start that is refused.
    pub(crate) async fn give_back(&self) {
        for dir in self.opened() {
            // What cannot be given back is looked at again by the next start.
            drop(dir.give_back().await);
        }
    }
}

/// Opens every directory of `config`.
///
/// # Errors
/// [`StartError`]; what was opened is given back.
pub(crate) async fn open<E: Env>(
    env: &E,
    config: &BrokerConfig,
) -> Result<OpenedDirs<E>, StartError> {
    let (paths, home) = paths(config)?;
    let cluster_id = cluster_of(env, &paths, home).await?;
    let options = DirOptions {
        producer_expiration: config.producer_expiration,
        journal_file_bytes: config.journal_file_bytes,
        open_files_max: config.open_files_max / paths.len().max(1),
        ..DirOptions::default()
    };
    let expect = |cluster_id| Expect { cluster_id, node_id: config.node_id };
    let home_path = &paths[home];
    let (dir, start) = LogDir::open(env, home_path, expect(cluster_id), options.clone()).await?;
    let mut opened = OpenedDirs { home, dirs: Vec::new(), start, known: Vec::new() };
    let mut of_home = Some(dir);
    for (at, path) in paths.iter().enumerate() {
        let takes_logs = config.log_dirs.contains(path);
        let (path, failure) = (path.clone(), None);
        if at == home {
            opened.dirs.push(OneDir { path, dir: of_home.take(), takes_logs, failure });
            continue;
        }
        let cluster_id = Some(opened.start.cluster_id.clone());
        match LogDir::open(env, &path, expect(cluster_id), options.clone()).await {
            Ok((dir, _)) => {
                opened.dirs.push(OneDir { path, dir: Some(dir), takes_logs, failure });
            },
            Err(error @ DirError::Io { .. }) => {
                env.probe().reached("directory_offline_at_start");
                tracing::error!(%error, "a log directory cannot be used: its partitions are offline");
                let failure = Some(error.to_string().into());
                opened.dirs.push(OneDir { path, dir: None, takes_logs, failure });
            },
            Err(error) => {
                opened.give_back().await;
                if let Some(home) = of_home {
                    drop(home.give_back().await);
                }
                return Err(error.into());
            },
        }
    }
    match check_known(&opened, &config.accept_lost_dirs).await {
        Ok(known) => {
            opened.known = known;
            Ok(opened)
        },
        Err(error) => {
            env.probe().reached("directory_lost");
            opened.give_back().await;
            Err(error)
        },
    }
}

/// The directories, and which of them holds the metadata.
fn paths(config: &BrokerConfig) -> Result<(Vec<PathBuf>, usize), StartError> {
    let mut paths = config.log_dirs.clone();
    let home = match &config.metadata_log_dir {
        None => 0,
        Some(home) => match paths.iter().position(|path| plain(path) == plain(home)) {
            Some(at) => at,
            None => {
                paths.push(home.clone());
                paths.len() - 1
            },
        },
    };
    if paths.is_empty() {
        return Err(StartError::NoDirectory);
    }
    for (at, one) in paths.iter().enumerate() {
        for (_, other) in paths.iter().enumerate().filter(|(other, _)| *other != at) {
            if plain(one).starts_with(plain(other)) {
                return Err(StartError::Nested { inner: one.clone(), outer: other.clone() });
            }
        }
    }
    Ok((paths, home))
}

/// A path without its detours.
pub(crate) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {},
            Component::ParentDir if plain.file_name().is_some() => drop(plain.pop()),
            Component::ParentDir
            | Component::RootDir
            | Component::Normal(_)
            | Component::Prefix(_) => {
                plain.push(part);
            },
        }
    }
    plain
}

/// The cluster of the directories that are there, if any is. Looks, and changes nothing.
async fn cluster_of<E: Env>(
    env: &E,
    paths: &[PathBuf],
    home: usize,
) -> Result<Option<String>, StartError> {
    let mut at_home = None;
    let mut elsewhere = None;
    let mut seen: Vec<(u64, u64, PathBuf)> = Vec::new();
    for (at, path) in paths.iter().enumerate() {
        if let Ok(found) = env.disk().identity(path).await {
            let same = |(device, inode, _): &&(u64, u64, PathBuf)| {
                (*device, *inode) == (found.device, found.inode)
            };
            if let Some((_, _, other)) = seen.iter().find(same) {
                return Err(StartError::Nested { inner: path.clone(), outer: other.clone() });
            }
            seen.push((found.device, found.inode, path.clone()));
        }
        match LogDir::<E>::peek(env, path).await {
            Ok(Some(identity)) if at == home => at_home = Some(identity.cluster_id),
            Ok(Some(identity)) => elsewhere = Some((path.clone(), identity.cluster_id)),
            Ok(None) => {},
            Err(error) if at == home => return Err(error.into()),
            // Its own opening says what is wrong with it.
            Err(_) => {},
        }
    }
    match (at_home, elsewhere) {
        (None, Some((other, cluster))) => Err(StartError::MetadataDirEmpty {
            path: paths.get(home).cloned().unwrap_or_default(),
            other,
            cluster,
        }),
        (at_home, _) => Ok(at_home),
    }
}

/// Compares the directories that are there with those that should be.
async fn check_known<E: Env>(
    opened: &OpenedDirs<E>,
    accepted: &BTreeSet<Uuid>,
) -> Result<Vec<KnownDir>, StartError> {
    let Some(home) = opened.home() else { return Ok(Vec::new()) };
    let known = home.read_known().await?;
    let present: Vec<KnownDir> = opened
        .dirs
        .iter()
        .filter_map(|one| {
            let dir_id = one.dir.as_ref()?.start().dir_id;
            Some(KnownDir { dir_id, path: one.path.display().to_string() })
        })
        .collect();
    let offline = opened.dirs.iter().filter(|one| one.dir.is_none()).count();
    compare(&known, present, offline, accepted)
}

/// What is to be noted of the directories that are `present`. Those that are `known` and not there
/// must be the `offline` ones, or be given up.
fn compare(
    known: &[KnownDir],
    present: Vec<KnownDir>,
    offline: usize,
    accepted: &BTreeSet<Uuid>,
) -> Result<Vec<KnownDir>, StartError> {
    for (at, one) in present.iter().enumerate() {
        if let Some(other) = present.iter().skip(at + 1).find(|other| other.dir_id == one.dir_id) {
            let (one, other) = (one.path.clone(), other.path.clone());
            return Err(StartError::SameIdentity { one, other });
        }
    }
    let is_present = |dir: &&KnownDir| present.iter().any(|here| here.dir_id == dir.dir_id);
    let missing = known.iter().filter(|dir| !is_present(dir));
    let missing: Vec<KnownDir> =
        missing.filter(|dir| !accepted.contains(&dir.dir_id)).cloned().collect();
    match missing.first() {
        Some(lost) if missing.len() > offline => {
            Err(StartError::DirectoryLost { path: lost.path.clone(), dir_id: lost.dir_id })
        },
        Some(_) | None => Ok(present.into_iter().chain(missing).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(id: u8) -> KnownDir {
        KnownDir { dir_id: Uuid([id; 16]), path: format!("/{id}") }
    }

    fn check(known: &[u8], present: &[u8], offline: usize, accepted: &[u8]) -> Option<Vec<u8>> {
        let dirs = |ids: &[u8]| ids.iter().map(|id| dir(*id)).collect::<Vec<_>>();
        let accepted = accepted.iter().map(|id| Uuid([*id; 16])).collect();
        let noted = compare(&dirs(known), dirs(present), offline, &accepted).ok()?;
        Some(noted.iter().map(|dir| dir.dir_id.0[0]).collect())
    }

    #[test]
    fn directories_may_be_added_and_be_offline_but_not_be_replaced() {
        assert_eq!(check(&[], &[1, 2], 0, &[]), Some(vec![1, 2]));
        assert_eq!(check(&[1], &[1, 2], 0, &[]), Some(vec![1, 2]));
        assert_eq!(check(&[1, 2], &[1], 1, &[]), Some(vec![1, 2]));
        assert_eq!(check(&[1, 2], &[1, 3], 0, &[]), None, "3 is in the place of 2");
        assert_eq!(check(&[1, 2], &[1], 0, &[]), None, "2 was taken out of log.dirs");
        assert_eq!(check(&[1, 2, 3], &[1], 1, &[]), None);
        assert_eq!(check(&[1, 2], &[1, 3], 0, &[2]), Some(vec![1, 3]));
        assert_eq!(check(&[1], &[1, 1], 0, &[]), None, "a copy");
    }

    #[test]
    fn the_same_directory_twice_and_one_inside_another_are_refused() {
        let check = |dirs: &[&str], metadata: Option<&str>| {
            let config = BrokerConfig {
                log_dirs: dirs.iter().map(PathBuf::from).collect(),
                metadata_log_dir: metadata.map(PathBuf::from),
                ..BrokerConfig::default()
            };
            paths(&config).map(|(paths, home)| (paths.len(), home)).ok()
        };
        assert_eq!(check(&["/a", "/b"], None), Some((2, 0)));
        assert_eq!(check(&["/a", "/b"], Some("/c/../b/")), Some((2, 1)));
        assert_eq!(check(&["/a", "/b"], Some("/c")), Some((3, 2)));
        assert_eq!(check(&["/a", "/ab"], None), Some((2, 0)));
        for dirs in
            [["/a", "/a"], ["/a", "/a/."], ["/a", "/b/../a"], ["/a/b", "/a"], ["a", "./a/b"]]
        {
            assert_eq!(check(&dirs, None), None, "{dirs:?}");
        }
        assert_eq!(check(&["/a"], Some("/a/metadata")), None);
        assert_eq!(check(&[], None), None);
    }
}
