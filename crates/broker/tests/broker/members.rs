//! What members say of themselves is bounded, and who only looks leaves no trace.

use base::Duration;
use base::trace::Kind;
use broker::Broker;
use broker::api::group::{
    Command, Commit, CommitOffset, GroupError, Join, Leaving, MemberOf, Reply,
};
use bytes::Bytes;
use env_tokio::TokioEnv;

use crate::world::World;

/// A broker whose coordinators have loaded.
async fn start(world: &World, member_bytes_max: Option<usize>) -> Broker<TokioEnv> {
    let mut config = world.config();
    config.group_initial_rebalance_delay = Duration::ZERO;
    config.flight_recorder_bytes = 64 * 1024;
    config.group_member_bytes_max = member_bytes_max.unwrap_or(config.group_member_bytes_max);
    let broker = Broker::start(world.env(), config).await.expect("starts");
    assert!(broker.find_coordinator("g").await.is_some());
    while !matches!(broker.group(Command::List).await, Reply::List(Ok(_))) {
        tokio::task::yield_now().await;
    }
    broker
}

fn join(group: &str, bytes: usize) -> Command {
    Command::Join(Join {
        group: group.to_owned(),
        client_id: "c".to_owned(),
        session_timeout: Duration::from_secs(1800),
        rebalance_timeout: Duration::from_secs(10),
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from(vec![b'x'; bytes]))],
        ..Join::default()
    })
}

/// The id of the new member.
async fn joined(
    broker: &Broker<TokioEnv>,
    group: &str,
    bytes: usize,
) -> Result<String, GroupError> {
    match broker.group(join(group, bytes)).await {
        Reply::Join(outcome) => outcome.map(|joined| joined.member).map_err(|(why, _)| why),
        other => panic!("{other:?} for a join"),
    }
}

#[test]
fn members_of_all_groups_together_say_only_so_much_until_some_leave() {
    let world = World::new("member-bytes");
    world.runtime.block_on(async {
        let broker = start(&world, Some(100_000)).await;
        let member = joined(&broker, "a", 40_000).await.expect("a member");
        joined(&broker, "b", 40_000).await.expect("a member");

        for group in ["c", "d"] {
            let refused = joined(&broker, group, 40_000).await;
            assert_eq!(refused, Err(GroupError::CoordinatorNotAvailable));
        }
        joined(&broker, "e", 1000).await.expect("a small one has room");
        let members = vec![Leaving { member, instance: None }];
        broker.group(Command::Leave { group: "a".to_owned(), members }).await;
        joined(&broker, "c", 40_000).await.expect("there is room again");
        broker.stop().await;
    });
}

#[test]
fn what_no_record_could_hold_is_refused_when_it_is_said() {
    let world = World::new("member-too-large");
    world.runtime.block_on(async {
        let broker = start(&world, None).await;

        let refused = joined(&broker, "a", 2 << 20).await;

        assert_eq!(refused, Err(GroupError::UnknownServerError));
        joined(&broker, "a", 1 << 19).await.expect("this could be held");
        broker.stop().await;
    });
}

#[test]
fn readings_leave_an_earlier_commit_in_the_flight_record() {
    let world = World::new("readings");
    world.runtime.block_on(async {
        let broker = start(&world, None).await;
        let who = MemberOf { group: "g".to_owned(), generation: -1, ..MemberOf::default() };
        let offsets = vec![CommitOffset { topic: "t".to_owned(), ..CommitOffset::default() }];
        let commit = Commit { who, group_must_exist: false, retention: None, offsets };
        assert_eq!(broker.group(Command::Commit(commit)).await, Reply::Commit(vec![Ok(())]));

        for _ in 0..1000 {
            let group = || "g".to_owned();
            broker.group(Command::List).await;
            broker.group(Command::Describe { group: group() }).await;
            broker.group(Command::Offsets { group: group(), partitions: None }).await;
        }

        let record = broker.flight_record("test");
        let of_commit = |entry: &&base::trace::Entry| {
            entry.kind == Kind::Group && entry.text.contains("Commit")
        };
        assert_eq!(record.entries.iter().filter(of_commit).count(), 1, "{record:?}");
        broker.stop().await;
    });
}
