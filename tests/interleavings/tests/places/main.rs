//! The four places where threads share memory outside a partition's lock order, each with a bug
//! planted that must be found: the combining writer, the snapshot of the metadata, the budget of
//! the tails, and the flusher's hand-over.
#![allow(dead_code, unused_imports, reason = "the storage tests' world has more than is used here")]

#[path = "../../../../crates/storage/tests/it/batches.rs"]
mod batches;
#[path = "../../../../crates/storage/tests/it/inode.rs"]
mod inode;
#[path = "../../../../crates/storage/tests/it/support.rs"]
mod support;
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;

use base::{Duration, Offset, PartitionId, PartitionIndex};
use broker::api::{Acks, CreateTopic, Produce};
use broker::{Broker, BrokerConfig};
use env::Env;
use shuttle::future::spawn;
use storage::{DirOptions, Log, LogConfig, LogDir};

use crate::batches::{Spec, append_of, expect, partition, root};
use crate::support::GEN;
use crate::world::{ShuttleEnv, catches};

async fn started(env: &ShuttleEnv) -> Broker<ShuttleEnv> {
    let config = BrokerConfig { log_dirs: vec![PathBuf::from("data")], ..BrokerConfig::default() };
    Broker::start(env.clone(), config).await.unwrap()
}

async fn topic(broker: &Broker<ShuttleEnv>, name: &str) -> PartitionId {
    let wish = CreateTopic { name: name.to_owned(), ..CreateTopic::default() };
    let created = broker.create_topics(vec![wish], false).await.remove(0).unwrap();
    PartitionId { topic: created.id, index: PartitionIndex(0) }
}

async fn produce(env: &ShuttleEnv, broker: &Broker<ShuttleEnv>, partition: PartitionId) -> i64 {
    let batch = Spec::at(0).build().into_bytes();
    let deadline = env.now().after(Duration::from_secs(30));
    let wish = Produce { partition, acks: Acks::All, deadline, batch, internal_allowed: false };
    broker.produce(wish).await.unwrap().base_offset.0
}

/// Every batch that is accepted is written, whoever writes it.
async fn two_produce_to_one_partition(env: ShuttleEnv) {
    let broker = started(&env).await;
    let partition = topic(&broker, "t").await;
    let producers = (0..2).map(|_| {
        let (broker, env) = (broker.clone(), env.clone());
        spawn(async move {
            // The second one meets the writer of the first as it leaves.
            let first = produce(&env, &broker, partition).await;
            [first, produce(&env, &broker, partition).await]
        })
    });
    let mut offsets = Vec::new();
    for producer in producers.collect::<Vec<_>>() {
        offsets.extend(producer.await.unwrap());
    }
    offsets.sort_unstable();
    assert_eq!(offsets, [0, 1, 2, 3]);
    broker.stop().await;
}

#[test]
fn the_combining_writer_leaves_nothing_behind() {
    catches("writer_leaves_late", two_produce_to_one_partition);
}

/// What a client sees of the metadata belongs to the index it sees.
async fn one_creates_topics_and_two_look(env: ShuttleEnv) {
    let broker = started(&env).await;
    let lookers = (0..2).map(|_| {
        let (broker, env) = (broker.clone(), env.clone());
        spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..20 {
                let view = broker.cluster();
                seen.push((view.metadata_index, view.topics.len()));
                env.yield_now().await;
            }
            seen
        })
    });
    let lookers: Vec<_> = lookers.collect();
    let mut truth = BTreeMap::new();
    let mut look = || {
        let view = broker.cluster();
        truth.insert(view.metadata_index, view.topics.len());
    };
    look();
    for name in ["a", "b", "c"] {
        topic(&broker, name).await;
        look();
    }
    for looker in lookers {
        let seen = looker.await.unwrap();
        assert!(seen.is_sorted(), "the snapshot went back");
        assert!(seen.iter().all(|(index, topics)| truth.get(index) == Some(topics)));
    }
    broker.stop().await;
}

#[test]
fn a_snapshot_is_swapped_whole() {
    catches("snapshot_by_halves", one_creates_topics_and_two_look);
}

async fn opened(env: &ShuttleEnv, options: DirOptions) -> LogDir<ShuttleEnv> {
    LogDir::open(env, &root(), expect(), options).await.unwrap().0
}

async fn append(log: &Log<ShuttleEnv>) {
    let batch = Spec::at(log.end().0).build();
    log.append(append_of(&[batch])).await.unwrap();
}

/// What the tails took from their common budget they give back.
async fn three_logs_share_a_budget(env: ShuttleEnv) {
    let max = 500;
    let dir = opened(&env, DirOptions { tail_bytes_max: max, ..DirOptions::default() }).await;
    let ids = (0..3).map(|index| PartitionId { index: PartitionIndex(index), ..partition() });
    let ids: Vec<_> = ids.collect();
    let appenders = ids.iter().map(|id| {
        let (dir, id) = (dir.clone(), *id);
        spawn(async move {
            let log = dir.create_log(id, GEN, LogConfig::default()).await.unwrap();
            // Nothing is kept where nobody reads.
            log.read(Offset(0), Offset(0), 1, true).await.unwrap();
            for _ in 0..4 {
                append(&log).await;
            }
        })
    });
    for appender in appenders.collect::<Vec<_>>() {
        appender.await.unwrap();
    }
    assert!(dir.tail_bytes() <= max, "{} bytes in the tails", dir.tail_bytes());
    assert!(dir.tail_bytes() > 0, "nothing was kept");
    for id in ids {
        dir.delete_log(id, GEN).await.unwrap();
    }
    assert_eq!(dir.tail_bytes(), 0, "nobody has a tail any more");
}

#[test]
fn the_budget_of_the_tails_is_kept_and_given_back() {
    catches("tail_budget_by_halves", three_logs_share_a_budget);
}

/// Whatever was appended is durable a while later, without anybody asking.
async fn one_appends_while_the_flusher_flushes(env: ShuttleEnv) {
    let dir = opened(&env, DirOptions::default()).await;
    let flusher = dir.clone();
    let flusher = spawn(async move { flusher.run_flusher(|_| ()).await.unwrap() });
    let log = dir.create_log(partition(), GEN, LogConfig::default()).await.unwrap();
    for _ in 0..6 {
        append(&log).await;
        env.sleep(Duration::from_millis(190)).await;
    }
    let patience = env.now().after(Duration::from_secs(5));
    while log.flushed_end() < log.end() && env.now() < patience {
        env.sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(log.flushed_end(), Offset(6), "forgotten by the flusher");
    dir.seal().await.unwrap();
    flusher.await.unwrap();
}

#[test]
fn the_flusher_forgets_no_log() {
    catches("dirty_note_taken_late", one_appends_while_the_flusher_flushes);
}
