//! Decided and not yet in the log.
//!
//! Owns: the queue of proposals and the one append under way. Invariants: proposals reach the log
//! in the order they were decided in; at most one append is under way, so that a failed one can
//! not leave a gap before a later one; a proposal is never split over two appends. Bounds: each
//! proposal belongs to a waiting request or a group, and both are bounded.

use std::collections::VecDeque;

use base::codec::EncodeError;
use bytes::Bytes;

use crate::event::{Action, AppendId, RequestId};
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
    /// A group is forgotten; nobody waits.
    Forgotten { group: String },
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
        let size = |(key, value): &(Bytes, Option<Bytes>)| {
            key.len().saturating_add(value.as_ref().map_or(0, Bytes::len))
        };
        let bytes = encoded.iter().map(size).sum();
        if bytes > self.bytes_max || records.len() > self.records_max {
            return Err(TooLarge);
        }
        self.queued.push_back(Proposal { records, encoded, bytes, then });
        Ok(())
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
        self.under_way = None;
    }
}

impl Command {
    /// Whether answering it may have to wait for others or for the log.
    pub(crate) fn may_wait(&self) -> bool {
        match self {
            Self::Join(_) | Self::Sync(_) | Self::Commit(_) | Self::TopicDeleted { .. } => true,
            Self::Heartbeat(_)
            | Self::Leave { .. }
            | Self::Offsets { .. }
            | Self::List
            | Self::Describe { .. } => false,
        }
    }
}
