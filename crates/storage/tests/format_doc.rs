//! `docs/storage-format.md` shows one sample of every file; each is encoded here and compared with
//! the hex printed there, and decoded again.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like a test")]

use std::fmt::Write;

use base::{
    BrokerId, LeaderEpoch, Offset, PartitionId, PartitionIndex, ProducerEpoch, ProducerId,
    ReplicaGen, SegGen, Timestamp, TopicId, Uuid,
};
use env::DirIdentity;
use records::{BatchBuilder, NewRecord, Producer};
use storage::names::{SegmentName, log_folder};
use storage::{
    EpochHistory, FaultyRange, Identity, Owner, ProducerStates, Run, Seal, SegmentSummary, Start,
    StartClass, State, decode_identity, decode_seal, decode_slot, decode_start, decode_state,
    encode_identity, encode_seal, encode_slot, encode_start, encode_state,
};

const DOC: &str = include_str!("../../../docs/storage-format.md");

/// Compares `bytes` with the block of the doc that is fenced as `hex NAME`.
fn check(name: &str, bytes: &[u8]) {
    let mut printed = String::new();
    for (at, line) in bytes.chunks(16).enumerate() {
        let hex: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(printed, "{:04x}  {}", at * 16, hex.join(" ")).unwrap();
    }
    let fence = format!("```hex {name}\n");
    let block = DOC.split_once(&fence).and_then(|(_, rest)| rest.split_once("```"));
    let found = block.map_or("", |(block, _)| block);
    assert_eq!(found, printed, "docs/storage-format.md: `{name}` should be\n{printed}");
}

fn counted<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|at| first + u8::try_from(at).unwrap())
}

fn partition() -> PartitionId {
    PartitionId { topic: TopicId(Uuid(counted(0x10))), index: PartitionIndex(3) }
}

fn name() -> SegmentName {
    SegmentName { base: Offset(100), seg_gen: SegGen(0x1_0000_0002) }
}

fn batch() -> records::BatchView {
    let producer =
        Producer { id: ProducerId(1000), epoch: ProducerEpoch(0), base_sequence: Some(0) };
    let mut batch = BatchBuilder::new().assigned(Offset(100), LeaderEpoch(4)).producer(producer);
    let timestamp = Timestamp(1_700_000_000_000);
    let record =
        NewRecord { timestamp, key: Some(b"key"), value: Some(b"value"), ..NewRecord::default() };
    batch.push(&record).unwrap();
    batch.finish().unwrap()
}

#[test]
fn identity() {
    let sample = Identity {
        cluster_id: "GregorExampleCluster00".into(),
        node_id: BrokerId(1),
        dir_id: Uuid(counted(0xa0)),
    };
    check("identity", &encode_identity(&sample));
    assert_eq!(decode_identity(&encode_identity(&sample)), Ok(sample));
}

#[test]
fn seal() {
    let sample = Seal { start_id: Uuid(counted(0xb0)) };
    check("seal", &encode_seal(sample));
    assert_eq!(decode_seal(&encode_seal(sample)), Ok(sample));
}

#[test]
fn starts() {
    let sample = Start {
        start_id: Uuid(counted(0xb0)),
        ordinal: 1,
        class: StartClass::Process,
        at: Timestamp(1_700_000_000_000),
        boot_id: "6c4d7c0e-1f6b-4f3e-9d55-0d8a6a1b2c3d".into(),
        dir: DirIdentity {
            fs_kind: "ext4".into(),
            device: 0x801,
            inode: 0x1234,
            birth_ns: 1_700_000_000_000_000_000,
        },
    };
    check("starts", &encode_start(&sample));
    assert_eq!(decode_start(&encode_start(&sample)), Ok(sample));
}

#[test]
fn segment() {
    check("segment", batch().bytes());
    assert!(batch().verify_stored().is_ok());
}

#[test]
fn envelope() {
    let owner =
        Owner { partition: partition(), replica_gen: ReplicaGen(7), seg_gen: name().seg_gen };
    let bytes = u32::try_from(batch().bytes().len()).unwrap();
    let run = Run {
        base: Offset(100),
        last: Offset(100),
        epoch: LeaderEpoch(4),
        max_timestamp: Timestamp(1_700_000_000_000),
        position: 0,
        bytes,
        batches: 1,
    };
    check("envelope", &encode_slot(&owner, &run));
    assert_eq!(decode_slot(&encode_slot(&owner, &run)), Ok((owner, run)));
}

#[test]
fn state() {
    let mut epochs = EpochHistory::default();
    epochs.begin(LeaderEpoch(4), Offset(100));
    let mut producers = ProducerStates::default();
    producers.apply(batch().header(), Timestamp(1_700_000_000_005));
    let sample = State {
        partition: partition(),
        replica_gen: ReplicaGen(7),
        start_id: Uuid(counted(0xb0)),
        sealed: true,
        log_start: Offset(90),
        flushed_end: Offset(101),
        high_watermark: Offset(101),
        epochs,
        segments: vec![SegmentSummary {
            name: name(),
            end: Offset(101),
            bytes: u32::try_from(batch().bytes().len()).unwrap(),
            max_timestamp: Some((Timestamp(1_700_000_000_000), Offset(100))),
        }],
        faulty: vec![FaultyRange { from: Offset(90), to: Offset(100) }],
        producers_upto: Offset(101),
        producers,
    };
    check("state", &encode_state(&sample));
    assert_eq!(decode_state(&encode_state(&sample)), Ok(sample));
}

#[test]
fn names() {
    for text in [log_folder(partition(), ReplicaGen(7)), name().log(), name().env()] {
        assert!(DOC.contains(&text), "docs/storage-format.md should name {text}");
    }
}
