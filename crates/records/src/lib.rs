//! Kafka record batches (format v2) as bytes: parse, check, walk, patch, build, (de)compress.
//!
//! Invariants: every decoder is total (no panic, no allocation from an unchecked count), a batch
//! is never re-encoded to be stored, and what a view hands out are slices of the bytes it got.
//! Pure: names only `base`. Source: KIP-98 (format v2), KIP-32 (timestamps), KIP-467 (per-record
//! errors); the layout is drawn in [`header`].
#![forbid(unsafe_code)]

pub mod batch;
pub mod header;
pub mod patch;

pub use batch::{BatchView, Batches, FrameError, batches};
pub use header::{Attributes, BatchHeader, Compression, Producer, TimestampType};
pub use patch::{Patch, Patched, Stamp};
