//! One node: its state, and which event goes where.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use base::{Duration, Instant, Prng, Probe, Uuid, invariant};

use crate::bootstrap::Founding;
use crate::entry::{Entry, Index, Term};
use crate::event::{Action, Event, LogChange, Write};
use crate::leader::Leader;
use crate::log::{Base, Log};
use crate::message::{Body, Message};
use crate::persist::Writes;
use crate::settings::Settings;
use crate::voters::{NodeKey, Voters};

/// What was found on the disk at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Recovered {
    /// The last term that is durable.
    pub term: Term,
    /// The vote in it.
    pub vote: Option<NodeKey>,
    /// The log, up to the first entry that cannot be read.
    pub log: Log,
    /// Entries up to here were there once and cannot be read: damaged is not absent. Where it is not
    /// known how many there were, the largest number there is: then it never votes again.
    pub vouched: Option<Index>,
}

/// What a node is, as others may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It follows, votes if it may, and stands if it hears of no leader.
    Follower(Option<NodeKey>),
    /// It asks whether it would be voted for.
    Hopeful,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Follower { leader: Option<NodeKey> },
    Hopeful { yes: BTreeSet<NodeKey> },
    Candidate { yes: BTreeSet<NodeKey>, vote_write: u64, handed_over: bool },
    Leader(Box<Leader>),
}

/// One node of the quorum.
#[derive(Clone, Debug)]
pub struct Quorum<P: Probe = ()> {
    pub(crate) me: NodeKey,
    pub(crate) settings: Settings,
    pub(crate) probe: P,
    prng: Prng,
    pub(crate) term: Term,
    pub(crate) vote: Option<NodeKey>,
    pub(crate) log: Log,
    pub(crate) commit: Index,
    pub(crate) state: State,
    pub(crate) writes: Writes,
    /// When the leader of this term was last heard of.
    pub(crate) heard: Option<Instant>,
    /// When it stands for election, or asks who is there.
    pub(crate) election_at: Instant,
    /// See [`Recovered::vouched`].
    pub(crate) doubtful: Option<Index>,
    /// As long as the log is empty.
    pub(crate) founding: Founding,
    /// A snapshot that comes in, and how much of it is staged.
    pub(crate) staged: Option<(Base, u64)>,
}

/// Everything that decides what it will do, but for the chance in its timeouts: two nodes that hash alike
/// go on alike. For searches.
impl<P: Probe> Hash for Quorum<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.me, self.term, self.vote, &self.log, self.commit).hash(state);
        (self.heard, self.election_at, self.doubtful, &self.founding, &self.staged).hash(state);
        self.writes.hash(state);
        match &self.state {
            State::Candidate { yes, vote_write, handed_over } => {
                (yes, self.writes.age(*vote_write), handed_over).hash(state);
            },
            other => other.hash(state),
        }
        self.role().hash(state);
    }
}

/// One step: when it is and what it brings about.
pub(crate) struct Step<'a> {
    pub(crate) now: Instant,
    pub(crate) out: &'a mut Vec<Action>,
}

impl<P: Probe> Quorum<P> {
    /// A node that starts at `now`. `fresh` names the cluster if it founds one; `seed` is for its
    /// timeouts.
    pub fn new(
        me: NodeKey,
        settings: Settings,
        recovered: Recovered,
        (fresh, seed): (Uuid, u64),
        now: Instant,
        probe: P,
    ) -> Self {
        let Recovered { term, vote, log, vouched } = recovered;
        let (start, end) = (log.start(), log.last().index);
        let mut node = Self {
            me,
            settings,
            probe,
            prng: Prng::new(seed),
            term,
            vote,
            log,
            commit: start,
            state: State::Follower { leader: None },
            writes: Writes::found(end),
            heard: None,
            election_at: now,
            doubtful: vouched.filter(|vouched| *vouched > end),
            founding: Founding::new(fresh),
            staged: None,
        };
        // Planted: what cannot be read was never there.
        if node.probe.mutant("corrupt_is_absent") {
            node.doubtful = None;
        }
        node.set_election(now);
        // Planted: who led goes on where it was.
        if node.vote == Some(me) && node.probe.mutant("restarted_leader_leads_on") {
            node.state = State::Leader(Box::new(Leader::again(&node, now)));
        }
        node
    }

    /// Its key.
    pub fn me(&self) -> NodeKey {
        self.me
    }

    /// Its term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Its log; entries above [`Quorum::commit`] may yet be cut.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Up to here everything is committed, as far as it knows.
    pub fn commit(&self) -> Index {
        self.commit
    }

    /// The voters in force at the end of its log.
    pub fn voters(&self) -> &Voters {
        self.log.voters()
    }

