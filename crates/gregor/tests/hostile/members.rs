//! Members of a consumer group who count every sign that they were forgotten.
//!
//! Owns: a group of [`MEMBERS`], each a thread with two connections as Kafka's consumers have them,
//! one to the coordinator and one for records. Invariants: they join once; an answer of the
//! coordinator that is an error, or that is later than the session, ends the test.

use std::cell::RefCell;
use std::collections::BTreeMap;

use base::Duration;
use env::Env;
use env_tokio::{Settings, TokioEnv};
use records::BatchHeader;
use wire::client::{Client, CommittedOffset, Member, Read, WhichOffset};
use wire::error_code::ErrorCode;

use super::saturation::Gate;
use super::{Broker, TOPIC};

pub const MEMBERS: usize = 3;
/// The shortest that Kafka and we allow (`group.min.session.timeout.ms`); clients ask for 45 s.
pub const SESSION: Duration = Duration::from_secs(6);
/// A third of it, as Kafka's clients have it.
const BEAT_EVERY: Duration = Duration::from_secs(2);
const REBALANCE: Duration = Duration::from_secs(30);
const PROTOCOL: &str = "range";
pub const GROUP: &str = "saturated";

/// What a member saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub generation: i32,
    pub heartbeats: u32,
    /// The longest that a heartbeat or a commit took.
    pub slowest: Duration,
    pub bytes: u64,
    pub records: i64,
    /// How often retention was faster than this member.
    pub resets: u32,
}

/// A member before, while and after it consumes.
struct Consumer<'a> {
    env: TokioEnv,
    broker: &'a Broker,
    gate: &'a Gate,
    member: Member,
    /// Next offset by partition.
    offsets: RefCell<BTreeMap<i32, i64>>,
}

/// Joins, says that it has, consumes until the gate closes, and leaves.
pub fn consume(broker: &Broker, gate: &Gate) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let env = TokioEnv::new(runtime.handle().clone(), Settings::default()).unwrap();
    let member = Member::outside(GROUP);
    let mut consumer = Consumer { env, broker, gate, member, offsets: RefCell::default() };
    runtime.block_on(async {
        let mut coordinator = consumer.connect().await;
        let mut leader = consumer.connect().await;
        consumer.find(&mut coordinator).await;
        consumer.join(&mut coordinator).await;
        gate.joined();
        let (beaten, mut seen) =
            tokio::join!(consumer.beat(&mut coordinator), consumer.read(&mut leader));
        (seen.heartbeats, seen.slowest) = beaten;
        seen.generation = consumer.member.generation;
        coordinator.leave_group(&consumer.member, consumer.deadline()).await.expect("a leave");
        seen
    })
}

