//! Groups that go: simple groups whose offsets are committed, deleted or expire, and a group with a
//! member, whose offsets stay whatever time passes and whoever asks for their deletion.
//!
//! Invariants: each process of the client has groups of its own, and one request under way for all
//! simple ones; the history knows what is asked before it is, and what came of it once it is
//! answered; a group with a request that was never answered, or not for good, is left alone: it may
//! still be carried out.

use std::collections::BTreeMap;

use base::Duration;
use bytes::{BufMut, Bytes, BytesMut};
use env::Env;
use protocol::messages::delete_groups_request::DeleteGroupsRequest;
use protocol::messages::heartbeat_request::HeartbeatRequest;
use protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use protocol::messages::offset_delete_response::OffsetDeleteResponse;
use protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopic};
use protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};

use super::connection::{CallError, Connection, Shown};
use super::errors::{NONE, is_retriable};
use super::{Job, TOPIC};
use crate::check::Fate;
use crate::fault::BROKER;
use crate::world::{Dice, MS, SimEnv};

const TIMEOUT: Duration = Duration::from_millis(2_000);
const NON_EMPTY_GROUP: i16 = 68;
const GROUP_ID_NOT_FOUND: i16 = 69;
const GROUP_SUBSCRIBED_TO_TOPIC: i16 = 86;
/// Simple groups of one process.
const GROUPS: u64 = 12;
/// What is done to them.
const STEPS: u64 = 120;
/// How long an offset is kept that is to expire while somebody looks; one that is not.
const BRIEF_MS: i64 = 300;
const LONG_MS: i64 = 30 * 24 * 3_600_000;
/// Groups with a member, one after the other, and looks at each.
const KEPT: u64 = 3;
const LOOKS: u64 = 6;
const SESSION_MS: i32 = 10_000;
/// A member heard of so recently is one: half a session, for the broker's clock may be fast.
const HEARD_MS: u64 = 5_000;

/// Works on its groups for a while.
pub async fn groups_that_go(job: Job, env: SimEnv) {
    let incarnation = env.process().incarnation;
    let (other, own) = (job.clone(), env.clone());
    env.spawn("groups that stay", async move {
        let mut keeper = Groups::new(other, own, "groups that stay");
        for number in 0..KEPT {
            keeper.life_with_a_member(&format!("kept-{incarnation}-{number}")).await;
            keeper.pause(600).await;
        }
    });
    let mut groups = Groups::new(job, env, "groups that go");
    for _ in 0..STEPS {
        let place = groups.dice.below(GROUPS);
        let life = groups.lives.get(&place).copied().unwrap_or(0);
        if !groups.step(&format!("gone-{incarnation}-{place}-{life}")).await {
            groups.lives.insert(place, life + 1);
        }
        groups.pause(60).await;
    }
}

/// Looks at every group of which something is known, once everything is quiet.
pub async fn look_at_groups(job: Job, env: SimEnv) {
    let mut groups = Groups::new(job, env, "groups at the end");
    for group in groups.job.history.groups_with_a_fate() {
        while !groups.look(&group).await {
            groups.pause(100).await;
        }
    }
}

struct Groups {
    job: Job,
    env: SimEnv,
    dice: Dice,
    connection: Connection,
    /// How many groups were left alone, of each place.
    lives: BTreeMap<u64, u32>,
}

/// A member as it names itself.
#[derive(Clone)]
struct Member {
    group: String,
    id: String,
    generation: i32,
}

impl Member {
    fn nobody(group: &str) -> Self {
        Self { group: group.into(), id: String::new(), generation: -1 }
    }
}

impl Groups {
    fn new(job: Job, env: SimEnv, name: &str) -> Self {
        let dice = job.world.dice(&format!("{name} {}", env.process().incarnation));
        let connection = Connection::new(env.clone(), BROKER, name.replace(' ', "-"));
        Self { job, env, dice, connection, lives: BTreeMap::new() }
    }

    async fn pause(&mut self, most_ms: u64) {
        let millis = self.dice.between(1, most_ms);
        self.env.sleep(Duration::from_millis(millis)).await;
    }

    /// Does one thing to a simple group. False if nobody knows whether it was done.
    async fn step(&mut self, group: &str) -> bool {
        match self.dice.below(10) {
            0..=2 => self.commit_alone(group).await,
            3 | 4 => self.delete(group).await,
            5 => self.delete_offset(group).await,
            _ => {
                self.look(group).await;
                true
            },
        }
    }

