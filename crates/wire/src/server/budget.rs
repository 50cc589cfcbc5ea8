//! The budget of request bytes in memory (`queued.max.request.bytes`).
//!
//! Invariants: the bytes charged never exceed the limit by more than one connection's step; a
//! charge is returned when it is dropped. Small requests draw on a half of their own, so that
//! clients who announce huge requests and send them slowly cannot starve the others.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests up to this size draw on the small half.
pub(crate) const SMALL_BYTES: usize = 64 * 1024;
/// One permit stands for this many bytes.
const UNIT_BYTES: usize = 1024;

/// Bytes that may be in memory.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    small_units: u32,
    large_units: u32,
}

/// Bytes charged; returned when dropped.
#[derive(Debug, Default)]
pub(crate) struct Charge {
    permits: Option<OwnedSemaphorePermit>,
    units: u32,
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

impl ByteBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        let half = units(bytes / 2).max(units(SMALL_BYTES));
        let semaphore = |units| Arc::new(Semaphore::new(usize::try_from(units).unwrap_or(1)));
        Self {
            small: semaphore(half),
            large: semaphore(half),
            small_units: half,
            large_units: half,
        }
    }

    /// Raises `charge` to cover `bytes` of a request of `request` bytes, waiting for room. A
    /// request larger than its whole half is served alone.
    pub(crate) async fn charge(&self, charge: &mut Charge, bytes: usize, request: usize) {
        let (semaphore, all) = if request <= SMALL_BYTES {
            (&self.small, self.small_units)
        } else {
            (&self.large, self.large_units)
        };
        let wanted = units(bytes).min(all);
        let more = wanted.saturating_sub(charge.units);
        if more == 0 {
            return;
        }
        let Ok(permit) = Arc::clone(semaphore).acquire_many_owned(more).await else {
            unreachable!("the semaphores are never closed");
        };
        charge.units = wanted;
        match &mut charge.permits {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
    }

    /// Bytes charged now.
    pub(crate) fn used(&self) -> usize {
        let used = |semaphore: &Semaphore, all: u32| {
            usize::try_from(all).unwrap_or(0).saturating_sub(semaphore.available_permits())
        };
        let all = used(&self.small, self.small_units) + used(&self.large, self.large_units);
        all * UNIT_BYTES
    }
}
