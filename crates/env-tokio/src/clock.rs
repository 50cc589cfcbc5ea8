//! The three clocks, and sleeping.
//!
//! Invariant: monotonic instants count from the construction of the process's world, on both
//! clocks, so `boot_now - now` is the time the machine was suspended since then.

use base::{Duration, Instant, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// Where the monotonic clocks started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// On Linux `CLOCK_MONOTONIC`, which is also what the timers of the runtime use.
    origin: std::time::Instant,
    boot_origin_ns: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        // The boot clock is read first and later ticks are read in the same order, or it could
        // seem to lag behind.
        let boot_origin_ns = boot_ns();
        Self { origin: std::time::Instant::now(), boot_origin_ns }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant(0).after(self.origin.elapsed())
    }

    pub(crate) fn boot_now(&self) -> Instant {
        Instant(boot_ns().saturating_sub(self.boot_origin_ns))
    }

    pub(crate) async fn sleep_until(&self, at: Instant) {
        let Some(deadline) = self.origin.checked_add(Duration::from_nanos(at.0)) else {
            return std::future::pending().await;
        };
        loop {
            // The timer rounds up to its milliseconds; a deadline beyond its range fires early.
            tokio::time::sleep_until(deadline.into()).await;
            if self.now() >= at {
                return;
            }
        }
    }
}

/// Milliseconds since 1970, 0 if the machine believes to live before that.
pub(crate) fn wall() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn boot_ns() -> u64 {
    let at = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(at.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(at.tv_nsec).unwrap_or(0))
}
