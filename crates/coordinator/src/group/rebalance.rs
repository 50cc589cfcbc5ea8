//! The join phase: from the first change of a group to its next generation.
//!
//! Invariants: a generation begins when everybody known has joined or the time is over, never
//! otherwise; each begins with a number no earlier one had; members that joined are told of it
//! exactly once.

use base::{Duration, Probe};

use super::Group;
use super::member::Member;
use crate::event::AppendError;
use crate::io::Io;
use crate::pipeline::Then;
use crate::{GroupError, GroupState, Reply};

/// The least time between two looks at a group none of whose static members joins again, and
/// between two attempts to tell the log that a group is empty.
const AGAIN_AFTER_MIN: Duration = Duration::from_secs(1);

/// How long an empty group still waits for more members.
#[derive(Debug)]
pub(super) struct InitialDelay {
    /// The wait under way.
    pub delay: Duration,
    /// What it may be extended by.
    pub remaining: Duration,
    /// Whether somebody came during the wait under way.
    pub newcomer: bool,
}

impl Group {
    /// Something changed: begin a rebalance, or see whether the one under way is complete.
    pub(super) fn rebalance<P: Probe>(&mut self, io: &mut Io<'_, P>) {
        if self.state == GroupState::PreparingRebalance {
            self.maybe_complete_join(io);
        } else {
            self.prepare_rebalance(io);
        }
    }

    /// Begins a rebalance. Who waits for an assignment is sent back to join.
    pub(super) fn prepare_rebalance<P: Probe>(&mut self, io: &mut Io<'_, P>) {
        if self.state == GroupState::CompletingRebalance {
            self.drop_assignments(io, GroupError::RebalanceInProgress);
        }
        let was_empty = self.state == GroupState::Empty;
        self.sync_timer = None;
        self.retell_timer = None;
        self.assigning = false;
        self.rebalance_began = io.now;
        self.state = GroupState::PreparingRebalance;
        if was_empty {
            let delay = io.settings.initial_rebalance_delay;
            let remaining = self.rebalance_timeout().saturating_sub(delay);
            self.initial = Some(InitialDelay { delay, remaining, newcomer: false });
            self.join_timer = Some(io.now.after(delay));
        } else {
            self.maybe_complete_join(io);
        }
    }

    /// Ends the join phase if everybody is there; else it ends when the slowest member's time is
    /// over. A group that was empty waits its initial delay in any case.
    pub(super) fn maybe_complete_join<P: Probe>(&mut self, io: &mut Io<'_, P>) {
        if self.state != GroupState::PreparingRebalance || self.initial.is_some() {
            return;
        }
        let all_joined = self.members.values().all(|member| member.joining.is_some());
        if all_joined && self.pending.is_empty() {
            self.complete_join(io);
        } else {
            self.join_timer = Some(self.rebalance_began.after(self.rebalance_timeout()));
        }
    }

    /// The join timer rang.
    pub(super) fn join_time_over<P: Probe>(&mut self, io: &mut Io<'_, P>) {
        match &mut self.initial {
            Some(initial) if initial.newcomer && !initial.remaining.is_zero() => {
                io.probe.reached("group_initial_delay_extended");
                initial.newcomer = false;
                let spent = initial.delay;
                initial.delay = io.settings.initial_rebalance_delay.min(initial.remaining);
                initial.remaining = initial.remaining.saturating_sub(spent);
                self.join_timer = Some(io.now.after(initial.delay));
            },
            Some(_) => {
                io.probe.reached("group_initial_delay_over");
                self.complete_join(io);
            },
            None => {
                io.probe.reached("group_join_phase_timed_out");
                self.complete_join(io);
            },
        }
    }

