//! Virtual time: one queue of wake-ups and calls, pumped by a task that is never killed.
//!
//! Owns: the queue and [`Timer`]. Invariants: one entry per timer however often it is polled,
//! removed when the timer is dropped; entries due at the same instant run in the order in which
//! they were made. madsim's own sleep has a floor of 1 ms, hence [`DILATION`].

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};

use base::Duration;

use super::World;

/// madsim nanoseconds per simulated nanosecond; gives a timer granularity of 10 microseconds.
pub const DILATION: u64 = 100;
/// Nanoseconds per millisecond.
pub const MS: u64 = 1_000_000;
/// Nanoseconds per microsecond.
pub const US: u64 = 1_000;

type Call = Box<dyn FnOnce(&Arc<World>) + Send>;
type Key = (u64, u64);

pub(super) enum Due {
    Wake(Waker),
    Call(Call),
}

#[derive(Default)]
pub(super) struct Schedule {
    queue: BTreeMap<Key, Due>,
    made: u64,
}

impl Schedule {
    fn insert(&mut self, at: u64, due: Due) -> (Key, bool) {
        self.made += 1;
        let key = (at, self.made);
        let first = self.queue.first_key_value().is_none_or(|(next, _)| key < *next);
        self.queue.insert(key, due);
        (key, first)
    }

    fn take_due(&mut self, now: u64) -> Option<Due> {
        let (&(at, _), _) = self.queue.first_key_value()?;
        if at > now {
            return None;
        }
        self.queue.pop_first().map(|(_, due)| due)
    }

    fn next(&self) -> Option<u64> {
        self.queue.first_key_value().map(|(key, _)| key.0)
    }

    pub(super) fn take_all(&mut self) -> BTreeMap<Key, Due> {
        std::mem::take(&mut self.queue)
    }
}

impl World {
    /// The pump looks at the queue at least this often, nanoseconds (an hour).
    const NAP_MAX: u64 = 3_600_000 * MS;

    /// Simulated nanoseconds since the universe began.
    pub fn now(&self) -> u64 {
        if let Some(time) = madsim::time::TimeHandle::try_current() {
            let nanos = u64::try_from(time.elapsed().as_nanos()).unwrap_or(u64::MAX) / DILATION;
            self.last_now.store(nanos, Relaxed);
        }
        self.last_now.load(Relaxed)
    }

    /// Runs `call` at `at` (nanoseconds), outside every node.
    pub fn at(&self, at: u64, call: impl FnOnce(&Arc<Self>) + Send + 'static) {
        self.insert(at, Due::Call(Box::new(call)));
    }

    /// Completes at `at` (nanoseconds).
    pub fn sleep_until(self: &Arc<Self>, at: u64) -> Timer {
        Timer { world: Arc::clone(self), at, key: None }
    }

    /// Completes after `millis` simulated milliseconds.
    pub fn sleep_ms(self: &Arc<Self>, millis: u64) -> Timer {
        self.sleep_until(self.now() + millis * MS)
    }

    fn insert(&self, at: u64, due: Due) -> Key {
        let (key, first) = self.schedule.lock().insert(at, due);
        if first {
            self.poke.notify_one();
        }
        key
    }

    /// Runs whatever is due until the universe closes. Spawned once, outside every node.
    pub(super) async fn pump(self: Arc<Self>) {
        while !self.closing.load(Relaxed) {
            let now = self.now();
            let due = self.schedule.lock().take_due(now);
            match due {
                Some(Due::Wake(waker)) => waker.wake(),
                Some(Due::Call(call)) => call(&self),
                None => self.idle(now).await,
            }
        }
    }

    async fn idle(&self, now: u64) {
        let next = self.schedule.lock().next();
        let Some(next) = next else {
            self.poke.notified().await;
            return;
        };
        let nap = next.saturating_sub(now).min(Self::NAP_MAX);
        let nap = Duration::from_nanos(nap.saturating_mul(DILATION));
        let mut nap = pin!(madsim::time::sleep(nap));
        let mut poked = pin!(self.poke.notified());
        std::future::poll_fn(|cx| {
            if poked.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { nap.as_mut().poll(cx) }
        })
        .await;
    }
}

/// Lets other tasks run.
#[expect(clippy::disallowed_methods, reason = "what `Env::yield_now` is made of here")]
pub async fn pass() {
    madsim::task::yield_now().await;
}

/// A wake-up that is removed from the queue when dropped.
pub struct Timer {
    world: Arc<World>,
    at: u64,
    key: Option<Key>,
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.world.now() >= self.at {
            return Poll::Ready(());
        }
        let queued = self.key.is_some_and(|key| {
            let mut schedule = self.world.schedule.lock();
            match schedule.queue.get_mut(&key) {
                Some(Due::Wake(waker)) => {
                    waker.clone_from(cx.waker());
                    true
                },
                Some(Due::Call(_)) | None => false,
            }
        });
        if !queued {
            self.key = Some(self.world.insert(self.at, Due::Wake(cx.waker().clone())));
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            // The waker may own the last reference to a task, whose drop may come back here.
            let removed = self.world.schedule.lock().queue.remove(&key);
            drop(removed);
        }
    }
}
