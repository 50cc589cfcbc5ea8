//! Storage against a disk in memory that can crash at any operation.
#![expect(clippy::unwrap_used, reason = "test helpers outside #[test]")]

mod batches;
mod cleaning_crash;
mod compact;
mod crash;
mod every_crash;
mod forgotten;
mod full;
mod inode;
mod interleaving;
mod journal;
mod journaled;
mod model;
mod opening;
mod producers;
mod reading;
mod reserving;
mod salvage;
mod support;
mod transactions;
mod truncate;
mod unreadable;
