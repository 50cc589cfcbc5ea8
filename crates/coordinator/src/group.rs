//! One classic group: who is in it, and where its rebalance stands.
//!
//! Owns: members, pending members, generation, timers, parked requests. All of it is soft: what
//! must survive is proposed as a record, and nobody is told of an assignment before its record is
//! in the log. Driven by: `shard`. Source: Kafka's classic protocol (KIP-62, KIP-134, KIP-345,
//! KIP-394).
//!
//! ```text
//!            join              all joined, or time over        leader's sync in the log
//!   Empty ----------> Preparing ------------------> Completing ------------------> Stable
//!     ^                |  ^  ^                          |                             |
//!     +--- nobody -----+  |  +--- join, leave, expiry --+                             |
//!                         +------------------- join, leave, expiry -------------------+
//! ```

mod join;
mod leave;
mod member;
mod rebalance;
mod subscription;
mod sync;
mod timers;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use base::{Duration, Instant, Probe, Timestamp, Uuid};
use bytes::Bytes;

pub(crate) use self::join::Swap;
use self::member::Member;
use self::rebalance::InitialDelay;
pub(crate) use self::subscription::UnusedSince;
use crate::event::RequestId;
use crate::io::Io;
use crate::pipeline::{Then, TooLarge};
use crate::record::{Record, StoredGroup, StoredMember};
use crate::{GroupError, GroupState, Join, MemberOf};

/// One classic group.
#[derive(Debug, Default)]
pub(crate) struct Group {
    name: String,
    state: GroupState,
    generation: i32,
    protocol_type: String,
    /// The chosen protocol of this generation; none without members.
    protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// The topics that the members of this generation subscribe to, if that is known.
    subscribed: Option<BTreeSet<String>>,
    /// Since when nobody is left, by the wall clock, if that is known.
    empty_since: Option<Timestamp>,
    /// Member id by `group.instance.id`.
    statics: BTreeMap<String, String>,
    /// Ids handed out and not yet presented, and until when they hold.
    pending: BTreeMap<String, Instant>,
    /// The order of joining, so that the longest member leads.
    joins: u64,

    /// When the present rebalance began.
    rebalance_began: Instant,
    join_timer: Option<Instant>,
    sync_timer: Option<Instant>,
    /// When to tell the log again that nobody is left.
    retell_timer: Option<Instant>,
    /// While a rebalance that began from `Empty` waits for more members.
    initial: Option<InitialDelay>,
    /// Whether the leader's assignment of this generation is on its way to the log.
    assigning: bool,
    /// Whether a static member's replacement within this generation is on its way to the log.
    swapping: bool,
    /// Joins that wait for that.
    deferred: Vec<(RequestId, Box<Join>, Uuid)>,
    /// Records of this group on their way to the log.
    proposals: usize,
    /// The deadline that the shard has noted for this group.
    pub armed: Option<Instant>,
    /// The [bytes](Group::bytes) that the shard has noted.
    pub noted_bytes: usize,
}

/// What an entry of a small map or list takes beside its content.
const ENTRY_BYTES: usize = 64;

/// The names that are in each of these lists.
fn in_all<'a>(ballots: &[&'a [(String, Bytes)]]) -> BTreeSet<&'a str> {
    // Not each with each: a client may offer as many as its request has room for.
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for (before, ballot) in ballots.iter().enumerate() {
        for (name, _) in *ballot {
            match times.get_mut(name.as_str()) {
                None if before == 0 => drop(times.insert(name, 1)),
                Some(times) if *times == before => *times += 1,
                None | Some(_) => {},
            }
        }
    }
    times.into_iter().filter(|(_, times)| *times == ballots.len()).map(|(name, _)| name).collect()
}

impl Group {
    /// A group nobody has joined yet.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// A group as the log tells of it: stable if it has members, who all get a new session.
    pub fn load<P: Probe>(name: &str, stored: &StoredGroup, now: Instant, probe: &P) -> Self {
        let mut group = Self {
            generation: stored.generation,
            protocol_type: stored.protocol_type.clone(),
            ..Self::new(name)
        };
        for member in &stored.members {
            group.joins = group.joins.saturating_add(1);
            if let Some(instance) = &member.instance {
                group.statics.insert(instance.clone(), member.member.clone());
            }
            let loaded = Member::load(member, stored.protocol.as_deref(), group.joins, now);
            group.members.insert(member.member.clone(), loaded);
        }
        if group.members.is_empty() {
            group.empty_since = stored.at;
        } else {
            probe.reached("group_loaded_stable");
            group.state = GroupState::Stable;
            group.protocol = stored.protocol.clone().or_else(|| Some(String::new()));
            group.leader = stored.leader.clone().or_else(|| group.members.keys().next().cloned());
        }
        group.note_subscriptions();
        group
    }

    /// Whether nothing is known of it but its name and generation, and nothing is to come.
    pub fn is_vacant(&self) -> bool {
        self.state == GroupState::Empty
            && self.members.is_empty()
            && self.pending.is_empty()
            && self.deferred.is_empty()
            && self.proposals == 0
    }

