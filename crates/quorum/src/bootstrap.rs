//! How a cluster begins, and how a node without a log comes into one.
//!
//! Invariants: a cluster is founded by one node: the lowest of the listed ones, once every one of them has
//! said that it has no log; one that has a log makes the others learners, for a directory that was wiped is not
//! the voter it was. A directory takes one first entry and keeps it.

use std::collections::BTreeMap;

use base::{BrokerId, Probe, Uuid};

use crate::entry::{Entry, Index, Payload, Term};
use crate::event::{Action, LogChange};
use crate::message::{Body, Message};
use crate::quorum::{Quorum, Step};
use crate::voters::{NodeKey, Voters};

/// What an empty node knows of those it may found a cluster with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Founding {
    /// The cluster's name, if it is this node that founds it.
    fresh: Uuid,
    /// Who has said that it is empty, by node.
    empty: BTreeMap<BrokerId, NodeKey>,
    /// One of them has a log: there is a cluster, and this directory is not of its voters.
    too_late: bool,
}

impl Founding {
    pub(crate) fn new(fresh: Uuid) -> Self {
        Self { fresh, empty: BTreeMap::new(), too_late: false }
    }
}

impl<P: Probe> Quorum<P> {
    /// A node that is no voter asks who is there, to found a cluster or to be fed.
    pub(crate) fn look_around(&mut self, step: &mut Step<'_>) {
        let voters = self.log.voters().iter().map(|voter| voter.node);
        let mut nodes: Vec<BrokerId> =
            self.settings.founders.iter().copied().chain(voters).collect();
        nodes.sort_unstable();
        nodes.dedup();
        for node in nodes.into_iter().filter(|node| *node != self.me.node) {
            let message = Message {
                cluster: self.log.cluster(),
                from: self.me,
                to_dir: None,
                term: self.term,
                body: Body::WhoIsThere,
            };
            step.out.push(Action::Send(node, message));
        }
        self.found(step);
    }

    /// Somebody who does not vote, or has no log, asks.
    pub(crate) fn who_is_there(&mut self, step: &mut Step<'_>, from: NodeKey) {
        let durable = self.writes.durable_end() >= Index(1);
        let first = self.log.entry(Index(1)).filter(|_| durable).cloned();
        let empty = self.log.is_empty();
        self.send(step, from, Body::Here { empty, bootstrap: first });
        if !self.log.voters().contains(from) {
            self.feed_learner(step, from);
        }
    }

    /// An answer to who is there.
    pub(crate) fn here(
        &mut self,
        step: &mut Step<'_>,
        from: NodeKey,
        empty: bool,
        bootstrap: Option<Entry>,
    ) {
        if !self.log.is_empty() {
            return;
        }
        if empty {
            self.founding.empty.insert(from.node, from);
            return self.found(step);
        }
        let listed =
            |entry: &Entry| entry.payload.voters().is_some_and(|voters| voters.contains(self.me));
        match bootstrap.filter(listed) {
            Some(entry) => {
                self.probe.reached("quorum_learns_bootstrap");
                self.begin_with(step, entry);
            },
            // Planted: what the others have does not matter.
            None if self.probe.mutant("bootstrap_despite_a_log") => {
                self.founding.empty.insert(from.node, from);
                self.found(step);
            },
            None => {
                self.probe.reached("quorum_wiped_voter_learns");
                self.founding.too_late = true;
            },
        }
    }

    /// Founds the cluster, if it is this node's to do and it may be done.
    fn found(&mut self, step: &mut Step<'_>) {
        let (founders, me) = (&self.settings.founders, self.me);
        let lowest = founders.iter().min().is_none_or(|lowest| *lowest == me.node);
        let not_mine = !lowest || self.settings.joins || self.founding.too_late;
        if !self.log.is_empty() || not_mine {
            return;
        }
        let mut voters = vec![me];
        for node in founders.iter().filter(|node| **node != me.node) {
            let Some(key) = self.founding.empty.get(node) else { return };
            voters.push(*key);
        }
        self.probe.reached("quorum_bootstrapped");
        let (cluster, voters) = (self.founding.fresh, Voters::from_iter(voters));
        let payload = Payload::Bootstrap { cluster, voters };
        self.begin_with(step, Entry { term: Term(0), payload });
    }

    fn begin_with(&mut self, step: &mut Step<'_>, entry: Entry) {
        self.log.push(entry.clone());
        let change = LogChange::Replace { from: Index(1), entries: vec![entry] };
        self.persist(step, Some(change));
        self.set_election(step.now);
    }
}
