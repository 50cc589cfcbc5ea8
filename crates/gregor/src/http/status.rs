//! What the status page asks for: one reading as JSON, and the configuration as clients see it.
//!
//! Invariants: the figures are those of the metrics, from one reading; how many partitions and
//! groups are listed is bounded as there, and what is left out is counted; the configuration is
//! asked of the broker's front door, so that the page shows what a client would be told.

use std::collections::BTreeMap;

use base::Duration;
use base::measure::BOUNDS_MICROS;
use env::Env;
use protocol::messages::DescribeConfigsRequest;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use serde::Serialize;
use wire::client::{Client, ClientError};

use crate::daemon::{Daemon, state_name};
use crate::metrics::reading::{Group, Reading, ServedReading};

/// A reading, for the page.
#[derive(Debug, Serialize)]
pub struct Status {
    version: &'static str,
    node: String,
    cluster: String,
    phase: &'static str,
    ready: bool,
    reasons: Vec<String>,
    now_ms: i64,
    /// Upper bounds of the buckets of times, in seconds; the last bucket has none.
    bounds: Vec<f64>,
    process: ProcessStatus,
    connections: usize,
    partitions: usize,
    offline: usize,
    requests: Vec<ApiStatus>,
    directories: Vec<DirectoryStatus>,
    topics: Vec<TopicStatus>,
    groups: Vec<GroupStatus>,
    partitions_left_out: usize,
    groups_left_out: u64,
}

