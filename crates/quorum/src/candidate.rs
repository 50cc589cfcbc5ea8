//! Elections: who stands, who is voted for.
//!
//! Invariants: a pre-vote binds nobody, and does not count as having heard of anybody; while a leader is heard
//! of, nobody is voted for, but for the one it hands over to; a vote is durable before it is said, the
//! candidate's own, and the log it speaks of, before it asks.

use std::collections::BTreeSet;

use base::{Instant, Probe};

use crate::entry::{Entry, Payload, Term};
use crate::event::Action;
use crate::leader::Leader;
use crate::message::{Body, Message, Position};
use crate::quorum::{Quorum, State, Step};
use crate::voters::NodeKey;

impl<P: Probe> Quorum<P> {
    /// Nobody leads, as far as it knows: it asks whether it would be voted for.
    pub(crate) fn stand(&mut self, step: &mut Step<'_>) {
        self.follow(step, None);
        self.state = State::Hopeful { yes: BTreeSet::from([self.me]) };
        let ask = Body::WouldVote { last: self.log.last() };
        for voter in self.others() {
            let message = Message { term: self.term.next(), ..self.message_to(voter, ask.clone()) };
            step.out.push(Action::Send(voter.node, message));
        }
        self.count_hopes(step);
    }

    fn others(&self) -> Vec<NodeKey> {
        self.log.voters().iter().filter(|voter| *voter != self.me).collect()
    }

    fn count_hopes(&mut self, step: &mut Step<'_>) {
        let State::Hopeful { yes } = &self.state else { return };
        if self.log.voters().majority(|voter| yes.contains(&voter)) {
            self.candidate(step, false);
        }
    }

    /// It asks for votes in a new term, once its own is durable.
    pub(crate) fn candidate(&mut self, step: &mut Step<'_>, handed_over: bool) {
        let next = self.term.next();
        self.adopt(step, next, Some(self.me));
        let vote_write = self.writes.last();
        self.state = State::Candidate { yes: BTreeSet::new(), vote_write, handed_over };
        self.set_election(step.now);
        // Planted: the vote is out before it is down.
        if self.probe.mutant("vote_before_durable") {
            self.own_vote(step);
        }
    }

    /// Its own vote is durable.
    pub(crate) fn own_vote(&mut self, step: &mut Step<'_>) {
        let (me, last) = (self.me, self.log.last());
        let State::Candidate { yes, handed_over, .. } = &mut self.state else { return };
        if !yes.insert(me) {
            return;
        }
        let ask = Body::Vote { last, handed_over: *handed_over };
        for voter in self.others() {
            self.send(step, voter, ask.clone());
        }
        self.count_votes(step);
    }

    /// Whether it would vote for `from`.
    pub(crate) fn asked_whether(
        &mut self,
        step: &mut Step<'_>,
        from: NodeKey,
        term: Term,
        last: Position,
    ) {
        let led = self.is_led(step.now) && !self.probe.mutant("pre_vote_granted_while_led");
        if led {
            self.probe.reached("quorum_pre_vote_refused_while_led");
        }
        let granted = !led && term > self.term && self.may_vote() && self.is_as_far(last);
        // Planted: who is asked has heard of somebody.
        if granted && self.probe.mutant("pre_vote_is_heard") {
            self.set_election(step.now);
        }
        let answer = self.message_to(from, Body::WouldVoteAnswer { granted });
        // A yes is of the term that was asked about; a no tells the one there is.
        let term = if granted { term } else { self.term };
        step.out.push(Action::Send(from.node, Message { term, ..answer }));
    }

    pub(crate) fn would_vote_answer(
        &mut self,
        step: &mut Step<'_>,
        from: NodeKey,
        term: Term,
        granted: bool,
    ) {
        let next = self.term.next();
        let State::Hopeful { yes } = &mut self.state else { return };
        if granted && term == next {
            yes.insert(from);
            self.count_hopes(step);
        }
    }

    /// It is asked for its vote.
    pub(crate) fn asked(
        &mut self,
        step: &mut Step<'_>,
        from: NodeKey,
        term: Term,
        last: Position,
        handed_over: bool,
    ) {
        // Whoever is led does not even hear of the term, or one node that cannot hear the leader
        // would end its reign.
        if !handed_over && term > self.term && self.is_led(step.now) {
            return;
        }
        let is_new = term > self.term;
        let free =
            is_new || self.vote.is_none_or(|vote| vote == from) || self.probe.mutant("vote_twice");
        let granted = term >= self.term && free && self.may_vote() && self.is_as_far(last);
        if is_new {
            self.adopt(step, term, granted.then_some(from));
        }
        if !granted {
            return self.send(step, from, Body::VoteAnswer { granted: false });
        }
        if self.vote != Some(from) {
            self.vote = Some(from);
            self.persist(step, None);
        }
        self.set_election(step.now);
        // Planted: the vote is out before it is down.
        if self.probe.mutant("vote_before_durable") {
            return self.send(step, from, Body::VoteAnswer { granted });
        }
        self.send_when_durable(step, from, Body::VoteAnswer { granted });
    }

    pub(crate) fn vote_answer(&mut self, step: &mut Step<'_>, from: NodeKey, granted: bool) {
        let State::Candidate { yes, .. } = &mut self.state else { return };
        if granted {
            yes.insert(from);
            self.count_votes(step);
        }
    }

    fn count_votes(&mut self, step: &mut Step<'_>) {
        let State::Candidate { yes, .. } = &self.state else { return };
        // Its own is durable before it counts.
        let elected =
            yes.contains(&self.me) && self.log.voters().majority(|voter| yes.contains(&voter));
        if elected {
            self.lead(step);
        }
    }

    fn lead(&mut self, step: &mut Step<'_>) {
        self.probe.reached("quorum_leads");
        step.out.push(Action::Leads(self.term));
        let leader = Leader::new(&self.log, self.me, step.now);
        self.state = State::Leader(Box::new(leader));
        self.append_own(step, Entry { term: self.term, payload: Payload::Leads(self.me) });
        self.begin_round(step);
        self.advance(step);
    }

    /// Whether the leader was heard of so lately that nobody else is voted for.
    fn is_led(&self, now: Instant) -> bool {
        let lately = |heard: Instant| now.since(heard) < self.settings.election_min;
        match &self.state {
            State::Leader(_) => self.settings.election_min > base::Duration::ZERO,
            _ => self.heard.is_some_and(lately),
        }
    }

    /// Whether a log that ends at `last` is at least as far as this one.
    fn is_as_far(&self, last: Position) -> bool {
        // Planted: whoever asks first gets the vote.
        last >= self.log.last() || self.probe.mutant("vote_ignores_log")
    }
}
