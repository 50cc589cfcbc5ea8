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
    /// Whether it has a value.
    pub has_value: bool,
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
            has_value: record.value.is_some(),
        }
    }
}

/// Whether a scan holds the key of a record that is larger than the window.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    Held,
    Passed,
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
        self.look(opener, bytes_max, Keys::Passed, |glance, _| see(glance))
    }

    /// As [`BatchView::scan`], and shows the key of each record with it. Only the key of a record that is
    /// larger than the window takes memory, while that record is shown.
    ///
    /// # Errors
    /// The first [`OpenError`]: the records before it were seen.
    pub fn scan_keys(
        &self,
        opener: &mut Opener,
        bytes_max: usize,
        see: impl FnMut(Glance, Option<&[u8]>) -> ControlFlow<()>,
    ) -> Result<(), OpenError> {
        self.look(opener, bytes_max, Keys::Held, see)
    }

    fn look(
        &self,
        opener: &mut Opener,
        bytes_max: usize,
        keys: Keys,
        mut see: impl FnMut(Glance, Option<&[u8]>) -> ControlFlow<()>,
    ) -> Result<(), OpenError> {
        let attributes = self.header().attributes;
        let codec = attributes.compression().ok_or(CodecError::Unknown(attributes.codec_id()))?;
        if codec == Compression::None {
            for record in &self.open(bytes_max)? {
                let record = record?;
                if see(Glance::of(&record, 0), record.key).is_break() {
                    return Ok(());
                }
            }
            return Ok(());
        }
        opener.open(codec, self.body(), bytes_max, |window| {
            scan_window(self.header(), window, keys, &mut see)
        })
    }
}

fn scan_window(
    header: &BatchHeader,
    window: &mut Window<'_>,
    keys: Keys,
    see: &mut impl FnMut(Glance, Option<&[u8]>) -> ControlFlow<()>,
) -> Result<(), OpenError> {
    if header.record_count < 0 {
        return Err(RecordError::Count(header.record_count).into());
    }
    for index in 0..header.record_count {
        if next(header, index, window, keys, see)?.is_break() {
            return Ok(());
        }
    }
    // To ask for more is also what makes a decoder check the sum at its end.
    if window.want(1)? {
        return Err(RecordError::Trailing(window.rest().len()).into());
    }
    Ok(())
}

