//! Several log directories: who lives where, one that fails, one that is replaced.

use std::collections::BTreeSet;
use std::path::PathBuf;

use base::{PartitionId, PartitionIndex, Uuid};
use broker::api::{
    AlterTopic, ConfigChange, ConfigEdit, CreateTopic, DirectoryState, FetchError, Isolation,
    ListOffset, ListOffsetError, OffsetSpec, ProduceError, TopicError,
};
use broker::{Broker, BrokerConfig, StartError};
use env::Env;

use crate::shaky::Shaky;
use crate::world::{World, batch, fetch, produce, read, values};

fn config(world: &World, names: &[&str]) -> BrokerConfig {
    let log_dirs = names.iter().map(|name| world.dir.join(name)).collect();
    BrokerConfig { log_dirs, ..world.config() }
}

async fn start(env: &Shaky, config: &BrokerConfig) -> Broker<Shaky> {
    Broker::start(env.clone(), config.clone()).await.expect("starts")
}

/// Stops it and lets go of its directories.
async fn stop(broker: Broker<Shaky>) {
    broker.stop().await;
}

async fn topic<E: Env>(broker: &Broker<E>, name: &str, partitions: i32) -> Vec<PartitionId> {
    let wish = CreateTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        ..CreateTopic::default()
    };
    let topic = broker.create_topics(vec![wish], false).await.remove(0).expect("created").id;
    (0..partitions).map(|index| PartitionId { topic, index: PartitionIndex(index) }).collect()
}

fn counts<E: Env>(broker: &Broker<E>) -> Vec<usize> {
    broker.directories().iter().map(|dir| dir.partitions).collect()
}

/// The partitions that cannot be written to, by index.
async fn refusing<E: Env>(broker: &Broker<E>, partitions: &[PartitionId]) -> Vec<i32> {
    let mut refusing = Vec::new();
    for id in partitions {
        match produce(broker, *id, batch(&["x"])).await {
            Ok(_) => {},
            Err(ProduceError::StorageFailed) => refusing.push(id.index.0),
            Err(other) => unreachable!("{other}"),
        }
    }
    refusing
}

/// The partitions that clients are told to have no leader, by index.
fn leaderless<E: Env>(broker: &Broker<E>, name: &str) -> Vec<i32> {
    let view = broker.cluster();
    let numbered = (0..).zip(&view.topics[name].partitions);
    let none = numbered.filter(|(_, partition)| partition.leader.is_none());
    none.inspect(|(_, partition)| assert_eq!(partition.offline[..], partition.replicas[..]))
        .map(|(index, _)| index)
        .collect()
}

#[test]
fn a_new_partition_goes_where_the_fewest_are_and_stays_there() {
    let world = World::new("placement");
    world.runtime.block_on(async {
        let env = Shaky::new(world.env(), None);
        let two = config(&world, &["a", "b"]);
        let broker = start(&env, &two).await;
        let partitions = topic(&broker, "t", 5).await;
        assert_eq!(counts(&broker), [3, 2]);
        assert_eq!(refusing(&broker, &partitions).await, []);
        stop(broker).await;

        let three = config(&world, &["a", "b", "c"]);
        let broker = start(&env, &three).await;
        assert_eq!(counts(&broker), [3, 2, 0]);
        topic(&broker, "u", 3).await;
        assert_eq!(counts(&broker), [3, 3, 2]);
        for id in &partitions {
            assert!(read(&broker, fetch(*id, 0)).await.expect("readable").bytes > 0);
        }
        stop(broker).await;
    });
}

