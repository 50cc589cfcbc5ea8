//! What is simulated: the broker process, as the daemon would start it.

use std::path::PathBuf;

use base::{BrokerId, Duration};
use broker::{Broker, BrokerConfig, TopicConfig};
use env::Env;
use wire::server::{Advertised, Pace, Server, ServerSettings};

use crate::check::DATA_DIR;
use crate::client::PORT;
use crate::fault::{BROKER, Work};
use crate::net::address_of;
use crate::world::{Program, SimEnv, program};

/// How long connections may take to finish at a stop.
const STOP_CONNECTIONS_MAX: Duration = Duration::from_millis(1_000);

const NODE_ID: BrokerId = BrokerId(1);

/// The broker as a program of its node: it serves until something ends it.
pub fn broker(work: &Work) -> Program {
    let config = config(work);
    program(move |env| serve(env, config.clone()))
}

/// Kafka's defaults, but small where a small number reaches a rare branch sooner.
fn config(work: &Work) -> BrokerConfig {
    BrokerConfig {
        node_id: NODE_ID,
        log_dir: PathBuf::from(DATA_DIR),
        offsets_partitions: 2,
        // Kafka's smallest: it becomes a topic's own setting, which is held against the table.
        offsets_segment_bytes: 1 << 20,
        group_initial_rebalance_delay: Duration::from_millis(300),
        topic_defaults: TopicConfig {
            segment_bytes: work.segment_bytes,
            retention_age: None,
            ..TopicConfig::default()
        },
        ..BrokerConfig::default()
    }
}

async fn serve(env: SimEnv, config: BrokerConfig) {
    let broker = match Broker::start(env.clone(), config).await {
        Ok(broker) => broker,
        Err(error) => return env.halt(format!("the broker does not start: {error}")),
    };
    let at = address_of(BROKER, PORT);
    let advertised = Advertised { host: at.ip().to_string(), port: PORT };
    let settings = ServerSettings {
        // The odd client has no ten seconds.
        large_request_pace: Some(Pace { bytes: 65_536, every: Duration::from_millis(1_000) }),
        ..ServerSettings::new(NODE_ID, advertised)
    };
    let server = Server::new(env.clone(), broker.clone(), settings);
    if let Err(error) = server.listen(at).await {
        return env.halt(format!("the broker does not listen: {error}"));
    }
    let process = env.process();
    process.world.told_to_stop(process.node).await;
    process.world.fired("clean stop");
    server.stop(env.now().after(STOP_CONNECTIONS_MAX)).await;
    broker.stop().await;
}
