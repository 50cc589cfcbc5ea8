//! Groups and their offsets, through the broker and across restarts.

use base::{Duration, Offset};
use broker::Broker;
use broker::api::group::{Command, Commit, CommitOffset, GroupError, Join, MemberOf, Reply, Sync};
use bytes::Bytes;
use env::Env;
use env_tokio::TokioEnv;

use crate::shaky::Shaky;
use crate::world::{World, topic};

#[test]
fn a_coordinator_that_could_not_read_its_log_tries_again() {
    let world = World::new("reload");
    world.runtime.block_on(async {
        let broker = start(&world).await;
        assert!(broker.find_coordinator("g").await.is_some());
        assert_eq!(ask(&broker, commit("g", "t", 7)).await, Reply::Commit(vec![Ok(())]));
        broker.stop().await;
        drop(broker);
        let env = Shaky::new(world.env(), None);
        env.unreadable(true);
        let broker = Broker::start(env.clone(), world.config()).await.expect("starts");
        let late = env.now().after(Duration::from_secs(20));
        let offsets = || Command::Offsets { group: "g".to_owned(), partitions: None };
        let broken = Reply::Offsets(Err(GroupError::CoordinatorNotAvailable));
        while broker.group(offsets()).await != broken {
            assert!(env.now() < late, "the log cannot be read");
            tokio::task::yield_now().await;
        }

        env.unreadable(false);

        let found = loop {
            if let Reply::Offsets(Ok(found)) = broker.group(offsets()).await {
                break found;
            }
            assert!(env.now() < late, "the log can be read");
            tokio::task::yield_now().await;
        };
        let offset = found[0].committed.as_ref().map(|committed| committed.offset);
        assert_eq!(offset, Some(Offset(7)));
        broker.stop().await;
    });
}

#[test]
fn a_coordinator_does_not_believe_a_record_that_is_damaged() {
    let world = World::new("damaged-commit");
    world.runtime.block_on(async {
        let broker = start(&world).await;
        assert!(broker.find_coordinator("g").await.is_some());
        assert_eq!(ask(&broker, commit("g", "t", 7)).await, Reply::Commit(vec![Ok(())]));
        broker.stop().await;
        drop(broker);
        let segment = segment_with(&world, b"g");
        let mut bytes = std::fs::read(&segment).expect("readable");
        // The time of the commit, at the end of the record.
        let at = bytes.len() - 4;
        bytes[at] ^= 1;
        std::fs::write(&segment, bytes).expect("writable");

        let env = world.env();
        let broker = Broker::start(env.clone(), world.config()).await.expect("starts");

        let offsets = || Command::Offsets { group: "g".to_owned(), partitions: None };
        let answer = loop {
            match broker.group(offsets()).await {
                Reply::Offsets(Err(GroupError::CoordinatorLoadInProgress)) => {
                    tokio::task::yield_now().await;
                },
                answer => break answer,
            }
        };
        assert_eq!(answer, Reply::Offsets(Err(GroupError::CoordinatorNotAvailable)));
        broker.stop().await;
    });
}

/// The segment in which something lies.
fn segment_with(world: &World, what: &[u8]) -> std::path::PathBuf {
    let folders =
        std::fs::read_dir(&world.dir).expect("readable").map(|entry| entry.unwrap().path());
    let folders: Vec<_> = folders.filter(|path| path.is_dir()).collect();
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut logs = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "log"));
    logs.find(|path| std::fs::read(path).unwrap().windows(what.len()).any(|part| part == what))
        .expect("a segment holds it")
}

async fn start(world: &World) -> Broker<TokioEnv> {
    let mut config = world.config();
    config.group_initial_rebalance_delay = Duration::ZERO;
    Broker::start(world.env(), config).await.expect("starts")
}

/// Asks until the coordinator has loaded.
async fn ask(broker: &Broker<TokioEnv>, command: Command) -> Reply {
    for _ in 0..100_000 {
        let reply = broker.group(command.clone()).await;
        if !format!("{reply:?}").contains("CoordinatorLoadInProgress") {
            return reply;
        }
        tokio::task::yield_now().await;
    }
    panic!("the coordinator never loads");
}

fn commit(group: &str, topic: &str, offset: i64) -> Command {
    let who = MemberOf { group: group.to_owned(), generation: -1, ..MemberOf::default() };
    let offsets = vec![CommitOffset {
        topic: topic.to_owned(),
        offset: Offset(offset),
        ..Default::default()
    }];
    Command::Commit(Commit { who, group_must_exist: false, retention: None, offsets })
}

