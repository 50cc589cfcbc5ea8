//! SyncGroup: the leader's assignment, and everybody's share of it.
//!
//! Invariant: nobody is told of an assignment before the record of its generation is in the log.

use std::collections::BTreeMap;

use base::Probe;
use bytes::Bytes;

use super::Group;
use crate::event::{AppendError, RequestId};
use crate::io::Io;
use crate::pipeline::Then;
use crate::record::StoredGroup;
use crate::{GroupError, GroupState, Reply, Sync, Synced};

impl Group {
    /// SyncGroup.
    pub fn sync<P: Probe>(&mut self, io: &mut Io<'_, P>, request: RequestId, sync: Sync) {
        if let Err(why) = self.check_sync(&sync) {
            io.reply(request, Reply::Sync(Err(why)));
            return;
        }
        let Sync { who, assignments, .. } = sync;
        let stable = self.state == GroupState::Stable;
        let Some(member) = self.members.get_mut(&who.member) else { return };
        member.must_sync = false;
        if stable {
            member.touch(io.now);
            let assignment = member.assignment.clone();
            let synced = self.synced(assignment);
            io.reply(request, Reply::Sync(Ok(synced)));
            return;
        }
        if let Some(superseded) = member.syncing.replace(request) {
            io.probe.reached("group_request_superseded");
            io.reply(superseded, Reply::Sync(Err(GroupError::RebalanceInProgress)));
        }
        if self.is_leader(&who.member) && !self.assigning {
            self.propose_assignment(io, assignments);
        }
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), GroupError> {
        self.check_member(&sync.who.member, sync.who.instance.as_deref())?;
        self.check_generation(sync.who.generation)?;
        let other_type =
            sync.protocol_type.as_ref().is_some_and(|given| *given != self.protocol_type);
        let other = sync.protocol.is_some() && sync.protocol != self.protocol;
        if other_type || other {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        match self.state {
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
            GroupState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            GroupState::Empty | GroupState::Dead => Err(GroupError::UnknownMemberId),
        }
    }

    /// Members the leader says nothing of get nothing; whoever it names that is no member is
    /// left out.
    fn propose_assignment<P: Probe>(
        &mut self,
        io: &mut Io<'_, P>,
        assignments: Vec<(String, Bytes)>,
    ) {
        let mut assignments: BTreeMap<String, Bytes> = assignments.into_iter().collect();
        let mut stored = self.stored(io.wall);
        for member in &mut stored.members {
            member.assignment = assignments.remove(&member.member).unwrap_or_default();
        }
        let then = Then::Assign { group: self.name.clone(), generation: self.generation };
        if self.propose(io, Some(stored), then).is_ok() {
            self.assigning = true;
        } else {
            self.drop_assignments(io, GroupError::UnknownServerError);
            self.prepare_rebalance(io);
        }
    }

    /// The record of an assignment has an outcome.
    pub fn assign_settled<P: Probe>(
        &mut self,
        io: &mut Io<'_, P>,
        generation: i32,
        result: Result<&StoredGroup, AppendError>,
    ) {
        if self.state != GroupState::CompletingRebalance || self.generation != generation {
            io.probe.reached("group_assignment_overtaken");
            return;
        }
        match result {
            Ok(stored) => self.assign(io, stored),
            Err(why) => {
                self.drop_assignments(io, GroupError::of_append(why));
                self.prepare_rebalance(io);
            },
        }
    }

    fn assign<P: Probe>(&mut self, io: &mut Io<'_, P>, stored: &StoredGroup) {
        self.state = GroupState::Stable;
        self.assigning = false;
        for share in &stored.members {
            let synced = self.synced(share.assignment.clone());
            let Some(member) = self.members.get_mut(&share.member) else { continue };
            member.assignment.clone_from(&share.assignment);
            if let Some(request) = member.syncing.take() {
                member.touch(io.now);
                io.reply(request, Reply::Sync(Ok(synced)));
            }
        }
    }

    /// Nobody owns anything any more; who waits for an assignment is told why there is none.
    pub(super) fn drop_assignments<P: Probe>(&mut self, io: &mut Io<'_, P>, why: GroupError) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(request) = member.syncing.take() {
                member.touch(io.now);
                io.reply(request, Reply::Sync(Err(why)));
            }
        }
    }

    fn synced(&self, assignment: Bytes) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone().unwrap_or_default(),
            assignment,
        }
    }
}