    /// Asks for a change. `fate` is what is known of the group after an error code, and `None` if
    /// that cannot be the answer. False if nobody knows whether the change was made.
    async fn change<R: Shown>(
        &mut self,
        (group, version): (&str, i16),
        ask: &R,
        code: impl FnOnce(&R::Response) -> Option<i16>,
        fate: impl FnOnce(Option<Fate>, i16) -> Option<Fate>,
    ) -> bool {
        let history = self.job.history.clone();
        let losses = history.losses();
        let before = history.fate_is_asked(group);
        match self.connection.call(version, ask, TIMEOUT).await {
            Err(CallError::NotSent) => history.fate_is_settled(group, before, losses),
            Err(CallError::Unknown) => return false,
            Ok(answer) => {
                let code = code(&answer).filter(|code| !is_retriable(*code));
                let Some(code) = code else { return false };
                let after = fate(before, code);
                let fits =
                    after.is_some() || !history.groups_can_be_judged(&self.job.world, losses);
                self.job.world.check("group-errors", fits, || {
                    format!("{}: {code} for {group}, of which was known: {before:?}", R::NAME)
                });
                history.fate_is_settled(group, after, losses);
            },
        }
        true
    }

    /// Commits from outside the group: for ever, for long, or for a moment.
    async fn commit_alone(&mut self, group: &str) -> bool {
        let offset = i64::try_from(self.dice.below(1_000)).unwrap_or(0);
        let (version, retention) = *self.dice.pick(&[(7, -1), (3, LONG_MS), (3, BRIEF_MS)]);
        let ask = commit(&Member::nobody(group), offset, retention);
        let code = |answer: &protocol::messages::OffsetCommitResponse| {
            Some(answer.topics.first()?.partitions.first()?.error_code)
        };
        let stands = if retention == BRIEF_MS { Fate::Fades(offset) } else { Fate::Stands(offset) };
        let fate = |_, code| (code == NONE).then_some(stands);
        self.change((group, version), &ask, code, fate).await
    }

    async fn delete(&mut self, group: &str) -> bool {
        let ask = DeleteGroupsRequest { groups_names: vec![group.into()] };
        let code = |answer: &protocol::messages::DeleteGroupsResponse| {
            Some(answer.results.first()?.error_code)
        };
        self.change((group, 2), &ask, code, gone).await
    }

    async fn delete_offset(&mut self, group: &str) -> bool {
        self.change((group, 0), &offset_delete(group), worst_code, gone).await
    }

    /// Looks up the offset of a group and has it judged. False if that was not answered.
    async fn look(&mut self, group: &str) -> bool {
        let losses = self.job.history.losses();
        let history = &self.job.history;
        let (asked, asks) = (history.fate(group), history.fate_asks(group));
        let Some(found) = self.offset_of(group).await else { return false };
        self.job.history.fate_is_seen(&self.job.world, group, (asked, losses, asks), found);
        true
    }

    /// The committed offset of a group, if there is one; `None` if that was not answered.
    async fn offset_of(&mut self, group: &str) -> Option<Option<i64>> {
        let topic = OffsetFetchRequestTopic { name: TOPIC.into(), partition_indexes: vec![0] };
        let ask = OffsetFetchRequest {
            group_id: group.into(),
            topics: Some(vec![topic]),
            ..OffsetFetchRequest::default()
        };
        let answer = self.connection.call(5, &ask, TIMEOUT).await.ok()?;
        let part = answer.topics.first()?.partitions.first()?;
        let is_answered = answer.error_code == NONE && part.error_code == NONE;
        is_answered.then_some(Some(part.committed_offset).filter(|offset| *offset >= 0))
    }

    /// A group with a member that reads the topic: nobody can delete it, and its offset, which was
    /// to be kept for a moment only, does not expire.
    async fn life_with_a_member(&mut self, group: &str) {
        let losses = self.job.history.losses();
        let Some(member) = self.join(group).await else { return };
        let offset = 7;
        let ask = commit(&member, offset, BRIEF_MS);
        let Ok(answer) = self.connection.call(3, &ask, TIMEOUT).await else { return };
        let part = answer.topics.first().and_then(|topic| topic.partitions.first());
        if part.is_none_or(|part| part.error_code != NONE) {
            return;
        }
        let mut heard = self.job.world.now();
        for _ in 0..LOOKS {
            self.pause(700).await;
            // A broker that loads answers every heartbeat, also of one who is a member no more.
            let is_late = self.job.world.now() - heard > HEARD_MS * MS;
            heard = self.job.world.now();
            if is_late || !self.heartbeat(&member).await {
                return;
            }
            let ask = DeleteGroupsRequest { groups_names: vec![group.into()] };
            let answer = self.connection.call(2, &ask, TIMEOUT).await.ok();
            let code = answer.and_then(|answer| answer.results.first().map(|one| one.error_code));
            self.holds(group, (losses, heard), (code, NON_EMPTY_GROUP));
            let answer = self.connection.call(0, &offset_delete(group), TIMEOUT).await.ok();
            let code = answer.as_ref().and_then(worst_code);
            self.holds(group, (losses, heard), (code, GROUP_SUBSCRIBED_TO_TOPIC));
            let found = self.offset_of(group).await;
            if self.is_member(losses, heard) {
                let stays = found.is_none_or(|found| found == Some(offset));
                self.job.world.check("members-keep-offsets", stays, || {
                    format!("{group} has a member and has committed {offset}; found is {found:?}")
                });
            }
        }
        let identity = MemberIdentity { member_id: member.id, ..MemberIdentity::default() };
        let ask = LeaveGroupRequest {
            group_id: group.into(),
            members: vec![identity],
            ..LeaveGroupRequest::default()
        };
        // Whether it arrives or not: nobody looks at this group any more.
        drop(self.connection.call(4, &ask, TIMEOUT).await);
    }

