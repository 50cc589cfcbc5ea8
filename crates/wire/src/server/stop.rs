//! Telling every connection that the server stops, in a fixed order.

use std::sync::atomic::{AtomicBool, Ordering};

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

    /// Completes once the flag is raised.
    pub(crate) async fn stopped(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_stopping() {
                return;
            }
            changed.await;
        }
    }
}
