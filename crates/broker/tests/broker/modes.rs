//! Settings of a topic that change while it is in use, and what an acknowledgement means then.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use base::{Offset, Timestamp};
use broker::Broker;
use broker::api::{AlterTopic, ConfigChange, ConfigEdit, ProduceError, TopicError};
use bytes::Bytes;
use env::Env;
use records::{BatchBuilder, BatchError, NewRecord};

use crate::shaky::Shaky;
use crate::world::{World, batch, numbered, produce, topic, values};

fn poll_once<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

async fn start(world: &World, mutant: Option<&'static str>) -> (Shaky, Broker<Shaky>) {
    // A new directory's second journal file is made in the background, and syncs when it likes.
    world.start().await.stop().await;
    let env = Shaky::new(world.env(), mutant);
    let broker = Broker::start(env.clone(), world.config()).await.expect("starts");
    (env, broker)
}

async fn alter<E: Env>(
    broker: &Broker<E>,
    edits: &[(&str, Option<&str>)],
) -> Result<(), TopicError> {
    let edit = |(key, value): &(&str, Option<&str>)| {
        let edit = value.map_or(ConfigEdit::Delete, |value| ConfigEdit::Set(value.to_owned()));
        ((*key).to_owned(), edit)
    };
    let change = ConfigChange::Edit(edits.iter().map(edit).collect());
    let wish = AlterTopic { name: "t".to_owned(), change };
    broker.alter_topics(vec![wish], false).await.remove(0)
}

async fn mode<E: Env>(broker: &Broker<E>, mode: &str) -> Result<(), TopicError> {
    alter(broker, &[("gregor.durability", Some(mode))]).await
}

const FSYNC: &[(&str, &str)] = &[("gregor.durability", "fsync")];

/// Submits a batch behind another one that is being written, both under `fsync`, and changes the
/// mode before it is its turn. Returns whether it was acknowledged without a sync of its own.
async fn acked_without_sync(world: &World, mutant: Option<&'static str>) -> bool {
    let (env, broker) = start(world, mutant).await;
    let t = topic(&broker, "t", FSYNC).await;
    produce(&broker, t, batch(&["a segment is begun"])).await.expect("durable");
    env.hold();
    env.hold_syncs(1);
    let mut first = Box::pin(produce(&broker, t, batch(&["a"])));
    let mut second = Box::pin(produce(&broker, t, batch(&["b"])));
    assert!(poll_once(&mut first).is_pending());
    env.append_waits().await;
    assert!(poll_once(&mut second).is_pending(), "behind the first, and not with it");

    mode(&broker, "replicated").await.expect("answered at once: nothing is owed");
    env.release();
    first.await.expect("one sync of the journal passes");
    let mut waits = Box::pin(env.journal_waits());
    let early = std::future::poll_fn(|cx| {
        if let Poll::Ready(acked) = second.as_mut().poll(cx) {
            return Poll::Ready(Some(acked));
        }
        waits.as_mut().poll(cx).map(|()| None)
    });
    let early = early.await;
    env.release_syncs();
    let acked_early = early.is_some();
    let acked = match early {
        Some(acked) => acked,
        None => second.await,
    };
    assert_eq!(acked.map(|produced| produced.base_offset), Ok(Offset(2)));
    broker.stop().await;
    acked_early
}

#[test]
fn what_was_accepted_under_fsync_is_acknowledged_once_durable_whatever_the_mode_is_by_then() {
    let world = World::new("accepted");
    world.runtime.block_on(async { assert!(!acked_without_sync(&world, None).await) });
    let world = World::new("accepted-mutant");
    world.runtime.block_on(async {
        assert!(acked_without_sync(&world, Some("ack_by_new_mode")).await, "the bug shows");
    });
}

#[test]
fn a_change_to_fsync_is_answered_once_everything_before_it_is_durable() {
    let world = World::new("answered");
    world.runtime.block_on(async {
        let (env, broker) = start(&world, None).await;
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, numbered(1, 0, 0, &["a"])).await.expect("written");
        env.hold();
        env.hold_syncs(0);
        let mut pending = Box::pin(produce(&broker, t, batch(&["b"])));
        assert!(poll_once(&mut pending).is_pending());

        let mut change = Box::pin(mode(&broker, "fsync"));
        assert!(poll_once(&mut change).is_pending());
        env.release();
        pending.await.expect("accepted before: written is enough");
        assert!(poll_once(&mut change).is_pending(), "nothing is durable yet");
        let view = broker.cluster();
        assert!(view.topics["t"].configs.is_empty(), "nobody is told before it holds");
        env.release_syncs();
        assert_eq!(change.await, Ok(()));

        let again = produce(&broker, t, numbered(1, 0, 0, &["a"])).await;
        assert_eq!(again.map(|produced| produced.base_offset), Ok(Offset(0)), "durable by now");
        broker.stop().await;
    });
}