    /// Whether a member is one for sure that the broker heard of after `heard`.
    fn is_member(&self, losses: u64, heard: u64) -> bool {
        let passed = self.job.world.now().saturating_sub(heard);
        passed < HEARD_MS * MS && self.job.history.groups_can_be_judged(&self.job.world, losses)
    }

    /// A group with a member was to be deleted: that is refused, if it is answered for good.
    fn holds(
        &self,
        group: &str,
        (losses, heard): (u64, u64),
        (code, expected): (Option<i16>, i16),
    ) {
        let Some(code) = code.filter(|code| !is_retriable(*code)) else { return };
        let fits = code == expected || !self.is_member(losses, heard);
        self.job.world.check("members-keep-offsets", fits, || {
            format!("{group} has a member, and its deletion was answered with {code}")
        });
    }

    async fn join(&mut self, group: &str) -> Option<Member> {
        let ask = JoinGroupRequest {
            group_id: group.into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: SESSION_MS,
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: subscription(),
            }],
            ..JoinGroupRequest::default()
        };
        let joined = self.connection.call(3, &ask, TIMEOUT).await.ok()?;
        if joined.error_code != NONE {
            return None;
        }
        let (id, generation) = (joined.member_id, joined.generation_id);
        let mine = SyncGroupRequestAssignment {
            member_id: id.clone(),
            assignment: Bytes::from_static(b"0"),
        };
        let ask = SyncGroupRequest {
            group_id: group.into(),
            generation_id: generation,
            member_id: id.clone(),
            assignments: vec![mine],
            ..SyncGroupRequest::default()
        };
        let synced = self.connection.call(2, &ask, TIMEOUT).await.ok()?;
        (synced.error_code == NONE).then(|| Member { group: group.into(), id, generation })
    }

    async fn heartbeat(&mut self, member: &Member) -> bool {
        let ask = HeartbeatRequest {
            group_id: member.group.clone(),
            generation_id: member.generation,
            member_id: member.id.clone(),
            ..HeartbeatRequest::default()
        };
        let answer = self.connection.call(2, &ask, TIMEOUT).await;
        answer.is_ok_and(|answer| answer.error_code == NONE)
    }
}

/// What is known of a group once its deletion, or that of its only offset, was answered; `None` if
/// that cannot be the answer.
fn gone(before: Option<Fate>, code: i16) -> Option<Fate> {
    let fits = match before {
        None | Some(Fate::Fades(_)) => matches!(code, NONE | GROUP_ID_NOT_FOUND),
        Some(Fate::Stands(_)) => code == NONE,
        Some(Fate::Gone) => code == GROUP_ID_NOT_FOUND,
    };
    fits.then_some(Fate::Gone)
}

/// The error of an answer to OffsetDelete that names one partition.
fn worst_code(answer: &OffsetDeleteResponse) -> Option<i16> {
    let part = answer.topics.first().and_then(|topic| topic.partitions.first());
    let whole = Some(answer.error_code).filter(|code| *code != NONE);
    whole.or_else(|| part.map(|part| part.error_code))
}

fn commit(member: &Member, offset: i64, retention_time_ms: i64) -> OffsetCommitRequest {
    let part = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: offset,
        committed_leader_epoch: -1,
        committed_metadata: None,
    };
    let topic = OffsetCommitRequestTopic {
        name: TOPIC.into(),
        partitions: vec![part],
        ..OffsetCommitRequestTopic::default()
    };
    OffsetCommitRequest {
        group_id: member.group.clone(),
        generation_id_or_member_epoch: member.generation,
        member_id: member.id.clone(),
        retention_time_ms,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    }
}

fn offset_delete(group: &str) -> OffsetDeleteRequest {
    let topic = OffsetDeleteRequestTopic {
        name: TOPIC.into(),
        partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
    };
    OffsetDeleteRequest { group_id: group.into(), topics: vec![topic] }
}

/// A consumer's metadata: version 0, the topic, no data of the user's.
fn subscription() -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(1);
    bytes.put_u16(u16::try_from(TOPIC.len()).unwrap_or(0));
    bytes.put_slice(TOPIC.as_bytes());
    bytes.put_i32(-1);
    bytes.freeze()
}
