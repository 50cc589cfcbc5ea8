//! Giving the records of a batch another codec (`compression.type` of a topic).
//!
//! Invariants: the records themselves are not touched, only what is around them: their bytes go from
//! one decoder to one encoder through the opener's window. Neither side takes more memory than its
//! codec's own window and the batch that comes out, which never grows beyond the bound it is given.
//! Whether the records are sound is judged before ([`crate::check`]). Source: Kafka's log validator,
//! KIP-390 (levels).

use std::io::{self, Write};

use bytes::BytesMut;

use crate::batch::BatchView;
use crate::build::{BuildError, close};
use crate::check::BatchError;
use crate::codec::stream::{Opener, Window};
use crate::codec::{CodecError, LZ4_BLOCK, ZSTD_LEVEL, snappy};
use crate::header::{Compression, HEADER_LEN};
use crate::patch::Stamp;

/// How records are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// Not at all.
    Plain,
    /// gzip at a level from 1 to 9; `None` is the codec's own choice.
    Gzip(Option<u32>),
    /// Snappy in chunks of 32 KiB, framed as Java's clients do.
    Snappy,
    /// LZ4 frames; the encoder has one level.
    Lz4,
    /// zstd at a level from −131072 to 22.
    Zstd(i32),
}

impl Encoder {
    /// Compresses as `codec` at its own level.
    pub(crate) fn of(codec: Compression) -> Self {
        match codec {
            Compression::None => Self::Plain,
            Compression::Gzip => Self::Gzip(None),
            Compression::Snappy => Self::Snappy,
            Compression::Lz4 => Self::Lz4,
            Compression::Zstd => Self::Zstd(ZSTD_LEVEL),
        }
    }

    /// What a batch says that is compressed like this.
    pub fn codec(self) -> Compression {
        match self {
            Self::Plain => Compression::None,
            Self::Gzip(_) => Compression::Gzip,
            Self::Snappy => Compression::Snappy,
            Self::Lz4 => Compression::Lz4,
            Self::Zstd(_) => Compression::Zstd,
        }
    }
}

/// What bounds a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes that the batch may inflate to.
    pub open_bytes_max: usize,
    /// Bytes of the batch that comes out, header included.
    pub batch_bytes_max: usize,
}

impl BatchView {
    /// The same records, compressed by `into`, with the timestamps that `stamp` says.
    ///
    /// # Errors
    /// [`BatchError::TooLarge`] if what comes out is larger than the bound, [`BatchError::Codec`] if
    /// the block cannot be opened.
    pub fn converted(
        &self,
        into: Encoder,
        stamp: Stamp,
        opener: &mut Opener,
        bounds: Bounds,
    ) -> Result<BatchView, BatchError> {
        let attributes = self.header().attributes;
        let from = attributes.compression().ok_or(CodecError::Unknown(attributes.codec_id()))?;
        let (codec, bytes_max) = (into.codec(), bounds.batch_bytes_max);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::StorageFull => {
                BatchError::TooLarge { bytes: bytes_max.saturating_add(1), bytes_max }
            },
            _ => BatchError::Codec(CodecError::Damaged(codec)),
        };
        let bytes = opener.open(from, self.body(), bounds.open_bytes_max, |window| {
            encode(into, bytes_max, failed, |out| pump(window, out, failed))
        })?;
        let mut header = self.header().stamped(stamp);
        header.attributes = header.attributes.with_compression(into.codec());
        close(header, bytes).map_err(|error| match error {
            BuildError::Codec(error) => BatchError::Codec(error),
            BuildError::Empty | BuildError::TooLarge | BuildError::OffsetDelta(_) => {
                BatchError::TooLarge { bytes: usize::MAX, bytes_max: bounds.batch_bytes_max }
            },
        })
    }
}

/// Room for a header, and behind it what `fill` writes, compressed: at most `bytes_max` bytes of both, or
/// `failed` is told [`io::ErrorKind::StorageFull`].
pub(crate) fn encode<E>(
    into: Encoder,
    bytes_max: usize,
    failed: impl Fn(io::Error) -> E + Copy,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<BytesMut, E> {
    let mut out = Capped::new(bytes_max);
    let done = match into {
        Encoder::Plain => {
            fill(&mut out)?;
            out
        },
        Encoder::Gzip(level) => {
            let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
            let mut encoder = flate2::write::GzEncoder::new(out, level);
            fill(&mut encoder)?;
            encoder.finish().map_err(failed)?
        },
        Encoder::Snappy => {
            let mut encoder = snappy::Framed::new(out).map_err(failed)?;
            fill(&mut encoder)?;
            encoder.finish().map_err(failed)?
        },
        Encoder::Lz4 => {
            let frame = lz4_flex::frame::FrameInfo::new()
                .block_size(LZ4_BLOCK)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, out);
            fill(&mut encoder)?;
            encoder.finish().map_err(|error| failed(error.into()))?
        },
        Encoder::Zstd(level) => {
            let mut encoder = zstd::stream::write::Encoder::new(out, level).map_err(failed)?;
            fill(&mut encoder)?;
            encoder.finish().map_err(failed)?
        },
    };
    Ok(done.bytes)
}

fn pump(
    window: &mut Window<'_>,
    out: &mut dyn Write,
    failed: impl Fn(io::Error) -> BatchError,
) -> Result<(), BatchError> {
    while window.want(1)? {
        let len = window.rest().len();
        out.write_all(window.rest()).map_err(&failed)?;
        window.consume(len);
    }
    Ok(())
}