#[derive(Debug, Serialize)]
struct ProcessStatus {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    start_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct ApiStatus {
    api: String,
    count: u64,
    request_bytes: u64,
    response_bytes: u64,
    errors: u64,
    error_codes: Vec<(String, u64)>,
    buckets: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct DirectoryStatus {
    path: String,
    state: &'static str,
    reason: Option<String>,
    partitions: usize,
    total_bytes: Option<u64>,
    free_bytes: Option<u64>,
    journal_flushes: u64,
}

#[derive(Debug, Serialize)]
struct TopicStatus {
    name: String,
    partitions: Vec<PartitionStatus>,
}

#[derive(Debug, Serialize)]
struct PartitionStatus {
    index: i32,
    start: i64,
    high_watermark: i64,
    size_bytes: u64,
    segments: usize,
    appended_bytes: u64,
    fetched_bytes: u64,
}

#[derive(Debug, Serialize)]
struct GroupStatus {
    name: String,
    state: &'static str,
    members: u64,
    topics: Vec<ConsumedStatus>,
}

#[derive(Debug, Serialize)]
struct ConsumedStatus {
    name: String,
    committed: u64,
    lag: u64,
}

impl Status {
    /// The page's view of a reading taken at `now_ms`.
    pub fn of(reading: &Reading, now_ms: i64) -> Self {
        let process = reading.process;
        let served = reading.served.as_ref();
        let all = served.map_or(0, |served| served.broker.led.len());
        Self {
            version: env!("CARGO_PKG_VERSION"),
            node: served.map(|served| served.node.clone()).unwrap_or_default(),
            cluster: served.map(|served| served.cluster.clone()).unwrap_or_default(),
            phase: reading.phase().name(),
            ready: reading.readiness.ready,
            reasons: reading.readiness.reasons.clone(),
            now_ms,
            bounds: BOUNDS_MICROS
                .map(|micros| Duration::from_micros(micros).as_secs_f64())
                .to_vec(),
            process: ProcessStatus {
                cpu_seconds: process.cpu_seconds,
                resident_bytes: process.resident_bytes,
                start_seconds: process.start_seconds,
            },
            connections: served.map_or(0, |served| served.server.connections),
            partitions: served.map_or(0, |served| served.broker.partitions),
            offline: served.map_or(0, |served| served.broker.offline),
            requests: served.map(requests).unwrap_or_default(),
            directories: served.map(directories).unwrap_or_default(),
            topics: topics(reading),
            groups: served.map(groups).unwrap_or_default(),
            partitions_left_out: all.saturating_sub(reading.limits.partitions),
            groups_left_out: served
                .and_then(|served| served.groups.as_ref())
                .map_or(0, |groups| groups.left_out),
        }
    }
}

fn requests(served: &ServedReading) -> Vec<ApiStatus> {
    let apis = served.server.apis.iter();
    apis.map(|api| ApiStatus {
        api: format!("{:?}", api.key),
        count: api.requests,
        request_bytes: api.request_bytes,
        response_bytes: api.response_bytes,
        errors: api.errors.iter().map(|(_, count)| count).sum(),
        error_codes: api.errors.iter().map(|(code, count)| (code.to_string(), *count)).collect(),
        buckets: api.times.buckets.to_vec(),
    })
    .collect()
}

fn directories(served: &ServedReading) -> Vec<DirectoryStatus> {
    let dirs = served.broker.directories.iter();
    dirs.map(|dir| {
        let path = dir.view.path.display().to_string();
        let space = served.spaces.get(&path);
        DirectoryStatus {
            state: state_name(&dir.view.state),
            reason: crate::daemon::Directory::from(dir.view.clone()).reason,
            partitions: dir.view.partitions,
            total_bytes: space.map(|space| space.total_bytes),
            free_bytes: space.map(|space| space.usable_bytes),
            journal_flushes: dir.journal_groups,
            path,
        }
    })
    .collect()
}

/// Topics in order of name, with the partitions that are measured one by one.
fn topics(reading: &Reading) -> Vec<TopicStatus> {
    let mut topics = BTreeMap::<&str, Vec<PartitionStatus>>::new();
    let led = reading.served.iter().flat_map(|served| &served.broker.led);
    for ((topic, index), partition) in led.take(reading.limits.partitions) {
        topics.entry(topic).or_default().push(PartitionStatus {
            index: index.0,
            start: partition.start.0,
            high_watermark: partition.high_watermark.0,
            size_bytes: partition.size_bytes,
            segments: partition.segments,
            appended_bytes: partition.appended_bytes,
            fetched_bytes: partition.fetched_bytes,
        });
    }
    let topic = |(name, partitions): (&str, _)| TopicStatus { name: name.to_owned(), partitions };
    topics.into_iter().map(topic).collect()
}

fn groups(served: &ServedReading) -> Vec<GroupStatus> {
    let each = served.groups.iter().flat_map(|groups| &groups.each);
    each.map(|(name, group): (&String, &Group)| GroupStatus {
        name: name.clone(),
        state: group.state,
        members: group.members,
        topics: group
            .topics
            .iter()
            .map(|(name, consumed)| ConsumedStatus {
                name: name.clone(),
                committed: consumed.committed,
                lag: consumed.lag,
            })
            .collect(),
    })
    .collect()
}

/// A key of the broker's configuration.
#[derive(Debug, Serialize)]
pub struct ConfigStatus {
    name: String,
    value: Option<String>,
    source: &'static str,
    doc: Option<String>,
}

/// The broker's configuration, asked at its own front door within `time`.
///
/// # Errors
/// [`ClientError`] if the front door does not answer.
pub async fn config(daemon: &Daemon, time: Duration) -> Result<Vec<ConfigStatus>, ClientError> {
    const BROKER: i8 = 4;
    const VERSION: i16 = 4;
    let Some(served) = daemon.served() else { return Err(ClientError::Closed) };
    let Some(at) = served.at else { return Err(ClientError::Closed) };
    let node = served.broker.config().node_id.to_string();
    let deadline = daemon.env().now().after(time);
    let mut client = Client::connect(daemon.env(), at, "gregor-page", deadline).await?;
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: BROKER,
            resource_name: node,
            configuration_keys: None,
        }],
        include_documentation: true,
        ..DescribeConfigsRequest::default()
    };
    let answer = client.call(VERSION, &request, deadline).await?;
    let keys = answer.results.into_iter().flat_map(|result| result.configs);
    let shown = keys.map(|key| ConfigStatus {
        name: key.name,
        value: key.value,
        source: source(key.config_source),
        doc: key.documentation,
    });
    Ok(shown.collect())
}

/// Kafka's names of where a value is from.
fn source(number: i8) -> &'static str {
    match number {
        2 => "dynamic, this broker",
        3 => "dynamic, every broker",
        4 => "file or command line",
        5 => "default",
        _ => "other",
    }
}
