//! Which brokers hold a partition: what a client may say of it, and what we say where it says nothing.
//!
//! Invariant: every new partition has a leader, its first replica, and all its replicas in sync: it is
//! empty. The texts are Kafka's.

use std::ops::Range;
use std::sync::Arc;

use base::{BrokerId, LeaderEpoch};

use crate::Partition;

/// Holds a list of replicas against Kafka's rules: not empty, every broker known and named once, and
/// as many as `factor`, if other partitions have so many.
///
/// # Errors
/// Kafka's sentence about what is wrong.
pub fn check_assignment(
    is_known: impl Fn(&BrokerId) -> bool,
    replicas: &[BrokerId],
    factor: Option<usize>,
) -> Result<(), String> {
    if replicas.is_empty() {
        return Err("The manual partition assignment includes an empty replica list.".to_owned());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    let mut before = None;
    for id in &sorted {
        if !is_known(id) {
            return Err(format!(
                "The manual partition assignment includes broker {id}, but no such broker is registered."
            ));
        }
        if before == Some(id) {
            return Err(format!(
                "The manual partition assignment includes the broker {id} more than once."
            ));
        }
        before = Some(id);
    }
    match factor {
        Some(factor) if factor != replicas.len() => Err(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with previous partitions, which have {factor} replica(s).",
            replicas.len()
        )),
        Some(_) | None => Ok(()),
    }
}

/// Partitions with these indexes, `factor` replicas each, dealt out over `alive`; `factor` is at most
/// as many as those.
pub(crate) fn place(alive: &[BrokerId], indexes: Range<usize>, factor: usize) -> Vec<Partition> {
    let replicas_of = |index: usize| {
        alive.iter().cycle().skip(index % alive.len().max(1)).take(factor).copied().collect()
    };
    indexes.map(|index| new_partition(replicas_of(index))).collect()
}

pub(crate) fn new_partition(replicas: Vec<BrokerId>) -> Partition {
    let replicas: Arc<[BrokerId]> = replicas.into();
    Partition {
        isr: Arc::clone(&replicas),
        leader: replicas.first().copied(),
        leader_epoch: LeaderEpoch(0),
        replicas,
    }
}
