//! Starting, stopping, starting again.

use std::collections::BTreeSet;

use base::Offset;
use broker::api::{AddPartitions, ProduceError, TopicError, TopicRef};
use broker::{Broker, StartError};

use env::Env;

use crate::world::{World, batch, first, numbered, produce, topic, values};

#[test]
fn a_clean_restart_keeps_topics_records_and_sequences() {
    let world = World::new("restart");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, numbered(4, 0, 0, &["a", "b"])).await.expect("written");
        let cluster = broker.cluster().cluster_id;
        broker.stop().await;
        assert_eq!(produce(&broker, t, batch(&["late"])).await, Err(ProduceError::Stopping));
        let late = broker.delete_topics(vec![TopicRef::Id(t.topic)]).await;
        assert_eq!(late, [Err(TopicError::StorageFailed)]);
        drop(broker);

        let broker = world.start().await;

        assert_eq!(broker.cluster().cluster_id, cluster);
        assert_eq!(values(&broker, t, 0).await.len(), 2);
        let again = produce(&broker, t, numbered(4, 0, 0, &["a", "b"])).await;
        assert_eq!(again.map(|p| p.base_offset), Ok(Offset(0)), "still a duplicate");
        let next = produce(&broker, t, numbered(4, 0, 2, &["c"])).await;
        assert_eq!(next.map(|p| p.base_offset), Ok(Offset(2)));
        broker.stop().await;
    });
}

#[test]
fn a_deleted_topic_does_not_come_back_and_its_name_is_free() {
    let world = World::new("delete");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let old = topic(&broker, "t", &[]).await;
        produce(&broker, old, batch(&["a"])).await.expect("written");
        let deleted = broker.delete_topics(vec![TopicRef::Name("t".to_owned())]).await;
        assert_eq!(deleted, [Ok(("t".to_owned(), old.topic))]);
        let new = topic(&broker, "t", &[]).await;
        broker.stop().await;
        drop(broker);

        let broker = world.start().await;

        assert_eq!(produce(&broker, old, batch(&["a"])).await, Err(ProduceError::UnknownPartition));
        assert!(values(&broker, new, 0).await.is_empty());
        assert_eq!(broker.cluster().topics.len(), 1);
        broker.stop().await;
    });
}

#[test]
fn the_logs_of_a_large_topic_are_deleted_side_by_side() {
    const PARTITIONS: u64 = 256;
    let world = World::new("delete-many");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        let all = i32::try_from(PARTITIONS).expect("few");
        let wish = AddPartitions { name: "t".to_owned(), count: all, assignment: None };
        broker.add_partitions(vec![wish], false).await.remove(0).expect("added");
        let before = world.env().disk().sync_times().count();

        let deleted = broker.delete_topics(vec![TopicRef::Id(t.topic)]).await;

        assert!(deleted[0].is_ok());
        // One after the other they are three each: twice the journal, and the folder.
        let syncs = world.env().disk().sync_times().count() - before;
        assert!(syncs < 2 * PARTITIONS, "{syncs} syncs for {PARTITIONS} partitions");
        broker.stop().await;
    });
}

#[test]
fn auto_creation_is_idempotent_and_refuses_bad_names() {
    let world = World::new("auto");
    world.runtime.block_on(async {
        let broker = world.start().await;
        assert_eq!(broker.auto_create("t").await, Ok(()));
        assert_eq!(broker.auto_create("t").await, Ok(()));
        assert!(matches!(broker.auto_create("a/b").await, Err(TopicError::InvalidName(_))));
        broker.stop().await;
    });
}

#[test]
fn producer_ids_are_never_handed_out_twice() {
    let world = World::new("ids");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let mut seen = BTreeSet::new();
        for _ in 0..1001 {
            assert!(seen.insert(broker.init_producer_id().await.expect("an id").0));
        }
        broker.stop().await;
        drop(broker);

        let broker = world.start().await;

        assert!(seen.insert(broker.init_producer_id().await.expect("an id").0));
        broker.stop().await;
    });
}

#[test]
fn a_hundred_topics_are_there_again_after_a_clean_start() {
    let world = World::new("hundred");
    world.runtime.block_on(async {
        let broker = world.start().await;
        for at in 0..100 {
            let t = topic(&broker, &format!("t{at}"), &[]).await;
            produce(&broker, t, batch(&["a"])).await.expect("written");
        }
        broker.stop().await;
        drop(broker);

        let before = world.env().now();
        let broker = world.start().await;
        println!("start with 100 topics: {:?}", world.env().now().since(before));

        let topics = broker.cluster().topics.clone();
        assert_eq!(topics.len(), 100);
        for topic in topics.values() {
            assert_eq!(values(&broker, first(topic.id), 0).await.len(), 1);
        }
        broker.stop().await;
    });
}

#[test]
fn logs_without_their_metadata_are_left_alone() {
    let world = World::new("lost");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, batch(&["a"])).await.expect("written");
        broker.stop().await;
        drop(broker);
        let metadata = world.dir.join("metadata");
        let copy = world.dir.with_extension("copy");
        std::fs::rename(&metadata, &copy).expect("moved");

        // However often it is tried again, as a supervisor does.
        for _ in 0..3 {
            let refused = Broker::start(world.env(), world.config()).await;
            assert!(matches!(refused, Err(StartError::Logs(_))), "{refused:?}");
        }

        assert!(!metadata.exists(), "a start that is refused makes nothing");
        std::fs::rename(&copy, &metadata).expect("moved back");
        let broker = world.start().await;
        assert_eq!(values(&broker, t, 0).await, [(0, "a".to_owned())]);
        broker.stop().await;
    });
}

