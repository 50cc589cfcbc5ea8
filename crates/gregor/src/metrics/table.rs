//! Every metric: its name, labels and meaning, the Kafka MBean that it takes the place of, and what
//! writes it.
//!
//! Invariants: names begin with `gregor_` and say the unit; a counter ends in `_total`; the MBeans
//! are those of Kafka 4.4 (its page on monitoring, and the names in its classes); labels are bounded by what an operator configures:
//! partitions and groups by `gregor.metrics.max.*`, APIs and error codes by Kafka's tables.

use std::fmt;

use super::Samples;
use super::reading::{Groups, Reading, ServedReading};
use crate::daemon::{Phase, state_name};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How long things took, in seconds.
    Histogram,
}

impl Kind {
    /// Prometheus's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

type Written = fmt::Result;

/// One metric.
pub struct Metric {
    /// As Prometheus shows it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// The MBean that it takes the place of; empty if Kafka has none.
    pub kafka: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Writes its samples.
    pub write: fn(&Reading, &mut Samples<'_>) -> Written,
}

macro_rules! metrics {
    ($($kind:ident $name:literal [$($label:literal)*] $kafka:literal $help:literal $write:expr;)*) => {
        /// All of them, by name.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            kafka: $kafka,
            help: $help,
            write: $write,
        }),*];
    };
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn offset(offset: base::Offset) -> u64 {
    u64::try_from(offset.0).unwrap_or(0)
}

/// A number of the served broker, if it is there.
fn one(r: &Reading, s: &mut Samples<'_>, number: impl Fn(&ServedReading) -> u64) -> Written {
    r.served().try_for_each(|served| s.whole(&[], number(served)))
}

/// A number of the process, if the system says it.
fn own(s: &mut Samples<'_>, number: Option<u64>) -> Written {
    number.map_or(Ok(()), |number| s.whole(&[], number))
}

fn own_real(s: &mut Samples<'_>, number: Option<f64>) -> Written {
    number.map_or(Ok(()), |number| s.real(&[], number))
}

/// A number of each partition that is measured.
fn partitions(
    r: &Reading,
    s: &mut Samples<'_>,
    number: impl Fn(&broker::measure::PartitionMeasures) -> u64,
) -> Written {
    let mut all = r.partitions();
    all.try_for_each(|(topic, index, part)| s.whole(&[topic, &index], number(part)))
}

/// The sum over the partitions of each topic of those that are measured.
fn topics(
    r: &Reading,
    s: &mut Samples<'_>,
    number: impl Fn(&broker::measure::PartitionMeasures) -> u64,
) -> Written {
    let mut sums = std::collections::BTreeMap::<&str, u64>::new();
    for (topic, _, part) in r.partitions() {
        let sum = sums.entry(topic).or_default();
        *sum = sum.saturating_add(number(part));
    }
    sums.into_iter().try_for_each(|(topic, sum)| s.whole(&[topic], sum))
}

/// The sum over all partitions.
fn sum(
    r: &Reading,
    s: &mut Samples<'_>,
    number: impl Fn(&broker::measure::PartitionMeasures) -> u64,
) -> Written {
    one(r, s, |served| served.broker.led.values().map(&number).fold(0, u64::saturating_add))
}

/// A number of each log directory.
fn directories(
    r: &Reading,
    s: &mut Samples<'_>,
    number: impl Fn(&broker::measure::DirectoryMeasures) -> u64,
) -> Written {
    let mut all = r.served().flat_map(|served| &served.broker.directories);
    all.try_for_each(|dir| s.whole(&[&dir.view.path.display().to_string()], number(dir)))
}

fn directory_states(r: &Reading, s: &mut Samples<'_>) -> Written {
    for dir in r.served().flat_map(|served| &served.broker.directories) {
        let (path, now) = (dir.view.path.display().to_string(), state_name(&dir.view.state));
        for state in ["online", "full", "failed"] {
            s.whole(&[&path, state], u64::from(state == now))?;
        }
    }
    Ok(())
}

fn spaces(r: &Reading, s: &mut Samples<'_>, number: impl Fn(&env::Space) -> u64) -> Written {
    let mut all = r.served().flat_map(|served| &served.spaces);
    all.try_for_each(|(path, space)| s.whole(&[path], number(space)))
}

