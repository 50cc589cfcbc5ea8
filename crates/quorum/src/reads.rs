//! Reads: what was committed before somebody asked.
//!
//! Invariant: a read is answered once a majority has said, after it was asked, that it still follows this
//! leader in this term; so nothing was committed elsewhere before it was asked. No clock is in it.

use std::collections::VecDeque;

use base::Probe;

use crate::entry::Index;
use crate::event::{Action, ReadId, RefusedBecause};
use crate::quorum::{Quorum, State, Step};
use crate::voters::NodeKey;

/// Reads that wait, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Reads(VecDeque<Waiting>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiting {
    id: ReadId,
    /// The round that has to be answered; one that began after it was asked.
    round: u64,
}

impl Reads {
    pub(crate) fn refuse_all(&mut self, step: &mut Step<'_>, because: RefusedBecause) {
        let refused = self.0.drain(..).map(|waiting| Action::ReadRefused(waiting.id, because));
        step.out.extend(refused);
    }
}

impl<P: Probe> Quorum<P> {
    pub(crate) fn read(&mut self, step: &mut Step<'_>, id: ReadId) {
        let (known, max) = (self.leader(), self.settings.reads_max);
        let commit = self.commit;
        // Planted: who leads knows.
        let at_once = self.probe.mutant("read_without_round") && self.knows_commit().is_some();
        let refused = match self.leading() {
            None => Some(RefusedBecause::NotLeader(known)),
            Some(leader) if leader.reads.0.len() >= max => Some(RefusedBecause::Busy),
            Some(_) if at_once => return step.out.push(Action::ReadReady(id, commit)),
            Some(leader) => {
                leader.reads.0.push_back(Waiting { id, round: leader.round + 1 });
                None
            },
        };
        match refused {
            Some(because) => step.out.push(Action::ReadRefused(id, because)),
            None => {
                self.begin_round(step);
                self.confirm_reads(step);
            },
        }
    }

    /// Answers the reads whose round is.
    pub(crate) fn confirm_reads(&mut self, step: &mut Step<'_>) {
        if self.knows_commit().is_none() {
            return;
        }
        let (me, commit) = (self.me, self.commit);
        let State::Leader(leader) = &mut self.state else { return };
        let rounds = |key: NodeKey| {
            if key == me {
                return leader.round;
            }
            leader.others.get(&key).map_or(0, |of| of.alive_round)
        };
        let answered = self.log.voters().reached_by_majority(rounds);
        while let Some(waiting) = leader.reads.0.pop_front_if(|waiting| waiting.round <= answered) {
            self.probe.reached("quorum_read_confirmed");
            step.out.push(Action::ReadReady(waiting.id, Index(commit.0)));
        }
    }
}
