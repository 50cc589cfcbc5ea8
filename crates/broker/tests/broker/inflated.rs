//! Batches that are small where they are stored and large inside: what is let in can be looked up,
//! converted, compacted and read for as long as it is there.

use base::{Duration, Offset, PartitionId, Timestamp};
use broker::api::{Isolation, ListOffset, OffsetSpec, ProduceError};
use broker::{Broker, BrokerConfig};
use bytes::Bytes;
use env::Env;
use env_tokio::TokioEnv;
use records::{
    BatchBuilder, BatchError, BatchView, CodecError, Compression, NewRecord,
    STORED_INFLATED_BYTES_MAX,
};

use crate::world::*;

const MIB: usize = 1 << 20;

/// Bytes that no codec makes smaller, and then zeros.
fn value_of(dense: usize, zeros: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut value: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[3]
    })
    .take(dense)
    .collect();
    value.resize(dense + zeros, 0);
    value
}

fn packed(codec: Compression, records: &[(&str, &[u8])]) -> Bytes {
    let mut builder = BatchBuilder::new().compression(codec);
    for (key, value) in records {
        let (key, value) = (Some(key.as_bytes()), Some(*value));
        let record = NewRecord { timestamp: Timestamp(1_000), key, value, headers: &[] };
        builder.push(&record).expect("fits");
    }
    builder.finish_bytes().expect("not empty")
}

async fn found(broker: &Broker<TokioEnv>, partition: PartitionId, spec: OffsetSpec) -> Option<i64> {
    let isolation = Isolation::ReadUncommitted;
    let wish = ListOffset { partition, spec, isolation, current_leader_epoch: None };
    broker.list_offset(&wish).await.expect("answers").map(|hit| hit.offset.0)
}

/// Offset, key and value of everything in a batch.
fn inside(batch: &BatchView) -> Vec<(i64, Vec<u8>, Vec<u8>)> {
    let set = batch.open(STORED_INFLATED_BYTES_MAX).expect("opens");
    set.iter()
        .map(|record| {
            let record = record.expect("intact");
            let part = |bytes: Option<&[u8]>| bytes.unwrap_or_default().to_vec();
            (record.offset.0, part(record.key), part(record.value))
        })
        .collect()
}

#[test]
fn a_batch_that_conversion_made_much_smaller_is_looked_up_by_time_as_before() {
    let world = World::new("inflated-converted");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[("compression.type", "zstd")]).await;
        let value = value_of(60_000, 20_000_000);
        let sent = packed(Compression::Gzip, &[("k", &value)]);
        let sent_bytes = sent.len();
        produce(&broker, t, sent).await.expect("let in");
        produce(&broker, t, batch(&["later"])).await.expect("written");

        let batches = stored(&broker, t).await;
        assert!(
            batches[0].bytes().len() + 10_000 < sent_bytes,
            "it would be refused by its size now"
        );
        let at = |time| OffsetSpec::AtOrAfter(Timestamp(time));
        assert_eq!(found(&broker, t, at(500)).await, Some(0));
        assert_eq!(found(&broker, t, at(1_000)).await, Some(0));
        assert_eq!(found(&broker, t, at(1_001)).await, None);
        assert_eq!(found(&broker, t, OffsetSpec::MaxTimestamp).await, Some(0));
        assert_eq!(inside(&batches[0]), [(0, b"k".to_vec(), value)]);
        broker.stop().await;
    });
}

#[test]
fn a_batch_near_the_limit_of_what_is_let_in_is_compacted_looked_up_and_read() {
    let world = World::new("inflated-compacted");
    world.runtime.block_on(async {
        let backoff = Duration::from_millis(10);
        let eager = BrokerConfig { cleaner_backoff: backoff, ..world.config() };
        let broker = Broker::start(world.env(), eager).await.expect("starts");
        let rules = [
            ("cleanup.policy", "compact"),
            ("segment.bytes", "1048576"),
            ("min.cleanable.dirty.ratio", "0.01"),
        ];
        let t = topic(&broker, "t", &rules).await;
        let value = value_of(510_000, 120 * MIB);
        let old = [("often", &b"old"[..]), ("large", &value)];
        produce(&broker, t, packed(Compression::Zstd, &old)).await.expect("let in");
        let dense = value_of(700_000, 0);
        for _ in 0..4 {
            let new = packed(Compression::None, &[("often", &dense)]);
            produce(&broker, t, new).await.expect("written");
        }
        let mut batches = stored(&broker, t).await;
        while batches[0].header().record_count == 2 {
            world.env().sleep(Duration::from_millis(5)).await;
            batches = stored(&broker, t).await;
        }
        assert_eq!(batches[0].header().attributes.compression(), Some(Compression::Zstd));
        assert!(inside(&batches[0]) == [(1, b"large".to_vec(), value)]);
        assert_eq!(found(&broker, t, OffsetSpec::AtOrAfter(Timestamp(1_000))).await, Some(1));
        broker.stop().await;
    });
}

#[test]
fn a_batch_beyond_the_limit_is_refused_when_it_comes() {
    let world = World::new("inflated-refused");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        let sent = packed(Compression::Zstd, &[("k", &value_of(1_000, 17 * MIB))]);
        let refused = produce(&broker, t, sent).await;
        let too_large = BatchError::Codec(CodecError::TooLarge(16 * MIB));
        assert_eq!(refused.map(drop), Err(ProduceError::Batch(too_large)));
        let end = read(&broker, fetch(t, 0)).await.expect("readable").high_watermark;
        assert_eq!(end, Offset(0));
        broker.stop().await;
    });
}
