//! The writer: collects an encoded message as segments, so that record batches are not copied.
//!
//! Owns: the bytes written so far. Invariants: the parts in order are the message; [`Writer::len`]
//! is their total length. `flexible` chooses between compact and classic length prefixes.

use bytes::{BufMut, Bytes, BytesMut};

use super::{EncodeError, Wire};
use crate::Uuid;

/// Shared bytes up to this length are copied into the neighbouring part: cheaper than one more
/// buffer in a gathering write.
const COPIED_BYTES_MAX: usize = 256;

/// A run of an encoded message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes that lie elsewhere, such as in a file; whoever asked for them knows the token.
    External {
        /// Chosen by the caller, opaque to the codec.
        token: u64,
        /// How many bytes.
        length: u32,
    },
}

impl Part {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::External { length, .. } => usize::try_from(*length).unwrap_or(usize::MAX),
        }
    }

    /// Whether it holds no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Collects one encoded message.
#[derive(Debug, Default)]
pub struct Writer {
    /// The first part, still writable, so that a length in front can be filled in at the end.
    first: Option<BytesMut>,
    /// The parts behind it.
    parts: Vec<Part>,
    /// Total length of `first` and `parts`.
    closed: usize,
    /// The part being written.
    open: BytesMut,
    /// Error codes written, and how often each: a response that has none takes no memory for them.
    errors: Vec<(i16, u32)>,
}

macro_rules! fixed_width {
    ($($name:ident: $type:ty),*) => {$(
        #[doc = concat!("Writes a big-endian `", stringify!($type), "`.")]
        #[inline]
        pub fn $name(&mut self, value: $type) {
            self.open.put_slice(&value.to_be_bytes());
        }
    )*};
}