#[test]
fn after_a_change_to_fsync_an_acknowledgement_means_durable_with_everything_before() {
    let world = World::new("durable");
    world.runtime.block_on(async {
        let (env, broker) = start(&world, None).await;
        let t = topic(&broker, "t", &[]).await;
        for (at, name) in ["fsync", "replicated", "fsync"].into_iter().enumerate() {
            produce(&broker, t, batch(&["before"])).await.expect("acknowledged");
            mode(&broker, name).await.expect("changed");
            env.hold_syncs(0);
            let mut under = Box::pin(produce(&broker, t, batch(&["under"])));
            let base = i64::try_from(2 * at + 1).unwrap();
            if name == "fsync" {
                assert!(poll_once(&mut under).is_pending());
                env.journal_waits().await;
                assert!(poll_once(&mut under).is_pending());
            }
            if name == "replicated" {
                assert_eq!(under.await.map(|produced| produced.base_offset), Ok(Offset(base)));
                env.release_syncs();
                continue;
            }
            env.release_syncs();
            assert_eq!(under.await.map(|produced| produced.base_offset), Ok(Offset(base)));
        }
        assert_eq!(values(&broker, t, 0).await.len(), 6);
        broker.stop().await;
    });
}

#[test]
fn the_planted_bugs_of_a_change_do_what_they_say() {
    let world = World::new("mode-mutants");
    world.runtime.block_on(async {
        let (env, broker) = start(&world, Some("mode_change_not_published")).await;
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, batch(&["a"])).await.expect("written");
        env.hold_syncs(0);
        mode(&broker, "fsync").await.expect("nothing is done");
        produce(&broker, t, batch(&["b"])).await.expect("acknowledged, and not durable");
        env.release_syncs();
        broker.stop().await;
        drop(broker);

        let (env, broker) = start(&world, Some("mode_change_without_flush")).await;
        mode(&broker, "replicated").await.expect("changed");
        produce(&broker, t, batch(&["c"])).await.expect("written");
        env.hold_syncs(0);
        mode(&broker, "fsync").await.expect("answered, and nothing is durable");
        env.release_syncs();
        broker.stop().await;
    });
}

fn at(millis: i64) -> Bytes {
    let record =
        NewRecord { timestamp: Timestamp(millis), value: Some(b"v"), ..NewRecord::default() };
    let mut builder = BatchBuilder::new();
    builder.push(&record).expect("small");
    builder.finish_bytes().expect("not empty")
}

fn segments(world: &World) -> usize {
    let folders = std::fs::read_dir(&world.dir).expect("the directory");
    let folders = folders.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).expect("a folder"));
    let named = files.map(|entry| entry.expect("an entry").path());
    named.filter(|path| path.extension().is_some_and(|extension| extension == "log")).count()
}

#[test]
fn the_other_rules_of_a_topic_change_while_it_is_in_use_and_survive_a_restart() {
    let world = World::new("rules");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, at(1_000)).await.expect("written");
        produce(&broker, t, at(9_000)).await.expect("written");
        assert_eq!(segments(&world), 1);

        alter(&broker, &[("segment.ms", Some("10")), ("max.message.bytes", Some("90"))])
            .await
            .expect("changed");

        produce(&broker, t, at(9_500)).await.expect("69 bytes are few enough");
        assert_eq!(segments(&world), 2, "too late for the first one");
        let large = produce(&broker, t, batch(&["twenty-five bytes or more"])).await;
        assert!(
            matches!(&large, Err(ProduceError::Batch(BatchError::TooLarge { .. }))),
            "{large:?}"
        );
        broker.stop().await;
        drop(broker);

        let broker = world.start().await;
        assert_eq!(broker.cluster().topics["t"].configs.len(), 2);
        let large = batch(&["twenty-five bytes or more"]);
        assert!(produce(&broker, t, large.clone()).await.is_err());
        alter(&broker, &[("max.message.bytes", None)]).await.expect("changed");
        produce(&broker, t, large).await.expect("as large as the broker says");
        assert_eq!(broker.cluster().topics["t"].configs.len(), 1);

        let missing = AlterTopic { name: "u".to_owned(), change: ConfigChange::Edit(Vec::new()) };
        let outcome = broker.alter_topics(vec![missing], false).await;
        assert_eq!(outcome, [Err(TopicError::Missing("u".to_owned()))]);
        broker.stop().await;
    });
}
