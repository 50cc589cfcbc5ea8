//! The five codecs of a batch's body.
//!
//! Invariants: `decompress` is total and its output never exceeds the bound it is given, so a
//! small hostile block cannot take more memory than the caller allows (a vector may have up to
//! twice the bound as capacity while it grows; zstd reserves, but does not touch, at most a
//! 128 MiB window). What `compress` writes, the Java client reads.

pub(crate) mod snappy;
pub(crate) mod stream;

use std::io::{self, Read, Write};

use bytes::Bytes;
use thiserror::Error;

use crate::header::Compression;

/// A generous bound for [`decompress`] where nothing better is known: 64 MiB, sixty-four times
/// Kafka's default `max.message.bytes`.
pub const OPEN_BYTES_MAX: usize = 64 << 20;
/// What a batch may inflate to, whatever its size: sixteen records of Kafka's default size limit.
const INFLATED_BYTES_MIN: usize = 16 << 20;
/// How much larger the inside of a batch may be than the batch, up to [`INFLATED_BYTES_FULL`].
const INFLATED_RATIO_SMALL: usize = 256;
const INFLATED_BYTES_FULL: usize = 128 << 20;
/// The same beyond that.
const INFLATED_RATIO_LARGE: usize = 64;
/// What no batch may inflate to, whatever its size: one without compression could not be as large, for
/// its length has 31 bits.
const INFLATED_BYTES_MAX: usize = 0x7fff_ffff;

/// What a batch that is in a log may inflate to, whatever its size there: another codec or level may
/// have made it smaller since it was let in ([`inflated_bytes_max`]), and a delete horizon its records
/// larger, of which each has at least 7 bytes and gets at most 10 more. It bounds time, not memory.
pub const STORED_INFLATED_BYTES_MAX: usize = 4 * INFLATED_BYTES_MAX;

/// What a batch of `batch_bytes` may inflate to to be let into a log: 256 times its size, but 16 MiB in
/// any case; beyond 128 MiB sixty-four times, up to 2 GiB. It bounds time, not memory. The size is that
/// of the batch as it was sent: of what is in a log nothing follows from its size there.
pub fn inflated_bytes_max(batch_bytes: usize) -> usize {
    let small = batch_bytes.saturating_mul(INFLATED_RATIO_SMALL);
    let large = batch_bytes.saturating_mul(INFLATED_RATIO_LARGE);
    small.clamp(INFLATED_BYTES_MIN, INFLATED_BYTES_FULL).max(large).min(INFLATED_BYTES_MAX)
}

/// The first bytes of an LZ4 frame; the legacy format, which Kafka does not read, has others.
const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Kafka's LZ4 frames have blocks of 64 KiB.
pub(crate) const LZ4_BLOCK: lz4_flex::frame::BlockSize = lz4_flex::frame::BlockSize::Max64KB;
/// The largest window a zstd frame may ask for, as a power of two: what level 22 writes.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// zstd's own default, and Kafka's `compression.zstd.level`.
pub(crate) const ZSTD_LEVEL: i32 = 3;

/// Why a compressed block could not be opened, or a block not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    /// A codec number nobody assigned (5 to 7).
    #[error("codec {0} does not exist")]
    Unknown(u8),
    /// The block is not what its codec writes.
    #[error("the {0} block is damaged")]
    Damaged(Compression),
    /// The block holds more than the caller allows.
    #[error("the block holds more than {0} bytes")]
    TooLarge(usize),
}

/// The bytes inside a block, at most `bytes_max`. Without compression: the block itself, shared,
/// whatever its length.
///
/// # Errors
/// [`CodecError::Damaged`] or [`CodecError::TooLarge`].
pub fn decompress(codec: Compression, block: Bytes, bytes_max: usize) -> Result<Bytes, CodecError> {
    let damaged = |_| CodecError::Damaged(codec);
    match codec {
        Compression::None => return Ok(block),
        Compression::Gzip => {
            read_all(flate2::bufread::MultiGzDecoder::new(&*block), codec, bytes_max)
        },
        Compression::Snappy => snappy::decompress(&block, bytes_max),
        Compression::Lz4 => {
            let mut decoder = lz4_flex::frame::FrameDecoder::new(
                lz4_frame(&block).ok_or(CodecError::Damaged(codec))?,
            );
            let plain = read_all(&mut decoder, codec, bytes_max)?;
            // The decoder says "no more" for an empty block in the middle of a frame as well.
            if decoder.get_ref().is_empty() { Ok(plain) } else { Err(CodecError::Damaged(codec)) }
        },
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&*block).map_err(damaged)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(damaged)?;
            read_all(decoder, codec, bytes_max)
        },
    }
    .map(Bytes::from)
}