/// A number of each API that was asked.
fn apis(
    r: &Reading,
    s: &mut Samples<'_>,
    number: impl Fn(&wire::server::ApiMeasures) -> u64,
) -> Written {
    let mut all = r.served().flat_map(|served| &served.server.apis);
    all.try_for_each(|api| s.whole(&[&format!("{:?}", api.key)], number(api)))
}

fn api_errors(r: &Reading, s: &mut Samples<'_>) -> Written {
    for api in r.served().flat_map(|served| &served.server.apis) {
        for (error, count) in &api.errors {
            s.whole(&[&format!("{:?}", api.key), error.name()], *count)?;
        }
    }
    Ok(())
}

fn api_times(r: &Reading, s: &mut Samples<'_>) -> Written {
    let mut all = r.served().flat_map(|served| &served.server.apis);
    all.try_for_each(|api| s.times(&[&format!("{:?}", api.key)], &api.times))
}

fn groups(r: &Reading) -> impl Iterator<Item = &Groups> {
    r.served().filter_map(|served| served.groups.as_ref())
}

fn consumed(
    r: &Reading,
    s: &mut Samples<'_>,
    number: impl Fn(&super::reading::Consumed) -> u64,
) -> Written {
    for (name, group) in groups(r).flat_map(|groups| &groups.each) {
        for (topic, consumed) in &group.topics {
            s.whole(&[name, topic], number(consumed))?;
        }
    }
    Ok(())
}

fn info(r: &Reading, s: &mut Samples<'_>) -> Written {
    let version = env!("CARGO_PKG_VERSION");
    r.served().try_for_each(|served| s.whole(&[version, &served.node, &served.cluster], 1))
}

