//! Telling every connection that the server stops, in a fixed order.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use tokio::sync::Notify;

/// A flag that can be waited for. `Notify` wakes its waiters first come, first served.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    stopping: AtomicBool,
    changed: Notify,
}

impl Stop {
    /// Raises the flag.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Whether the flag is raised.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Wakes those who wait in [`Stop::changed`] without raising the flag.
    pub(crate) fn poke(&self) {
        self.changed.notify_waiters();
    }

    /// Completes at the next [`Stop::stop`] or [`Stop::poke`].
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Runs `future` until it is ready or the flag is raised; then it is dropped.
    pub(crate) async fn unless<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut stopped = pin!(self.stopped());
        let mut future = pin!(future);
        poll_fn(move |cx| {
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Completes once the flag is raised.
    pub(crate) async fn stopped(&self) {
        loop {
            // Registered before the look, so that a stop in between is not missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.is_stopping() {
                return;
            }
            changed.await;
        }
    }
}
