//! JoinGroup: who may join, as whom, and what a join sets off.
//!
//! Invariants: a static member's place is taken over within a generation only once the record that
//! says so is in the log; until then, and if it fails, the old process is the member.

use base::{Probe, Uuid};

use super::Group;
use super::member::Member;
use crate::event::{AppendError, RequestId};
use crate::io::Io;
use crate::pipeline::Then;
use crate::record::StoredGroup;
use crate::{GroupError, GroupState, Join, Joined, JoinedMember, Reply};

impl Group {
    /// JoinGroup.
    pub fn join<P: Probe>(
        &mut self,
        io: &mut Io<'_, P>,
        request: RequestId,
        join: Box<Join>,
        fresh: Uuid,
    ) {
        if !self.has_room_for(&join.member, io.settings.group_size_max) {
            self.remove(io, &join.member, GroupError::GroupMaxSizeReached);
            io.refuse_join(request, GroupError::GroupMaxSizeReached, "");
            self.maybe_complete_join(io);
        } else if !self.supports(&join.protocol_type, &join.protocols) {
            io.refuse_join(request, GroupError::InconsistentGroupProtocol, &join.member);
        } else if !join.member.is_empty() {
            self.join_known(io, request, &join);
        } else if join.instance.is_some() {
            self.join_static(io, request, join, fresh);
        } else {
            self.join_dynamic(io, request, &join, fresh);
        }
    }

