//! A member of the consumer group: joins, reads from the committed offsets on, commits.
//!
//! Invariants: it tells the history each assignment, each fetch and each commit; it commits only
//! what it has read; on a lost membership it joins again and starts from what is committed.

use std::collections::BTreeMap;

use base::{Duration, Instant, Uuid};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use env::Env;
use protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use protocol::messages::fetch_response::FetchResponse;
use protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use protocol::messages::heartbeat_request::HeartbeatRequest;
use protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use protocol::messages::join_group_response::JoinGroupResponse;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopic};
use protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};

use super::connection::Connection;
use super::errors::{
    CORRUPT_MESSAGE, GROUP_MAX_SIZE_REACHED, ILLEGAL_GENERATION, KAFKA_STORAGE_ERROR,
    MEMBER_ID_REQUIRED, NONE, OFFSET_OUT_OF_RANGE, REBALANCE_IN_PROGRESS, UNKNOWN_MEMBER_ID,
    is_retriable,
};
use super::session::Session;
use super::{GROUP, Job, TOPIC};
use crate::check::{Asked, Fetched};
use crate::fault::BROKER;
use crate::world::{Dice, SimEnv};

const TIMEOUT: Duration = Duration::from_millis(2_000);
/// A join or sync waits for the other members.
const REBALANCE: Duration = Duration::from_millis(9_000);
const HEARTBEAT_EVERY: Duration = Duration::from_millis(500);
const FETCH_VERSIONS: &[i16] = &[4, 7, 11, 12];
/// Those that name a topic by its id alone.
const BY_ID: &[i16] = &[13, 15, 17, 18];

/// The first version with fetch sessions.
const SESSIONS_FROM: i16 = 7;

/// What a step of the membership led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Carry on.
    Done,
    /// Join again.
    Rejoin,
}

struct Member {
    job: Job,
    env: SimEnv,
    dice: Dice,
    /// Group requests, which may wait long, and everything else.
    connection: Connection,
    version: i16,
    /// If its fetches are of one, with the dice of its ways.
    session: Option<(Session, Dice)>,
    member_id: String,
    generation: i32,
    positions: BTreeMap<i32, i64>,
    /// Losses before each position was learnt.
    learnt: BTreeMap<i32, u64>,
    committed: BTreeMap<i32, i64>,
    heartbeat_due: Instant,
    /// Power losses of the broker when it last committed.
    losses: u64,
    /// Partitions that were known when it last joined.
    dealt: u32,
}

/// Consumes for ever.
pub async fn consumer(job: Job, env: SimEnv) {
    job.topic().await;
    let incarnation = env.process().incarnation;
    let mut dice = job.world.dice(&format!("consumer {} {incarnation}", job.id));
    let mut version = *dice.pick(FETCH_VERSIONS);
    let ways = job.ways(&format!("consumer {} {incarnation}: version", job.id));
    if let Some(mut ways) = ways.filter(|ways| ways.clone().chance(500)) {
        version = *ways.pick(BY_ID);
    }
    let ways = job.ways(&format!("consumer {} {incarnation}: session", job.id));
    let session = ways.and_then(|mut ways| ways.chance(500).then(|| (Session::default(), ways)));
    let session = session.filter(|_| version >= SESSIONS_FROM);
    let connection = Connection::new(env.clone(), BROKER, format!("consumer-{}", job.id));
    let mut member = Member {
        job,
        env,
        dice,
        connection,
        version,
        session,
        member_id: String::new(),
        generation: -1,
        positions: BTreeMap::new(),
        learnt: BTreeMap::new(),
        committed: BTreeMap::new(),
        heartbeat_due: Instant(0),
        losses: 0,
        dealt: 0,
    };
    loop {
        if member.join().await == Step::Done {
            while member.round().await == Step::Done {}
        }
        member.pause().await;
    }
}

impl Member {
    async fn pause(&mut self) {
        let millis = self.dice.between(10, 150);
        self.env.sleep(Duration::from_millis(millis)).await;
    }

    fn unexpected(&self, what: &str, code: i16) -> Step {
        self.job.world.check("errors", false, || {
            format!("{what} of consumer {} was answered with {code}", self.job.id)
        });
        Step::Rejoin
    }

