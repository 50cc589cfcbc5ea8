//! What a leader does: proposals, feeding the others, committing, changing voters, handing over.
//!
//! Invariants: an entry is committed by a majority of the voters in force, its own copy counting once it is
//! durable and only if it votes; only through an entry of its own term; one change of voters at a time,
//! behind a commit of its term; a leader that is no voter any more resigns once that is committed.

use std::collections::BTreeMap;

use base::{Instant, Probe};
use bytes::Bytes;

use crate::entry::{Entry, Index, Payload, Term};
use crate::event::{Action, Change, ChangeRefused, RefusedBecause, Tag};
use crate::log::Log;
use crate::message::{Body, Position};
use crate::progress::Progress;
use crate::quorum::{Quorum, State, Step};
use crate::reads::Reads;
use crate::settings::Settings;
use crate::voters::NodeKey;

/// Nodes that are fed and do not vote; further ones wait.
const LEARNERS_MAX: usize = 16;

/// A leader's own state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leader {
    /// Its first entry.
    pub(crate) first: Index,
    /// All others that it feeds, voters and learners.
    pub(crate) others: BTreeMap<NodeKey, Progress>,
    /// Counts heartbeats and reads.
    pub(crate) round: u64,
    pub(crate) round_at: Instant,
    pub(crate) reads: Reads,
    /// To whom it hands over, and until when it tries.
    handing_over: Option<(Option<NodeKey>, Instant)>,
}

impl Leader {
    pub(crate) fn new(log: &Log, me: NodeKey, now: Instant) -> Self {
        let first = log.last().index.next();
        let others = log.voters().iter().filter(|voter| *voter != me);
        Self {
            first,
            others: others.map(|voter| (voter, Progress::unknown(first, now))).collect(),
            round: 0,
            round_at: now,
            reads: Reads::default(),
            handing_over: None,
        }
    }

    /// For the mutant `restarted_leader_leads_on`.
    pub(crate) fn again<P: Probe>(node: &Quorum<P>, now: Instant) -> Self {
        let mut leader = Self::new(&node.log, node.me, now);
        leader.first = node.log.last().index;
        leader
    }

    pub(crate) fn deadline(&self, settings: &Settings) -> Instant {
        let until = self.handing_over.map_or(Instant::NEVER, |(_, until)| until);
        self.round_at.after(settings.heartbeat).min(until)
    }

    /// What was promised to whoever waits is off.
    pub(crate) fn resign(mut self, step: &mut Step<'_>) {
        self.reads.refuse_all(step, RefusedBecause::NotLeader(None));
        step.out.push(Action::Resigned);
    }
}

impl<P: Probe> Quorum<P> {
    pub(crate) fn leading(&mut self) -> Option<&mut Leader> {
        match &mut self.state {
            State::Leader(leader) => Some(leader),
            _ => None,
        }
    }

    pub(crate) fn tick_leader(&mut self, step: &mut Step<'_>) {
        let voters = self.log.voters().clone();
        let (me, settings) = (self.me, self.settings.clone());
        let watches = !self.probe.mutant("no_check_quorum");
        let Some(leader) = self.leading() else { return };
        let alive = |key: NodeKey| {
            let heard = |of: &Progress| step.now.since(of.alive_at) < settings.check_quorum;
            key == me || leader.others.get(&key).is_some_and(heard)
        };
        if watches && !voters.majority(alive) {
            self.probe.reached("quorum_check_quorum_failed");
            return self.follow(step, None);
        }
        if leader.handing_over.is_some_and(|(_, until)| until <= step.now) {
            leader.handing_over = None;
        }
        if leader.round_at.after(settings.heartbeat) <= step.now {
            for progress in leader.others.values_mut() {
                // What was sent to it may be lost.
                if !std::mem::take(&mut progress.answered) {
                    progress.in_flight = 0;
                    progress.next = progress.matched.next();
                    progress.chunk = None;
                }
            }
            self.begin_round(step);
        }
    }

    /// Sends to everybody, even if there is nothing new.
    pub(crate) fn begin_round(&mut self, step: &mut Step<'_>) {
        let Some(leader) = self.leading() else { return };
        leader.round += 1;
        leader.round_at = step.now;
        let others: Vec<NodeKey> = leader.others.keys().copied().collect();
        others.into_iter().for_each(|to| self.feed(step, to, true));
    }

