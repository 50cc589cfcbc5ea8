//! Decisions about the overrides of topics that exist.
//!
//! Invariants: a topic changes whole or not at all; what is stored passes the table's check; a
//! change that changes nothing leaves no record. Source: KIP-226, KIP-339; the order of the checks
//! is Kafka's.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::Probe;
use base::config::{Key, Kind, topic_fault, topic_key};

use crate::command::{AlterTopic, ConfigChange, ConfigEdit, Decision, Reply, TopicError};
use crate::decide::check_config;
use crate::settings::layers;
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
    if let ConfigChange::Edit(edits) = &wish.change {
        edits.iter().try_for_each(|(name, edit)| match edit {
            ConfigEdit::Append(_) => list_key(name, "APPEND").map(drop),
            ConfigEdit::Subtract(_) => list_key(name, "SUBTRACT").map(drop),
            ConfigEdit::Set(_) | ConfigEdit::Delete => Ok(()),
        })?;
    }
    if wish.name.is_empty() {
        let why = "Default topic resources are not allowed.".to_owned();
        return Err(TopicError::InvalidRequest(why));
    }
    names::check(&wish.name).map_err(TopicError::InvalidName)?;
    let file = BTreeMap::new();
    let judged = layers(image, None, &file);
    let configs = match &wish.change {
        ConfigChange::Replace(pairs) => {
            let checked = pairs.iter().map(|(name, value)| check_config(name, value));
            checked.collect::<Result<Configs, TopicError>>()?
        },
        ConfigChange::Edit(edits) => edited(now, edits)?,
    };
    if let Some(why) = topic_fault(&configs, &judged) {
        return Err(TopicError::InvalidConfig(why));
    }
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
            ConfigEdit::Append(more) => appended(&elements(&configs, name, "APPEND")?, more),
            ConfigEdit::Subtract(less) => subtracted(&elements(&configs, name, "SUBTRACT")?, less),
        };
        let (key, value) = check_config(name, &value)?;
        configs.insert(key, value);
    }
    Ok(configs)
}

/// A list with these elements too; those it has already stay where they are.
pub(crate) fn appended(elements: &[String], more: &str) -> String {
    let mut all: Vec<&str> = elements.iter().map(String::as_str).collect();
    for one in more.split(',') {
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all.join(",")
}

/// A list without these elements, each taken off at most once.
pub(crate) fn subtracted(elements: &[String], less: &str) -> String {
    let mut all: Vec<&str> = elements.iter().map(String::as_str).collect();
    for one in less.split(',') {
        if let Some(at) = all.iter().position(|element| *element == one) {
            all.remove(at);
        }
    }
    all.join(",")
}

/// The elements of a list.
pub(crate) fn split(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

/// The key of a list.
fn list_key(name: &str, doing: &str) -> Result<&'static Key, TopicError> {
    let key = topic_key(name).filter(|key| key.kind == Kind::List);
    key.ok_or_else(|| not_a_list(name, doing))
}

/// What Kafka's controller says of it.
pub(crate) fn not_a_list(name: &str, doing: &str) -> TopicError {
    let why = format!("Can't {doing} to key {name} because its type is not LIST.");
    TopicError::InvalidConfig(why)
}

/// What a list holds now: the topic's own elements, or else those of the table's default (as in
/// Kafka, whatever the broker's file says).
fn elements(configs: &Configs, name: &str, doing: &str) -> Result<Vec<String>, TopicError> {
    let key = list_key(name, doing)?;
    let own = configs.get(name).map(|value| &**value);
    let value = own.or(key.default).unwrap_or_default();
    Ok(split(value))
}

#[cfg(test)]
#[path = "alter_tests.rs"]
mod tests;
