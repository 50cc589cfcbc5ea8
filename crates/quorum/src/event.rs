//! What goes into a node and what comes out of it.

use base::BrokerId;
use bytes::Bytes;

use crate::entry::{Entry, Index, Term};
use crate::log::Base;
use crate::message::Message;
use crate::voters::NodeKey;

/// The proposer's name for a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

/// The asker's name for a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// What happens to a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Time has passed: at [`crate::Quorum::deadline`] or before.
    Tick,
    /// A message has come.
    Message(Message),
    /// Every [`Write`] up to this one is durable.
    Persisted(u64),
    /// Let the cluster agree on this. Answered by [`Action::Proposed`] or [`Action::Refused`].
    Propose {
        /// Which proposal it is.
        tag: Tag,
        /// What it says.
        bytes: Bytes,
    },
    /// Change the voters. Answered by [`Action::ChangeBegun`] or [`Action::ChangeRefused`].
    ChangeVoters(Change),
    /// Hand the leadership over: to this voter, or to whoever is furthest.
    Transfer(Option<NodeKey>),
    /// From which index on does the state hold everything committed before this moment?
    Read(ReadId),
    /// The users of the log have a snapshot of everything up to `base`, and it is durable.
    Snapshot {
        /// Its last entry, which is committed and applied.
        index: Index,
        /// Of its content.
        digest: u128,
    },
    /// A piece of the newest snapshot, as asked for by [`Action::ReadChunk`].
    Chunk {
        /// For whom.
        to: NodeKey,
        /// The snapshot's last entry.
        end: Index,
        /// Where the piece begins.
        at: u64,
        /// The piece.
        bytes: Bytes,
        /// Whether it is the last one.
        done: bool,
    },
}

/// A change of the voters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// A learner that has caught up becomes a voter.
    Add(NodeKey),
    /// A voter is one no more.
    Remove(NodeKey),
}

/// Why voters were not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeRefused {
    /// Ask the leader.
    NotLeader,
    /// Nothing of this leader's term is committed yet, or another change is not: try again.
    UnderWay,
    /// The learner is not known, or not within one message of the log's end: try again.
    NotCaughtUp,
    /// It is so already.
    Nothing,
    /// The last voter stays.
    LastVoter,
}

/// Why a proposal or a read was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusedBecause {
    /// Ask the leader, if one is known. Definitely nothing was appended.
    NotLeader(Option<NodeKey>),
    /// The leader is handing over.
    HandingOver,
    /// As many as may wait do.
    Busy,
}

/// What a node wants done. In order; nothing here may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Make this durable, after all earlier ones, and say so ([`Event::Persisted`]).
    Persist(Write),
    /// Send a message to a node, or don't.
    Send(BrokerId, Message),
    /// Everything up to this index is committed and may be applied. After [`Action::Install`] from its
    /// end on.
    Commit(Index),
    /// The proposal is in the log, at this place unless a later term puts something else there: it has
    /// come true once [`Action::Commit`] passes the place in this term or a later one that kept it.
    Proposed {
        /// Which one.
        tag: Tag,
        /// Its place.
        index: Index,
        /// And its term.
        term: Term,
    },
    /// The proposal was not appended.
    Refused(Tag, RefusedBecause),
    /// The change is in the log.
    ChangeBegun(Index),
    /// It is not.
    ChangeRefused(Change, ChangeRefused),
    /// Once everything up to the index is applied, the state holds what was committed before the read.
    ReadReady(ReadId, Index),
    /// Unknown; ask somebody else.
    ReadRefused(ReadId, RefusedBecause),
    /// It leads now, in this term. What was committed before is known once its first entry is.
    Leads(Term),
    /// It leads no more.
    Resigned,
    /// Read a piece of the newest snapshot and say it ([`Event::Chunk`]).
    ReadChunk {
        /// For whom.
        to: NodeKey,
        /// The snapshot's last entry.
        end: Index,
        /// From where on.
        at: u64,
    },
    /// Keep this piece of a snapshot that comes in; one with another end, or at 0, begins anew.
    StageChunk {
        /// What it is of.
        base: Base,
        /// Where it begins.
        at: u64,
        /// The piece.
        bytes: Bytes,
    },
    /// The staged snapshot is whole: the state is this now. Its write comes with it.
    Install(Base),
}

/// What is to be made durable in one go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// Counts writes since the start of the node.
    pub number: u64,
    /// The term.
    pub term: Term,
    /// The vote in it.
    pub vote: Option<NodeKey>,
    /// What happens to the log, if anything does.
    pub log: Option<LogChange>,
}

/// What happens to the durable log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogChange {
    /// Everything from `from` on goes, and these come in its place.
    Replace {
        /// The first one's index.
        from: Index,
        /// In order.
        entries: Vec<Entry>,
    },
    /// Everything up to the snapshot's end goes. If the entry there is not the snapshot's, all goes.
    StartAt(Base),
}
