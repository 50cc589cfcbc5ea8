//! Appending.

use base::{Instant, Offset, Timestamp};
use broker::api::{Acks, Isolation, ListOffset, OffsetSpec, Produce, ProduceError};
use bytes::Bytes;
use records::header::{ATTRIBUTES_AT, CRC_AT, MAX_TIMESTAMP_AT, crc32c};
use records::{BatchBuilder, BatchError, Compression, NewRecord, Refusal};

use crate::world::{
    World, batch, fetch, join, numbered, produce, read, spawn, topic, values, wish,
};

/// The batch with other bytes at `at`, and a CRC that fits them.
fn altered(batch: &Bytes, at: usize, with: &[u8]) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[at..at + with.len()].copy_from_slice(with);
    let crc = crc32c(&bytes[ATTRIBUTES_AT..]);
    bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

#[test]
fn what_was_produced_is_fetched_with_dense_offsets() {
    let world = World::new("dense");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;

        let first = produce(&broker, t, batch(&["a", "b"])).await.expect("written");
        let second = produce(&broker, t, batch(&["c"])).await.expect("written");

        assert_eq!((first.base_offset, second.base_offset), (Offset(0), Offset(2)));
        assert_eq!(first.log_append_time, None);
        let found = values(&broker, t, 0).await;
        assert_eq!(found, [(0, "a".to_owned()), (1, "b".to_owned()), (2, "c".to_owned())]);
        let data = read(&broker, fetch(t, 3)).await.expect("the end is in range");
        assert_eq!((data.bytes, data.high_watermark, data.log_start), (0, Offset(3), Offset(0)));
        broker.stop().await;
    });
}

#[test]
fn concurrent_producers_share_one_dense_sequence_of_offsets() {
    let world = World::new("concurrent");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        let mut tasks = Vec::new();
        for producer in 0..8 {
            let broker = broker.clone();
            tasks.push(spawn(&world, async move {
                let mut offsets = Vec::new();
                for at in 0..50 {
                    let value = format!("{producer}-{at}");
                    let done = produce(&broker, t, batch(&[&value, &value])).await;
                    offsets.push((done.expect("written").base_offset.0, value));
                }
                offsets
            }));
        }
        let mut acked = Vec::new();
        for task in tasks {
            let offsets = join(task).await;
            assert!(offsets.is_sorted_by_key(|(offset, _)| *offset), "in the order of sending");
            acked.extend(offsets);
        }

        acked.sort_unstable();
        let found = values(&broker, t, 0).await;
        assert_eq!(found.len(), 800);
        for (at, (offset, value)) in acked.into_iter().enumerate() {
            assert_eq!(offset, i64::try_from(at * 2).unwrap());
            assert_eq!(found[at * 2], (offset, value));
        }
        broker.stop().await;
    });
}

#[test]
fn duplicates_answer_the_first_offset_and_gaps_and_old_epochs_are_refused() {
    let world = World::new("idempotent");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        let (id, _) = broker.init_producer_id().await.expect("an id");
        let (other, _) = broker.init_producer_id().await.expect("an id");
        assert_ne!(id, other);

        let send = |epoch, sequence| produce(&broker, t, numbered(id.0, epoch, sequence, &["x"]));

        assert_eq!(send(1, 0).await.map(|p| p.base_offset), Ok(Offset(0)));
        assert_eq!(send(1, 1).await.map(|p| p.base_offset), Ok(Offset(1)));
        let again = send(1, 0).await.expect("a duplicate is a success");
        let own_time = Some(NewRecord::default().timestamp);
        assert_eq!((again.base_offset, again.log_append_time), (Offset(0), own_time));
        assert_eq!(send(1, 3).await, Err(ProduceError::OutOfOrderSequence));
        assert_eq!(send(0, 2).await, Err(ProduceError::ProducerFenced));
        assert_eq!(send(1, 2).await.map(|p| p.base_offset), Ok(Offset(2)));
        assert_eq!(values(&broker, t, 0).await.len(), 3);
        broker.stop().await;
    });
}

