//! What happens to a coordinator shard, and what it wants done.
//!
//! Invariants: events are facts handed in by the driver; actions are carried out in the order in
//! which they stand. At most one append of a shard is under way at any time.

use base::Uuid;
use bytes::Bytes;

use crate::{Command, Reply};

/// Names one request until it is answered. Chosen by the driver, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names one append until its outcome is known. Chosen by the shard, from 0, counting up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub u64);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request arrived.
    Request {
        /// Its name.
        id: RequestId,
        /// What it asks.
        command: Command,
        /// Random bits for a member id, should one be needed.
        fresh: Uuid,
    },
    /// The outcome of [`Action::Append`] is known.
    Appended {
        /// Which append.
        id: AppendId,
        /// `Ok`: every record is in the log for good (as durable as the topic asks). `Err`: none
        /// is and none will be. If the driver cannot know, it must not say so here: it sends
        /// [`Event::Resigned`], throws the shard away and loads a new one from the log.
        result: Result<(), AppendError>,
    },
    /// The instant of `Shard::deadline` has come.
    Tick,
    /// This broker no longer coordinates the shard's groups: every waiting request is answered,
    /// and so is every later one, with [`crate::GroupError::NotCoordinator`].
    Resigned,
}

/// Why an append failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// Too few replicas, or a time-out before anything was written.
    NotAvailable,
    /// This broker does not lead the partition, or its storage failed.
    NotCoordinator,
    /// The log refuses a batch of that size.
    TooLarge,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Answer a request.
    Reply {
        /// Which request.
        id: RequestId,
        /// The answer; its kind is that of the command.
        reply: Reply,
    },
    /// Append these records, as one batch, to the shard's partition of `__consumer_offsets`.
    Append {
        /// To be named in [`Event::Appended`].
        id: AppendId,
        /// Key and value of each; a `None` is a tombstone. Never empty.
        records: Vec<(Bytes, Option<Bytes>)>,
    },
}