/// Shows the next record; in one piece if it fits into the window.
#[inline]
fn next(
    header: &BatchHeader,
    index: i32,
    window: &mut Window<'_>,
    keys: Keys,
    see: &mut impl FnMut(Glance, Option<&[u8]>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, OpenError> {
    let (prefix, len) = length(window, index)?;
    let whole = prefix.saturating_add(len);
    if whole > WINDOW_BYTES {
        window.consume(prefix);
        let (glance, key) = Pieces { window, left: len, index }.record(header, keys)?;
        return Ok(see(glance, key.as_deref()));
    }
    if !window.want(whole)? {
        return Err(RecordError::Malformed { index }.into());
    }
    let record = read(header, index, &mut Reader::new(window.rest()))?;
    let seen = see(Glance::of(&record, len), record.key);
    window.consume(whole);
    Ok(seen)
}

/// How many bytes say the length of the record at the front of the window, and that length.
#[inline]
fn length(window: &mut Window<'_>, index: i32) -> Result<(usize, usize), OpenError> {
    window.want(VARLONG_BYTES_MAX)?;
    let mut reader = Reader::new(window.rest());
    let len = reader.varint().and_then(|len| usize::try_from(len).ok());
    let len = len.ok_or(RecordError::Malformed { index })?;
    Ok((window.rest().len() - reader.rest().len(), len))
}

/// A record that passes through the window piece by piece.
pub(crate) struct Pieces<'w, 'a> {
    window: &'w mut Window<'a>,
    /// Bytes of the record that are still to come.
    left: usize,
    index: i32,
}

impl<'w, 'a> Pieces<'w, 'a> {
    /// The next record of the window, which is number `index`: its length is consumed.
    pub(crate) fn begin(window: &'w mut Window<'a>, index: i32) -> Result<Self, OpenError> {
        let (prefix, left) = length(window, index)?;
        window.consume(prefix);
        Ok(Self { window, left, index })
    }

    /// Bytes of the record that are still to come.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// The attributes and the timestamp delta, which every record begins with.
    pub(crate) fn front(&mut self) -> Result<(u8, i64), OpenError> {
        let malformed = self.malformed();
        if self.left == 0 || !self.window.want(1)? {
            return Err(malformed);
        }
        let attributes = self.window.rest().first().copied().ok_or(malformed)?;
        self.skip(1)?;
        Ok((attributes, self.number(|reader| reader.varlong())?))
    }

    /// Shows the rest of the record.
    pub(crate) fn rest<E: From<OpenError>>(
        mut self,
        show: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.pass(self.left, show)
    }

    /// The same fields as [`read`] takes, in the same order, and the key if it is to be held.
    fn record(
        mut self,
        header: &BatchHeader,
        keys: Keys,
    ) -> Result<(Glance, Option<Vec<u8>>), OpenError> {
        let malformed = self.malformed();
        let inflated_bytes = self.left;
        let (_, timestamp_delta) = self.front()?;
        let offset_delta = self.number(|reader| reader.varint())?;
        let mut key = Vec::new();
        let has_key = self.nullable_bytes(|piece| {
            if keys == Keys::Held {
                key.extend_from_slice(piece);
            }
        })?;
        let has_value = self.nullable_bytes(|_| ())?;
        let headers = self.number(|reader| reader.varint())?;
        if headers < 0 {
            return Err(malformed);
        }
        for _ in 0..headers {
            if !self.nullable_bytes(|_| ())? {
                return Err(malformed);
            }
            self.nullable_bytes(|_| ())?;
        }
        let placed = place(header, offset_delta, timestamp_delta);
        let (offset, timestamp) = placed.ok_or_else(|| self.malformed())?;
        if self.left > 0 {
            return Err(RecordError::Size { index: self.index }.into());
        }
        let glance = Glance { offset, timestamp, offset_delta, has_key, has_value, inflated_bytes };
        Ok((glance, has_key.then_some(key)))
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

    /// Shows as many bytes as the length in front of them says; returns whether they are not null.
    fn nullable_bytes(&mut self, mut show: impl FnMut(&[u8])) -> Result<bool, OpenError> {
        match self.number(|reader| reader.varint())? {
            -1 => Ok(false),
            len => {
                let len = usize::try_from(len).map_err(|_| self.malformed())?;
                self.pass::<OpenError>(len, |piece| {
                    show(piece);
                    Ok(())
                })?;
                Ok(true)
            },
        }
    }

    fn skip(&mut self, len: usize) -> Result<(), OpenError> {
        self.pass(len, |_| Ok(()))
    }

    fn pass<E: From<OpenError>>(
        &mut self,
        len: usize,
        mut show: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.left = self.left.checked_sub(len).ok_or_else(|| self.malformed())?;
        let mut to_pass = len;
        while to_pass > 0 {
            if !self.window.want(1).map_err(OpenError::from)? {
                return Err(self.malformed().into());
            }
            let here = to_pass.min(self.window.rest().len());
            show(self.window.rest().get(..here).unwrap_or_default())?;
            self.window.consume(here);
            to_pass -= here;
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

    type Seen = Vec<(Glance, Option<Vec<u8>>)>;

    /// What a scan sees and how it ends.
    fn scanned(batch: &BatchView, opener: &mut Opener) -> (Seen, Result<(), OpenError>) {
        let mut seen = Vec::new();
        let ended = batch.scan_keys(opener, OPEN_BYTES_MAX, |glance, key| {
            seen.push((Glance { inflated_bytes: 0, ..glance }, key.map(<[u8]>::to_vec)));
            ControlFlow::Continue(())
        });
        (seen, ended)
    }

    /// The same by holding everything.
    fn walked(batch: &BatchView) -> (Seen, Result<(), OpenError>) {
        let set = batch.open(OPEN_BYTES_MAX).unwrap();
        let mut seen = Vec::new();
        for record in &set {
            match record {
                Ok(record) => {
                    seen.push((Glance::of(&record, 0), record.key.map(<[u8]>::to_vec)));
                },
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
