//! The budget of request bytes in memory (`queued.max.request.bytes`).
//!
//! Invariants: the bytes charged never exceed the limit; a charge is returned when it is dropped.
//! Small requests draw on a share of their own, so that clients who send huge requests slowly
//! cannot starve the others. Large requests are charged as they arrive; when several have filled
//! their share and each waits for more, one at a time may finish in a lane of its own, so they
//! cannot block each other for ever.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests up to this size draw on the share of small ones.
pub(crate) const SMALL_BYTES: usize = 64 * 1024;
/// One permit stands for this many bytes.
const UNIT_BYTES: usize = 1024;

/// Bytes that may be in memory.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    small: Share,
    large: Share,
    /// One permit: whoever holds it may finish its request.
    lane: Arc<Semaphore>,
    lane_bytes: usize,
}

#[derive(Debug)]
struct Share {
    free: Arc<Semaphore>,
    units: u32,
}

/// Bytes charged; returned when dropped.
#[derive(Debug, Default)]
pub(crate) struct Charge {
    permits: Option<OwnedSemaphorePermit>,
    units: u32,
    /// Held by the request that may finish.
    lane: Option<OwnedSemaphorePermit>,
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

impl Share {
    fn new(bytes: usize) -> Self {
        let units = units(bytes.max(SMALL_BYTES));
        Self { free: Arc::new(Semaphore::new(usize::try_from(units).unwrap_or(1))), units }
    }

    fn left_bytes(&self) -> usize {
        self.free.available_permits().saturating_mul(UNIT_BYTES)
    }

    fn used(&self) -> usize {
        let units = usize::try_from(self.units).unwrap_or(0);
        units.saturating_sub(self.free.available_permits()) * UNIT_BYTES
    }
}

impl ByteBudget {
    /// `bytes` in all, of requests up to `request_bytes_max` each. Of that, the lane has the largest
    /// request there may be and each share half of the rest, but room for one small request.
    pub(crate) fn new(bytes: usize, request_bytes_max: usize) -> Self {
        let lane_bytes = request_bytes_max;
        let share = bytes.saturating_sub(lane_bytes) / 2;
        Self {
            small: Share::new(share),
            large: Share::new(share),
            lane: Arc::new(Semaphore::new(1)),
            lane_bytes,
        }
    }

    /// Where `charge` is raised, of a request of `request` bytes: where it began, whatever the request turns
    /// out to be, for a charge is of one share.
    fn share(&self, charge: &Charge, request: usize) -> &Share {
        let is_of = |share: &Share| {
            charge.permits.as_ref().is_some_and(|held| Arc::ptr_eq(held.semaphore(), &share.free))
        };
        if is_of(&self.small) || (request <= SMALL_BYTES && !is_of(&self.large)) {
            &self.small
        } else {
            &self.large
        }
    }

    /// Units that are missing from `charge` to cover `bytes`.
    fn missing(charge: &Charge, bytes: usize) -> u32 {
        if charge.lane.is_some() { 0 } else { units(bytes).saturating_sub(charge.units) }
    }

    /// Raises `charge` if there is room; false if not.
    pub(crate) fn try_charge(&self, charge: &mut Charge, bytes: usize, request: usize) -> bool {
        let more = Self::missing(charge, bytes);
        if more == 0 {
            return true;
        }
        match Arc::clone(&self.share(charge, request).free).try_acquire_many_owned(more) {
            Ok(permit) => {
                charge.add(permit, more);
                true
            },
            Err(_) => false,
        }
    }

    /// Raises `charge` if at least half of the room is left after it; false if not.
    pub(crate) fn try_charge_plenty(
        &self,
        charge: &mut Charge,
        bytes: usize,
        request: usize,
    ) -> bool {
        let share = self.share(charge, request);
        let left = units(share.left_bytes()).saturating_sub(Self::missing(charge, bytes));
        left >= share.units / 2 && self.try_charge(charge, bytes, request)
    }

    /// Raises `charge` to cover `bytes` of a request of `request` bytes, waiting for room or for
    /// the lane; for the lane alone if it is more than the whole share. Cancel-safe.
    pub(crate) async fn charge(&self, charge: &mut Charge, bytes: usize, request: usize) {
        if self.try_charge(charge, bytes, request) {
            return;
        }
        let more = Self::missing(charge, bytes);
        let share = self.share(charge, request);
        let never = units(bytes) > share.units;
        let mut room = pin!(async {
            if never {
                std::future::pending::<()>().await;
            }
            Arc::clone(&share.free).acquire_many_owned(more).await
        });
        if request <= SMALL_BYTES {
            let Ok(permit) = room.await else { unreachable!("the semaphores are never closed") };
            charge.add(permit, more);
            return;
        }
        let mut lane = pin!(Arc::clone(&self.lane).acquire_owned());
        poll_fn(|cx| {
            if let Poll::Ready(permit) = room.as_mut().poll(cx) {
                let Ok(permit) = permit else { unreachable!("the semaphores are never closed") };
                charge.add(permit, more);
                return Poll::Ready(());
            }
            lane.as_mut().poll(cx).map(|permit| charge.lane = permit.ok())
        })
        .await;
    }

