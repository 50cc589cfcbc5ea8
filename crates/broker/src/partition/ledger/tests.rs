//! The ledger as a value: no log, no disk, no task.

use base::{ProducerEpoch, ProducerId};
use records::{BatchBuilder, NewRecord, Producer};

use super::*;

const NOW: Timestamp = Timestamp(1);

fn ledger() -> Ledger {
    let durability = Durability::Replicated;
    Ledger::new(LeaderEpoch(3), Offset(0), Offset(10), ProducerStates::default(), durability)
}

fn plain(records: usize) -> BatchView {
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        builder.push(&NewRecord { value: Some(b"v"), ..NewRecord::default() }).expect("small");
    }
    builder.finish().expect("not empty")
}

fn numbered(epoch: i16, sequence: i32, records: usize) -> BatchView {
    let producer =
        Producer { id: ProducerId(7), epoch: ProducerEpoch(epoch), base_sequence: Some(sequence) };
    let mut builder = BatchBuilder::new().producer(producer);
    for _ in 0..records {
        builder.push(&NewRecord::default()).expect("small");
    }
    builder.finish().expect("not empty")
}

fn told(enqueued: &mut Enqueued) -> Option<Written> {
    match enqueued.done.as_mut() {
        None => Some(Ok(())),
        Some(done) => done.try_recv().ok(),
    }
}

#[test]
fn offsets_are_dense_and_only_the_first_caller_writes() {
    let mut ledger = ledger();

    let mut first = ledger.enqueue(&plain(3), NOW, &()).expect("open");
    let mut second = ledger.enqueue(&plain(2), NOW, &()).expect("open");

    assert_eq!((first.base_offset, second.base_offset), (Offset(10), Offset(13)));
    assert!(first.writer && !second.writer);
    let run = ledger.take_run().expect("two batches");
    assert_eq!((run.batches.len(), run.end), (2, Offset(15)));
    assert_eq!(run.batches[1].header().base_offset, Offset(13));
    assert_eq!(run.batches[1].header().leader_epoch(), Some(LeaderEpoch(3)));
    assert!(told(&mut first).is_none() && ledger.high_watermark == Offset(10));
    ledger.written(run.end, run.bytes).tell();
    assert_eq!(told(&mut first), Some(Ok(())));
    assert_eq!(told(&mut second), Some(Ok(())));
    assert!(ledger.take_run().is_none() && !ledger.is_busy());
    assert!(ledger.enqueue(&plain(1), NOW, &()).expect("open").writer);
}

#[test]
fn a_duplicate_of_a_written_batch_answers_the_first_offset_at_once() {
    let mut ledger = ledger();
    ledger.enqueue(&numbered(0, 0, 2), NOW, &()).expect("open");
    let run = ledger.take_run().expect("one batch");
    ledger.written(run.end, run.bytes).tell();

    let again = ledger.enqueue(&numbered(0, 0, 2), NOW, &()).expect("a duplicate is no error");

    assert_eq!(again.base_offset, Offset(10));
    assert!(again.done.is_none() && !again.writer);
    assert_eq!(ledger.enqueue(&plain(1), NOW, &()).expect("open").base_offset, Offset(12));
}

#[test]
fn a_duplicate_of_a_pending_batch_is_not_acknowledged_before_the_write() {
    let mut ledger = ledger();
    ledger.enqueue(&numbered(0, 0, 2), NOW, &()).expect("open");
    ledger.enqueue(&numbered(0, 2, 1), NOW, &()).expect("open");

    let mut again = ledger.enqueue(&numbered(0, 0, 2), NOW, &()).expect("a duplicate");

    assert!(told(&mut again).is_none());
    let run = ledger.take_run().expect("two batches");
    assert_eq!(run.batches.len(), 2, "the duplicate is not written");
    ledger.written(run.end, run.bytes).tell();
    assert_eq!(told(&mut again), Some(Ok(())));
}

#[test]
fn gaps_and_old_epochs_are_refused_against_pending_batches_too() {
    let mut ledger = ledger();
    ledger.enqueue(&numbered(1, 0, 2), NOW, &()).expect("open");

    let refused = |ledger: &mut Ledger, batch| ledger.enqueue(&batch, NOW, &()).err();

    assert_eq!(refused(&mut ledger, numbered(1, 3, 1)), Some(ProduceError::OutOfOrderSequence));
    assert_eq!(refused(&mut ledger, numbered(0, 2, 1)), Some(ProduceError::ProducerFenced));
    assert_eq!(refused(&mut ledger, numbered(2, 5, 1)), Some(ProduceError::OutOfOrderSequence));
    assert_eq!(ledger.enqueue(&numbered(1, 2, 1), NOW, &()).map(|e| e.base_offset), Ok(Offset(12)));
    assert_eq!(ledger.enqueue(&numbered(2, 0, 1), NOW, &()).map(|e| e.base_offset), Ok(Offset(13)));
}

