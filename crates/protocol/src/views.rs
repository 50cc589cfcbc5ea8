//! Borrowed views of the hot requests: they walk the frame and allocate nothing.
//!
//! Owns: Produce, Fetch, Metadata and OffsetCommit without their owned structs. Invariant: a view
//! exists only of a body that parses to its end, so that its iterators cannot fail half way, and that
//! an answer has room for, so that what a handler makes of it is bounded by the size of its frame.
//! `tests/views.rs` holds each against the owned decode.

mod fetch;
mod metadata;
mod offset_commit;
mod produce;

use std::fmt;
use std::marker::PhantomData;

use base::codec::{DecodeError, Reader};

pub use fetch::{FetchForgottenView, FetchPartitionView, FetchTopicView, FetchView};
pub use metadata::{MetadataTopicView, MetadataView};
pub use offset_commit::{OffsetCommitPartitionView, OffsetCommitTopicView, OffsetCommitView};
pub use produce::{ProducePartitionView, ProduceTopicView, ProduceView};

/// Something of which an array is made.
pub trait Element<'a>: Sized {
    /// The fewest bytes it takes in any version.
    const BYTES_MIN: usize;
    /// The memory that handling one takes, about: what is asked because of it, and its place in the
    /// answer. Counts against the same bound as the arrays of an owned decode.
    const MEMORY_BYTES: usize;

    /// Reads one and leaves the reader behind it.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not one.
    fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError>;
}

/// What an element takes beside its answer.
const ASKED_BYTES: usize = 64;

impl Element<'_> for i32 {
    const BYTES_MIN: usize = 4;
    const MEMORY_BYTES: usize = 4;

    fn read(reader: &mut Reader<'_>, _version: i16) -> Result<Self, DecodeError> {
        reader.i32()
    }
}

/// An array within a frame, already checked. Iterating reads its elements again.
pub struct Elements<'a, T> {
    reader: Reader<'a>,
    left: usize,
    version: i16,
    element: PhantomData<fn() -> T>,
}

impl<'a, T: Element<'a>> Elements<'a, T> {
    /// Reads an array to its end, or null.
    pub(crate) fn read_nullable(
        reader: &mut Reader<'a>,
        flexible: bool,
        version: i16,
    ) -> Result<Option<Self>, DecodeError> {
        let Some(left) = reader.nullable_count(flexible, T::BYTES_MIN)? else { return Ok(None) };
        reader.reserve(left, T::MEMORY_BYTES)?;
        let elements = Self { reader: reader.clone(), left, version, element: PhantomData };
        for _ in 0..left {
            T::read(reader, version)?;
        }
        Ok(Some(elements))
    }

    /// Reads an array to its end.
    pub(crate) fn read(
        reader: &mut Reader<'a>,
        flexible: bool,
        version: i16,
    ) -> Result<Self, DecodeError> {
        Self::read_nullable(reader, flexible, version)?.ok_or(DecodeError::Null)
    }

    /// An array that the version lacks.
    pub(crate) fn none() -> Self {
        let nothing: &[u8] = &[];
        Self { reader: Reader::from(nothing), left: 0, version: 0, element: PhantomData }
    }
}

impl<'a, T: Element<'a>> Iterator for Elements<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        let element = T::read(&mut self.reader, self.version);
        debug_assert!(element.is_ok(), "checked when the view was made");
        element.ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a, T: Element<'a>> ExactSizeIterator for Elements<'a, T> {}

impl<T> Clone for Elements<'_, T> {
    fn clone(&self) -> Self {
        Self {
            reader: self.reader.clone(),
            left: self.left,
            version: self.version,
            element: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Elements<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} elements", self.left)
    }
}