    /// Whether it does not vote because of what its disk has lost.
    pub fn is_doubtful(&self) -> bool {
        self.doubtful.is_some()
    }

    /// Up to here its log is durable. For checks.
    pub fn durable_end(&self) -> Index {
        self.writes.durable_end()
    }

    /// What it is.
    pub fn role(&self) -> Role {
        match &self.state {
            State::Follower { leader } => Role::Follower(*leader),
            State::Hopeful { .. } => Role::Hopeful,
            State::Candidate { .. } => Role::Candidate,
            State::Leader(_) => Role::Leader,
        }
    }

    /// Who leads, as far as it knows.
    pub fn leader(&self) -> Option<NodeKey> {
        match &self.state {
            State::Follower { leader } => *leader,
            State::Leader(_) => Some(self.me),
            State::Hopeful { .. } | State::Candidate { .. } => None,
        }
    }

    /// When it needs the next [`Event::Tick`].
    pub fn deadline(&self) -> Instant {
        match &self.state {
            State::Leader(leader) => leader.deadline(&self.settings),
            _ => self.election_at,
        }
    }

    /// Takes in one event; what it brings about is added to `out`, in order.
    pub fn step(&mut self, now: Instant, event: Event, out: &mut Vec<Action>) {
        let mut step = Step { now, out };
        match event {
            Event::Tick => self.tick(&mut step),
            Event::Message(message) => self.message(&mut step, message),
            Event::Persisted(number) => self.persisted(&mut step, number),
            Event::Propose { tag, bytes } => self.propose(&mut step, tag, bytes),
            Event::ChangeVoters(change) => self.change_voters(&mut step, change),
            Event::Transfer(to) => self.transfer(&mut step, to),
            Event::Read(id) => self.read(&mut step, id),
            Event::Snapshot { index, digest } => self.snapshot_taken(&mut step, index, digest),
            Event::Chunk { to, end, at, bytes, done } => {
                self.send_chunk(&mut step, to, (end, at), bytes, done);
            },
        }
    }

    fn tick(&mut self, step: &mut Step<'_>) {
        match self.state {
            State::Leader(_) => self.tick_leader(step),
            _ if step.now < self.election_at => {},
            _ => {
                self.set_election(step.now);
                if self.may_stand() { self.stand(step) } else { self.look_around(step) }
            },
        }
    }

    fn message(&mut self, step: &mut Step<'_>, message: Message) {
        if message.to_dir.is_some_and(|dir| dir != self.me.dir) || message.from == self.me {
            return;
        }
        match (message.cluster, self.log.cluster()) {
            (Some(theirs), Some(ours)) if theirs != ours => return,
            (None, Some(_)) if !matches!(message.body, Body::WhoIsThere) => return,
            _ => {},
        }
        let Message { from, term, body, .. } = message;
        match body {
            Body::WouldVote { last } => self.asked_whether(step, from, term, last),
            Body::Vote { last, handed_over } => self.asked(step, from, term, last, handed_over),
            Body::WhoIsThere => self.who_is_there(step, from),
            Body::Here { empty, bootstrap } => self.here(step, from, empty, bootstrap),
            body => {
                let answers_hopeful = matches!(body, Body::WouldVoteAnswer { granted: true });
                if term > self.term && !answers_hopeful {
                    self.adopt(step, term, None);
                }
                self.in_term(step, from, term, body);
            },
        }
    }

    /// A message that means something in its own term only.
    fn in_term(&mut self, step: &mut Step<'_>, from: NodeKey, term: Term, body: Body) {
        // Planted: a vote is a vote, in whichever term.
        let any_term = matches!(body, Body::VoteAnswer { .. })
            && self.probe.mutant("vote_answer_term_ignored");
        if let Body::WouldVoteAnswer { granted } = body {
            return self.would_vote_answer(step, from, term, granted);
        }
        if term < self.term && !any_term {
            // A leader of the past hears of the present; it needs no disk to be told.
            if matches!(body, Body::Append { .. } | Body::Chunk { .. }) {
                self.send(step, from, Body::Alive { round: 0 });
            }
            return;
        }
        match body {
            Body::VoteAnswer { granted } => self.vote_answer(step, from, granted),
            Body::Append { before, entries, commit, round } => {
                self.led_by(step, from);
                self.send(step, from, Body::Alive { round });
                self.append(step, from, before, entries, commit);
            },
            Body::Chunk { base, at, bytes, done, round } => {
                self.led_by(step, from);
                self.send(step, from, Body::Alive { round });
                self.chunk(step, from, base, (at, bytes, done));
            },
            Body::Alive { round } => self.alive(step, from, round),
            Body::Matched { index } => self.matched(step, from, index),
            Body::Missing { before, hint } => self.missing(step, from, before, hint),
            Body::ChunkTaken { end, next } => self.chunk_taken(step, from, end, next),
            Body::StandNow if self.may_stand() => self.candidate(step, true),
            _ => {},
        }
    }

