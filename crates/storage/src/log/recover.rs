//! Recover.
use super::Log;
use crate::config::LogConfig;
use crate::dir::{DirShared, Found};
use crate::error::OpenError;
use base::Offset;
use env::Env;
use std::sync::Arc;

/// Bytes that were taken off the end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where the log ends now.
    pub at: Offset,
    /// How many bytes.
    pub bytes: u64,
    /// Whether a process crash alone explains it: one incomplete batch, then zeros or nothing.
    pub torn: bool,
}
/// Offsets whose bytes were durable and are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultyRange {
    /// The first damaged offset.
    pub from: Offset,
    /// One past the last one.
    pub to: Offset,
}
/// What opening a log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the directory was sealed, so that no segment was read.
    pub clean: bool,
    /// Where the scan began: everything before was durable.
    pub recovery_point: Offset,
    /// Bytes checked, written again and synced.
    pub scanned_bytes: u64,
    /// Bytes of headers read below the recovery point, to rebuild look-ups and producers.
    pub rebuilt_bytes: u64,
    /// What was taken off the end.
    pub cut: Option<Cut>,
    /// Damage below the recovery point: kept, reported, never cut.
    pub faulty: Vec<FaultyRange>,
    /// Whether the state file was missing or damaged, so that history and producers come from
    /// the batches.
    pub state_lost: bool,
    /// Files whose names are not ours: left alone.
    pub unknown: Vec<String>,
}
impl<E: Env> Log<E> {
    pub(crate) async fn create(
        _: Arc<DirShared<E>>,
        _: Found,
        _: LogConfig,
    ) -> Result<Self, OpenError> {
        unimplemented!()
    }
    pub(crate) async fn open(
        _: Arc<DirShared<E>>,
        _: Found,
        _: LogConfig,
    ) -> Result<(Self, Recovery), OpenError> {
        unimplemented!()
    }
    pub(crate) async fn close(&self) {
        unimplemented!()
    }
}
