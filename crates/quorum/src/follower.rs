//! What a follower does with a leader's entries.
//!
//! Invariants: entries are taken only behind one that agrees with the leader's; what is committed is never
//! cut; agreement is said once it is durable.

use base::{Probe, invariant};

use crate::entry::{Entry, Index};
use crate::event::{Action, LogChange};
use crate::message::{Body, Position};
use crate::quorum::{Quorum, Step};
use crate::voters::NodeKey;

impl<P: Probe> Quorum<P> {
    /// The leader's entries behind `before`.
    pub(crate) fn append(
        &mut self,
        step: &mut Step<'_>,
        from: NodeKey,
        before: Position,
        entries: Vec<Entry>,
        commit: Index,
    ) {
        let start = self.log.start();
        // What the snapshot covers was committed, so the leader has it as it is here.
        let agrees = before.index < start || self.log.term_at(before.index) == Some(before.term);
        if !agrees {
            let hint = self.agrees_at_most(before);
            return self.send(step, from, Body::Missing { before: before.index, hint });
        }
        let count = u64::try_from(entries.len()).unwrap_or(0);
        let matched = Index(before.index.0 + count).max(start);
        self.take(step, before.index, entries);
        // Planted: what is in memory counts.
        if self.probe.mutant("match_before_durable") {
            self.send(step, from, Body::Matched { index: matched });
        } else {
            self.send_when_durable(step, from, Body::Matched { index: matched });
        }
        self.learn_commit(step, commit.min(matched));
    }

    /// Where the logs may still agree, at most: before everything of a term that the leader's entry at
    /// that place is not of.
    fn agrees_at_most(&self, before: Position) -> Index {
        let last = self.log.last().index;
        if before.index > last {
            return last;
        }
        let wrong = self.log.term_at(before.index);
        let mut hint = before.index;
        while hint > self.log.start() && self.log.term_at(hint) == wrong {
            hint = hint.before();
        }
        hint
    }

    /// Takes in those of `entries`, which stand behind `before`, that it does not have.
    fn take(&mut self, step: &mut Step<'_>, before: Index, entries: Vec<Entry>) {
        let mut from = before.next();
        let mut entries = entries;
        let known = |at: Index, entry: &Entry| {
            at <= self.log.start() || self.log.term_at(at) == Some(entry.term)
        };
        let mut count = 0;
        while entries.get(count).is_some_and(|entry| known(from, entry)) {
            (count, from) = (count + 1, from.next());
        }
        entries.drain(..count);
        if entries.is_empty() {
            return;
        }
        if from <= self.log.last().index {
            invariant!(QRM_5, from > self.commit, "a cut at {from}, committed {}", self.commit);
            self.probe.reached("quorum_conflict_cut");
            self.log.cut(from);
        }
        entries.iter().for_each(|entry| self.log.push(entry.clone()));
        self.persist(step, Some(LogChange::Replace { from, entries }));
    }

    /// The leader says that this much is committed.
    pub(crate) fn learn_commit(&mut self, step: &mut Step<'_>, commit: Index) {
        if commit > self.commit {
            self.commit = commit;
            step.out.push(Action::Commit(commit));
        }
    }
}