    /// Sends what `to` has not been sent and there is room for; something in any case if `anyway`.
    fn feed(&mut self, step: &mut Step<'_>, to: NodeKey, anyway: bool) {
        let (settings, commit, last) = (self.settings.clone(), self.commit, self.log.last().index);
        let State::Leader(leader) = &mut self.state else { return };
        let round = leader.round;
        let Some(progress) = leader.others.get_mut(&to) else { return };
        let mut must = anyway;
        loop {
            let room = if progress.probing { 1 } else { settings.messages_in_flight };
            let has_news = progress.next <= last && progress.in_flight < room;
            if !has_news && !must {
                return;
            }
            must = false;
            let before = progress.next.before();
            let Some(term) = self.log.term_at(before) else {
                return self.feed_snapshot(step, to);
            };
            let entries = if has_news {
                self.log.some_from(progress.next, settings.message_bytes)
            } else {
                Vec::new()
            };
            if !entries.is_empty() {
                progress.in_flight += 1;
            }
            if !progress.probing {
                progress.next = Index(before.0 + u64::try_from(entries.len()).unwrap_or(0)).next();
            }
            let before = Position { term, index: before };
            let body = Body::Append { before, entries, commit, round };
            let message = crate::message::Message {
                cluster: self.log.cluster(),
                from: self.me,
                to_dir: Some(to.dir),
                term: self.term,
                body,
            };
            step.out.push(Action::Send(to.node, message));
        }
    }

    fn feed_all(&mut self, step: &mut Step<'_>) {
        let Some(leader) = self.leading() else { return };
        let others: Vec<NodeKey> = leader.others.keys().copied().collect();
        others.into_iter().for_each(|to| self.feed(step, to, false));
    }

    pub(crate) fn propose(&mut self, step: &mut Step<'_>, tag: Tag, bytes: Bytes) {
        let waiting = self.log.last().index.0 - self.commit.0;
        let known = self.leader();
        let busy = waiting >= u64::try_from(self.settings.proposals_max).unwrap_or(u64::MAX);
        let refused = match self.leading() {
            None => Some(RefusedBecause::NotLeader(known)),
            Some(leader) if leader.handing_over.is_some() => Some(RefusedBecause::HandingOver),
            Some(_) if busy => Some(RefusedBecause::Busy),
            Some(_) => None,
        };
        if let Some(because) = refused {
            return step.out.push(Action::Refused(tag, because));
        }
        let term = self.term;
        let index = self.append_own(step, Entry { term, payload: Payload::Data(bytes) });
        step.out.push(Action::Proposed { tag, index, term });
        self.feed_all(step);
        self.advance(step);
    }

    pub(crate) fn alive(&mut self, step: &mut Step<'_>, from: NodeKey, round: u64) {
        let Some(leader) = self.leading() else { return };
        let Some(progress) = leader.others.get_mut(&from) else { return };
        progress.alive_at = step.now;
        progress.alive_round = progress.alive_round.max(round);
        self.confirm_reads(step);
    }

    pub(crate) fn matched(&mut self, step: &mut Step<'_>, from: NodeKey, index: Index) {
        let last = self.log.last().index;
        let Some(leader) = self.leading() else { return };
        let Some(progress) = leader.others.get_mut(&from) else { return };
        progress.has_matched(index.min(last));
        self.advance(step);
        self.hand_over(step);
        self.feed(step, from, false);
    }

    pub(crate) fn missing(
        &mut self,
        step: &mut Step<'_>,
        from: NodeKey,
        before: Index,
        hint: Index,
    ) {
        let Some(leader) = self.leading() else { return };
        let Some(progress) = leader.others.get_mut(&from) else { return };
        // An old answer costs no more than to send again what is there.
        progress.lacks(hint.min(before.before()));
        self.feed(step, from, false);
    }

    /// Commits what a majority has.
    pub(crate) fn advance(&mut self, step: &mut Step<'_>) {
        let own = if self.probe.mutant("self_match_before_durable") {
            self.log.last().index
        } else {
            self.writes.durable_end()
        };
        let (me, counted) = (self.me, self.probe.mutant("leader_counted_always"));
        let State::Leader(leader) = &self.state else { return };
        let reached = |key: NodeKey| {
            if key == me { own } else { leader.others.get(&key).map_or(Index(0), |of| of.matched) }
        };
        let mut voters = self.log.voters().clone();
        // Planted: who leads votes.
        if counted {
            voters = voters.with(me);
        }
        let agreed = voters.reached_by_majority(reached);
        let in_term = self.log.term_at(agreed) == Some(self.term);
        // Planted: a majority is enough, whatever the term.
        if agreed > self.commit && (in_term || self.probe.mutant("commit_of_older_term")) {
            self.learn_commit(step, agreed);
            self.confirm_reads(step);
            self.voters_settled(step);
            self.feed_news(step);
        }
    }

