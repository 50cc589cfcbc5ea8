//! Reading the partitions of one topic, each from its position on.
//!
//! Invariants: a position only grows, past records that were printed or that nobody may see; a
//! partition that has reached its end is asked no more.

use std::collections::BTreeMap;

use base::{Duration, Instant};
use bytes::Bytes;
use protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use protocol::messages::fetch_response::FetchResponse;
use wire::client::WhichOffset;
use wire::error_code::ErrorCode;

use crate::failure::Failure;
use crate::remote::{Broker, Remote, To, TopicOf, accepted};

/// The last version of Fetch that names topics by name.
const FETCH_VERSION: i16 = 12;
/// Bytes asked for, in all and of one partition; a larger batch comes whole.
const BYTES_MAX: i32 = 8 << 20;
const PARTITION_BYTES_MAX: i32 = 1 << 20;

/// Batches of one partition, as they came.
pub struct Read {
    /// Which partition.
    pub partition: i32,
    /// Whole batches; the first may begin before the position.
    pub bytes: Bytes,
}

/// See the module head.
pub struct Reader {
    name: String,
    topic: TopicOf,
    positions: BTreeMap<i32, i64>,
    /// Where to end, if at all.
    ends: Option<BTreeMap<i32, i64>>,
    /// Trouble that may pass is borne until then.
    patience: Option<Instant>,
}

impl Reader {
    /// A reader that starts at `positions`.
    pub fn new(name: &str, topic: TopicOf, positions: BTreeMap<i32, i64>) -> Self {
        Self { name: name.to_owned(), topic, positions, ends: None, patience: None }
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes what is the end of each partition now the end of the reading.
    ///
    /// # Errors
    /// What the brokers refuse.
    pub async fn end_at_the_ends(&mut self, remote: &mut Remote) -> Result<(), Failure> {
        let indexes: Vec<i32> = self.positions.keys().copied().collect();
        let ends = remote.offsets(&self.name, &self.topic, &indexes, WhichOffset::Latest).await?;
        self.ends = Some(ends.into_iter().map(|(index, end)| (index, end.unwrap_or(0))).collect());
        Ok(())
    }

    fn wants(&self, partition: i32, position: i64) -> bool {
        let end = self.ends.as_ref().map(|ends| ends.get(&partition).copied().unwrap_or(0));
        end.is_none_or(|end| position < end)
    }

    /// Whether every partition has reached its end.
    pub fn is_done(&self) -> bool {
        self.ends.is_some() && !self.positions.iter().any(|(index, at)| self.wants(*index, *at))
    }

    /// How many offsets lie before the ends, if it ends.
    pub fn remaining(&self) -> Option<u64> {
        let ends = self.ends.as_ref()?;
        let left = self.positions.iter().map(|(index, at)| {
            let end = ends.get(index).copied().unwrap_or(0);
            u64::try_from(end.saturating_sub(*at)).unwrap_or(0)
        });
        Some(left.sum())
    }

    /// Where each partition is.
    pub fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.positions
    }

    /// Where one partition is.
    pub fn position(&self, partition: i32) -> i64 {
        self.positions.get(&partition).copied().unwrap_or(0)
    }

    /// Where one partition's reading ends, if it does.
    pub fn end(&self, partition: i32) -> Option<i64> {
        self.ends.as_ref().and_then(|ends| ends.get(&partition).copied())
    }

    /// Moves one partition on.
    pub fn advance(&mut self, partition: i32, to: i64) {
        if let Some(position) = self.positions.get_mut(&partition) {
            *position = to.max(*position);
        }
    }

    /// Asks every leader once. Trouble that may pass gives nothing, for as long as `--timeout`.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn round(
        &mut self,
        remote: &mut Remote,
        wait: Duration,
    ) -> Result<Vec<Read>, Failure> {
        match self.ask_all(remote, wait).await {
            Ok(read) => {
                self.patience = None;
                Ok(read)
            },
            Err(failure) if failure.is_passing() => {
                let until = *self.patience.get_or_insert_with(|| remote.deadline());
                if !remote.is_before(until) {
                    return Err(failure);
                }
                remote.tell_lost(&failure);
                remote.pause().await;
                match remote.topic(&self.name).await {
                    Ok(topic) => self.topic = topic,
                    Err(failure) if failure.is_passing() => {},
                    Err(failure) => return Err(failure),
                }
                Ok(Vec::new())
            },
            Err(failure) => Err(failure),
        }
    }

    async fn ask_all(&self, remote: &mut Remote, wait: Duration) -> Result<Vec<Read>, Failure> {
        let mut by_leader: BTreeMap<To, Vec<FetchPartition>> = BTreeMap::new();
        for (index, at) in &self.positions {
            if self.wants(*index, *at) {
                let leader = self.topic.leader(&self.name, *index)?;
                by_leader.entry(leader).or_default().push(FetchPartition {
                    partition: *index,
                    fetch_offset: *at,
                    partition_max_bytes: PARTITION_BYTES_MAX,
                    ..FetchPartition::default()
                });
            }
        }
        let mut read = Vec::new();
        for (leader, partitions) in by_leader {
            let request = self.request(partitions, wait);
            let what = format!("reading {}", self.name);
            let question =
                async |broker: &mut Broker, at| broker.call(FETCH_VERSION, &request, at).await;
            let answer = remote.ask(leader, &what, question).await?;
            self.take(answer, &mut read)?;
        }
        Ok(read)
    }

    fn request(&self, partitions: Vec<FetchPartition>, wait: Duration) -> FetchRequest {
        FetchRequest {
            max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: 1,
            max_bytes: BYTES_MAX,
            topics: vec![FetchTopic {
                topic: self.name.clone(),
                partitions,
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        }
    }

    fn take(&self, answer: FetchResponse, read: &mut Vec<Read>) -> Result<(), Failure> {
        accepted(answer.error_code, None, || format!("reading {}", self.name))?;
        for data in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            let partition = data.partition_index;
            if ErrorCode(data.error_code) == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION {
                return Err(Failure::UnknownTopic(self.name.clone()));
            }
            let what =
                || format!("reading {}-{partition} at {}", self.name, self.position(partition));
            accepted(data.error_code, None, what)?;
            if let Some(bytes) = data.records.as_bytes().filter(|bytes| !bytes.is_empty()) {
                read.push(Read { partition, bytes: bytes.clone() });
            }
        }
        Ok(())
    }
}
