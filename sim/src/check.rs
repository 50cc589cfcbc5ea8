//! The oracles: what clients saw, held against each other and against the simulated disk.
//!
//! Owns: [`History`]. Promises checked: an acknowledged record is there, for ever, at its offset,
//! unless the power went out before it was durable; offsets are dense and have one content for
//! ever; an idempotent producer's records are there once and in order; nobody reads beyond the
//! high watermark; committed offsets stay, and deleted ones stay away; a partition has one owner per generation; compaction
//! leaves the newest record of every key, and everything that is too young; a log's start stays. The broker is
//! never asked whether it kept a promise.

mod commits;
mod committed;
mod damage;
mod finish;
mod groups;
mod history;
mod live;
mod modes;
mod overdue;
mod platter;
mod reads;
mod records;
mod tables;
mod told;
mod topics;

pub use finish::{finish, settled};
pub use groups::Fate;
pub use history::{History, Since};
pub use live::watch;
pub use modes::ModeChange;
pub use platter::{DATA_DIRS, DiskLog, View, missing_segment, read_log};
pub use reads::{Asked, Fetched, Handed};
pub use records::RecordId;
pub use tables::{EXPIRES_MS, Owed, Row, Rules, TableRecord};
pub use told::{alarm_causes, damages};
