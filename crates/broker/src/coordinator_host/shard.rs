//! One shard's task: requests, proofs and deadlines in, appends and answers out.
//!
//! Owns: the pure shard, the append under way, and where answers go. Invariants: the shard is
//! stepped with one event at a time, its actions carried out in order; an append is reported as
//! failed only if none of it is in the log, else the shard resigns; the task ends when its mailbox
//! is closed and no append is under way, or when it resigns.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use base::trace::Kind;
use base::{Duration, Instant, Probe, Timestamp};
use bytes::Bytes;
use coordinator::{Action, AppendError, AppendId, Event, Reply, RequestId, Settings, Shard};
use env::Env;
use records::{BatchBuilder, BatchError, NewRecord};
use tokio::sync::{mpsc, oneshot};

use super::{Mail, Phase, PhaseCell, Room, load};
use crate::alive::Guard;
use crate::api::{Acks, ProduceError, Produced};
use crate::config::BrokerConfig;
use crate::node::Node;
use crate::partition::{Held, Partition};

type Proof = Pin<Box<dyn Future<Output = Result<Produced, ProduceError>> + Send>>;
type Rows = Vec<(Bytes, Option<Bytes>)>;

/// A log that could not be read is tried again after this long.
const RELOAD_AFTER: Duration = Duration::from_secs(1);

/// What a shard's task has from its host.
pub(crate) struct Mine {
    pub(crate) phase: Arc<PhaseCell>,
    pub(crate) mail: mpsc::Receiver<Mail>,
    pub(crate) held: Room,
}

/// Loads the shard, however often that takes, then serves it. `guard` tells the host that the task
/// runs.
pub(crate) async fn run<E: Env>(
    node: Arc<Node<E>>,
    partition: Arc<Partition<E>>,
    mine: Mine,
    guard: Guard,
) {
    let Mine { phase, mut mail, held } = mine;
    loop {
        match load(&node, &partition).await {
            Ok(shard) => {
                phase.set(Phase::Serving);
                Driver::new(node, partition, shard, (mail, held)).serve().await;
                break;
            },
            Err(error) => {
                node.env.probe().reached("group_load_failed");
                tracing::error!(partition = %partition.id(), %error, "a coordinator shard cannot be loaded");
            },
        }
        phase.set(Phase::Broken);
        if !node.nap(RELOAD_AFTER).await || is_abandoned(&mut mail) {
            break;
        }
        phase.set(Phase::Loading);
    }
    phase.set(Phase::Broken);
    drop(guard);
}

/// Lets go of what came in meanwhile, so that whoever asked learns that there is no answer. True
/// if nobody can ask any more.
fn is_abandoned(mail: &mut mpsc::Receiver<Mail>) -> bool {
    loop {
        match mail.try_recv() {
            Ok(unanswered) => drop(unanswered),
            Err(error) => return error == mpsc::error::TryRecvError::Disconnected,
        }
    }
}

async fn load<E: Env>(
    node: &Arc<Node<E>>,
    partition: &Partition<E>,
) -> Result<Shard<E::Probe>, load::LoadError> {
    let settings = settings(&node.config, batch_bytes_max(partition));
    let mut shard = Shard::new(settings, node.env.probe().clone());
    load::replay(partition, node.env.probe(), |key, value| shard.replay(key, value)).await?;
    shard.loaded(node.env.now());
    Ok(shard)
}

struct Driver<E: Env> {
    node: Arc<Node<E>>,
    partition: Arc<Partition<E>>,
    shard: Shard<E::Probe>,
    mail: mpsc::Receiver<Mail>,
    /// For what the members of its groups say.
    held: Room,
    /// Whether more mail may come.
    open: bool,
    /// The append under way.
    proof: Option<(AppendId, Proof)>,
    answers: BTreeMap<RequestId, oneshot::Sender<Reply>>,
    next_request: u64,
    out: Vec<Action>,
}

enum Wake {
    Deadline,
    Proof(AppendId, Result<Produced, ProduceError>),
    Mail(Mail),
    Closed,
}

impl<E: Env> Driver<E> {
    fn new(
        node: Arc<Node<E>>,
        partition: Arc<Partition<E>>,
        shard: Shard<E::Probe>,
        (mail, held): (mpsc::Receiver<Mail>, Room),
    ) -> Self {
        Self {
            node,
            partition,
            shard,
            mail,
            held,
            open: true,
            proof: None,
            answers: BTreeMap::new(),
            next_request: 0,
            out: Vec::new(),
        }
    }

    async fn serve(mut self) {
        self.held.becomes(self.shard.member_bytes());
        while self.open || self.proof.is_some() {
            match self.next().await {
                Wake::Deadline => self.step(Event::Tick).await,
                Wake::Proof(id, Ok(_)) => self.step(Event::Appended { id, result: Ok(()) }).await,
                // None of it is in the log.
                Wake::Proof(id, Err(ProduceError::StorageFull)) => {
                    self.node.env.probe().reached("group_append_found_no_room");
                    let result = Err(AppendError::NotAvailable);
                    self.step(Event::Appended { id, result }).await;
                },
                Wake::Proof(_, Err(error)) => {
                    self.node.env.probe().reached("group_append_unknown");
                    tracing::warn!(partition = %self.partition.id(), %error, "a coordinator shard resigns");
                    break;
                },
                Wake::Mail(mail) => self.request(mail).await,
                Wake::Closed => self.open = false,
            }
        }
        self.mail.close();
        self.step(Event::Resigned).await;
    }