#[test]
fn one_directory_may_fail_while_the_others_serve() {
    let world = World::new("one-fails");
    world.runtime.block_on(async {
        let env = Shaky::new(world.env(), None);
        let config = config(&world, &["a", "b"]);
        let broker = start(&env, &config).await;
        let t = topic(&broker, "t", 4).await;
        assert_eq!(refusing(&broker, &t).await, []);

        env.break_disk(Some(&config.log_dirs[1]));
        assert_eq!(produce(&broker, t[1], batch(&["y"])).await, Err(ProduceError::StorageFailed));
        while leaderless(&broker, "t").is_empty() {
            env.yield_now().await;
        }
        assert_eq!(leaderless(&broker, "t"), [1, 3]);
        assert_eq!(refusing(&broker, &t).await, [1, 3]);
        let failed = read(&broker, fetch(t[3], 0)).await.err();
        assert_eq!(failed, Some(FetchError::StorageFailed));
        let (spec, isolation) = (OffsetSpec::Latest, Isolation::ReadUncommitted);
        let wish = ListOffset { partition: t[3], spec, isolation, current_leader_epoch: None };
        assert_eq!(broker.list_offset(&wish).await, Err(ListOffsetError::StorageFailed));
        let states: Vec<_> = broker.directories().into_iter().map(|dir| dir.state).collect();
        assert_eq!(states[0], DirectoryState::Online);
        assert!(matches!(states[1], DirectoryState::Failed { .. }), "{states:?}");
        // New partitions go elsewhere, and a topic that lives there as well can be deleted.
        assert_eq!(refusing(&broker, &topic(&broker, "u", 2).await).await, []);
        let gone = broker.delete_topics(vec![broker::api::TopicRef::Name("t".into())]).await;
        assert!(gone[0].is_ok());
        assert_eq!(env.halted(), None);
        stop(broker).await;

        env.break_disk(None);
        let broker = start(&env, &config).await;
        assert_eq!(counts(&broker), [2, 0]);
        stop(broker).await;
    });
}

#[test]
fn a_stop_names_the_directories_whose_last_records_it_could_not_make_durable() {
    let world = World::new("stop-fails");
    world.runtime.block_on(async {
        let env = Shaky::new(world.env(), None);
        let config = config(&world, &["a", "b"]);
        for broken in &config.log_dirs {
            let broker = start(&env, &config).await;
            let t = topic(&broker, &format!("t{}", counts(&broker)[0]), 2).await;
            assert_eq!(refusing(&broker, &t).await, [], "acknowledged, and owed to the disk");

            env.break_disk(Some(broken));
            let stopped = broker.stop().await;

            assert!(!stopped.sealed);
            assert_eq!(stopped.failed, std::slice::from_ref(broken));
            env.break_disk(None);
        }
        let broker = start(&env, &config).await;
        let stopped = broker.stop().await;
        assert!(stopped.sealed && stopped.failed.is_empty(), "{stopped:?}");
    });
}

#[test]
fn the_broker_ends_with_the_directory_of_the_metadata() {
    let world = World::new("home-fails");
    world.runtime.block_on(async {
        let env = Shaky::new(world.env(), None);
        let config = config(&world, &["a", "b"]);
        let broker = start(&env, &config).await;
        let t = topic(&broker, "t", 2).await;

        env.break_disk(Some(&config.log_dirs[0]));
        assert_eq!(refusing(&broker, &t[..1]).await, [0]);
        while env.halted().is_none() {
            env.yield_now().await;
        }
        assert!(env.halted().is_some_and(|why| why.contains("restart the broker")));
        stop(broker).await;
    });
}

#[test]
fn a_directory_that_cannot_be_opened_is_offline_and_comes_back_with_the_next_start() {
    let world = World::new("offline");
    world.runtime.block_on(async {
        let env = Shaky::new(world.env(), None);
        let config = config(&world, &["a", "b"]);
        let broker = start(&env, &config).await;
        let t = topic(&broker, "t", 2).await;
        assert_eq!(refusing(&broker, &t).await, []);
        stop(broker).await;

        env.break_disk(Some(&config.log_dirs[1]));
        let broker = start(&env, &config).await;
        assert_eq!(leaderless(&broker, "t"), [1]);
        assert_eq!(refusing(&broker, &t).await, [1]);
        assert_eq!(refusing(&broker, &topic(&broker, "u", 1).await).await, []);
        stop(broker).await;

        env.break_disk(None);
        let broker = start(&env, &config).await;
        assert_eq!(refusing(&broker, &t).await, []);
        assert_eq!(read(&broker, fetch(t[1], 0)).await.expect("readable").high_watermark.0, 2);
        stop(broker).await;
    });
}

