//! What the tables of configuration keys say to clients: values, sources, synonyms.
//!
//! Invariants: every key of a table is shown, with the value in force; the source is that of the
//! first synonym, so that tools can tell a default from a choice; nobody is shown a password. Source:
//! KIP-226, KIP-569; what is asked is answered as a single node of Kafka 4.4 does.

use std::collections::BTreeMap;

use base::config::{
    BROKER_KEYS, CLIENT_METRICS_KEYS, Configs, GROUP_KEYS, Key, Kind, Layers, Setting, Source,
    TOPIC_KEYS, Update, broker_key,
};

/// One key as it is in force.
pub(super) struct Effective {
    pub(super) name: String,
    /// `None` is "not set", or "not to be shown".
    pub(super) value: Option<String>,
    pub(super) source: i8,
    /// From the one in force to the one that is overridden by all others.
    pub(super) synonyms: Vec<Synonym>,
    /// Kafka's number of its type.
    pub(super) kind: i8,
    pub(super) read_only: bool,
    pub(super) sensitive: bool,
    pub(super) doc: Option<&'static str>,
}

/// One place where a value may be set.
pub(super) struct Synonym {
    pub(super) name: String,
    pub(super) value: Option<String>,
    pub(super) source: i8,
}

impl Effective {
    fn of(key: &'static Key, value: Option<String>, settings: Vec<Setting>) -> Self {
        let sensitive = key.is_sensitive();
        let shown = |value: String| (!sensitive).then_some(value);
        let synonyms = settings.into_iter().map(|setting| Synonym {
            name: setting.name,
            value: shown(setting.value),
            source: setting.source as i8,
        });
        let synonyms: Vec<Synonym> = synonyms.collect();
        Self {
            name: key.name.to_owned(),
            value: value.and_then(shown),
            source: synonyms.first().map_or(Source::Default as i8, |first| first.source),
            synonyms,
            kind: type_number(key.kind),
            read_only: false,
            sensitive,
            doc: Some(key.doc),
        }
    }
}

/// Every key of a topic that has these values of its own.
pub(super) fn of_topic(own: &Configs, layers: &Layers<'_>) -> Vec<Effective> {
    inheriting(TOPIC_KEYS, own, Source::Topic, layers)
}

/// Every key of a group that has these values of its own.
pub(super) fn of_group(own: &Configs, layers: &Layers<'_>) -> Vec<Effective> {
    inheriting(GROUP_KEYS, own, Source::Group, layers)
}

/// Every key of a subscription to client metrics that has these values of its own.
pub(super) fn of_client_metrics(own: &Configs) -> Vec<Effective> {
    let effective = CLIENT_METRICS_KEYS.iter().map(|key| {
        let settings = own_setting(key, own, Source::ClientMetrics).into_iter().collect();
        let value = own.get(key.name).map(|value| value.to_string());
        Effective::of(key, value.or_else(|| key.default.map(str::to_owned)), settings)
    });
    effective.collect()
}

fn inheriting(
    keys: &'static [Key],
    own: &Configs,
    source: Source,
    layers: &Layers<'_>,
) -> Vec<Effective> {
    let effective = keys.iter().map(|key| {
        let mut settings: Vec<Setting> = own_setting(key, own, source).into_iter().collect();
        if let Some(first) = key.synonyms.first() {
            settings.extend(layers.synonyms(first));
            if broker_key(first).is_none()
                && let Some(default) = key.default
            {
                let (name, value) = ((*first).to_owned(), default.to_owned());
                settings.push(Setting { name, value, source: Source::Default });
            }
        }
        Effective::of(key, layers.effective(key, own), settings)
    });
    effective.collect()
}

fn own_setting(key: &Key, own: &Configs, source: Source) -> Option<Setting> {
    let value = own.get(key.name)?.to_string();
    Some(Setting { name: key.name.to_owned(), value, source })
}

/// Every key of a broker.
pub(super) fn of_broker(layers: &Layers<'_>) -> Vec<Effective> {
    let effective = BROKER_KEYS.iter().map(|key| {
        let settings = layers.synonyms(key.name);
        // Kafka's two names of the node's id are both set where one is.
        let value = layers.value(key.name).map(str::to_owned);
        let read_only = key.update == Update::ReadOnly;
        Effective { read_only, ..Effective::of(key, value, settings) }
    });
    effective.collect()
}

