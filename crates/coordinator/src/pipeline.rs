//! Decided and not yet in the log.
//!
//! Owns: the queue of proposals and the one append under way. Invariants: proposals reach the log
//! in the order they were decided in; at most one append is under way, so that a failed one can
//! not leave a gap before a later one; a proposal is never split over two appends; what needs more
//! room is a series, whose outcome is good only if that of each part is; a proposal never fails for
//! the size of others that it was packed with. Bounds: each proposal belongs to a waiting request or
//! a group, and both are bounded.

use std::collections::{BTreeMap, VecDeque};

use base::codec::EncodeError;
use bytes::Bytes;

use crate::event::{Action, AppendError, AppendId, RequestId};
use crate::group::Swap;
use crate::record::Record;
use crate::{Command, GroupError, Settings};

/// Records that go into the log together, and what depends on them.
#[derive(Debug)]
pub(crate) struct Proposal {
    /// What is applied once it is in the log.
    pub records: Vec<Record>,
    /// The same, as bytes.
    encoded: Vec<(Bytes, Option<Bytes>)>,
    /// Of those in a batch, at most.
    bytes: usize,
    /// Whether it says who is in a group.
    of_group: bool,
    /// Whether it was too large together with others: it goes by itself.
    alone: bool,
    /// The series it is a part of, if it is not alone.
    series: Option<u64>,
    /// What happens then.
    pub then: Then,
}

/// What depends on a proposal.
#[derive(Debug)]
pub(crate) enum Then {
    /// A commit is answered.
    Commit { request: RequestId, results: Vec<Result<(), GroupError>> },
    /// Members get the assignment of this generation.
    Assign { group: String, generation: i32 },
    /// A static member's new process takes its place within this generation.
    Swap { group: String, swap: Swap },
    /// A group has no members any more; nobody waits.
    Emptied { group: String, generation: i32 },
    /// Nothing: more of the series follows.
    Part,
    /// A group is deleted, and its administrator answered. `was_live`: it counts the proposal.
    Deleted { request: RequestId, group: String, was_live: bool },
    /// Offsets of a group are deleted, and their administrator answered.
    OffsetsDeleted { request: RequestId, results: Vec<Result<(), GroupError>> },
    /// What has expired of a group is gone; nobody waits. `was_live` as above.
    Expired { group: String, was_live: bool },
    /// Some offsets of a topic are gone, and these were the last if a request is named.
    TopicDeleted { request: Option<RequestId> },
}

/// Why records cannot be proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    queued: VecDeque<Proposal>,
    under_way: Option<(AppendId, Vec<Proposal>)>,
    next: u64,
    next_series: u64,
    /// Why a part failed, of series whose last part has no outcome yet.
    lost: BTreeMap<u64, AppendError>,
    /// Bytes of the proposals that say who is in a group.
    group_bytes: usize,
    /// The largest batch that the log takes now.
    batch_bytes_max: usize,
    /// From here on nothing more is packed into an append.
    append_bytes_max: usize,
    records_max: usize,
}

impl Pipeline {
    pub fn new(settings: &Settings) -> Self {
        Self {
            batch_bytes_max: settings.batch_bytes_max,
            append_bytes_max: settings.append_bytes_max,
            records_max: settings.append_records_max,
            ..Self::default()
        }
    }

    /// From now on the log takes batches of so many bytes.
    pub fn limit_batches(&mut self, bytes_max: usize) {
        self.batch_bytes_max = bytes_max;
    }

    /// Bytes on their way to the log that say who is in a group.
    pub fn group_bytes(&self) -> usize {
        self.group_bytes
    }

    /// Bytes of records that fit into one batch.
    pub fn room(&self) -> usize {
        self.batch_bytes_max.saturating_sub(BATCH_BYTES)
    }

    /// Bytes of records that are put together.
    fn packed(&self) -> usize {
        self.room().min(self.append_bytes_max)
    }

    /// Queues `records`; they reach the log together.
    pub fn propose(&mut self, records: Vec<Record>, then: Then) -> Result<(), TooLarge> {
        let encoded: Result<Vec<_>, EncodeError> = records.iter().map(Record::encode).collect();
        let encoded = encoded.map_err(|_| TooLarge)?;
        let bytes = encoded.iter().map(size).sum();
        if bytes > self.room() || records.len() > self.records_max {
            return Err(TooLarge);
        }
        let of_group = records.iter().any(|record| matches!(record, Record::Group { .. }));
        self.group_bytes = self.group_bytes.saturating_add(if of_group { bytes } else { 0 });
        let (alone, series) = (false, None);
        self.queued.push_back(Proposal { records, encoded, bytes, of_group, alone, series, then });
        Ok(())
    }

    /// Queues `records`, of which there is at least one, in as few proposals as they fit into; `then`
    /// happens when all of them have an outcome, see [`Pipeline::outcome`]. Returns the number of
    /// proposals; nothing is queued if one of the records is too large.
    pub fn propose_series(&mut self, records: Vec<Record>, then: Then) -> Result<usize, TooLarge> {
        let mut parts: Vec<Proposal> = Vec::new();
        for record in records {
            let encoded = record.encode().map_err(|_| TooLarge)?;
            let more = size(&encoded);
            if more > self.room() || self.records_max == 0 {
                return Err(TooLarge);
            }
            let has_room = |part: &&mut Proposal| {
                part.bytes.saturating_add(more) <= self.packed()
                    && part.records.len() < self.records_max
            };
            if let Some(part) = parts.last_mut().filter(has_room) {
                part.bytes = part.bytes.saturating_add(more);
                part.records.push(record);
                part.encoded.push(encoded);
            } else {
                let (records, encoded) = (vec![record], vec![encoded]);
                parts.push(Proposal {
                    records,
                    encoded,
                    bytes: more,
                    of_group: false,
                    alone: false,
                    series: Some(self.next_series),
                    then: Then::Part,
                });
            }
        }
        self.next_series = self.next_series.saturating_add(1);
        let count = parts.len();
        if let Some(last) = parts.last_mut() {
            last.then = then;
        }
        self.queued.extend(parts);
        Ok(count)
    }

