//! Offsets that nobody has needed for long, and groups of which nothing is left.
//!
//! Invariants: an offset goes only once its time is over by the rule of its group ([`UnusedSince`])
//! or by what its client asked for, and never while a member subscribes to its topic; a group goes
//! with its last offset, if it has no members. What is on its way to the log counts as if it were in
//! it. Nobody is answered, so what cannot be written now is found again by the next look.
//! Source: KIP-211.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base::{Duration, Probe, Timestamp};

use super::{Shard, Step};
use crate::durable::DurableGroup;
use crate::group::{Group, UnusedSince};
use crate::pipeline::Then;
use crate::record::{OffsetKey, Record, StoredOffset};

impl<P: Probe> Shard<P> {
    /// Proposes that what has expired be removed.
    pub(super) fn expire_offsets(&mut self, step: &Step<'_>) {
        let mut pending: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
        for record in self.pipeline.pending() {
            pending.entry(record.group()).or_default().push(record);
        }
        let mut removals = Vec::new();
        for (name, durable) in self.durable.groups() {
            let foreseen = match pending.get(name) {
                None => Cow::Borrowed(durable),
                Some(records) => {
                    let mut group = durable.clone();
                    records.iter().for_each(|record| group.apply(record));
                    Cow::Owned(group)
                },
            };
            let records = self.expired(step.wall, name, &foreseen);
            if !records.is_empty() {
                removals.push((name.to_owned(), records));
            }
        }
        for (name, records) in removals {
            let was_live = self.groups.contains_key(&name);
            let then = Then::Expired { group: name.clone(), was_live };
            if self.propose_removals(records, then)
                && let Some(group) = self.groups.get_mut(&name)
            {
                group.proposal_begun();
            }
        }
    }

    /// The tombstones of what has expired of a group.
    fn expired(&self, wall: Timestamp, name: &str, foreseen: &DurableGroup) -> Vec<Record> {
        let live = self.groups.get(name);
        let since = live.map_or(UnusedSince::Commit, Group::unused_since);
        let mut records = Vec::new();
        let mut is_all = true;
        for (topic, partition, stored) in foreseen.each_offset() {
            let is_over = is_over(since, stored, wall, self.settings.offsets_retention);
            let is_read = live.is_some_and(|group| group.subscribes_to(topic));
            if is_over && is_read {
                self.probe.reached("group_offsets_kept_by_subscription");
            }
            if is_over && !is_read {
                let topic = topic.to_owned();
                let key = OffsetKey { group: name.to_owned(), topic, partition };
                records.push(Record::Offset { key, value: None });
            } else {
                is_all = false;
            }
        }
        if !records.is_empty() {
            self.probe.reached("group_offsets_expired");
        }
        if is_all && foreseen.generation.is_some() && live.is_none_or(Group::is_vacant) {
            self.probe.reached("group_forgotten");
            records.push(Record::Group { group: name.to_owned(), value: None });
        }
        records
    }
}

/// Whether an offset has been unused for long enough.
fn is_over(since: UnusedSince, stored: &StoredOffset, wall: Timestamp, kept: Duration) -> bool {
    let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
    let from = match since {
        UnusedSince::Never => return false,
        UnusedSince::Commit => stored.at,
        UnusedSince::Emptied(at) => at,
    };
    match stored.expires_at {
        Some(at) => wall >= at,
        None => wall.0.saturating_sub(from.0) >= kept,
    }
}