/// What is set for all brokers, and nothing else.
pub(super) fn of_cluster(layers: &Layers<'_>) -> Vec<Effective> {
    let known = layers.cluster.iter().filter_map(|(name, value)| {
        let key = broker_key(name)?;
        let settings = layers.synonyms(name).into_iter();
        let settings = settings.filter(|one| one.source == Source::DynamicDefault).collect();
        let read_only = key.update == Update::ReadOnly;
        Some(Effective { read_only, ..Effective::of(key, Some(value.to_string()), settings) })
    });
    known.collect()
}

/// The levels of the loggers.
pub(super) fn of_loggers(levels: BTreeMap<String, String>) -> Vec<Effective> {
    let effective = levels.into_iter().map(|(name, level)| Effective {
        name,
        value: Some(level),
        source: Source::Logger as i8,
        synonyms: Vec::new(),
        kind: 0,
        read_only: false,
        sensitive: false,
        doc: Some(""),
    });
    effective.collect()
}

/// Kafka's number of a type.
fn type_number(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::String => 2,
        Kind::Int => 3,
        Kind::Short => 4,
        Kind::Long => 5,
        Kind::Double => 6,
        Kind::List => 7,
        Kind::Class => 8,
        Kind::Password => 9,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn configs(pairs: &[(&str, &str)]) -> Configs {
        pairs.iter().map(|(key, value)| (Arc::from(*key), Arc::from(*value))).collect()
    }

    fn find(all: Vec<Effective>, name: &str) -> Effective {
        all.into_iter().find(|one| one.name == name).unwrap()
    }

    fn sources(one: &Effective) -> Vec<i8> {
        one.synonyms.iter().map(|synonym| synonym.source).collect()
    }

    #[test]
    fn a_topic_wins_over_the_broker_the_broker_over_all_and_those_over_the_default() {
        let file = BTreeMap::new();
        let (broker, cluster) =
            (configs(&[("log.retention.ms", "7")]), configs(&[("log.retention.ms", "8")]));
        let layers = Layers { broker: &broker, cluster: &cluster, file: &file };
        let own = configs(&[("retention.ms", "5")]);

        let topic = find(of_topic(&own, &layers), "retention.ms");
        let inherited = find(of_topic(&configs(&[]), &layers), "retention.ms");

        assert_eq!((topic.value.as_deref(), sources(&topic)), (Some("5"), vec![1, 2, 3, 5]));
        assert_eq!((inherited.value.as_deref(), inherited.source), (Some("7"), 2));
    }

    #[test]
    fn what_only_another_unit_says_is_a_default_to_kafka() {
        let nothing = configs(&[]);
        let file = BTreeMap::from([("log.retention.hours".to_owned(), "1".to_owned())]);
        let layers = Layers { broker: &nothing, cluster: &nothing, file: &file };

        let topic = find(of_topic(&nothing, &layers), "retention.ms");

        assert_eq!((topic.value.as_deref(), topic.source), (Some("3600000"), 5));
        assert!(topic.synonyms.is_empty());
    }

    #[test]
    fn a_password_is_shown_to_nobody_and_what_may_not_change_says_so() {
        let nothing = configs(&[]);
        let file = BTreeMap::from([("ssl.key.password".to_owned(), "hush".to_owned())]);
        let layers = Layers { broker: &nothing, cluster: &nothing, file: &file };

        let password = find(of_broker(&layers), "ssl.key.password");
        assert!(password.sensitive && password.value.is_none());
        assert!(password.synonyms.iter().all(|synonym| synonym.value.is_none()));
        assert!(find(of_broker(&layers), "node.id").read_only);
        assert!(!find(of_broker(&layers), "log.retention.ms").read_only);
    }

    #[test]
    fn all_brokers_show_what_was_set_for_them_alone() {
        let (broker, file) = (configs(&[("log.retention.ms", "7")]), BTreeMap::new());
        let cluster = configs(&[("log.retention.ms", "8")]);
        let layers = Layers { broker: &broker, cluster: &cluster, file: &file };

        let shown = of_cluster(&layers);

        assert_eq!(shown.len(), 1);
        assert_eq!((shown[0].value.as_deref(), sources(&shown[0])), (Some("8"), vec![3]));
    }
}
