//! Telling every connection that the server stops, in a fixed order, and waiting for their ends.
//!
//! Invariant: a connection that ends wakes whoever stops the server and no other connection: with
//! one flag for both, every client that comes and goes would wake all that are connected.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use tokio::sync::Notify;

/// A flag that can be waited for. `Notify` wakes its waiters first come, first served.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    stopping: AtomicBool,
    raised: Notify,
    ended: Notify,
}

impl Stop {
    /// Raises the flag.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.raised.notify_waiters();
    }

    /// Whether the flag is raised.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Tells [`Stop::until`] to look again.
    pub(crate) fn connection_ended(&self) {
        self.ended.notify_waiters();
    }

    /// Completes once `done` says so at the end of a connection, or now.
    pub(crate) async fn until(&self, done: impl Fn() -> bool) {
        loop {
            // Registered before the look, so that an end in between is not missed.
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            if done() {
                return;
            }
            ended.await;
        }
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
            let mut raised = pin!(self.raised.notified());
            raised.as_mut().enable();
            if self.is_stopping() {
                return;
            }
            raised.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Context, Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_connection_that_ends_wakes_the_stopping_server_and_no_other_connection() {
        let stop = Stop::default();
        let (server, connection) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let mut all_ended = pin!(stop.until(|| false));
        let mut idle = pin!(stop.unless(std::future::pending::<()>()));
        let wakers = [&server, &connection].map(|woken| Waker::from(Arc::clone(woken)));
        assert!(all_ended.as_mut().poll(&mut Context::from_waker(&wakers[0])).is_pending());
        assert!(idle.as_mut().poll(&mut Context::from_waker(&wakers[1])).is_pending());

        stop.connection_ended();
        let at_an_end = [&server, &connection].map(|woken| woken.0.load(Ordering::SeqCst));
        stop.stop();

        assert_eq!(at_an_end, [true, false]);
        assert!(connection.0.load(Ordering::SeqCst), "but the stop itself wakes it");
    }
}
