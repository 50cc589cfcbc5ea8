//! Batches written by kafka-clients 4.4.0 (`golden/GoldenBatches.java`), read and rebuilt by us.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test may fail like a test"
)]

use base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use bytes::Bytes;
use records::control::end_transaction;
use records::{
    BatchBuilder, BatchView, Compression, Control, Ending, Found, Header, NewRecord,
    OPEN_BYTES_MAX, Producer, Record, exactly_one,
};

const GOLDEN: &str = include_str!("golden/kafka-clients-4.4.0.txt");

const HEADERS: [Header<'_>; 2] =
    [Header { key: b"h", value: Some(&[1]) }, Header { key: b"h", value: None }];
const RECORDS: [NewRecord<'_>; 3] = [
    NewRecord {
        timestamp: Timestamp(1000),
        key: Some(b"k0"),
        value: Some(b"value zero value zero value zero value zero"),
        headers: &HEADERS,
    },
    NewRecord { timestamp: Timestamp(1500), key: None, value: Some(b"v1"), headers: &[] },
    NewRecord { timestamp: Timestamp(1200), key: Some(b"k2"), value: None, headers: &[] },
];
const PRODUCER: Producer =
    Producer { id: ProducerId(7), epoch: ProducerEpoch(3), base_sequence: Some(i32::MAX - 1) };

fn golden(name: &str) -> BatchView {
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let hex = line.expect("a golden batch of that name");
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    let batch = exactly_one(&Bytes::from(bytes)).unwrap();
    batch.verify_crc().unwrap();
    batch
}

fn built(codec: Compression) -> BatchBuilder {
    let mut batch = BatchBuilder::new().compression(codec).producer(PRODUCER);
    for record in &RECORDS {
        batch.push(record).unwrap();
    }
    batch
}

fn same(record: &Record<'_>, expected: &NewRecord<'_>) -> bool {
    (record.timestamp, record.key, record.value)
        == (expected.timestamp, expected.key, expected.value)
        && record.headers.eq(expected.headers.iter().copied())
}

#[test]
fn every_codec_of_the_java_client_is_read() {
    for codec in Compression::ALL {
        let batch = golden(codec.name());
        assert_eq!(batch.header().attributes.compression(), Some(codec));
        assert_eq!(batch.header().producer(), Some(PRODUCER));
        assert_eq!(batch.header().last_sequence(), Some(0), "wrapped past i32::MAX");

        let set = batch.open(OPEN_BYTES_MAX).unwrap();
        let records: Vec<_> = set.iter().collect::<Result<_, _>>().unwrap();

        assert_eq!(records.len(), RECORDS.len());
        assert!(records.iter().zip(&RECORDS).all(|(record, expected)| same(record, expected)));
    }
}

#[test]
fn an_uncompressed_batch_is_built_to_the_byte() {
    assert_eq!(built(Compression::None).finish().unwrap(), golden("none"));
}

#[test]
fn what_the_codecs_hold_is_the_same_to_the_byte() {
    for codec in Compression::ALL {
        let ours = built(codec).finish().unwrap().open(OPEN_BYTES_MAX).unwrap();
        let theirs = golden(codec.name()).open(OPEN_BYTES_MAX).unwrap();
        assert_eq!(ours.bytes(), theirs.bytes(), "{codec}");
    }
}

#[test]
fn a_log_append_time_batch_has_one_time_for_all_records() {
    let batch = golden("log-append-time");
    assert_eq!(batch.header().leader_epoch(), Some(LeaderEpoch(9)));

    let set = batch.open(OPEN_BYTES_MAX).unwrap();
    let seen: Vec<_> = set.iter().map(|r| r.map(|r| (r.offset, r.timestamp)).unwrap()).collect();

    assert_eq!(seen, [(Offset(42), Timestamp(5000)), (Offset(43), Timestamp(5000))]);
    let found = batch.first_at_or_after(Timestamp(4000), Offset(43), OPEN_BYTES_MAX).unwrap();
    assert_eq!(found, Some(Found { offset: Offset(43), timestamp: Timestamp(5000) }));
}

#[test]
fn transaction_markers_are_read_and_built_to_the_byte() {
    for (name, offset, ending) in [("abort", 77, Ending::Abort), ("commit", 78, Ending::Commit)] {
        let batch = golden(name);
        assert!(batch.header().attributes.is_control());
        let set = batch.open(OPEN_BYTES_MAX).unwrap();
        let control = Control::parse(&set.iter().next().unwrap().unwrap()).unwrap();
        assert_eq!(control, Control::EndTransaction { ending, coordinator_epoch: 6 });

        let (id, epoch) = (ProducerId(12), ProducerEpoch(5));
        let ours = end_transaction(id, epoch, ending, 6, Timestamp(3000)).unwrap();

        assert_eq!(ours.assigned(Offset(offset), LeaderEpoch(4)).finish().unwrap(), batch);
    }
}
