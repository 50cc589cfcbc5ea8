//! Kafka record batches (format v2) as bytes: parse, check, walk, patch, build, (de)compress.
//!
//! Invariants: every decoder is total (no panic, no allocation from an unchecked count), a batch
//! is re-encoded to be stored only where its topic asks for another codec, and what a view hands out are slices of the bytes it got.
//! Pure: names only `base`. Source: KIP-98 (format v2), KIP-32 (timestamps), KIP-467 (per-record
//! errors); the layout is drawn in [`header`].
#![forbid(unsafe_code)]

pub mod batch;
pub mod build;
pub mod check;
pub mod codec;
pub mod control;
pub mod convert;
pub mod header;
pub mod lookup;
pub mod patch;
pub mod record;
pub mod retain;
pub mod scan;
mod varint;

pub use batch::{BatchView, Batches, CrcMismatch, Damage, FrameError, batches};
pub use build::{BatchBuilder, BuildError, NewRecord};
pub use check::{
    BatchError, Depth, Fault, FaultKind, Policy, Refusal, Validated, exactly_one, validate,
};
pub use codec::stream::Opener;
pub use codec::{CodecError, OPEN_BYTES_MAX, STORED_INFLATED_BYTES_MAX, inflated_bytes_max};
pub use control::{Control, Ending};
pub use convert::{Bounds, Encoder};
pub use header::{Attributes, BatchHeader, Compression, NO_TIMESTAMP, Producer, TimestampType};
pub use lookup::Found;
pub use patch::{Patch, Patched, Stamp};
pub use record::{Header, Headers, OpenError, Record, RecordError, RecordSet, Records};
pub use retain::{RetainError, Retained, retain};
pub use scan::Glance;
