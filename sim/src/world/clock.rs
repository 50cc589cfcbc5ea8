//! The clocks of one machine.
//!
//! Invariants: monotonic time and boot time never go back; while the machine is suspended the first
//! stands still and the second goes on; wall-clock time follows boot time, but for jumps.

use base::Timestamp;

use super::{MS, World};

/// Wall-clock time at which the universe begins, milliseconds since the Unix epoch.
const WALL_START: i64 = 1_700_000_000_000;
/// Parts per million.
const MILLION: i128 = 1_000_000;

/// What a machine's clocks said when something last changed, and how fast they run. Nanoseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    /// The universe's time at the last change.
    changed: u64,
    mono: u64,
    boot: u64,
    /// By how much it runs too fast.
    ppm: i64,
    suspended: bool,
    wall_ahead_ms: i64,
}

impl Clock {
    fn passed(&self, now: u64) -> u64 {
        let real = i128::from(now.saturating_sub(self.changed));
        let felt = real + real * i128::from(self.ppm) / MILLION;
        u64::try_from(felt).unwrap_or(0)
    }

    pub(super) fn mono(&self, now: u64) -> u64 {
        if self.suspended { self.mono } else { self.mono + self.passed(now) }
    }

    pub(super) fn boot(&self, now: u64) -> u64 {
        self.boot + self.passed(now)
    }

    /// Milliseconds since the universe began, by this machine's calendar.
    pub(super) fn wall_ms(&self, now: u64) -> i64 {
        let passed = i64::try_from(self.boot(now) / MS).unwrap_or(i64::MAX);
        passed.saturating_add(self.wall_ahead_ms)
    }

    /// When, in the universe's time, monotonic time will be `at`; `None` while it stands still.
    pub(super) fn when(&self, at: u64) -> Option<u64> {
        if self.suspended {
            return None;
        }
        let felt = i128::from(at.saturating_sub(self.mono));
        let rate = MILLION + i128::from(self.ppm);
        let real = (felt * MILLION + rate - 1) / rate;
        Some(self.changed.saturating_add(u64::try_from(real).unwrap_or(u64::MAX)))
    }

    fn settle(&mut self, now: u64) {
        (self.mono, self.boot) = (self.mono(now), self.boot(now));
        self.changed = now;
    }
}

impl World {
    /// A look at the clocks of `node`, with the universe's time.
    pub(super) fn clock<T>(&self, node: usize, look: impl FnOnce(&Clock, u64) -> T) -> T {
        let now = self.now();
        look(&self.nodes.cells[node].clock.lock(), now)
    }

    fn set_clock(&self, node: usize, change: impl FnOnce(&mut Clock)) {
        let now = self.now();
        let mut clock = self.nodes.cells[node].clock.lock();
        clock.settle(now);
        change(&mut clock);
    }

    /// What the wall clock of `node` says.
    pub fn wall(&self, node: usize) -> Timestamp {
        let millis = self.clock(node, |clock, now| clock.wall_ms(now));
        Timestamp(WALL_START.saturating_add(millis))
    }

    /// The clocks of `node` run too fast by so many parts per million, or too slow.
    pub fn set_drift(&self, node: usize, ppm: i64) {
        self.set_clock(node, |clock| clock.ppm = ppm.clamp(-900_000, 900_000));
    }

    /// The wall clock of `node` jumps.
    pub fn jump_wall(&self, node: usize, by_ms: i64) {
        self.set_clock(node, |clock| {
            clock.wall_ahead_ms = clock.wall_ahead_ms.saturating_add(by_ms);
        });
    }

    /// Monotonic time of `node` stands still, or goes on.
    pub(super) fn set_suspended(&self, node: usize, suspended: bool) {
        self.set_clock(node, |clock| clock.suspended = suspended);
    }

    /// Whether the machine of `node` sleeps.
    pub(super) fn is_suspended(&self, node: usize) -> bool {
        self.clock(node, |clock, _| clock.suspended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_drifts_reaches_an_instant_when_it_says_it_will() {
        for ppm in [-500_000, -100, 0, 100, 300_000] {
            let clock = Clock { ppm, ..Clock::default() };
            for at in [1, 999, 1_000_000_007] {
                let when = clock.when(at).unwrap();
                assert!(clock.mono(when) >= at, "{ppm} {at}");
                assert!(when == 0 || clock.mono(when - 1) < at + 2, "{ppm} {at}");
            }
        }
    }

    #[test]
    fn a_change_of_pace_keeps_what_has_passed() {
        let mut clock = Clock { ppm: 100_000, ..Clock::default() };
        clock.settle(1_000);
        clock.ppm = 0;

        assert_eq!((clock.mono(1_000), clock.mono(1_500)), (1_100, 1_600));
    }

    #[test]
    fn monotonic_time_stands_still_while_suspended_and_boot_time_goes_on() {
        let mut clock = Clock::default();
        clock.settle(10 * MS);
        clock.suspended = true;

        assert_eq!((clock.mono(50 * MS), clock.boot(50 * MS)), (10 * MS, 50 * MS));
        assert_eq!((clock.when(60 * MS), clock.wall_ms(50 * MS)), (None, 50));
        clock.settle(50 * MS);
        clock.suspended = false;
        assert_eq!((clock.mono(51 * MS), clock.boot(51 * MS)), (11 * MS, 51 * MS));
        assert_eq!(clock.when(12 * MS), Some(52 * MS));
    }
}
