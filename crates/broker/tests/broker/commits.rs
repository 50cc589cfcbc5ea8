//! Commits and the size of a batch: what fits is taken, however many come and whenever the limit is
//! changed.

use base::Offset;
use broker::api::group::{Command, Commit, CommitOffset, GroupError, MemberOf, Reply};
use broker::api::{AlterTopic, ConfigChange, ConfigEdit};
use broker::{Broker, BrokerConfig};
use env_tokio::TokioEnv;

use crate::world::World;

/// A broker whose coordinators have loaded.
async fn start(world: &World, config: BrokerConfig) -> Broker<TokioEnv> {
    let broker = Broker::start(world.env(), config).await.expect("starts");
    assert!(broker.find_coordinator("g").await.is_some());
    while !matches!(broker.group(Command::List).await, Reply::List(Ok(_))) {
        tokio::task::yield_now().await;
    }
    broker
}

fn small(world: &World, batch_bytes_max: usize) -> BrokerConfig {
    let mut config = world.config();
    config.topic_defaults.batch_bytes_max = batch_bytes_max;
    config.offsets_partitions = 1;
    config
}

/// Commits an offset with this much text beside it.
fn commit(partition: i32, text_bytes: usize) -> Command {
    let who = MemberOf { group: "g".to_owned(), generation: -1, ..MemberOf::default() };
    let offset = CommitOffset {
        topic: "t".to_owned(),
        partition,
        offset: Offset(7),
        metadata: "x".repeat(text_bytes),
        ..CommitOffset::default()
    };
    let (retention, offsets) = (None, vec![offset]);
    Command::Commit(Commit { who, group_must_exist: false, retention, offsets })
}

/// What became of a commit of one offset.
fn outcome(reply: Reply) -> Result<(), GroupError> {
    match reply {
        Reply::Commit(mut outcomes) => outcomes.pop().expect("of one offset"),
        other => panic!("{other:?} for a commit"),
    }
}

async fn limit(broker: &Broker<TokioEnv>, bytes: usize) {
    let edit = ConfigEdit::Set(bytes.to_string());
    let change = ConfigChange::Edit([("max.message.bytes".to_owned(), edit)].into());
    let wish = AlterTopic { name: "__consumer_offsets".to_owned(), change };
    assert_eq!(broker.alter_topics(vec![wish], false).await, [Ok(())]);
}

#[test]
fn a_group_commits_under_a_small_limit_and_by_the_limit_as_it_is_now() {
    let world = World::new("small-commits");
    world.runtime.block_on(async {
        let broker = start(&world, small(&world, 300)).await;
        let too_large = Err(GroupError::InvalidCommitOffsetSize);

        assert_eq!(outcome(broker.group(commit(0, 10)).await), Ok(()));
        assert_eq!(outcome(broker.group(commit(0, 1000)).await), too_large);
        limit(&broker, 2000).await;
        assert_eq!(outcome(broker.group(commit(0, 1000)).await), Ok(()));
        assert_eq!(outcome(broker.group(commit(0, 3000)).await), too_large);
        limit(&broker, 300).await;
        assert_eq!(outcome(broker.group(commit(0, 1000)).await), too_large);
        broker.stop().await;
    });
}

#[test]
fn commits_that_fit_are_taken_though_all_at_once_do_not_and_the_limit_changes_meanwhile() {
    const COMMITS: i32 = 200;
    let world = World::new("many-commits");
    world.runtime.block_on(async {
        let broker = start(&world, small(&world, 1 << 20)).await;
        let ask = |at: i32| {
            let broker = broker.clone();
            tokio::spawn(async move { outcome(broker.group(commit(at, 500)).await) })
        };

        let mut asked: Vec<_> = (0..COMMITS).map(ask).collect();
        for bytes in [3000, 1 << 20, 1000, 2000] {
            limit(&broker, bytes).await;
            asked.extend((0..COMMITS).map(ask));
        }

        for one in asked {
            assert_eq!(one.await.expect("answered"), Ok(()));
        }
        broker.stop().await;
    });
}