    fn persisted(&mut self, step: &mut Step<'_>, number: u64) {
        for (to, message) in self.writes.persisted(number) {
            step.out.push(Action::Send(to, message));
        }
        let end = self.writes.durable_end();
        if self.doubtful.is_some_and(|vouched| end >= vouched) {
            self.probe.reached("quorum_doubt_ended");
            self.doubtful = None;
        }
        match &self.state {
            State::Candidate { vote_write, .. } if self.writes.is_durable(*vote_write) => {
                self.own_vote(step);
            },
            State::Leader(_) => self.advance(step),
            _ => {},
        }
    }

    /// Whether it may stand for election, and vote.
    pub(crate) fn may_stand(&self) -> bool {
        self.may_vote() && self.log.voters().contains(self.me)
    }

    /// An empty directory has nothing to hold a candidate against, and one that has lost entries does
    /// not know what it has vouched for.
    pub(crate) fn may_vote(&self) -> bool {
        // Planted: an empty directory votes like any other.
        let empty = self.log.is_empty() && !self.probe.mutant("empty_directory_votes");
        !empty && self.doubtful.is_none()
    }

    /// Goes on in a later term, as a follower.
    pub(crate) fn adopt(&mut self, step: &mut Step<'_>, term: Term, vote: Option<NodeKey>) {
        invariant!(QRM_3, term >= self.term, "term {term} after {}", self.term);
        self.follow(step, None);
        if term > self.term {
            self.heard = None;
        }
        self.term = term;
        self.vote = vote;
        self.writes.forget_before(term);
        self.persist(step, None);
    }

    /// Follows, whatever it was.
    pub(crate) fn follow(&mut self, step: &mut Step<'_>, leader: Option<NodeKey>) {
        let before = std::mem::replace(&mut self.state, State::Follower { leader });
        if let State::Leader(led) = before {
            led.resign(step);
            self.set_election(step.now);
        }
    }

    /// The leader of this term was heard of.
    fn led_by(&mut self, step: &mut Step<'_>, leader: NodeKey) {
        let lost = matches!(self.state, State::Leader(_));
        invariant!(QRM_4, !lost, "{leader:?} leads in term {} as well", self.term);
        self.follow(step, Some(leader));
        self.heard = Some(step.now);
        self.set_election(step.now);
    }

    pub(crate) fn set_election(&mut self, now: Instant) {
        let Settings { election_min, election_spread, .. } = self.settings;
        let spread = election_spread.as_nanos();
        let chance = u64::try_from(spread).unwrap_or(u64::MAX);
        let more = if chance == 0 { 0 } else { self.prng.below(chance) };
        self.election_at = now.after(election_min + Duration::from_nanos(more));
    }

    /// Writes down the term, the vote and a change of the log; which write it is.
    pub(crate) fn persist(&mut self, step: &mut Step<'_>, log: Option<LogChange>) -> u64 {
        let end = self.log.last().index;
        let kept = match &log {
            Some(LogChange::Replace { from, .. }) => from.before(),
            Some(LogChange::StartAt(base)) if self.writes.durable_end() < base.last.index => {
                self.writes.durable_end()
            },
            Some(LogChange::StartAt(_)) | None => end,
        };
        let number = self.writes.next(kept, end);
        let write = Write { number, term: self.term, vote: self.vote, log };
        step.out.push(Action::Persist(write));
        number
    }

    /// Appends an entry of its own and writes it down.
    pub(crate) fn append_own(&mut self, step: &mut Step<'_>, entry: Entry) -> Index {
        self.log.push(entry.clone());
        let from = self.log.last().index;
        self.persist(step, Some(LogChange::Replace { from, entries: vec![entry] }));
        from
    }

    /// A message of this term to a node.
    pub(crate) fn message_to(&self, to: NodeKey, body: Body) -> Message {
        Message {
            cluster: self.log.cluster(),
            from: self.me,
            to_dir: Some(to.dir),
            term: self.term,
            body,
        }
    }

    pub(crate) fn send(&self, step: &mut Step<'_>, to: NodeKey, body: Body) {
        let message = self.message_to(to, body);
        step.out.push(Action::Send(to.node, message));
    }

    /// Sends once everything written down so far is durable.
    pub(crate) fn send_when_durable(&mut self, step: &mut Step<'_>, to: NodeKey, body: Body) {
        if self.writes.is_durable(self.writes.last()) {
            return self.send(step, to, body);
        }
        let message = self.message_to(to, body);
        self.writes.wait(to.node, message);
    }
}
