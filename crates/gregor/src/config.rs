//! From a properties file and flags to what broker and front door are told.
//!
//! Invariants: every key is checked against the one table in `base::config`; a key that is unknown
//! or without effect is reported once and never fatal, so that `server.properties` works as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::config::{
    BROKER_KEYS, Configs, Layers, TOPIC_KEYS, broker_key, file_fault, parse_numbered_properties,
};
use base::{BrokerId, Duration};
use broker::BrokerConfig;
use wire::server::{Advertised, Pace, ServerSettings};

use crate::cli::Serve;
use crate::failure::Failure;
use crate::listeners::{self, Endpoint};
use crate::logging;
use crate::spelling::nearest;

/// Budget of request bytes where the configuration gives none.
const REQUEST_BYTES_IN_FLIGHT: usize = 268_435_456;

/// Everything `serve` needs.
#[derive(Debug)]
pub struct Config {
    /// For the broker.
    pub broker: BrokerConfig,
    /// For the front door.
    pub server: ServerSettings,
    /// Where to listen.
    pub listeners: Vec<Endpoint>,
    /// The operator's side door.
    pub http: HttpSettings,
    /// How much of it is measured one by one.
    pub limits: MetricLimits,
    /// What is logged.
    pub log_level: String,
    /// What was given, whatever it is worth.
    pub given: BTreeMap<String, String>,
    /// What clients of a wildcard listener are told, if that reaches no other machine.
    pub only_here: Option<String>,
    /// What is said of keys that nobody knows.
    pub unknown: Vec<String>,
    /// Keys that are known and without effect.
    pub inert: Vec<String>,
}

/// The operator's side door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where it listens; `None` is nowhere.
    pub at: Option<Endpoint>,
    /// Whether that was asked for: then the broker does not start without it.
    pub is_given: bool,
    /// Connections at a time.
    pub connections_max: usize,
    /// How long one may last.
    pub timeout: Duration,
}

/// How many things have metrics of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricLimits {
    /// `gregor.metrics.max.partitions`.
    pub partitions: usize,
    /// `gregor.metrics.max.groups`.
    pub groups: usize,
}

/// Reads the configuration of `gregor serve`.
///
/// # Errors
/// [`Failure::Read`] and [`Failure::Config`].
pub fn load(arguments: &Serve) -> Result<Config, Failure> {
    let file = arguments.config.as_deref().map(File::read).transpose()?;
    let given = with_arguments(file.as_ref().map(File::keys).unwrap_or_default(), arguments);
    let dirs = arguments.accept_lost_dirs.iter().copied().collect();
    let topics = arguments.accept_lost_topics.iter().copied().collect();
    let mut config = match (from_keys(given), &file) {
        (Err(Failure::Config(why)), Some(file)) if from_keys(file.keys()).is_err() => {
            let shown = &file.shown;
            return Err(Failure::Advised {
                what: format!("configuration: {shown}: {why}"),
                hint: format!("`gregor config check {shown}` shows all that is wrong in it"),
            });
        },
        (outcome, _) => outcome?,
    };
    config.broker.accept_lost_dirs = dirs;
    config.broker.accept_lost_topics = topics;
    for name in &mut config.unknown {
        let overridden = arguments.overrides.iter().any(|(key, _)| *key == *name);
        let of_file = file.as_ref().filter(|_| !overridden);
        let of_file = of_file.and_then(|file| Some((file, file.pairs.get(name.as_str())?)));
        let text = unknown_key(name);
        *name = match of_file {
            Some((file, (line, _))) => format!("{} line {line}: {text}", file.shown),
            None => text,
        };
    }
    Ok(config)
}

/// Keys of a file, and what of the command line wins over them.
pub fn with_arguments(
    mut keys: BTreeMap<String, String>,
    arguments: &Serve,
) -> BTreeMap<String, String> {
    for (key, value) in &arguments.overrides {
        keys.insert(key.clone(), value.clone());
    }
    if let Some(data) = &arguments.data {
        keys.remove("log.dirs");
        keys.remove("metadata.log.dir");
        keys.insert("log.dir".to_owned(), data.display().to_string());
    }
    keys
}

