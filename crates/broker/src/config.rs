//! What a broker may be told, with Kafka's names and defaults.
//!
//! Owns: [`BrokerConfig`] and the way a topic's overrides are laid over the broker's defaults
//! ([`TopicConfig`]). Invariants: a value that does not parse leaves the default in place (the
//! metadata core refuses such values before they get here); durations are never negative.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use base::config::{Configs, Layers, TOPIC_KEYS, layers_fault};
use base::{BrokerId, Duration, TopicId, Uuid};
use metadata::{Defaults, Resource};
use records::{Compression, Encoder, TimestampType};
use storage::Durability;

/// What is set where nothing is.
const NOTHING: &Configs = &Configs::new();

/// Everything one broker is told at its start. Each field names its Kafka property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// `node.id`.
    pub node_id: BrokerId,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `log.dirs` (or `log.dir`): where data lives; at least one.
    pub log_dirs: Vec<PathBuf>,
    /// `metadata.log.dir`: where the metadata log lives, the first of `log_dirs` if not set.
    pub metadata_log_dir: Option<PathBuf>,
    /// Directories whose loss is accepted, by identity: what lived in them begins empty.
    pub accept_lost_dirs: BTreeSet<Uuid>,
    /// Topics that the metadata lost and whose loss is accepted: their logs are deleted.
    pub accept_lost_topics: BTreeSet<TopicId>,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`; more than the live brokers is refused.
    pub default_replication_factor: i16,
    /// `fetch.max.bytes`: most bytes one fetch is answered with.
    pub fetch_bytes_max: usize,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `log.cleaner.enable`.
    pub cleaner_enabled: bool,
    /// `log.cleaner.backoff.ms`.
    pub cleaner_backoff: Duration,
    /// `log.cleaner.dedupe.buffer.size`: bytes.
    pub cleaner_map_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`; `None` is no limit.
    pub cleaner_bytes_per_second: Option<u64>,
    /// `producer.id.expiration.ms`.
    pub producer_expiration: Duration,
    /// `gregor.journal.file.bytes`.
    pub journal_file_bytes: u64,
    /// `gregor.flight.recorder.bytes`: what the flight recorder keeps; 0 is nothing.
    pub flight_recorder_bytes: usize,
    /// Files that the logs of all directories keep open together: what the system allows, less what
    /// connections and the rest need.
    pub open_files_max: usize,
    /// `offsets.topic.num.partitions`, fixed when the topic is created.
    pub offsets_partitions: i32,
    /// `offsets.topic.replication.factor`; more than the live brokers becomes their number.
    pub offsets_replication_factor: i16,
    /// `offsets.topic.segment.bytes`.
    pub offsets_segment_bytes: u64,
    /// `offsets.commit.timeout.ms`: how long a coordinator waits for its append.
    pub offsets_commit_timeout: Duration,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// `group.min.session.timeout.ms`.
    pub group_session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`.
    pub group_session_timeout_max: Duration,
    /// `group.initial.rebalance.delay.ms`.
    pub group_initial_rebalance_delay: Duration,
    /// `group.max.size`.
    pub group_size_max: usize,
    /// What the members of all groups together may have said of themselves, and been given by their
    /// leaders, in bytes; beyond it a join or an assignment is refused as not available (ours, and no
    /// key: nobody has asked for another one).
    pub group_member_bytes_max: usize,
    /// `offsets.retention.minutes`.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval: Duration,
    /// Defaults of the topic keys (`log.*`, `message.max.bytes`).
    pub topic_defaults: TopicConfig,
    /// Broker keys as the file has them: to tell clients, and to judge what they change.
    pub file: Arc<BTreeMap<String, String>>,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            node_id: BrokerId(1),
            rack: None,
            log_dirs: vec![PathBuf::from("./data")],
            metadata_log_dir: None,
            accept_lost_dirs: BTreeSet::new(),
            accept_lost_topics: BTreeSet::new(),
            auto_create_topics: true,
            delete_topics: true,
            num_partitions: 1,
            default_replication_factor: 1,
            fetch_bytes_max: 57_671_680,
            retention_check_interval: Duration::from_secs(300),
            cleaner_enabled: true,
            cleaner_backoff: Duration::from_secs(15),
            cleaner_map_bytes: 134_217_728,
            cleaner_bytes_per_second: None,
            producer_expiration: Duration::from_secs(86_400),
            journal_file_bytes: 16 * 1024 * 1024,
            flight_recorder_bytes: 4 * 1024 * 1024,
            open_files_max: 400,
            offsets_partitions: 50,
            offsets_replication_factor: 3,
            offsets_segment_bytes: 104_857_600,
            offsets_commit_timeout: Duration::from_secs(5),
            offset_metadata_bytes_max: 4096,
            group_session_timeout_min: Duration::from_secs(6),
            group_session_timeout_max: Duration::from_secs(1800),
            group_initial_rebalance_delay: Duration::from_secs(3),
            group_size_max: usize::try_from(i32::MAX).unwrap_or(usize::MAX),
            group_member_bytes_max: 64 * 1024 * 1024,
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
            offsets_retention_check_interval: Duration::from_secs(600),
            topic_defaults: TopicConfig::default(),
            file: Arc::default(),
        }
    }
}

impl BrokerConfig {
    /// These, with what was set while the broker ran on top.
    #[must_use]
    pub fn with(&self, settings: &BTreeMap<Resource, Configs>) -> Self {
        let file = BTreeMap::new();
        let set = self.layers(settings, &file);
        let inherited = TOPIC_KEYS
            .iter()
            .filter_map(|key| Some((Arc::from(key.name), Arc::from(set.inherited(key)?.as_str()))));
        let mut config = self.clone();
        config.topic_defaults = self.topic_defaults.with(&inherited.collect());
        let natural = |name: &str| set.set(name)?.trim().parse::<u64>().ok();
        if let Some(millis) = natural("log.cleaner.backoff.ms") {
            config.cleaner_backoff = Duration::from_millis(millis);
        }
        if let Some(bytes) = natural("log.cleaner.dedupe.buffer.size") {
            config.cleaner_map_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
        if let Some(rate) = set.set("log.cleaner.io.max.bytes.per.second") {
            config.cleaner_bytes_per_second = rate_of(rate);
        }
        if let Some(millis) = natural("producer.id.expiration.ms") {
            config.producer_expiration = Duration::from_millis(millis);
        }
        config
    }

    /// These, but with what may change while the broker runs as the file has it now.
    #[must_use]
    pub fn retold(&self, now: &Self) -> Self {
        Self {
            topic_defaults: now.topic_defaults.clone(),
            cleaner_backoff: now.cleaner_backoff,
            cleaner_map_bytes: now.cleaner_map_bytes,
            cleaner_bytes_per_second: now.cleaner_bytes_per_second,
            producer_expiration: now.producer_expiration,
            file: Arc::clone(&now.file),
            ..self.clone()
        }
    }

    /// What is wrong between the file and what was set while the broker ran, each sound by itself.
    pub(crate) fn fault(&self, settings: &BTreeMap<Resource, Configs>) -> Option<String> {
        layers_fault(&self.layers(settings, &self.file))
    }

    fn layers<'a>(
        &self,
        settings: &'a BTreeMap<Resource, Configs>,
        file: &'a BTreeMap<String, String>,
    ) -> Layers<'a> {
        let of = |resource| settings.get(&resource).unwrap_or(NOTHING);
        Layers { broker: of(Resource::Broker(self.node_id)), cluster: of(Resource::Brokers), file }
    }

    /// What the metadata core takes where a topic does not say.
    pub fn metadata_defaults(&self) -> Defaults {
        Defaults {
            partitions: self.num_partitions,
            replication_factor: self.default_replication_factor,
        }
    }
}

/// The rules of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// `max.message.bytes`: largest batch, header included.
    pub batch_bytes_max: usize,
    /// `max.decompressed.message.bytes`: largest record of a compressed batch, once it is opened.
    pub record_bytes_max: usize,
    /// `compression.type`; `None` keeps the producer's.
    pub compression: Option<Compression>,
    /// `compression.gzip.level`; `None` is the codec's own choice.
    pub gzip_level: Option<u32>,
    /// `compression.zstd.level`.
    pub zstd_level: i32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max: Duration,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max: Duration,
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `segment.ms`.
    pub segment_age: Duration,
    /// `retention.ms`; `None` is no limit.
    pub retention_age: Option<Duration>,
    /// `retention.bytes`; `None` is no limit.
    pub retention_bytes: Option<u64>,
    /// `delete.retention.ms`: how long a tombstone stays.
    pub tombstones_for: Duration,
    /// `min.compaction.lag.ms`.
    pub compaction_lag_min: Duration,
    /// `max.compaction.lag.ms`.
    pub compaction_lag_max: Duration,
    /// `min.cleanable.dirty.ratio`, in millionths.
    pub dirty_ppm_min: u32,
    /// `cleanup.policy` contains `compact`: every record needs a key.
    pub compact: bool,
    /// `cleanup.policy` contains `delete`.
    pub delete: bool,
    /// `gregor.durability`; `flush.messages=1` and `flush.ms=0` mean `fsync` as well.
    pub durability: Durability,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            batch_bytes_max: 1_048_588,
            record_bytes_max: 2_147_483_639,
            compression: None,
            gzip_level: None,
            zstd_level: 3,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max: Duration::from_millis(i64::MAX.unsigned_abs()),
            timestamp_after_max: Duration::from_secs(3600),
            segment_bytes: 1024 * 1024 * 1024,
            segment_age: Duration::from_secs(7 * 86_400),
            retention_age: Some(Duration::from_secs(7 * 86_400)),
            retention_bytes: None,
            tombstones_for: Duration::from_secs(86_400),
            compaction_lag_min: Duration::ZERO,
            compaction_lag_max: Duration::from_millis(i64::MAX.unsigned_abs()),
            dirty_ppm_min: 500_000,
            compact: false,
            delete: true,
            durability: Durability::Replicated,
        }
    }
}

impl TopicConfig {
    /// These rules with a topic's own on top.
    #[must_use]
    pub fn with(&self, overrides: &BTreeMap<Arc<str>, Arc<str>>) -> Self {
        let mut config = self.clone();
        // Sorted, but Kafka's names for it count whatever our own says.
        for (key, value) in overrides {
            config.set(key, value);
        }
        for key in ["flush.messages", "flush.ms"] {
            if let Some(value) = overrides.get(key) {
                config.set(key, value);
            }
        }
        config
    }

    /// What a batch that came as `codec` is compressed with instead, if the topic asks for that.
    pub fn encoder_for(&self, codec: Compression) -> Option<Encoder> {
        let wanted = self.compression.filter(|wanted| *wanted != codec)?;
        Some(match wanted {
            Compression::None => Encoder::Plain,
            Compression::Gzip => Encoder::Gzip(self.gzip_level),
            Compression::Snappy => Encoder::Snappy,
            Compression::Lz4 => Encoder::Lz4,
            Compression::Zstd => Encoder::Zstd(self.zstd_level),
        })
    }

    /// Takes one override; a key or value that means nothing here changes nothing.
    fn set(&mut self, key: &str, value: &str) {
        let number = value.parse::<i64>().ok();
        let natural = number.and_then(|n| u64::try_from(n).ok());
        let millis = natural.map(Duration::from_millis);
        match key {
            "max.message.bytes" => {
                let bytes = natural.and_then(|n| usize::try_from(n).ok());
                self.batch_bytes_max = bytes.unwrap_or(self.batch_bytes_max);
            },
            "max.decompressed.message.bytes" => {
                let bytes = natural.and_then(|n| usize::try_from(n).ok());
                self.record_bytes_max = bytes.unwrap_or(self.record_bytes_max);
            },
            "compression.type" => self.compression = codec_of(value),
            "compression.gzip.level" => {
                self.gzip_level = natural.and_then(|n| u32::try_from(n).ok());
            },
            "compression.zstd.level" => {
                let level = number.and_then(|n| i32::try_from(n).ok());
                self.zstd_level = level.unwrap_or(self.zstd_level);
            },
            "message.timestamp.type" => {
                self.timestamp_type = match value {
                    "LogAppendTime" => TimestampType::LogAppendTime,
                    _ => TimestampType::CreateTime,
                };
            },
            "message.timestamp.before.max.ms" => {
                self.timestamp_before_max = millis.unwrap_or(self.timestamp_before_max);
            },
            "message.timestamp.after.max.ms" => {
                self.timestamp_after_max = millis.unwrap_or(self.timestamp_after_max);
            },
            "segment.bytes" => self.segment_bytes = natural.unwrap_or(self.segment_bytes),
            "segment.ms" => self.segment_age = millis.unwrap_or(self.segment_age),
            "retention.ms" => {
                self.retention_age = if number == Some(-1) { None } else { millis };
            },
            "retention.bytes" => {
                self.retention_bytes = if number == Some(-1) { None } else { natural };
            },
            "delete.retention.ms" => self.tombstones_for = millis.unwrap_or(self.tombstones_for),
            "min.compaction.lag.ms" => {
                self.compaction_lag_min = millis.unwrap_or(self.compaction_lag_min);
            },
            "max.compaction.lag.ms" => {
                self.compaction_lag_max = millis.unwrap_or(self.compaction_lag_max);
            },
            "min.cleanable.dirty.ratio" => {
                self.dirty_ppm_min = millionths(value).unwrap_or(self.dirty_ppm_min);
            },
            "gregor.durability" if value == "fsync" => self.durability = Durability::Fsync,
            "gregor.durability" => self.durability = Durability::Replicated,
            "flush.messages" if number == Some(1) => self.durability = Durability::Fsync,
            "flush.ms" if number == Some(0) => self.durability = Durability::Fsync,
            "cleanup.policy" => {
                let mut policies = value.split(',').map(str::trim);
                self.compact = policies.clone().any(|policy| policy == "compact");
                self.delete = policies.any(|policy| policy == "delete");
            },
            _ => {},
        }
    }
}

/// Whole bytes per second; `None` beyond all integers, as Kafka's default is.
pub fn rate_of(text: &str) -> Option<u64> {
    let rate = text.trim().parse::<f64>().ok().filter(|rate| *rate > 0.0)?;
    format!("{rate:.0}").parse().ok()
}

/// The codec that `compression.type` names; `None` for `producer`.
fn codec_of(name: &str) -> Option<Compression> {
    match name {
        "uncompressed" => Some(Compression::None),
        "gzip" => Some(Compression::Gzip),
        "snappy" => Some(Compression::Snappy),
        "lz4" => Some(Compression::Lz4),
        "zstd" => Some(Compression::Zstd),
        _ => None,
    }
}

/// A share as millionths.
fn millionths(share: &str) -> Option<u32> {
    let share = share.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share))?;
    // The digits, because there is no conversion between floats and integers that loses nothing.
    format!("{:.0}", share * 1_000_000.0).parse().ok()
}

#[cfg(test)]
mod tests {
    use base::config::{broker_key, topic_key};

    use super::*;

    #[test]
    fn overrides_lie_on_top_of_the_defaults() {
        let overrides = [
            ("max.message.bytes", "100"),
            ("retention.ms", "-1"),
            ("retention.bytes", "7"),
            ("cleanup.policy", "compact, delete"),
            ("message.timestamp.type", "LogAppendTime"),
            ("compression.type", "gzip"),
            ("min.cleanable.dirty.ratio", "0.01"),
        ];
        let overrides = overrides.iter().map(|(k, v)| (Arc::from(*k), Arc::from(*v))).collect();

        let config = TopicConfig::default().with(&overrides);

        assert_eq!(config.batch_bytes_max, 100);
        assert_eq!((config.retention_age, config.retention_bytes), (None, Some(7)));
        assert!(config.compact && config.delete);
        assert_eq!(config.dirty_ppm_min, 10_000);
        assert_eq!(config.encoder_for(Compression::Zstd), Some(Encoder::Gzip(None)));
        assert_eq!(config.encoder_for(Compression::Gzip), None);
        assert_eq!(config.timestamp_type, TimestampType::LogAppendTime);
        assert_eq!(config.segment_bytes, TopicConfig::default().segment_bytes);
    }

    #[test]
    fn what_was_set_while_it_ran_lies_on_top_of_the_file_and_its_own_on_top_of_that() {
        let configs = |pairs: &[(&str, &str)]| -> Configs {
            pairs.iter().map(|(key, value)| (Arc::from(*key), Arc::from(*value))).collect()
        };
        let told = BrokerConfig::default();
        let all = configs(&[
            ("log.retention.ms", "7"),
            ("compression.type", "zstd"),
            ("log.cleaner.backoff.ms", "9"),
            ("log.cleaner.io.max.bytes.per.second", "1000.0"),
        ]);
        let own = configs(&[("log.retention.ms", "8"), ("message.max.bytes", "99")]);
        let settings =
            BTreeMap::from([(Resource::Brokers, all), (Resource::Broker(told.node_id), own)]);

        let now = told.with(&settings);

        let topics = &now.topic_defaults;
        assert_eq!(topics.retention_age, Some(Duration::from_millis(8)));
        assert_eq!((topics.compression, topics.batch_bytes_max), (Some(Compression::Zstd), 99));
        assert_eq!(now.cleaner_backoff, Duration::from_millis(9));
        assert_eq!(now.cleaner_bytes_per_second, Some(1000));
        assert_eq!(told.with(&BTreeMap::new()), told);
    }

    #[test]
    fn kafkas_flush_keys_mean_fsync_at_one_message_and_at_no_wait() {
        let with = |key: &str, value: &str| {
            let overrides = [(Arc::from(key), Arc::from(value))].into_iter().collect();
            TopicConfig::default().with(&overrides).durability
        };
        for (key, value) in
            [("gregor.durability", "fsync"), ("flush.messages", "1"), ("flush.ms", "0")]
        {
            assert_eq!(with(key, value), Durability::Fsync, "{key}={value}");
        }
        for (key, value) in
            [("gregor.durability", "replicated"), ("flush.messages", "2"), ("flush.ms", "1")]
        {
            assert_eq!(with(key, value), Durability::Replicated, "{key}={value}");
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_table() {
        let of_table = |name: &str| topic_key(name).and_then(|key| key.default).map(Arc::from);
        let keys = [
            "max.message.bytes",
            "max.decompressed.message.bytes",
            "compression.type",
            "compression.gzip.level",
            "compression.zstd.level",
            "message.timestamp.type",
            "message.timestamp.before.max.ms",
            "message.timestamp.after.max.ms",
            "segment.bytes",
            "segment.ms",
            "retention.ms",
            "retention.bytes",
            "cleanup.policy",
            "delete.retention.ms",
            "min.compaction.lag.ms",
            "max.compaction.lag.ms",
            "min.cleanable.dirty.ratio",
        ];
        let overrides: BTreeMap<Arc<str>, Arc<str>> =
            keys.iter().map(|k| (Arc::from(*k), of_table(k).expect("has a default"))).collect();
        assert_eq!(TopicConfig::default().with(&overrides), TopicConfig::default());

        let broker = BrokerConfig::default();
        let default = |name: &str| broker_key(name).and_then(|key| key.default);
        assert_eq!(default("num.partitions"), Some(broker.num_partitions.to_string().as_str()));
        assert_eq!(
            default("offsets.topic.num.partitions"),
            Some(broker.offsets_partitions.to_string().as_str())
        );
        assert_eq!(
            default("log.cleaner.dedupe.buffer.size"),
            Some(broker.cleaner_map_bytes.to_string().as_str())
        );
        assert_eq!(default("fetch.max.bytes"), Some(broker.fetch_bytes_max.to_string().as_str()));
    }
}