    /// One of this group's records has an outcome.
    pub fn proposal_settled(&mut self) {
        self.proposals = self.proposals.saturating_sub(1);
    }

    /// One of this group's records is on its way to the log.
    pub fn proposal_begun(&mut self) {
        self.proposals = self.proposals.saturating_add(1);
    }

    /// It is about to be deleted: nothing more is told to the log of it.
    pub fn deletion_begun(&mut self) {
        self.proposal_begun();
        self.retell_timer = None;
    }

    /// It is deleted, or is not: unless somebody has joined since, nothing is left of it.
    pub fn deletion_settled(&mut self, is_deleted: bool) {
        self.proposal_settled();
        if is_deleted && self.is_empty() {
            self.pending.clear();
        }
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.state == GroupState::Empty
    }

    /// Heartbeat.
    pub fn heartbeat<P: Probe>(
        &mut self,
        io: &mut Io<'_, P>,
        who: &MemberOf,
    ) -> Result<(), GroupError> {
        self.check_member(&who.member, who.instance.as_deref())?;
        self.check_generation(who.generation)?;
        self.touch(io.now, &who.member);
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => Ok(()),
            GroupState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            // No member is known there, so none came this far.
            GroupState::Empty | GroupState::Dead => Err(GroupError::UnknownMemberId),
        }
    }

    /// Whether `who` may commit offsets; a member that may has shown a sign of life.
    pub fn admit_commit(&mut self, now: Instant, who: &MemberOf) -> Result<(), GroupError> {
        let stand_alone = who.generation < 0;
        if stand_alone && self.state == GroupState::Empty {
            return Ok(());
        }
        if stand_alone && who.member.is_empty() && who.instance.is_none() {
            return Err(GroupError::UnknownMemberId);
        }
        self.check_member(&who.member, who.instance.as_deref())?;
        self.check_generation(who.generation)?;
        if self.state == GroupState::CompletingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        self.touch(now, &who.member);
        Ok(())
    }

    /// Whether `member` is one, and is the one that holds `instance` if it names one.
    fn check_member(&self, member: &str, instance: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            let holder = self.statics.get(instance).ok_or(GroupError::UnknownMemberId)?;
            if holder != member {
                return Err(GroupError::FencedInstanceId);
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    fn check_generation(&self, generation: i32) -> Result<(), GroupError> {
        if generation == self.generation { Ok(()) } else { Err(GroupError::IllegalGeneration) }
    }

    /// `member` showed a sign of life.
    fn touch(&mut self, now: Instant, member: &str) {
        if let Some(member) = self.members.get_mut(member) {
            member.touch(now);
        }
    }

    /// Whether a newcomer with these protocols fits in: it has the group's type, and one protocol
    /// that every member has.
    fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let members = self.members.values().map(|member| member.protocols.as_slice());
        let with_all: Vec<_> = members.chain([protocols]).collect();
        self.protocol_type == protocol_type && !in_all(&with_all).is_empty()
    }

    /// The protocol that all members have and most prefer, as if `instead` of one member's
    /// protocols these were given. Of equally liked ones the first by name.
    fn vote(&self, instead: Option<(&str, &[(String, Bytes)])>) -> Option<String> {
        let ballots: Vec<&[(String, Bytes)]> = self
            .members
            .iter()
            .map(|(id, member)| match instead {
                Some((replaced, protocols)) if replaced == id => protocols,
                _ => member.protocols.as_slice(),
            })
            .collect();
        let everybody_has = in_all(&ballots);
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for ballot in &ballots {
            let choice = ballot.iter().find(|(name, _)| everybody_has.contains(&**name));
            if let Some((name, _)) = choice {
                let count = votes.entry(name).or_default();
                *count = count.saturating_add(1);
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.to_owned())
    }

    fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// Bytes that it holds of what members said, or were given by their leader.
    pub fn bytes(&self) -> usize {
        let members = self.members.iter().map(|(id, member)| id.len() + member.bytes());
        let pending = self.pending.keys().map(|id| id.len() + ENTRY_BYTES);
        let deferred = self.deferred.iter().map(|(_, join, _)| join.bytes());
        members.chain(pending).chain(deferred).fold(0, usize::saturating_add)
    }

    /// How long a rebalance may take: as long as the slowest member was promised.
    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// This generation as a record.
    fn stored(&self, wall: Timestamp) -> StoredGroup {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let since = self.empty_since.filter(|_| self.is_empty()).unwrap_or(wall);
        let member = |(id, member): (&String, &Member)| StoredMember {
            member: id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout,
            session_timeout: member.session_timeout,
            metadata: member.metadata(protocol).unwrap_or_default(),
            assignment: member.assignment.clone(),
        };
        StoredGroup {
            protocol_type: self.protocol_type.clone(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            at: Some(since).filter(|since| since.0 >= 0),
            members: self.members.iter().map(member).collect(),
        }
    }

    fn propose<P: Probe>(
        &mut self,
        io: &mut Io<'_, P>,
        value: Option<StoredGroup>,
        then: Then,
    ) -> Result<(), TooLarge> {
        io.pipeline.propose(vec![Record::Group { group: self.name.clone(), value }], then)?;
        self.proposal_begun();
        Ok(())
    }
}
