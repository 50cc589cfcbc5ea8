//! Reading and writing the fields of our own files, and the frame around each whole file.
//!
//! Invariants: integers are little-endian; a reader never panics and never allocates more than the
//! bytes that are left; a frame whose checksum, magic, version or length is off is never half-read.
//!
//! ```text
//! frame:  0 magic 8 | 8 version u16 | 10 reserved u16 = 0 | 12 body length u32 | 16 body | CRC-32 u32
//! ```
//! The CRC-32 (ISO-HDLC) covers everything before it.

use thiserror::Error;

/// Bytes of a frame in front of its body.
pub(crate) const FRAME_HEAD: usize = 16;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    /// They end too early.
    #[error("the file ends too early")]
    Truncated,
    /// Another kind of file.
    #[error("not a file of this kind")]
    Magic,
    /// Written by a newer release.
    #[error("format version {0} is newer than this release understands")]
    Version(u16),
    /// Not what was written.
    #[error("the checksum does not match")]
    Checksum,
    /// Bytes after the end, or a field outside its range.
    #[error("field {0} is out of range")]
    Field(&'static str),
}

/// Takes fields off the front of a byte slice.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(FormatError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(FormatError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn i16(&mut self) -> Result<i16, FormatError> {
        Ok(i16::from_le_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, FormatError> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, FormatError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// A count of items of at least `item_len` bytes each: refused if they cannot all follow.
    pub(crate) fn count(&mut self, item_len: usize) -> Result<usize, FormatError> {
        let count = usize::try_from(self.u32()?).map_err(|_| FormatError::Truncated)?;
        let need = count.checked_mul(item_len).ok_or(FormatError::Truncated)?;
        if need > self.rest.len() { Err(FormatError::Truncated) } else { Ok(count) }
    }

    /// A text of at most `max` bytes, its length in front.
    pub(crate) fn text(&mut self, max: usize, name: &'static str) -> Result<String, FormatError> {
        let len = usize::from(self.u8()?);
        if len > max {
            return Err(FormatError::Field(name));
        }
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| FormatError::Field(name))
    }

    /// Whatever is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn finish(self) -> Result<(), FormatError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FormatError::Field("length")) }
    }
}

/// Puts a text with its length in front; longer ones are cut (callers bound them before).
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let len = u8::try_from(text.len()).unwrap_or(u8::MAX);
    out.push(len);
    out.extend_from_slice(&text.as_bytes()[..usize::from(len)]);
}

/// Puts a count of items.
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    out.extend_from_slice(&count.to_le_bytes());
}

/// A body in its frame: a whole file.
pub(crate) fn frame(magic: [u8; 8], version: u16, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME_HEAD + body.len() + 4);
    out.extend_from_slice(&magic);
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&0_u16.to_le_bytes());
    put_count(&mut out, body.len());
    out.extend_from_slice(body);
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// The body of the frame that `bytes` are.
pub(crate) fn unframe(bytes: &[u8], magic: [u8; 8], version: u16) -> Result<&[u8], FormatError> {
    let mut reader = Reader::new(bytes);
    if reader.array::<8>()? != magic {
        return Err(FormatError::Magic);
    }
    let found = reader.u16()?;
    reader.u16()?;
    let len = reader.count(1)?;
    let body = reader.take(len)?;
    let claimed = reader.u32()?;
    reader.finish()?;
    if crc32fast::hash(&bytes[..FRAME_HEAD + len]) != claimed {
        return Err(FormatError::Checksum);
    }
    if found != version {
        return Err(FormatError::Version(found));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAGIC: [u8; 8] = *b"GRGTEST\0";

    proptest! {
        #[test]
        fn a_frame_gives_back_its_body(body in prop::collection::vec(any::<u8>(), 0..100)) {
            let bytes = frame(MAGIC, 3, &body);
            prop_assert_eq!(unframe(&bytes, MAGIC, 3), Ok(body.as_slice()));
        }

        #[test]
        fn one_changed_bit_is_noticed(
            body in prop::collection::vec(any::<u8>(), 0..40),
            bit in any::<prop::sample::Index>(),
        ) {
            let mut bytes = frame(MAGIC, 3, &body);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(unframe(&bytes, MAGIC, 3).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _checked = unframe(&bytes, MAGIC, 3);
        }
    }
}
