//! One simulated universe.
//!
//! Owns: virtual time, the trace, the node table, the network, one disk per node, and the ledger
//! of marks, faults and the first failure. Invariants: everything random comes from a stream of
//! the seed; locks are leaves of the rank order (251 disk, 252 net, 253 nodes, 254 ledger, clocks and
//! schedule, 255 trace), never held across an await nor while a waker is woken or dropped.

mod blame;
mod clock;
mod dice;
mod door;
mod knobs;
mod ledger;
mod node;
mod pace;
mod remark;
mod schedule;
mod trace;
mod universe;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use env::{Guard, Lock, Rank};
use tokio::sync::Notify;

use crate::disk::Image;
use crate::net::NetState;

pub use blame::{Asked, Blame, HALT_MS};
pub use dice::{Dice, digest};
pub use door::{SimEnv, SimProbe};
pub use knobs::Knobs;
pub use ledger::{Failure, FailureKind, Ledger, MarkTrap};
pub use node::{Crash, Process, Program, program};
pub use remark::brief;
pub use schedule::{DILATION, MS, Timer, US, pass};
pub use trace::{Event, Note, Trace, seconds};
pub use universe::{Outcome, install_panic_hook, run};

use node::Nodes;
use schedule::Schedule;

/// What a universe is made from.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Everything random follows from it.
    pub seed: u64,
    /// How many nodes, brokers and clients together.
    pub nodes: usize,
    /// Intensities of background noise.
    pub knobs: Knobs,
    /// Planted bugs that are switched on.
    pub mutants: BTreeSet<String>,
    /// Whether the events of the trace are kept.
    pub keep_events: bool,
    /// Notes after which the run is given up as livelocked; 0 for the default.
    pub notes_max: u64,
}

/// Called right before a machine loses power, with its node.
type PowerLossHook = Arc<dyn Fn(&World, usize) + Send + Sync>;

/// One simulated universe. See the module head.
pub struct World {
    settings: Settings,
    pub(crate) disks: Vec<Lock<Image>>,
    pub(crate) net: Lock<NetState>,
    pub(crate) nodes: Nodes,
    pub(crate) ledger: Lock<Ledger>,
    schedule: Lock<Schedule>,
    trace: Lock<Trace>,
    poke: Notify,
    pub(crate) failed: Notify,
    on_power_loss: Lock<Option<PowerLossHook>>,
    last_now: AtomicU64,
    closing: AtomicBool,
    calm: AtomicBool,
    calm_at: AtomicU64,
}

impl World {
    const NOTES_MAX: u64 = 20_000_000;

    /// A universe at time zero in which nothing runs yet.
    pub fn new(settings: Settings) -> Arc<Self> {
        let seed = settings.seed;
        let disk = |node| {
            let dice = Dice::new(seed, &format!("disk {node}"));
            Lock::new(Rank(251), Image::new(node, settings.knobs.clone(), dice))
        };
        Arc::new(Self {
            disks: (0..settings.nodes).map(disk).collect(),
            net: Lock::new(Rank(252), NetState::new(Dice::new(seed, "net"))),
            nodes: Nodes::new(seed, settings.nodes),
            ledger: Lock::new(Rank(254), Ledger::default()),
            schedule: Lock::new(Rank(254), Schedule::default()),
            trace: Lock::new(Rank(255), Trace::new(settings.keep_events)),
            poke: Notify::new(),
            failed: Notify::new(),
            on_power_loss: Lock::new(Rank(254), None),
            last_now: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            calm: AtomicBool::new(false),
            calm_at: AtomicU64::new(0),
            settings,
        })
    }

    /// Calls `hook` right before a machine loses power: the last look at what is durable.
    pub fn on_power_loss(&self, hook: impl Fn(&Self, usize) + Send + Sync + 'static) {
        *self.on_power_loss.lock() = Some(Arc::new(hook));
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.settings.seed
    }

    /// The background noise this universe was made with.
    pub fn knobs(&self) -> &Knobs {
        &self.settings.knobs
    }

    /// A random stream of this universe.
    pub fn dice(&self, purpose: &str) -> Dice {
        Dice::new(self.settings.seed, purpose)
    }

    /// Whether the planted bug `id` is switched on.
    pub fn mutant(&self, id: &str) -> bool {
        self.settings.mutants.contains(id)
    }

    /// The disk of `node`.
    pub fn disk(&self, node: usize) -> Guard<'_, Image> {
        self.disks[node].lock()
    }

    /// Cuts or mends one direction between two nodes.
    pub fn cut(&self, from: usize, to: usize, cut: bool) {
        self.net.lock().set_cut(from, to, cut);
    }

    /// Operations on the device `at` of `node` that begin before `until` (nanoseconds) return after
    /// it; 0 ends it.
    pub fn stall_disk(&self, node: usize, at: usize, until: u64) {
        self.disks[node].lock().device(at).stalled_until = until;
    }

    /// `node` reads nothing from its sockets before `until` (nanoseconds) and offers a window of so
    /// many bytes per connection.
    pub fn stall_reader(&self, node: usize, until: u64, window: usize) {
        self.net.lock().stall_reader(node, until, window);
    }

    /// Whether a power loss took what a drive had promised to have.
    pub fn lie_came_true(&self) -> bool {
        self.ledger.lock().budget.lie_came_true()
    }

    /// How often a fault of `class` took effect.
    pub fn faults(&self, class: &str) -> u64 {
        self.ledger.lock().faults.get(class).copied().unwrap_or(0)
    }

    /// Adds to the trace; `text` is asked only when events are kept.
    pub fn note(&self, note: Note, text: impl FnOnce() -> String) {
        let now = self.now();
        let count = {
            let mut trace = self.trace.lock();
            trace.add(now, &note, text);
            trace.count()
        };
        let most = match self.settings.notes_max {
            0 => Self::NOTES_MAX,
            set => set,
        };
        if count == most {
            self.fail(FailureKind::Liveness, format!("{most} events and still not done"));
        }
    }

    /// The trace's hash and number of notes so far.
    pub fn trace_hash(&self) -> (u64, u64) {
        let trace = self.trace.lock();
        (trace.hash(), trace.count())
    }

    /// Probability `per_mille`, or 0 once background noise is off.
    pub fn noise(&self, per_mille: u32) -> u32 {
        if self.calm.load(Relaxed) { 0 } else { per_mille }
    }

    /// Switches background noise off for good: from now on progress is owed.
    pub fn calm_down(&self) {
        self.calm.store(true, Relaxed);
        self.calm_at.store(self.now(), Relaxed);
        self.disks.iter().for_each(|disk| disk.lock().heal());
        self.net.lock().heal();
        self.note(Note { kind: "calm", ..Note::default() }, || "faults are over".into());
    }

    /// When [`World::calm_down`] was called, nanoseconds; 0 before.
    pub(crate) fn calm_at(&self) -> u64 {
        self.calm_at.load(Relaxed)
    }

    /// Whether [`World::calm_down`] was called.
    pub fn is_calm(&self) -> bool {
        self.calm.load(Relaxed)
    }
}
