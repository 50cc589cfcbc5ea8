//! The coordinator of all groups of one partition of `__consumer_offsets`.
//!
//! Owns: the groups, what the log says of them, what is on its way to the log, who is owed an
//! answer, the alarms. Invariants: what the log says changes only by records that are in it (so
//! that reading the log again gives the same); an answer that reports a change is given by the step
//! that learned that the change is in the log; every request is answered exactly once (GRP_1); only
//! the append under way is ever settled (GRP_2). Driven by: the broker's coordinator host.
//!
//! A shard begins by loading: [`Shard::replay`] for each record of the log from its start, then
//! [`Shard::loaded`].

mod deletion;
mod expiry;
mod offsets;

use std::collections::{BTreeMap, BTreeSet};

use base::{Instant, Probe, Timestamp, Uuid, invariant};
use bytes::Bytes;

use crate::durable::Durable;
use crate::event::{Action, AppendError, AppendId, Event, RequestId};
use crate::group::Group;
use crate::io::{Io, Owed};
use crate::pipeline::{Pipeline, Proposal, Then};
use crate::record::{Record, RecordError};
use crate::{
    Command, Described, GroupError, GroupState, Join, Listed, MemberOf, Reply, Settings, Sync,
};

/// The coordinator of all groups of one partition.
#[derive(Debug)]
pub struct Shard<P> {
    settings: Settings,
    probe: P,
    phase: Phase,
    groups: BTreeMap<String, Group>,
    durable: Durable,
    pipeline: Pipeline,
    owed: BTreeMap<RequestId, Owed>,
    /// For each group, when time next matters to it, or earlier.
    alarms: BTreeSet<(Instant, String)>,
    /// Of all groups together.
    group_bytes: usize,
    /// When expired offsets are looked for next, once the shard serves.
    expiry_due: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Loading,
    Serving,
    Resigned,
}

/// What a step was called with.
struct Step<'a> {
    now: Instant,
    wall: Timestamp,
    out: &'a mut Vec<Action>,
}

impl<P: Probe> Shard<P> {
    /// A shard that has read nothing of its log yet.
    pub fn new(settings: Settings, probe: P) -> Self {
        let pipeline = Pipeline::new(&settings);
        Self {
            settings,
            probe,
            phase: Phase::Loading,
            groups: BTreeMap::new(),
            durable: Durable::default(),
            pipeline,
            owed: BTreeMap::new(),
            alarms: BTreeSet::new(),
            group_bytes: 0,
            expiry_due: None,
        }
    }

    /// Takes in one record of the log, in order. Kinds of other coordinators are left alone.
    ///
    /// # Errors
    /// [`RecordError`] if the record is damaged: then the shard must not be served, for what the
    /// record said is not known.
    pub fn replay(&mut self, key: &Bytes, value: Option<&Bytes>) -> Result<(), RecordError> {
        match Record::decode(key, value)? {
            Some(record) => {
                self.durable.apply(&record);
                // Planted: what was committed in an earlier generation goes with it.
                if matches!(record, Record::Group { .. })
                    && self.probe.mutant("forget_group_offsets")
                {
                    self.durable.forget_offsets(record.group());
                }
            },
            None => self.probe.reached("group_record_skipped"),
        }
        Ok(())
    }

    /// The log has been read to its end: from now on requests are served. Every member gets a new
    /// session.
    pub fn loaded(&mut self, now: Instant) {
        let mut loaded = BTreeMap::new();
        for (name, durable) in self.durable.groups() {
            let Some(stored) = &durable.generation else { continue };
            let mut group = Group::load(name, stored, now, &self.probe);
            group.armed = group.deadline();
            group.noted_bytes = group.bytes();
            self.group_bytes = self.group_bytes.saturating_add(group.noted_bytes);
            self.alarms.extend(group.armed.map(|at| (at, name.to_owned())));
            loaded.insert(name.to_owned(), group);
        }
        self.groups = loaded;
        self.expiry_due = Some(now.after(self.settings.offsets_check_interval));
        self.phase = Phase::Serving;
    }

    /// From now on the log takes batches of at most so many bytes.
    pub fn limit_batches(&mut self, bytes_max: usize) {
        self.pipeline.limit_batches(bytes_max);
    }

    /// How many proposals the append under way holds: each is a decision of its own.
    pub fn proposals_under_way(&self) -> usize {
        self.pipeline.together()
    }

