//! What the writer does while the disk is slow, and when it fails.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use base::{Duration, Offset};
use broker::Broker;
use broker::api::{DirectoryState, Produce, ProduceError};
use env::Env;

use crate::shaky::Shaky;
use crate::world::{World, batch, fetch, numbered, produce, read, topic, wish};

fn poll_once<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

async fn start(world: &World, mutant: Option<&'static str>) -> (Shaky, Broker<Shaky>) {
    let env = Shaky::new(world.env(), mutant);
    let broker = Broker::start(env.clone(), world.config()).await.expect("starts");
    (env, broker)
}

#[test]
fn a_connection_that_goes_away_does_not_take_the_write_with_it() {
    let world = World::new("gone");
    world.runtime.block_on(async {
        let (env, broker) = start(&world, None).await;
        let t = topic(&broker, "t", &[]).await;
        env.hold();
        {
            let mut dropped = Box::pin(produce(&broker, t, numbered(1, 0, 0, &["a"])));
            assert!(poll_once(&mut dropped).is_pending());
        }
        let mut duplicate = Box::pin(produce(&broker, t, numbered(1, 0, 0, &["a"])));
        let mut second = Box::pin(produce(&broker, t, batch(&["b"])));
        assert!(poll_once(&mut duplicate).is_pending(), "no ack for what is not written");
        assert!(poll_once(&mut second).is_pending());
        assert_eq!(read(&broker, fetch(t, 0)).await.expect("readable").bytes, 0);

        env.release();

        assert_eq!(duplicate.await.map(|p| p.base_offset), Ok(Offset(0)));
        assert_eq!(second.await.map(|p| p.base_offset), Ok(Offset(1)));
        broker.stop().await;
    });
}

#[test]
fn a_deadline_ends_the_wait_but_not_the_write() {
    let world = World::new("deadline");
    world.runtime.block_on(async {
        let (env, broker) = start(&world, None).await;
        let t = topic(&broker, "t", &[]).await;
        env.hold();

        let deadline = env.now().after(Duration::from_millis(20));
        let late = broker.produce(Produce { deadline, ..wish(t, batch(&["a"])) }).await;

        assert_eq!(late, Err(ProduceError::TimedOut));
        env.release();
        let next = produce(&broker, t, batch(&["b"])).await;
        assert_eq!(next.map(|p| p.base_offset), Ok(Offset(1)));
        broker.stop().await;
    });
}

#[test]
fn after_a_failed_write_nothing_is_acknowledged_and_the_broker_halts() {
    let world = World::new("failed");
    world.runtime.block_on(async {
        let (env, broker) = start(&world, None).await;
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, numbered(1, 0, 0, &["a"])).await.expect("written");
        env.hold();
        let mut first = Box::pin(produce(&broker, t, numbered(1, 0, 1, &["b"])));
        let mut second = Box::pin(produce(&broker, t, batch(&["c"])));
        assert!(poll_once(&mut first).is_pending() && poll_once(&mut second).is_pending());

        env.fail();

        assert_eq!(first.await, Err(ProduceError::StorageFailed));
        assert_eq!(second.await, Err(ProduceError::StorageFailed));
        env.release();
        let refused = Err(ProduceError::StorageFailed);
        assert_eq!(produce(&broker, t, batch(&["d"])).await, refused);
        assert_eq!(produce(&broker, t, numbered(1, 0, 1, &["b"])).await, refused);
        assert!(env.halts().await.contains("failed"));
        broker.stop().await;
        drop(broker);

        let (_, broker) = start(&world, None).await;
        assert!(read(&broker, fetch(t, 0)).await.expect("readable").high_watermark >= Offset(1));
        broker.stop().await;
    });
}

#[test]
fn the_planted_bugs_do_what_they_say() {
    let world = World::new("mutants");
    world.runtime.block_on(async {
        let (env, broker) = start(&world, Some("ack_before_write")).await;
        let t = topic(&broker, "t", &[]).await;
        env.hold();
        let early = produce(&broker, t, batch(&["a"])).await;
        assert_eq!(early.map(|p| p.base_offset), Ok(Offset(0)));
        env.release();
        broker.stop().await;
        drop(broker);

        let (env, broker) = start(&world, Some("duplicate_is_error")).await;
        env.hold();
        let mut first = Box::pin(produce(&broker, t, numbered(1, 0, 0, &["a"])));
        assert!(poll_once(&mut first).is_pending());
        let again = produce(&broker, t, numbered(1, 0, 0, &["a"])).await;
        env.release();
        first.await.expect("written");
        assert_eq!(again, Err(ProduceError::OutOfOrderSequence));
        let late = produce(&broker, t, numbered(1, 0, 0, &["a"])).await;
        late.expect("a duplicate of what is written is answered rightly");
        broker.stop().await;
        drop(broker);

        let (_, broker) = start(&world, Some("refused_first_forgotten")).await;
        let mut damaged = numbered(2, 0, 0, &["a"]).to_vec();
        *damaged.last_mut().expect("not empty") ^= 1;
        produce(&broker, t, damaged.into()).await.expect_err("damaged");
        produce(&broker, t, numbered(2, 0, 1, &["b"])).await.expect("let in too early");
        let lost = produce(&broker, t, numbered(2, 0, 0, &["a"])).await;
        assert_eq!(lost, Err(ProduceError::OutOfOrderSequence));
        broker.stop().await;
    });
}

#[test]
fn a_full_disk_refuses_batches_and_nothing_else_and_needs_no_restart() {
    let world = World::new("full");
    world.runtime.block_on(async {
        let (env, broker) = start(&world, None).await;
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, numbered(1, 0, 0, &["a"])).await.expect("written");
        env.fill();

        for _ in 0..3 {
            let refused = produce(&broker, t, numbered(1, 0, 1, &["b"])).await;
            assert_eq!(refused, Err(ProduceError::StorageFull));
        }
        let duplicate = produce(&broker, t, numbered(1, 0, 0, &["a"])).await;
        assert_eq!(duplicate.map(|p| p.base_offset), Ok(Offset(0)));
        assert!(read(&broker, fetch(t, 0)).await.expect("readable").bytes > 0);
        let state = broker.directories().remove(0).state;
        assert!(matches!(state, DirectoryState::Full { .. }), "{state:?}");
        let other = topic(&broker, "made-while-full", &[]).await;

        env.release();
        // A full disk is not looked at too often.
        env.advance(Duration::from_millis(150));
        let again = produce(&broker, t, numbered(1, 0, 1, &["b"])).await;
        assert_eq!(again.map(|p| p.base_offset), Ok(Offset(1)));
        produce(&broker, other, batch(&["c"])).await.expect("written");
        assert_eq!(env.halted(), None);
        broker.stop().await;
    });
    let runtime = &world.runtime;
    let broker = runtime.block_on(world.start());
    runtime.block_on(broker.stop());
}
