//! One fetch over several partitions, with its long poll.
//!
//! Invariants: partitions are filled in the order of the request and the first batch of the first
//! partition that has one is whole; a parked fetch has a deadline and an entry per partition that
//! is taken back when the fetch ends or is dropped; what is returned was read after the last
//! wake-up. Source: KIP-74, Kafka's fetch purgatory.

use std::sync::Arc;

use base::{Instant, Offset, Probe};
use env::{Disk, Env};

use crate::api::{Fetch, FetchError, FetchedPartition, Isolation};
use crate::node::Node;
use crate::partition::readers::Signal;
use crate::partition::{Park, Partition, ReadLimits};

type FileOf<E> = <<E as Env>::Disk as Disk>::File;

/// All partitions read once.
struct Round<F> {
    partitions: Vec<FetchedPartition<F>>,
    bytes: usize,
    /// A partition has an error, or the client is to go back in it.
    must_answer: bool,
    /// Whether a partition has more than fits: to wait would bring no more of it.
    is_cut: bool,
}

/// Reads until there is enough, something is wrong, or the time is over.
pub(crate) async fn fetch<E: Env>(
    node: &Node<E>,
    mut wish: Fetch,
) -> Vec<FetchedPartition<FileOf<E>>> {
    let env = &node.env;
    wish.max_bytes = wish.max_bytes.min(node.config.fetch_bytes_max);
    wish.min_bytes = wish.min_bytes.min(wish.max_bytes);
    let deadline = env.now().after(wish.max_wait);
    let answer = loop {
        let round = read_all(node, &wish).await;
        let enough = round.bytes >= wish.min_bytes || (round.is_cut && round.bytes > 0);
        let over = env.now() >= deadline || node.is_stopping();
        if enough || round.must_answer || over || wish.partitions.is_empty() {
            break round.partitions;
        }
        if env.probe().buggify("fetch_answers_early") {
            break round.partitions;
        }
        match park(node, &wish, &round) {
            Ok(parked) => wait(env, &parked, deadline).await,
            Err(NotParked::Changed) => env.probe().reached("fetch_changed_before_parking"),
            Err(NotParked::Full) => {
                env.probe().reached("fetch_readers_full");
                break round.partitions;
            },
        }
    };
    note(node, &answer);
    answer
}

/// Counts what is returned, and not what was read on the way to it.
fn note<E: Env>(node: &Node<E>, answer: &[FetchedPartition<FileOf<E>>]) {
    for part in answer {
        if let Ok(data) = &part.outcome
            && data.bytes > 0
            && let Some(partition) = node.partitions.find(&part.partition)
        {
            partition.note_fetched(data.bytes);
        }
    }
}

async fn wait<E: Env>(env: &E, parked: &Parked<E>, deadline: Instant) {
    let until = if env.probe().buggify("fetch_wakes_for_nothing") { env.now() } else { deadline };
    if env::timeout_at(env, until, parked.signal.woken()).await.is_err() {
        env.probe().reached("fetch_waited_in_vain");
    } else {
        env.probe().reached("fetch_woken");
    }
}

async fn read_all<E: Env>(node: &Node<E>, wish: &Fetch) -> Round<FileOf<E>> {
    let mut round = Round { partitions: Vec::new(), bytes: 0, must_answer: false, is_cut: false };
    round.partitions.reserve(wish.partitions.len());
    for part in &wish.partitions {
        let left = wish.max_bytes.saturating_sub(round.bytes);
        let limits =
            ReadLimits { bytes_max: part.max_bytes.min(left), first_whole: round.bytes == 0 };
        let outcome = match node.find(&part.partition) {
            Ok(partition) => partition.fetch(part, wish.isolation, limits).await,
            Err(why) => {
                node.env.probe().reached("fetch_unknown_partition");
                Err(FetchError::from(why))
            },
        };
        match &outcome {
            Ok(data) => {
                round.bytes = round.bytes.saturating_add(data.bytes);
                round.is_cut |= data.is_cut;
                round.must_answer |= data.diverging.is_some();
            },
            Err(_) => round.must_answer = true,
        }
        round.partitions.push(FetchedPartition { partition: part.partition, outcome });
    }
    round
}

enum NotParked {
    Changed,
    Full,
}

/// A fetch on the lists of its partitions; taken off when dropped.
struct Parked<E: Env> {
    signal: Arc<Signal>,
    entries: Vec<(Arc<Partition<E>>, u64)>,
}

impl<E: Env> Drop for Parked<E> {
    fn drop(&mut self) {
        for (partition, id) in &self.entries {
            partition.leave(*id);
        }
    }
}

fn park<E: Env>(
    node: &Node<E>,
    wish: &Fetch,
    round: &Round<FileOf<E>>,
) -> Result<Parked<E>, NotParked> {
    let missing = wish.min_bytes.saturating_sub(round.bytes).max(1);
    let mut parked = Parked { signal: Signal::new(missing), entries: Vec::new() };
    parked.entries.reserve(wish.partitions.len());
    for (part, read) in wish.partitions.iter().zip(&round.partitions) {
        let (Ok(data), Some(partition)) = (&read.outcome, node.partitions.find(&part.partition))
        else {
            return Err(NotParked::Changed);
        };
        let seen: Offset = match wish.isolation {
            Isolation::ReadUncommitted => data.high_watermark,
            Isolation::ReadCommitted => data.last_stable,
        };
        let room = part.max_bytes.saturating_sub(data.bytes).max(usize::from(data.bytes == 0));
        match partition.park(&parked.signal, seen, room) {
            Park::Parked(id) => parked.entries.push((partition, id)),
            Park::Changed => return Err(NotParked::Changed),
            Park::Full => return Err(NotParked::Full),
        }
    }
    Ok(parked)
}
