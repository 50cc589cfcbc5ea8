//! One reading of everything that is measured.
//!
//! Invariants: whoever is asked is asked as anybody else would; groups that do not answer in time
//! are missing from the reading, which says so; nothing of the reading is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::measure::TimeCounts;
use base::{Duration, PartitionIndex};
use broker::Broker;
use broker::api::group::{Command, GroupState, Reply};
use broker::measure::Measures;
use env::{Disk, Env, Space};
use env_tokio::{NetCounts, TokioEnv};
use wire::server::ServerMeasures;

use super::process::{self, Process};
use crate::config::MetricLimits;
use crate::daemon::{Daemon, Phase, Readiness};

/// Everything that is measured.
#[derive(Clone, Debug)]
pub struct Reading {
    /// How far the daemon is, and whether clients can be sent to it.
    pub readiness: Readiness,
    /// The process.
    pub process: Process,
    /// Bytes of connections.
    pub net: NetCounts,
    /// Syncs of files and directories.
    pub syncs: TimeCounts,
    /// What the daemon serves, once it is there.
    pub served: Option<ServedReading>,
    /// How much is measured one by one.
    pub limits: MetricLimits,
}

/// What a daemon serves.
#[derive(Clone, Debug)]
pub struct ServedReading {
    /// The node, as text.
    pub node: String,
    /// The cluster, as text.
    pub cluster: String,
    /// The front door.
    pub server: ServerMeasures,
    /// The broker.
    pub broker: Measures,
    /// The file system of each directory that can be asked.
    pub spaces: BTreeMap<String, Space>,
    /// The groups; `None` if they did not answer in time.
    pub groups: Option<Groups>,
}

/// The groups.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    /// How many are in which state.
    pub states: BTreeMap<&'static str, u64>,
    /// Those that are measured one by one, by name.
    pub each: BTreeMap<String, Group>,
    /// Those that are not.
    pub left_out: u64,
}

/// One group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Its state, in Kafka's word.
    pub state: &'static str,
    /// Its members.
    pub members: u64,
    /// What it committed, by topic.
    pub topics: BTreeMap<String, Consumed>,
}

/// How far a group is in a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consumed {
    /// Sum of the committed offsets.
    pub committed: u64,
    /// Records between them and the ends of the partitions.
    pub lag: u64,
}

/// Takes a reading within `time`.
pub async fn take(daemon: &Daemon, time: Duration) -> Reading {
    let limits = daemon.limits();
    let (net, syncs) = (daemon.env().net().counts(), daemon.env().disk().sync_times());
    let served = match daemon.served().cloned() {
        None => None,
        Some(served) => {
            let broker = served.broker.clone();
            // Looks at every partition.
            match tokio::task::spawn_blocking(move || broker.measure()).await {
                Err(_) => None,
                Ok(broker) => {
                    let spaces = spaces(daemon.env(), &broker).await;
                    let groups = groups(&served.broker, &broker, limits.groups);
                    Some(ServedReading {
                        node: served.broker.config().node_id.to_string(),
                        cluster: served.broker.cluster().cluster_id.to_string(),
                        server: served.server.measure(),
                        groups: daemon.within(time, groups).await.flatten(),
                        spaces,
                        broker,
                    })
                },
            }
        },
    };
    let readiness = daemon.readiness();
    Reading { readiness, process: process::read(), net, syncs, served, limits }
}

async fn spaces(env: &TokioEnv, measures: &Measures) -> BTreeMap<String, Space> {
    let mut spaces = BTreeMap::new();
    for path in measures.directories.iter().map(|dir| &dir.view.path) {
        if let Ok(space) = env.disk().space(path).await {
            spaces.insert(path.display().to_string(), space);
        }
    }
    spaces
}

/// The groups of this broker, as its coordinators tell them; `None` if they do not.
async fn groups(broker: &Broker<TokioEnv>, ends: &Measures, most: usize) -> Option<Groups> {
    let Reply::List(Ok(listed)) = broker.group(Command::List).await else { return None };
    let mut groups = Groups::default();
    for state in [
        GroupState::Empty,
        GroupState::PreparingRebalance,
        GroupState::CompletingRebalance,
        GroupState::Stable,
    ] {
        groups.states.insert(state.name(), 0);
    }
    for group in &listed {
        *groups.states.entry(group.state.name()).or_default() += 1;
    }
    groups.left_out = u64::try_from(listed.len().saturating_sub(most)).unwrap_or(u64::MAX);
    for group in listed.into_iter().take(most) {
        // One that is deleted meanwhile is not there any more.
        let name = group.group;
        let asked = Command::Describe { group: name.clone() };
        let Reply::Describe(Ok(described)) = broker.group(asked).await else { continue };
        let asked = Command::Offsets { group: name.clone(), partitions: None };
        let Reply::Offsets(Ok(offsets)) = broker.group(asked).await else { continue };
        let mut of_group = Group {
            state: group.state.name(),
            members: u64::try_from(described.members.len()).unwrap_or(u64::MAX),
            topics: BTreeMap::new(),
        };
        for offset in offsets {
            let Some(committed) = offset.committed else { continue };
            let key = (Arc::from(offset.topic.as_str()), PartitionIndex(offset.partition));
            let Some(partition) = ends.led.get(&key) else { continue };
            let consumed = of_group.topics.entry(offset.topic).or_default();
            let committed = committed.offset.0;
            let lag = partition.high_watermark.0.saturating_sub(committed);
            consumed.committed =
                consumed.committed.saturating_add(u64::try_from(committed).unwrap_or(0));
            consumed.lag = consumed.lag.saturating_add(u64::try_from(lag).unwrap_or(0));
        }
        groups.each.insert(name, of_group);
    }
    Some(groups)
}

impl Reading {
    /// What is served, if something is.
    pub fn served(&self) -> impl Iterator<Item = &ServedReading> {
        self.served.iter()
    }

    /// The partitions that are measured one by one, with topic and number as text.
    pub fn partitions(
        &self,
    ) -> impl Iterator<Item = (&str, String, &broker::measure::PartitionMeasures)> {
        let all = self.served().flat_map(|served| &served.broker.led);
        let some = all.take(self.limits.partitions);
        some.map(|((topic, index), measures)| (&**topic, index.0.to_string(), measures))
    }

    /// How far the daemon is.
    pub fn phase(&self) -> Phase {
        self.readiness.phase
    }
}
