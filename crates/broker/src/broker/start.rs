//! Starting a broker.
//!
//! Order: the directories (identity, lock, start class), the metadata log, this start's own records,
//! every log, the coordinators, the background work. Nothing is served before all of it is there.

use std::path::PathBuf;
use std::sync::Arc;

use base::Uuid;
use base::trace::Kind;
use env::Env;
use metadata::{Command, Image, decide};
use storage::{DirError, LogDir, StartClass, WriteError};
use thiserror::Error;

use crate::BrokerConfig;
use crate::broker::{Broker, Inner, opened};
use crate::coordinator_host::Coordinators;
use crate::dirs::Dirs;
use crate::metadata_host::MetadataHost;
use crate::metadata_log::{AppendError, MetadataLog, MetadataLogError, Need};
use crate::node::Node;
use crate::publisher::{OpenAllError, Publisher};

/// Why a broker cannot start. Each says what the operator can do.
#[derive(Debug, Error)]
pub enum StartError {
    /// The log directory.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// The metadata log cannot be read.
    #[error(transparent)]
    Metadata(#[from] MetadataLogError),
    /// The metadata log cannot be written.
    #[error("the metadata log cannot be written: {0}")]
    MetadataWrite(std::io::Error),
    /// The directory and the metadata in it are of different clusters.
    #[error(
        "the log directory belongs to cluster {dir}, the metadata log in it to cluster {metadata}: one of the two was copied from elsewhere"
    )]
    OtherCluster {
        /// What the directory says.
        dir: String,
        /// What the metadata says.
        metadata: Uuid,
    },
    /// No directory was named.
    #[error("no log directory is named: set log.dirs")]
    NoDirectory,
    /// Two of the directories are one, or one lies in the other.
    #[error(
        "log directories {} and {} are the same or one lies inside the other: name each once, side by side",
        inner.display(),
        outer.display()
    )]
    Nested {
        /// One of them.
        inner: PathBuf,
        /// The other.
        outer: PathBuf,
    },
    /// One is a copy of another.
    #[error(
        "log directories {one} and {other} have the same identity: one is a copy of the other; move it away"
    )]
    SameIdentity {
        /// One of them.
        one: String,
        /// The other.
        other: String,
    },
    /// The directory of the metadata is new and others are not.
    #[error(
        "log directory {} has no data, but {} belongs to cluster {cluster}: the metadata is gone; restore it, or set metadata.log.dir to where it is",
        path.display(),
        other.display()
    )]
    MetadataDirEmpty {
        /// Where the metadata should be.
        path: PathBuf,
        /// A directory that is in use.
        other: PathBuf,
        /// Of this cluster.
        cluster: String,
    },
    /// A directory that should be there is not: it comes up empty, as another one, or not at all.
    #[error(
        "log directory {path} with identity {dir_id} is gone (empty, another one, or not in log.dirs any more): bring it back, or, if what was in it is lost for good, start once with --accept-lost-dir {dir_id}; its partitions then begin empty"
    )]
    DirectoryLost {
        /// Where it was.
        path: String,
        /// Its identity.
        dir_id: Uuid,
    },
    /// What the directories are cannot be noted.
    #[error(transparent)]
    Note(#[from] WriteError),
    /// The logs do not fit the metadata.
    #[error(transparent)]
    Logs(#[from] OpenAllError),
}

impl<E: Env> Broker<E> {
    /// Starts a broker on its log directories, creating them on the first start.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(env: E, config: BrokerConfig) -> Result<Self, StartError> {
        let opened = opened::open(&env, &config).await?;
        let start = opened.start.clone();
        let home = opened.home().ok_or(StartError::NoDirectory)?.clone();
        for dir in opened.opened().filter(|dir| dir.start().journal_damaged) {
            tracing::error!(
                "a part of the storage journal in {} cannot be read: every log there may hold less than it was promised to",
                dir.path().display()
            );
        }
        // Before anything is written: what is refused now is refused as often as it is tried.
        let read = match opened.metadata(&env, &config).await {
            Ok(read) => read,
            Err(error) => {
                opened.give_back().await;
                return Err(error);
            },
        };
        let (mut log, mut image) = MetadataLog::open(env.clone(), home.clone(), read).await?;
        let fresh = image.cluster_id.is_zero();
        if home.read_known().await? != opened.known {
            home.write_known(&opened.known).await?;
        }
        let unclean = opened.opened().any(|dir| dir.start().class != StartClass::Clean);
        let cluster_id = Uuid::parse(&start.cluster_id).unwrap_or_else(|_| env.random_uuid());
        let register =
            Command::RegisterBroker { id: config.node_id, rack: config.rack.clone(), unclean };
        let mut commands = vec![register];
        if fresh {
            commands.insert(0, Command::CreateCluster { cluster_id });
        }
        for command in commands {
            take(&env, &mut log, &mut image, command).await?;
        }
        if Uuid::parse(&start.cluster_id) != Ok(image.cluster_id) {
            return Err(StartError::OtherCluster {
                dir: start.cluster_id,
                metadata: image.cluster_id,
            });
        }
        let node = Node::new(env.clone(), config, Dirs::new(opened.home, opened.dirs));
        node.set_rules(&image.settings);
        let coordinators = Coordinators::start(Arc::clone(&node));
        let publisher = Publisher::new(Arc::clone(&node), Arc::clone(&coordinators));
        let logs = publisher.open_all(&image, log.next_index()).await?;
        for (at, dir) in node.dirs.opened() {
            tell(dir, fresh, logs.bytes_cut.get(&at).copied().unwrap_or(0));
        }
        let (class, logs) = (start.class, node.partitions.all().len());
        node.record(Kind::Boot, &format_args!("after {class:?}, {logs} partitions"));
        crate::background::start(&node, &coordinators);
        let metadata = MetadataHost::start(Arc::clone(&node), log, image, publisher);
        Ok(Self {
            inner: Arc::new(Inner {
                node,
                coordinators,
                metadata: tokio::sync::RwLock::new(Some(metadata)),
                producer_ids: tokio::sync::Mutex::new(0..0),
            }),
        })
    }
}

/// The line about the directory in the log.
fn tell<E: Env>(dir: &LogDir<E>, fresh: bool, bytes_cut: u64) {
    let logs = dir.logs().len();
    let (found, noun) = (dir.start().class, if logs == 1 { "log" } else { "logs" });
    let dir = dir.path().display();
    let found = match found {
        _ if fresh => return tracing::info!("created data directory {dir}"),
        StartClass::Clean => {
            return tracing::info!("opened {dir}: it was closed cleanly; {logs} {noun}");
        },
        StartClass::Process => "the last process was killed",
        StartClass::Os => "the system may have gone down",
    };
    tracing::info!("opened {dir}: {found}; {logs} {noun} checked, {bytes_cut} bytes cut");
}

/// Decides and applies one command before anybody else can.
async fn take<E: Env>(
    env: &E,
    log: &mut MetadataLog<E>,
    image: &mut Image,
    command: Command,
) -> Result<(), StartError> {
    let decision = decide(image, command, env.probe());
    if decision.records.is_empty() {
        return Ok(());
    }
    log.append(&decision.records, Need::Reserve).await.map_err(|error| {
        StartError::MetadataWrite(match error {
            AppendError::Full => std::io::ErrorKind::StorageFull.into(),
            AppendError::Failed(error) => error,
        })
    })?;
    for record in &decision.records {
        drop(image.apply(record));
    }
    Ok(())
}
