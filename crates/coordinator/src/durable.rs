//! What is in the log, added up.
//!
//! Owns: committed offsets and the last generation of each group. Invariants: nothing changes it
//! but [`Durable::apply`] of a record that is in the log; so it equals, at any moment, what reading
//! the log from its start gives.

use std::collections::BTreeMap;

use crate::record::{OffsetKey, Record, StoredGroup, StoredOffset};

/// Everything a shard's log says, by group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    groups: BTreeMap<String, DurableGroup>,
}

/// What the log says of one group. Never without both a generation and offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DurableGroup {
    /// The last generation written, if the group ever had members and was not forgotten.
    pub generation: Option<StoredGroup>,
    /// Offsets by topic and partition.
    pub offsets: BTreeMap<String, BTreeMap<i32, StoredOffset>>,
}

impl DurableGroup {
    /// Takes in one record of this group.
    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Offset { key, value: Some(value) } => {
                let topic = self.offsets.entry(key.topic.clone()).or_default();
                topic.insert(key.partition, value.clone());
            },
            Record::Offset { key, value: None } => {
                if let Some(topic) = self.offsets.get_mut(&key.topic) {
                    topic.remove(&key.partition);
                    if topic.is_empty() {
                        self.offsets.remove(&key.topic);
                    }
                }
            },
            Record::Group { value, .. } => self.generation.clone_from(value),
        }
    }

    /// Every offset, by topic and partition.
    pub(crate) fn each_offset(&self) -> impl Iterator<Item = (&str, i32, &StoredOffset)> {
        self.offsets.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, stored)| (topic.as_str(), *partition, stored))
        })
    }
}

impl Durable {
    /// Takes in one record of the log.
    pub(crate) fn apply(&mut self, record: &Record) {
        let name = record.group();
        if !self.groups.contains_key(name) {
            self.groups.insert(name.to_owned(), DurableGroup::default());
        }
        let Some(group) = self.groups.get_mut(name) else { return };
        group.apply(record);
        if group.generation.is_none() && group.offsets.is_empty() {
            self.groups.remove(name);
        }
    }

    /// For the mutant `forget_group_offsets` only.
    pub(crate) fn forget_offsets(&mut self, group: &str) {
        if let Some(group) = self.groups.get_mut(group) {
            group.offsets.clear();
        }
    }

    /// What the log says of `group`.
    pub fn group(&self, group: &str) -> Option<&DurableGroup> {
        self.groups.get(group)
    }

    /// Every group the log speaks of, by id.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &DurableGroup)> {
        self.groups.iter().map(|(name, group)| (name.as_str(), group))
    }

    /// How many groups the log speaks of.
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Every offset committed for `topic`.
    pub(crate) fn offsets_of(&self, topic: &str) -> Vec<OffsetKey> {
        let mut keys = Vec::new();
        for (name, group) in &self.groups {
            let partitions = group.offsets.get(topic).into_iter().flat_map(BTreeMap::keys);
            keys.extend(partitions.map(|partition| OffsetKey {
                group: name.clone(),
                topic: topic.to_owned(),
                partition: *partition,
            }));
        }
        keys
    }
}
