//! What compaction knows of transactions: how those in the dirty part ended, and of which of them
//! anything is still there.
//!
//! Invariants: data of an aborted transaction supersedes nothing; what is not decided yet bounds a
//! cleaning. Pure. Source: KIP-98, KIP-534 and Kafka 4.4's behaviour.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use base::{Offset, ProducerId};
use records::{BatchHeader, BatchView, Control, Ending, OPEN_BYTES_MAX, OpenError, RetainError};

/// How transactions ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endings {
    /// Aborted ones, by producer and in order: from the first batch to the marker.
    aborted: BTreeMap<ProducerId, Vec<Range<Offset>>>,
    /// Where those begin whose marker has not been seen yet.
    open: BTreeMap<ProducerId, Offset>,
}

impl Endings {
    /// Takes in the next batch of the log.
    ///
    /// # Errors
    /// [`RetainError`] if it is a marker that cannot be read.
    pub fn note(&mut self, batch: &BatchView) -> Result<(), RetainError> {
        let header = batch.header();
        let Some(id) = transaction_of(header) else { return Ok(()) };
        if !header.attributes.is_control() {
            self.open.entry(id).or_insert(header.base_offset);
        } else if let Some(ending) = ending_of(batch)?
            && let Some(from) = self.open.remove(&id)
            && ending == Ending::Abort
        {
            self.aborted.entry(id).or_default().push(from..header.base_offset);
        }
        Ok(())
    }

    /// Whether the batch is data of a transaction that was aborted.
    pub fn is_aborted(&self, header: &BatchHeader) -> bool {
        let id = transaction_of(header).filter(|_| !header.attributes.is_control());
        let aborted = id.and_then(|id| self.aborted.get(&id));
        aborted.is_some_and(|ranges| ranges.iter().any(|range| range.contains(&header.base_offset)))
    }

    /// Where the first transaction begins whose end has not been seen, if there is one.
    pub fn undecided(&self) -> Option<Offset> {
        self.open.values().min().copied()
    }
}

/// Producers of which a pass over the log, from its start, has seen data since their last marker.
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
    let records = batch.open(OPEN_BYTES_MAX).map_err(OpenError::from)?;
    let Some(record) = records.iter().next() else { return Ok(None) };
    Ok(match Control::parse(&record.map_err(OpenError::from)?) {
        Ok(Control::EndTransaction { ending, .. }) => Some(ending),
        Ok(Control::Other(_)) | Err(_) => None,
    })
}
