//! Who gives the topic more partitions while everybody works on it.
//!
//! Invariants: the history knows of a partition once it was answered for, and only then does anybody
//! use it; a partition that was answered for can be used at once, unless a disk is in trouble; a
//! request is sent again until it is answered.

use base::Duration;
use env::Env;
use protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};

use super::connection::{CallError, Connection};
use super::errors::{INVALID_PARTITIONS, NONE, is_retriable};
use super::{Job, TOPIC};
use crate::durability::Promise;
use crate::fault::BROKER;
use crate::world::SimEnv;

const TIMEOUT: Duration = Duration::from_millis(2_000);

/// Adds partitions until there are as many as the work says.
pub async fn grow(job: Job, env: SimEnv) {
    let incarnation = env.process().incarnation;
    let mut dice = job.world.dice(&format!("growth {incarnation}"));
    let mut connection = Connection::new(env.clone(), BROKER, "grower".into());
    // Whether a request that was never answered may have been carried out.
    let mut is_loose = incarnation > 1;
    loop {
        let known = job.history.partitions_known();
        let left = u64::from(job.work.partitions.saturating_sub(known));
        if left == 0 {
            return;
        }
        let wait = dice.between(20, 1_500);
        env.sleep(Duration::from_millis(wait)).await;
        let count = known + u32::try_from(dice.between(1, left)).unwrap_or(1);
        let by_hand = dice.chance(300);
        let asked = job.world.asks(BROKER);
        loop {
            let was_loose = is_loose;
            // How many are new is only certain if nothing else is under way.
            let assigned = (by_hand && !was_loose).then(|| count - known);
            let ask = to_partitions(count, assigned);
            let answer = connection.call(3, &ask, TIMEOUT).await;
            is_loose |= matches!(answer, Err(CallError::Unknown));
            let code = answer.ok().and_then(|answer| answer.results.first().map(|r| r.error_code));
            match code {
                Some(NONE) => break,
                Some(INVALID_PARTITIONS) if was_loose => break,
                Some(code) if !is_retriable(code) => {
                    job.world.check("errors", false, || {
                        format!("CreatePartitions was answered with {code}")
                    });
                    return;
                },
                _ => {
                    let wait = dice.between(10, 200);
                    env.sleep(Duration::from_millis(wait)).await;
                },
            }
        }
        job.history.partitions_added(count);
        job.world.given(Promise::Metadata);
        let Ok(answer) = connection.call(5, &ends(known, count), TIMEOUT).await else { continue };
        for part in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            let fits = part.error_code == NONE || job.world.may_fail(&asked);
            job.world.check("topics", fits, || {
                let (index, code) = (part.partition_index, part.error_code);
                format!("partition {index} was answered for, and ListOffsets of it with {code}")
            });
        }
    }
}

/// A wish for `count` partitions; of `assigned` new ones it says where they are to be.
fn to_partitions(count: u32, assigned: Option<u32>) -> CreatePartitionsRequest {
    let here = || CreatePartitionsAssignment { broker_ids: vec![1] };
    let topic = CreatePartitionsTopic {
        name: TOPIC.into(),
        count: i32::try_from(count).unwrap_or(i32::MAX),
        assignments: assigned.map(|new| (0..new).map(|_| here()).collect()),
    };
    CreatePartitionsRequest { topics: vec![topic], timeout_ms: 1_000, validate_only: false }
}

/// Where partitions from `known` on end.
fn ends(known: u32, count: u32) -> ListOffsetsRequest {
    let partition = |index| ListOffsetsPartition {
        partition_index: i32::try_from(index).unwrap_or(i32::MAX),
        timestamp: -1,
        ..ListOffsetsPartition::default()
    };
    let partitions = (known..count).map(partition).collect();
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic { name: TOPIC.into(), partitions }],
        ..ListOffsetsRequest::default()
    }
}