    /// What happens next. The deadline is looked at first, so that a flood cannot starve it.
    async fn next(&mut self) -> Wake {
        let deadline = self.shard.deadline().filter(|_| self.open).unwrap_or(Instant::NEVER);
        let env = self.node.env.clone();
        let mut timer = pin!(env.sleep_until(deadline));
        poll_fn(|cx| {
            if deadline != Instant::NEVER && timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::Deadline);
            }
            if let Some((id, proof)) = self.proof.as_mut()
                && let Poll::Ready(outcome) = proof.as_mut().poll(cx)
            {
                let id = *id;
                self.proof = None;
                return Poll::Ready(Wake::Proof(id, outcome));
            }
            if self.open
                && let Poll::Ready(mail) = self.mail.poll_recv(cx)
            {
                return Poll::Ready(mail.map_or(Wake::Closed, Wake::Mail));
            }
            Poll::Pending
        })
        .await
    }

    async fn request(&mut self, mail: Mail) {
        let id = RequestId(self.next_request);
        self.next_request = self.next_request.wrapping_add(1);
        self.answers.insert(id, mail.answer);
        let fresh = self.node.env.random_uuid();
        self.step(Event::Request { id, command: mail.command, fresh }).await;
        // It is counted by the shard now, as far as anything is left of it.
        drop(mail.room);
    }

    /// Steps the shard and carries out what it wants; a refused append is the next event.
    async fn step(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            // Who only looks, as every reading of the metrics does, must not push out what happened.
            let is_look = matches!(&event, Event::Request { command, .. } if command.only_looks());
            if !is_look {
                self.node.record(Kind::Group, &(self.partition.id().index.0, &event));
            }
            let wall = self.node.env.wall();
            let mut out = std::mem::take(&mut self.out);
            // It may have been changed, also between an append and its refusal.
            self.shard.limit_batches(batch_bytes_max(&self.partition));
            self.shard.step(self.node.env.now(), wall, event, &mut out);
            self.held.becomes(self.shard.member_bytes());
            for action in out.drain(..) {
                next = self.carry_out(action, wall).await.or(next);
            }
            self.out = out;
        }
    }

    async fn carry_out(&mut self, action: Action, wall: Timestamp) -> Option<Event> {
        match action {
            Action::Append { id, records } => {
                let error = self.append(id, records, wall).await.err()?;
                self.node.env.probe().reached("group_append_refused");
                Some(Event::Appended { id, result: Err(error) })
            },
            Action::Reply { id, reply } => {
                // A client that has gone away does not mind.
                if let Some(answer) = self.answers.remove(&id) {
                    drop(answer.send(reply));
                }
                None
            },
        }
    }

    /// Gives the records their place in the log; the proof comes as an event.
    ///
    /// # Errors
    /// Nothing is in the log, and nothing will be.
    async fn append(
        &mut self,
        id: AppendId,
        rows: Rows,
        wall: Timestamp,
    ) -> Result<(), AppendError> {
        // As by a limit that has shrunk just now; by itself each of them still fits.
        let several = self.shard.proposals_under_way() > 1;
        if several && self.node.env.probe().buggify("group_append_too_large") {
            return Err(AppendError::TooLarge);
        }
        let batch = batch_of(&rows, wall).ok_or(AppendError::TooLarge)?;
        // However long it takes: the shard must not believe that a batch is not in the log.
        let proof = (Acks::All, Instant::NEVER);
        let submitted = self.partition.submit(&batch, proof, &mut Held::default()).await;
        let submitted = submitted.map_err(refused)?;
        let env = self.node.env.clone();
        self.proof = Some((id, Box::pin(async move { submitted.proven(&env).await })));
        Ok(())
    }
}

fn batch_of(rows: &Rows, wall: Timestamp) -> Option<Bytes> {
    let mut builder = BatchBuilder::new();
    for (key, value) in rows {
        let record =
            NewRecord { timestamp: wall, key: Some(key), value: value.as_deref(), headers: &[] };
        builder.push(&record).ok()?;
    }
    builder.finish_bytes().ok()
}

fn refused(error: ProduceError) -> AppendError {
    match error {
        ProduceError::Batch(BatchError::TooLarge { .. })
        | ProduceError::TooLarge { .. }
        | ProduceError::LargerThanSegment { .. } => AppendError::TooLarge,
        ProduceError::Overloaded
        | ProduceError::NotEnoughReplicas
        | ProduceError::TimedOut
        | ProduceError::StorageFull => AppendError::NotAvailable,
        ProduceError::UnknownPartition
        | ProduceError::NotLeader { .. }
        | ProduceError::InternalTopic
        | ProduceError::Batch(_)
        | ProduceError::OutOfOrderSequence
        | ProduceError::ProducerFenced
        | ProduceError::Transactional
        | ProduceError::StorageFailed
        | ProduceError::Stopping => AppendError::NotCoordinator,
    }
}

/// The largest batch that the partition takes now.
fn batch_bytes_max<E: Env>(partition: &Partition<E>) -> usize {
    let config = partition.config();
    config.batch_bytes_max.min(usize::try_from(config.segment_bytes).unwrap_or(usize::MAX))
}

fn settings(config: &BrokerConfig, batch_bytes_max: usize) -> Settings {
    /// A look takes in every group.
    const CHECK_INTERVAL_MIN: Duration = Duration::from_secs(1);
    Settings {
        session_timeout_min: config.group_session_timeout_min,
        session_timeout_max: config.group_session_timeout_max,
        initial_rebalance_delay: config.group_initial_rebalance_delay,
        group_size_max: config.group_size_max,
        offset_metadata_max_bytes: config.offset_metadata_bytes_max,
        offsets_retention: config.offsets_retention,
        offsets_check_interval: config.offsets_retention_check_interval.max(CHECK_INTERVAL_MIN),
        batch_bytes_max,
        ..Settings::default()
    }
}