#[test]
fn what_may_not_enter_is_refused_and_nothing_is_written() {
    let world = World::new("refused");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[("max.message.bytes", "100")]).await;
        let compacted = topic(&broker, "compacted", &[("cleanup.policy", "compact")]).await;
        let mut damaged = batch(&["a"]).to_vec();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        let gone = base::PartitionId { topic: base::TopicId::default(), ..t };

        let refused =
            async |partition, bytes| produce(&broker, partition, bytes).await.expect_err("refused");

        assert!(matches!(
            refused(t, damaged.into()).await,
            ProduceError::Batch(BatchError::Crc(_))
        ));
        let long = "x".repeat(100);
        assert!(matches!(
            refused(t, batch(&[&long])).await,
            ProduceError::Batch(BatchError::TooLarge { .. })
        ));
        assert!(matches!(
            refused(compacted, batch(&["no key"])).await,
            ProduceError::Batch(BatchError::Faults(_))
        ));
        assert_eq!(refused(gone, batch(&["a"])).await, ProduceError::UnknownPartition);
        assert!(values(&broker, t, 0).await.is_empty());
        assert!(values(&broker, compacted, 0).await.is_empty());
        broker.stop().await;
    });
}

#[test]
fn a_damaged_block_is_refused_and_a_false_latest_time_corrected_so_times_can_be_looked_up() {
    let world = World::new("packed");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        let at = |time, codec| {
            let mut batch = BatchBuilder::new().compression(codec);
            let record = NewRecord { timestamp: Timestamp(time), ..NewRecord::default() };
            batch.push(&record).expect("small");
            batch.finish_bytes().expect("not empty")
        };
        for (base, codec) in (0..).zip(Compression::ALL) {
            let sound = at(1000 + base, codec);
            if codec != Compression::None {
                let damaged = altered(&sound, sound.len() - 2, &[0x55; 2]);
                let refused = produce(&broker, t, damaged).await.expect_err("damaged");
                // Snappy has no checksum: there the records inside are what is damaged.
                let ProduceError::Batch(error) = refused else { panic!("{codec}: {refused}") };
                assert_eq!(error.refusal(), Refusal::Invalid, "{codec}");
            }
            let boasting = altered(&sound, MAX_TIMESTAMP_AT, &(1_i64 << 40).to_be_bytes());
            let done = produce(&broker, t, boasting).await.expect("written");
            assert_eq!(done.base_offset, Offset(base));
        }

        let question = |spec| ListOffset {
            partition: t,
            spec,
            isolation: Isolation::ReadUncommitted,
            current_leader_epoch: None,
        };
        for (spec, offset) in [
            (OffsetSpec::AtOrAfter(Timestamp(1002)), Some(Offset(2))),
            (OffsetSpec::AtOrAfter(Timestamp(1005)), None),
            (OffsetSpec::MaxTimestamp, Some(Offset(4))),
        ] {
            let found = broker.list_offset(&question(spec)).await.expect("readable");
            assert_eq!(found.map(|found| found.offset), offset);
        }
        assert_eq!(values(&broker, t, 0).await.len(), 5);
        broker.stop().await;
    });
}

#[test]
fn what_was_sent_behind_a_first_batch_that_came_damaged_does_not_overtake_it() {
    let world = World::new("overtake");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        let send = |bytes| produce(&broker, t, bytes);
        let pipelined = |at: i32| {
            let names = ["a", "b", "c", "d", "e"];
            numbered(9, 0, at, &[names[usize::try_from(at).expect("small")]])
        };
        let mut damaged = pipelined(0).to_vec();
        *damaged.last_mut().expect("not empty") ^= 1;

        assert!(matches!(send(damaged.into()).await, Err(ProduceError::Batch(BatchError::Crc(_)))));
        for at in 1..5 {
            assert_eq!(send(pipelined(at)).await, Err(ProduceError::OutOfOrderSequence));
        }
        for at in 0..5 {
            let done = send(pipelined(at)).await.expect("in order");
            assert_eq!(done.base_offset, Offset(i64::from(at)));
        }

        let found: String = values(&broker, t, 0).await.into_iter().map(|(_, v)| v).collect();
        assert_eq!(found, "abcde");
        broker.stop().await;
        drop(broker);

        // Another process knows the producer from the log, and of a stranger nothing.
        let broker = world.start().await;
        let gap = produce(&broker, t, numbered(9, 0, 6, &["g"])).await;
        assert_eq!(gap, Err(ProduceError::OutOfOrderSequence));
        assert!(produce(&broker, t, numbered(9, 0, 5, &["f"])).await.is_ok());
        assert!(produce(&broker, t, numbered(10, 0, 6, &["x"])).await.is_ok());
        broker.stop().await;
    });
}

