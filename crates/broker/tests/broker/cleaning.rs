//! Compaction, retention of a log at rest, and DeleteRecords, through a broker.

use base::{Duration, Offset, PartitionId, Timestamp};
use broker::api::{DeleteRecordsError, ListOffset, OffsetSpec, ProduceError};
use broker::{Broker, BrokerConfig};
use bytes::Bytes;
use env::Env;
use env_tokio::TokioEnv;
use records::{BatchBuilder, NewRecord};

use crate::world::*;

/// So large that each is a segment of its own, of the smallest that a topic may have.
const LARGE: usize = 700_000;

fn keyed(key: &str, value: &str, bytes: usize) -> Bytes {
    let mut value = value.as_bytes().to_vec();
    value.resize(value.len().max(bytes), b'.');
    let (key, value) = (Some(key.as_bytes()), Some(&value[..]));
    let mut builder = BatchBuilder::new();
    // Of 1970, and so too old wherever age counts.
    let record = NewRecord { timestamp: Timestamp(0), key, value, headers: &[] };
    builder.push(&record).expect("small");
    builder.finish_bytes().expect("not empty")
}

fn eager(world: &World) -> BrokerConfig {
    BrokerConfig {
        cleaner_backoff: Duration::from_millis(10),
        retention_check_interval: Duration::from_millis(10),
        ..world.config()
    }
}

async fn start(world: &World) -> Broker<TokioEnv> {
    Broker::start(world.env(), eager(world)).await.expect("starts")
}

async fn earliest<E: Env>(broker: &Broker<E>, partition: PartitionId) -> i64 {
    let spec = OffsetSpec::Earliest;
    let isolation = broker::api::Isolation::ReadUncommitted;
    let wish = ListOffset { partition, spec, isolation, current_leader_epoch: None };
    broker.list_offset(&wish).await.expect("answers").expect("there is one").offset.0
}

/// Looks until it is as wanted; the test's own time limit is the bound.
async fn until<T>(world: &World, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look().await {
            return found;
        }
        world.env().sleep(Duration::from_millis(5)).await;
    }
}

async fn delete(
    broker: &Broker<TokioEnv>,
    partition: PartitionId,
    upto: Option<i64>,
) -> Result<i64, DeleteRecordsError> {
    let deleted = broker.delete_records(partition, upto.map(Offset)).await;
    deleted.map(|start| start.0)
}

#[test]
fn a_compacted_topic_keeps_the_newest_record_of_every_key_and_a_restart_finds_it_so() {
    let world = World::new("compacted");
    world.runtime.block_on(async {
        let broker = start(&world).await;
        let configs = [
            ("cleanup.policy", "compact"),
            ("segment.bytes", "1048576"),
            ("min.cleanable.dirty.ratio", "0.01"),
        ];
        let table = topic(&broker, "table", &configs).await;
        for round in 0..6 {
            let key = if round == 1 { "rare" } else { "often" };
            produce(&broker, table, keyed(key, &format!("{round}"), LARGE)).await.expect("written");
        }
        let compacted = |found: &[i64]| found == [1, 4, 5];
        let offsets = async |broker: &Broker<TokioEnv>| {
            values(broker, table, 0).await.into_iter().map(|(at, _)| at).collect::<Vec<_>>()
        };
        until(&world, async || compacted(&offsets(&broker).await).then_some(())).await;
        assert_eq!(earliest(&broker, table).await, 0, "the start of the log does not move");
        broker.stop().await;
        drop(broker);
        let broker = start(&world).await;
        assert!(compacted(&offsets(&broker).await));
        broker.stop().await;
    });
}

#[test]
fn a_compacted_topic_takes_no_record_without_a_key() {
    let world = World::new("keyless");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let table = topic(&broker, "table", &[("cleanup.policy", "compact")]).await;
        let both = topic(&broker, "both", &[("cleanup.policy", "delete,compact")]).await;
        for partition in [table, both] {
            let refused = produce(&broker, partition, batch(&["no key"])).await;
            assert!(matches!(refused, Err(ProduceError::Batch(_))), "{refused:?}");
        }
        broker.stop().await;
    });
}

#[test]
fn a_log_at_rest_becomes_empty_and_goes_on_at_its_end() {
    let world = World::new("at-rest");
    world.runtime.block_on(async {
        let broker = start(&world).await;
        let brief = topic(&broker, "brief", &[("retention.ms", "1")]).await;
        produce(&broker, brief, keyed("k", "v", 0)).await.expect("written");
        until(&world, async || (earliest(&broker, brief).await == 1).then_some(())).await;
        broker.stop().await;
        drop(broker);
        let broker = start(&world).await;
        assert_eq!(earliest(&broker, brief).await, 1);
        let written = produce(&broker, brief, keyed("k", "v", 0)).await.expect("written");
        assert_eq!(written.base_offset, Offset(1));
        broker.stop().await;
    });
}

#[test]
fn deleted_records_are_gone_for_good() {
    let world = World::new("deleted-records");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let partition = topic(&broker, "t", &[]).await;
        for value in ["a", "b", "c", "d"] {
            produce(&broker, partition, batch(&[value])).await.expect("written");
        }
        assert_eq!(delete(&broker, partition, Some(2)).await, Ok(2));
        assert_eq!(delete(&broker, partition, Some(1)).await, Ok(2), "never down");
        assert_eq!(delete(&broker, partition, Some(5)).await, Err(DeleteRecordsError::OutOfRange));
        assert_eq!(delete(&broker, partition, Some(-2)).await, Err(DeleteRecordsError::OutOfRange));
        let read = values(&broker, partition, 2).await;
        assert_eq!(read, [(2, "c".to_owned()), (3, "d".to_owned())]);
        assert!(read_at(&broker, partition, 1).await, "out of range");
        broker.stop().await;
        drop(broker);
        let broker = world.start().await;
        assert_eq!(earliest(&broker, partition).await, 2);
        assert_eq!(delete(&broker, partition, None).await, Ok(4));
        assert_eq!(earliest(&broker, partition).await, 4);
        let written = produce(&broker, partition, batch(&["e"])).await.expect("written");
        assert_eq!(written.base_offset, Offset(4));
        broker.stop().await;
        assert_eq!(delete(&broker, partition, None).await, Err(DeleteRecordsError::Stopping));
    });
}

async fn read_at(broker: &Broker<TokioEnv>, partition: PartitionId, offset: i64) -> bool {
    let outcome = read(broker, fetch(partition, offset)).await;
    matches!(outcome, Err(broker::api::FetchError::OutOfRange { .. }))
}

#[test]
fn records_of_compacted_internal_and_unknown_topics_are_not_deleted() {
    let world = World::new("not-deleted");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let table = topic(&broker, "table", &[("cleanup.policy", "compact")]).await;
        let both = topic(&broker, "both", &[("cleanup.policy", "compact,delete")]).await;
        assert!(broker.find_coordinator("g").await.is_some());
        let internal = broker.cluster().topics["__consumer_offsets"].id;
        assert_eq!(delete(&broker, table, None).await, Err(DeleteRecordsError::Policy));
        assert_eq!(delete(&broker, both, None).await, Ok(0));
        let refused = delete(&broker, first(internal), None).await;
        assert_eq!(refused, Err(DeleteRecordsError::InternalTopic));
        let nobody = first(base::TopicId(base::Uuid([9; 16])));
        let refused = delete(&broker, nobody, None).await;
        assert_eq!(refused, Err(DeleteRecordsError::UnknownPartition));
        broker.stop().await;
    });
}
