//! Topics that get more partitions while they are there.

use base::{LeaderEpoch, Offset, PartitionId, PartitionIndex};
use broker::Broker;
use broker::api::{AddPartitions, EpochEnd, ListOffsetError, ProduceError, TopicError};
use env::Env;

use crate::shaky::Shaky;
use crate::world::{World, batch, produce, topic, values};

async fn to<E: Env>(broker: &Broker<E>, name: &str, count: i32) -> Result<(), TopicError> {
    let wish = AddPartitions { name: name.to_owned(), count, assignment: None };
    broker.add_partitions(vec![wish], false).await.remove(0)
}

fn at(first: PartitionId, index: i32) -> PartitionId {
    PartitionId { index: PartitionIndex(index), ..first }
}

#[test]
fn what_was_written_to_a_new_partition_is_there_after_a_restart_and_it_goes_on() {
    let world = World::new("grown");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, batch(&["old"])).await.expect("written");
        let unknown = produce(&broker, at(t, 2), batch(&["early"])).await;
        assert_eq!(unknown, Err(ProduceError::UnknownPartition));

        assert_eq!(to(&broker, "t", 3).await, Ok(()));

        produce(&broker, at(t, 2), batch(&["new"])).await.expect("written at once");
        broker.stop().await;
        drop(broker);
        let broker = world.start().await;
        assert_eq!(broker.cluster().topics["t"].partitions.len(), 3);
        assert_eq!(values(&broker, at(t, 2), 0).await, [(0, "new".to_owned())]);
        assert_eq!(values(&broker, t, 0).await, [(0, "old".to_owned())]);
        let next = produce(&broker, at(t, 2), batch(&["next"])).await;
        assert_eq!(next.map(|written| written.base_offset), Ok(Offset(1)));
        assert!(values(&broker, at(t, 1), 0).await.is_empty());
        broker.stop().await;
    });
}

#[test]
fn partitions_that_were_answered_for_are_there_after_an_unclean_stop() {
    let world = World::new("grown-killed");
    world.runtime.block_on(async {
        let env = Shaky::new(world.env(), None);
        let broker = Broker::start(env.clone(), world.config()).await.expect("starts");
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, batch(&["a", "b"])).await.expect("written");
        assert_eq!(to(&broker, "t", 2).await, Ok(()));
        env.fail();
        assert!(produce(&broker, at(t, 1), batch(&["lost"])).await.is_err());
        env.release();
        broker.stop().await;
        drop(broker);
        let broker = world.start().await;

        assert_eq!(broker.cluster().topics["t"].partitions.len(), 2);
        produce(&broker, at(t, 1), batch(&["c"])).await.expect("written");
        let end = |partition, epoch| EpochEnd {
            partition,
            epoch: Some(LeaderEpoch(epoch)),
            current_leader_epoch: None,
        };
        let ended = |wish| broker.end_of_epoch(&wish);
        assert_eq!(ended(end(t, 0)), Ok(Some((LeaderEpoch(0), Offset(2)))));
        assert_eq!(ended(end(t, 1)), Ok(Some((LeaderEpoch(1), Offset(2)))));
        assert_eq!(ended(end(t, 2)), Ok(None));
        let fenced = EpochEnd { current_leader_epoch: Some(LeaderEpoch(0)), ..end(t, 0) };
        assert_eq!(ended(fenced), Err(ListOffsetError::FencedEpoch));
        broker.stop().await;
    });
}

#[test]
fn the_coordinators_topic_gets_no_more_partitions() {
    let world = World::new("grown-offsets");
    world.runtime.block_on(async {
        let broker = world.start().await;
        assert!(broker.find_coordinator("g").await.is_some());

        let refused = to(&broker, "__consumer_offsets", 50).await.expect_err("refused");

        let why = "__consumer_offsets keeps its number of partitions: every group would be looked \
                   for in another one, and its offsets would be lost.";
        assert_eq!(refused, TopicError::InvalidRequest(why.to_owned()));
        broker.stop().await;
    });
}