async fn committed(broker: &Broker<TokioEnv>, group: &str) -> Vec<(String, Option<i64>)> {
    let command = Command::Offsets { group: group.to_owned(), partitions: None };
    let Reply::Offsets(Ok(offsets)) = ask(broker, command).await else {
        panic!("no offsets of {group}");
    };
    offsets.into_iter().map(|o| (o.topic, o.committed.map(|c| c.offset.0))).collect()
}

#[test]
fn committed_offsets_are_there_after_a_restart() {
    let world = World::new("offsets");
    world.runtime.block_on(async {
        let broker = start(&world).await;
        assert!(broker.find_coordinator("g").await.is_some());
        for (group, offset) in [("g", 1), ("g", 7), ("h", 3)] {
            let reply = ask(&broker, commit(group, "t", offset)).await;
            assert_eq!(reply, Reply::Commit(vec![Ok(())]));
        }
        let Command::Commit(old) = commit("i", "t", 5) else { panic!("a commit") };
        let retention = Some(Duration::from_secs(60));
        let reply = ask(&broker, Command::Commit(Commit { retention, ..old })).await;
        assert_eq!(reply, Reply::Commit(vec![Ok(())]));
        broker.stop().await;
        let late = broker.group(commit("g", "t", 9)).await;
        assert_eq!(late, Reply::Commit(vec![Err(GroupError::NotCoordinator)]));
        drop(broker);

        let broker = start(&world).await;

        assert_eq!(committed(&broker, "g").await, [("t".to_owned(), Some(7))]);
        assert_eq!(committed(&broker, "h").await, [("t".to_owned(), Some(3))]);
        assert_eq!(committed(&broker, "i").await, [("t".to_owned(), Some(5))]);
        let Reply::List(Ok(groups)) = ask(&broker, Command::List).await else { panic!("a list") };
        let names: Vec<&str> = groups.iter().map(|listed| listed.group.as_str()).collect();
        assert_eq!(names, ["g", "h", "i"]);
        broker.stop().await;
    });
}

#[test]
fn a_member_stays_in_its_generation_across_a_restart() {
    let world = World::new("member");
    world.runtime.block_on(async {
        let broker = start(&world).await;
        broker.find_coordinator("g").await.expect("a coordinator");
        let join = Join {
            group: "g".to_owned(),
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout: Duration::from_secs(10),
            rebalance_timeout: Duration::from_secs(10),
            protocol_type: "consumer".to_owned(),
            protocols: vec![("range".to_owned(), Bytes::from_static(b"m"))],
            ..Join::default()
        };
        let Reply::Join(Ok(joined)) = ask(&broker, Command::Join(join)).await else {
            panic!("joined");
        };
        let who = MemberOf {
            group: "g".to_owned(),
            member: joined.member.clone(),
            instance: None,
            generation: joined.generation,
        };
        let assignments = vec![(joined.member.clone(), Bytes::from_static(b"mine"))];
        let sync = Sync { who: who.clone(), assignments, ..Sync::default() };
        let Reply::Sync(Ok(synced)) = ask(&broker, Command::Sync(sync)).await else {
            panic!("synced");
        };
        assert_eq!(synced.assignment, Bytes::from_static(b"mine"));
        broker.stop().await;
        drop(broker);

        let broker = start(&world).await;

        let describe = Command::Describe { group: "g".to_owned() };
        let Reply::Describe(Ok(described)) = ask(&broker, describe).await else {
            panic!("described");
        };
        assert_eq!(described.members.len(), 1);
        assert_eq!(described.members[0].assignment, Bytes::from_static(b"mine"));
        let beat = ask(&broker, Command::Heartbeat(who.clone())).await;
        assert_eq!(beat, Reply::Heartbeat(Ok(())));
        let old = MemberOf { generation: who.generation - 1, ..who };
        let beat = ask(&broker, Command::Heartbeat(old)).await;
        assert_eq!(beat, Reply::Heartbeat(Err(GroupError::IllegalGeneration)));
        broker.stop().await;
    });
}

