//! Decisions about the overrides of topics that exist.
//!
//! Invariants: a topic changes whole or not at all; what is stored passes the table's check; a
//! change that changes nothing leaves no record. Source: KIP-226, KIP-339; the order of the checks
//! is Kafka's.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::Probe;
use base::config::{Kind, topic_key};

use crate::command::{AlterTopic, ConfigChange, ConfigEdit, Decision, Reply, TopicError};
use crate::decide::check_config;
use crate::{Image, Record, names};

/// A topic's overrides, by key.
type Configs = BTreeMap<Arc<str>, Arc<str>>;

pub(crate) fn alter_topics<P: Probe>(image: &Image, topics: &[AlterTopic], probe: &P) -> Decision {
    let mut records = Vec::new();
    let mut replies = Vec::new();
    for wish in topics {
        let outcome = alter_topic(image, wish);
        probe.reached(match outcome {
            Ok(_) => "metadata_topic_configured",
            Err(_) => "metadata_topic_not_configured",
        });
        replies.push(outcome.map(|record| records.extend(record)));
    }
    Decision { records, reply: Reply::Altered(replies) }
}

/// The record of a change, if there is anything to change.
fn alter_topic(image: &Image, wish: &AlterTopic) -> Result<Option<Record>, TopicError> {
    let topic = image.topic_named(&wish.name);
    let nothing = Configs::new();
    let now = topic.map_or(&nothing, |topic| &topic.configs);
    let configs = match &wish.change {
        ConfigChange::Replace(pairs) => {
            let checked = pairs.iter().map(|(name, value)| check_config(name, value));
            checked.collect::<Result<Configs, TopicError>>()?
        },
        ConfigChange::Edit(edits) => edited(now, edits)?,
    };
    if wish.name.is_empty() {
        let why = "Default topic resources are not allowed.".to_owned();
        return Err(TopicError::InvalidRequest(why));
    }
    names::check(&wish.name).map_err(TopicError::InvalidName)?;
    let topic = topic.ok_or_else(|| TopicError::Missing(wish.name.clone()))?;
    let changed = configs != topic.configs;
    Ok(changed.then_some(Record::TopicConfigured { id: topic.id, configs }))
}

fn edited(now: &Configs, edits: &[(String, ConfigEdit)]) -> Result<Configs, TopicError> {
    let mut configs = now.clone();
    for (name, edit) in edits {
        let value = match edit {
            ConfigEdit::Set(value) => value.clone(),
            ConfigEdit::Delete => {
                // As in Kafka, what was never there can go, and so can what nobody knows any more.
                configs.remove(name.as_str());
                continue;
            },
            ConfigEdit::Append(more) => {
                let mut elements = elements(&configs, name, "APPEND")?;
                for one in more.split(',') {
                    if !elements.iter().any(|element| element == one) {
                        elements.push(one.to_owned());
                    }
                }
                elements.join(",")
            },
            ConfigEdit::Subtract(less) => {
                let mut elements = elements(&configs, name, "SUBTRACT")?;
                for one in less.split(',') {
                    if let Some(at) = elements.iter().position(|element| element == one) {
                        elements.remove(at);
                    }
                }
                elements.join(",")
            },
        };
        let (key, value) = check_config(name, &value)?;
        configs.insert(key, value);
    }
    Ok(configs)
}

/// What a list holds now: the topic's own elements, or else those of the table's default (as in
/// Kafka, whatever the broker's file says).
fn elements(configs: &Configs, name: &str, doing: &str) -> Result<Vec<String>, TopicError> {
    let Some(key) = topic_key(name).filter(|key| key.kind == Kind::List) else {
        return Err(TopicError::InvalidConfig(format!(
            "Can't {doing} to key {name} because its type is not LIST."
        )));
    };
    let own = configs.get(name).map(|value| &**value);
    let value = own.or(key.default).unwrap_or_default();
    Ok(value.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
#[path = "alter_tests.rs"]
mod tests;