metrics! {
    Gauge "gregor_connections" [] "kafka.server:type=socket-server-metrics,listener=*,networkProcessor=*, connection-count"
        "Connections of clients that are open."
        |r, s| one(r, s, |served| count(served.server.connections));
    Counter "gregor_connections_accepted_total" [] "kafka.server:type=socket-server-metrics,listener=*,networkProcessor=*, connection-creation-total"
        "Connections of clients that were accepted."
        |r, s| one(r, s, |served| served.server.accepted);
    Counter "gregor_connections_refused_total" [] ""
        "Connections closed at once: max.connections or max.connections.per.ip was reached."
        |r, s| one(r, s, |served| served.server.refused);
    Counter "gregor_fetched_bytes_total" ["topic"] "kafka.server:type=BrokerTopicMetrics,name=BytesOutPerSec,topic=*"
        "Bytes of record batches returned to consumers, by topic."
        |r, s| topics(r, s, |part| part.fetched_bytes);
    Histogram "gregor_fsync_duration_seconds" [] "kafka.log:type=LogFlushStats,name=LogFlushRateAndTimeMs"
        "How long the disk took for each sync of a file or directory; the count is their number."
        |r, s| s.times(&[], &r.syncs);
    Gauge "gregor_group_committed_records" ["group" "topic"] ""
        "Sum of the offsets that a group has committed in a topic."
        |r, s| consumed(r, s, |consumed| consumed.committed);
    Gauge "gregor_group_lag_records" ["group" "topic"] "kafka.consumer:type=consumer-fetch-manager-metrics,client-id=*, records-lag-max (of the client)"
        "Records between what a group has committed and the ends of the topic's partitions."
        |r, s| consumed(r, s, |consumed| consumed.lag);
    Gauge "gregor_group_members" ["group"] ""
        "Members of a group."
        |r, s| groups(r).flat_map(|groups| &groups.each).try_for_each(|(name, group)| s.whole(&[name], group.members));
    Gauge "gregor_groups" ["state"] "kafka.server:type=group-coordinator-metrics,name=group-count,protocol=*"
        "Consumer groups by state."
        |r, s| groups(r).flat_map(|groups| &groups.states).try_for_each(|(state, count)| s.whole(&[state], *count));
    Gauge "gregor_groups_answered" [] ""
        "1 if the coordinators told of their groups in time for this scrape; 0 while they load, or if they cannot be read."
        |r, s| one(r, s, |served| u64::from(served.groups.is_some()));
    Gauge "gregor_groups_left_out" [] ""
        "Groups that have no metrics of their own, for there are more than gregor.metrics.max.groups."
        |r, s| groups(r).try_for_each(|groups| s.whole(&[], groups.left_out));
    Gauge "gregor_info" ["version" "node" "cluster"] "kafka.server:type=app-info"
        "1; version, node and cluster are its labels."
        info;
    Counter "gregor_journal_groups_total" ["directory"] ""
        "Groups written to the journal of a log directory, one sync each."
        |r, s| directories(r, s, |dir| dir.journal_groups);
    Gauge "gregor_log_directories_failed" [] "kafka.log:type=LogManager,name=OfflineLogDirectoryCount"
        "Log directories from which nothing is served."
        |r, s| one(r, s, |served| count(served.broker.directories.iter().filter(|dir| state_name(&dir.view.state) == "failed").count()));
    Gauge "gregor_log_directory_free_bytes" ["directory"] ""
        "Bytes free on the file system of a log directory."
        |r, s| spaces(r, s, |space| space.usable_bytes);
    Gauge "gregor_log_directory_partitions" ["directory"] ""
        "Partitions that live in a log directory."
        |r, s| directories(r, s, |dir| count(dir.view.partitions));
    Gauge "gregor_log_directory_size_bytes" ["directory"] ""
        "Bytes of the file system of a log directory, taken or not."
        |r, s| spaces(r, s, |space| space.total_bytes);
    Gauge "gregor_log_directory_state" ["directory" "state"] "kafka.log:type=LogManager,name=LogDirectoryOffline,logDirectory=*"
        "1 for the state that a log directory is in: online, full (reads go on) or failed."
        directory_states;
    Gauge "gregor_log_end_offset" ["topic" "partition"] "kafka.log:type=Log,name=LogEndOffset,topic=*,partition=*"
        "One past a partition's last record. Its growth is what kafka.server:type=BrokerTopicMetrics,name=MessagesInPerSec shows."
        |r, s| partitions(r, s, |part| offset(part.end));
    Gauge "gregor_log_segments" ["topic" "partition"] "kafka.log:type=Log,name=NumLogSegments,topic=*,partition=*"
        "Segments of a partition."
        |r, s| partitions(r, s, |part| count(part.segments));
    Gauge "gregor_log_size_bytes" ["topic" "partition"] "kafka.log:type=Log,name=Size,topic=*,partition=*"
        "Bytes of a partition's segments."
        |r, s| partitions(r, s, |part| part.size_bytes);
    Gauge "gregor_log_start_offset" ["topic" "partition"] "kafka.log:type=Log,name=LogStartOffset,topic=*,partition=*"
        "The first offset of a partition that may be read."
        |r, s| partitions(r, s, |part| offset(part.start));
    Gauge "gregor_logs_size_bytes" [] ""
        "Bytes of the segments of all partitions."
        |r, s| sum(r, s, |part| part.size_bytes);
    Gauge "gregor_metadata_records" [] "kafka.server:type=broker-metadata-metrics, last-applied-record-offset"
        "Records of the metadata that are applied."
        |r, s| one(r, s, |served| served.broker.metadata_records);
    Counter "gregor_network_received_bytes_total" [] "kafka.server:type=socket-server-metrics,listener=*,networkProcessor=*, incoming-byte-total"
        "Bytes received from clients."
        |r, s| s.whole(&[], r.net.received_bytes);
    Counter "gregor_network_sent_bytes_total" [] "kafka.server:type=socket-server-metrics,listener=*,networkProcessor=*, outgoing-byte-total"
        "Bytes sent to clients."
        |r, s| s.whole(&[], r.net.sent_bytes());
    Gauge "gregor_partitions" [] "kafka.server:type=ReplicaManager,name=PartitionCount"
        "Partitions that this broker has a replica of."
        |r, s| one(r, s, |served| count(served.broker.partitions));
    Gauge "gregor_partitions_led" [] "kafka.server:type=ReplicaManager,name=LeaderCount"
        "Partitions that this broker leads."
        |r, s| one(r, s, |served| count(served.broker.led.len()));
    Gauge "gregor_partitions_left_out" [] ""
        "Partitions that have no metrics of their own, for there are more than gregor.metrics.max.partitions."
        |r, s| one(r, s, |served| count(served.broker.led.len().saturating_sub(r.limits.partitions)));
    Gauge "gregor_partitions_offline" [] "kafka.server:type=ReplicaManager,name=OfflineReplicaCount"
        "Partitions without a leader: their log directory failed."
        |r, s| one(r, s, |served| count(served.broker.offline));
    Gauge "gregor_phase" ["phase"] "kafka.server:type=KafkaServer,name=BrokerState"
        "1 for how far the process is: starting, serving or stopping."
        |r, s| Phase::ALL.iter().try_for_each(|phase| s.whole(&[phase.name()], u64::from(*phase == r.phase())));
    Counter "gregor_process_cpu_seconds_total" [] "java.lang:type=OperatingSystem, ProcessCpuTime"
        "Time on a processor, in seconds."
        |r, s| own_real(s, r.process.cpu_seconds);
    Gauge "gregor_process_max_fds" [] "java.lang:type=OperatingSystem, MaxFileDescriptorCount"
        "File descriptors that the process may have."
        |r, s| own(s, r.process.max_fds);
    Gauge "gregor_process_open_fds" [] "java.lang:type=OperatingSystem, OpenFileDescriptorCount"
        "File descriptors that it has."
        |r, s| own(s, r.process.open_fds);
    Gauge "gregor_process_resident_memory_bytes" [] "java.lang:type=Memory, HeapMemoryUsage"
        "Memory in use."
        |r, s| own(s, r.process.resident_bytes);
    Gauge "gregor_process_start_time_seconds" [] "java.lang:type=Runtime, StartTime"
        "When the process was started, in seconds since 1970."
        |r, s| own_real(s, r.process.start_seconds);
    Gauge "gregor_process_threads" [] "java.lang:type=Threading, ThreadCount"
        "Threads."
        |r, s| own(s, r.process.threads);
    Counter "gregor_produced_bytes_total" ["topic"] "kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec,topic=*"
        "Bytes of record batches appended, by topic."
        |r, s| topics(r, s, |part| part.appended_bytes);
    Gauge "gregor_ready" [] ""
        "1 if clients can be sent here, as /ready says."
        |r, s| s.whole(&[], u64::from(r.readiness.ready));
    Counter "gregor_request_bytes_total" ["api"] "kafka.network:type=RequestMetrics,name=RequestBytes,request=*"
        "Bytes of requests, by API."
        |r, s| apis(r, s, |api| api.request_bytes);
    Histogram "gregor_request_duration_seconds" ["api"] "kafka.network:type=RequestMetrics,name=TotalTimeMs,request=*"
        "From the whole request in memory to the answer ready to leave, by API; for Fetch, JoinGroup and SyncGroup with the time that the client asked to wait."
        api_times;
    Counter "gregor_request_errors_total" ["api" "error"] "kafka.network:type=RequestMetrics,name=ErrorsPerSec,request=*,error=*"
        "Error codes in answers, by API; several in one answer all count, and NONE does not."
        api_errors;
    Gauge "gregor_request_memory_bytes" [] "kafka.network:type=SocketServer,name=MemoryPoolUsed"
        "Bytes of requests in memory."
        |r, s| one(r, s, |served| count(served.server.request_bytes_held));
    Gauge "gregor_request_memory_limit_bytes" [] "kafka.network:type=SocketServer,name=MemoryPoolAvailable"
        "Most bytes of requests that may be in memory (queued.max.request.bytes); beyond them nobody is read from."
        |r, s| one(r, s, |served| count(served.server.request_bytes_max));
    Counter "gregor_requests_total" ["api"] "kafka.network:type=RequestMetrics,name=RequestsPerSec,request=*,version=*"
        "Requests, by API."
        |r, s| apis(r, s, |api| api.requests);
    Counter "gregor_requests_unserved_total" [] ""
        "Requests that closed their connection: malformed, or of an API or version that is not served."
        |r, s| one(r, s, |served| served.server.unserved);
    Counter "gregor_response_bytes_total" ["api"] ""
        "Bytes of answers, by API."
        |r, s| apis(r, s, |api| api.response_bytes);
    Gauge "gregor_tail_bytes" ["directory"] ""
        "Recent bytes of the logs of a directory that are kept in memory."
        |r, s| directories(r, s, |dir| count(dir.tail_bytes));
    Gauge "gregor_topics" [] "kafka.controller:type=KafkaController,name=GlobalTopicCount"
        "Topics, the coordinators' own included."
        |r, s| one(r, s, |served| count(served.broker.topics));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_say_what_they_are() {
        for pair in METRICS.windows(2) {
            assert!(pair[0].name < pair[1].name, "{} < {}", pair[0].name, pair[1].name);
        }
        for metric in METRICS {
            let Metric { name, kind, help, .. } = metric;
            assert!(name.starts_with("gregor_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert_eq!(
                name.ends_with("_seconds") && *kind != Kind::Gauge,
                *kind == Kind::Histogram,
                "{name}"
            );
            assert!(help.ends_with('.') && !help.contains(['\n', '\\']), "{name}: {help}");
        }
    }
}
