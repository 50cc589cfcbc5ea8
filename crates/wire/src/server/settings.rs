//! Limits of the front door, each with Kafka's property where there is one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use base::{BrokerId, Duration};

/// Hard limit on connections, whatever `max.connections` says.
pub const CONNECTIONS_MAX: usize = 100_000;

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
    /// Further connections are closed at once, where `max.connections` says nothing: neither what was
    /// set while the broker runs nor its file.
    pub connections_max: usize,
    /// The same of one address, where `max.connections.per.ip` says nothing.
    pub connections_per_ip_max: usize,
    /// `max.incremental.fetch.session.cache.slots`: fetch sessions at a time; further fetches name
    /// all their partitions each time, and are answered with all of them.
    pub fetch_sessions_max: usize,
    /// `gregor.fetch.session.cache.bytes`: memory of all fetch sessions, by an upper bound.
    pub fetch_session_bytes_max: usize,
    /// How long a fetch session is safe from others after it was made, and after it was used: two
    /// minutes, as with Kafka, which has no key for it.
    pub fetch_session_idle_min: Duration,
    /// `max.request.partition.size.limit`.
    pub describe_partitions_max: usize,
    /// Where relative paths of log directories begin, for clients to be told absolute ones.
    pub working_dir: PathBuf,
    /// The levels of the loggers.
    pub loggers: Arc<dyn Loggers>,
}

/// Who knows what is logged, and can change it.
pub trait Loggers: std::fmt::Debug + Send + Sync {
    /// The level of each logger that may be set; `root` is among them.
    fn levels(&self) -> BTreeMap<String, String>;

    /// Sets these levels (`ERROR`, `WARN`, `INFO`, `DEBUG`, `TRACE`, `OFF`) from now on; `None` takes
    /// back what was set. Every logger is one of [`Loggers::levels`].
    fn set(&self, levels: &BTreeMap<String, Option<String>>);
}

/// What is logged is decided elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct FixedLoggers;

impl Loggers for FixedLoggers {
    fn levels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("root".to_owned(), "INFO".to_owned())])
    }

    fn set(&self, _: &BTreeMap<String, Option<String>>) {}
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
            connections_max: CONNECTIONS_MAX,
            connections_per_ip_max: usize::MAX,
            fetch_sessions_max: 1_000,
            fetch_session_bytes_max: 134_217_728,
            fetch_session_idle_min: Duration::from_secs(120),
            describe_partitions_max: 2_000,
            loggers: Arc::new(FixedLoggers),
            working_dir: PathBuf::new(),
        }
    }
}
