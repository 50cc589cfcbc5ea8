//! Seeing every record of a batch once without holding all of them.
//!
//! Invariants: a compressed block passes through one window, so memory does not depend on what it
//! inflates to (see [`crate::codec::stream`]); nothing is allocated per record; a scan that ends
//! without an error, and was not broken off, has seen exactly `recordsCount` records and every byte.

use std::ops::ControlFlow;

use base::{Offset, Timestamp};

use crate::batch::BatchView;
use crate::codec::CodecError;
use crate::codec::stream::{Opener, WINDOW_BYTES, Window};
use crate::header::{BatchHeader, Compression};
use crate::record::{OpenError, Record, RecordError, place, read};
use crate::varint::Reader;

/// A varint of 64 bits is not longer.
const VARLONG_BYTES_MAX: usize = 10;

/// What a scan tells of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Its offset in the partition.
    pub offset: Offset,
    /// Its time, as in [`Record`].
    pub timestamp: Timestamp,
    /// Offset minus the batch's base offset.
    pub offset_delta: i32,
    /// Whether it has a key.
    pub has_key: bool,
    /// Bytes it became when its block was opened, without the length in front; 0 in a batch that
    /// is not compressed.
    pub inflated_bytes: usize,
}

impl Glance {
    fn of(record: &Record<'_>, inflated_bytes: usize) -> Self {
        Self {
            inflated_bytes,
            offset: record.offset,
            timestamp: record.timestamp,
            offset_delta: record.offset_delta,
            has_key: record.key.is_some(),
        }
    }
}

impl BatchView {
    /// Shows each record to `see` until that breaks off. `bytes_max` bounds what a compressed
    /// batch may inflate to.
    ///
    /// # Errors
    /// The first [`OpenError`]: the records before it were seen.
    pub fn scan(
        &self,
        opener: &mut Opener,
        bytes_max: usize,
        mut see: impl FnMut(Glance) -> ControlFlow<()>,
    ) -> Result<(), OpenError> {
        let attributes = self.header().attributes;
        let codec = attributes.compression().ok_or(CodecError::Unknown(attributes.codec_id()))?;
        if codec == Compression::None {
            for record in &self.open(bytes_max)? {
                if see(Glance::of(&record?, 0)).is_break() {
                    return Ok(());
                }
            }
            return Ok(());
        }
        opener.open(codec, self.body(), bytes_max, |window| {
            scan_window(self.header(), window, &mut see)
        })
    }
}

fn scan_window(
    header: &BatchHeader,
    window: &mut Window<'_>,
    see: &mut impl FnMut(Glance) -> ControlFlow<()>,
) -> Result<(), OpenError> {
    if header.record_count < 0 {
        return Err(RecordError::Count(header.record_count).into());
    }
    for index in 0..header.record_count {
        if see(next(header, index, window)?).is_break() {
            return Ok(());
        }
    }
    // To ask for more is also what makes a decoder check the sum at its end.
    if window.want(1)? {
        return Err(RecordError::Trailing(window.rest().len()).into());
    }
    Ok(())
}

/// The next record; in one piece if it fits into the window.
#[inline]
fn next(header: &BatchHeader, index: i32, window: &mut Window<'_>) -> Result<Glance, OpenError> {
    let malformed = RecordError::Malformed { index };
    window.want(VARLONG_BYTES_MAX)?;
    let mut reader = Reader::new(window.rest());
    let len = reader.varint().and_then(|len| usize::try_from(len).ok()).ok_or(malformed)?;
    let prefix = window.rest().len() - reader.rest().len();
    let whole = prefix.saturating_add(len);
    if whole > WINDOW_BYTES {
        window.consume(prefix);
        return Pieces { window, left: len, index }.record(header);
    }
    if !window.want(whole)? {
        return Err(malformed.into());
    }
    let mut reader = Reader::new(window.rest());
    let glance = Glance::of(&read(header, index, &mut reader)?, len);
    window.consume(whole);
    Ok(glance)
}

/// A record that is larger than the window.
struct Pieces<'w, 'a> {
    window: &'w mut Window<'a>,
    /// Bytes of the record that are still to come.
    left: usize,
    index: i32,
}

