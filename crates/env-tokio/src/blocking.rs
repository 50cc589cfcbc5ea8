//! Blocking work off the runtime's workers, at most so much at a time.
//!
//! Invariant: the runtime's own queue of blocking work never holds more than the permits; whoever
//! finds none left waits as a task, in order of arrival. Work that was handed over runs to its end
//! even if the caller is dropped, and keeps its permit until then.

use std::io;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// A bounded share of the blocking pool. Clones share the bound.
#[derive(Clone, Debug)]
pub(crate) struct Blocking {
    handle: Handle,
    permits: Arc<Semaphore>,
}

impl Blocking {
    /// A share of `at_once` calls on the pool behind `handle`.
    pub(crate) fn new(handle: &Handle, at_once: usize) -> Self {
        Self { handle: handle.clone(), permits: Arc::new(Semaphore::new(at_once.max(1))) }
    }

    /// Runs `work` on the pool. A panic in it goes on here.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(io::Error::other)?;
        let done = self.handle.spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        match done.await {
            Ok(result) => result,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(io::Error::other("the runtime is shutting down")),
            },
        }
    }
}