impl Consumer<'_> {
    async fn connect(&self) -> Client<TokioEnv> {
        Client::connect(&self.env, self.broker.at, "member", self.deadline()).await.unwrap()
    }

    /// Whatever takes longer than a session is as bad as an error.
    fn deadline(&self) -> base::Instant {
        self.env.now().after(SESSION)
    }

    /// The first question for a coordinator makes the topic of offsets; until that is there, there is
    /// none.
    async fn find(&self, broker: &mut Client<TokioEnv>) {
        let late = self.deadline();
        while let Err(error) = broker.find_coordinator(GROUP, late).await {
            assert_eq!(error.code(), Some(ErrorCode::COORDINATOR_NOT_AVAILABLE));
            self.env.sleep(Duration::from_millis(20)).await;
        }
    }

    /// Joins together with the others; the leader gives every member its share.
    async fn join(&mut self, coordinator: &mut Client<TokioEnv>) {
        let partitions = self.gate.partitions;
        let late = self.env.now().after(REBALANCE);
        let offered = [(PROTOCOL, bytes::Bytes::new())];
        let times = (SESSION, REBALANCE);
        let joined = coordinator.join_group(&mut self.member, times, &offered, late).await;
        let joined = joined.expect("a join");
        let shares = joined.members.iter().enumerate().map(|(index, member)| {
            let share = (0..partitions).filter(|partition| partition % MEMBERS == index);
            let share: Vec<u8> = share.map(|partition| partition.try_into().unwrap()).collect();
            (member.member_id.clone(), share.into())
        });
        let synced = coordinator.sync_group(&self.member, PROTOCOL, shares.collect(), late).await;
        let share = synced.expect("a share");
        assert_eq!(share.len(), partitions / MEMBERS, "all joined at the same time");
        self.offsets = RefCell::new(share.iter().map(|index| (i32::from(*index), 0)).collect());
    }

    /// Heartbeats and commits; how many heartbeats, and the longest that an answer took.
    async fn beat(&self, coordinator: &mut Client<TokioEnv>) -> (u32, Duration) {
        let (mut count, mut slowest) = (0, Duration::ZERO);
        while self.gate.is_open() {
            let begun = std::time::Instant::now();
            let answer = coordinator.heartbeat(&self.member, self.deadline()).await;
            answer.unwrap_or_else(|error| self.expelled("heartbeat", &error));
            slowest = slowest.max(begun.elapsed());
            let begun = std::time::Instant::now();
            let answer = coordinator
                .commit_offsets(&self.member, &self.read_so_far(), self.deadline())
                .await;
            answer.unwrap_or_else(|error| self.expelled("commit", &error));
            slowest = slowest.max(begun.elapsed());
            count += 1;
            self.env.sleep(BEAT_EVERY).await;
        }
        (count, slowest)
    }

    fn expelled(&self, by: &str, error: &wire::client::ClientError) {
        unreachable!("{by} of {:?}: {error}", self.member);
    }

    fn read_so_far(&self) -> Vec<CommittedOffset> {
        let offsets = self.offsets.borrow();
        let each = offsets.iter().map(|(partition, offset)| CommittedOffset {
            topic: TOPIC.to_owned(),
            partition: *partition,
            offset: *offset,
            metadata: String::new(),
        });
        each.collect()
    }

    /// Reads the partitions of the share in turns.
    async fn read(&self, leader: &mut Client<TokioEnv>) -> Seen {
        let mut seen = Seen::default();
        let share: Vec<i32> = self.offsets.borrow().keys().copied().collect();
        for partition in share.into_iter().cycle().take_while(|_| self.gate.is_open()) {
            let offset = self.offsets.borrow()[&partition];
            let read = Read::from(offset, Duration::from_millis(100));
            let next = match leader.fetch((TOPIC, partition), read, self.deadline()).await {
                Ok(batches) => {
                    seen.bytes += u64::try_from(batches.bytes.len()).unwrap();
                    behind(&batches.bytes).unwrap_or(offset)
                },
                // Retention was faster, as for any slow reader; `auto.offset.reset=latest`.
                Err(error) if error.code() == Some(ErrorCode::OFFSET_OUT_OF_RANGE) => {
                    seen.resets += 1;
                    let which = WhichOffset::Latest;
                    let end = leader.list_offset((TOPIC, partition), which, self.deadline()).await;
                    let end = end.expect("the end").expect("an offset");
                    seen.records -= end - offset;
                    end
                },
                Err(error) => unreachable!("fetch of partition {partition} at {offset}: {error}"),
            };
            assert!(next >= offset, "partition {partition}: {offset}, then {next}");
            seen.records += next - offset;
            self.offsets.borrow_mut().insert(partition, next);
        }
        seen
    }
}

/// The offset behind the last batch; `None` if there is no batch.
fn behind(mut batches: &[u8]) -> Option<i64> {
    let mut next = None;
    while !batches.is_empty() {
        let header = BatchHeader::parse(batches).expect("whole batches");
        next = Some(header.next_offset().0);
        batches = &batches[header.len_bytes()..];
    }
    next
}