#[test]
fn after_a_failed_write_nothing_is_acknowledged_any_more() {
    let mut ledger = ledger();
    let mut first = ledger.enqueue(&numbered(0, 0, 1), NOW, &()).expect("open");
    let run = ledger.take_run().expect("one batch");
    let mut second = ledger.enqueue(&numbered(0, 1, 1), NOW, &()).expect("open");
    let mut again = ledger.enqueue(&numbered(0, 0, 1), NOW, &()).expect("open");
    drop(run);

    ledger.close(Fate::Failed).tell();

    for waiting in [&mut first, &mut second, &mut again] {
        assert_eq!(told(waiting), Some(Err(ProduceError::StorageFailed)));
    }
    assert!(ledger.take_run().is_none());
    let refused = ledger.enqueue(&numbered(0, 0, 1), NOW, &()).err();
    assert_eq!(refused, Some(ProduceError::StorageFailed));
    ledger.close(Fate::Stopping).tell();
    assert_eq!(ledger.fate, Fate::Failed, "a stop does not heal a failure");
    assert_eq!(ledger.high_watermark, Offset(10));
}

#[test]
fn a_stop_refuses_what_is_new_and_writes_what_is_pending() {
    let mut ledger = ledger();
    let mut first = ledger.enqueue(&plain(1), NOW, &()).expect("open");

    ledger.close(Fate::Stopping).tell();

    assert_eq!(ledger.enqueue(&plain(1), NOW, &()).err(), Some(ProduceError::Stopping));
    let run = ledger.take_run().expect("what was pending");
    ledger.written(run.end, run.bytes).tell();
    assert_eq!(told(&mut first), Some(Ok(())));
}

#[test]
fn a_full_list_refuses_without_assigning_an_offset() {
    let mut ledger = ledger();
    let batch = plain(1);
    for _ in 0..PENDING_BATCHES_MAX {
        ledger.enqueue(&batch, NOW, &()).expect("room");
    }

    assert_eq!(ledger.enqueue(&batch, NOW, &()).err(), Some(ProduceError::Overloaded));

    let mut end = Offset(10);
    while let Some(run) = ledger.take_run() {
        assert_eq!(run.batches[0].header().base_offset, end);
        assert!(run.batches.len() <= RUN_BATCHES_MAX);
        end = run.end;
        ledger.written(run.end, run.bytes).tell();
    }
    assert_eq!(ledger.enqueue(&batch, NOW, &()).map(|e| e.base_offset), Ok(end));
}

/// Refuses everything for want of room until it is drained.
fn full_ledger() -> Ledger {
    let mut ledger = ledger();
    for _ in 0..PENDING_BATCHES_MAX {
        ledger.enqueue(&plain(1), NOW, &()).expect("room");
    }
    ledger
}

fn drain(ledger: &mut Ledger) {
    while let Some(run) = ledger.take_run() {
        ledger.written(run.end, run.bytes).tell();
    }
}

#[test]
fn what_was_sent_behind_a_refused_first_batch_waits_for_it() {
    let mut ledger = full_ledger();
    let refused = |ledger: &mut Ledger, batch| ledger.enqueue(&batch, NOW, &()).err();

    assert_eq!(refused(&mut ledger, numbered(0, 0, 2)), Some(ProduceError::Overloaded));
    drain(&mut ledger);

    let out_of_order = Some(ProduceError::OutOfOrderSequence);
    assert_eq!(refused(&mut ledger, numbered(0, 2, 1)), out_of_order, "its first is not there");
    assert_eq!(refused(&mut ledger, numbered(0, 3, 1)), out_of_order);
    let base = ledger.end;
    for (sequence, records) in [(0, 2), (2, 1), (3, 1)] {
        let enqueued = ledger.enqueue(&numbered(0, sequence, records), NOW, &()).expect("in order");
        assert_eq!(enqueued.base_offset.0 - base.0, i64::from(sequence));
    }
}

#[test]
fn a_batch_that_was_damaged_on_the_way_is_waited_for_too() {
    let mut ledger = ledger();
    ledger.refused(&numbered(0, 7, 2), NOW);

    let refused = ledger.enqueue(&numbered(0, 9, 1), NOW, &()).err();

    assert_eq!(refused, Some(ProduceError::OutOfOrderSequence));
    assert!(ledger.enqueue(&numbered(0, 7, 2), NOW, &()).is_ok());
    assert!(ledger.enqueue(&numbered(0, 9, 1), NOW, &()).is_ok());
}

#[test]
fn a_refused_batch_of_a_known_producer_needs_no_note() {
    let mut ledger = ledger();
    ledger.enqueue(&numbered(0, 0, 2), NOW, &()).expect("open");
    ledger.refused(&numbered(0, 2, 1), NOW);

    let refused = ledger.enqueue(&numbered(0, 3, 1), NOW, &()).err();

    assert_eq!(refused, Some(ProduceError::OutOfOrderSequence));
    ledger.expire_producers(Timestamp(1000), base::Duration::from_millis(10));
    assert!(
        ledger.enqueue(&numbered(0, 9, 1), NOW, &()).is_ok(),
        "forgotten: it may begin anywhere"
    );
}

