//! Groups and offsets that an administrator deletes: DeleteGroups and OffsetDelete.
//!
//! Invariants: a group with members is not deleted, nor an offset that a member reads; who deletes is
//! answered when the tombstones are in the log, also when somebody else has just asked for the same;
//! what is committed after the request was decided stays. Source: KIP-229, KIP-496.

use std::collections::BTreeSet;

use base::Probe;

use super::{Shard, Step};
use crate::event::{AppendError, RequestId};
use crate::group::Group;
use crate::pipeline::Then;
use crate::record::{OffsetKey, Record};
use crate::{GroupError, Reply};

impl<P: Probe> Shard<P> {
    /// DeleteGroups of one group.
    pub(super) fn delete(&mut self, step: &mut Step<'_>, id: RequestId, group: String) {
        if let Err(why) = self.admit_deletion(&group) {
            self.io(step).reply(id, Reply::Delete(Err(why)));
            return;
        }
        let keys = self.known_offsets(&group);
        let offsets = keys.into_iter().map(|key| Record::Offset { key, value: None });
        let end = Record::Group { group: group.clone(), value: None };
        let records: Vec<Record> = offsets.chain([end]).collect();
        self.probe.reached("group_deleted");
        // Planted: it is deleted here, and nobody tells the log.
        if self.probe.mutant("group_deletion_not_durable") {
            records.iter().for_each(|record| self.durable.apply(record));
            self.with_group(step, &group, |group, _| {
                group.deletion_begun();
                group.deletion_settled(true);
            });
            self.io(step).reply(id, Reply::Delete(Ok(())));
            return;
        }
        let was_live = self.groups.contains_key(&group);
        let then = Then::Deleted { request: id, group: group.clone(), was_live };
        if self.propose_removals(records, then) {
            self.with_group(step, &group, |group, _| group.deletion_begun());
        } else {
            self.io(step).reply(id, Reply::Delete(Err(GroupError::UnknownServerError)));
        }
    }

    fn admit_deletion(&self, name: &str) -> Result<(), GroupError> {
        // Planted: the offsets go from under those who read.
        let ignores = self.probe.mutant("delete_ignores_members");
        let has_members = self.groups.get(name).is_some_and(|group| !group.is_empty());
        if has_members && !ignores {
            Err(GroupError::NonEmptyGroup)
        } else if self.is_known(name) {
            Ok(())
        } else {
            Err(GroupError::GroupNotFound)
        }
    }

    /// The deletion of a group has an outcome.
    pub(super) fn deleted(
        &mut self,
        step: &mut Step<'_>,
        request: RequestId,
        (group, was_live): (&str, bool),
        outcome: Result<(), AppendError>,
    ) {
        if was_live {
            self.with_group(step, group, |group, _| group.deletion_settled(outcome.is_ok()));
        }
        let result = outcome.map_err(GroupError::of_append);
        self.io(step).reply(request, Reply::Delete(result));
    }

    /// OffsetDelete.
    pub(super) fn delete_offsets(
        &mut self,
        step: &mut Step<'_>,
        id: RequestId,
        name: &str,
        partitions: Vec<(String, i32)>,
    ) {
        let refused = if name.is_empty() {
            Some(GroupError::InvalidGroupId)
        } else if !self.is_known(name) {
            Some(GroupError::GroupNotFound)
        } else {
            let group = self.groups.get(name);
            let is_barred = |group: &Group| !group.is_empty() && !group.is_of_consumers();
            group.is_some_and(is_barred).then_some(GroupError::NonEmptyGroup)
        };
        if let Some(why) = refused {
            self.io(step).reply(id, Reply::DeleteOffsets(Err(why)));
            return;
        }
        let known = self.known_offsets(name);
        let group = self.groups.get(name);
        let mut results = Vec::with_capacity(partitions.len());
        let mut gone = BTreeSet::new();
        for (topic, partition) in partitions {
            if group.is_some_and(|group| group.subscribes_to(&topic)) {
                results.push(Err(GroupError::GroupSubscribedToTopic));
                continue;
            }
            results.push(Ok(()));
            let key = OffsetKey { group: name.to_owned(), topic, partition };
            gone.extend(known.contains(&key).then_some(key));
        }
        if gone.is_empty() {
            self.io(step).reply(id, Reply::DeleteOffsets(Ok(results)));
            return;
        }
        self.probe.reached("group_offsets_deleted");
        let records = gone.into_iter().map(|key| Record::Offset { key, value: None }).collect();
        if !self.propose_removals(records, Then::OffsetsDeleted { request: id, results }) {
            let why = GroupError::UnknownServerError;
            self.io(step).reply(id, Reply::DeleteOffsets(Err(why)));
        }
    }

    /// The deletion of some offsets has an outcome.
    pub(super) fn offsets_deleted(
        &mut self,
        step: &mut Step<'_>,
        request: RequestId,
        results: Vec<Result<(), GroupError>>,
        outcome: Result<(), AppendError>,
    ) {
        let reply = outcome.map(|()| results).map_err(GroupError::of_append);
        self.io(step).reply(request, Reply::DeleteOffsets(reply));
    }

    /// Proposes tombstones, of which there may be any number. False if one of them does not fit, which
    /// takes a log that was written with larger limits.
    pub(super) fn propose_removals(&mut self, records: Vec<Record>, then: Then) -> bool {
        let parts = self.pipeline.propose_series(records, then);
        if parts.is_ok_and(|parts| parts > 1) {
            self.probe.reached("group_deletion_in_parts");
        }
        parts.is_ok()
    }

    /// Whether there is such a group, or is about to be.
    fn is_known(&self, name: &str) -> bool {
        let is_new = |record: &Record| match record {
            Record::Offset { key, value } => key.group == name && value.is_some(),
            Record::Group { group, value } => group == name && value.is_some(),
        };
        self.groups.contains_key(name)
            || self.durable.group(name).is_some()
            || self.pipeline.pending().any(is_new)
    }

    /// The offsets of a group that are in the log, or that a record on its way speaks of: one that is
    /// about to be removed is there until it is.
    fn known_offsets(&self, name: &str) -> BTreeSet<OffsetKey> {
        let key = |(topic, partition): (&str, i32)| OffsetKey {
            group: name.to_owned(),
            topic: topic.to_owned(),
            partition,
        };
        let durable = self.durable.group(name).into_iter().flat_map(|group| group.each_offset());
        let pending = self.pipeline.pending().filter_map(|record| match record {
            Record::Offset { key, .. } if key.group == name => Some(key.clone()),
            Record::Offset { .. } | Record::Group { .. } => None,
        });
        durable.map(|(topic, partition, _)| key((topic, partition))).chain(pending).collect()
    }
}