    /// What is to be said of a proposal whose append had this result: of the last one of a series,
    /// that it failed if any part did.
    pub fn outcome(
        &mut self,
        proposal: &Proposal,
        result: Result<(), AppendError>,
    ) -> Result<(), AppendError> {
        let Some(series) = proposal.series else { return result };
        if let Err(why) = result {
            self.lost.entry(series).or_insert(why);
        }
        match proposal.then {
            Then::Part => result,
            _ => self.lost.remove(&series).map_or(result, Err),
        }
    }

    /// Starts the next append if none is under way: as many queued proposals as fit by the limit as it
    /// is now. What does not fit by itself any more is tried, so that it is the log that refuses it.
    pub fn pump(&mut self, out: &mut Vec<Action>) {
        if self.under_way.is_some() || self.queued.is_empty() {
            return;
        }
        let mut taken = Vec::new();
        let mut records = Vec::new();
        let mut bytes = 0_usize;
        while let Some(first) = self.queued.front() {
            let bytes_then = bytes.saturating_add(first.bytes);
            let records_then = records.len().saturating_add(first.encoded.len());
            let fits = bytes_then <= self.packed() && records_then <= self.records_max;
            if !(taken.is_empty() || fits && !first.alone) {
                break;
            }
            let Some(mut proposal) = self.queued.pop_front() else { break };
            bytes = bytes_then;
            records.append(&mut proposal.encoded);
            let alone = proposal.alone;
            taken.push(proposal);
            if alone {
                break;
            }
        }
        let id = AppendId(self.next);
        self.next = self.next.saturating_add(1);
        self.under_way = Some((id, taken));
        out.push(Action::Append { id, records });
    }

    /// How many proposals are in the append under way.
    pub fn together(&self) -> usize {
        self.under_way.as_ref().map_or(0, |(_, proposals)| proposals.len())
    }

    /// The append `id` was too large, and none of it is in the log: if it held several proposals they
    /// are queued again, each to be tried by itself. False if it held one, or is not under way.
    pub fn take_apart(&mut self, id: AppendId) -> bool {
        let several =
            |(started, held): &mut (AppendId, Vec<Proposal>)| *started == id && held.len() > 1;
        let Some((_, proposals)) = self.under_way.take_if(several) else { return false };
        for mut proposal in proposals.into_iter().rev() {
            // What was encoded once is so again.
            let encode = |record: &Record| match record.encode() {
                Ok(encoded) => encoded,
                Err(error) => unreachable!("it was encoded before: {error}"),
            };
            proposal.encoded = proposal.records.iter().map(encode).collect();
            proposal.alone = true;
            self.queued.push_front(proposal);
        }
        true
    }

    /// The append `id` has an outcome: what it held. Empty if `id` is not under way.
    pub fn settle(&mut self, id: AppendId) -> Vec<Proposal> {
        match self.under_way.take() {
            Some((started, proposals)) if started == id => {
                let settled = proposals.iter().filter(|proposal| proposal.of_group);
                let bytes = settled.map(|proposal| proposal.bytes).fold(0, usize::saturating_add);
                self.group_bytes = self.group_bytes.saturating_sub(bytes);
                proposals
            },
            other => {
                self.under_way = other;
                Vec::new()
            },
        }
    }

    /// Everything decided and not in the log, in order.
    pub fn pending(&self) -> impl Iterator<Item = &Record> {
        let started = self.under_way.iter().flat_map(|(_, proposals)| proposals);
        started.chain(&self.queued).flat_map(|proposal| &proposal.records)
    }

    /// Forgets everything: the shard has resigned.
    pub fn clear(&mut self) {
        self.queued.clear();
        self.lost.clear();
        self.under_way = None;
        self.group_bytes = 0;
    }
}

/// A batch without records: what stands before the first one.
const BATCH_BYTES: usize = 61;

/// Bytes of a record in a batch, at most: lengths in front of the record, its key and its value,
/// attributes, the time since the first record, which is none, the place in the batch, the number of
/// headers.
fn size((key, value): &(Bytes, Option<Bytes>)) -> usize {
    /// Of a million records.
    const PLACE_BYTES_MAX: usize = 3;
    let framed = |bytes: usize| varint_bytes(bytes).saturating_add(bytes);
    let content = framed(key.len()).saturating_add(framed(value.as_ref().map_or(0, Bytes::len)));
    framed(content.saturating_add(1 + 1 + PLACE_BYTES_MAX + 1))
}

/// Bytes of a length in zigzag form: seven bits each, and one bit is the sign's.
fn varint_bytes(length: usize) -> usize {
    let bits = usize::BITS - length.leading_zeros() + 1;
    usize::try_from(bits.div_ceil(7)).unwrap_or(usize::MAX)
}

impl Command {
    /// Whether answering it may have to wait for others or for the log.
    pub(crate) fn may_wait(&self) -> bool {
        match self {
            Self::Join(_)
            | Self::Sync(_)
            | Self::Commit(_)
            | Self::Delete { .. }
            | Self::DeleteOffsets { .. }
            | Self::TopicDeleted { .. } => true,
            Self::Heartbeat(_)
            | Self::Leave { .. }
            | Self::Offsets { .. }
            | Self::List
            | Self::Describe { .. } => false,
        }
    }
}
