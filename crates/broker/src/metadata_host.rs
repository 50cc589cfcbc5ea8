//! The controller's host: one ordered loop from wish to published change.
//!
//! Owns: the metadata log and the image. Invariants: records are durable before they are applied,
//! applied before they are published, published before the reply; one command at a time, so every
//! decision sees all earlier records. A failed log halts the broker: it cannot know what it said.
//! For want of room a command is refused whole; deletions get through longer than creations.

use std::sync::Arc;

use base::Probe;
use base::trace::Kind;
use env::Env;
use metadata::{Change, Command, Image, Record, Reply, decide};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::metadata_log::{AppendError, MetadataLog, Need};
use crate::node::Node;

/// Commands waiting at most; further callers wait for room.
const MAILBOX: usize = 256;

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MetadataFailed {
    /// The disk is full: nothing was changed.
    #[error("the disk of the metadata log is full")]
    Full,
    /// The metadata log failed, or the broker is stopping: whether the change will be there after a
    /// restart is not known.
    #[error("the metadata log failed or the broker is stopping")]
    Gone,
}

/// Acts on applied changes, in index order, before clients see them.
pub(crate) trait Publish: Send + 'static {
    /// Brings partitions, coordinators and the clients' view up to `image`.
    fn publish(
        &mut self,
        image: &Image,
        next_index: u64,
        changes: Vec<Change>,
    ) -> impl Future<Output = ()> + Send;
}

type Mail = (Command, oneshot::Sender<Result<Reply, MetadataFailed>>);

/// Where commands are proposed.
#[derive(Clone, Debug)]
pub(crate) struct MetadataHost {
    mailbox: mpsc::Sender<Mail>,
}

impl MetadataHost {
    /// Starts the loop. It ends when every handle is dropped or the log failed.
    pub(crate) fn start<E: Env>(
        node: Arc<Node<E>>,
        log: MetadataLog<E>,
        image: Image,
        publisher: impl Publish,
    ) -> Self {
        let (mailbox, mail) = mpsc::channel(MAILBOX);
        let env = node.env.clone();
        env.spawn("metadata", run(node, log, image, publisher, mail));
        Self { mailbox }
    }

    /// Proposes a command and waits until its records are durable, applied and published.
    ///
    /// # Errors
    /// [`MetadataFailed`].
    pub(crate) async fn propose(&self, command: Command) -> Result<Reply, MetadataFailed> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send((command, reply)).await.map_err(|_| MetadataFailed::Gone)?;
        answer.await.unwrap_or(Err(MetadataFailed::Gone))
    }
}

async fn run<E: Env>(
    node: Arc<Node<E>>,
    mut log: MetadataLog<E>,
    mut image: Image,
    mut publisher: impl Publish,
    mut mail: mpsc::Receiver<Mail>,
) {
    let env = &node.env;
    while let Some((command, reply)) = mail.recv().await {
        node.record(Kind::Metadata, &command);
        let need = need_of(&command);
        let decision = decide(&image, command, env.probe());
        if !decision.records.is_empty() {
            let mut logged = decision.records.clone();
            // Planted: what a broker is told while it runs is only known to itself.
            if env.probe().mutant("broker_settings_not_logged") {
                logged.retain(|record| !matches!(record, Record::Configured { .. }));
            }
            match log.append(&logged, need).await {
                Ok(()) => {},
                Err(AppendError::Full) => {
                    env.probe().reached("metadata_disk_full");
                    drop(reply.send(Err(MetadataFailed::Full)));
                    continue;
                },
                Err(AppendError::Failed(error)) => {
                    return halt(&node, &error);
                },
            }
            let changes = decision.records.iter().map(|record| image.apply(record)).collect();
            publisher.publish(&image, log.next_index(), changes).await;
        }
        // A caller that has gone away does not mind.
        drop(reply.send(Ok(decision.reply)));
        if let Err(error) = log.compact(&image).await {
            return halt(&node, &error);
        }
    }
}

/// A broker whose metadata log failed cannot know what it said.
fn halt<E: Env>(node: &Node<E>, error: &std::io::Error) {
    let why = format!("metadata log: {error}");
    node.record(Kind::Halt, &why);
    node.env.halt(why);
}

/// What makes the cluster larger leaves room for what makes it smaller.
fn need_of(command: &Command) -> Need {
    match command {
        Command::AddPartitions { .. }
        | Command::CreateTopics { .. }
        | Command::ReserveProducerIds { .. } => Need::Beside,
        _ => Need::Reserve,
    }
}