impl Pieces<'_, '_> {
    /// The same fields as [`read`] takes, in the same order.
    fn record(mut self, header: &BatchHeader) -> Result<Glance, OpenError> {
        let malformed = self.malformed();
        let inflated_bytes = self.left;
        self.skip(1)?;
        let timestamp_delta = self.number(|reader| reader.varlong())?;
        let offset_delta = self.number(|reader| reader.varint())?;
        let has_key = self.nullable_bytes()?;
        self.nullable_bytes()?;
        let headers = self.number(|reader| reader.varint())?;
        if headers < 0 {
            return Err(malformed);
        }
        for _ in 0..headers {
            if !self.nullable_bytes()? {
                return Err(malformed);
            }
            self.nullable_bytes()?;
        }
        let placed = place(header, offset_delta, timestamp_delta);
        let (offset, timestamp) = placed.ok_or_else(|| self.malformed())?;
        if self.left > 0 {
            return Err(RecordError::Size { index: self.index }.into());
        }
        Ok(Glance { offset, timestamp, offset_delta, has_key, inflated_bytes })
    }

    fn malformed(&self) -> OpenError {
        RecordError::Malformed { index: self.index }.into()
    }

    fn number<T>(&mut self, take: fn(&mut Reader<'_>) -> Option<T>) -> Result<T, OpenError> {
        self.window.want(VARLONG_BYTES_MAX.min(self.left))?;
        let rest = self.window.rest();
        let rest = rest.get(..self.left.min(rest.len())).unwrap_or_default();
        let mut reader = Reader::new(rest);
        let number = take(&mut reader).ok_or_else(|| self.malformed())?;
        let used = rest.len() - reader.rest().len();
        self.window.consume(used);
        self.left -= used;
        Ok(number)
    }

    /// Passes over a length and as many bytes; returns whether they are not null.
    fn nullable_bytes(&mut self) -> Result<bool, OpenError> {
        match self.number(|reader| reader.varint())? {
            -1 => Ok(false),
            len => {
                let len = usize::try_from(len).map_err(|_| self.malformed())?;
                self.skip(len)?;
                Ok(true)
            },
        }
    }

    fn skip(&mut self, len: usize) -> Result<(), OpenError> {
        self.left = self.left.checked_sub(len).ok_or_else(|| self.malformed())?;
        let mut to_skip = len;
        while to_skip > 0 {
            if !self.window.want(1)? {
                return Err(self.malformed());
            }
            let here = to_skip.min(self.window.rest().len());
            self.window.consume(here);
            to_skip -= here;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::build::{BatchBuilder, NewRecord};
    use crate::codec::{OPEN_BYTES_MAX, compress};
    use crate::header::{ATTRIBUTES_AT, HEADER_LEN, RECORD_COUNT_AT};
    use crate::record::Header;

    /// A batch of `count` records by its header, with `body` as a block of `codec`.
    fn packed(codec: Compression, count: i32, body: &[u8]) -> BatchView {
        let mut batch = BatchBuilder::new();
        batch.push(&NewRecord { timestamp: Timestamp(7), ..NewRecord::default() }).unwrap();
        let mut bytes = batch.finish_bytes().unwrap()[..HEADER_LEN].to_vec();
        bytes.extend_from_slice(&compress(codec, Bytes::copy_from_slice(body)).unwrap());
        let length = i32::try_from(bytes.len() - 12).unwrap();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        let number = Compression::ALL.iter().position(|other| *other == codec).unwrap();
        bytes[ATTRIBUTES_AT + 1] = u8::try_from(number).unwrap();
        bytes[RECORD_COUNT_AT..][..4].copy_from_slice(&count.to_be_bytes());
        BatchView::parse(&Bytes::from(bytes)).unwrap()
    }

    /// What a scan sees and how it ends.
    fn scanned(batch: &BatchView, opener: &mut Opener) -> (Vec<Glance>, Result<(), OpenError>) {
        let mut seen = Vec::new();
        let ended = batch.scan(opener, OPEN_BYTES_MAX, |glance| {
            seen.push(Glance { inflated_bytes: 0, ..glance });
            ControlFlow::Continue(())
        });
        (seen, ended)
    }

    /// The same by holding everything.
    fn walked(batch: &BatchView) -> (Vec<Glance>, Result<(), OpenError>) {
        let set = batch.open(OPEN_BYTES_MAX).unwrap();
        let mut seen = Vec::new();
        for record in &set {
            match record {
                Ok(record) => seen.push(Glance::of(&record, 0)),
                Err(error) => return (seen, Err(error.into())),
            }
        }
        (seen, Ok(()))
    }

    /// The same record is at fault. Which fault of a record larger than the window is met first, and
    /// how many of the bytes behind the last record are seen, depends on the way of looking.
    fn same(a: &Result<(), OpenError>, b: &Result<(), OpenError>) -> bool {
        let fault = |end: &Result<(), OpenError>| match end {
            Ok(()) => None,
            Err(OpenError::Record(
                RecordError::Malformed { index } | RecordError::Size { index },
            )) => Some(Ok(*index)),
            Err(OpenError::Record(RecordError::Trailing(_))) => Some(Ok(-1)),
            Err(error) => Some(Err(error.clone())),
        };
        fault(a) == fault(b)
    }

    /// Records around the size of the window, so that they lie across its edges in every way.
    fn records() -> impl Strategy<Value = Vec<(usize, usize, bool)>> {
        let len = || prop_oneof![0..200_usize, 32_000..33_000_usize, 65_400..65_700_usize];
        prop::collection::vec((len(), len(), any::<bool>()), 1..12)
    }

    fn body_of(records: &[(usize, usize, bool)]) -> Vec<u8> {
        let bytes: Vec<u8> = (0..70_000_u32).map(|at| at.to_be_bytes()[2]).collect();
        let mut batch = BatchBuilder::new();
        for (key, value, null) in records {
            let value = (!null).then(|| &bytes[..*value]);
            let headers =
                [Header { key: &bytes[..*key / 7], value }, Header { key: b"", value: None }];
            let key = (key % 2 == 0).then(|| &bytes[..*key]);
            let timestamp = Timestamp(7 + i64::from(*null));
            batch.push(&NewRecord { timestamp, key, value, headers: &headers }).unwrap();
        }
        batch.finish().unwrap().body().to_vec()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_scan_sees_what_a_walk_sees_wherever_the_window_cuts(records in records(), more in -1..=1_i32) {
            let body = body_of(&records);
            let count = i32::try_from(records.len()).unwrap() + more;
            let mut opener = Opener::default();
            for codec in Compression::ALL {
                let batch = packed(codec, count, &body);
                let (seen, ended) = scanned(&batch, &mut opener);
                let (expected, end) = walked(&batch);
                prop_assert_eq!(seen, expected);
                prop_assert!(same(&ended, &end), "{codec}: {ended:?} instead of {end:?}");
            }
        }

        #[test]
        fn a_changed_byte_is_judged_alike(
            records in records(),
            at in any::<prop::sample::Index>(),
            near_front in any::<bool>(),
            with in any::<u8>(),
        ) {
            let mut body = body_of(&records);
            let at = at.index(if near_front { body.len().min(20) } else { body.len() });
            body[at] = with;
            let count = i32::try_from(records.len()).unwrap();
            let batch = packed(Compression::Lz4, count, &body);
            let (seen, ended) = scanned(&batch, &mut Opener::default());
            let (expected, end) = walked(&batch);
            prop_assert_eq!(seen, expected);
            prop_assert!(same(&ended, &end), "{ended:?} instead of {end:?}");
        }
    }

    #[test]
    fn an_lz4_frame_that_ends_between_blocks_is_damaged() {
        let block = compress(Compression::Lz4, Bytes::from(body_of(&[(10, 10, false)]))).unwrap();
        let batch = packed(Compression::None, 1, &block[..block.len() - 4]);
        let mut bytes = batch.into_bytes().to_vec();
        bytes[ATTRIBUTES_AT + 1] = 3;
        let batch = BatchView::parse(&Bytes::from(bytes)).unwrap();

        let damaged = CodecError::Damaged(Compression::Lz4);
        assert_eq!(scanned(&batch, &mut Opener::default()).1, Err(damaged.into()));
        assert_eq!(batch.open(OPEN_BYTES_MAX).map(|_| ()), Err(damaged));
    }

    #[test]
    fn a_scan_that_is_broken_off_asks_for_no_more() {
        let body = body_of(&[(0, 60_000, false); 9]);
        for codec in Compression::ALL {
            let mut seen = 0;
            let broken = packed(codec, 9, &body).scan(&mut Opener::default(), 400_000, |_| {
                seen += 1;
                if seen < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            assert_eq!((broken, seen), (Ok(()), 2), "{codec}");
        }
    }
}
