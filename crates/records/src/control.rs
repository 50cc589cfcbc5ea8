//! Control batches: the marks that end a transaction in each partition it wrote to.
//!
//! Invariant: consumers never see these records, only their offsets; types unknown to us are
//! reported as such and skipped. Source: KIP-98; key and value start with a version that readers
//! tolerate when it is higher than theirs.

use base::{ProducerEpoch, ProducerId, Timestamp};
use thiserror::Error;

use crate::build::{BatchBuilder, BuildError, NewRecord};
use crate::header::{Producer, field};
use crate::record::Record;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its records are void.
    Abort,
    /// Its records count.
    Commit,
}

/// What a control record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The producer's transaction is over.
    EndTransaction {
        /// How it ended.
        ending: Ending,
        /// Epoch of the coordinator that decided so: a lower one is out of date.
        coordinator_epoch: i32,
    },
    /// A type that partitions of topics do not use (2 and up: Kafka's own quorum), or one to come.
    Other(i16),
}

/// The record is in a control batch, but its key or value is not that of a control record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("malformed control record")]
pub struct MalformedControl;

impl Control {
    /// Reads a record of a control batch.
    ///
    /// # Errors
    /// [`MalformedControl`] if the key, or the value of a known type, is too short or of a
    /// negative version.
    pub fn parse(record: &Record<'_>) -> Result<Self, MalformedControl> {
        let key = record.key.ok_or(MalformedControl)?;
        version(key)?;
        let kind = i16::from_be_bytes(field(key, 2).ok_or(MalformedControl)?);
        let ending = match kind {
            0 => Ending::Abort,
            1 => Ending::Commit,
            other => return Ok(Self::Other(other)),
        };
        let value = record.value.ok_or(MalformedControl)?;
        version(value)?;
        let coordinator_epoch = i32::from_be_bytes(field(value, 2).ok_or(MalformedControl)?);
        Ok(Self::EndTransaction { ending, coordinator_epoch })
    }
}

fn version(bytes: &[u8]) -> Result<(), MalformedControl> {
    let version = i16::from_be_bytes(field(bytes, 0).ok_or(MalformedControl)?);
    if version >= 0 { Ok(()) } else { Err(MalformedControl) }
}

/// A batch, still without offset, that ends a transaction of `id` at `epoch`.
///
/// # Errors
/// None in practice: those of [`BatchBuilder::push`].
pub fn end_transaction(
    id: ProducerId,
    epoch: ProducerEpoch,
    ending: Ending,
    coordinator_epoch: i32,
    now: Timestamp,
) -> Result<BatchBuilder, BuildError> {
    let kind: u8 = match ending {
        Ending::Abort => 0,
        Ending::Commit => 1,
    };
    let [a, b, c, d] = coordinator_epoch.to_be_bytes();
    let mut batch = BatchBuilder::new()
        .producer(Producer { id, epoch, base_sequence: None })
        .transactional()
        .control();
    batch.push(&NewRecord {
        timestamp: now,
        key: Some(&[0, 0, 0, kind]),
        value: Some(&[0, 0, a, b, c, d]),
        headers: &[],
    })?;
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(key: &[u8], value: Option<&[u8]>) -> Result<Control, MalformedControl> {
        let mut batch = BatchBuilder::new().control();
        batch.push(&NewRecord { key: Some(key), value, ..NewRecord::default() }).unwrap();
        let set = batch.finish().unwrap().open(0).unwrap();
        let record = set.iter().next().unwrap().unwrap();
        Control::parse(&record)
    }

    #[test]
    fn later_versions_are_read_and_other_types_named() {
        let abort = Control::EndTransaction { ending: Ending::Abort, coordinator_epoch: 258 };

        assert_eq!(parse(&[0, 9, 0, 0, 1], Some(&[0, 9, 0, 0, 1, 2, 3])), Ok(abort));
        assert_eq!(parse(&[0, 0, 0, 4], None), Ok(Control::Other(4)));
    }

    #[test]
    fn short_or_negative_ones_are_malformed() {
        assert_eq!(parse(&[0, 0, 0], Some(&[0; 6])), Err(MalformedControl));
        assert_eq!(parse(&[0, 0, 0, 1], Some(&[0; 5])), Err(MalformedControl));
        assert_eq!(parse(&[0, 0, 0, 1], None), Err(MalformedControl));
        assert_eq!(parse(&[0xff, 0xff, 0, 1], Some(&[0; 6])), Err(MalformedControl));
    }
}