/// A buffer behind room for a header, which takes so many bytes and no more.
struct Capped {
    bytes: BytesMut,
    bytes_max: usize,
}

impl Capped {
    fn new(bytes_max: usize) -> Self {
        Self { bytes: BytesMut::zeroed(HEADER_LEN), bytes_max }
    }
}

impl Write for Capped {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(more.len()) > self.bytes_max {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base::{Duration, ProducerEpoch, ProducerId, Timestamp};
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::build::{BatchBuilder, NewRecord};
    use crate::check::{Depth, Policy, validate};
    use crate::codec::OPEN_BYTES_MAX;
    use crate::header::{Producer, TimestampType};

    const ENCODERS: [Encoder; 7] = [
        Encoder::Plain,
        Encoder::Gzip(None),
        Encoder::Gzip(Some(1)),
        Encoder::Snappy,
        Encoder::Lz4,
        Encoder::Zstd(3),
        Encoder::Zstd(-5),
    ];
    const BOUNDS: Bounds = Bounds { open_bytes_max: OPEN_BYTES_MAX, batch_bytes_max: 1 << 24 };

    fn batch(codec: Compression, values: &[Vec<u8>]) -> BatchView {
        let producer =
            Producer { id: ProducerId(7), epoch: ProducerEpoch(2), base_sequence: Some(40) };
        let mut batch = BatchBuilder::new().compression(codec).producer(producer);
        for (at, value) in values.iter().enumerate() {
            let timestamp = Timestamp(1000 - i64::try_from(at).unwrap());
            batch
                .push(&NewRecord { timestamp, value: Some(value), ..NewRecord::default() })
                .unwrap();
        }
        batch.finish().unwrap()
    }

    fn policy() -> Policy {
        Policy {
            batch_bytes_max: 1 << 24,
            record_bytes_max: usize::MAX,
            depth: Depth::Walk,
            open_bytes_max: OPEN_BYTES_MAX,
            key_required: false,
            timestamp_type: TimestampType::CreateTime,
            now: Timestamp(1000),
            before_max: Duration::MAX,
            after_max: Duration::MAX,
        }
    }

    proptest! {
        #[test]
        fn a_converted_batch_is_sound_and_has_the_same_records(
            values in prop::collection::vec(prop::collection::vec(0..4_u8, 0..9000), 1..20),
            from in prop::sample::select(Compression::ALL.to_vec()),
            into in prop::sample::select(ENCODERS.to_vec()),
        ) {
            let sent = batch(from, &values);
            let mut opener = Opener::default();

            let stored = sent.converted(into, Stamp::Keep, &mut opener, BOUNDS).unwrap();

            let header = stored.header();
            prop_assert_eq!(header.attributes.compression(), Some(into.codec()));
            let (found, expected) =
                (stored.open(OPEN_BYTES_MAX).unwrap(), sent.open(OPEN_BYTES_MAX).unwrap());
            prop_assert_eq!(found.bytes(), expected.bytes());
            prop_assert_eq!(header.base_sequence, 40);
            prop_assert_eq!(header.record_count, sent.header().record_count);
            let again = validate(stored.bytes(), &policy(), &mut opener).unwrap();
            prop_assert_eq!(again.stamp, Stamp::Keep);
        }
    }

    #[test]
    fn what_comes_out_too_large_is_refused_before_it_is_held() {
        let sent = batch(Compression::Zstd, &[vec![0; 1 << 20]]);
        assert!(sent.bytes().len() < 500);
        for into in [Encoder::Plain, Encoder::Snappy, Encoder::Lz4] {
            let bounds = Bounds { batch_bytes_max: 2000, ..BOUNDS };
            let error = sent.converted(into, Stamp::Keep, &mut Opener::default(), bounds);
            assert_eq!(
                error,
                Err(BatchError::TooLarge { bytes: 2001, bytes_max: 2000 }),
                "{into:?}"
            );
        }
        let size = sent.converted(Encoder::Plain, Stamp::Keep, &mut Opener::default(), BOUNDS);
        let size = size.unwrap().bytes().len();
        let just = Bounds { batch_bytes_max: size, ..BOUNDS };
        assert!(sent.converted(Encoder::Plain, Stamp::Keep, &mut Opener::default(), just).is_ok());
    }

    #[test]
    fn an_append_time_is_stamped_on_the_way() {
        let sent = batch(Compression::Gzip, &[vec![1], vec![2]]);
        let stamp = Stamp::LogAppend(Timestamp(5000));

        let stored =
            sent.converted(Encoder::Zstd(3), stamp, &mut Opener::default(), BOUNDS).unwrap();

        assert_eq!(stored.verify_crc(), Ok(()));
        assert_eq!(stored.header().attributes.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(stored.header().max_timestamp, Timestamp(5000));
        assert_eq!(stored.header().base_timestamp, Timestamp(1000));
    }

    #[test]
    fn a_damaged_block_is_refused() {
        let mut bytes = batch(Compression::Gzip, &[vec![9; 500]]).bytes().to_vec();
        let last = bytes.len() - 5;
        bytes[last] ^= 0x55;
        let damaged = BatchView::parse(&Bytes::from(bytes)).unwrap();

        let refused =
            damaged.converted(Encoder::Plain, Stamp::Keep, &mut Opener::default(), BOUNDS);

        let damaged = CodecError::Damaged(Compression::Gzip);
        assert_eq!(refused, Err(BatchError::Codec(damaged)));
    }
}
