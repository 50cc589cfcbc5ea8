//! The odd client: asks for what does not exist, breaks the rules of the protocol, hangs up.
//!
//! Invariants: it works on a topic and a group of its own, so that the others' promises hold
//! unchanged; an answer that cannot differ is held against Kafka's error code; nothing it sends
//! keeps the broker from serving the others.

mod cluster;
mod data;
mod groups;
mod members;
mod operators;
mod raw;
mod sessions;
mod topics;

use base::{Duration, Uuid};
use env::Env;
pub use raw::refused_frames_hang_up;

use super::Job;
use super::connection::{Connection, Shown};
use super::errors::CORRUPT_MESSAGE;
use crate::fault::BROKER;
use crate::world::{Dice, SimEnv};

const TIMEOUT: Duration = Duration::from_millis(2_000);
/// Its topic.
const OWN: &str = "odd";
/// A topic that never exists.
const NOBODY: &str = "nobody";
/// No topic has this id.
const NO_ID: Uuid = Uuid([7; 16]);

const KAFKA_STORAGE_ERROR: i16 = 56;

/// How many things it does, besides its group's life.
const STEPS: usize = raw::STEPS + data::STEPS + cluster::STEPS + members::STEPS + topics::STEPS + 1;

struct Odd {
    job: Job,
    env: SimEnv,
    dice: Dice,
    connection: Connection,
}

/// Goes through everything odd once, in an order of its own.
pub async fn odd(job: Job, env: SimEnv) {
    job.topic().await;
    let incarnation = env.process().incarnation;
    let dice = job.world.dice(&format!("odd client {incarnation}"));
    let connection = Connection::new(env.clone(), BROKER, "odd".into());
    let mut odd = Odd { job, env, dice, connection };
    odd.make_topic().await;
    let mut steps: Vec<usize> = (0..STEPS).collect();
    while !steps.is_empty() {
        let at = odd.dice.index(steps.len());
        odd.step(steps.swap_remove(at)).await;
        let millis = odd.dice.between(1, 60);
        odd.env.sleep(Duration::from_millis(millis)).await;
    }
    odd.sessions().await;
    odd.operators().await;
}

impl Odd {
    async fn step(&mut self, number: usize) {
        const DATA: usize = raw::STEPS;
        const CLUSTER: usize = DATA + data::STEPS;
        const MEMBERS: usize = CLUSTER + cluster::STEPS;
        const TOPICS: usize = MEMBERS + members::STEPS;
        const GROUPS: usize = TOPICS + topics::STEPS;
        match number {
            GROUPS.. => self.group_life().await,
            TOPICS.. => self.topics(number - TOPICS).await,
            MEMBERS.. => self.members(number - MEMBERS).await,
            CLUSTER.. => self.cluster(number - CLUSTER).await,
            DATA.. => self.data(number - DATA).await,
            _ => self.raw(number).await,
        }
    }

    /// Asks once. An answer's code must be in `allowed`, unless that is empty or the code is one with
    /// which this request may ask for patience; no answer is fine, for faults go on.
    async fn ask<R: Shown>(
        &mut self,
        version: i16,
        body: &R,
        code: impl FnOnce(&R::Response) -> Option<i16>,
        allowed: &[i16],
    ) -> Option<R::Response> {
        let asked = self.job.world.asks(BROKER);
        let answer = self.connection.call(version, body, TIMEOUT).await.ok()?;
        let code = code(&answer);
        // Whose disk could not be read just now, or had no room, may say so of anything.
        let may_fail = self.job.world.may_fail(&asked);
        let reads = matches!(R::NAME, "ListOffsetsRequest" | "FetchRequest");
        let may_be_damaged = reads && self.job.history.told_segment_is_gone(&self.job.world);
        let fits = code.is_some_and(|code| {
            allowed.contains(&code)
                || patience(R::NAME).contains(&code)
                || (may_fail && code == KAFKA_STORAGE_ERROR)
                || (may_be_damaged && code == CORRUPT_MESSAGE)
        });
        self.job.world.check("errors", allowed.is_empty() || fits, || {
            format!("odd {} v{version}: {code:?}, allowed {allowed:?}", R::NAME)
        });
        Some(answer)
    }
}

/// Error codes with which a broker that has just started, or is about to stop, may ask for patience.
fn patience(request: &str) -> &'static [i16] {
    const REQUEST_TIMED_OUT: i16 = 7;
    const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
    const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    const NOT_COORDINATOR: i16 = 16;
    /// While a disk stands still, a partition takes only so much.
    const NOT_ENOUGH_REPLICAS: i16 = 19;
    match request.strip_suffix("Request").unwrap_or(request) {
        "FindCoordinator" | "JoinGroup" | "SyncGroup" | "Heartbeat" | "LeaveGroup"
        | "OffsetCommit" | "OffsetFetch" | "DescribeGroups" | "ListGroups" => {
            &[COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR]
        },
        "Produce" => &[REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS],
        _ => &[],
    }
}
