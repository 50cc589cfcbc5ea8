//! What nodes say to each other.
//!
//! Invariants: a message says in which cluster it was sent, from which directory and in which term; one of
//! another cluster is dropped, one for another directory of the node as well. Losing, doubling and
//! reordering messages is harmless; they are not authenticated here.

use base::Uuid;
use bytes::Bytes;

use crate::entry::{Entry, Index, Term};
use crate::log::Base;
use crate::voters::NodeKey;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Message {
    /// The cluster; none while the sender has not been taken into one.
    pub cluster: Option<Uuid>,
    /// Who sent it.
    pub from: NodeKey,
    /// The directory it is meant for, where the sender knows it.
    pub to_dir: Option<Uuid>,
    /// The sender's term; of a request for a vote, the term it is for.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

/// The last entry of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Its term. First, for logs are compared by it first.
    pub term: Term,
    /// Its place.
    pub index: Index,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Body {
    /// Would you vote for me in this term? Binds nobody.
    WouldVote {
        /// The end of the asker's log.
        last: Position,
    },
    /// Answer to [`Body::WouldVote`].
    WouldVoteAnswer {
        /// Whether it would.
        granted: bool,
    },
    /// Vote for me in this term.
    Vote {
        /// The end of the candidate's log.
        last: Position,
        /// The leader asked for this election, so nobody holds on to it.
        handed_over: bool,
    },
    /// Answer to [`Body::Vote`]; a yes is durable.
    VoteAnswer {
        /// Whether it does.
        granted: bool,
    },
    /// The leader of this term is here; append these entries.
    Append {
        /// The entry before the first of these.
        before: Position,
        /// In order.
        entries: Vec<Entry>,
        /// Everything up to here is committed.
        commit: Index,
        /// The leader's count of rounds, for reads and for knowing who is alive.
        round: u64,
    },
    /// Answer to any [`Body::Append`] or [`Body::Chunk`] of the term's leader: heard. Needs no disk.
    Alive {
        /// The round that it answers.
        round: u64,
    },
    /// The log agrees with the leader's, durably, up to here.
    Matched {
        /// The last entry known to agree.
        index: Index,
    },
    /// The entry before the appended ones is not in the log: begin again behind `hint`.
    Missing {
        /// The entry that was not there.
        before: Index,
        /// Agreement is at most up to here.
        hint: Index,
    },
    /// A piece of a snapshot, in place of entries that the leader has no longer.
    Chunk {
        /// What the snapshot is of.
        base: Base,
        /// Where the piece begins.
        at: u64,
        /// The piece.
        bytes: Bytes,
        /// Whether it is the last one.
        done: bool,
        /// As in [`Body::Append`].
        round: u64,
    },
    /// Of the snapshot with this end, everything before this is here.
    ChunkTaken {
        /// The snapshot's last entry.
        end: Index,
        /// The first byte that is missing.
        next: u64,
    },
    /// Stand for election at once.
    StandNow,
    /// Who are you, and do you have a log? From a node without one.
    WhoIsThere,
    /// Answer to [`Body::WhoIsThere`].
    Here {
        /// Whether the log is empty.
        empty: bool,
        /// The first entry, if it is still there.
        bootstrap: Option<Entry>,
    },
}