    /// Bytes that are held of what members said, or were given by their leaders: who hosts shards bounds
    /// the sum by refusing what would add to it ([`Command::member_bytes`]).
    pub fn member_bytes(&self) -> usize {
        self.group_bytes.saturating_add(self.pipeline.group_bytes())
    }

    /// When [`Event::Tick`] is due, if ever.
    pub fn deadline(&self) -> Option<Instant> {
        let alarm = self.alarms.first().map(|(at, _)| *at);
        alarm.into_iter().chain(self.expiry_due).min()
    }

    /// What the log says, added up. For checks.
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// Takes in one event; what it brings about is added to `out`, in order.
    pub fn step(&mut self, now: Instant, wall: Timestamp, event: Event, out: &mut Vec<Action>) {
        let mut step = Step { now, wall, out };
        match event {
            Event::Request { id, command, fresh } => self.request(&mut step, id, command, fresh),
            Event::Appended { id, result } => self.appended(&mut step, id, result),
            Event::Tick => self.tick(&mut step),
            Event::Resigned => self.resign(&mut step),
        }
        self.pipeline.pump(out);
    }

    fn request(&mut self, step: &mut Step<'_>, id: RequestId, command: Command, fresh: Uuid) {
        let room = self.owed.len() < self.settings.waiting_requests_max;
        let owed = Owed::by(&command);
        let before = self.owed.insert(id, owed);
        invariant!(GRP_1, before.is_none(), "{id:?} asked twice");
        match self.phase {
            // A member must not think that it lost its place only because we are still reading.
            Phase::Loading if owed == Owed::Heartbeat => {
                self.io(step).reply(id, Reply::Heartbeat(Ok(())));
            },
            Phase::Loading => self.refuse(step, id, owed, GroupError::CoordinatorLoadInProgress),
            Phase::Resigned => self.refuse(step, id, owed, GroupError::NotCoordinator),
            Phase::Serving if command.may_wait() && !room => {
                self.refuse(step, id, owed, GroupError::CoordinatorNotAvailable);
            },
            Phase::Serving => self.serve(step, id, command, fresh),
        }
    }

    fn serve(&mut self, step: &mut Step<'_>, id: RequestId, command: Command, fresh: Uuid) {
        match command {
            Command::Join(join) => self.join(step, id, Box::new(join), fresh),
            Command::Sync(sync) => self.sync(step, id, sync),
            Command::Heartbeat(who) => {
                let result = self.heartbeat(step, &who);
                self.io(step).reply(id, Reply::Heartbeat(result));
            },
            Command::Leave { group, members } => {
                let reply = if group.is_empty() {
                    Err(GroupError::InvalidGroupId)
                } else if self.groups.contains_key(&group) {
                    Ok(self.with_group(step, &group, |group, io| group.leave(io, members)))
                } else {
                    let unknown = |who| (who, Err(GroupError::UnknownMemberId));
                    Ok(Some(members.into_iter().map(unknown).collect()))
                };
                let reply = reply.map(Option::unwrap_or_default);
                self.io(step).reply(id, Reply::Leave(reply));
            },
            Command::Commit(commit) => self.commit(step, id, commit),
            Command::Offsets { group, partitions } => {
                let offsets = self.offsets(&group, partitions);
                self.io(step).reply(id, Reply::Offsets(Ok(offsets)));
            },
            Command::List => {
                let list = self.list();
                self.io(step).reply(id, Reply::List(Ok(list)));
            },
            Command::Describe { group } => {
                let described = self.describe(&group);
                self.io(step).reply(id, Reply::Describe(described));
            },
            Command::Delete { group } => self.delete(step, id, group),
            Command::DeleteOffsets { group, partitions } => {
                self.delete_offsets(step, id, &group, partitions);
            },
            Command::TopicDeleted { topic } => self.topic_deleted(step, id, &topic),
        }
    }