    /// Followers learn at once what is committed.
    fn feed_news(&mut self, step: &mut Step<'_>) {
        let Some(leader) = self.leading() else { return };
        let others: Vec<NodeKey> = leader.others.keys().copied().collect();
        others.into_iter().for_each(|to| self.feed(step, to, true));
    }

    /// A change of voters may be committed now: who is no voter any more leads no more.
    fn voters_settled(&mut self, step: &mut Step<'_>) {
        let settled = self.log.voters_since() <= self.commit;
        if settled && !self.log.voters().contains(self.me) {
            self.probe.reached("quorum_removed_itself");
            self.feed_news(step);
            self.follow(step, None);
        }
    }

    pub(crate) fn change_voters(&mut self, step: &mut Step<'_>, change: Change) {
        match self.changed(change) {
            Err(why) => step.out.push(Action::ChangeRefused(change, why)),
            Ok(voters) => {
                self.probe.reached("quorum_voters_changed");
                let payload = Payload::Voters(voters);
                let index = self.append_own(step, Entry { term: self.term, payload });
                step.out.push(Action::ChangeBegun(index));
                self.feed_all(step);
                self.advance(step);
            },
        }
    }

    /// The voters after a change, if it may be made now.
    fn changed(&self, change: Change) -> Result<crate::voters::Voters, ChangeRefused> {
        let State::Leader(leader) = &self.state else { return Err(ChangeRefused::NotLeader) };
        // Planted: what the old term left behind does not matter.
        let early =
            self.commit < leader.first && !self.probe.mutant("change_before_commit_in_term");
        // Planted: two changes at a time.
        let other =
            self.log.voters_since() > self.commit && !self.probe.mutant("two_changes_at_once");
        if early || other {
            return Err(ChangeRefused::UnderWay);
        }
        let voters = self.log.voters();
        match change {
            Change::Add(key) if voters.contains(key) => Err(ChangeRefused::Nothing),
            Change::Add(key) => {
                let behind = |of: &Progress| of.matched < self.commit || of.chunk.is_some();
                if leader.others.get(&key).is_none_or(behind) {
                    return Err(ChangeRefused::NotCaughtUp);
                }
                Ok(voters.with(key))
            },
            Change::Remove(key) if !voters.contains(key) => Err(ChangeRefused::Nothing),
            Change::Remove(_) if voters.len() == 1 => Err(ChangeRefused::LastVoter),
            Change::Remove(key) => Ok(voters.without(key)),
        }
    }

    /// A node that does not vote asks to be fed.
    pub(crate) fn feed_learner(&mut self, step: &mut Step<'_>, key: NodeKey) {
        let next = self.log.last().index.next();
        let voters = self.log.voters().clone();
        let Some(leader) = self.leading() else { return };
        let learners = leader.others.keys().filter(|key| !voters.contains(**key)).count();
        if leader.others.contains_key(&key) || learners >= LEARNERS_MAX {
            return;
        }
        leader.others.insert(key, Progress::unknown(next, step.now));
        self.feed(step, key, true);
    }

    pub(crate) fn transfer(&mut self, step: &mut Step<'_>, to: Option<NodeKey>) {
        let until = step.now.after(self.settings.transfer_max);
        let (me, voters) = (self.me, self.log.voters().clone());
        let Some(leader) = self.leading() else { return };
        if to.is_none_or(|to| to != me && voters.contains(to)) {
            leader.handing_over = Some((to, until));
            self.hand_over(step);
        }
    }

    /// Tells the one it hands over to to stand, once that one has everything.
    fn hand_over(&mut self, step: &mut Step<'_>) {
        let (last, voters) = (self.log.last().index, self.log.voters().clone());
        let Some(leader) = self.leading() else { return };
        let Some((to, _)) = leader.handing_over else { return };
        let ready = |(key, of): (&NodeKey, &Progress)| {
            let chosen = to.is_none_or(|to| to == *key) && voters.contains(*key);
            (chosen && of.matched == last).then_some(*key)
        };
        if let Some(to) = leader.others.iter().find_map(ready) {
            self.probe.reached("quorum_handed_over");
            self.send(step, to, Body::StandNow);
        }
    }

    /// Whether something of this term is committed: before that it does not know what is.
    pub(crate) fn knows_commit(&self) -> Option<Term> {
        match &self.state {
            State::Leader(leader) if self.commit >= leader.first => Some(self.term),
            _ => None,
        }
    }
}
