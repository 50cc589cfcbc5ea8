//! Opening a compressed block piece by piece, through one window of fixed size.
//!
//! Invariants: a block of gzip, lz4 or zstd never takes more memory than its decoder's own window
//! and [`WINDOW_BYTES`], whatever it inflates to; snappy, which has no stream format, takes what one
//! chunk holds, and that is checked against the bound first. What was read never exceeds the bound
//! unnoticed. Nothing of one block reaches the next: what an [`Opener`] keeps is empty room, and zstd's
//! context, which is reset.

use std::io::Read;

use bytes::Bytes;
use lz4_flex::frame::FrameDecoder;
use zstd::zstd_safe::{DCtx, DParameter, ResetDirective};

use super::{CodecError, ZSTD_WINDOW_LOG_MAX, lz4_frame, snappy};
use crate::header::Compression;

/// Bytes of a window: a record that fits is looked at in one piece.
pub(crate) const WINDOW_BYTES: usize = 64 << 10;
/// Idle memory an opener may hold on to, per buffer.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// The buffers and decoders that opening a block needs, kept between blocks as far as the codecs
/// permit (gzip and lz4 do not). One per task that opens blocks; make it once, it grows as it is used.
#[derive(Default)]
pub struct Opener {
    window: Vec<u8>,
    chunk: Vec<u8>,
    zstd: Option<DCtx<'static>>,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opener")
    }
}

impl Opener {
    /// Shows the inside of `block`, at most `bytes_max` bytes, to `look`.
    pub(crate) fn open<T, E: From<CodecError>>(
        &mut self,
        codec: Compression,
        block: Bytes,
        bytes_max: usize,
        look: impl FnOnce(&mut Window<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.window.resize(WINDOW_BYTES, 0);
        let buf = &mut self.window;
        let damaged = CodecError::Damaged(codec);
        match codec {
            Compression::None => {
                look(&mut Window::new(Source::Plain(&block), codec, buf, bytes_max))
            },
            Compression::Gzip => {
                let decoder = Box::new(flate2::bufread::MultiGzDecoder::new(&*block));
                look(&mut Window::new(Source::Gzip(decoder), codec, buf, bytes_max))
            },
            Compression::Snappy => {
                self.chunk.clear();
                let chunks = snappy::Chunks::new(&block);
                let source = Source::Snappy { chunks, chunk: &mut self.chunk, at: 0 };
                let seen = look(&mut Window::new(source, codec, buf, bytes_max));
                if self.chunk.capacity() > KEPT_BYTES_MAX {
                    self.chunk = Vec::new();
                }
                seen
            },
            Compression::Lz4 => {
                let frame = lz4_frame(&block).ok_or(damaged)?;
                let source = Source::Lz4(Box::new(FrameDecoder::new(frame)));
                look(&mut Window::new(source, codec, buf, bytes_max))
            },
            Compression::Zstd => {
                let kept = self.zstd.take().or_else(DCtx::try_create);
                let mut context = kept.ok_or(damaged)?;
                context.reset(ResetDirective::SessionAndParameters).map_err(|_| damaged)?;
                let window_log = DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX);
                context.set_parameter(window_log).map_err(|_| damaged)?;
                let decoder = zstd::stream::read::Decoder::with_context(&*block, &mut context);
                let seen = look(&mut Window::new(Source::Zstd(decoder), codec, buf, bytes_max));
                if context.sizeof() <= KEPT_BYTES_MAX {
                    self.zstd = Some(context);
                }
                seen
            },
        }
    }
}

enum Source<'a> {
    Plain(&'a [u8]),
    Gzip(Box<flate2::bufread::MultiGzDecoder<&'a [u8]>>),
    Snappy { chunks: snappy::Chunks<'a>, chunk: &'a mut Vec<u8>, at: usize },
    Lz4(Box<FrameDecoder<&'a [u8]>>),
    Zstd(zstd::stream::read::Decoder<'a, &'a [u8]>),
}

/// The part of a block's inside that is looked at now.
pub(crate) struct Window<'a> {
    source: Source<'a>,
    codec: Compression,
    buf: &'a mut Vec<u8>,
    start: usize,
    end: usize,
    /// The source has no more.
    ended: bool,
    /// Bytes that may still be read.
    left: usize,
    bytes_max: usize,
}

impl<'a> Window<'a> {
    fn new(source: Source<'a>, codec: Compression, buf: &'a mut Vec<u8>, bytes_max: usize) -> Self {
        Self { source, codec, buf, start: 0, end: 0, ended: false, left: bytes_max, bytes_max }
    }

    /// What was read and not consumed yet.
    pub(crate) fn rest(&self) -> &[u8] {
        self.buf.get(self.start..self.end).unwrap_or_default()
    }

    /// Goes `len` bytes on, all of them in [`Window::rest`].
    pub(crate) fn consume(&mut self, len: usize) {
        self.start = self.start.saturating_add(len).min(self.end);
    }

    /// Reads until the rest has `wanted` bytes (at most [`WINDOW_BYTES`]) or the block ends.
    /// Returns whether it has them.
    pub(crate) fn want(&mut self, wanted: usize) -> Result<bool, CodecError> {
        if self.rest().len() < wanted && !self.ended {
            self.buf.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            while self.end < wanted && !self.ended {
                self.read()?;
            }
        }
        Ok(self.rest().len() >= wanted)
    }

    fn read(&mut self) -> Result<(), CodecError> {
        let (codec, bytes_max, left) = (self.codec, self.bytes_max, self.left);
        let room = self.buf.get_mut(self.end..).unwrap_or_default();
        let read = match &mut self.source {
            Source::Plain(plain) => plain.read(room),
            Source::Gzip(decoder) => decoder.read(room),
            Source::Lz4(decoder) => decoder.read(room),
            Source::Zstd(decoder) => decoder.read(room),
            Source::Snappy { chunks, chunk, at } => {
                // A chunk may be empty and not be the last.
                while *at >= chunk.len() && chunks.next_into(chunk, left, bytes_max)? {
                    *at = 0;
                }
                let read = chunk.get(*at..).unwrap_or_default().read(room);
                *at = at.saturating_add(read.as_ref().map_or(0, |read| *read));
                read
            },
        };
        let read = read.map_err(|_| CodecError::Damaged(codec))?;
        self.end += read;
        self.ended = read == 0;
        // The decoder says "no more" for an empty block in the middle of a frame as well.
        if let (true, Source::Lz4(decoder)) = (self.ended, &self.source)
            && !decoder.get_ref().is_empty()
        {
            return Err(CodecError::Damaged(codec));
        }
        self.left = left.checked_sub(read).ok_or(CodecError::TooLarge(bytes_max))?;
        Ok(())
    }
}
