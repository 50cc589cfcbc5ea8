//! Properties and stories of the producer table.

use proptest::prelude::*;
use records::Attributes;

use super::*;

fn header(id: i64, epoch: i16, sequence: i32, count: i32, base: i64) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(base),
        batch_length: 49,
        partition_leader_epoch: 0,
        crc: 0,
        attributes: Attributes(0),
        last_offset_delta: count - 1,
        base_timestamp: Timestamp(7),
        max_timestamp: Timestamp(7),
        producer_id: id,
        producer_epoch: epoch,
        base_sequence: sequence,
        record_count: count,
    }
}

fn check(states: &ProducerStates, header: &BatchHeader) -> Verdict {
    states.check(&ProducerBatch::of(header).unwrap())
}

fn applied(headers: &[BatchHeader]) -> ProducerStates {
    let mut states = ProducerStates::default();
    for header in headers {
        assert_eq!(check(&states, header), Verdict::Append);
        states.apply(header, Timestamp(100));
    }
    states
}

#[test]
fn a_retried_batch_is_answered_with_its_first_offset() {
    let states = applied(&[header(1, 0, 0, 3, 10), header(1, 0, 3, 2, 20)]);

    let verdict = check(&states, &header(1, 0, 0, 3, 99));

    assert!(matches!(verdict, Verdict::Duplicate(kept) if kept.base_offset == Offset(10)));
}

#[test]
fn only_the_last_five_batches_are_remembered() {
    let headers: Vec<_> = (0..6).map(|at| header(1, 0, at, 1, i64::from(at))).collect();
    let states = applied(&headers);

    assert_eq!(check(&states, &headers[0]), Verdict::OutOfOrder { expected: 6 });
    assert!(matches!(check(&states, &headers[1]), Verdict::Duplicate(_)));
}

#[test]
fn a_gap_and_a_partial_overlap_are_out_of_order() {
    let states = applied(&[header(1, 0, 0, 3, 10)]);

    assert_eq!(check(&states, &header(1, 0, 4, 1, 0)), Verdict::OutOfOrder { expected: 3 });
    assert_eq!(check(&states, &header(1, 0, 0, 2, 0)), Verdict::OutOfOrder { expected: 3 });
    assert_eq!(check(&states, &header(1, 0, 3, 1, 0)), Verdict::Append);
}

#[test]
fn an_old_epoch_is_fenced_and_a_new_one_starts_at_zero() {
    let mut states = applied(&[header(1, 4, 0, 3, 10)]);

    assert_eq!(
        check(&states, &header(1, 3, 3, 1, 0)),
        Verdict::Fenced { current: ProducerEpoch(4) }
    );
    assert_eq!(check(&states, &header(1, 5, 3, 1, 0)), Verdict::OutOfOrder { expected: 0 });
    assert_eq!(check(&states, &header(1, 5, 0, 3, 0)), Verdict::Append);

    states.apply(&header(1, 5, 0, 3, 13), Timestamp(100));
    assert!(matches!(check(&states, &header(1, 4, 0, 3, 0)), Verdict::Fenced { .. }));
}

#[test]
fn after_the_largest_sequence_comes_zero() {
    let states = applied(&[header(1, 0, i32::MAX - 1, 2, 10)]);

    assert_eq!(check(&states, &header(1, 0, 0, 1, 0)), Verdict::Append);
    assert_eq!(check(&states, &header(1, 0, 5, 1, 0)), Verdict::OutOfOrder { expected: 0 });
}

#[test]
fn a_batch_may_wrap_in_its_middle() {
    let mut states = applied(&[header(1, 0, i32::MAX, 3, 10)]);

    assert_eq!(check(&states, &header(1, 0, 2, 1, 0)), Verdict::Append);
    states.apply(&header(1, 0, 2, 1, 13), Timestamp(100));
    assert!(matches!(check(&states, &header(1, 0, i32::MAX, 3, 0)), Verdict::Duplicate(_)));
}

#[test]
fn a_silent_producer_is_forgotten_and_may_start_anywhere() {
    let mut states = applied(&[header(1, 0, 0, 3, 10)]);

    assert_eq!(states.expire(Timestamp(199), Duration::from_millis(100)), 0);
    assert_eq!(states.expire(Timestamp(200), Duration::from_millis(100)), 1);

    assert_eq!(check(&states, &header(1, 0, 77, 1, 0)), Verdict::Append);
}

proptest! {
    #[test]
    fn a_snapshot_gives_back_the_states(
        batches in prop::collection::vec((0_i64..4, 0_i16..3, 0_i32..50, 1_i32..4), 0..40),
    ) {
        let mut states = ProducerStates::default();
        for (at, (id, epoch, sequence, count)) in batches.iter().enumerate() {
            let base = i64::try_from(at).unwrap() * 10;
            states.apply(&header(*id, *epoch, *sequence, *count, base), Timestamp(base));
        }
        let mut bytes = Vec::new();
        states.encode(&mut bytes);

        prop_assert_eq!(ProducerStates::decode(&bytes), Ok(states));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(ProducerStates::decode(&bytes));
    }
}
