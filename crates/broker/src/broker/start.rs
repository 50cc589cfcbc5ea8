//! Starting a broker.
//!
//! Order: the directory (identity, lock, start class), the metadata log, this start's own records,
//! every log, the coordinators, the background work. Nothing is served before all of it is there.

use std::path::Path;
use std::sync::Arc;

use base::Uuid;
use env::Env;
use metadata::{Command, Image, decide};
use storage::{DirError, DirOptions, Expect, LogDir, OpenError, StartClass};
use thiserror::Error;

use crate::BrokerConfig;
use crate::broker::{Broker, Inner};
use crate::coordinator_host::Coordinators;
use crate::metadata_host::MetadataHost;
use crate::metadata_log::{AppendError, MetadataLog, MetadataLogError, Need};
use crate::node::Node;
use crate::publisher::{OpenAllError, Opened, Publisher};

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
    /// The logs do not fit the metadata.
    #[error(transparent)]
    Logs(#[from] OpenAllError),
}

impl<E: Env> Broker<E> {
    /// Starts a broker on its log directory, creating it on the first start.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(env: E, config: BrokerConfig) -> Result<Self, StartError> {
        let expect = Expect { cluster_id: None, node_id: config.node_id };
        let options = DirOptions {
            producer_expiration: config.producer_expiration,
            journal_file_bytes: config.journal_file_bytes,
            ..DirOptions::default()
        };
        let (dir, start) = LogDir::open(&env, &config.log_dir, expect, options).await?;
        if start.journal_damaged {
            tracing::error!(
                "a part of the storage journal cannot be read: every log may hold less than it was promised to"
            );
        }
        let (mut log, mut image) = MetadataLog::open(env.clone(), dir.clone()).await?;
        let fresh = image.cluster_id.is_zero();
        // Before the first record is written: with it the next start would take the metadata for
        // old, and the logs for those of deleted topics.
        if let Err(lost) = crate::publisher::nothing_lost(&dir, &image, config.node_id) {
            dir.give_back().await.map_err(OpenError::from).map_err(OpenAllError::from)?;
            return Err(lost.into());
        }
        let cluster_id = Uuid::parse(&start.cluster_id).unwrap_or_else(|_| env.random_uuid());
        let register = Command::RegisterBroker {
            id: config.node_id,
            rack: config.rack.clone(),
            unclean: start.class != StartClass::Clean,
        };
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
        let node = Node::new(env.clone(), config, dir);
        let coordinators = Coordinators::start(Arc::clone(&node));
        let publisher = Publisher::new(Arc::clone(&node), Arc::clone(&coordinators));
        let opened = publisher.open_all(&image, log.next_index()).await?;
        tell(&node.config.log_dir, fresh, start.class, opened);
        crate::background::start(&node, &coordinators);
        let metadata = MetadataHost::start(env, log, image, publisher);
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
fn tell(dir: &Path, fresh: bool, class: StartClass, opened: Opened) {
    let Opened { logs, bytes_cut } = opened;
    let (dir, noun) = (dir.display(), if logs == 1 { "log" } else { "logs" });
    let found = match class {
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
