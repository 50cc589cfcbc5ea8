//! Time.
use super::Log;
use crate::error::ReadError;
use base::{LeaderEpoch, Offset, Timestamp};
use env::Env;
/// The answer of a look-up by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampHit {
    /// The record's offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The epoch it was appended in.
    pub epoch: LeaderEpoch,
}
impl<E: Env> Log<E> {
    /// The record with the lowest offset whose timestamp is `at` or later.
    pub async fn offset_for_timestamp(
        &self,
        _at: Timestamp,
    ) -> Result<Option<TimestampHit>, ReadError> {
        unimplemented!()
    }
    /// The record with the largest timestamp (the first such).
    pub async fn max_timestamp(&self) -> Result<Option<TimestampHit>, ReadError> {
        unimplemented!()
    }
}
