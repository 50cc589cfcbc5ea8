//! Limits of the front door, each with Kafka's property where there is one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base::{BrokerId, Duration};

/// Where clients find a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// Name or address; an IPv4 literal is understood by every client.
    pub host: String,
    /// Port; 0 is the port that this process bound first.
    pub port: u16,
}

/// How fast something has to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// At least so many bytes...
    pub bytes: usize,
    /// ...in each such time.
    pub every: Duration,
}

impl Pace {
    /// `bytes` a second, judged every ten seconds; none for 0.
    pub fn per_second(bytes: usize) -> Option<Self> {
        let bytes = bytes.saturating_mul(10);
        (bytes > 0).then_some(Self { bytes, every: Duration::from_secs(10) })
    }
}

/// Limits and addresses.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// This broker.
    pub node_id: BrokerId,
    /// `advertised.listeners`, by broker.
    pub advertised: BTreeMap<BrokerId, Advertised>,
    /// `socket.request.max.bytes`: a larger request closes the connection before it is allocated.
    pub request_bytes_max: usize,
    /// `queued.max.request.bytes`: request bytes in memory over all connections; beyond it nothing
    /// more is read until some are answered. At least `request_bytes_max`.
    pub request_bytes_in_flight_max: usize,
    /// `gregor.large.request.min.rate`: a request of more than 64 KiB that comes more slowly, while
    /// it is read, closes the connection; `None` is however slowly.
    pub large_request_pace: Option<Pace>,
    /// `connections.max.idle.ms`; `None` is for ever.
    pub idle_max: Option<Duration>,
    /// `max.connections`: further ones are closed at once.
    pub connections_max: usize,
    /// `max.connections.per.ip`.
    pub connections_per_ip_max: usize,
    /// `max.request.partition.size.limit`.
    pub describe_partitions_max: usize,
    /// Where relative paths of log directories begin, for clients to be told absolute ones.
    pub working_dir: PathBuf,
    /// Values of broker keys as given in the configuration file, for DescribeConfigs.
    pub static_configs: BTreeMap<String, String>,
}

impl ServerSettings {
    /// Kafka's defaults for one broker reached at `advertised`.
    pub fn new(node_id: BrokerId, advertised: Advertised) -> Self {
        Self {
            node_id,
            advertised: BTreeMap::from([(node_id, advertised)]),
            request_bytes_max: 104_857_600,
            request_bytes_in_flight_max: 268_435_456,
            large_request_pace: Pace::per_second(32_768),
            idle_max: Some(Duration::from_millis(600_000)),
            connections_max: 100_000,
            connections_per_ip_max: usize::MAX,
            describe_partitions_max: 2_000,
            working_dir: PathBuf::new(),
            static_configs: BTreeMap::new(),
        }
    }
}
