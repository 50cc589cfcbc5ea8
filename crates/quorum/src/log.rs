//! The log as a node knows it: what came before it, in one snapshot, and the entries since.
//!
//! Owns: entries, and the voters that each stretch of the log puts in force. Invariants: indexes are
//! contiguous from the base on; terms never fall; nothing at or below the base is ever cut.

use std::collections::VecDeque;

use base::{Uuid, invariant};

use crate::entry::{Entry, Index, Payload, Term};
use crate::message::Position;
use crate::voters::Voters;

/// What a snapshot is of: everything up to an entry, which was committed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Base {
    /// Its last entry.
    pub last: Position,
    /// The voters in force there.
    pub voters: Voters,
    /// The cluster.
    pub cluster: Uuid,
    /// Of the content.
    pub digest: u128,
}

/// The log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Log {
    base: Option<Base>,
    entries: VecDeque<Entry>,
    /// Where voters changed behind the base.
    voters: Vec<(Index, Voters)>,
}

impl Log {
    /// What was found on the disk.
    pub fn new(base: Option<Base>, entries: Vec<Entry>) -> Self {
        let mut log = Self { base, entries: VecDeque::new(), voters: Vec::new() };
        entries.into_iter().for_each(|entry| log.push(entry));
        log
    }

    /// Whether there was never anything in it.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.entries.is_empty()
    }

    /// The snapshot it begins behind.
    pub fn base(&self) -> Option<&Base> {
        self.base.as_ref()
    }

    /// The last entry that is not here any more; 0 if all are.
    pub fn start(&self) -> Index {
        self.base.as_ref().map(|base| base.last.index).unwrap_or_default()
    }

    /// Its last entry.
    pub fn last(&self) -> Position {
        let index = Index(self.start().0 + u64::try_from(self.entries.len()).unwrap_or(0));
        Position { term: self.term_at(index).unwrap_or_default(), index }
    }

    /// The term of an entry that is here, or the last one that is not.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.start() {
            return Some(self.base.as_ref().map(|base| base.last.term).unwrap_or_default());
        }
        self.entry(index).map(|entry| entry.term)
    }

    /// An entry.
    pub fn entry(&self, index: Index) -> Option<&Entry> {
        self.entries.get(self.at(index)?)
    }

    fn at(&self, index: Index) -> Option<usize> {
        usize::try_from(index.0.checked_sub(self.start().0 + 1)?).ok()
    }

    /// Entries from `first` on: up to `bytes`, but at least one.
    pub(crate) fn some_from(&self, first: Index, bytes: usize) -> Vec<Entry> {
        let Some(at) = self.at(first) else { return Vec::new() };
        let mut taken = 0_usize;
        let fits = |entry: &&Entry| {
            let before = taken;
            taken = taken.saturating_add(entry.payload.bytes());
            before == 0 || taken <= bytes
        };
        self.entries.iter().skip(at).take_while(fits).cloned().collect()
    }

    /// The voters in force at its end.
    pub fn voters(&self) -> &Voters {
        static NONE: Voters = Voters::none();
        let newest = self.voters.last().map(|(_, voters)| voters);
        newest.or(self.base.as_ref().map(|base| &base.voters)).unwrap_or(&NONE)
    }

    /// The last entry that changed the voters; the base's end if none behind it did.
    pub fn voters_since(&self) -> Index {
        self.voters.last().map_or(self.start(), |(index, _)| *index)
    }

    /// The cluster it is of.
    pub fn cluster(&self) -> Option<Uuid> {
        match (&self.base, self.entries.front()) {
            (Some(base), _) => Some(base.cluster),
            (None, Some(Entry { payload: Payload::Bootstrap { cluster, .. }, .. })) => {
                Some(*cluster)
            },
            _ => None,
        }
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        let last = self.last();
        invariant!(QRM_1, entry.term >= last.term, "term {} behind {}", entry.term, last.term);
        if let Some(voters) = entry.payload.voters() {
            self.voters.push((last.index.next(), voters.clone()));
        }
        self.entries.push_back(entry);
    }

    /// Everything from `from` on goes.
    pub(crate) fn cut(&mut self, from: Index) {
        let Some(at) = self.at(from) else {
            invariant!(
                QRM_2,
                false,
                "a cut at {from} of a log that begins behind {}",
                self.start()
            );
            return;
        };
        self.entries.truncate(at);
        self.voters.retain(|(index, _)| *index < from);
    }

    /// What a snapshot up to `index` is of; none if there is no such entry.
    pub(crate) fn base_at(&self, index: Index, digest: u128) -> Option<Base> {
        let term = self.term_at(index)?;
        let newest = self.voters.iter().rev().find(|(at, _)| *at <= index);
        let voters = newest.map(|(_, voters)| voters);
        let voters = voters.or(self.base.as_ref().map(|base| &base.voters))?.clone();
        Some(Base { last: Position { term, index }, voters, cluster: self.cluster()?, digest })
    }

    /// Everything up to the snapshot's end goes; if the entry there is not the snapshot's, all of it.
    pub(crate) fn start_at(&mut self, base: Base) {
        let index = base.last.index;
        if index <= self.start() {
            return;
        }
        if self.term_at(index) == Some(base.last.term) {
            let gone = self.at(index.next()).unwrap_or(0).min(self.entries.len());
            self.entries.drain(..gone);
            self.voters.retain(|(at, _)| *at > index);
        } else {
            self.entries.clear();
            self.voters.clear();
        }
        self.base = Some(base);
    }
}