    /// What an error of the group protocol means.
    fn group_error(&mut self, what: &str, code: i16) -> Step {
        match code {
            NONE => Step::Done,
            UNKNOWN_MEMBER_ID | GROUP_MAX_SIZE_REACHED => {
                self.member_id.clear();
                Step::Rejoin
            },
            REBALANCE_IN_PROGRESS | ILLEGAL_GENERATION => Step::Rejoin,
            code if is_retriable(code) => Step::Rejoin,
            code => self.unexpected(what, code),
        }
    }

    async fn join(&mut self) -> Step {
        self.positions.clear();
        self.dealt = self.job.history.partitions_known();
        let ask = FindCoordinatorRequest { key: GROUP.into(), ..FindCoordinatorRequest::default() };
        match self.connection.call(2, &ask, TIMEOUT).await {
            Ok(answer) if answer.error_code == NONE => {},
            Ok(answer) if is_retriable(answer.error_code) => return Step::Rejoin,
            Ok(answer) => return self.unexpected("FindCoordinator", answer.error_code),
            Err(_) => return Step::Rejoin,
        }
        let since = self.job.history.group_since(&self.job.world);
        let Some(joined) = self.join_group().await else { return Step::Rejoin };
        let Some(mine) = self.sync_group(&joined).await else { return Step::Rejoin };
        let generation = (joined.generation_id, since);
        self.job.history.owns(&self.job.world, generation, &self.member_id, &mine);
        self.heartbeat_due = self.env.now().after(HEARTBEAT_EVERY);
        self.find_positions(&mine).await
    }