/// The LZ4 frame at the front of `block`, to its end mark: one frame only, as Kafka reads it. `None`
/// if it has none; the decoder takes a frame cut between two blocks for one that has ended.
fn lz4_frame(block: &[u8]) -> Option<&[u8]> {
    if !block.starts_with(&LZ4_MAGIC) {
        return None;
    }
    let flags = block.get(4).copied()?;
    let bytes = |bit: u8, bytes| if flags & bit == 0 { 0 } else { bytes };
    // Magic, flags, block size, checksum; the content's size and the dictionary's id, if any.
    let head = 7 + bytes(0x08, 8) + bytes(0x01, 4);
    let (checksum, trailer) = (bytes(0x10, 4), bytes(0x04, 4));
    let mut rest = block.get(head..)?;
    while let Some((size, more)) = rest.split_first_chunk() {
        // The topmost bit says that the block is stored as it is. Kafka takes a stored block of no
        // bytes for the end mark as well.
        let size = usize::try_from(u32::from_le_bytes(*size) & 0x7fff_ffff).unwrap_or(usize::MAX);
        if size == 0 {
            let after = more.get(trailer..)?;
            return block.get(..block.len().saturating_sub(after.len()));
        }
        rest = more.get(size.saturating_add(checksum)..).unwrap_or_default();
    }
    None
}

fn read_all(
    reader: impl Read,
    codec: Compression,
    bytes_max: usize,
) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_to_end(&mut out).map_err(|_| CodecError::Damaged(codec))?;
    if out.len() > bytes_max { Err(CodecError::TooLarge(bytes_max)) } else { Ok(out) }
}

/// `records` as a block of `codec` at its default level. Without compression: shared.
///
/// # Errors
/// [`CodecError::TooLarge`] if the codec cannot take as many bytes (snappy: 4 GiB a block), and
/// [`CodecError::Damaged`] should a codec fail to write into memory.
pub fn compress(codec: Compression, records: Bytes) -> Result<Bytes, CodecError> {
    let damaged = |_| CodecError::Damaged(codec);
    match codec {
        Compression::None => return Ok(records),
        Compression::Gzip => gzip(&records).map_err(damaged),
        Compression::Snappy => snappy::compress(&records),
        Compression::Lz4 => lz4(&records).map_err(damaged),
        Compression::Zstd => zstd::stream::encode_all(&*records, ZSTD_LEVEL).map_err(damaged),
    }
    .map(Bytes::from)
}

fn gzip(records: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(records)?;
    encoder.finish()
}

/// Independent blocks, which is all that the Java client reads.
fn lz4(records: &[u8]) -> io::Result<Vec<u8>> {
    let frame = lz4_flex::frame::FrameInfo::new()
        .block_size(LZ4_BLOCK)
        .block_mode(lz4_flex::frame::BlockMode::Independent);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, Vec::new());
    encoder.write_all(records)?;
    Ok(encoder.finish()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_codec_gives_back_what_it_took(
            unit in prop::collection::vec(any::<u8>(), 0..300),
            times in 0..400_usize,
        ) {
            let plain = Bytes::from(unit.repeat(times));
            for codec in Compression::ALL {
                let block = compress(codec, plain.clone()).unwrap();
                prop_assert_eq!(decompress(codec, block, plain.len()).unwrap(), plain.clone());
            }
        }

        #[test]
        fn no_bytes_make_a_decoder_panic_or_exceed_its_bound(
            block in prop::collection::vec(any::<u8>(), 0..200),
            prefix in prop::sample::select(vec![
                &b""[..], b"\x1f\x8b\x08\x00", b"\x04\x22\x4d\x18\x60\x40\x82",
                b"\x04\x22\x4d\x18\x40\x40\xc0", b"\x28\xb5\x2f\xfd",
                b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0",
            ]),
        ) {
            let block = Bytes::from([prefix, &block].concat());
            for codec in Compression::ALL {
                if let (Ok(out), true) = (decompress(codec, block.clone(), 64), codec != Compression::None) {
                    prop_assert!(out.len() <= 64);
                }
            }
        }

        #[test]
        fn a_damaged_block_never_panics(
            unit in prop::collection::vec(any::<u8>(), 1..40),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u32,
            cut in any::<prop::sample::Index>(),
        ) {
            let plain = Bytes::from(unit.repeat(100));
            for codec in Compression::ALL {
                let mut block = compress(codec, plain.clone()).unwrap().to_vec();
                let at = at.index(block.len());
                block[at] ^= 1 << bit;
                block.truncate(cut.index(block.len()).max(at + 1));
                drop(decompress(codec, Bytes::from(block), 1 << 20));
            }
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_bound() {
        let plain = Bytes::from(vec![0; 10 << 20]);
        for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let block = compress(codec, plain.clone()).unwrap();
            assert_eq!(
                decompress(codec, block.clone(), plain.len() - 1),
                Err(CodecError::TooLarge(plain.len() - 1)),
            );
            assert_eq!(decompress(codec, block, plain.len()), Ok(plain.clone()));
        }
    }
}
