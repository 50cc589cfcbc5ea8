//! Snappy as Kafka's clients write it: xerial framing from Java, one raw block from librdkafka.
//!
//! Invariant: the length a block claims is checked against the bound, and against what so few
//! bytes can hold at all, before memory is taken for it.

use std::io::{self, Write};

use super::CodecError;
use crate::header::Compression;
use crate::varint::Reader;

/// The stream header of snappy-java: a magic, then version and lowest compatible version, both 1.
const XERIAL: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// Bytes of the magic alone. Its first four, read as a length, would be negative.
const XERIAL_MAGIC_LEN: usize = 8;
/// Uncompressed bytes of a chunk, as snappy-java chooses by default.
const CHUNK_BYTES: usize = 32 << 10;
/// A snappy copy element of three bytes yields at most 64: nothing expands by more than this.
const EXPANSION_MAX: usize = 64;

const DAMAGED: CodecError = CodecError::Damaged(Compression::Snappy);

pub(super) fn decompress(block: &[u8], bytes_max: usize) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    let mut chunks = Chunks::new(block);
    while let Some(chunk) = chunks.next()? {
        append_chunk(&mut out, chunk, bytes_max, bytes_max)?;
    }
    Ok(out)
}

/// The compressed chunks of a block: those of its streams, or the block as the only one.
pub(super) struct Chunks<'a> {
    reader: Reader<'a>,
    framed: bool,
}

impl<'a> Chunks<'a> {
    pub(super) fn new(block: &'a [u8]) -> Self {
        let framed = block.starts_with(&XERIAL[..XERIAL_MAGIC_LEN]);
        Self { reader: Reader::new(block), framed }
    }

    fn next(&mut self) -> Result<Option<&'a [u8]>, CodecError> {
        let reader = &mut self.reader;
        if !self.framed {
            // Even no bytes at all are a chunk, though not a sound one.
            self.framed = true;
            return Ok(reader.take(reader.rest().len()));
        }
        while reader.rest().starts_with(&XERIAL[..XERIAL_MAGIC_LEN]) {
            // The front of the stream, or a second stream behind the first.
            reader.take(XERIAL.len()).ok_or(DAMAGED)?;
        }
        if reader.is_empty() {
            return Ok(None);
        }
        let len = reader.take(4).and_then(|len| len.first_chunk()).ok_or(DAMAGED)?;
        let len = usize::try_from(i32::from_be_bytes(*len)).map_err(|_| DAMAGED)?;
        reader.take(len).map(Some).ok_or(DAMAGED)
    }

    /// Replaces `out` by the inside of the next chunk, at most `left` bytes of the `bytes_max` that
    /// the whole block may hold. Returns whether there was one.
    pub(super) fn next_into(
        &mut self,
        out: &mut Vec<u8>,
        left: usize,
        bytes_max: usize,
    ) -> Result<bool, CodecError> {
        out.clear();
        let Some(chunk) = self.next()? else {
            return Ok(false);
        };
        append_chunk(out, chunk, left, bytes_max)?;
        Ok(true)
    }
}

/// `out` may become `room` bytes long.
fn append_chunk(
    out: &mut Vec<u8>,
    chunk: &[u8],
    room: usize,
    bytes_max: usize,
) -> Result<(), CodecError> {
    let len = snap::raw::decompress_len(chunk).map_err(|_| DAMAGED)?;
    if len > chunk.len().saturating_mul(EXPANSION_MAX) {
        return Err(DAMAGED);
    }
    let start = out.len();
    let end = start.checked_add(len).filter(|end| *end <= room);
    out.resize(end.ok_or(CodecError::TooLarge(bytes_max))?, 0);
    snap::raw::Decoder::new().decompress(chunk, &mut out[start..]).map_err(|_| DAMAGED)?;
    Ok(())
}

pub(super) fn compress(records: &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut framed = Framed::new(Vec::new()).map_err(|_| DAMAGED)?;
    framed.write_all(records).map_err(|_| DAMAGED)?;
    framed.finish().map_err(|_| DAMAGED)
}

/// Writes xerial frames of what is written to it.
pub(crate) struct Framed<W> {
    out: W,
    chunk: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl<W: Write> Framed<W> {
    pub(crate) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&XERIAL)?;
        Ok(Self { out, chunk: Vec::new(), encoder: snap::raw::Encoder::new() })
    }

    /// What is written so far goes out; where it went.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.put_chunk()?;
        Ok(self.out)
    }

    fn put_chunk(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let packed = self.encoder.compress_vec(&self.chunk).map_err(io::Error::other)?;
        let len = u32::try_from(packed.len()).map_err(io::Error::other)?;
        self.out.write_all(&len.to_be_bytes())?;
        self.out.write_all(&packed)?;
        self.chunk.clear();
        Ok(())
    }
}

impl<W: Write> Write for Framed<W> {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        let room = CHUNK_BYTES.saturating_sub(self.chunk.len());
        let taken = more.get(..room).unwrap_or(more);
        self.chunk.extend_from_slice(taken);
        if self.chunk.len() == CHUNK_BYTES {
            self.put_chunk()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_block_and_two_streams_in_a_row_are_read() {
        let text = b"the same words, the same words, the same words".as_slice();
        let raw = snap::raw::Encoder::new().compress_vec(text).unwrap();
        let framed = compress(text).unwrap();

        assert_eq!(decompress(&raw, 100).unwrap(), text);
        assert_eq!(decompress(&[&*framed, &framed].concat(), 100).unwrap(), [text, text].concat());
    }

    #[test]
    fn a_claimed_length_that_cannot_be_is_refused_before_memory_is_taken() {
        let claims_4_gib = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];

        assert_eq!(decompress(&claims_4_gib, usize::MAX), Err(DAMAGED));
    }
}