    /// Bytes charged now.
    pub(crate) fn used(&self) -> usize {
        let lane = if self.lane.available_permits() == 0 { self.lane_bytes } else { 0 };
        self.small.used() + self.large.used() + lane
    }
}

impl Charge {
    fn add(&mut self, permit: OwnedSemaphorePermit, units: u32) {
        self.units += units;
        match &mut self.permits {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn ready<F: Future>(future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let waker = std::task::Waker::noop();
        match future.as_mut().poll(&mut std::task::Context::from_waker(waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_charge_is_returned_when_it_is_dropped() {
        let budget = ByteBudget::new(8 * MIB, MIB);
        let mut charge = Charge::default();

        assert!(ready(budget.charge(&mut charge, 2 * UNIT_BYTES, 2 * UNIT_BYTES)).is_some());

        assert_eq!(budget.used(), 2 * UNIT_BYTES);
        drop(charge);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_charge_stays_with_the_share_it_began_with() {
        let budget = ByteBudget::new(9 * MIB, MIB);
        let (mut large, mut small) = (Charge::default(), Charge::default());

        // What comes behind a large request may turn out to be small, and the other way round.
        assert!(budget.try_charge_plenty(&mut large, MIB, MIB));
        assert!(budget.try_charge_plenty(&mut large, MIB + UNIT_BYTES, UNIT_BYTES));
        assert!(budget.try_charge(&mut small, UNIT_BYTES, UNIT_BYTES));
        assert!(ready(budget.charge(&mut small, 2 * UNIT_BYTES, MIB)).is_some());

        assert_eq!(budget.large.used(), MIB + UNIT_BYTES);
        assert_eq!(budget.small.used(), 2 * UNIT_BYTES);
        drop((large, small));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn room_is_plenty_while_half_of_it_is_left() {
        let budget = ByteBudget::new(9 * MIB, MIB);
        let mut charges: Vec<Charge> = (0..4).map(|_| Charge::default()).collect();

        let plenty: Vec<bool> =
            charges.iter_mut().map(|c| budget.try_charge_plenty(c, MIB, MIB)).collect();

        assert_eq!(plenty, [true, true, false, false], "of 4 MiB for large requests");
        assert_eq!(budget.used(), 2 * MIB);
    }

    #[test]
    fn large_requests_cannot_starve_small_ones() {
        let budget = ByteBudget::new(8 * MIB, MIB);
        let mut held = Vec::new();
        while held.len() < 1000 {
            let mut charge = Charge::default();
            if ready(budget.charge(&mut charge, MIB, MIB)).is_none() {
                break;
            }
            held.push(charge);
        }
        let mut small = Charge::default();

        let served = ready(budget.charge(&mut small, 1000, 1000));

        assert!(held.len() < 1000);
        assert!(served.is_some());
        assert!(budget.used() <= 8 * MIB);
    }

    #[test]
    fn the_budget_holds_though_one_request_may_take_all_of_it() {
        let budget = ByteBudget::new(8 * MIB, 8 * MIB);
        let mut held = Vec::new();
        while held.len() < 1000 {
            let mut charge = Charge::default();
            if ready(budget.charge(&mut charge, 8 * MIB, 8 * MIB)).is_none() {
                break;
            }
            held.push(charge);
        }

        assert!(held.len() < 1000);
        assert!(budget.used() <= 8 * MIB + 2 * SMALL_BYTES);
    }

    #[test]
    fn a_request_larger_than_its_share_has_the_lane_for_itself() {
        let budget = ByteBudget::new(MIB, MIB);
        let (mut first, mut second) = (Charge::default(), Charge::default());
        let largest = MIB - UNIT_BYTES;

        assert!(ready(budget.charge(&mut first, largest, largest)).is_some());
        assert!(ready(budget.charge(&mut second, largest, largest)).is_none());
        let begun = SMALL_BYTES + UNIT_BYTES;
        assert!(ready(budget.charge(&mut second, begun, largest)).is_none(), "it may not go on");
        drop(first);
        assert!(ready(budget.charge(&mut second, largest, largest)).is_some());
    }

    #[test]
    fn large_requests_that_wait_for_each_other_finish_one_after_the_other() {
        let budget = ByteBudget::new(8 * MIB, 4 * MIB);
        let (mut first, mut second) = (Charge::default(), Charge::default());
        let begun = ready(budget.charge(&mut first, MIB, 4 * MIB));
        let both = ready(budget.charge(&mut second, MIB, 4 * MIB));
        assert!(begun.is_some() && both.is_some(), "the share is 2 MiB");

        let first_ends = ready(budget.charge(&mut first, 4 * MIB, 4 * MIB)).is_some();
        let second_waits = ready(budget.charge(&mut second, 4 * MIB, 4 * MIB)).is_none();
        drop(first);
        let second_ends = ready(budget.charge(&mut second, 4 * MIB, 4 * MIB)).is_some();

        assert!(first_ends && second_waits && second_ends);
    }
}
