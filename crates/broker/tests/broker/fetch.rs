//! Reading and waiting.

use base::{Duration, LeaderEpoch, Offset};
use broker::Broker;
use broker::api::{Fetch, FetchError, Isolation, ListOffset, ListOffsetError, OffsetSpec};
use env::Env;

use crate::shaky::Shaky;
use crate::world::{World, batch, fetch, join, part, produce, read, records_of, spawn, topic};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_parked_fetch_is_woken_by_the_append_that_completes_it() {
    let world = World::new("wake");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let (t, u) = (topic(&broker, "t", &[]).await, topic(&broker, "u", &[]).await);
        let size = batch(&["a"]).len();
        let wish = Fetch {
            partitions: vec![part(t, 0), part(u, 0)],
            min_bytes: 2 * size,
            max_wait: LONG,
            ..fetch(t, 0)
        };
        let (waiting, started) = (broker.clone(), world.env().now());
        let parked = spawn(&world, async move { waiting.fetch(wish).await });

        produce(&broker, t, batch(&["a"])).await.expect("written");
        produce(&broker, u, batch(&["b"])).await.expect("written");

        let fetched = join(parked).await;
        let bytes: usize = fetched.iter().map(|p| p.outcome.as_ref().map_or(0, |d| d.bytes)).sum();
        assert_eq!(bytes, 2 * size);
        assert!(world.env().now().since(started) < LONG);
        broker.stop().await;
    });
}

#[test]
fn a_fetch_that_waits_in_vain_answers_at_its_deadline_with_what_there_is() {
    let world = World::new("vain");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, batch(&["a"])).await.expect("written");
        let max_wait = Duration::from_millis(30);
        let before = world.env().now();

        let wish = Fetch { min_bytes: 1 << 19, max_wait, ..fetch(t, 0) };
        let data = read(&broker, wish).await.expect("readable");

        assert!(data.bytes > 0);
        assert!(world.env().now().since(before) >= max_wait);
        let at_once = Fetch { min_bytes: 0, max_wait: LONG, ..fetch(t, 1) };
        assert_eq!(read(&broker, at_once).await.expect("readable").bytes, 0);
        broker.stop().await;
    });
}

#[test]
fn the_first_batch_is_whole_and_no_other_exceeds_the_limit() {
    let world = World::new("first-whole");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let (t, u) = (topic(&broker, "t", &[]).await, topic(&broker, "u", &[]).await);
        for partition in [t, u] {
            produce(&broker, partition, batch(&["a", "b", "c"])).await.expect("written");
            produce(&broker, partition, batch(&["d"])).await.expect("written");
        }
        let size = batch(&["a", "b", "c"]).len();
        let ask = |max_bytes| Fetch {
            partitions: vec![part(t, 0), part(u, 0)],
            max_bytes,
            ..fetch(t, 0)
        };

        for (max_bytes, expected) in [(1, [size, 0]), (size, [size, 0]), (size + 10, [size, 0])] {
            let fetched = broker.fetch(ask(max_bytes)).await;
            let bytes: Vec<usize> =
                fetched.iter().map(|p| p.outcome.as_ref().expect("readable").bytes).collect();
            assert_eq!(bytes, expected, "max_bytes={max_bytes}");
        }
        let inside = read(&broker, Fetch { max_bytes: 1, ..fetch(t, 2) }).await.expect("readable");
        assert_eq!(records_of(inside.segments).await[0].0, 0, "the batch that holds the offset");
        broker.stop().await;
    });
}

#[test]
fn offsets_outside_the_log_and_wrong_epochs_are_told_apart() {
    let world = World::new("range");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, batch(&["a"])).await.expect("written");
        let out = FetchError::OutOfRange { start: Offset(0), end: Offset(1) };

        assert_eq!(read(&broker, fetch(t, 2)).await.err(), Some(out.clone()));
        assert_eq!(read(&broker, fetch(t, -1)).await.err(), Some(out));
        for (epoch, error) in [(-1, FetchError::FencedEpoch), (7, FetchError::UnknownEpoch)] {
            let mut wish = fetch(t, 0);
            wish.partitions[0].current_leader_epoch = Some(LeaderEpoch(epoch));
            assert_eq!(read(&broker, wish).await.err(), Some(error));
        }
        let gone = base::PartitionId { topic: base::TopicId::default(), ..t };
        let wish = Fetch { max_wait: LONG, ..fetch(gone, 0) };
        assert_eq!(read(&broker, wish).await.err(), Some(FetchError::UnknownPartition));
        broker.stop().await;
    });
}

#[test]
fn a_reader_of_another_log_is_told_at_once_where_they_part() {
    let world = World::new("diverging");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, batch(&["a", "b", "c"])).await.expect("written");
        let ask = async |offset, epoch| {
            let mut wish = Fetch { max_wait: LONG, ..fetch(t, offset) };
            wish.partitions[0].last_fetched_epoch = Some(LeaderEpoch(epoch));
            read(&broker, wish).await
        };

        let same = ask(2, 0).await.expect("the same log");
        assert!(same.diverging.is_none() && same.bytes > 0);
        let longer = ask(9, 0).await.expect("a log that was longer");
        assert_eq!(longer.diverging, Some((LeaderEpoch(0), Offset(3))));
        assert_eq!((longer.bytes, longer.high_watermark), (0, Offset(3)));
        let out = Some(FetchError::OutOfRange { start: Offset(0), end: Offset(3) });
        assert_eq!(ask(1, 7).await.err(), out, "an epoch that never was here");
        assert_eq!(ask(-1, 0).await.err(), out, "before the start, whatever the epoch");
        broker.stop().await;
    });
}

