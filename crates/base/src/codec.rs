//! Kafka's wire primitives: a total reader, a segmenting writer, and the traits of generated code.
//!
//! Owns: integers, varints, classic and compact strings, bytes and arrays, tagged fields.
//! Invariants: no input makes a reader panic; nothing is allocated from a count before the count
//! was held against the bytes that remain, and against the memory that an input of its length may
//! take. Source: KIP-482, KIP-893, Kafka's protocol guide.

mod error;
mod reader;
mod writer;

pub use error::{DecodeError, EncodeError};
pub use reader::{ARRAY_BYTES_FREE, ARRAY_BYTES_PER_BYTE, Reader};
pub use writer::{Part, Writer};

/// Something that stands on the wire in a form that depends on the version of its message.
///
/// Implemented by the generated structs; `version` is always the version of the whole message.
pub trait Wire: Sized {
    /// Reads one value and leaves the reader behind it. Unknown tagged fields are skipped.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not such a value. The reader's position is then
    /// unspecified.
    fn decode(reader: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError>;

    /// Appends the value in the form of `version`.
    ///
    /// # Errors
    /// [`EncodeError`] if a field that the version lacks holds something else than its default
    /// and may not be dropped, if a null stands where the version allows none, or if a length
    /// does not fit its prefix. The writer then holds a part of the value.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError>;
}

/// A whole message: a request, a response, or a record of an internal topic.
pub trait Message: Wire + Default {
    /// Kafka's name of the message, such as `ProduceRequest`.
    const NAME: &'static str;
    /// The lowest version this code can read and write.
    const VERSION_MIN: i16;
    /// The highest version this code can read and write.
    const VERSION_MAX: i16;
    /// The first version with compact lengths and tagged fields, if there is one.
    const FLEXIBLE_MIN: Option<i16>;

    /// Whether `version` has compact lengths and tagged fields.
    fn is_flexible(version: i16) -> bool {
        Self::FLEXIBLE_MIN.is_some_and(|first| version >= first)
    }
}