    fn join(&mut self, step: &mut Step<'_>, id: RequestId, join: Box<Join>, fresh: Uuid) {
        let session = join.session_timeout;
        let unknown = !self.groups.contains_key(&join.group);
        let refused = if join.group.is_empty() {
            Some(GroupError::InvalidGroupId)
        } else if session < self.settings.session_timeout_min
            || session > self.settings.session_timeout_max
        {
            Some(GroupError::InvalidSessionTimeout)
        } else if unknown && !join.member.is_empty() {
            Some(GroupError::UnknownMemberId)
        } else if unknown && !self.has_room_for_group(&join.group) {
            Some(GroupError::CoordinatorNotAvailable)
        } else if join.protocols.iter().any(|offer| !self.could_be_written(&join.group, offer)) {
            Some(GroupError::UnknownServerError)
        } else {
            None
        };
        if let Some(why) = refused {
            self.io(step).refuse_join(id, why, &join.member);
            return;
        }
        let name = join.group.clone();
        if unknown {
            self.groups.insert(name.clone(), Group::new(&name));
        }
        self.with_group(step, &name, |group, io| group.join(io, id, join, fresh));
    }

    /// Whether a group's record could hold what a member says of itself for one protocol. Kafka says so
    /// no sooner than when the leader has made an assignment, and with the same error.
    fn could_be_written(&self, group: &str, (name, metadata): &(String, Bytes)) -> bool {
        group.len().saturating_add(name.len()).saturating_add(metadata.len())
            <= self.pipeline.room()
    }

    fn sync(&mut self, step: &mut Step<'_>, id: RequestId, sync: Sync) {
        let name = sync.who.group.clone();
        if self.groups.contains_key(&name) {
            self.with_group(step, &name, |group, io| group.sync(io, id, sync));
        } else {
            let why = unknown_member_of(&name);
            self.io(step).reply(id, Reply::Sync(Err(why)));
        }
    }

    fn heartbeat(&mut self, step: &mut Step<'_>, who: &MemberOf) -> Result<(), GroupError> {
        // Its alarm may now ring too early, which harms nobody and costs nothing here.
        let (groups, mut io) = self.split(step);
        match groups.get_mut(&who.group) {
            Some(group) => group.heartbeat(&mut io, who),
            None => Err(unknown_member_of(&who.group)),
        }
    }

    fn list(&self) -> Vec<Listed> {
        let live = self.groups.values().map(Group::listed);
        let simple = self.durable.groups().filter(|(name, _)| !self.groups.contains_key(*name));
        let simple = simple.map(|(name, _)| Listed {
            group: name.to_owned(),
            protocol_type: String::new(),
            state: GroupState::Empty,
        });
        let mut all: Vec<Listed> = live.chain(simple).collect();
        all.sort_by(|a, b| a.group.cmp(&b.group));
        all
    }

    fn describe(&self, name: &str) -> Result<Described, GroupError> {
        if let Some(group) = self.groups.get(name) {
            return Ok(group.described());
        }
        self.durable.group(name).ok_or(GroupError::GroupNotFound)?;
        Ok(Described {
            group: name.to_owned(),
            state: GroupState::Empty,
            protocol_type: String::new(),
            protocol: String::new(),
            members: Vec::new(),
        })
    }

    fn appended(&mut self, step: &mut Step<'_>, id: AppendId, result: Result<(), AppendError>) {
        if self.phase == Phase::Resigned {
            return;
        }
        if result == Err(AppendError::TooLarge) && self.pipeline.take_apart(id) {
            self.probe.reached("group_append_taken_apart");
            return;
        }
        let proposals = self.pipeline.settle(id);
        invariant!(GRP_2, !proposals.is_empty(), "{id:?} is not under way");
        if result.is_err() {
            self.probe.reached("group_append_failed");
        }
        for proposal in proposals {
            if result.is_ok() {
                proposal.records.iter().for_each(|record| self.durable.apply(record));
            }
            let result = self.pipeline.outcome(&proposal, result);
            self.settle(step, proposal, result);
        }
    }

