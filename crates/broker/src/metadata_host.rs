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

use crate::config::BrokerConfig;
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

    /// Puts in force what the broker's file says anew, below what `image` has of settings.
    fn retell(&mut self, image: &Image, told: &BrokerConfig) -> impl Future<Output = ()> + Send;
}

/// Why the broker goes by what its file said before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotRetold {
    /// It clashes with what was set while the broker ran, as this says.
    Fault(String),
    /// The metadata log failed, or the broker is stopping.
    Gone,
}

enum Mail {
    Propose(Command, oneshot::Sender<Result<Reply, MetadataFailed>>),
    Retell(Box<BrokerConfig>, oneshot::Sender<Result<(), NotRetold>>),
}

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
        let mail = Mail::Propose(command, reply);
        self.mailbox.send(mail).await.map_err(|_| MetadataFailed::Gone)?;
        answer.await.unwrap_or(Err(MetadataFailed::Gone))
    }

    /// Takes what the broker's file says anew, between two commands, and waits until it is in force.
    ///
    /// # Errors
    /// [`NotRetold`]; nothing is changed then.
    pub(crate) async fn retell(&self, told: BrokerConfig) -> Result<(), NotRetold> {
        let (reply, answer) = oneshot::channel();
        let mail = Mail::Retell(Box::new(told), reply);
        self.mailbox.send(mail).await.map_err(|_| NotRetold::Gone)?;
        answer.await.unwrap_or(Err(NotRetold::Gone))
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
    while let Some(mail) = mail.recv().await {
        let (command, reply) = match mail {
            Mail::Propose(command, reply) => (command, reply),
            Mail::Retell(told, reply) => {
                let outcome = retell(&node, &image, &mut publisher, &told).await;
                drop(reply.send(outcome));
                continue;
            },
        };
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

/// The file is of this broker alone, so nothing of it is logged; but what is set lies on top of it, so
/// that it has its turn among the changes of settings.
async fn retell<E: Env>(
    node: &Node<E>,
    image: &Image,
    publisher: &mut impl Publish,
    told: &BrokerConfig,
) -> Result<(), NotRetold> {
    node.record(Kind::Metadata, &format_args!("the file is read again"));
    if let Some(why) = told.fault(&image.settings) {
        return Err(NotRetold::Fault(why));
    }
    publisher.retell(image, told).await;
    Ok(())
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
