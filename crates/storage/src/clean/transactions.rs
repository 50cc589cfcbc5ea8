//! What compaction knows of transactions: how those in the dirty part ended, and of which of them
//! anything is still there.
//!
//! Invariants: data of an aborted transaction supersedes nothing; what is not decided yet bounds a
//! cleaning, and so does what there is no room to remember. Pure. Source: KIP-98, KIP-534 and Kafka
//! 4.4's behaviour; the bound is ours.

use std::collections::{BTreeMap, BTreeSet};

use base::{Offset, ProducerId};
use records::{
    BatchHeader, BatchView, Control, Ending, OpenError, RetainError, STORED_INFLATED_BYTES_MAX,
};

/// What a transaction takes at most, with its share of a tree's nodes.
const TRANSACTION_BYTES: usize = 64;
/// So many fit in any case.
const TRANSACTIONS_MIN: usize = 32;

/// How transactions ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endings {
    /// Aborted ones, by producer and first batch, up to the marker.
    aborted: BTreeMap<(ProducerId, Offset), Offset>,
    /// Where those begin whose marker has not been seen yet.
    open: BTreeMap<ProducerId, Offset>,
    /// Those that begin from here on are not known.
    upto: Offset,
    /// Most of them that are remembered, open and aborted.
    transactions_max: usize,
    is_full: bool,
}

impl Endings {
    /// For the transactions that begin below `upto`, or as many of them as fit into `bytes_max` bytes,
    /// but for some thirty in any case.
    pub fn new(upto: Offset, bytes_max: usize) -> Self {
        let transactions_max = (bytes_max / TRANSACTION_BYTES).max(TRANSACTIONS_MIN);
        let (aborted, open) = (BTreeMap::new(), BTreeMap::new());
        Self { aborted, open, upto, transactions_max, is_full: false }
    }

    /// Takes in the next batch of the log.
    ///
    /// # Errors
    /// [`RetainError`] if it is a marker that cannot be read.
    pub fn note(&mut self, batch: &BatchView) -> Result<(), RetainError> {
        let header = batch.header();
        let Some(id) = transaction_of(header) else { return Ok(()) };
        if !header.attributes.is_control() {
            self.begin(id, header.base_offset);
        } else if let Some(ending) = ending_of(batch)?
            && let Some(from) = self.open.remove(&id)
            && ending == Ending::Abort
        {
            self.aborted.insert((id, from), header.base_offset);
        }
        Ok(())
    }

    fn begin(&mut self, id: ProducerId, at: Offset) {
        if at >= self.upto || self.open.contains_key(&id) {
            return;
        }
        if self.aborted.len() + self.open.len() < self.transactions_max {
            self.open.insert(id, at);
        } else {
            (self.upto, self.is_full) = (at, true);
        }
    }

    /// Nothing is known of what is at `at` or behind it.
    pub fn end_at(&mut self, at: Offset) {
        self.upto = self.upto.min(at);
    }

    /// Whether nothing at or behind `at` can tell more.
    pub fn is_over(&self, at: Offset) -> bool {
        at >= self.upto && self.open.is_empty()
    }

    /// Whether there were more transactions than fitted.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether the batch is data of a transaction that was aborted.
    pub fn is_aborted(&self, header: &BatchHeader) -> bool {
        let id = transaction_of(header).filter(|_| !header.attributes.is_control());
        let at = header.base_offset;
        id.is_some_and(|id| {
            let last = self.aborted.range((id, Offset::ZERO)..=(id, at)).next_back();
            last.is_some_and(|(_, marker)| at < *marker)
        })
    }

    /// Where the first transaction begins whose end has not been seen, and whose it is, if there is
    /// one.
    pub fn undecided(&self) -> Option<(Offset, ProducerId)> {
        self.open.iter().map(|(id, from)| (*from, *id)).min()
    }

    /// Up to where everything is decided.
    pub fn decided(&self) -> Offset {
        self.undecided().map_or(self.upto, |(open, _)| self.upto.min(open))
    }
}

/// Producers of which a pass over the log, from its start, has seen data since their last marker: as
/// many as have a transaction open at the same time.
#[derive(Clone, Debug, Default)]
pub struct Seen(BTreeSet<ProducerId>);
impl Seen {
    /// Takes in data, whatever stays of it.
    pub(super) fn data(&mut self, header: &BatchHeader) {
        self.0.extend(transaction_of(header));
    }

    /// Takes in a control batch. Whether there was data of its transaction, or it is of none: then
    /// nothing says that it may go.
    pub(super) fn marker(&mut self, header: &BatchHeader) -> bool {
        transaction_of(header).is_none_or(|id| self.0.remove(&id))
    }
}

fn transaction_of(header: &BatchHeader) -> Option<ProducerId> {
    let producer = header.producer().filter(|_| header.attributes.is_transactional());
    producer.map(|producer| producer.id)
}

/// `None` of a control batch that ends no transaction.
fn ending_of(batch: &BatchView) -> Result<Option<Ending>, RetainError> {
    let records = batch.open(STORED_INFLATED_BYTES_MAX).map_err(OpenError::from)?;
    let Some(record) = records.iter().next() else { return Ok(None) };
    Ok(match Control::parse(&record.map_err(OpenError::from)?) {
        Ok(Control::EndTransaction { ending, .. }) => Some(ending),
        Ok(Control::Other(_)) | Err(_) => None,
    })
}
