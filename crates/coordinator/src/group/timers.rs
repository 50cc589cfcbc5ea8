//! What happens to a group by the passing of time.
//!
//! Invariant: [`Group::deadline`] is never later than the earliest moment at which
//! [`Group::expire`] would do something.

use base::{Instant, Probe};

use super::Group;
use super::member::Member;
use crate::io::Io;
use crate::{GroupError, GroupState};

impl Group {
    /// When time next matters to it.
    pub fn deadline(&self) -> Option<Instant> {
        let sessions = self.members.values().filter_map(Member::expires);
        let pending = self.pending.values().copied();
        let timers = [self.join_timer, self.sync_timer, self.retell_timer];
        sessions.chain(pending).chain(timers.into_iter().flatten()).min()
    }

    /// Carries out what is due.
    pub fn expire<P: Probe>(&mut self, io: &mut Io<'_, P>) {
        self.expire_members(io);
        if take_due(&mut self.join_timer, io.now) {
            self.join_time_over(io);
        }
        if take_due(&mut self.sync_timer, io.now) {
            self.sync_time_over(io);
        }
        if take_due(&mut self.retell_timer, io.now) {
            io.probe.reached("group_emptied_told_again");
            self.tell_empty(io);
        }
    }

    /// Silent members go together, so that one rebalance follows.
    fn expire_members<P: Probe>(&mut self, io: &mut Io<'_, P>) {
        let before = self.pending.len();
        self.pending.retain(|_, holds_until| *holds_until > io.now);
        let mut changed = self.pending.len() < before;
        if changed {
            io.probe.reached("group_pending_expired");
        }
        let silent = |member: &Member| member.expires().is_some_and(|at| at <= io.now);
        let silent: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| silent(member))
            .map(|(id, _)| id.clone())
            .collect();
        let any_silent = !silent.is_empty();
        for id in silent {
            io.probe.reached("group_session_expired");
            self.remove(io, &id, GroupError::UnknownMemberId);
            changed = true;
        }
        match self.state {
            GroupState::PreparingRebalance if changed => self.maybe_complete_join(io),
            GroupState::CompletingRebalance | GroupState::Stable if any_silent => {
                self.prepare_rebalance(io);
            },
            GroupState::PreparingRebalance
            | GroupState::CompletingRebalance
            | GroupState::Stable
            | GroupState::Empty
            | GroupState::Dead => {},
        }
    }

    /// Members that took the generation but never asked for their share are gone.
    fn sync_time_over<P: Probe>(&mut self, io: &mut Io<'_, P>) {
        let missing = self.members.iter().filter(|(_, member)| member.must_sync);
        let missing: Vec<String> = missing.map(|(id, _)| id.clone()).collect();
        if missing.is_empty() {
            return;
        }
        io.probe.reached("group_sync_timed_out");
        for id in missing {
            self.remove(io, &id, GroupError::UnknownMemberId);
        }
        self.prepare_rebalance(io);
    }
}

/// Whether a timer is due; it is then off.
fn take_due(timer: &mut Option<Instant>, now: Instant) -> bool {
    timer.take_if(|at| *at <= now).is_some()
}