#[test]
fn while_a_directory_is_away_a_stop_vouches_for_the_last_entry_of_the_metadata() {
    let world = World::new("away-rotten-entry");
    world.runtime.block_on(async {
        let env = Shaky::new(world.env(), None);
        let config = config(&world, &["a", "b"]);
        let broker = start(&env, &config).await;
        topic(&broker, "t", 2).await;
        stop(broker).await;
        env.break_disk(Some(&config.log_dirs[1]));
        let broker = start(&env, &config).await;
        let late = topic(&broker, "late", 1).await;
        stop(broker).await;
        let path = config.log_dirs[0].join("metadata/log");
        let sound = std::fs::read(&path).expect("read");
        let mut rotten = sound.clone();
        *rotten.last_mut().expect("not empty") ^= 1;
        std::fs::write(&path, &rotten).expect("written");

        // As often as it is tried, with the directory and without it.
        for away in [Some(&config.log_dirs[1]), None, None, Some(&config.log_dirs[1])] {
            env.break_disk(away.map(PathBuf::as_path));
            let refused = Broker::start(env.clone(), config.clone()).await.expect_err("refused");
            assert!(refused.to_string().contains("restore the file from a copy"), "{refused}");
            assert_eq!(std::fs::read(&path).expect("read"), rotten);
        }

        std::fs::write(&path, &sound).expect("written");
        env.break_disk(None);
        let broker = start(&env, &config).await;
        assert_eq!(refusing(&broker, &late).await, []);
        stop(broker).await;
    });
}

#[test]
fn a_log_that_its_directory_has_forgotten_is_made_anew_beside_its_files() {
    let world = World::new("forgotten");
    world.runtime.block_on(async {
        let env = Shaky::new(world.env(), None);
        let config = config(&world, &["a", "b"]);
        let broker = start(&env, &config).await;
        assert_eq!(refusing(&broker, &topic(&broker, "t", 4).await).await, []);
        stop(broker).await;
        let b = &config.log_dirs[1];
        let journal = std::fs::read_dir(b.join("journal")).expect("a folder");
        let mut files: Vec<PathBuf> = journal.map(|file| file.unwrap().path()).collect();
        files.push(b.join("manifest"));
        let before = files.iter().map(|path| (path, std::fs::read(path).expect("readable")));
        let before: Vec<_> = before.collect();

        let broker = start(&env, &config).await;
        topic(&broker, "in-a", 1).await;
        let forgotten = topic(&broker, "in-b", 1).await;
        assert_eq!(refusing(&broker, &forgotten).await, []);
        broker.delete_topics(vec![broker::api::TopicRef::Name("in-a".into())]).await;
        assert_eq!(counts(&broker), [2, 3]);
        stop(broker).await;
        for (path, bytes) in &before {
            std::fs::write(path, bytes).expect("writable");
        }
        std::fs::remove_file(b.join("seal")).expect("removed");

        // The first of several with the fewest would be the other one.
        let broker = start(&env, &config).await;
        assert_eq!(counts(&broker), [2, 3]);
        assert_eq!(refusing(&broker, &forgotten).await, []);
        stop(broker).await;
    });
}

