//! How fast the tasks of a process are polled.
//!
//! Owns: the virtual cost of a poll on a slow node, and runtimes that stand still. Without either a
//! poll costs nothing, so that starvation would not exist. Invariant: a task that runs on its own
//! (`spawn_dedicated`) is never slowed down.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use super::{Process, Timer, World};

/// The runtime of one node.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// What each poll costs, nanoseconds.
    cost: AtomicU64,
    /// Until when the runtime is busy, nanoseconds.
    busy_until: AtomicU64,
}

/// A task that waits for its turn.
pub(super) struct Paced {
    process: Process,
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
    turn: Option<Timer>,
}

impl Paced {
    pub(super) fn new(process: Process, task: Pin<Box<dyn Future<Output = ()> + Send>>) -> Self {
        Self { process, task, turn: None }
    }
}

impl Future for Paced {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let world = &this.process.world;
        let pace = &world.nodes.cells[this.process.node].pace;
        let now = world.now();
        let busy_until = pace.busy_until.load(Relaxed);
        if busy_until > now {
            let turn = this.turn.insert(world.sleep_until(busy_until));
            if Pin::new(turn).poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        this.turn = None;
        let cost = pace.cost.load(Relaxed);
        if cost > 0 {
            pace.busy_until.store(now + cost, Relaxed);
        }
        this.task.as_mut().poll(cx)
    }
}

impl World {
    /// Each poll of a task of `node` costs so many nanoseconds; 0 is normal.
    pub fn set_poll_cost(&self, node: usize, nanos: u64) {
        self.nodes.cells[node].pace.cost.store(nanos, Relaxed);
        self.disturb(node);
    }

    /// No task of `node` is polled before `until` (nanoseconds), but those that run on their own.
    pub fn stall_runtime(&self, node: usize, until: u64) {
        self.nodes.cells[node].pace.busy_until.fetch_max(until, Relaxed);
    }

    /// Whether the runtime of `node` is held up now.
    pub(super) fn is_slow(&self, node: usize) -> bool {
        let pace = &self.nodes.cells[node].pace;
        pace.cost.load(Relaxed) > 0 || pace.busy_until.load(Relaxed) > self.now()
    }
}
