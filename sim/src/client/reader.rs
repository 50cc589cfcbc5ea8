//! The last reader: everything, from the first record on, once; and how far the group is.

use std::collections::BTreeMap;

use base::Duration;
use env::Env;
use protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopic};

use super::connection::Connection;
use super::consumer::fetch_request;
use super::errors::{CORRUPT_MESSAGE, KAFKA_STORAGE_ERROR, NONE};
use super::{GROUP, Job, TOPIC};
use crate::check::{Fetched, Handed};
use crate::fault::BROKER;
use crate::world::SimEnv;

/// Answers that may bring nothing new, one after the other.
const IN_VAIN_MAX: u32 = 200;

/// Reads every partition until a fetch brings nothing more.
pub async fn read_all(job: Job, env: SimEnv) {
    let mut connection = Connection::new(env.clone(), BROKER, "reader".into());
    let partitions = i32::try_from(job.history.partitions_known()).unwrap_or(1);
    let mut positions: BTreeMap<i32, i64> = (0..partitions).map(|index| (index, 0)).collect();
    let mut handed: BTreeMap<i32, Handed> = BTreeMap::new();
    let begun = job.history.asked();
    let mut in_vain = 0;
    while !positions.is_empty() {
        let before = positions.clone();
        let asked = job.history.asked();
        let ask = fetch_request(&positions, 1 << 20);
        let (timeout, since) = (Duration::from_millis(5_000), job.world.asks(BROKER));
        let Ok(answer) = connection.call(12, &ask, timeout).await else {
            env.sleep(Duration::from_millis(50)).await;
            continue;
        };
        for data in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            let index = data.partition_index;
            let Some(from) = positions.get(&index).copied() else { continue };
            let mine = handed.entry(index).or_default();
            if data.error_code == CORRUPT_MESSAGE
                && let Some(behind) = job.history.told_of_damage(&job.world, index, from)
            {
                mine.told(from, behind);
                positions.insert(index, behind);
                continue;
            }
            // A directory that fails now is back once its operator has started the broker again.
            if data.error_code == KAFKA_STORAGE_ERROR && job.world.may_fail_reads(&since) {
                env.sleep(Duration::from_millis(50)).await;
                continue;
            }
            job.world.check("errors", data.error_code == NONE, || {
                format!("the last read of {index} from {from} failed with {}", data.error_code)
            });
            let bytes = data.records.as_bytes().cloned().unwrap_or_default();
            let watermark = data.high_watermark;
            let fetched = Fetched { partition: index, from, watermark, bytes };
            let next = job.history.read(&job.world, fetched, &asked, Some(mine));
            if next >= watermark || data.error_code != NONE {
                positions.remove(&index);
            } else {
                positions.insert(index, next);
            }
        }
        in_vain = if positions == before { in_vain + 1 } else { 0 };
        if in_vain > IN_VAIN_MAX {
            positions
                .iter()
                .for_each(|(index, at)| job.history.got_nothing(&job.world, *index, *at));
            return;
        }
    }
    job.history.read_to_end(&job.world, &handed, &begun);
}

/// Asks how far the group has committed, until that is answered.
pub async fn read_commits(job: Job, env: SimEnv) {
    let mut connection = Connection::new(env.clone(), BROKER, "reader".into());
    let partitions = i32::try_from(job.history.partitions_known()).unwrap_or(1);
    let indexes = (0..partitions).collect();
    let topic = OffsetFetchRequestTopic { name: TOPIC.into(), partition_indexes: indexes };
    let ask = OffsetFetchRequest {
        group_id: GROUP.into(),
        topics: Some(vec![topic]),
        ..OffsetFetchRequest::default()
    };
    loop {
        let asked = job.history.commit_floors();
        if let Ok(answer) = connection.call(5, &ask, Duration::from_millis(5_000)).await {
            let parts: Vec<_> = answer.topics.iter().flat_map(|topic| &topic.partitions).collect();
            if answer.error_code == NONE && parts.iter().all(|part| part.error_code == NONE) {
                for part in parts {
                    let (index, offset) = (part.partition_index, part.committed_offset);
                    job.history.commit_seen(&job.world, &asked, index, offset);
                }
                return;
            }
        }
        env.sleep(Duration::from_millis(50)).await;
    }
}
