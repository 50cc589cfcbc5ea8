//! What is simulated: the broker process, as the daemon would start it.

use std::path::PathBuf;

use base::{BrokerId, Duration};
use broker::{Broker, BrokerConfig, TopicConfig};
use env::Env;
use wire::server::{Advertised, Pace, Server, ServerSettings};

use crate::check::{DATA_DIRS, History, watch};
use crate::client::PORT;
use crate::fault::{BROKER, Work};
use crate::net::address_of;
use crate::world::{Program, SimEnv, World, program};

/// How long connections may take to finish at a stop; in a tight broker.
const STOP_CONNECTIONS_MAX: Duration = Duration::from_millis(1_000);
const STOP_CONNECTIONS_MAX_TIGHT: Duration = Duration::from_millis(10);
/// How long a connection of a tight broker may be idle.
const IDLE_MAX_TIGHT: Duration = Duration::from_millis(1_500);
/// Connections a tight broker takes from one address.
pub const CONNECTIONS_PER_IP_MAX: usize = 8;
/// Bytes of the largest request a tight broker takes, and of all it holds: beside the largest, not
/// even one small request of each kind.
const REQUEST_BYTES_MAX_TIGHT: usize = 250_000;
const REQUEST_BYTES_HELD_TIGHT: usize = REQUEST_BYTES_MAX_TIGHT + 100_000;
/// Fetch sessions of a tight broker, and how long they are safe from others.
const FETCH_SESSIONS_MAX_TIGHT: usize = 2;
const FETCH_SESSION_IDLE_TIGHT: Duration = Duration::from_millis(300);
/// Members a group takes.
pub const GROUP_SIZE_MAX: usize = 5;

const NODE_ID: BrokerId = BrokerId(1);

/// Puts each of the broker's directories on a device of its own.
pub fn mount(world: &World, work: &Work) {
    let (dirs, home) = work.dirs();
    let all = dirs.len().max(home + 1);
    world.disk(BROKER).mount(&DATA_DIRS[..all], dirs.len(), home);
}

/// The broker as a program of its node: it serves until something ends it.
pub fn broker(work: &Work, history: &History) -> Program {
    let (config, tight, history) = (config(work), work.tight, history.clone());
    program(move |env| serve(env, config.clone(), tight, history.clone()))
}

/// Kafka's defaults, but small where a small number reaches a rare branch sooner.
fn config(work: &Work) -> BrokerConfig {
    let (dirs, home) = work.dirs();
    BrokerConfig {
        node_id: NODE_ID,
        log_dirs: dirs.iter().map(PathBuf::from).collect(),
        metadata_log_dir: (home > 0).then(|| PathBuf::from(DATA_DIRS[home])),
        offsets_partitions: 2,
        // Kafka's smallest: it becomes a topic's own setting, which is held against the table.
        offsets_segment_bytes: 1 << 20,
        group_initial_rebalance_delay: Duration::from_millis(300),
        group_session_timeout_min: Duration::from_millis(1_000),
        group_size_max: GROUP_SIZE_MAX,
        offsets_commit_timeout: Duration::from_millis(500),
        offsets_retention_check_interval: Duration::from_millis(1_000),
        retention_check_interval: Duration::from_millis(1_000),
        cleaner_backoff: Duration::from_millis(100),
        // It is full after some hundred requests to coordinators.
        flight_recorder_bytes: 16 * 1024,
        // The smallest: a file is full after fifteen groups, and used again soon.
        journal_file_bytes: 64 * 1024,
        delete_topics: !work.topics_stay,
        topic_defaults: TopicConfig {
            segment_bytes: work.segment_bytes,
            retention_age: None,
            // The coordinators' topic has no rule of its own for it.
            dirty_ppm_min: 10_000,
            ..TopicConfig::default()
        },
        ..BrokerConfig::default()
    }
}

async fn serve(env: SimEnv, config: BrokerConfig, tight: bool, history: History) {
    let broker = match Broker::start(env.clone(), config).await {
        Ok(broker) => broker,
        Err(error) => return env.halt(format!("the broker does not start: {error}")),
    };
    history.started(&env.process().world);
    env.process().world.disk(BROKER).serves();
    let at = address_of(BROKER, PORT);
    let advertised = Advertised { host: at.ip().to_string(), port: PORT };
    let mut settings = ServerSettings {
        // The odd client has no ten seconds.
        large_request_pace: Some(Pace { bytes: 65_536, every: Duration::from_millis(1_000) }),
        ..ServerSettings::new(NODE_ID, advertised)
    };
    if tight {
        settings.idle_max = Some(IDLE_MAX_TIGHT);
        settings.connections_per_ip_max = CONNECTIONS_PER_IP_MAX;
        settings.fetch_sessions_max = FETCH_SESSIONS_MAX_TIGHT;
        settings.fetch_session_idle_min = FETCH_SESSION_IDLE_TIGHT;
        settings.request_bytes_max = REQUEST_BYTES_MAX_TIGHT;
        settings.request_bytes_in_flight_max = REQUEST_BYTES_HELD_TIGHT;
    }
    env.spawn("live looks", watch(env.clone(), broker.clone(), history.clone()));
    let server = Server::new(env.clone(), broker.clone(), settings);
    if let Err(error) = server.listen(at).await {
        return env.halt(format!("the broker does not listen: {error}"));
    }
    let process = env.process();
    process.world.told_to_stop(process.node).await;
    process.world.fired("clean stop");
    let patience = if tight { STOP_CONNECTIONS_MAX_TIGHT } else { STOP_CONNECTIONS_MAX };
    server.stop(env.now().after(patience)).await;
    broker.stop().await;
}