#[test]
fn in_a_log_without_records_every_epoch_so_far_ended_where_the_log_does() {
    let world = World::new("diverging-empty");
    world.runtime.block_on(async {
        let env = Shaky::new(world.env(), None);
        let broker = Broker::start(env.clone(), world.config()).await.expect("starts");
        let (t, other) = (topic(&broker, "t", &[]).await, topic(&broker, "other", &[]).await);
        // An unclean stop, so that the next start begins an epoch.
        env.fail();
        assert!(produce(&broker, other, batch(&["a"])).await.is_err());
        env.release();
        broker.stop().await;
        drop(broker);
        let broker = world.start().await;
        let ask = async |epoch| {
            let mut wish = Fetch { max_wait: LONG, ..fetch(t, 9) };
            wish.partitions[0].last_fetched_epoch = Some(LeaderEpoch(epoch));
            read(&broker, wish).await
        };

        for epoch in [0, 1] {
            let told = ask(epoch).await.expect("an epoch that was here");
            assert_eq!(told.diverging, Some((LeaderEpoch(epoch), Offset(0))));
        }
        let out = FetchError::OutOfRange { start: Offset(0), end: Offset(0) };
        assert_eq!(ask(2).await.err(), Some(out), "an epoch that never was here");
        broker.stop().await;
    });
}

#[test]
fn a_reader_whose_limit_is_reached_does_not_wait_for_more() {
    let world = World::new("cut");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        let large = "x".repeat(40_000);
        for _ in 0..100 {
            produce(&broker, t, batch(&[&large])).await.expect("written");
        }
        // From the file, from memory, and where whole batches never add up to the limit.
        for offset in [0, 90] {
            for limit in [1 << 17, 100_000, 41_000] {
                let mut wish = Fetch { max_wait: LONG, min_bytes: limit, ..fetch(t, offset) };
                wish.partitions[0].max_bytes = limit;

                let data = read(&broker, wish).await.expect("readable");

                assert!(data.is_cut && data.bytes > 0 && data.bytes < limit, "{limit}");
            }
        }
        broker.stop().await;
    });
}

#[test]
fn a_deleted_topic_ends_the_wait_of_its_readers() {
    let world = World::new("deleted");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        let waiting = broker.clone();
        let parked =
            spawn(
                &world,
                async move { waiting.fetch(Fetch { max_wait: LONG, ..fetch(t, 0) }).await },
            );

        let deleted = broker.delete_topics(vec![broker::api::TopicRef::Id(t.topic)]).await;

        assert!(deleted[0].is_ok());
        let outcome = join(parked).await.remove(0).outcome;
        assert_eq!(outcome.err(), Some(FetchError::UnknownPartition));
        assert!(broker.cluster().topics.is_empty());
        broker.stop().await;
    });
}

#[test]
fn every_question_about_offsets_has_its_answer() {
    let world = World::new("list");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        let ask = |spec| ListOffset {
            partition: t,
            spec,
            isolation: Isolation::ReadUncommitted,
            current_leader_epoch: None,
        };
        let offset = async |spec| {
            broker.list_offset(&ask(spec)).await.expect("readable").map(|found| found.offset.0)
        };
        assert_eq!(offset(OffsetSpec::Latest).await, Some(0));
        assert_eq!(offset(OffsetSpec::MaxTimestamp).await, None);
        let empty = broker.list_offset(&ask(OffsetSpec::Earliest)).await.expect("readable");
        let (offset_and_epoch, none_yet) =
            (empty.map(|at| (at.offset, at.leader_epoch)), Offset(0));
        assert_eq!(offset_and_epoch, Some((none_yet, Some(LeaderEpoch(0)))));

        produce(&broker, t, batch(&["a", "b"])).await.expect("written");

        assert_eq!(offset(OffsetSpec::Latest).await, Some(2));
        assert_eq!(offset(OffsetSpec::Earliest).await, Some(0));
        assert_eq!(offset(OffsetSpec::Tiered).await, None);
        let newer =
            ListOffset { current_leader_epoch: Some(LeaderEpoch(9)), ..ask(OffsetSpec::Latest) };
        assert_eq!(broker.list_offset(&newer).await, Err(ListOffsetError::UnknownEpoch));
        broker.stop().await;
    });
}

#[test]
fn a_batch_whose_header_rotted_is_answered_with_an_error_and_never_with_nothing() {
    let world = World::new("rot");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        for value in ["a", "b"] {
            produce(&broker, t, batch(&[value])).await.expect("written");
        }
        broker.stop().await;
        drop(broker);
        let folder = world.dir.join(format!("{t}-0"));
        let mut files =
            std::fs::read_dir(folder).expect("a folder").map(|file| file.unwrap().path());
        let log = files.find(|path| path.extension().is_some_and(|name| name == "log")).unwrap();
        let mut bytes = std::fs::read(&log).expect("readable");
        // The base offset of the second batch: now it seems to lie far behind the log's end.
        bytes[batch(&["a"]).len() + 3] ^= 1;
        std::fs::write(&log, bytes).expect("writable");

        let broker = world.start().await;

        let outcome = read(&broker, fetch(t, 1)).await.map(|data| data.bytes);
        assert_eq!(outcome, Err(FetchError::Corrupt));
        assert!(read(&broker, fetch(t, 0)).await.is_ok_and(|data| data.bytes > 0), "the first");
        broker.stop().await;
    });
}
