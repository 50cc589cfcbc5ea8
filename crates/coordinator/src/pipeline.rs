//! Decided and not yet in the log.
//!
//! Owns: the queue of proposals and the one append under way. Invariants: proposals reach the log
//! in the order they were decided in; at most one append is under way, so that a failed one can
//! not leave a gap before a later one; a proposal is never split over two appends; what needs more
//! room is a series, whose outcome is good only if that of each part is. Bounds: each proposal
//! belongs to a waiting request or a group, and both are bounded.

use std::collections::{BTreeMap, VecDeque};

use base::codec::EncodeError;
use bytes::Bytes;

use crate::event::{Action, AppendError, AppendId, RequestId};
use crate::group::Swap;
use crate::record::Record;
use crate::{Command, GroupError};

/// Records that go into the log together, and what depends on them.
#[derive(Debug)]
pub(crate) struct Proposal {
    /// What is applied once it is in the log.
    pub records: Vec<Record>,
    /// The same, as bytes.
    encoded: Vec<(Bytes, Option<Bytes>)>,
    bytes: usize,
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
    bytes_max: usize,
    records_max: usize,
}

impl Pipeline {
    pub fn new(bytes_max: usize, records_max: usize) -> Self {
        Self { bytes_max, records_max, ..Self::default() }
    }

    /// Queues `records`; they reach the log together.
    pub fn propose(&mut self, records: Vec<Record>, then: Then) -> Result<(), TooLarge> {
        let encoded: Result<Vec<_>, EncodeError> = records.iter().map(Record::encode).collect();
        let encoded = encoded.map_err(|_| TooLarge)?;
        let bytes = encoded.iter().map(size).sum();
        if bytes > self.bytes_max || records.len() > self.records_max {
            return Err(TooLarge);
        }
        self.queued.push_back(Proposal { records, encoded, bytes, series: None, then });
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
            if more > self.bytes_max || self.records_max == 0 {
                return Err(TooLarge);
            }
            let has_room = |part: &&mut Proposal| {
                part.bytes.saturating_add(more) <= self.bytes_max
                    && part.records.len() < self.records_max
            };
            if let Some(part) = parts.last_mut().filter(has_room) {
                part.bytes = part.bytes.saturating_add(more);
                part.records.push(record);
                part.encoded.push(encoded);
            } else {
                let (records, encoded) = (vec![record], vec![encoded]);
                let series = Some(self.next_series);
                parts.push(Proposal { records, encoded, bytes: more, series, then: Then::Part });
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

    /// Starts the next append if none is under way: as many queued proposals as fit.
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
            let fits = bytes_then <= self.bytes_max && records_then <= self.records_max;
            if !(fits || taken.is_empty()) {
                break;
            }
            let Some(mut proposal) = self.queued.pop_front() else { break };
            bytes = bytes_then;
            records.append(&mut proposal.encoded);
            taken.push(proposal);
        }
        let id = AppendId(self.next);
        self.next = self.next.saturating_add(1);
        self.under_way = Some((id, taken));
        out.push(Action::Append { id, records });
    }

    /// The append `id` has an outcome: what it held. Empty if `id` is not under way.
    pub fn settle(&mut self, id: AppendId) -> Vec<Proposal> {
        match self.under_way.take() {
            Some((started, proposals)) if started == id => proposals,
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
    }
}

/// Bytes of a record's key and value.
fn size((key, value): &(Bytes, Option<Bytes>)) -> usize {
    key.len().saturating_add(value.as_ref().map_or(0, Bytes::len))
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
