//! The one table of configuration keys: file parsing, flags, validation, DescribeConfigs and docs
//! all read it.
//!
//! Owns: names, types, defaults, bounds and docs, as data. Invariants: names are Kafka's where
//! Kafka has the key; a key marked `inert` is accepted and has no effect, and says so; defaults are
//! Kafka's unless the doc says otherwise.

mod broker_keys;
mod group_keys;
mod layers;
mod properties;
mod rules;
mod topic_keys;
mod value;

pub use broker_keys::BROKER_KEYS;
pub use group_keys::{CLIENT_METRICS_KEYS, GROUP_KEYS};
pub use layers::{Configs, Layers, Setting, Source};
pub use properties::{PropertiesError, parse_numbered_properties, parse_properties};
pub use rules::{
    connections_per_ip, dynamic_fault, file_fault, group_fault, layers_fault, metrics_fault,
    topic_fault,
};
pub use topic_keys::TOPIC_KEYS;
pub use value::{Bound, Kind, ValueError};

/// One configuration key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Key {
    /// Kafka's name, or `gregor.…`.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// The default as text; `None` is "not set".
    pub default: Option<&'static str>,
    /// What a value must satisfy beyond its type.
    pub bound: Bound,
    /// Broker keys that give a topic or group key its default, first wins (empty for broker keys).
    pub synonyms: &'static [&'static str],
    /// Whether a broker key may change while the broker runs.
    pub update: Update,
    /// Accepted, but without effect in this version.
    pub inert: bool,
    /// What it means, with its unit.
    pub doc: &'static str,
}

/// How a broker key may change while the broker runs (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// It may not.
    ReadOnly,
    /// For one broker by its id.
    PerBroker,
    /// For one broker, or for all of them at once.
    ClusterWide,
}

impl Key {
    const fn live(
        name: &'static str,
        kind: Kind,
        default: Option<&'static str>,
        bound: Bound,
        synonyms: &'static [&'static str],
        doc: &'static str,
    ) -> Self {
        let update = Update::ReadOnly;
        Self { name, kind, default, bound, synonyms, update, inert: false, doc }
    }

    const fn inert(
        name: &'static str,
        kind: Kind,
        default: Option<&'static str>,
        bound: Bound,
        synonyms: &'static [&'static str],
        doc: &'static str,
    ) -> Self {
        let update = Update::ReadOnly;
        Self { name, kind, default, bound, synonyms, update, inert: true, doc }
    }

    /// Without effect, as its whole subject is not there.
    const fn absent(
        name: &'static str,
        kind: Kind,
        default: Option<&'static str>,
        bound: Bound,
        doc: &'static str,
    ) -> Self {
        Self::inert(name, kind, default, bound, &[], doc)
    }

    const fn of_group(
        name: &'static str,
        kind: Kind,
        default: Option<&'static str>,
        bound: Bound,
        synonyms: &'static [&'static str],
        doc: &'static str,
    ) -> Self {
        Self::inert(name, kind, default, bound, synonyms, doc)
    }

    const fn dynamic(self) -> Self {
        Self { update: Update::ClusterWide, ..self }
    }

    const fn per_broker(self) -> Self {
        Self { update: Update::PerBroker, ..self }
    }

    /// Whether nobody may be told its value.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// Checks a value against type and bounds.
    ///
    /// # Errors
    /// [`ValueError`] names the key, the value and what was expected.
    pub fn check(&self, value: &str) -> Result<(), ValueError> {
        value::check(self, value)
    }
}

/// The topic key `name`, if there is one.
pub fn topic_key(name: &str) -> Option<&'static Key> {
    TOPIC_KEYS.iter().find(|key| key.name == name)
}

/// The group key `name`, if there is one.
pub fn group_key(name: &str) -> Option<&'static Key> {
    GROUP_KEYS.iter().find(|key| key.name == name)
}

/// The key `name` of a subscription to client metrics, if there is one.
pub fn client_metrics_key(name: &str) -> Option<&'static Key> {
    CLIENT_METRICS_KEYS.iter().find(|key| key.name == name)
}

/// The broker key `name`, if there is one.
pub fn broker_key(name: &str) -> Option<&'static Key> {
    BROKER_KEYS.iter().find(|key| key.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_passes_its_own_check() {
        for key in TOPIC_KEYS.iter().chain(BROKER_KEYS).chain(GROUP_KEYS) {
            if let Some(default) = key.default {
                assert_eq!(key.check(default), Ok(()), "{}", key.name);
            }
            assert!(key.doc.ends_with('.'), "{}: a doc is a sentence", key.name);
        }
    }

    #[test]
    fn names_are_unique_and_sorted() {
        for table in [TOPIC_KEYS, BROKER_KEYS, GROUP_KEYS, CLIENT_METRICS_KEYS] {
            for pair in table.windows(2) {
                assert!(pair[0].name < pair[1].name, "{} < {}", pair[0].name, pair[1].name);
            }
        }
    }

    #[test]
    fn every_synonym_is_a_broker_key_of_the_same_type() {
        for key in TOPIC_KEYS {
            for synonym in key.synonyms {
                let found = broker_key(synonym);
                assert!(found.is_some(), "{}: {synonym} is missing", key.name);
            }
        }
    }

    #[test]
    fn values_are_judged_as_kafka_judges_them() {
        let said = |key: &str, value: &str| match topic_key(key).expect("in the table").check(value)
        {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        for (key, value, expected) in [
            ("segment.bytes", " 2000000 ", ""),
            (
                "segment.bytes",
                "",
                "Invalid value  for configuration segment.bytes: Not a number of type INT",
            ),
            ("retention.bytes", "-5", ""),
            ("cleanup.policy", "", ""),
            ("cleanup.policy", " compact , delete ", ""),
            (
                "cleanup.policy",
                "compact,,delete",
                "Configuration 'cleanup.policy' values must not be empty.",
            ),
            (
                "cleanup.policy",
                "shred",
                "Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete",
            ),
            (
                "min.cleanable.dirty.ratio",
                "2",
                "Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
            ),
            (
                "min.cleanable.dirty.ratio",
                "-0.5",
                "Invalid value -0.5 for configuration min.cleanable.dirty.ratio: Value must be at least 0",
            ),
            (
                "min.cleanable.dirty.ratio",
                "abc",
                "Invalid value abc for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE",
            ),
            ("preallocate", "TRUE", ""),
            (
                "compression.gzip.level",
                "0",
                "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
            ),
            ("compression.gzip.level", "-1", ""),
            (
                "compression.zstd.level",
                "23",
                "Invalid value 23 for configuration compression.zstd.level: Value must be no more than 22",
            ),
            ("leader.replication.throttled.replicas", "*", ""),
            ("leader.replication.throttled.replicas", "0:1,1:1", ""),
            (
                "leader.replication.throttled.replicas",
                "x",
                "Invalid value [x] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
            ),
        ] {
            assert_eq!(said(key, value), expected, "{key}={value}");
        }
    }

    #[test]
    fn a_bad_value_is_refused_with_the_reason() {
        let key = topic_key("segment.bytes").expect("in the table");
        let error = key.check("12").expect_err("below the minimum");
        assert_eq!(
            error.to_string(),
            "Invalid value 12 for configuration segment.bytes: Value must be at least 1048576"
        );
        assert!(key.check("twelve").is_err());
        assert!(topic_key("cleanup.policy").expect("in the table").check("compact,delete").is_ok());
        assert!(topic_key("cleanup.policy").expect("in the table").check("shred").is_err());
    }
}
