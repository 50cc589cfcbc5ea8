//! Settings that change while the broker runs, and what they do to what producers send.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{Duration, Offset};
use broker::api::{
    AlterSettings, AlterTopic, ConfigChange, ConfigEdit, ProduceError, Resource, TopicError,
};
use broker::{Broker, BrokerConfig, TopicConfig};
use bytes::Bytes;
use records::{BatchBuilder, BatchError, Compression, NewRecord};

use crate::world::{World, batch, fetch, produce, read, stored, topic, values};

fn set(key: &str, value: &str) -> ConfigChange {
    ConfigChange::Edit(vec![(key.to_owned(), ConfigEdit::Set(value.to_owned()))])
}

fn packed(codec: Compression, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new().compression(codec);
    for value in values {
        let record = NewRecord { value: Some(value.as_bytes()), ..NewRecord::default() };
        builder.push(&record).expect("small");
    }
    builder.finish_bytes().expect("not empty")
}

#[test]
fn a_topic_gives_every_batch_its_codec_and_keeps_the_records() {
    let world = World::new("converted");
    world.runtime.block_on(async {
        let broker = world.start().await;
        for (name, wanted) in [
            ("uncompressed", Compression::None),
            ("gzip", Compression::Gzip),
            ("snappy", Compression::Snappy),
            ("lz4", Compression::Lz4),
            ("zstd", Compression::Zstd),
        ] {
            let t = topic(&broker, name, &[("compression.type", name)]).await;
            for codec in Compression::ALL {
                produce(&broker, t, packed(codec, &["a", "b"])).await.expect("written");
            }
            let found = stored(&broker, t).await;
            assert_eq!(found.len(), Compression::ALL.len());
            for batch in &found {
                assert_eq!(batch.verify_crc(), Ok(()), "{name}");
                assert_eq!(batch.header().attributes.compression(), Some(wanted));
            }
            let read: String = values(&broker, t, 0).await.into_iter().map(|(_, v)| v).collect();
            assert_eq!(read, "ab".repeat(Compression::ALL.len()));
        }
        broker.stop().await;
    });
}

#[test]
fn a_batch_that_keeps_its_codec_is_stored_as_it_came() {
    let world = World::new("not-converted");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[("compression.type", "zstd")]).await;
        let sent = packed(Compression::Zstd, &["a", "b"]);

        produce(&broker, t, sent.clone()).await.expect("written");

        let found = stored(&broker, t).await;
        // Base offset and leader epoch are the broker's; everything else is the producer's.
        assert_eq!(found[0].bytes()[16..], sent[16..]);
        broker.stop().await;
    });
}

#[test]
fn a_batch_is_too_large_if_it_is_once_it_has_the_topics_codec() {
    let world = World::new("unpacked");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let rules = [("compression.type", "uncompressed"), ("max.message.bytes", "500")];
        let t = topic(&broker, "t", &rules).await;
        let sent = packed(Compression::Gzip, &[&"x".repeat(5_000)]);
        assert!(sent.len() < 500);

        let refused = produce(&broker, t, sent).await;

        assert!(matches!(refused, Err(ProduceError::Batch(BatchError::TooLarge { .. }))));
        let end = read(&broker, fetch(t, 0)).await.expect("readable").high_watermark;
        assert_eq!(end, Offset(0));
        broker.stop().await;
    });
}

#[test]
fn what_is_set_for_brokers_is_in_force_at_once_and_after_a_restart() {
    let world = World::new("broker-settings");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        let own = topic(&broker, "own", &[("max.message.bytes", "100000")]).await;
        let large = batch(&[&"x".repeat(5_000)]);
        produce(&broker, t, large.clone()).await.expect("nothing was set");

        let change = set("message.max.bytes", "1000");
        let wish = AlterSettings { resource: Resource::Brokers, change };
        assert_eq!(broker.alter_settings(vec![wish.clone()], true).await, [Ok(())]);
        produce(&broker, t, large.clone()).await.expect("it was only looked at");
        assert_eq!(broker.alter_settings(vec![wish], false).await, [Ok(())]);

        let is_too_large = |outcome: Result<_, ProduceError>| {
            matches!(outcome, Err(ProduceError::Batch(BatchError::TooLarge { .. })))
        };
        assert!(is_too_large(produce(&broker, t, large.clone()).await.map(drop)));
        produce(&broker, own, large.clone()).await.expect("a topic's own setting wins");
        broker.stop().await;
        drop(broker);

        let broker = world.start().await;
        assert!(is_too_large(produce(&broker, t, large.clone()).await.map(drop)));
        let later = topic(&broker, "later", &[]).await;
        assert!(is_too_large(produce(&broker, later, large.clone()).await.map(drop)));
        let settings = &broker.cluster().settings;
        assert_eq!(&*settings[&Resource::Brokers]["message.max.bytes"], "1000");
        broker.stop().await;
    });
}

