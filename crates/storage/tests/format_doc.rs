//! `docs/storage-format.md` shows one sample of every file; each is encoded here and compared with
//! the hex printed there, and decoded again.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like a test")]

use std::collections::BTreeSet;
use std::fmt::Write;

use base::{
    BrokerId, LeaderEpoch, Offset, PartitionId, PartitionIndex, ProducerEpoch, ProducerId,
    ReplicaGen, SegGen, Timestamp, TopicId, Uuid,
};
use env::DirIdentity;
use records::{BatchBuilder, NewRecord, Producer};
use storage::journal::{
    BLOCK, Change, JournalBatch, JournalHeader, JournalState, KeptLap, Manifest, Mark, Record,
    SegmentSummary, decode_block, decode_journal_header, decode_manifest, decode_records,
    encode_group, encode_journal_header, encode_manifest,
};
use storage::names::{SegmentName, log_folder};
use storage::{
    FaultyRange, Found, Identity, Owner, ProducerSnapshot, ProducerStates, Run, Seal, Start,
    StartClass, decode_identity, decode_seal, decode_slot, decode_snapshot, decode_start,
    encode_identity, encode_seal, encode_slot, encode_snapshot, encode_start,
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
    let sample = Seal { start_id: Uuid(counted(0xb0)), unmade: BTreeSet::from([partition()]) };
    check("seal", &encode_seal(&sample));
    assert_eq!(decode_seal(&encode_seal(&sample)), Ok(sample));
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
        has_holes: false,
    };
    check("envelope", &encode_slot(&owner, &run));
    assert_eq!(decode_slot(&encode_slot(&owner, &run)), Ok((owner, run)));
}

fn log() -> Found {
    Found { partition: partition(), replica_gen: ReplicaGen(7) }
}

#[test]
fn producers() {
    let mut producers = ProducerStates::default();
    producers.apply(batch().header(), Timestamp(1_700_000_000_005));
    let sample = ProducerSnapshot { log: log(), upto: Offset(101), producers };
    check("producers", &encode_snapshot(&sample));
    assert_eq!(decode_snapshot(&encode_snapshot(&sample)), Ok(sample));
}

/// What becomes of the log of the samples, up to its next segment.
fn records() -> Vec<Record> {
    let closed = SegmentSummary {
        name: name(),
        end: Offset(101),
        bytes: u32::try_from(batch().bytes().len()).unwrap(),
        max_timestamp: Some((Timestamp(1_700_000_000_000), Offset(100))),
    };
    let next = SegmentName { base: Offset(101), seg_gen: SegGen(0x1_0000_0003) };
    let (epoch, start) = (LeaderEpoch(4), Offset(100));
    let changes = [
        Change::Create,
        Change::LogStart(Offset(90)),
        Change::SegAdd(name()),
        Change::Epoch { epoch, start },
        Change::Close(closed),
        Change::SegAdd(next),
        Change::Flushed { end: Offset(101), high_watermark: Offset(101) },
        Change::Mark(Mark::Faulty(FaultyRange { from: Offset(90), to: Offset(100) })),
    ];
    changes.into_iter().map(|change| Record { log: log(), change }).collect()
}

#[test]
fn records_of_the_journal() {
    let mut bytes = Vec::new();
    for record in records() {
        record.encode(&mut bytes);
    }
    check("records", &bytes);
    assert_eq!(decode_records(&bytes), Ok(records()));
}

#[test]
fn journal() {
    let header = JournalHeader { lap: 5, nonce: 0x1122_3344_5566_7788, groups_before: 9 };
    let bytes = encode_journal_header(&header);
    check("journal", &bytes[..64]);
    assert!(bytes[64..].iter().all(|byte| *byte == 0));
    assert_eq!(decode_journal_header(&bytes), Ok(header));
}

#[test]
fn block() {
    let seg_gen = SegGen(0x1_0000_0003);
    let next = BatchBuilder::new().assigned(Offset(101), LeaderEpoch(4));
    let mut next = next;
    let timestamp = Timestamp(1_700_000_000_001);
    next.push(&NewRecord { timestamp, ..NewRecord::default() }).unwrap();
    let bytes = next.finish().unwrap().into_bytes();
    let (base, end) = (Offset(101), Offset(102));
    let batch = JournalBatch { seg_gen, position: 0, base, end, bytes };
    let record = Record { log: log(), change: Change::Batch(batch) };
    let mut payload = Vec::new();
    record.encode(&mut payload);
    let bytes = encode_group(0x1122_3344_5566_7788, 0, &payload);
    check("block", &bytes[..192]);
    assert_eq!(bytes.len(), BLOCK);
    assert!(bytes[192..BLOCK - 4].iter().all(|byte| *byte == 0));
    assert_eq!(decode_records(decode_block(&bytes).unwrap().payload), Ok(vec![record]));
}

#[test]
fn manifest() {
    let mut state = JournalState::default();
    for record in records() {
        state.apply(&record).unwrap();
    }
    let kept = vec![KeptLap { lap: 4, groups: 9 }];
    let sample = Manifest { dir_id: Uuid(counted(0xa0)), lap: 5, group: 2, kept, state };
    check("manifest", &encode_manifest(&sample));
    assert_eq!(decode_manifest(&encode_manifest(&sample)), Ok(sample));
}

#[test]
fn names() {
    for text in [log_folder(partition(), ReplicaGen(7)), name().log(), name().env()] {
        assert!(DOC.contains(&text), "docs/storage-format.md should name {text}");
    }
}
