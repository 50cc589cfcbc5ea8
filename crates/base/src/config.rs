//! The one table of configuration keys: file parsing, flags, validation, DescribeConfigs and docs
//! all read it.
//!
//! Owns: names, types, defaults, bounds and docs, as data. Invariants: names are Kafka's where
//! Kafka has the key; a key marked `inert` is accepted and has no effect, and says so; defaults are
//! Kafka's unless the doc says otherwise.

mod broker_keys;
mod properties;
mod topic_keys;
mod value;

pub use broker_keys::BROKER_KEYS;
pub use properties::{PropertiesError, parse_numbered_properties, parse_properties};
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
    /// Broker keys that give a topic key its default, first wins (empty for broker keys).
    pub synonyms: &'static [&'static str],
    /// Accepted, but without effect in this version.
    pub inert: bool,
    /// What it means, with its unit.
    pub doc: &'static str,
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
        Self { name, kind, default, bound, synonyms, inert: false, doc }
    }

    const fn inert(
        name: &'static str,
        kind: Kind,
        default: Option<&'static str>,
        bound: Bound,
        synonyms: &'static [&'static str],
        doc: &'static str,
    ) -> Self {
        Self { name, kind, default, bound, synonyms, inert: true, doc }
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

/// The broker key `name`, if there is one.
pub fn broker_key(name: &str) -> Option<&'static Key> {
    BROKER_KEYS.iter().find(|key| key.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_passes_its_own_check() {
        for key in TOPIC_KEYS.iter().chain(BROKER_KEYS) {
            if let Some(default) = key.default {
                assert_eq!(key.check(default), Ok(()), "{}", key.name);
            }
            assert!(key.doc.ends_with('.'), "{}: a doc is a sentence", key.name);
        }
    }

    #[test]
    fn names_are_unique_and_sorted() {
        for table in [TOPIC_KEYS, BROKER_KEYS] {
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