#[test]
fn a_codec_that_is_set_for_one_broker_wins_over_that_of_all_and_a_topics_own_over_both() {
    let world = World::new("codecs");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let me = broker.config().node_id;
        let t = topic(&broker, "t", &[]).await;
        let mut found = Vec::new();
        for (resource, codec) in [(Resource::Brokers, "gzip"), (Resource::Broker(me), "lz4")] {
            let change = set("compression.type", codec);
            let wish = AlterSettings { resource, change };
            assert_eq!(broker.alter_settings(vec![wish], false).await, [Ok(())]);
            produce(&broker, t, batch(&["a"])).await.expect("written");
        }
        let wish = AlterTopic { name: "t".to_owned(), change: set("compression.type", "zstd") };
        assert_eq!(broker.alter_topics(vec![wish], false).await, [Ok(())]);
        produce(&broker, t, batch(&["a"])).await.expect("written");

        for batch in stored(&broker, t).await {
            found.push(batch.header().attributes.compression().expect("known"));
        }
        assert_eq!(found, [Compression::Gzip, Compression::Lz4, Compression::Zstd]);
        broker.stop().await;
    });
}

/// A file that says this, which comes down to this largest batch.
fn told(world: &World, batch_bytes_max: usize, file: &[(&str, &str)]) -> BrokerConfig {
    let pairs = file.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    BrokerConfig {
        topic_defaults: TopicConfig { batch_bytes_max, ..TopicConfig::default() },
        file: Arc::new(pairs.collect::<BTreeMap<_, _>>()),
        ..world.config()
    }
}

#[test]
fn what_the_file_says_anew_is_in_force_at_once_below_what_was_set_while_the_broker_ran() {
    let world = World::new("retold");
    world.runtime.block_on(async {
        let before = told(&world, 100_000, &[("message.max.bytes", "100000")]);
        let broker = Broker::start(world.env(), before).await.expect("starts");
        let t = topic(&broker, "t", &[]).await;
        let large = batch(&[&"x".repeat(5_000)]);
        let fits = async || produce(&broker, t, large.clone()).await.is_ok();
        assert!(fits().await);

        let mut now = told(&world, 1_000, &[("message.max.bytes", "1000")]);
        now.retention_check_interval = Duration::from_secs(7);
        now.num_partitions = 9;
        broker.retell(now).await.expect("taken");

        assert!(!fits().await, "the file's new value is in force");
        assert_eq!(broker.file()["message.max.bytes"], "1000");
        assert_eq!(broker.config().num_partitions, 1, "what needs a restart is as it was");

        let all = Resource::Brokers;
        let change = set("message.max.bytes", "200000");
        let wish = AlterSettings { resource: all.clone(), change };
        assert_eq!(broker.alter_settings(vec![wish], false).await, [Ok(())]);
        broker.retell(told(&world, 2_000, &[("message.max.bytes", "2000")])).await.expect("taken");
        assert!(fits().await, "what was set wins over the file");

        let change = ConfigChange::Edit(vec![("message.max.bytes".into(), ConfigEdit::Delete)]);
        let wish = AlterSettings { resource: all, change };
        assert_eq!(broker.alter_settings(vec![wish], false).await, [Ok(())]);
        assert!(!fits().await, "the file's last value was kept below it");
        broker.stop().await;
        let refused = broker.retell(told(&world, 9, &[])).await;
        assert_eq!(refused, Err(TopicError::StorageFailed));
    });
}

#[test]
fn a_file_that_clashes_with_what_was_set_while_the_broker_ran_changes_nothing() {
    const OVERRIDES: &str = "max.connections.per.ip.overrides";
    let world = World::new("clash");
    world.runtime.block_on(async {
        let before = told(&world, 100_000, &[(OVERRIDES, "127.0.0.1:9")]);
        let broker = Broker::start(world.env(), before.clone()).await.expect("starts");
        let change = set("max.connections.per.ip", "0");
        let wish = AlterSettings { resource: Resource::Brokers, change };
        assert_eq!(broker.alter_settings(vec![wish], false).await, [Ok(())]);

        let refused = broker.retell(told(&world, 1_000, &[])).await;

        let Err(TopicError::InvalidRequest(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("can be set to zero only if"), "{why}");
        assert_eq!(*broker.file(), *before.file);
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, batch(&[&"x".repeat(5_000)])).await.expect("as large as before");
        broker.stop().await;
    });
}