#[test]
fn offsets_of_a_deleted_topic_are_forgotten() {
    let world = World::new("forgotten");
    world.runtime.block_on(async {
        let broker = start(&world).await;
        let t = topic(&broker, "t", &[]).await;
        topic(&broker, "u", &[]).await;
        broker.find_coordinator("g").await.expect("a coordinator");
        for name in ["t", "u"] {
            ask(&broker, commit("g", name, 5)).await;
        }

        let gone = broker.delete_topics(vec![broker::api::TopicRef::Id(t.topic)]).await;

        assert!(gone[0].is_ok());
        assert_eq!(committed(&broker, "g").await, [("u".to_owned(), Some(5))]);
        broker.stop().await;
    });
}

#[test]
fn a_deleted_group_and_a_deleted_offset_do_not_come_back_with_a_restart() {
    let world = World::new("group-deletion");
    world.runtime.block_on(async {
        let broker = start(&world).await;
        broker.find_coordinator("g").await.expect("a coordinator");
        for (group, topic) in [("g", "t"), ("g", "u"), ("h", "t")] {
            ask(&broker, commit(group, topic, 5)).await;
        }
        let partitions = vec![("t".to_owned(), 0)];
        let offsets = Command::DeleteOffsets { group: "g".to_owned(), partitions };
        let delete = |group: &str| Command::Delete { group: group.to_owned() };

        assert_eq!(ask(&broker, offsets).await, Reply::DeleteOffsets(Ok(vec![Ok(())])));
        let both = broker.groups(vec![delete("h"), delete("nobody")]).await;
        let refused = Reply::Delete(Err(GroupError::GroupNotFound));
        assert_eq!(both, [Reply::Delete(Ok(())), refused.clone()]);
        broker.stop().await;
        drop(broker);

        let broker = start(&world).await;
        assert_eq!(committed(&broker, "g").await, [("u".to_owned(), Some(5))]);
        assert_eq!(committed(&broker, "h").await, []);
        assert_eq!(ask(&broker, delete("h")).await, refused);
        broker.stop().await;
    });
}

#[test]
fn an_offset_expires_while_the_broker_runs_and_stays_gone() {
    let world = World::new("expiry");
    world.runtime.block_on(async {
        let mut config = world.config();
        config.offsets_retention_check_interval = Duration::from_millis(1);
        let broker = Broker::start(world.env(), config).await.expect("starts");
        broker.find_coordinator("g").await.expect("a coordinator");
        let Command::Commit(brief) = commit("g", "t", 5) else { panic!("a commit") };
        let brief = Command::Commit(Commit { retention: Some(Duration::ZERO), ..brief });
        assert_eq!(ask(&broker, brief).await, Reply::Commit(vec![Ok(())]));
        assert_eq!(ask(&broker, commit("g", "u", 6)).await, Reply::Commit(vec![Ok(())]));

        let kept = [("u".to_owned(), Some(6))];
        let late = world.env().now().after(Duration::from_secs(20));
        while committed(&broker, "g").await != kept {
            assert!(world.env().now() < late, "it expires");
            tokio::task::yield_now().await;
        }

        broker.stop().await;
        drop(broker);
        let broker = start(&world).await;
        assert_eq!(committed(&broker, "g").await, kept);
        broker.stop().await;
    });
}

#[test]
fn without_the_topic_nobody_coordinates_and_the_first_question_creates_it() {
    let world = World::new("first-question");
    world.runtime.block_on(async {
        let broker = start(&world).await;
        let reply = broker.group(commit("g", "t", 1)).await;
        assert_eq!(reply, Reply::Commit(vec![Err(GroupError::NotCoordinator)]));

        let who = broker.find_coordinator("g").await;

        assert_eq!(who, Some(broker.config().node_id));
        let view = broker.cluster();
        let offsets = view.topics.get("__consumer_offsets").expect("created");
        assert!(offsets.internal && offsets.partitions.len() == 3);
        broker.stop().await;
    });
}

#[test]
fn the_coordinators_topic_of_fifty_partitions_is_created_within_the_first_question() {
    let world = World::new("fifty");
    world.runtime.block_on(async {
        let mut config = world.config();
        config.offsets_partitions = 50;
        let broker = Broker::start(world.env(), config).await.expect("starts");
        let before = Env::now(&world.env());

        assert!(broker.find_coordinator("g").await.is_some());

        println!("fifty logs: {:?}", Env::now(&world.env()).since(before));
        assert_eq!(ask(&broker, commit("g", "t", 1)).await, Reply::Commit(vec![Ok(())]));
        broker.stop().await;
    });
}
