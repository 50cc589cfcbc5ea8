//! Where the value of a key comes from.
//!
//! Invariants: the order is Kafka's: what was set on the topic or group itself, on this broker while it
//! ran, on all brokers while they ran, in the file, and the default. Source: KIP-226.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Key, broker_key};

/// Values by key.
pub type Configs = BTreeMap<Arc<str>, Arc<str>>;

/// Who set a value; the numbers are those of DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum Source {
    /// A topic's own setting.
    Topic = 1,
    /// Set for one broker while it ran.
    DynamicBroker = 2,
    /// Set for all brokers while they ran.
    DynamicDefault = 3,
    /// The broker's file.
    Static = 4,
    /// Nobody.
    Default = 5,
    /// The level of a logger.
    Logger = 6,
    /// A subscription to client metrics.
    ClientMetrics = 7,
    /// A group's own setting.
    Group = 8,
}

/// One place where a value is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key it is set by.
    pub name: String,
    /// The value.
    pub value: String,
    /// Who set it.
    pub source: Source,
}

/// The places where broker keys are set.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// For this broker, while it ran.
    pub broker: &'a Configs,
    /// For all brokers, while they ran.
    pub cluster: &'a Configs,
    /// In the file.
    pub file: &'a BTreeMap<String, String>,
}

/// Keys that mean the same in another unit, by the first of each; how many of its units one is.
const UNITS: &[(&str, &[(&str, i64)])] = &[
    (
        "log.retention.ms",
        &[
            ("log.retention.ms", 1),
            ("log.retention.minutes", 60_000),
            ("log.retention.hours", 3_600_000),
        ],
    ),
    ("log.roll.jitter.ms", &[("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", 3_600_000)]),
    ("log.roll.ms", &[("log.roll.ms", 1), ("log.roll.hours", 3_600_000)]),
];

impl<'a> Layers<'a> {
    /// The value that somebody set, if somebody did.
    pub fn set(&self, name: &str) -> Option<&'a str> {
        let dynamic = self.broker.get(name).or_else(|| self.cluster.get(name));
        dynamic.map(|value| &**value).or_else(|| self.file.get(name).map(String::as_str))
    }

    /// The value in force.
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.set(name).or_else(|| broker_key(name)?.default)
    }

    /// Every place where a broker key has a value, the one in force first, as Kafka lists them: what
    /// is set under another name in front of the first one under its own is left out.
    pub fn synonyms(&self, name: &str) -> Vec<Setting> {
        let of_units = UNITS
            .iter()
            .find(|(_, names)| names.iter().any(|(unit, _)| *unit == name))
            .map(|(_, names)| names.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        let names = match of_units {
            Some(names) => names,
            None if name == "log.flush.interval.ms" => {
                vec!["log.flush.interval.ms", "log.flush.scheduler.interval.ms"]
            },
            None => vec![name],
        };
        let mut found = Vec::new();
        let mut push = |name: &str, value: Option<&str>, source| {
            if let Some(value) = value {
                found.push(Setting { name: name.to_owned(), value: value.to_owned(), source });
            }
        };
        for name in &names {
            push(name, self.broker.get(*name).map(|value| &**value), Source::DynamicBroker);
        }
        for name in &names {
            push(name, self.cluster.get(*name).map(|value| &**value), Source::DynamicDefault);
        }
        for name in &names {
            push(name, self.file.get(*name).map(String::as_str), Source::Static);
        }
        for name in &names {
            push(name, broker_key(name).and_then(|key| key.default), Source::Default);
        }
        found.into_iter().skip_while(|setting| setting.name != name).collect()
    }

    /// What brokers say of a topic or group key, if anybody does: its first synonym that is set, in
    /// the key's own unit.
    pub fn inherited(&self, key: &Key) -> Option<String> {
        let first = key.synonyms.first()?;
        let units = UNITS.iter().find(|(name, _)| name == first).map(|(_, names)| *names);
        let Some(units) = units else {
            return key.synonyms.iter().find_map(|name| self.set(name)).map(str::to_owned);
        };
        units.iter().find_map(|(name, unit)| {
            let count = self.set(name)?.trim().parse::<i64>().ok()?;
            let millis = if count < 0 { -1 } else { count.saturating_mul(*unit) };
            Some(millis.to_string())
        })
    }

    /// The value in force of a topic or group key that has these values of its own.
    pub fn effective(&self, key: &Key, own: &Configs) -> Option<String> {
        let own = own.get(key.name).map(|value| value.to_string());
        own.or_else(|| self.inherited(key)).or_else(|| key.default.map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::topic_key;

    fn configs(pairs: &[(&str, &str)]) -> Configs {
        pairs.iter().map(|(key, value)| (Arc::from(*key), Arc::from(*value))).collect()
    }

    fn shown(settings: &[Setting]) -> Vec<(Source, &str, &str)> {
        settings.iter().map(|one| (one.source, one.name.as_str(), one.value.as_str())).collect()
    }

    #[test]
    fn synonyms_come_in_kafkas_order_and_begin_with_their_own_name() {
        let (broker, cluster) =
            (configs(&[("log.retention.ms", "7")]), configs(&[("log.retention.ms", "8")]));
        let file = BTreeMap::from([("log.retention.hours".to_owned(), "5".to_owned())]);
        let nothing = configs(&[]);
        let all = Layers { broker: &broker, cluster: &cluster, file: &file };
        let of_file = Layers { broker: &nothing, cluster: &nothing, file: &file };

        assert_eq!(
            shown(&all.synonyms("log.retention.ms")),
            [
                (Source::DynamicBroker, "log.retention.ms", "7"),
                (Source::DynamicDefault, "log.retention.ms", "8"),
                (Source::Static, "log.retention.hours", "5"),
                (Source::Default, "log.retention.hours", "168"),
            ]
        );
        assert_eq!(shown(&of_file.synonyms("log.retention.ms")), []);
        assert_eq!(of_file.synonyms("log.retention.hours").len(), 2);
    }

    #[test]
    fn a_topic_inherits_in_its_own_unit_whatever_unit_the_file_has() {
        let nothing = configs(&[]);
        let key = topic_key("retention.ms").expect("in the table");
        let file = BTreeMap::from([("log.retention.hours".to_owned(), "5".to_owned())]);
        let of_file = Layers { broker: &nothing, cluster: &nothing, file: &file };
        assert_eq!(of_file.effective(key, &nothing).as_deref(), Some("18000000"));

        let cluster = configs(&[("log.retention.ms", "-3")]);
        let dynamic = Layers { cluster: &cluster, ..of_file };
        assert_eq!(dynamic.effective(key, &nothing).as_deref(), Some("-1"));
        let own = configs(&[("retention.ms", "5")]);
        assert_eq!(dynamic.effective(key, &own).as_deref(), Some("5"));
    }
}