#[test]
fn a_log_taken_away_after_a_clean_stop_is_missed_by_every_start() {
    let world = World::new("missing-log");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, batch(&["a"])).await.expect("written");
        broker.stop().await;
        drop(broker);
        let log = world.dir.join(format!("{t}-0"));
        let copy = world.dir.with_extension("copy");
        std::fs::rename(&log, &copy).expect("moved");

        // An empty one in its place would make the loss final.
        for _ in 0..3 {
            let refused = Broker::start(world.env(), world.config()).await;
            assert!(matches!(refused, Err(StartError::Logs(_))), "{refused:?}");
        }

        std::fs::rename(&copy, &log).expect("moved back");
        let broker = world.start().await;
        assert_eq!(values(&broker, t, 0).await, [(0, "a".to_owned())]);
        broker.stop().await;
    });
}

#[test]
fn a_log_that_a_damaged_journal_does_not_name_any_more_is_made_anew_after_a_clean_stop() {
    let world = World::new("forgotten-log");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, batch(&["a"])).await.expect("written");
        broker.stop().await;
        drop(broker);
        let journal = world.dir.join("journal/0");
        let mut bytes = std::fs::read(&journal).expect("read");
        // The first group; later ones show that it was whole once.
        bytes[4096 + 40] ^= 0x40;
        std::fs::write(&journal, bytes).expect("written");

        for records in 0..2 {
            let broker = world.start().await;
            assert_eq!(values(&broker, t, 0).await.len(), records);
            produce(&broker, t, batch(&["b"])).await.expect("written");
            broker.stop().await;
        }
        let files = std::fs::read_dir(world.dir.join(format!("{t}-0"))).expect("listed");
        let salvaged =
            files.filter_map(Result::ok).map(|file| file.file_name()).collect::<Vec<_>>();
        assert!(salvaged.len() > 2, "nothing of the old log is removed: {salvaged:?}");
    });
}

/// Flips a bit of the last byte of the metadata log; returns the file as it is then.
fn rot_last_entry(world: &World) -> (std::path::PathBuf, Vec<u8>) {
    let path = world.dir.join("metadata/log");
    let mut bytes = std::fs::read(&path).expect("read");
    *bytes.last_mut().expect("not empty") ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    (path, bytes)
}

#[test]
fn a_last_entry_of_the_metadata_that_rotted_after_a_clean_stop_is_refused_by_every_start() {
    let world = World::new("rotten-entry");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, batch(&["a"])).await.expect("written");
        broker.stop().await;
        drop(broker);
        let (path, mut rotten) = rot_last_entry(&world);

        for _ in 0..3 {
            let refused = Broker::start(world.env(), world.config()).await;
            assert!(matches!(refused, Err(StartError::Metadata(_))), "{refused:?}");
            assert_eq!(std::fs::read(&path).expect("read"), rotten);
        }

        *rotten.last_mut().expect("not empty") ^= 1;
        std::fs::write(&path, &rotten).expect("written");
        let broker = world.start().await;
        assert_eq!(values(&broker, t, 0).await, [(0, "a".to_owned())]);
        broker.stop().await;
    });
}

#[test]
fn a_log_whose_topic_rotted_away_is_kept_until_the_loss_is_accepted() {
    let world = World::new("lost-topic");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, batch(&["a"])).await.expect("written");
        broker.stop().await;
        drop(broker);
        // As a kill leaves it: a last entry may be torn.
        std::fs::remove_file(world.dir.join("seal")).expect("removed");
        let (path, rotten) = rot_last_entry(&world);

        for _ in 0..3 {
            let refused = Broker::start(world.env(), world.config()).await;
            let refused = refused.expect_err("refused").to_string();
            assert!(refused.contains(&format!("--accept-lost-topic {}", t.topic)), "{refused}");
            assert_eq!(std::fs::read(&path).expect("read"), rotten);
        }

        let mut config = world.config();
        config.accept_lost_topics = BTreeSet::from([t.topic]);
        let broker = Broker::start(world.env(), config).await.expect("starts");
        assert!(broker.cluster().topics.is_empty());
        broker.stop().await;
        drop(broker);
        let broker = world.start().await;
        assert!(!world.dir.join(format!("{t}-0")).exists());
        broker.stop().await;
    });
}

#[test]
fn a_lost_metadata_log_is_missed_although_no_log_is_there() {
    let world = World::new("metadata-gone");
    world.runtime.block_on(async {
        Broker::start(world.env(), world.config()).await.expect("starts").stop().await;
        std::fs::remove_file(world.dir.join("metadata/log")).expect("was there");

        for _ in 0..2 {
            let refused = Broker::start(world.env(), world.config()).await.map(drop);
            let told = refused.expect_err("a new cluster is not begun").to_string();
            assert!(told.contains("its metadata log is gone"), "{told}");
        }
    });
}