    /// Begins the next generation with those who joined. Static members who did not are kept
    /// until their session ends.
    fn complete_join<P: Probe>(&mut self, io: &mut Io<'_, P>) {
        self.join_timer = None;
        self.initial = None;
        let absent = |(_, member): &(&String, &Member)| {
            member.joining.is_none() && member.instance.is_none()
        };
        let absent: Vec<String> =
            self.members.iter().filter(absent).map(|(id, _)| id.clone()).collect();
        for id in absent {
            self.remove(io, &id, GroupError::UnknownMemberId);
        }
        if self.members.is_empty() {
            self.become_empty(io);
        } else if self.elect_leader(io) {
            self.begin_generation(io);
        } else {
            io.probe.reached("group_join_postponed");
            self.join_timer = Some(io.now.after(self.rebalance_timeout().max(AGAIN_AFTER_MIN)));
        }
    }

    /// Makes sure that the leader is one who joined; false if nobody did.
    fn elect_leader<P: Probe>(&mut self, io: &mut Io<'_, P>) -> bool {
        let joined = |id: &str| self.members.get(id).is_some_and(|found| found.joining.is_some());
        if self.leader.as_deref().is_some_and(joined) {
            return true;
        }
        let joined = self.members.iter().filter(|(_, member)| member.joining.is_some());
        let senior = joined.min_by_key(|(_, member)| member.seniority);
        let Some(senior) = senior.map(|(id, _)| id.clone()) else { return false };
        io.probe.reached("group_leader_elected_anew");
        self.leader = Some(senior);
        true
    }

    fn begin_generation<P: Probe>(&mut self, io: &mut Io<'_, P>) {
        self.next_generation();
        self.protocol = self.vote(None);
        self.note_subscriptions();
        self.state = GroupState::CompletingRebalance;
        self.sync_timer = Some(io.now.after(self.rebalance_timeout()));
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.is_new = false;
            member.must_sync = true;
            let request = member.joining.take();
            member.touch(io.now);
            if let Some(request) = request {
                io.reply(request, Reply::Join(Ok(joined)));
            }
        }
    }

    /// The last member is gone.
    fn become_empty<P: Probe>(&mut self, io: &mut Io<'_, P>) {
        io.probe.reached("group_emptied");
        self.next_generation();
        self.protocol = None;
        self.leader = None;
        self.state = GroupState::Empty;
        self.empty_since = Some(io.wall);
        self.note_subscriptions();
        self.tell_empty(io);
    }

    /// Tells the log that nobody is left. Nobody waits for that; should the record be lost, and
    /// this broker too, the members that the log still names are found silent after a reload.
    pub(super) fn tell_empty<P: Probe>(&mut self, io: &mut Io<'_, P>) {
        let then = Then::Emptied { group: self.name.clone(), generation: self.generation };
        // It names nobody; only a group's name can be too long, and then it never had members.
        if self.propose(io, Some(self.stored(io.wall)), then).is_err() {
            io.probe.reached("group_empty_untold");
        }
    }

    /// The record of an empty group has an outcome.
    pub fn empty_settled<P: Probe>(
        &mut self,
        io: &mut Io<'_, P>,
        generation: i32,
        result: Result<(), AppendError>,
    ) {
        let still = self.state == GroupState::Empty && self.generation == generation;
        if result.is_err() && still {
            self.retell_timer = Some(io.now.after(AGAIN_AFTER_MIN));
        }
    }

    /// One more than before; after the largest number comes 1.
    fn next_generation(&mut self) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
    }

    /// Takes a member out. What it had parked is refused.
    pub(super) fn remove<P: Probe>(&mut self, io: &mut Io<'_, P>, id: &str, why: GroupError) {
        self.pending.remove(id);
        let Some(member) = self.members.remove(id) else { return };
        if let Some(request) = member.joining {
            io.refuse_join(request, why, id);
        }
        if let Some(request) = member.syncing {
            io.reply(request, Reply::Sync(Err(why)));
        }
        if let Some(instance) = &member.instance
            && self.statics.get(instance).is_some_and(|holder| holder == id)
        {
            self.statics.remove(instance);
        }
        if self.is_leader(id) {
            let senior = self.members.iter().min_by_key(|(_, member)| member.seniority);
            self.leader = senior.map(|(id, _)| id.clone());
        }
    }
}
