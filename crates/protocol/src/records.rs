//! Record batches within a message: bytes that pass through, or a promise of bytes elsewhere.
//!
//! Owns: the type of every field that holds record batches. What is in them is none of its
//! business.

use base::codec::{DecodeError, EncodeError, Reader, Writer};
use bytes::Bytes;

/// The value of a field of record batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// No value. Kafka's own clients accept it in a response; librdkafka does not.
    Null,
    /// Bytes in memory. Decoding gives slices of the frame, never copies.
    Bytes(Bytes),
    /// Bytes that lie elsewhere, such as in a file: they become a [`base::codec::Part::External`].
    External {
        /// Chosen by whoever encodes, handed back in the part.
        token: u64,
        /// How many bytes.
        length: u32,
    },
}

impl Default for Records {
    /// No batch, which every client accepts.
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl Records {
    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// The bytes, if they are in memory.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Null | Self::External { .. } => None,
        }
    }

    /// Its length in bytes; 0 for null.
    pub fn length(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::External { length, .. } => usize::try_from(*length).unwrap_or(usize::MAX),
        }
    }

    /// Reads a field of records; null only if `nullable`.
    ///
    /// # Errors
    /// [`DecodeError`] if it is cut short, or null and not `nullable`.
    pub fn decode(
        reader: &mut Reader<'_>,
        flexible: bool,
        nullable: bool,
    ) -> Result<Self, DecodeError> {
        match reader.nullable_bytes(flexible)? {
            Some(bytes) => Ok(Self::Bytes(bytes)),
            None if nullable => Ok(Self::Null),
            None => Err(DecodeError::Null),
        }
    }

    /// Writes a field of records.
    ///
    /// # Errors
    /// [`EncodeError::Length`] if its length does not fit.
    pub fn encode(&self, writer: &mut Writer, flexible: bool) -> Result<(), EncodeError> {
        match self {
            Self::Null => writer.length(None, flexible),
            Self::Bytes(bytes) => writer.nullable_bytes(Some(bytes), flexible),
            Self::External { token, length } => {
                writer.length(Some(self.length()), flexible)?;
                writer.put_external(*token, *length);
                Ok(())
            },
        }
    }
}
