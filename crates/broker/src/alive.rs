//! Waiting for tasks to end, and running a few of them side by side.
//!
//! Invariant: [`Alive::ended`] completes only when every task that holds a [`Guard`] has dropped
//! it, and from its call on nobody gets a new one.

use env::{Env, Lock, Rank};
use tokio::sync::mpsc;

/// Taken alone.
const ALIVE_RANK: Rank = Rank(30);
/// Tasks that work side by side: so many flushes of a disk share their way, and so many commits a
/// group of the journal.
const TASKS: usize = 64;

/// Held by a task for as long as it runs; drop it last.
pub(crate) type Guard = mpsc::Sender<()>;

/// Counts tasks.
pub(crate) struct Alive {
    guard: Lock<Option<Guard>>,
    ended: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

impl Default for Alive {
    fn default() -> Self {
        let (guard, ended) = mpsc::channel(1);
        Self { guard: Lock::new(ALIVE_RANK, Some(guard)), ended: tokio::sync::Mutex::new(ended) }
    }
}

impl Alive {
    /// For a new task; `None` once the end has begun.
    pub(crate) fn guard(&self) -> Option<Guard> {
        self.guard.lock().clone()
    }

    /// Completes when every task has ended.
    pub(crate) async fn ended(&self) {
        drop(self.guard.lock().take());
        let mut ended = self.ended.lock().await;
        while ended.recv().await.is_some() {}
    }
}

/// Runs `work` on every item, a few at a time, and yields the results as they come. Work that is
/// mostly waiting for a disk is done sooner that way.
pub(crate) fn side_by_side<E, T, R, F>(
    env: &E,
    name: &'static str,
    items: Vec<T>,
    work: impl Fn(T) -> F + Clone + Send + 'static,
) -> mpsc::Receiver<R>
where
    E: Env,
    T: Send + 'static,
    R: Send + 'static,
    F: Future<Output = R> + Send,
{
    let (done, results) = mpsc::channel(TASKS);
    let mut shares: Vec<Vec<T>> = (0..TASKS).map(|_| Vec::new()).collect();
    for (at, item) in items.into_iter().enumerate() {
        if let Some(share) = shares.get_mut(at % TASKS) {
            share.push(item);
        }
    }
    for share in shares.into_iter().filter(|share| !share.is_empty()) {
        let (work, done) = (work.clone(), done.clone());
        env.spawn(name, async move {
            for item in share {
                // Whoever stopped listening has failed already; what is left is still done.
                drop(done.send(work(item).await).await);
            }
        });
    }
    results
}