/// A properties file.
pub struct File {
    /// Its name, as given.
    pub shown: String,
    /// Line and value of each key.
    pub pairs: BTreeMap<String, (usize, String)>,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Failure::Read`] and [`Failure::Config`].
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        let bytes =
            std::fs::read(path).map_err(|source| Failure::Read { path: shown.clone(), source })?;
        let pairs = parse_numbered_properties(&bytes)
            .map_err(|error| Failure::Config(format!("{shown}: {error}")))?;
        Ok(Self { shown, pairs })
    }

    /// Keys and values alone.
    pub fn keys(&self) -> BTreeMap<String, String> {
        self.pairs.iter().map(|(key, (_, value))| (key.clone(), value.clone())).collect()
    }
}

/// What is said of a key that the table does not have.
pub fn unknown_key(name: &str) -> String {
    if name.is_empty() {
        return "a value without a key".to_owned();
    }
    let guess = nearest(name, BROKER_KEYS.iter().map(|key| key.name));
    let guess = guess.map(|key| format!("; did you mean {key}?")).unwrap_or_default();
    format!("unknown key {name}{guess}")
}

/// What these keys amount to.
///
/// # Errors
/// [`Failure::Config`].
pub fn from_keys(given: BTreeMap<String, String>) -> Result<Config, Failure> {
    let mut keys = Keys { given: given.clone() };
    if !keys.given.contains_key("node.id")
        && let Some(id) = keys.given.remove("broker.id")
    {
        keys.given.insert("node.id".to_owned(), id);
    }
    let (unknown, inert) = keys.check()?;
    let listeners = listeners::parse(&keys.text("listeners"), &keys.given)?;
    let (advertised, only_here) = keys.advertised(&listeners)?;
    let broker = keys.broker()?;
    let server = keys.server(advertised, &broker)?;
    let (http, log_level) = (keys.http()?, keys.text("gregor.log.level"));
    let level = |why| Failure::Config(format!("gregor.log.level={log_level}: {why}"));
    logging::filter(&log_level).map_err(level)?;
    let limits = MetricLimits {
        partitions: keys.size("gregor.metrics.max.partitions"),
        groups: keys.size("gregor.metrics.max.groups"),
    };
    Ok(Config {
        broker,
        server,
        listeners,
        http,
        limits,
        log_level,
        given,
        only_here,
        unknown,
        inert,
    })
}

/// What was given, with the table's defaults behind it.
struct Keys {
    given: BTreeMap<String, String>,
}

impl Keys {
    /// Values against the table; names of unknown and inert keys.
    fn check(&self) -> Result<(Vec<String>, Vec<String>), Failure> {
        let (mut unknown, mut inert) = (Vec::new(), Vec::new());
        for (name, value) in &self.given {
            match broker_key(name) {
                None => unknown.push(name.clone()),
                Some(key) => {
                    key.check(value).map_err(|error| Failure::Config(error.to_string()))?;
                    if key.inert {
                        inert.push(name.clone());
                    }
                },
            }
        }
        let value = |name: &str| {
            let default = broker_key(name).and_then(|key| key.default);
            self.given(name).or(default).map(str::to_owned)
        };
        match file_fault(value) {
            Some(why) => Err(Failure::Config(why)),
            None => Ok((unknown, inert)),
        }
    }

    fn given(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> String {
        let default = broker_key(name).and_then(|key| key.default).unwrap_or("");
        self.given(name).unwrap_or(default).to_owned()
    }

    fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }

    fn flag(&self, name: &str) -> bool {
        self.text(name).eq_ignore_ascii_case("true")
    }

    fn size(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).unwrap_or(0)
    }

    fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(u64::try_from(self.number(name)).unwrap_or(0))
    }

    fn minutes(&self, name: &str) -> Duration {
        let minutes = u64::try_from(self.number(name)).unwrap_or(0);
        Duration::from_secs(minutes.saturating_mul(60))
    }

    fn int<T: TryFrom<i64>>(&self, name: &str) -> Result<T, Failure> {
        T::try_from(self.number(name))
            .map_err(|_| Failure::Config(format!("{name} is out of range")))
    }

    fn log_dirs(&self) -> Result<Vec<PathBuf>, Failure> {
        let dirs = match self.given("log.dirs") {
            Some(dirs) => dirs.to_owned(),
            None => self.text("log.dir"),
        };
        let dirs = dirs.split(',').map(str::trim).filter(|dir| !dir.is_empty());
        let dirs: Vec<PathBuf> = dirs.map(PathBuf::from).collect();
        if dirs.is_empty() {
            return Err(Failure::Config("log.dirs names no directory".to_owned()));
        }
        Ok(dirs)
    }

    /// Topic keys whose default the file sets, under their topic names.
    fn topic_defaults(&self) -> Configs {
        let nothing = Configs::new();
        let layers = Layers { broker: &nothing, cluster: &nothing, file: &self.given };
        let set = TOPIC_KEYS.iter().filter_map(|key| {
            let value = layers.inherited(key).filter(|value| !value.trim().is_empty())?;
            Some((Arc::from(key.name), Arc::from(value.trim())))
        });
        set.collect()
    }

    fn broker(&self) -> Result<BrokerConfig, Failure> {
        let defaults = BrokerConfig::default();
        Ok(BrokerConfig {
            node_id: BrokerId(self.int("node.id")?),
            rack: self.given("broker.rack").map(str::to_owned),
            log_dirs: self.log_dirs()?,
            metadata_log_dir: self.given("metadata.log.dir").map(PathBuf::from),
            accept_lost_dirs: BTreeSet::new(),
            accept_lost_topics: BTreeSet::new(),
            auto_create_topics: self.flag("auto.create.topics.enable"),
            delete_topics: self.flag("delete.topic.enable"),
            num_partitions: self.int("num.partitions")?,
            default_replication_factor: self.int("default.replication.factor")?,
            fetch_bytes_max: self.size("fetch.max.bytes"),
            retention_check_interval: self.millis("log.retention.check.interval.ms"),
            cleaner_enabled: self.flag("log.cleaner.enable"),
            cleaner_backoff: self.millis("log.cleaner.backoff.ms"),
            cleaner_map_bytes: self.size("log.cleaner.dedupe.buffer.size"),
            cleaner_bytes_per_second: broker::rate_of(
                &self.text("log.cleaner.io.max.bytes.per.second"),
            ),
            producer_expiration: self.millis("producer.id.expiration.ms"),
            journal_file_bytes: self.int("gregor.journal.file.bytes")?,
            flight_recorder_bytes: self.size("gregor.flight.recorder.bytes"),
            // Asked of the system by who starts the broker.
            open_files_max: BrokerConfig::default().open_files_max,
            offsets_partitions: self.int("offsets.topic.num.partitions")?,
            offsets_replication_factor: self.int("offsets.topic.replication.factor")?,
            offsets_segment_bytes: self.int("offsets.topic.segment.bytes")?,
            offsets_commit_timeout: self.millis("offsets.commit.timeout.ms"),
            offset_metadata_bytes_max: self.size("offset.metadata.max.bytes"),
            group_session_timeout_min: self.millis("group.min.session.timeout.ms"),
            group_session_timeout_max: self.millis("group.max.session.timeout.ms"),
            group_initial_rebalance_delay: self.millis("group.initial.rebalance.delay.ms"),
            group_size_max: self.size("group.max.size"),
            group_member_bytes_max: BrokerConfig::default().group_member_bytes_max,
            offsets_retention: self.minutes("offsets.retention.minutes"),
            offsets_retention_check_interval: self.millis("offsets.retention.check.interval.ms"),
            topic_defaults: defaults.topic_defaults.with(&self.topic_defaults()),
            file: Arc::new(self.file()),
        })
    }

    /// What clients are told; its host once more if a wildcard stands behind it.
    fn advertised(&self, listeners: &[Endpoint]) -> Result<(Advertised, Option<String>), Failure> {
        const KEY: &str = "advertised.listeners";
        if let Some(list) = self.given(KEY) {
            let endpoints = listeners::parse(list, &self.given)?;
            if let Some(first) = endpoints.into_iter().next() {
                if first.is_wildcard() {
                    return Err(Failure::Config(format!(
                        "{KEY}={list}: no client can connect to a wildcard; \
                         write PLAINTEXT://HOST:{} with a name or address of this machine",
                        first.port
                    )));
                }
                return Ok((Advertised { host: first.host, port: first.port }, None));
            }
        }
        let first = listeners.first().ok_or_else(|| Failure::Config("no listener".to_owned()))?;
        let host = listeners::advertised_host(first);
        let only_here = first.is_wildcard().then(|| host.clone());
        Ok((Advertised { host, port: first.port }, only_here))
    }

    fn server(
        &self,
        advertised: Advertised,
        broker: &BrokerConfig,
    ) -> Result<ServerSettings, Failure> {
        let request_bytes_max = self.size("socket.request.max.bytes");
        let idle = self.number("connections.max.idle.ms");
        Ok(ServerSettings {
            request_bytes_max,
            request_bytes_in_flight_max: self.request_bytes_in_flight(request_bytes_max)?,
            large_request_pace: Pace::per_second(self.size("gregor.large.request.min.rate")),
            idle_max: u64::try_from(idle).ok().map(Duration::from_millis),
            fetch_sessions_max: self.size("max.incremental.fetch.session.cache.slots"),
            fetch_session_bytes_max: self.size("gregor.fetch.session.cache.bytes"),
            describe_partitions_max: self.size("max.request.partition.size.limit"),
            working_dir: std::env::current_dir().unwrap_or_default(),
            ..ServerSettings::new(broker.node_id, advertised)
        })
    }

    fn http(&self) -> Result<HttpSettings, Failure> {
        const KEY: &str = "gregor.http.listener";
        let text = self.text(KEY);
        let endpoint = || {
            let (host, port) = text.rsplit_once(':')?;
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            Some(Endpoint { name: KEY.to_owned(), host, port: port.parse().ok()? })
        };
        let at = match text.as_str() {
            "off" => None,
            _ => Some(endpoint().ok_or_else(|| {
                Failure::Config(format!("{KEY}={text}: write host:port, or off"))
            })?),
        };
        Ok(HttpSettings {
            at,
            is_given: self.given(KEY).is_some(),
            connections_max: self.size("gregor.http.max.connections"),
            timeout: self.millis("gregor.http.timeout.ms"),
        })
    }

    /// The budget of request bytes, in which the largest request must have room.
    fn request_bytes_in_flight(&self, request_bytes_max: usize) -> Result<usize, Failure> {
        const KEY: &str = "queued.max.request.bytes";
        let given = self.given(KEY).and_then(|text| text.parse::<usize>().ok());
        match given.filter(|limit| *limit > 0) {
            None => Ok(REQUEST_BYTES_IN_FLIGHT.max(request_bytes_max.saturating_mul(2))),
            Some(limit) if limit >= request_bytes_max => Ok(limit),
            Some(limit) => Err(Failure::Config(format!(
                "{KEY}={limit} leaves no room for a request of \
                 socket.request.max.bytes={request_bytes_max}: raise the first or lower the second"
            ))),
        }
    }

    /// Known keys as given. Both names of the node's id are, where one is.
    fn file(&self) -> BTreeMap<String, String> {
        let known = |name: &str| BROKER_KEYS.iter().any(|key| key.name == name);
        let given = self.given.iter().filter(|(name, _)| known(name));
        let mut file: BTreeMap<String, String> =
            given.map(|(name, value)| (name.clone(), value.clone())).collect();
        if let Some(id) = file.get("node.id").cloned() {
            file.insert("broker.id".to_owned(), id);
        }
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_side_door_is_on_loopback_unless_told_otherwise_and_can_be_shut() {
        let http = check(&[]).expect("the defaults").http;
        let at = http.at.expect("open by default");
        assert_eq!((at.host.as_str(), at.port, http.is_given), ("localhost", 9404, false));

        let given = check(&[("gregor.http.listener", "[::1]:0")]).expect("an address").http;
        assert_eq!(given.at.map(|at| at.host).as_deref(), Some("::1"));
        assert!(given.is_given);
        assert_eq!(check(&[("gregor.http.listener", "off")]).expect("off").http.at, None);
        for bad in ["9404", "localhost:", "localhost:http"] {
            let said = check(&[("gregor.http.listener", bad)]).expect_err("refused").to_string();
            assert!(said.contains("write host:port, or off"), "{said}");
        }
        let said = check(&[("gregor.log.level", "loud")]).expect_err("refused").to_string();
        assert!(said.contains("gregor.log.level=loud: write error, warn"), "{said}");
    }

    fn check(pairs: &[(&str, &str)]) -> Result<Config, Failure> {
        from_keys(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn no_configuration_is_a_broker_on_localhost_9092_with_kafkas_defaults() {
        let config = check(&[]).expect("the defaults");

        assert_eq!(config.listeners[0].port, 9092);
        let broker =
            BrokerConfig { log_dirs: config.broker.log_dirs.clone(), ..Default::default() };
        assert!(config.broker.file.is_empty());
        assert_eq!(config.broker, broker);
        assert_eq!(config.server.advertised[&BrokerId(1)].host, "127.0.0.1");
        assert!(config.unknown.is_empty() && config.inert.is_empty());
    }

    #[test]
    fn several_directories_are_separated_by_commas_and_one_of_them_holds_the_metadata() {
        let config = check(&[("log.dirs", "/a, /b,/c"), ("log.dir", "/d")]).expect("three");
        let dirs = ["/a", "/b", "/c"].map(PathBuf::from);
        assert_eq!(config.broker.log_dirs, dirs);
        assert_eq!(config.broker.metadata_log_dir, None);

        let config = check(&[("log.dir", "/a"), ("metadata.log.dir", "/m")]).expect("two");
        assert_eq!(config.broker.log_dirs, [PathBuf::from("/a")]);
        assert_eq!(config.broker.metadata_log_dir, Some(PathBuf::from("/m")));
        assert!(check(&[("log.dirs", " , ")]).is_err());
    }

    #[test]
    fn kafkas_own_server_properties_work_and_what_has_no_effect_is_named() {
        let config = check(&[
            ("process.roles", "broker,controller"),
            ("node.id", "7"),
            ("controller.quorum.bootstrap.servers", "localhost:9093"),
            ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
            ("advertised.listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
            ("controller.listener.names", "CONTROLLER"),
            ("num.network.threads", "3"),
            ("log.retention.hours", "1"),
            ("no.such.key", "x"),
        ])
        .expect("accepted");

        assert_eq!(config.broker.node_id, BrokerId(7));
        let hour = Duration::from_secs(3600);
        assert_eq!(config.broker.topic_defaults.retention_age, Some(hour));
        assert_eq!(config.unknown, ["no.such.key"]);
        assert!(config.inert.contains(&"controller.quorum.bootstrap.servers".to_owned()));
        assert!(config.inert.contains(&"num.network.threads".to_owned()));
    }

    #[test]
    fn the_largest_request_has_room_in_the_budget_or_the_broker_does_not_start() {
        let (queued, largest) = ("queued.max.request.bytes", "socket.request.max.bytes");
        let budget = |pairs: &[(&str, &str)]| {
            check(pairs).map(|config| config.server.request_bytes_in_flight_max)
        };

        let error = budget(&[(queued, "33554432")]).expect_err("the default is 100 MiB");

        let text = error.to_string();
        assert!(text.contains(queued) && text.contains("socket.request.max.bytes=104857600"));
        assert_eq!(budget(&[(queued, "104857600")]).expect("just"), 104_857_600);
        assert_eq!(budget(&[(queued, "-1")]).expect("the default"), 268_435_456);
        assert_eq!(budget(&[(largest, "500000000")]).expect("grows"), 1_000_000_000);
    }

    #[test]
    fn a_wildcard_is_told_to_no_client_and_what_is_told_instead_is_known_to_reach_nobody_else() {
        for wildcard in ["", "0.0.0.0", "[::]"] {
            let listener = format!("PLAINTEXT://{wildcard}:9992");
            let config = check(&[("listeners", &listener)]).expect("a wildcard may be listened on");
            assert_eq!(config.server.advertised[&BrokerId(1)].host, "127.0.0.1");
            assert_eq!(config.only_here.as_deref(), Some("127.0.0.1"));

            let error = check(&[("advertised.listeners", &listener)]).expect_err("of no use");
            assert!(error.to_string().contains("PLAINTEXT://HOST:9992"), "{error}");
        }
        let told = [("listeners", "PLAINTEXT://:9"), ("advertised.listeners", "PLAINTEXT://h:9")];
        assert_eq!(check(&told).expect("fine").only_here, None);
        assert_eq!(check(&[]).expect("localhost").only_here, None);
    }

    #[test]
    fn a_bad_value_names_key_value_and_reason() {
        let error = check(&[("num.partitions", "zero")]).expect_err("not a number");

        let text = error.to_string();
        assert!(text.contains("num.partitions") && text.contains("zero"), "{text}");
    }
}