    async fn join_group(&mut self) -> Option<JoinGroupResponse> {
        let ask = JoinGroupRequest {
            group_id: GROUP.into(),
            session_timeout_ms: 6_000,
            rebalance_timeout_ms: 6_000,
            member_id: self.member_id.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: Bytes::from_static(b"\0\0"),
            }],
            ..JoinGroupRequest::default()
        };
        let Ok(answer) = self.connection.call(5, &ask, REBALANCE).await else { return None };
        if answer.error_code == MEMBER_ID_REQUIRED {
            self.member_id = answer.member_id;
            return None;
        }
        if self.group_error("JoinGroup", answer.error_code) == Step::Rejoin {
            return None;
        }
        self.member_id.clone_from(&answer.member_id);
        self.generation = answer.generation_id;
        Some(answer)
    }

    async fn sync_group(&mut self, joined: &JoinGroupResponse) -> Option<Vec<i32>> {
        let mut assignments = Vec::new();
        if joined.leader == joined.member_id {
            let members: Vec<&str> =
                joined.members.iter().map(|member| member.member_id.as_str()).collect();
            assignments = share_out(&members, self.dealt);
        }
        let ask = SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: joined.generation_id,
            member_id: self.member_id.clone(),
            assignments,
            ..SyncGroupRequest::default()
        };
        let Ok(answer) = self.connection.call(3, &ask, REBALANCE).await else { return None };
        if self.group_error("SyncGroup", answer.error_code) == Step::Rejoin {
            return None;
        }
        Some(read_share(answer.assignment))
    }

    /// Asks where to go on reading.
    async fn find_positions(&mut self, partitions: &[i32]) -> Step {
        if partitions.is_empty() {
            return Step::Done;
        }
        let topic =
            OffsetFetchRequestTopic { name: TOPIC.into(), partition_indexes: partitions.to_vec() };
        let ask = OffsetFetchRequest {
            group_id: GROUP.into(),
            topics: Some(vec![topic]),
            ..OffsetFetchRequest::default()
        };
        let (asked, losses) = (self.job.history.commit_floors(), self.job.history.losses());
        let Ok(answer) = self.connection.call(5, &ask, TIMEOUT).await else { return Step::Rejoin };
        if self.group_error("OffsetFetch", answer.error_code) == Step::Rejoin {
            return Step::Rejoin;
        }
        for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            if partition.error_code != NONE {
                return self.group_error("OffsetFetch", partition.error_code);
            }
            let (index, offset) = (partition.partition_index, partition.committed_offset);
            self.job.history.commit_seen(&self.job.world, &asked, index, offset);
            self.go_to(index, offset.max(0), losses);
            self.committed.insert(index, offset.max(0));
        }
        Step::Done
    }

    /// Looks at the committed offsets of all partitions, as an onlooker does.
    async fn look(&mut self) {
        let partitions = i32::try_from(self.job.history.partitions_known()).unwrap_or(1);
        let topic = OffsetFetchRequestTopic {
            name: TOPIC.into(),
            partition_indexes: (0..partitions).collect(),
        };
        let ask = OffsetFetchRequest {
            group_id: GROUP.into(),
            topics: Some(vec![topic]),
            ..OffsetFetchRequest::default()
        };
        let asked = self.job.history.commit_floors();
        let Ok(answer) = self.connection.call(5, &ask, TIMEOUT).await else { return };
        let parts = answer.topics.iter().flat_map(|topic| &topic.partitions);
        for part in parts.filter(|part| answer.error_code == NONE && part.error_code == NONE) {
            let (index, offset) = (part.partition_index, part.committed_offset);
            self.job.history.commit_seen(&self.job.world, &asked, index, offset);
        }
    }

    /// One fetch, and what is due besides.
    async fn round(&mut self) -> Step {
        // As kafka-clients do when they hear of more partitions.
        if self.dealt < self.job.history.partitions_known() {
            return Step::Rejoin;
        }
        if self.env.now() >= self.heartbeat_due {
            self.heartbeat_due = self.env.now().after(HEARTBEAT_EVERY);
            if self.heartbeat().await == Step::Rejoin {
                return Step::Rejoin;
            }
        }
        // A broker that has just come back must know at once what it was told before.
        let odds = if self.connection.is_open() { 20 } else { 800 };
        if self.dice.chance(odds) {
            self.look().await;
        }
        if self.positions.is_empty() {
            self.pause().await;
            return Step::Done;
        }
        let losses = self.job.history.losses();
        if losses != self.losses {
            // A power loss may have taken commits along: commit again.
            self.losses = losses;
            self.committed.clear();
        }
        let read = self.fetch().await;
        if read > 0 && self.dice.chance(500) || read == 0 && self.uncommitted() {
            return self.commit().await;
        }
        if read == 0 {
            self.pause().await;
        }
        Step::Done
    }

    fn uncommitted(&self) -> bool {
        self.positions.iter().any(|(index, at)| self.committed.get(index) != Some(at))
    }

    async fn heartbeat(&mut self) -> Step {
        let ask = HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            ..HeartbeatRequest::default()
        };
        match self.connection.call(3, &ask, TIMEOUT).await {
            Ok(answer) => self.group_error("Heartbeat", answer.error_code),
            Err(_) => Step::Done,
        }
    }

    /// Reads on from `at`, which was learnt after so many losses.
    fn go_to(&mut self, index: i32, at: i64, losses: u64) {
        self.positions.insert(index, at);
        self.learnt.insert(index, losses);
    }

    async fn fetch(&mut self) -> usize {
        let known = self.job.history.asked();
        let losses = known.losses();
        let mut ask = fetch_request(&self.positions, self.dice.between(64, 20_000));
        ask.topics[0].topic_id = self.job.history.topic_id();
        let topic_id = if self.version >= BY_ID[0] { ask.topics[0].topic_id } else { Uuid::ZERO };
        let asked = self.job.world.asks(BROKER);
        let Some(answer) = self.call(ask, &known).await else { return 0 };
        let mut read = 0;
        let fits = answer.responses.iter().all(|topic| topic.topic_id == topic_id);
        self.job.world.check("errors", fits, || {
            format!("a fetch from the topic {topic_id} was answered with {:?}", answer.responses)
        });
        for data in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            let index = data.partition_index;
            match data.error_code {
                NONE => {},
                OFFSET_OUT_OF_RANGE => {
                    let at = self.positions.get(&index).copied().unwrap_or(0);
                    let learnt = self.learnt.get(&index).copied().unwrap_or(0);
                    self.job.history.out_of_range(&self.job.world, (index, at), learnt, &known);
                    self.go_to(index, 0, losses);
                    continue;
                },
                CORRUPT_MESSAGE => {
                    let at = self.positions.get(&index).copied().unwrap_or(0);
                    let Some(behind) = self.job.history.told_of_damage(&self.job.world, index, at)
                    else {
                        self.unexpected("Fetch", CORRUPT_MESSAGE);
                        return 0;
                    };
                    self.go_to(index, behind, losses);
                    continue;
                },
                KAFKA_STORAGE_ERROR => {
                    let world = &self.job.world;
                    world.check("reads-while-full", world.may_fail_reads(&asked), || {
                        format!(
                            "{index}: a fetch got a storage error, and no read failed meanwhile"
                        )
                    });
                    continue;
                },
                code if is_retriable(code) => continue,
                code => {
                    self.unexpected("Fetch", code);
                    return 0;
                },
            }
            let from = self.positions.get(&index).copied().unwrap_or(0);
            let bytes = data.records.as_bytes().cloned().unwrap_or_default();
            let watermark = data.high_watermark;
            let fetched = Fetched { partition: index, from, watermark, bytes };
            let next = self.job.history.read(&self.job.world, fetched, &known, None);
            read += usize::try_from(next - from).unwrap_or(0);
            self.go_to(index, next, losses);
        }
        read
    }

    /// Sends a fetch of everything, in its session if there is one.
    async fn call(&mut self, mut ask: FetchRequest, known: &Asked) -> Option<FetchResponse> {
        if let Some((session, dice)) = &mut self.session {
            ask = session.ask(ask, dice);
        }
        let answer = self.connection.call(self.version, &ask, TIMEOUT).await;
        let Some((session, _)) = &mut self.session else { return answer.ok() };
        let Ok(answer) = answer else {
            session.lost();
            return None;
        };
        let (world, history) = (&*self.job.world, &self.job.history);
        let heard = session.hear((world, history), answer, known)?;
        for (index, watermark) in heard.left_out {
            history.left_out(world, index, watermark, known);
        }
        Some(heard.answer)
    }

    async fn commit(&mut self) -> Step {
        // Some clients commit what has moved, others everything.
        let moved_only = self.dice.chance(500);
        let moved = |(index, at): &(&i32, &i64)| self.committed.get(index) != Some(*at);
        let wanted = self.positions.iter().filter(|each| !moved_only || moved(each));
        let partitions = wanted.map(|(index, at)| OffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: *at,
            committed_leader_epoch: -1,
            committed_metadata: Some(String::new()),
        });
        let topic = OffsetCommitRequestTopic {
            name: TOPIC.into(),
            partitions: partitions.collect(),
            ..OffsetCommitRequestTopic::default()
        };
        let ask = OffsetCommitRequest {
            group_id: GROUP.into(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.member_id.clone(),
            topics: vec![topic],
            ..OffsetCommitRequest::default()
        };
        let since = self.job.history.group_since(&self.job.world);
        let newest = self.job.history.newest_generation();
        self.job.history.commits_from(self.generation, &self.positions);
        let Ok(answer) = self.connection.call(7, &ask, TIMEOUT).await else { return Step::Done };
        let mut acked = Vec::new();
        let mut step = Step::Done;
        for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            if partition.error_code != NONE {
                step = self.group_error("OffsetCommit", partition.error_code);
                break;
            }
            let index = partition.partition_index;
            let Some(at) = self.positions.get(&index).copied() else { continue };
            acked.push((index, at));
            self.committed.insert(index, at);
        }
        let (history, generations) = (&self.job.history, (self.generation, newest));
        history.committed(&self.job.world, &acked, generations, since);
        step
    }
}

