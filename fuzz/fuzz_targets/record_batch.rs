//! Record batches as producers send them and logs hold them: found, judged, opened, walked.
//!
//! The first byte says how much is put right before the batch is looked at (length, magic and CRC;
//! the records compressed into a sound block), since a fuzzer does not guess checksums.
#![no_main]

use std::ops::ControlFlow;

use base::{Duration, Offset, Timestamp};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use records::codec::compress;
use records::header::{ATTRIBUTES_AT, HEADER_LEN, crc32c};
use records::{BatchView, Compression, Control, Depth, Opener, Policy, TimestampType, validate};

/// Small, so that a bomb is noticed by the limit and not by the memory limit of the fuzzer.
const OPEN_BYTES_MAX: usize = 64 * 1024;
const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// Makes `bytes` a batch of their own length with a sound CRC.
fn repair(bytes: &mut [u8]) {
    if bytes.len() < HEADER_LEN {
        return;
    }
    let length = u32::try_from(bytes.len() - 12).expect("inputs are small");
    bytes[..8].fill(0);
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    let crc = crc32c(&bytes[ATTRIBUTES_AT..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// The same header in front of its body as a sound block of `codec`.
fn packed(bytes: &[u8], codec: u8) -> Vec<u8> {
    if bytes.len() < HEADER_LEN {
        return bytes.to_vec();
    }
    let (head, body) = bytes.split_at(HEADER_LEN);
    let codec = codec % 5;
    let block = compress(CODECS[usize::from(codec)], Bytes::copy_from_slice(body));
    let mut out = [head, &block.expect("memory can be written to")].concat();
    out[ATTRIBUTES_AT + 1] = out[ATTRIBUTES_AT + 1] & !7 | codec;
    out
}

fn policy(mode: u8, depth: Depth) -> Policy {
    let timestamp_type = match mode & 0x40 {
        0 => TimestampType::CreateTime,
        _ => TimestampType::LogAppendTime,
    };
    Policy {
        batch_bytes_max: 1024 * 1024,
        record_bytes_max: usize::MAX,
        depth,
        open_bytes_max: OPEN_BYTES_MAX,
        key_required: mode & 0x80 != 0,
        timestamp_type,
        now: Timestamp(1_700_000_000_000),
        before_max: Duration::from_millis(i64::MAX.unsigned_abs()),
        after_max: Duration::from_millis(3_600_000),
    }
}

/// Opens and walks a batch to its end. Returns how many records it has, if it has them.
fn walk(batch: &BatchView) -> Option<usize> {
    let set = batch.open(OPEN_BYTES_MAX).ok()?;
    let compressed = batch.header().attributes.compression() != Some(Compression::None);
    assert!(!compressed || set.bytes().len() <= OPEN_BYTES_MAX);
    let mut count = 0;
    let mut whole = true;
    for record in &set {
        let Ok(record) = record else {
            whole = false;
            continue;
        };
        assert!(whole, "nothing follows an error");
        count += 1;
        let headers = record.headers.len();
        assert_eq!(record.headers.count(), headers, "headers were checked as they were walked");
        let _parsed = Control::parse(&record);
    }
    let mut scanned = 0;
    let ended = batch.scan(&mut Opener::default(), OPEN_BYTES_MAX, |_| {
        scanned += 1;
        ControlFlow::Continue(())
    });
    assert_eq!((ended.is_ok(), scanned), (whole, count), "a scan sees what a walk sees");
    let _found = batch.first_at_or_after(Timestamp(0), Offset(0), OPEN_BYTES_MAX);
    whole.then_some(count)
}

fuzz_target!(|data: &[u8]| {
    let Some((mode, bytes)) = data.split_first() else { return };
    let mut bytes = if mode & 2 == 0 { bytes.to_vec() } else { packed(bytes, mode >> 2 & 7) };
    if mode & 1 != 0 {
        repair(&mut bytes);
    }
    let bytes = Bytes::from(bytes);
    let mut position = 0;
    for batch in records::batches(bytes.clone()).flatten() {
        position += batch.bytes().len();
        let _sound = batch.verify_stored();
        let _latest = batch.latest(OPEN_BYTES_MAX);
        let _count = walk(&batch);
    }
    assert!(position <= bytes.len());
    let mut opener = Opener::default();
    let judged = [Depth::Header, Depth::Walk]
        .map(|depth| validate(&bytes, &policy(*mode, depth), &mut opener).ok());
    if let Some(seen) = &judged[1] {
        let records = walk(&seen.batch).expect("what was validated can be walked");
        assert_eq!(Ok(records), usize::try_from(seen.record_count));
    }
});
