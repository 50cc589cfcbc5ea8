//! One shard's task: requests, proofs and deadlines in, appends and answers out.
//!
//! Owns: the pure shard, the appends under way, and where answers go. Invariants: the shard is
//! stepped with one event at a time, its actions carried out in order; proofs arrive in the order
//! of the appends; the task ends only when its mailbox is closed and no append is under way, or
//! when the log failed.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use base::{Instant, Probe, Uuid};
use bytes::Bytes;
use coordinator::{Action, Event, Record, Reply, RequestId, Shard};
use env::Env;
use records::{BatchBuilder, NewRecord};
use tokio::sync::{mpsc, oneshot};

use super::{Mail, Phase, PhaseCell, load};
use crate::api::{Acks, ProduceError, Produced};
use crate::node::Node;
use crate::partition::Partition;

/// Appends of one shard under way; more wait in the mailbox.
const APPENDS_MAX: usize = 256;

type Proof = Pin<Box<dyn Future<Output = Result<Produced, ProduceError>> + Send>>;

/// Loads the shard, then serves it. `alive` tells the host that the task exists.
pub(crate) async fn run<E: Env>(
    node: Arc<Node<E>>,
    partition: Arc<Partition<E>>,
    phase: Arc<PhaseCell>,
    mail: mpsc::Receiver<Mail>,
    alive: mpsc::Sender<()>,
) {
    let mut shard = Shard::new(node.config.group_config());
    let replayed = load::replay(&partition, |offset, key, value| {
        if let Err(error) = shard.replay(key, value) {
            node.env.probe().reached("group_record_unknown");
            tracing::warn!(partition = %partition.id(), %offset, %error, "skipped a coordinator record");
        }
    });
    match replayed.await {
        Ok(()) => {
            let mut driver = Driver {
                node,
                partition,
                shard,
                mail,
                open: true,
                proofs: VecDeque::new(),
                answers: BTreeMap::new(),
                next_request: 0,
                out: Vec::new(),
            };
            driver.step(Event::Loaded).await;
            phase.set(Phase::Serving);
            driver.serve().await;
        },
        Err(error) => {
            node.env.probe().reached("group_load_failed");
            tracing::error!(partition = %partition.id(), %error, "a coordinator shard cannot be loaded");
            phase.set(Phase::Broken);
        },
    }
    drop(alive);
}

struct Driver<E: Env> {
    node: Arc<Node<E>>,
    partition: Arc<Partition<E>>,
    shard: Shard,
    mail: mpsc::Receiver<Mail>,
    /// Whether more mail may come.
    open: bool,
    /// Appends under way, oldest first.
    proofs: VecDeque<(coordinator::AppendId, Proof)>,
    answers: BTreeMap<u64, oneshot::Sender<Reply>>,
    next_request: u64,
    out: Vec<Action>,
}

enum Wake {
    Deadline,
    Proof(coordinator::AppendId, Result<Produced, ProduceError>),
    Mail(Mail),
    Closed,
}

impl<E: Env> Driver<E> {
    async fn serve(&mut self) {
        while self.open || !self.proofs.is_empty() {
            match self.next().await {
                Wake::Deadline => self.step(Event::Deadline).await,
                Wake::Proof(append, Ok(_)) => self.step(Event::Appended { append }).await,
                Wake::Proof(append, Err(_)) => {
                    self.node.env.probe().reached("group_append_failed");
                    self.step(Event::AppendFailed { append }).await;
                },
                Wake::Mail(mail) => self.request(mail).await,
                Wake::Closed => self.open = false,
            }
        }
    }

    /// What happens next. The deadline is looked at first, so that a flood cannot starve it.
    async fn next(&mut self) -> Wake {
        let deadline = if self.open { self.shard.deadline() } else { None };
        let env = self.node.env.clone();
        let mut timer = pin!(env.sleep_until(deadline.unwrap_or(Instant::NEVER)));
        let takes_mail = self.open && self.proofs.len() < APPENDS_MAX;
        poll_fn(|cx| {
            if deadline.is_some() && timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::Deadline);
            }
            if let Some((append, proof)) = self.proofs.front_mut()
                && let Poll::Ready(outcome) = proof.as_mut().poll(cx)
            {
                let append = *append;
                self.proofs.pop_front();
                return Poll::Ready(Wake::Proof(append, outcome));
            }
            if takes_mail && let Poll::Ready(mail) = self.mail.poll_recv(cx) {
                return Poll::Ready(mail.map_or(Wake::Closed, Wake::Mail));
            }
            Poll::Pending
        })
        .await
    }

    async fn request(&mut self, mail: Mail) {
        let request = self.next_request;
        self.next_request = self.next_request.wrapping_add(1);
        self.answers.insert(request, mail.answer);
        let fresh: Uuid = self.node.env.random_uuid();
        self.step(Event::Request { request: RequestId(request), command: mail.command, fresh }).await;
    }

    async fn step(&mut self, event: Event) {
        let (now, wall) = (self.node.env.now(), self.node.env.wall());
        let mut out = std::mem::take(&mut self.out);
        self.shard.step(now, wall, event, &mut out);
        for action in out.drain(..) {
            match action {
                Action::Append { append, records } => self.append(append, &records).await,
                Action::Reply { request, reply } => {
                    if let Some(answer) = self.answers.remove(&request.0) {
                        // A client that has gone away does not mind.
                        drop(answer.send(reply));
                    }
                },
            }
        }
        self.out = out;
    }

    /// Gives the records their place in the log; the proof comes as an event.
    async fn append(&mut self, append: coordinator::AppendId, records: &[Record]) {
        let submitted = match batch_of(records, self.node.env.wall()) {
            // However long it takes: the shard must not believe that a batch is not in the log.
            Ok(batch) => self.partition.submit(&batch, Acks::All, Instant::NEVER).await,
            Err(error) => Err(error),
        };
        let env = self.node.env.clone();
        let proof: Proof = match submitted {
            Ok(submitted) => Box::pin(async move { submitted.proven(&env).await }),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        };
        self.proofs.push_back((append, proof));
    }
}

fn batch_of(records: &[Record], wall: base::Timestamp) -> Result<Bytes, ProduceError> {
    let mut builder = BatchBuilder::new();
    for record in records {
        let record = NewRecord {
            timestamp: wall,
            key: Some(&record.key),
            value: record.value.as_deref(),
            headers: &[],
        };
        builder.push(&record).map_err(|_| ProduceError::Overloaded)?;
    }
    builder.finish_bytes().map_err(|_| ProduceError::Overloaded)
}
