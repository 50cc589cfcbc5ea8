//! Committed offsets: OffsetCommit, OffsetFetch, and topics that go.
//!
//! Invariants: a commit is answered when its records are in the log; the last one in the log wins,
//! and it is the one that is fetched; an offset that is not there is no error.

use base::{Duration, Probe, Timestamp};

use super::{Shard, Step};
use crate::event::{AppendError, RequestId};
use crate::pipeline::Then;
use crate::record::{OffsetKey, Record, StoredOffset};
use crate::{Commit, CommitOffset, CommittedOffset, FetchedOffset, GroupError, Reply};

impl<P: Probe> Shard<P> {
    pub(super) fn commit(&mut self, step: &mut Step<'_>, id: RequestId, commit: Commit) {
        let count = commit.offsets.len();
        if let Err(why) = self.admit_commit(step, &commit) {
            self.io(step).reply(id, Reply::Commit(vec![Err(why); count]));
            return;
        }
        let mut records = Vec::with_capacity(count);
        let mut results = Vec::with_capacity(count);
        let mut bytes = 0_usize;
        for offset in commit.offsets {
            // Each record names the group: a few bytes for each partition may become very many.
            if bytes > self.pipeline.room() {
                let too_large = vec![Err(GroupError::InvalidCommitOffsetSize); count];
                self.io(step).reply(id, Reply::Commit(too_large));
                return;
            }
            if is_longer(&offset.metadata, self.settings.offset_metadata_max_bytes) {
                results.push(Err(GroupError::OffsetMetadataTooLarge));
            } else {
                results.push(Ok(()));
                bytes = bytes.saturating_add(commit.who.group.len() + offset.metadata.len());
                records.push(offset_record(&commit.who.group, offset, commit.retention, step));
            }
        }
        if records.is_empty() {
            self.io(step).reply(id, Reply::Commit(results));
            return;
        }
        let then = Then::Commit { request: id, results };
        if self.pipeline.propose(records, then).is_err() {
            let too_large = vec![Err(GroupError::InvalidCommitOffsetSize); count];
            self.io(step).reply(id, Reply::Commit(too_large));
        }
    }

    fn admit_commit(&mut self, step: &Step<'_>, commit: &Commit) -> Result<(), GroupError> {
        let who = &commit.who;
        if let Some(group) = self.groups.get_mut(&who.group) {
            return group.admit_commit(step.now, who);
        }
        let known = self.durable.group(&who.group).is_some();
        match (known, who.generation < 0) {
            (_, true) if self.has_room_for_group(&who.group) => Ok(()),
            (_, true) => Err(GroupError::CoordinatorNotAvailable),
            (true, false) => Err(GroupError::UnknownMemberId),
            (false, false) if commit.group_must_exist => Err(GroupError::GroupNotFound),
            (false, false) => Err(GroupError::IllegalGeneration),
        }
    }

    /// A commit's records have an outcome.
    pub(super) fn committed(
        &mut self,
        step: &mut Step<'_>,
        request: RequestId,
        mut results: Vec<Result<(), GroupError>>,
        outcome: Result<(), AppendError>,
    ) {
        if let Err(why) = outcome {
            let why = append_error(why);
            results
                .iter_mut()
                .filter(|result| result.is_ok())
                .for_each(|result| *result = Err(why));
        }
        self.io(step).reply(request, Reply::Commit(results));
    }

    pub(super) fn offsets(
        &self,
        group: &str,
        partitions: Option<Vec<(String, i32)>>,
    ) -> Vec<FetchedOffset> {
        let known = self.durable.group(group);
        let find = |topic: &str, partition: i32| -> Option<CommittedOffset> {
            let stored = known?.offsets.get(topic)?.get(&partition)?;
            Some(stored.committed.clone())
        };
        let Some(partitions) = partitions else {
            let topics = known.into_iter().flat_map(|group| &group.offsets);
            let each = topics.flat_map(|(topic, partitions)| {
                partitions.iter().map(|(partition, stored)| FetchedOffset {
                    topic: topic.clone(),
                    partition: *partition,
                    committed: Some(stored.committed.clone()),
                })
            });
            return each.collect();
        };
        let each = partitions.into_iter().map(|(topic, partition)| {
            let committed = find(&topic, partition);
            FetchedOffset { topic, partition, committed }
        });
        each.collect()
    }

    /// Proposes that every offset of a topic be removed, also of commits still on their way.
    pub(super) fn topic_deleted(&mut self, step: &mut Step<'_>, id: RequestId, topic: &str) {
        let pending = self.pipeline.pending().filter_map(|record| match record {
            Record::Offset { key, value: Some(_) } if key.topic == topic => Some(key.clone()),
            Record::Offset { .. } | Record::Group { .. } => None,
        });
        let mut keys: Vec<OffsetKey> = pending.collect();
        keys.extend(self.durable.offsets_of(topic));
        keys.sort();
        keys.dedup();
        if keys.is_empty() {
            self.io(step).reply(id, Reply::TopicDeleted(Ok(())));
            return;
        }
        self.probe.reached("group_topic_offsets_removed");
        let last = keys.len().saturating_sub(1);
        for (at, key) in keys.into_iter().enumerate() {
            let request = (at == last).then_some(id);
            let removed = vec![Record::Offset { key, value: None }];
            let fits = self.pipeline.propose(removed, Then::TopicDeleted { request }).is_ok();
            // What was small enough to be committed is small enough to be removed; only a log
            // written with larger limits can say otherwise, and the offset then stays.
            if let (false, Some(id)) = (fits, request) {
                let why = GroupError::InvalidCommitOffsetSize;
                self.io(step).reply(id, Reply::TopicDeleted(Err(why)));
            }
        }
    }

    /// Some offsets of a deleted topic have an outcome.
    pub(super) fn topic_gone(
        &mut self,
        step: &mut Step<'_>,
        request: Option<RequestId>,
        outcome: Result<(), AppendError>,
    ) {
        if let Some(request) = request {
            let result = outcome.map_err(append_error);
            self.io(step).reply(request, Reply::TopicDeleted(result));
        }
    }
}

/// Kafka counts a text by its UTF-16 units, whatever the name of the setting says.
fn is_longer(text: &str, max: usize) -> bool {
    text.len() > max && text.encode_utf16().count() > max
}

fn offset_record(
    group: &str,
    offset: CommitOffset,
    retention: Option<Duration>,
    step: &Step<'_>,
) -> Record {
    let CommitOffset { topic, topic_id, partition, offset, leader_epoch, metadata } = offset;
    let key = OffsetKey { group: group.to_owned(), topic, partition };
    let committed = CommittedOffset { offset, leader_epoch, metadata, topic_id };
    let stored = StoredOffset { committed, at: step.wall, expires_at: None };
    let value = match retention {
        None => stored,
        Some(kept) => {
            let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
            stored.expiring(Timestamp(step.wall.0.saturating_add(kept)))
        },
    };
    Record::Offset { key, value: Some(value) }
}

/// What a client is told of an append that failed.
fn append_error(why: AppendError) -> GroupError {
    match why {
        AppendError::NotAvailable => GroupError::CoordinatorNotAvailable,
        AppendError::NotCoordinator => GroupError::NotCoordinator,
        AppendError::TooLarge => GroupError::InvalidCommitOffsetSize,
    }
}
