//! Whether an append may run in the calling task while its file is being synced.
//!
//! Such an append is as quick as any other, unless it meets a page that is on its way to the disk: then
//! it waits for the disk, and with it everything else that the thread has to do. How often that
//! happens is a matter of the disk, so it is tried.
//!
//! Invariants: at most one thread of the process waits in such an append; each wait is followed by a
//! hundred times as long in which appends to files under a sync go elsewhere.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What takes longer has waited for the disk.
const STALL: Duration = Duration::from_millis(1);
/// How many times as long a wait is atoned for.
const PENALTY: u32 = 100;

/// What the files of one process have met. Only decides who waits, so any memory order does.
#[derive(Debug)]
pub(crate) struct Stalls {
    since: Instant,
    /// Until then appends go elsewhere; in nanoseconds after `since`.
    until: AtomicU64,
    /// Whether somebody is trying.
    busy: AtomicBool,
}

/// The right to try; given back with what came of it when it is dropped.
#[derive(Debug)]
pub(crate) struct Try<'a> {
    stalls: &'a Stalls,
    begun: Instant,
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        self.stalls.note(self.begun, Instant::now());
        self.stalls.busy.store(false, Ordering::Release);
    }
}

impl Default for Stalls {
    fn default() -> Self {
        Self { since: Instant::now(), until: AtomicU64::new(0), busy: AtomicBool::new(false) }
    }
}

impl Stalls {
    /// The right to run an append in the calling task, while it is held; `None` if it has to go
    /// elsewhere.
    pub(crate) fn try_here(&self) -> Option<Try<'_>> {
        let begun = Instant::now();
        let free = self.allows(begun) && !self.busy.swap(true, Ordering::Acquire);
        free.then(|| Try { stalls: self, begun })
    }

    fn allows(&self, now: Instant) -> bool {
        self.nanos(now) >= self.until.load(Ordering::Relaxed)
    }

    fn note(&self, begun: Instant, ended: Instant) {
        let took = ended.saturating_duration_since(begun);
        if took >= STALL {
            let until = self.nanos(ended + took.saturating_mul(PENALTY));
            self.until.fetch_max(until, Ordering::Relaxed);
        }
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.since).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_followed_by_a_hundred_times_as_long_without_one() {
        let stalls = Stalls::default();
        let at = |micros| stalls.since + Duration::from_micros(micros);
        assert!(stalls.allows(at(0)));
        stalls.note(at(0), at(999));
        assert!(stalls.allows(at(999)), "that was no wait");

        stalls.note(at(1_000), at(3_000));
        assert!(!stalls.allows(at(3_000)));
        assert!(!stalls.allows(at(202_999)));
        assert!(stalls.allows(at(203_000)));
    }

    #[test]
    fn one_tries_at_a_time() {
        let stalls = Stalls::default();
        let trying = stalls.try_here();
        assert!(trying.is_some());
        assert!(stalls.try_here().is_none(), "another thread would wait, too");
        drop(trying);
        assert!(stalls.try_here().is_some());
    }

    #[test]
    fn a_short_wait_does_not_end_the_time_after_a_long_one() {
        let stalls = Stalls::default();
        let at = |micros| stalls.since + Duration::from_micros(micros);
        stalls.note(at(0), at(100_000));
        stalls.note(at(99_000), at(100_001));
        assert!(!stalls.allows(at(10_000_000)));
    }
}