#[test]
fn a_directory_that_comes_up_empty_is_refused_until_its_loss_is_accepted() {
    let world = World::new("replaced");
    world.runtime.block_on(async {
        let env = Shaky::new(world.env(), None);
        let mut config = config(&world, &["a", "b"]);
        let broker = start(&env, &config).await;
        let t = topic(&broker, "t", 2).await;
        assert_eq!(refusing(&broker, &t).await, []);
        let lost: Uuid = broker.directories()[1].dir_id.expect("open");
        stop(broker).await;
        std::fs::remove_dir_all(&config.log_dirs[1]).expect("removed");

        // As often as it is tried, and if the directory is no longer named as well.
        let alone = BrokerConfig { log_dirs: config.log_dirs[..1].to_vec(), ..config.clone() };
        for config in [&config, &config, &alone] {
            let refused = Broker::start(env.clone(), config.clone()).await.expect_err("refused");
            let StartError::DirectoryLost { dir_id, .. } = refused else {
                unreachable!("{refused}")
            };
            assert_eq!(dir_id, lost);
            assert!(refused.to_string().contains("--accept-lost-dir"), "{refused}");
        }
        config.accept_lost_dirs = BTreeSet::from([lost]);
        let broker = start(&env, &config).await;
        assert_eq!(read(&broker, fetch(t[0], 0)).await.expect("kept").high_watermark.0, 1);
        assert_eq!(read(&broker, fetch(t[1], 0)).await.expect("empty").high_watermark.0, 0);
        stop(broker).await;
        config.accept_lost_dirs = BTreeSet::new();
        stop(start(&env, &config).await).await;
    });
}

#[test]
fn without_its_metadata_directory_a_broker_does_not_begin_a_new_cluster() {
    let world = World::new("no-home");
    world.runtime.block_on(async {
        let env = Shaky::new(world.env(), None);
        let config = config(&world, &["a", "b"]);
        stop(start(&env, &config).await).await;
        std::fs::remove_dir_all(&config.log_dirs[0]).expect("removed");
        let before: Vec<PathBuf> = vec![config.log_dirs[1].clone()];

        for _ in 0..2 {
            let refused = Broker::start(env.clone(), config.clone()).await.expect_err("refused");
            assert!(matches!(refused, StartError::MetadataDirEmpty { .. }), "{refused}");
        }
        assert!(!config.log_dirs[0].exists() && before[0].exists());
    });
}

#[test]
fn the_metadata_may_live_apart_and_the_broker_ends_with_its_last_directory_for_logs() {
    let world = World::new("metadata-elsewhere");
    world.runtime.block_on(async {
        let env = Shaky::new(world.env(), None);
        let mut config = config(&world, &["a"]);
        config.metadata_log_dir = Some(world.dir.join("m"));
        let broker = start(&env, &config).await;
        let t = topic(&broker, "t", 2).await;
        assert_eq!(counts(&broker), [2, 0]);
        assert!(broker.directories()[1].is_metadata);

        env.break_disk(Some(&config.log_dirs[0]));
        assert_eq!(refusing(&broker, &t).await, [0, 1]);
        while env.halted().is_none() {
            env.yield_now().await;
        }
        stop(broker).await;
    });
}

/// Asks for `fsync`, and returns the answer.
async fn ask_for_fsync(broker: &Broker<Shaky>) -> Result<(), TopicError> {
    let set = ConfigEdit::Set("fsync".to_owned());
    let change = ConfigChange::Edit(vec![("gregor.durability".to_owned(), set)]);
    let wish = AlterTopic { name: "t".to_owned(), change };
    broker.alter_topics(vec![wish], false).await.remove(0)
}