/// A fetch of everything from `positions` on, small enough for many rounds.
pub fn fetch_request(positions: &BTreeMap<i32, i64>, bytes: u64) -> FetchRequest {
    fetch_from(TOPIC, positions, bytes)
}

/// The same from any topic.
pub fn fetch_from(topic: &str, positions: &BTreeMap<i32, i64>, bytes: u64) -> FetchRequest {
    let max_bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
    let partitions = positions.iter().map(|(index, at)| FetchPartition {
        partition: *index,
        current_leader_epoch: -1,
        fetch_offset: *at,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: max_bytes,
        ..FetchPartition::default()
    });
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 100,
        min_bytes: 1,
        max_bytes,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: partitions.collect(),
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

/// Deals the partitions out, round robin.
fn share_out(members: &[&str], partitions: u32) -> Vec<SyncGroupRequestAssignment> {
    let share = |at: usize| {
        let mut bytes = BytesMut::new();
        for partition in 0..partitions {
            if usize::try_from(partition).unwrap_or(0) % members.len() == at {
                bytes.put_u32(partition);
            }
        }
        bytes.freeze()
    };
    let assign = |(at, member): (usize, &&str)| SyncGroupRequestAssignment {
        member_id: (*member).to_owned(),
        assignment: share(at),
    };
    members.iter().enumerate().map(assign).collect()
}

fn read_share(mut bytes: Bytes) -> Vec<i32> {
    let mut partitions = Vec::new();
    while bytes.remaining() >= 4 {
        partitions.push(bytes.get_i32());
    }
    partitions
}