    /// During a rebalance only those that have joined again count, so that it shrinks a group
    /// that is too large.
    fn has_room_for(&self, member: &str, size_max: usize) -> bool {
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                let joined = |member: &Member| member.joining.is_some();
                self.members.get(member).is_some_and(joined)
                    || self.members.values().filter(|member| joined(member)).count() < size_max
            },
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.members.contains_key(member) || self.members.len() < size_max
            },
        }
    }

    fn join_dynamic<P: Probe>(
        &mut self,
        io: &mut Io<'_, P>,
        request: RequestId,
        join: &Join,
        fresh: Uuid,
    ) {
        let member = member_id(&join.client_id, fresh);
        if !join.member_id_required {
            self.add(io, request, join, member);
        } else if self.pending.len() < io.settings.pending_members_max {
            self.pending.insert(member.clone(), io.now.after(join.session_timeout));
            io.refuse_join(request, GroupError::MemberIdRequired, &member);
        } else {
            io.refuse_join(request, GroupError::CoordinatorNotAvailable, "");
        }
    }

    fn join_static<P: Probe>(
        &mut self,
        io: &mut Io<'_, P>,
        request: RequestId,
        join: Box<Join>,
        fresh: Uuid,
    ) {
        let instance = join.instance.as_deref().unwrap_or_default();
        let member = member_id(instance, fresh);
        let Some(old) = self.statics.get(instance).cloned() else {
            self.add(io, request, &join, member);
            return;
        };
        let same_choice = self.vote(Some((&old, &join.protocols))) == self.protocol;
        if self.state == GroupState::Stable && same_choice {
            if self.swapping {
                io.probe.reached("group_join_deferred");
                self.deferred.push((request, join, fresh));
            } else {
                let stored = self.swapped(self.stored(io.wall), &join, (&old, &member));
                self.propose_swap(
                    io,
                    stored,
                    Swap { generation: self.generation, request, join, fresh },
                );
            }
        } else {
            self.replace_static(io, request, &join, (&old, &member));
            if self.state == GroupState::PreparingRebalance {
                self.maybe_complete_join(io);
            } else {
                self.prepare_rebalance(io);
            }
        }
    }

    /// A join with an id that should be known.
    fn join_known<P: Probe>(&mut self, io: &mut Io<'_, P>, request: RequestId, join: &Join) {
        if join.instance.is_none() && self.pending.remove(&join.member).is_some() {
            self.add(io, request, join, join.member.clone());
            return;
        }
        if let Err(why) = self.check_member(&join.member, join.instance.as_deref()) {
            io.refuse_join(request, why, &join.member);
            return;
        }
        let unchanged = |member: &Member| member.protocols == join.protocols;
        let unchanged = self.members.get(&join.member).is_some_and(unchanged);
        match self.state {
            GroupState::PreparingRebalance => {
                self.update(io, request, join);
                self.maybe_complete_join(io);
            },
            // The answer was lost, or a follower asks without need.
            GroupState::CompletingRebalance | GroupState::Stable
                if unchanged
                    && (self.state == GroupState::CompletingRebalance
                        || !self.is_leader(&join.member)) =>
            {
                io.probe.reached("group_join_answered_again");
                self.touch(io.now, &join.member);
                let joined = self.joined(&join.member);
                io.reply(request, Reply::Join(Ok(joined)));
            },
            GroupState::CompletingRebalance | GroupState::Stable => {
                // A leader joins again when something changed that its metadata does not show.
                if unchanged {
                    io.probe.reached("group_leader_rejoined");
                }
                self.update(io, request, join);
                self.prepare_rebalance(io);
            },
            GroupState::Empty | GroupState::Dead => {
                io.refuse_join(request, GroupError::UnknownMemberId, &join.member);
            },
        }
    }

    fn add<P: Probe>(&mut self, io: &mut Io<'_, P>, request: RequestId, join: &Join, id: String) {
        if self.members.is_empty() {
            self.protocol_type.clone_from(&join.protocol_type);
        }
        if let Some(initial) = &mut self.initial {
            initial.newcomer = true;
        }
        self.joins = self.joins.saturating_add(1);
        let member = Member {
            seniority: self.joins,
            instance: join.instance.clone(),
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols.clone(),
            joining: Some(request),
            is_new: true,
            session_ends: io.now.after(io.settings.new_member_join_timeout),
            ..Member::default()
        };
        if let Some(instance) = &join.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.members.insert(id, member);
        self.rebalance(io);
    }

    /// A member says anew what it is, and waits.
    fn update<P: Probe>(&mut self, io: &mut Io<'_, P>, request: RequestId, join: &Join) {
        let Some(member) = self.members.get_mut(&join.member) else { return };
        member.protocols.clone_from(&join.protocols);
        member.session_timeout = join.session_timeout;
        member.rebalance_timeout = join.rebalance_timeout;
        if let Some(superseded) = member.joining.replace(request) {
            io.probe.reached("group_request_superseded");
            io.refuse_join(superseded, GroupError::RebalanceInProgress, &join.member);
        }
    }

    /// The new process of a static member takes its place, and waits. What the old one had parked
    /// is fenced.
    fn replace_static<P: Probe>(
        &mut self,
        io: &mut Io<'_, P>,
        request: RequestId,
        join: &Join,
        (old, new): (&str, &str),
    ) {
        io.probe.reached("group_static_replaced");
        self.rename(io, join, (old, new));
        if let Some(member) = self.members.get_mut(new) {
            member.joining = Some(request);
        }
    }

    fn rename<P: Probe>(&mut self, io: &mut Io<'_, P>, join: &Join, (old, new): (&str, &str)) {
        let Some(mut member) = self.members.remove(old) else { return };
        if let Some(request) = member.joining.take() {
            io.refuse_join(request, GroupError::FencedInstanceId, old);
        }
        if let Some(request) = member.syncing.take() {
            io.reply(request, Reply::Sync(Err(GroupError::FencedInstanceId)));
        }
        member.client_id.clone_from(&join.client_id);
        member.client_host.clone_from(&join.client_host);
        member.protocols.clone_from(&join.protocols);
        member.session_timeout = join.session_timeout;
        member.rebalance_timeout = join.rebalance_timeout;
        member.session_ends = io.now.after(join.session_timeout);
        self.members.insert(new.to_owned(), member);
        if let Some(instance) = &join.instance {
            self.statics.insert(instance.clone(), new.to_owned());
        }
        if self.is_leader(old) {
            self.leader = Some(new.to_owned());
        }
    }

    fn propose_swap<P: Probe>(&mut self, io: &mut Io<'_, P>, stored: StoredGroup, swap: Swap) {
        let request = swap.request;
        let then = Then::Swap { group: self.name.clone(), swap };
        if self.propose(io, Some(stored), then).is_ok() {
            self.swapping = true;
        } else {
            io.refuse_join(request, GroupError::UnknownServerError, "");
        }
    }

    /// `stored` with one member's process replaced.
    fn swapped(
        &self,
        mut stored: StoredGroup,
        join: &Join,
        (old, new): (&str, &str),
    ) -> StoredGroup {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        if let Some(member) = stored.members.iter_mut().find(|member| member.member == old) {
            new.clone_into(&mut member.member);
            member.client_id.clone_from(&join.client_id);
            member.client_host.clone_from(&join.client_host);
            member.session_timeout = join.session_timeout;
            member.rebalance_timeout = join.rebalance_timeout;
            let chosen = join.protocols.iter().find(|(name, _)| name == protocol);
            member.metadata = chosen.map(|(_, data)| data.clone()).unwrap_or_default();
        }
        if stored.leader.as_deref() == Some(old) {
            stored.leader = Some(new.to_owned());
        }
        stored
    }

    /// The record of a swap has an outcome.
    pub fn swap_settled<P: Probe>(
        &mut self,
        io: &mut Io<'_, P>,
        swap: Swap,
        result: Result<(), AppendError>,
    ) {
        self.swapping = false;
        let Swap { generation, request, join, fresh } = swap;
        let instance = join.instance.as_deref().unwrap_or_default();
        let old = self.statics.get(instance).cloned();
        let same = self.state == GroupState::Stable && self.generation == generation;
        match (result, old) {
            (Err(why), _) => io.refuse_join(request, GroupError::of_append(why), ""),
            (Ok(()), Some(old)) if same => {
                let new = member_id(instance, fresh);
                self.swap(io, request, &join, (&old, &new));
            },
            // The group has moved on while the record was under way.
            (Ok(()), _) => self.join(io, request, join, fresh),
        }
        for (request, join, fresh) in std::mem::take(&mut self.deferred) {
            self.join(io, request, join, fresh);
        }
    }

    fn swap<P: Probe>(
        &mut self,
        io: &mut Io<'_, P>,
        request: RequestId,
        join: &Join,
        (old, new): (&str, &str),
    ) {
        io.probe.reached("group_static_swapped");
        let leader_before = self.leader.clone().unwrap_or_default();
        self.rename(io, join, (old, new));
        self.note_subscriptions();
        let mut joined = self.joined(new);
        if join.skip_assignment {
            joined.skip_assignment = self.is_leader(new);
        } else {
            // Told of another leader it will not make an assignment, which nobody would get.
            joined.leader = leader_before;
            joined.members.clear();
        }
        io.reply(request, Reply::Join(Ok(joined)));
    }

    /// What `member` is told of this generation.
    pub(super) fn joined(&self, member: &str) -> Joined {
        let protocol = self.protocol.clone().unwrap_or_default();
        let everybody = self.members.iter().map(|(id, member)| JoinedMember {
            member: id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(&protocol).unwrap_or_default(),
        });
        let members = if self.is_leader(member) { everybody.collect() } else { Vec::new() };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol,
            leader: self.leader.clone().unwrap_or_default(),
            member: member.to_owned(),
            skip_assignment: false,
            members,
        }
    }
}

/// A static member's new process, about to take its place.
#[derive(Debug)]
pub(crate) struct Swap {
    pub generation: i32,
    pub request: RequestId,
    pub join: Box<Join>,
    /// What its new id is made of.
    pub fresh: Uuid,
}

/// A member id as Kafka makes them: a name and a random UUID in its usual hexadecimal form.
fn member_id(name: &str, fresh: Uuid) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let [time, mid, high, clock, node] =
        [&fresh.0[..4], &fresh.0[4..6], &fresh.0[6..8], &fresh.0[8..10], &fresh.0[10..]].map(hex);
    format!("{name}-{time}-{mid}-{high}-{clock}-{node}")
}
