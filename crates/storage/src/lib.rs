//! A partition's log on disk, and the directory that holds logs.
//!
//! Owns: the layout of a log directory, its journal, appending, reading, look-ups by offset and time, epoch
//! history, producer snapshots, flushing, and recovery. Knows no request and no replication.
//! Invariants: bytes of a batch are stored as they came; nothing that was flushed is ever cut;
//! after a write or fsync error the directory is dead for this process; what cannot be read is
//! reported as damage, never as absence. The files are drawn in `docs/storage-format.md`.
#![forbid(unsafe_code)]

pub mod clean;
mod codec;
mod config;
mod dir;
mod envelope;
mod epochs;
mod error;
pub mod inspect;
pub mod journal;
mod log;
mod marks;
pub mod names;
mod producers;
mod replace;
mod tail;

pub use codec::FormatError;
pub use config::*;
pub use dir::{
    Found, Identity, KnownDir, LogDir, Room, SLOT_BYTES, Seal, SealOutcome, Start, StartClass,
    StartInfo, decode_identity, decode_known, decode_seal, decode_start, decode_starts,
    encode_identity, encode_known, encode_seal, encode_start, is_full, of_sync,
};
pub use envelope::{Envelopes, Owner, Run, SLOT, decode_file, decode_slot, encode_slot};
pub use epochs::{EpochHistory, EpochStart};
pub use error::{
    DirError, DirectoryFailed, DirectoryFull, OpenError, ReadError, TruncateError, WriteError,
};
pub use log::{
    Append, Appended, CompactError, Compacted, Compaction, Cut, FaultyRange, Log, ReadSlice,
    Recovery, SegmentExtent, TimestampHit, Untold,
};
pub use marks::{BUGGIFY_SITES, MARKS, MARKS_DAMAGE, MUTANTS, MUTANTS_OF_THREADS};
pub use producers::{
    BATCHES_KEPT, KeptBatch, ProducerBatch, ProducerSnapshot, ProducerState, ProducerStates,
    Verdict, decode_snapshot, encode_snapshot,
};
pub use replace::sync_dir;
