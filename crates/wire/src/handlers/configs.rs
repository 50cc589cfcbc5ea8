//! What the table of configuration keys says to clients: values, sources, synonyms.
//!
//! Invariants: every key of the table is shown, with the value in force; the source is that of the
//! first synonym, so that tools can tell a default from a choice. Source: KIP-226, KIP-569.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::config::{BROKER_KEYS, Key, Kind, TOPIC_KEYS, broker_key};
use broker::api::TopicView;

/// A topic's own setting.
const SOURCE_TOPIC: i8 = 1;
/// The broker's configuration file.
const SOURCE_STATIC_BROKER: i8 = 4;
/// Nobody set it.
const SOURCE_DEFAULT: i8 = 5;

/// One key as it is in force.
pub(super) struct Effective {
    pub(super) key: &'static Key,
    /// `None` is "not set".
    pub(super) value: Option<String>,
    pub(super) source: i8,
    /// From the one in force to the one that is overridden by all others.
    pub(super) synonyms: Vec<Synonym>,
}

/// One place where a value may be set.
pub(super) struct Synonym {
    pub(super) name: &'static str,
    pub(super) value: Option<String>,
    pub(super) source: i8,
}

impl Effective {
    fn new(key: &'static Key, synonyms: Vec<Synonym>) -> Self {
        let (value, source) = match synonyms.first() {
            Some(first) => (first.value.clone(), first.source),
            None => (key.default.map(str::to_owned), SOURCE_DEFAULT),
        };
        Self { key, value, source, synonyms }
    }
}

/// Every key of a topic.
pub(super) fn of_topic(
    topic: &TopicView,
    static_configs: &BTreeMap<String, String>,
) -> Vec<Effective> {
    of_overrides(&topic.configs, static_configs)
}

/// Every key of a topic with these overrides.
pub(super) fn of_overrides(
    overrides: &BTreeMap<Arc<str>, Arc<str>>,
    static_configs: &BTreeMap<String, String>,
) -> Vec<Effective> {
    let effective = TOPIC_KEYS.iter().map(|key| {
        let mut synonyms = Vec::new();
        if let Some(value) = overrides.get(key.name) {
            let value = Some(value.to_string());
            synonyms.push(Synonym { name: key.name, value, source: SOURCE_TOPIC });
        }
        for name in key.synonyms {
            push_broker(&mut synonyms, name, static_configs);
        }
        Effective::new(key, synonyms)
    });
    effective.collect()
}

/// Every key of the broker.
pub(super) fn of_broker(static_configs: &BTreeMap<String, String>) -> Vec<Effective> {
    let effective = BROKER_KEYS.iter().map(|key| {
        let mut synonyms = Vec::new();
        push_broker(&mut synonyms, key.name, static_configs);
        Effective::new(key, synonyms)
    });
    effective.collect()
}

fn push_broker(
    synonyms: &mut Vec<Synonym>,
    name: &'static str,
    static_configs: &BTreeMap<String, String>,
) {
    if let Some(value) = static_configs.get(name) {
        let value = Some(value.clone());
        synonyms.push(Synonym { name, value, source: SOURCE_STATIC_BROKER });
    }
    if let Some(default) = broker_key(name).and_then(|key| key.default) {
        let value = Some(default.to_owned());
        synonyms.push(Synonym { name, value, source: SOURCE_DEFAULT });
    }
}

/// Kafka's number of a type.
pub(super) fn type_number(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::String => 2,
        Kind::Int => 3,
        Kind::Short => 4,
        Kind::Long => 5,
        Kind::Double => 6,
        Kind::List => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(all: Vec<Effective>, name: &str) -> Effective {
        all.into_iter().find(|one| one.key.name == name).unwrap()
    }

    #[test]
    fn a_topic_wins_over_the_file_and_the_file_over_the_default() {
        let file = BTreeMap::from([("log.retention.ms".to_owned(), "7".to_owned())]);
        let own = BTreeMap::from([(Arc::from("retention.ms"), Arc::from("5"))]);

        let topic = find(of_overrides(&own, &file), "retention.ms");
        let inherited = find(of_overrides(&BTreeMap::new(), &file), "retention.ms");
        let default = find(of_overrides(&BTreeMap::new(), &BTreeMap::new()), "retention.ms");

        assert_eq!((topic.value.as_deref(), topic.source), (Some("5"), SOURCE_TOPIC));
        let sources: Vec<_> = topic.synonyms.iter().map(|synonym| synonym.source).collect();
        assert!(sources.starts_with(&[SOURCE_TOPIC, SOURCE_STATIC_BROKER]), "{sources:?}");
        let inherited = (inherited.value.as_deref().map(str::to_owned), inherited.source);
        assert_eq!(inherited, (Some("7".to_owned()), SOURCE_STATIC_BROKER));
        assert_eq!(default.value.as_deref(), Some("604800000"));
        assert_eq!(default.source, SOURCE_DEFAULT);
    }

    #[test]
    fn every_synonym_of_a_topic_key_is_a_broker_key() {
        for key in TOPIC_KEYS {
            for name in key.synonyms {
                assert!(broker_key(name).is_some(), "{name}");
            }
        }
    }
}