#[test]
fn a_change_to_fsync_that_a_failed_directory_could_not_follow_is_answered_with_an_error() {
    let world = World::new("fsync-cannot-follow");
    world.runtime.block_on(async {
        let env = Shaky::new(world.env(), None);
        let config = config(&world, &["a", "b"]);
        let broker = start(&env, &config).await;
        let t = topic(&broker, "t", 4).await;
        assert_eq!(refusing(&broker, &t).await, []);

        env.break_disk(Some(&config.log_dirs[1]));
        assert_eq!(ask_for_fsync(&broker).await, Err(TopicError::NotDurable(vec![1, 3])));

        assert_eq!(broker.cluster().topics["t"].configs.len(), 1, "it is in force");
        assert_eq!(refusing(&broker, &t).await, [1, 3]);
        assert_eq!(ask_for_fsync(&broker).await, Err(TopicError::NotDurable(vec![1, 3])));
        stop(broker).await;
        env.break_disk(None);

        let broker = start(&env, &config).await;
        assert_eq!(ask_for_fsync(&broker).await, Ok(()));
        stop(broker).await;
    });
}

#[test]
fn a_lost_identity_of_the_directory_with_the_metadata_is_told_as_that() {
    let world = World::new("identity-lost");
    world.runtime.block_on(async {
        let env = Shaky::new(world.env(), None);
        let config = config(&world, &["a", "b"]);
        stop(start(&env, &config).await).await;
        std::fs::remove_file(config.log_dirs[0].join("identity")).expect("was there");

        let refused = Broker::start(env, config.clone()).await.expect_err("refused").to_string();

        assert!(refused.contains("identity"), "{refused}");
        assert!(!refused.contains("has no data"), "{refused}");
    });
}

#[test]
fn a_topic_deleted_while_its_directory_is_away_goes_with_a_later_start() {
    let world = World::new("deleted-away");
    world.runtime.block_on(async {
        let env = Shaky::new(world.env(), None);
        let config = config(&world, &["a", "b"]);
        let broker = start(&env, &config).await;
        let t = topic(&broker, "t", 2).await;
        assert_eq!(refusing(&broker, &t).await, []);
        stop(broker).await;

        env.break_disk(Some(&config.log_dirs[1]));
        let broker = start(&env, &config).await;
        let wish = broker::api::TopicRef::Name("t".to_owned());
        broker.delete_topics(vec![wish]).await.remove(0).expect("deleted");
        stop(broker).await;
        // The metadata is written anew, and the log is still not seen.
        stop(start(&env, &config).await).await;

        env.break_disk(None);
        let left = config.log_dirs[1].join(format!("{}-0", t[1]));
        assert!(left.exists());
        stop(start(&env, &config).await).await;
        assert!(!left.exists(), "its deletion was on record");
    });
}

/// Creates topics until one has a log that found no room.
async fn first_without_a_log(broker: &Broker<Shaky>) -> PartitionId {
    for number in 0..5_000 {
        let id = topic(broker, &format!("t{number}"), 1).await.remove(0);
        if is_without_a_log(broker, id).await {
            return id;
        }
    }
    unreachable!("the journal found room for each")
}

async fn is_without_a_log(broker: &Broker<Shaky>, id: PartitionId) -> bool {
    match read(broker, fetch(id, 0)).await {
        Ok(_) => false,
        Err(error) => {
            assert!(matches!(error, FetchError::NotLeader { .. }), "{error}");
            true
        },
    }
}

#[test]
fn a_log_that_finds_no_room_for_its_creation_is_made_as_soon_as_there_is_some() {
    let world = World::new("made-later");
    world.runtime.block_on(async {
        let env = Shaky::new(world.env(), None);
        let mut config = config(&world, &["a"]);
        config.metadata_log_dir = Some(world.dir.join("m"));
        config.journal_file_bytes = 64 * 1024;
        let broker = start(&env, &config).await;

        env.crowd(Some(&config.log_dirs[0]));
        let id = first_without_a_log(&broker).await;
        env.crowd(None);
        while is_without_a_log(&broker, id).await {
            env.yield_now().await;
        }
        produce(&broker, id, batch(&["x"])).await.expect("taken");
        assert_eq!(env.halted(), None);
        stop(broker).await;
        let broker = start(&env, &config).await;
        assert_eq!(values(&broker, id, 0).await, [(0, "x".to_owned())]);
        stop(broker).await;
    });
}