#[test]
fn an_unknown_producer_may_begin_anywhere_as_long_as_nothing_of_it_was_refused() {
    let mut ledger = ledger();

    assert!(ledger.enqueue(&numbered(3, 70, 1), NOW, &()).is_ok());
}

#[test]
fn a_full_disk_refuses_what_found_no_room_and_the_next_batch_follows_the_log() {
    let mut ledger = ledger();
    let mut kept = ledger.enqueue(&plain(2), NOW, &()).expect("open");
    let mut lost = ledger.enqueue(&numbered(0, 0, 3), NOW, &()).expect("open");
    let run = ledger.take_run().expect("two batches");
    let mut behind = ledger.enqueue(&numbered(0, 3, 1), NOW, &()).expect("open");
    let headers: Vec<BatchHeader> = run.batches.iter().map(|batch| *batch.header()).collect();

    // The first batch went into a segment that had room, the second needed a new one.
    let [written, refused] =
        ledger.full(&headers, Offset(12), ProducerStates::default(), Timestamp(2));
    written.tell();
    refused.tell();

    assert_eq!(told(&mut kept), Some(Ok(())));
    assert_eq!(told(&mut lost), Some(Err(ProduceError::StorageFull)));
    assert_eq!(told(&mut behind), Some(Err(ProduceError::StorageFull)));
    assert!(ledger.take_run().is_none() && !ledger.is_busy());
    assert_eq!((ledger.end, ledger.high_watermark), (Offset(12), Offset(12)));
    // What its producer sent behind the refused batch does not overtake it.
    let early = ledger.enqueue(&numbered(0, 3, 1), NOW, &()).err();
    assert_eq!(early, Some(ProduceError::OutOfOrderSequence));
    let again = ledger.enqueue(&numbered(0, 0, 3), NOW, &()).expect("there is room");
    assert!(again.writer && again.base_offset == Offset(12));
    assert_eq!(ledger.enqueue(&numbered(0, 3, 1), NOW, &()).expect("next").base_offset, Offset(15));
}

#[test]
fn a_batch_that_a_full_disk_refused_is_no_duplicate_when_it_comes_again() {
    let mut ledger = ledger();
    ledger.enqueue(&numbered(0, 0, 1), NOW, &()).expect("open");
    let run = ledger.take_run().expect("one");
    ledger.written(run.end, run.bytes).tell();
    let mut producers = ProducerStates::default();
    producers.apply(run.batches[0].header(), NOW);
    ledger.enqueue(&numbered(0, 1, 1), NOW, &()).expect("open");
    let run = ledger.take_run().expect("one");
    let headers = [*run.batches[0].header()];

    for completed in ledger.full(&headers, Offset(11), producers, NOW) {
        completed.tell();
    }

    let gap = ledger.enqueue(&numbered(0, 2, 1), NOW, &()).err();
    assert_eq!(gap, Some(ProduceError::OutOfOrderSequence));
    let again = ledger.enqueue(&numbered(0, 1, 1), NOW, &()).expect("not a duplicate");
    assert_eq!(again.base_offset, Offset(11));
    assert!(ledger.enqueue(&numbered(0, 0, 1), NOW, &()).expect("a duplicate").done.is_none());
}

#[test]
fn a_batch_keeps_the_promise_under_which_it_was_accepted() {
    let mut ledger = ledger();
    ledger.set_durability(Durability::Fsync);
    ledger.enqueue(&plain(1), NOW, &()).expect("open");
    assert!(ledger.set_durability(Durability::Replicated).is_none(), "nothing is owed");
    ledger.enqueue(&plain(1), NOW, &()).expect("open");

    let both = ledger.take_run().expect("two batches");
    assert_eq!((both.batches.len(), both.durability), (2, Durability::Fsync));
    ledger.enqueue(&plain(1), NOW, &()).expect("open");
    assert_eq!(ledger.take_run().expect("a batch").durability, Durability::Replicated);
}

#[test]
fn a_stronger_promise_waits_for_everything_accepted_before() {
    let mut ledger = ledger();
    ledger.enqueue(&plain(3), NOW, &()).expect("open");
    let run = ledger.take_run().expect("a batch");

    let mut accepted = ledger.set_durability(Durability::Fsync).expect("something is owed");
    ledger.enqueue(&plain(1), NOW, &()).expect("open");

    let written = accepted.0.as_mut().expect("not written yet");
    assert!(written.try_recv().is_err());
    ledger.written(run.end, run.bytes).tell();
    assert_eq!(written.try_recv(), Ok(Ok(())));
    assert!(ledger.set_durability(Durability::Fsync).is_none(), "as strong as before");
    assert_eq!(ledger.take_run().expect("a batch").durability, Durability::Fsync);
}
