//! Our own files and names, as a damaged or foreign directory may hold them.
//!
//! The first byte says which, the second whether the checksums around the rest are put right, since
//! a fuzzer does not guess them. What can be read is written again and must read the same.
#![no_main]

use base::{Offset, PartitionId, PartitionIndex, ReplicaGen, SegGen, TopicId, Uuid};
use libfuzzer_sys::fuzz_target;
use storage::names::{SegmentName, log_folder, parse_log_folder};
use storage::journal::{
    BLOCK, decode_block, decode_journal_header, decode_manifest, decode_records,
    encode_journal_header, encode_manifest,
};
use storage::{
    Owner, ProducerStates, SLOT, SLOT_BYTES, decode_file, decode_identity, decode_seal,
    decode_slot, decode_snapshot, decode_start, decode_starts, encode_identity, encode_seal,
    encode_slot, encode_snapshot, encode_start,
};

/// A whole-file frame around `body`.
fn frame(magic: &[u8; 8], body: &[u8]) -> Vec<u8> {
    let mut out = magic.to_vec();
    out.extend_from_slice(&[1, 0, 0, 0]);
    out.extend_from_slice(&u32::try_from(body.len()).expect("inputs are small").to_le_bytes());
    out.extend_from_slice(body);
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Every whole slot of `len` bytes with its magic and checksum put right.
fn slots(magic: &[u8; 4], len: usize, bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for slot in out.chunks_exact_mut(len) {
        slot[..4].copy_from_slice(magic);
        slot[4..6].copy_from_slice(&[1, 0]);
        let crc = crc32fast::hash(&slot[..len - 4]);
        slot[len - 4..].copy_from_slice(&crc.to_le_bytes());
    }
    out
}

/// A metadata log: the index in front of a snapshot, then entries, each of the length its first
/// byte says.
fn metadata_log(bytes: &[u8]) -> Option<Vec<u8>> {
    let (next_index, mut rest) = bytes.split_first_chunk::<8>()?;
    let mut out = Vec::new();
    let mut take = || {
        let (len, more) = rest.split_first()?;
        let (payload, more) = more.split_at_checked(usize::from(*len))?;
        rest = more;
        Some(payload)
    };
    let snapshot = take()?;
    out.extend_from_slice(b"GREGMETA");
    out.extend_from_slice(&1_u32.to_le_bytes());
    out.extend_from_slice(&u32::try_from(snapshot.len()).ok()?.to_le_bytes());
    out.extend_from_slice(next_index);
    out.extend_from_slice(&crc32fast::hash(snapshot).to_le_bytes());
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(snapshot);
    let mut first = u64::from_le_bytes(*next_index);
    while let Some(payload) = take() {
        let mut summed = first.to_le_bytes().to_vec();
        summed.extend_from_slice(payload);
        out.extend_from_slice(&u32::try_from(payload.len()).ok()?.to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(&summed).to_le_bytes());
        out.extend_from_slice(&summed);
        first = first.wrapping_add(1);
    }
    Some(out)
}

fn owner() -> Owner {
    let partition = PartitionId { topic: TopicId(Uuid([0; 16])), index: PartitionIndex(0) };
    Owner { partition, replica_gen: ReplicaGen(0), seg_gen: SegGen(0) }
}

fn envelopes(bytes: &[u8]) {
    if let Ok((owner, run)) = decode_slot(bytes) {
        let slot = encode_slot(&owner, &run);
        assert_eq!(decode_slot(&slot), Ok((owner, run)));
    }
    let owner = bytes.get(..SLOT).and_then(|slot| decode_slot(slot).ok());
    let (owner, base) = owner.map_or((self::owner(), Offset(0)), |(owner, run)| (owner, run.base));
    let found = decode_file(&owner, base, bytes);
    let (mut position, mut next) = (0, base);
    for run in found.runs {
        assert!(run.position == position && run.base >= next);
        (position, next) = (run.end_position(), run.end());
    }
}

fn starts(bytes: &[u8]) {
    let (starts, damaged) = decode_starts(bytes);
    assert_eq!(starts.len() + damaged, bytes.len().div_ceil(SLOT_BYTES));
    for start in starts {
        assert_eq!(decode_start(&encode_start(&start)), Ok(start));
    }
}

fn names(bytes: &[u8]) {
    let Ok(name) = std::str::from_utf8(bytes) else { return };
    if let Some((segment, env)) = SegmentName::parse(name) {
        assert_eq!(if env { segment.env() } else { segment.log() }, name);
    }
    if let Some((partition, replica_gen)) = parse_log_folder(name) {
        assert_eq!(log_folder(partition, replica_gen), name);
    }
}

fn journal(bytes: &[u8], repair: bool) {
    if let Ok(records) = decode_records(bytes) {
        let mut again = Vec::new();
        records.iter().for_each(|record| record.encode(&mut again));
        assert_eq!(again, bytes);
    }
    let mut block = bytes.to_vec();
    if repair {
        block.resize(BLOCK - 4, 0);
        let crc = crc32fast::hash(&block);
        block.extend_from_slice(&crc.to_le_bytes());
    }
    if let Ok(block) = decode_block(&block) {
        assert!(block.index < block.count);
    }
    if let Ok(header) = decode_journal_header(bytes) {
        assert_eq!(decode_journal_header(&encode_journal_header(&header)), Ok(header));
    }
}

fuzz_target!(|data: &[u8]| {
    let [which, repair, rest @ ..] = data else { return };
    let framed = |magic| if repair & 1 == 0 { rest.to_vec() } else { frame(magic, rest) };
    let slotted =
        |magic, len| if repair & 1 == 0 { rest.to_vec() } else { slots(magic, len, rest) };
    match which % 9 {
        0 => {
            if let Ok(identity) = decode_identity(&framed(b"GRGIDENT")) {
                assert_eq!(decode_identity(&encode_identity(&identity)), Ok(identity));
            }
        },
        1 => {
            if let Ok(seal) = decode_seal(&framed(b"GRGSEAL\0")) {
                assert_eq!(decode_seal(&encode_seal(&seal)), Ok(seal));
            }
        },
        2 => {
            if let Ok(snapshot) = decode_snapshot(&framed(b"GRGPRODS")) {
                assert_eq!(decode_snapshot(&encode_snapshot(&snapshot)), Ok(snapshot));
            }
            if let Ok(manifest) = decode_manifest(&framed(b"GRGMANIF")) {
                assert_eq!(decode_manifest(&encode_manifest(&manifest)), Ok(manifest));
            }
        },
        3 => starts(&slotted(b"GSTR", SLOT_BYTES)),
        4 => envelopes(&slotted(b"GENV", SLOT)),
        5 => {
            if let Ok(states) = ProducerStates::decode(rest) {
                let mut bytes = Vec::new();
                states.encode(&mut bytes);
                assert_eq!(ProducerStates::decode(&bytes), Ok(states));
            }
        },
        6 => names(rest),
        7 => journal(rest, repair & 1 == 1),
        _ => {
            let bytes = if repair & 1 == 0 { Some(rest.to_vec()) } else { metadata_log(rest) };
            if let Some(bytes) = bytes {
                drop(broker::inspect::metadata_bytes(std::path::Path::new("log"), &bytes));
            }
        },
    }
});
