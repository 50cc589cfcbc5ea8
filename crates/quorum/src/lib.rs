//! Agreement among controllers on one log: Raft, with the holes around it closed.
//!
//! Owns: terms, votes, the log of entries and its voters, and when an entry is committed. Pure: one
//! [`Quorum`] per node is driven by [`Quorum::step`]; its driver carries out the [`Action`]s, in order,
//! and tells what became of them. What an entry says is its users' business.
//!
//! Invariants, by which the whole crate is to be read:
//!
//! * Nothing is promised before it is durable: a vote, a match and the leader's own match count from the
//!   [`Event::Persisted`] that covers them. Only *I am alive* needs no disk.
//! * In one term a node votes for one candidate, and only for one whose log is at least as far as its
//!   own. A node that was started again never goes on in a term in which it led.
//! * An entry is committed once a majority of the voters in force has it and an entry of the leader's
//!   own term is committed with it.
//! * Voters change one at a time, in force as soon as the entry is in the log, and only behind a
//!   commit of the leader's term and with no other change under way.
//! * Absent, empty and damaged are three things: an empty directory never votes and can found no
//!   second cluster; a directory that has lost entries it may have vouched for does not vote until a
//!   leader has given them back.
#![forbid(unsafe_code)]

mod bootstrap;
mod candidate;
mod entry;
mod event;
mod follower;
mod leader;
mod log;
mod marks;
mod message;
mod persist;
mod progress;
mod quorum;
mod reads;
mod settings;
mod snapshot;
mod voters;

pub use entry::{Entry, Index, Payload, Term};
pub use event::{
    Action, Change, ChangeRefused, Event, LogChange, ReadId, RefusedBecause, Tag, Write,
};
pub use log::{Base, Log};
pub use marks::{MARKS, MUTANTS};
pub use message::{Body, Message, Position};
pub use quorum::{Quorum, Recovered, Role};
pub use settings::Settings;
pub use voters::{NodeKey, Voters};
