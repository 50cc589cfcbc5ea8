//! LZ4 frames that are not what our own writer makes: hostile ones, and sound ones of others.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

use std::io::Write;

use base::{Duration, Timestamp};
use bytes::Bytes;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use records::header::{ATTRIBUTES_AT, CRC_AT, HEADER_LEN, LENGTH_AT, LOG_OVERHEAD, crc32c};
use records::{
    BatchBuilder, BatchError, BatchView, CodecError, Compression, Depth, NewRecord, Opener, Policy,
    STORED_INFLATED_BYTES_MAX, TimestampType, inflated_bytes_max, validate,
};

const END_MARK: [u8; 4] = [0; 4];
const STORED_BLOCK_OF_NOTHING: [u8; 4] = [0, 0, 0, 0x80];
const BLOCK_OF_NOTHING: [u8; 5] = [1, 0, 0, 0, 0];

fn policy() -> Policy {
    Policy {
        batch_bytes_max: 1 << 24,
        record_bytes_max: usize::MAX,
        depth: Depth::Walk,
        open_bytes_max: 1 << 20,
        key_required: false,
        timestamp_type: TimestampType::CreateTime,
        now: Timestamp(0),
        before_max: Duration::MAX,
        after_max: Duration::MAX,
    }
}

fn batch(codec: Compression) -> Bytes {
    let mut batch = BatchBuilder::new().compression(codec);
    let record =
        NewRecord { timestamp: Timestamp(0), value: Some(&[7; 500]), ..NewRecord::default() };
    batch.push(&record).unwrap();
    batch.finish_bytes().unwrap()
}

/// The batch with another block behind its header, and the CRC that goes with it.
fn with_block(batch: &Bytes, block: &[u8]) -> Bytes {
    let mut bytes = [&batch[..HEADER_LEN], block].concat();
    let length = i32::try_from(bytes.len() - LOG_OVERHEAD).unwrap();
    bytes[LENGTH_AT..][..4].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&bytes[ATTRIBUTES_AT..]);
    bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

/// A sound batch in whose frame `blocks` stand where the end mark was.
fn ending_in(blocks: &[&[u8]]) -> Bytes {
    let sound = batch(Compression::Lz4);
    let frame = sound[HEADER_LEN..].strip_suffix(&END_MARK).unwrap();
    with_block(&sound, &[frame, &blocks.concat()].concat())
}

fn is_damaged(batch: &Bytes, opener: &mut Opener) -> bool {
    let damaged = CodecError::Damaged(Compression::Lz4);
    let validated = validate(batch, &policy(), opener);
    let opened = BatchView::parse(batch).unwrap().open(1 << 20);
    assert_eq!(opened.is_err(), validated.is_err(), "in one piece as through the window");
    matches!(validated, Err(BatchError::Codec(error)) if error == damaged)
}

#[test]
fn nothing_of_one_clients_frame_reaches_the_next_clients() {
    let sound = batch(Compression::Lz4);
    let mut opener = Opener::default();
    let trash: &[u8] = &[5, 0, 0, 0x80, b't', b'r', b'a', b's', b'h'];
    // What Kafka takes for an end mark as well.
    let ended = ending_in(&[&STORED_BLOCK_OF_NOTHING]);
    let hostile = [
        ending_in(&[&BLOCK_OF_NOTHING, &END_MARK]),
        ending_in(&[&BLOCK_OF_NOTHING, trash, &END_MARK]),
        ending_in(&[]),
    ];
    for frame in hostile {
        assert!(validate(&ended, &policy(), &mut opener).is_ok());
        assert!(validate(&sound, &policy(), &mut opener).is_ok());
        assert!(is_damaged(&frame, &mut opener));
        assert!(validate(&sound, &policy(), &mut opener).is_ok());
    }
}

#[test]
fn sound_frames_of_any_block_size_and_mode_are_read_one_after_the_other() {
    let mut opener = Opener::default();
    let plain = batch(Compression::None);
    for size in [BlockSize::Max4MB, BlockSize::Max64KB, BlockSize::Max1MB, BlockSize::Max256KB] {
        for mode in [BlockMode::Linked, BlockMode::Independent] {
            let info = FrameInfo::new().block_size(size).block_mode(mode).content_checksum(true);
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&plain[HEADER_LEN..]).unwrap();
            let frame = encoder.finish().unwrap();
            let batch = with_block(&batch(Compression::Lz4), &frame);
            assert!(validate(&batch, &policy(), &mut opener).is_ok());
            let opened = BatchView::parse(&batch).unwrap().open(1 << 20).unwrap();
            assert_eq!(opened.bytes(), &plain.slice(HEADER_LEN..));
        }
    }
}

#[test]
fn what_a_batch_may_hold_grows_with_its_size() {
    let mib = 1 << 20;
    assert_eq!(inflated_bytes_max(4_000), 16 * mib);
    assert_eq!(inflated_bytes_max(mib / 4), 64 * mib);
    assert_eq!(inflated_bytes_max(mib), 128 * mib);
    assert_eq!(inflated_bytes_max(10 * mib), 640 * mib);
    assert_eq!(inflated_bytes_max(100 * mib), 2_048 * mib - 1);
    assert!(inflated_bytes_max(usize::MAX) < STORED_INFLATED_BYTES_MAX);
}
