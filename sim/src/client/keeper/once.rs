//! The keeper as an idempotent producer of the compacted topic.
//!
//! Invariants: a batch is sent again, unchanged, until its outcome is known; one whose outcome is
//! known is sent again now and then, and must be where it was: compaction may take its records, and
//! not what the broker knows of its producer. Once a start has told of a loss in the topic it is
//! another producer.

use base::{ProducerEpoch, ProducerId};
use bytes::Bytes;
use protocol::messages::init_producer_id_request::InitProducerIdRequest;
use records::Producer;

use super::{Keeper, TABLE, TIMEOUT};
use crate::client::errors::{
    NONE, OUT_OF_ORDER_SEQUENCE_NUMBER, UNKNOWN_PRODUCER_ID, is_retriable,
};

/// Per mille of sends that are of a batch again whose outcome is known.
const AGAIN: u32 = 500;

/// Who writes, and what was written last.
#[derive(Default)]
pub(super) struct Once {
    /// Starts that had told of a loss when it got its identity.
    told: u64,
    identity: Option<(i64, i16)>,
    /// The sequence of the next record.
    sequence: i32,
    /// A batch whose outcome is not known, and its records.
    pending: Option<(Bytes, Vec<u64>)>,
    /// The last one whose outcome is known, and where it is.
    last: Option<(Bytes, i64)>,
}

impl Keeper {
    /// Sends a new batch, or one again.
    pub(super) async fn produce_once(&mut self) {
        let told = self.job.history.table_told(TABLE);
        if told != self.once.told {
            self.once = Once { told, ..Once::default() };
        }
        if self.once.pending.is_none() {
            if self.once.last.is_some() && self.dice.chance(AGAIN) {
                return self.send_last_again().await;
            }
            if self.once.identity.is_none() {
                self.once.identity = self.new_identity().await;
            }
            let Some((id, epoch)) = self.once.identity else { return };
            let (id, epoch) = (ProducerId(id), ProducerEpoch(epoch));
            let base_sequence = Some(self.once.sequence);
            self.once.pending = self.batch(TABLE, Some(Producer { id, epoch, base_sequence }));
        }
        let Some((bytes, numbers)) = self.once.pending.clone() else { return };
        match self.send(TABLE, bytes.clone()).await {
            Some((NONE, base)) => {
                self.acked(TABLE, &numbers, base, told);
                self.once.sequence += i32::try_from(numbers.len()).unwrap_or(0);
                self.once.pending = None;
                self.once.last = Some((bytes, base));
            },
            Some((code, _)) => self.refused(code),
            None => {},
        }
    }

    async fn send_last_again(&mut self) {
        let Some((bytes, base)) = self.once.last.clone() else { return };
        match self.send(TABLE, bytes).await {
            Some((NONE, again)) => {
                let excused = self.may_be_forgotten();
                self.job.world.check("exactly-once", again == base || excused, || {
                    format!("{TABLE}: a batch at {base} was sent again, and is at {again} now")
                });
            },
            Some((code, _)) => self.refused(code),
            None => {},
        }
    }

    /// Whether the broker may know less of this producer than it was sent.
    fn may_be_forgotten(&self) -> bool {
        let history = &self.job.history;
        history.table_told(TABLE) != self.once.told
            || history.table_is_damaged(&self.job.world, TABLE)
    }

    /// Nothing of the topic is lost that no start has told of, so no sequence is out of order.
    fn refused(&mut self, code: i16) {
        match code {
            OUT_OF_ORDER_SEQUENCE_NUMBER | UNKNOWN_PRODUCER_ID => {
                self.job.world.check("sequences", self.may_be_forgotten(), || {
                    format!("{TABLE}: the keeper's batch was refused with {code}")
                });
                self.once = Once { told: self.once.told, ..Once::default() };
            },
            code if is_retriable(code) => {},
            code => self.unexpected("Produce", code),
        }
    }

    async fn new_identity(&mut self) -> Option<(i64, i16)> {
        let ask = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdRequest::default()
        };
        let answer = self.connection.call(3, &ask, TIMEOUT).await.ok()?;
        match answer.error_code {
            NONE => {
                let (id, epoch) = (answer.producer_id, answer.producer_epoch);
                self.job.history.producer_id_given(&self.job.world, id, epoch);
                Some((id, epoch))
            },
            code => {
                self.refused(code);
                None
            },
        }
    }
}
