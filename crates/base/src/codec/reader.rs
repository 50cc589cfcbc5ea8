//! The total reader: whatever the bytes are, it answers with a value or a [`DecodeError`].
//!
//! Owns: a position in a borrowed buffer, and how much memory its arrays may still take.
//! Invariants: never reads beyond the buffer; the arrays of one input take no more than
//! [`ARRAY_BYTES_FREE`] plus [`ARRAY_BYTES_PER_BYTE`] times its length. `flexible` chooses between
//! compact (varint, length + 1) and classic (fixed-width) length prefixes throughout.

use bytes::Bytes;

use super::{DecodeError, Wire};
use crate::Uuid;

/// Memory that the arrays of any input may take, in bytes. An empty text is one byte on the wire
/// and 24 in memory, so that the bytes that remain alone would allow a large frame 24 times its
/// length.
pub const ARRAY_BYTES_FREE: usize = 16 << 20;

/// Memory that arrays may take in addition for each byte of input. Honest requests need 1 to 4.
pub const ARRAY_BYTES_PER_BYTE: usize = 4;

fn allowance(input: &[u8]) -> usize {
    input.len().saturating_mul(ARRAY_BYTES_PER_BYTE).saturating_add(ARRAY_BYTES_FREE)
}

/// Reads wire values from a buffer, front to back.
///
/// Made from a [`Bytes`] it hands out byte fields as slices of it (they keep the whole buffer
/// alive: copy what outlives the request); made from a plain slice it copies them.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    whole: Option<&'a Bytes>,
    /// Bytes of memory that arrays may still take.
    allowed: usize,
}

impl<'a> From<&'a Bytes> for Reader<'a> {
    fn from(whole: &'a Bytes) -> Self {
        Self { rest: whole, whole: Some(whole), allowed: allowance(whole) }
    }
}

impl<'a> From<&'a [u8]> for Reader<'a> {
    fn from(rest: &'a [u8]) -> Self {
        Self { rest, whole: None, allowed: allowance(rest) }
    }
}

macro_rules! fixed_width {
    ($($name:ident: $type:ty),*) => {$(
        #[doc = concat!("Reads a big-endian `", stringify!($type), "`.")]
        ///
        /// # Errors
        /// [`DecodeError::End`] if the buffer is too short.
        #[inline]
        pub fn $name(&mut self) -> Result<$type, DecodeError> {
            self.array_of_bytes().map(<$type>::from_be_bytes)
        }
    )*};
}

impl<'a> Reader<'a> {
    fixed_width!(i8: i8, i16: i16, i32: i32, i64: i64, u8: u8, u16: u16, u32: u32, f64: f64);

    /// The bytes not read yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes are not read yet.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Ends a value that should fill its input.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] if bytes are left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }

    /// Reads `length` bytes.
    ///
    /// # Errors
    /// [`DecodeError::End`] if there are fewer.
    #[inline]
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(DecodeError::End { needed: length, remaining: self.rest.len() });
        };
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array_of_bytes<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(DecodeError::End { needed: N, remaining: self.rest.len() });
        };
        self.rest = rest;
        Ok(*taken)
    }

    /// Makes an owned value of bytes that this reader handed out: a slice of the buffer it was
    /// made from, or else a copy.
    fn own(&self, bytes: &'a [u8]) -> Bytes {
        match self.whole {
            Some(whole) => whole.slice_ref(bytes),
            None => Bytes::copy_from_slice(bytes),
        }
    }

    /// Reads a truth value: any byte but 0 is true, as in Kafka.
    ///
    /// # Errors
    /// [`DecodeError::End`].
    #[inline]
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        self.u8().map(|byte| byte != 0)
    }

    /// Reads a 16-byte identifier.
    ///
    /// # Errors
    /// [`DecodeError::End`].
    #[inline]
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.array_of_bytes().map(Uuid)
    }

    /// Reads an unsigned varint of at most 32 bits (five bytes).
    ///
    /// # Errors
    /// [`DecodeError::End`], [`DecodeError::Varint`].
    #[inline]
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let first = self.u8()?;
        if first < 0x80 {
            return Ok(u32::from(first));
        }
        let mut value = u32::from(first & 0x7f);
        for shift in [7, 14, 21, 28] {
            let byte = self.u8()?;
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::Varint);
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint)
    }

    /// Reads a zigzag varint of at most 32 bits.
    ///
    /// # Errors
    /// [`DecodeError::End`], [`DecodeError::Varint`].
    #[inline]
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let raw = self.uvarint()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// Reads a zigzag varint of at most 64 bits (ten bytes).
    ///
    /// # Errors
    /// [`DecodeError::End`], [`DecodeError::Varint`].
    #[inline]
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let mut raw = 0_u64;
        for index in 0..10_u32 {
            let byte = self.u8()?;
            if index == 9 && byte > 0x01 {
                return Err(DecodeError::Varint);
            }
            raw |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
            }
        }
        Err(DecodeError::Varint)
    }

    /// Reads a compact length: 0 is null, else the length plus one.
    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        match self.uvarint()?.checked_sub(1) {
            Some(length) => usize::try_from(length).map(Some).map_err(|_| DecodeError::Varint),
            None => Ok(None),
        }
    }

    /// Reads the length of text: a compact length or an `i16` that is negative for null. A compact one
    /// has the bound of the other: what comes in must be fit to be told on, in any version.
    fn string_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if !flexible {
            return Ok(usize::try_from(self.i16()?).ok());
        }
        match self.compact_length()? {
            Some(length) if i16::try_from(length).is_err() => Err(DecodeError::TextLength(length)),
            length => Ok(length),
        }
    }

    /// Reads the length of bytes or an array: a compact length or an `i32`, negative for null.
    fn length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible { self.compact_length() } else { Ok(usize::try_from(self.i32()?).ok()) }
    }

    /// Reads text that may be null, without copying it.
    ///
    /// # Errors
    /// [`DecodeError`] if it is cut short, longer than `i16::MAX` bytes or not UTF-8.
    #[inline]
    pub fn nullable_str(&mut self, flexible: bool) -> Result<Option<&'a str>, DecodeError> {
        let Some(length) = self.string_length(flexible)? else { return Ok(None) };
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map(Some).map_err(|_| DecodeError::Utf8)
    }

    /// Reads text, without copying it.
    ///
    /// # Errors
    /// [`DecodeError`] if it is null, cut short or not UTF-8.
    #[inline]
    pub fn str(&mut self, flexible: bool) -> Result<&'a str, DecodeError> {
        self.nullable_str(flexible)?.ok_or(DecodeError::Null)
    }

    /// Reads text that may be null.
    ///
    /// # Errors
    /// As [`Self::nullable_str`].
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<String>, DecodeError> {
        Ok(self.nullable_str(flexible)?.map(str::to_owned))
    }

    /// Reads text.
    ///
    /// # Errors
    /// As [`Self::str`].
    pub fn string(&mut self, flexible: bool) -> Result<String, DecodeError> {
        Ok(self.str(flexible)?.to_owned())
    }

    /// Reads bytes that may be null, without copying them.
    ///
    /// # Errors
    /// [`DecodeError`] if they are cut short.
    #[inline]
    pub fn nullable_slice(&mut self, flexible: bool) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.length(flexible)? {
            Some(length) => self.take(length).map(Some),
            None => Ok(None),
        }
    }

    /// Reads bytes that may be null: a slice of the buffer if the reader was made from [`Bytes`].
    ///
    /// # Errors
    /// [`DecodeError`] if they are cut short.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        Ok(self.nullable_slice(flexible)?.map(|bytes| self.own(bytes)))
    }

    /// Reads bytes: a slice of the buffer if the reader was made from [`Bytes`].
    ///
    /// # Errors
    /// [`DecodeError`] if they are null or cut short.
    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        self.nullable_bytes(flexible)?.ok_or(DecodeError::Null)
    }

    /// Reads the number of elements of an array that may be null, and holds it against the bytes
    /// that remain: each element takes at least `element_bytes_min` (at least 1).
    ///
    /// # Errors
    /// [`DecodeError::Count`] if so many elements cannot follow.
    #[inline]
    pub fn nullable_count(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let Some(count) = self.length(flexible)? else { return Ok(None) };
        let remaining = self.rest.len();
        if count > remaining / element_bytes_min.max(1) {
            return Err(DecodeError::Count { count, remaining });
        }
        Ok(Some(count))
    }

    /// Reads the number of elements of an array; see [`Self::nullable_count`].
    ///
    /// # Errors
    /// [`DecodeError::Null`], [`DecodeError::Count`].
    #[inline]
    pub fn count(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
    ) -> Result<usize, DecodeError> {
        self.nullable_count(flexible, element_bytes_min)?.ok_or(DecodeError::Null)
    }

    /// Reads an array that may be null, each element with `read`.
    ///
    /// # Errors
    /// [`DecodeError::Count`], [`DecodeError::Memory`], and whatever `read` refuses.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.nullable_count(flexible, element_bytes_min)? else {
            return Ok(None);
        };
        self.reserve(count, size_of::<T>())?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(read(self)?);
        }
        Ok(Some(elements))
    }

    /// Takes the memory of `count` elements of `bytes` each off what arrays may still take.
    ///
    /// # Errors
    /// [`DecodeError::Memory`] if that is less.
    pub fn reserve(&mut self, count: usize, bytes: usize) -> Result<(), DecodeError> {
        let needed = count.saturating_mul(bytes);
        let left = self.allowed.checked_sub(needed);
        self.allowed = left.ok_or(DecodeError::Memory { needed, allowed: self.allowed })?;
        Ok(())
    }

    /// Reads an array, each element with `read`.
    ///
    /// # Errors
    /// [`DecodeError::Null`], [`DecodeError::Count`], [`DecodeError::Memory`], and whatever `read`
    /// refuses.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.nullable_array(flexible, element_bytes_min, read)?.ok_or(DecodeError::Null)
    }

    /// Reads a structure that may be null: one byte, negative for null, then the structure.
    ///
    /// # Errors
    /// Whatever the structure refuses.
    pub fn nullable_struct<T: Wire>(&mut self, version: i16) -> Result<Option<T>, DecodeError> {
        if self.i8()? < 0 { Ok(None) } else { T::decode(self, version).map(Some) }
    }

    /// Reads the value of a tagged field that is a structure and may be null: a varint, 0 for
    /// null, then the structure.
    ///
    /// # Errors
    /// Whatever the structure refuses.
    pub fn tagged_nullable_struct<T: Wire>(
        &mut self,
        version: i16,
    ) -> Result<Option<T>, DecodeError> {
        if self.uvarint()? == 0 { Ok(None) } else { T::decode(self, version).map(Some) }
    }

    /// Reads the tagged fields at the end of a structure. `known` gets the number of each field
    /// and a reader of just its value, and answers whether it knows it; unknown ones are skipped.
    ///
    /// # Errors
    /// [`DecodeError::Count`] for more fields than bytes, [`DecodeError::TagSize`] for a known
    /// field that is not as long as announced, and whatever `known` refuses.
    #[inline]
    pub fn tags(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.uvarint()?;
        if count == 0 {
            return Ok(());
        }
        let remaining = self.rest.len();
        let count = usize::try_from(count).map_err(|_| DecodeError::Varint)?;
        if count > remaining / 2 {
            return Err(DecodeError::Count { count, remaining });
        }
        for _ in 0..count {
            let tag = self.uvarint()?;
            let size = usize::try_from(self.uvarint()?).map_err(|_| DecodeError::Varint)?;
            let mut value =
                Self { rest: self.take(size)?, whole: self.whole, allowed: self.allowed };
            let is_known = known(tag, &mut value)?;
            self.allowed = value.allowed;
            if is_known && !value.rest.is_empty() {
                return Err(DecodeError::TagSize { tag, left: value.rest.len() });
            }
        }
        Ok(())
    }

    /// Skips the tagged fields at the end of a structure that knows none.
    ///
    /// # Errors
    /// As [`Self::tags`].
    #[inline]
    pub fn skip_tags(&mut self) -> Result<(), DecodeError> {
        self.tags(|_, _| Ok(false))
    }
}