impl Writer {
    fixed_width!(i8: i8, i16: i16, i32: i32, i64: i64, u8: u8, u16: u16, u32: u32, f64: f64);

    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty writer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { open: BytesMut::with_capacity(capacity), ..Self::default() }
    }

    /// How many bytes were written, external ones included.
    pub fn len(&self) -> usize {
        self.closed.saturating_add(self.open.len())
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes an error code of a response, and counts it unless it is 0.
    #[inline]
    pub fn error_code(&mut self, code: i16) {
        self.i16(code);
        if code != 0 {
            self.count_error(code);
        }
    }

    #[cold]
    fn count_error(&mut self, code: i16) {
        match self.errors.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.errors.push((code, 1)),
        }
    }

    /// The error codes written so far that are not 0, and how often each.
    pub fn take_errors(&mut self) -> Vec<(i16, u32)> {
        std::mem::take(&mut self.errors)
    }

    /// The message as parts, in order. None of them is empty.
    pub fn into_parts(mut self) -> Vec<Part> {
        self.close();
        let Some(first) = self.first else { return Vec::new() };
        let mut parts = self.parts;
        if !first.is_empty() {
            parts.insert(0, Part::Bytes(first.freeze()));
        }
        parts
    }

    /// The message as parts, after its first four bytes (written by the caller as a place holder)
    /// were replaced by the length of all that follows them.
    ///
    /// # Errors
    /// [`EncodeError::Length`] if that length exceeds `i32::MAX`, or no place holder is there.
    pub fn into_frame(mut self) -> Result<Vec<Part>, EncodeError> {
        self.close();
        let length = self.closed.checked_sub(4).ok_or(EncodeError::Length(self.closed))?;
        let prefix = i32::try_from(length).map_err(|_| EncodeError::Length(length))?;
        let place = self.first.as_mut().and_then(|first| first.first_chunk_mut::<4>());
        *place.ok_or(EncodeError::Length(length))? = prefix.to_be_bytes();
        Ok(self.into_parts())
    }

    /// The message, if all of it is in the memory of this writer, after its first four bytes were
    /// replaced as [`Writer::into_frame`] does; nothing if a part lies elsewhere or was shared.
    pub fn whole_frame(&mut self) -> Option<&[u8]> {
        if self.closed > 0 {
            return None;
        }
        let length =
            self.open.len().checked_sub(4).and_then(|length| i32::try_from(length).ok())?;
        *self.open.first_chunk_mut::<4>()? = length.to_be_bytes();
        Some(&self.open)
    }

    /// The message in one piece, or nothing if a part lies elsewhere. Copies if there is more
    /// than one part.
    pub fn into_bytes(self) -> Option<Bytes> {
        let mut parts = self.into_parts();
        if parts.len() <= 1 {
            return match parts.pop() {
                None => Some(Bytes::new()),
                Some(Part::Bytes(bytes)) => Some(bytes),
                Some(Part::External { .. }) => None,
            };
        }
        let mut whole = BytesMut::with_capacity(parts.iter().map(Part::len).sum());
        for part in parts {
            match part {
                Part::Bytes(bytes) => whole.put_slice(&bytes),
                Part::External { .. } => return None,
            }
        }
        Some(whole.freeze())
    }

    /// Ends the part being written.
    fn close(&mut self) {
        let part = self.open.split();
        self.closed = self.closed.saturating_add(part.len());
        if self.first.is_none() {
            self.first = Some(part);
        } else if !part.is_empty() {
            self.parts.push(Part::Bytes(part.freeze()));
        }
    }

    fn push(&mut self, part: Part) {
        if !part.is_empty() {
            self.close();
            self.closed = self.closed.saturating_add(part.len());
            self.parts.push(part);
        }
    }

    /// Appends bytes without a length in front, copying them.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.open.put_slice(bytes);
    }

    /// Appends bytes without a length in front; long ones are shared, not copied.
    pub fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() <= COPIED_BYTES_MAX {
            self.open.put_slice(bytes);
        } else {
            self.push(Part::Bytes(bytes.clone()));
        }
    }

    /// Appends bytes that lie elsewhere, without a length in front.
    pub fn put_external(&mut self, token: u64, length: u32) {
        self.push(Part::External { token, length });
    }

    /// Writes a truth value.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// Writes a 16-byte identifier.
    #[inline]
    pub fn uuid(&mut self, value: Uuid) {
        self.open.put_slice(&value.0);
    }

    /// Writes an unsigned varint.
    #[inline]
    pub fn uvarint(&mut self, value: u32) {
        self.uvarlong(u64::from(value));
    }

    fn uvarlong(&mut self, mut value: u64) {
        loop {
            let [low, ..] = value.to_le_bytes();
            if value < 0x80 {
                self.u8(low);
                return;
            }
            self.u8(low | 0x80);
            value >>= 7;
        }
    }

    /// Writes a zigzag varint.
    pub fn varint(&mut self, value: i32) {
        self.uvarint(((value << 1) ^ (value >> 31)).cast_unsigned());
    }

    /// Writes a zigzag varint of 64 bits.
    pub fn varlong(&mut self, value: i64) {
        self.uvarlong(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    fn compact_length(&mut self, length: Option<usize>) -> Result<(), EncodeError> {
        let Some(length) = length else {
            self.u8(0);
            return Ok(());
        };
        match i32::try_from(length).ok().and_then(|length| length.checked_add(1)) {
            Some(plus_one) => self.uvarint(plus_one.cast_unsigned()),
            None => return Err(EncodeError::Length(length)),
        }
        Ok(())
    }

    /// Writes the length of bytes or an array, or null.
    ///
    /// # Errors
    /// [`EncodeError::Length`] from `i32::MAX` on.
    #[inline]
    pub fn length(&mut self, length: Option<usize>, flexible: bool) -> Result<(), EncodeError> {
        if flexible {
            return self.compact_length(length);
        }
        match length {
            None => self.i32(-1),
            Some(length) => {
                self.i32(i32::try_from(length).map_err(|_| EncodeError::Length(length))?);
            },
        }
        Ok(())
    }

    /// Writes text, or null.
    ///
    /// # Errors
    /// [`EncodeError::Length`] beyond `i16::MAX` bytes, in compact form too, as in Kafka.
    #[inline]
    pub fn nullable_string(
        &mut self,
        text: Option<&str>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        let length = text.map_or(-1_i16, |text| i16::try_from(text.len()).unwrap_or(i16::MIN));
        if length == i16::MIN {
            return Err(EncodeError::Length(text.map_or(0, str::len)));
        }
        if flexible {
            self.compact_length(text.map(str::len))?;
        } else {
            self.i16(length);
        }
        self.open.put_slice(text.unwrap_or_default().as_bytes());
        Ok(())
    }

    /// Writes text.
    ///
    /// # Errors
    /// As [`Self::nullable_string`].
    #[inline]
    pub fn string(&mut self, text: &str, flexible: bool) -> Result<(), EncodeError> {
        self.nullable_string(Some(text), flexible)
    }

    /// Writes bytes, or null; long ones are shared, not copied.
    ///
    /// # Errors
    /// [`EncodeError::Length`] from `i32::MAX` on.
    pub fn nullable_bytes(
        &mut self,
        bytes: Option<&Bytes>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        self.length(bytes.map(Bytes::len), flexible)?;
        if let Some(bytes) = bytes {
            self.put_shared(bytes);
        }
        Ok(())
    }

    /// Writes an array that may be null, each element with `write`.
    ///
    /// # Errors
    /// [`EncodeError::Length`], and whatever `write` refuses.
    pub fn nullable_array<T>(
        &mut self,
        elements: Option<&[T]>,
        flexible: bool,
        mut write: impl FnMut(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.length(elements.map(<[T]>::len), flexible)?;
        for element in elements.unwrap_or_default() {
            write(self, element)?;
        }
        Ok(())
    }

    /// Writes a structure that may be null: 1 and the structure, or −1.
    ///
    /// # Errors
    /// Whatever the structure refuses.
    pub fn nullable_struct<T: Wire>(
        &mut self,
        value: Option<&T>,
        version: i16,
    ) -> Result<(), EncodeError> {
        let Some(value) = value else {
            self.i8(-1);
            return Ok(());
        };
        self.i8(1);
        value.encode(self, version)
    }

    /// Writes the value of a tagged field that is a structure and may be null: 1 and the
    /// structure, or 0.
    ///
    /// # Errors
    /// Whatever the structure refuses.
    pub fn tagged_nullable_struct<T: Wire>(
        &mut self,
        value: Option<&T>,
        version: i16,
    ) -> Result<(), EncodeError> {
        let Some(value) = value else {
            self.uvarint(0);
            return Ok(());
        };
        self.uvarint(1);
        value.encode(self, version)
    }

    /// Writes one tagged field: its number, the size of what `write` writes, and that. The count
    /// of fields stands before the first and was written with [`Self::uvarint`].
    ///
    /// # Errors
    /// Whatever `write` refuses.
    pub fn tag(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut value = Self::new();
        write(&mut value)?;
        let size = value.len();
        self.uvarint(tag);
        self.uvarint(u32::try_from(size).map_err(|_| EncodeError::Length(size))?);
        for part in value.into_parts() {
            match part {
                Part::Bytes(bytes) => self.put_shared(&bytes),
                Part::External { token, length } => self.put_external(token, length),
            }
        }
        Ok(())
    }
}