    fn settle(&mut self, step: &mut Step<'_>, proposal: Proposal, result: Result<(), AppendError>) {
        let Proposal { records, then, .. } = proposal;
        match then {
            Then::Commit { request, results } => self.committed(step, request, results, result),
            Then::TopicDeleted { request } => self.topic_gone(step, request, result),
            Then::Assign { group, generation } => {
                let stored = match records.first() {
                    Some(Record::Group { value: Some(stored), .. }) => stored,
                    Some(Record::Group { .. } | Record::Offset { .. }) | None => return,
                };
                let result = result.map(|()| stored);
                self.with_group(step, &group, |group, io| {
                    group.proposal_settled();
                    group.assign_settled(io, generation, result);
                });
            },
            Then::Swap { group, swap } => {
                self.with_group(step, &group, |group, io| {
                    group.proposal_settled();
                    group.swap_settled(io, swap, result);
                });
            },
            Then::Emptied { group, generation } => {
                self.with_group(step, &group, |group, io| {
                    group.proposal_settled();
                    group.empty_settled(io, generation, result);
                });
            },
            Then::Part => {},
            Then::Deleted { request, group, was_live } => {
                self.deleted(step, request, (&group, was_live), result);
            },
            Then::OffsetsDeleted { request, results } => {
                self.offsets_deleted(step, request, results, result);
            },
            Then::Expired { group, was_live } => {
                if was_live {
                    self.with_group(step, &group, |group, _| group.proposal_settled());
                }
            },
        }
    }

    fn tick(&mut self, step: &mut Step<'_>) {
        let mut due = Vec::new();
        while let Some((at, _)) = self.alarms.first()
            && *at <= step.now
        {
            due.extend(self.alarms.pop_first().map(|(_, name)| name));
        }
        for name in due {
            if let Some(group) = self.groups.get_mut(&name) {
                group.armed = None;
            }
            self.with_group(step, &name, |group, io| group.expire(io));
        }
        if self.expiry_due.is_some_and(|due| due <= step.now) {
            self.expiry_due = Some(step.now.after(self.settings.offsets_check_interval));
            self.expire_offsets(step);
        }
    }

    fn resign(&mut self, step: &mut Step<'_>) {
        self.phase = Phase::Resigned;
        self.pipeline.clear();
        self.groups.clear();
        self.group_bytes = 0;
        self.alarms.clear();
        self.expiry_due = None;
        let owed: Vec<_> = self.owed.iter().map(|(id, owed)| (*id, *owed)).collect();
        for (id, owed) in owed {
            self.refuse(step, id, owed, GroupError::NotCoordinator);
        }
    }

    fn refuse(&mut self, step: &mut Step<'_>, id: RequestId, owed: Owed, why: GroupError) {
        self.io(step).reply(id, owed.refuse(why));
    }

    fn has_room_for_group(&self, name: &str) -> bool {
        let known = self.groups.contains_key(name) || self.durable.group(name).is_some();
        known || self.groups.len().max(self.durable.len()) < self.settings.groups_max
    }

    /// Lets `act` work on a group, then sets its alarm, or drops it if nothing is left of it.
    /// `None` if there is no such group.
    fn with_group<R>(
        &mut self,
        step: &mut Step<'_>,
        name: &str,
        act: impl FnOnce(&mut Group, &mut Io<'_, P>) -> R,
    ) -> Option<R> {
        let (groups, mut io) = self.split(step);
        let group = groups.get_mut(name)?;
        let result = act(group, &mut io);
        let (before, after) = (group.armed, group.deadline());
        group.armed = after;
        let vacant = group.is_vacant();
        let (bytes_before, bytes) = (group.noted_bytes, group.bytes());
        group.noted_bytes = bytes;
        self.group_bytes = self.group_bytes.saturating_sub(bytes_before).saturating_add(bytes);
        if before != after || vacant {
            if let Some(at) = before {
                self.alarms.remove(&(at, name.to_owned()));
            }
            let written = self.durable.group(name).is_some_and(|group| group.generation.is_some());
            if vacant && !written {
                self.groups.remove(name);
            } else if let Some(at) = after {
                self.alarms.insert((at, name.to_owned()));
            }
        }
        Some(result)
    }

    fn io<'a>(&'a mut self, step: &'a mut Step<'_>) -> Io<'a, P> {
        self.split(step).1
    }

    fn split<'a>(
        &'a mut self,
        step: &'a mut Step<'_>,
    ) -> (&'a mut BTreeMap<String, Group>, Io<'a, P>) {
        let io = Io {
            now: step.now,
            wall: step.wall,
            settings: &self.settings,
            probe: &self.probe,
            pipeline: &mut self.pipeline,
            owed: &mut self.owed,
            out: step.out,
        };
        (&mut self.groups, io)
    }
}

/// What a member of a group we do not know is told.
fn unknown_member_of(group: &str) -> GroupError {
    if group.is_empty() { GroupError::InvalidGroupId } else { GroupError::UnknownMemberId }
}
