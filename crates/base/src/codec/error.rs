//! What can be wrong with bytes that are read, or with a value that is written.
//!
//! Owns: the two error types of the codec. They carry numbers, never bytes of the input.

use thiserror::Error;

/// Why bytes from outside are not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The input ends within a value.
    #[error("{needed} bytes needed, {remaining} left")]
    End {
        /// Bytes the value takes.
        needed: usize,
        /// Bytes there are.
        remaining: usize,
    },
    /// An array claims more elements than the rest of the input can hold.
    #[error("an array of {count} elements in {remaining} bytes")]
    Count {
        /// Elements claimed.
        count: usize,
        /// Bytes there are.
        remaining: usize,
    },
    /// Arrays that take far more memory than their bytes on the wire.
    #[error("an array of {needed} bytes in memory, {allowed} left for this input")]
    Memory {
        /// Bytes the array would take.
        needed: usize,
        /// Bytes the arrays of this input may still take.
        allowed: usize,
    },
    /// Null where the version allows none.
    #[error("null in a field that cannot be null")]
    Null,
    /// A varint that does not end within its width, or overflows it.
    #[error("a varint longer than its type")]
    Varint,
    /// Text of more bytes than Kafka allows: 32 767, with a compact length too. What writes it would refuse
    /// it.
    #[error("text of {0} bytes")]
    TextLength(usize),
    /// Text that is not UTF-8.
    #[error("text that is not utf-8")]
    Utf8,
    /// A tagged field whose value is not as long as its size says.
    #[error("tagged field {tag} leaves {left} bytes of its size unread")]
    TagSize {
        /// The number of the field.
        tag: u32,
        /// Bytes left of the size announced.
        left: usize,
    },
    /// A version that this code does not know.
    #[error("{message} has no version {version}")]
    Version {
        /// Kafka's name of the message.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// Bytes behind the end of a value that should fill its input.
    #[error("{0} bytes behind the end")]
    Trailing(usize),
}

/// Why a value cannot be written in a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// A field that the version lacks holds a value, and losing it would change the meaning.
    #[error("version {version} has no field {field}")]
    NotInVersion {
        /// `Struct.field`.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// Null in a field that cannot be null in this version.
    #[error("null in {field}, which version {version} does not allow")]
    Null {
        /// `Struct.field`.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A length that its prefix cannot express.
    #[error("length {0} does not fit its prefix")]
    Length(usize),
    /// A version that this code does not know.
    #[error("{message} has no version {version}")]
    Version {
        /// Kafka's name of the message.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
}
