//! The real binary as a person uses it: one process serves, others ask.
#![expect(clippy::unwrap_used, clippy::panic, reason = "how a test fails")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "real processes")]

mod bench;
mod daemon;
mod dump;
mod groups;
mod keys;
mod metrics;
mod page;
mod records;
mod release;
mod serving;
mod stopping;
mod support;
mod topics;
mod unread;
mod verify;