#[test]
fn log_append_time_stamps_the_batch_and_answers_it() {
    let world = World::new("append-time");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[("message.timestamp.type", "LogAppendTime")]).await;

        let done = produce(&broker, t, batch(&["a", "b"])).await.expect("written");

        let stamped = done.log_append_time.expect("stamped");
        assert!(stamped.0 > 1_600_000_000_000);
        assert_eq!(values(&broker, t, 0).await.len(), 2, "the CRC fits the new stamp");
        let question = ListOffset {
            partition: t,
            spec: OffsetSpec::AtOrAfter(stamped),
            isolation: Isolation::ReadUncommitted,
            current_leader_epoch: None,
        };
        let found = broker.list_offset(&question).await.expect("readable").expect("there");
        assert_eq!((found.offset, found.timestamp), (Offset(0), Some(stamped)));
        let later =
            ListOffset { spec: OffsetSpec::AtOrAfter(Timestamp(stamped.0 + 1)), ..question };
        assert_eq!(broker.list_offset(&later).await, Ok(None));
        broker.stop().await;
    });
}

#[test]
fn batches_submitted_one_after_the_other_stay_in_order() {
    let world = World::new("submit");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;

        let mut held = broker::Held::default();
        let mut submitted = Vec::new();
        for at in 0..20 {
            let batch = numbered(5, 0, at, &["x"]);
            submitted.push(broker.submit(wish(t, batch), &mut held).await.expect("its place"));
        }

        held.write();
        for (at, submitted) in (0..).zip(submitted) {
            let done = broker.proven(submitted).await.expect("written");
            assert_eq!(done.base_offset, Offset(at));
        }
        broker.stop().await;
    });
}

#[test]
fn what_was_submitted_together_is_written_once_its_holder_lets_go_or_is_gone() {
    let world = World::new("held");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        let end = || async { read(&broker, fetch(t, 0)).await.expect("readable").high_watermark };
        for (lets_go, before) in [(true, 0), (false, 2)] {
            let mut held = broker::Held::default();
            let first = broker.submit(wish(t, batch(&["a"])), &mut held).await.expect("its place");
            let second = broker.submit(wish(t, batch(&["b"])), &mut held).await.expect("its place");
            assert_eq!(end().await, Offset(before), "nothing is written yet");

            if lets_go {
                held.write();
            } else {
                drop(held);
            }

            assert_eq!(broker.proven(first).await.map(|p| p.base_offset), Ok(Offset(before)));
            assert_eq!(broker.proven(second).await.map(|p| p.base_offset), Ok(Offset(before + 1)));
            assert_eq!(end().await, Offset(before + 2));
        }
        broker.stop().await;
    });
}

#[test]
fn every_kind_of_acks_is_answered_after_the_write() {
    let world = World::new("acks");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        for (at, acks) in (0..).zip([Acks::None, Acks::Leader, Acks::All]) {
            let deadline = Instant::NEVER;
            let wish = Produce { acks, deadline, ..wish(t, batch(&["a"])) };
            assert_eq!(broker.produce(wish).await.map(|p| p.base_offset), Ok(Offset(at)));
            let end = read(&broker, fetch(t, 0)).await.expect("readable").high_watermark;
            assert_eq!(end, Offset(at + 1));
        }
        broker.stop().await;
    });
}
