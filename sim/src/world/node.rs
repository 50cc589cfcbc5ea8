//! Nodes and the processes that run on them.
//!
//! Owns: which incarnation of which node is alive, boot, crash, halt, pause, and the supervisor
//! that starts a stopped process again. Invariant: a [`Process`] handle acts only while its own
//! incarnation is alive; the destructors that run when a process is killed change nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use env::{Lock, Rank};
use madsim::runtime::{Handle, NodeHandle};
use tokio::sync::Notify;

use crate::budget::Event;
use crate::disk::Taken;
use crate::fault::DirFile;

use super::clock::Clock;
use super::pace::{Pace, Paced};
use super::{Dice, FailureKind, MS, Note, SimEnv, World};

/// What runs on a node: called with a fresh `Env` at every boot.
pub type Program = Arc<dyn Fn(SimEnv) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Wraps an async function as a [`Program`].
pub fn program<F>(main: impl Fn(SimEnv) -> F + Send + Sync + 'static) -> Program
where
    F: Future<Output = ()> + Send + 'static,
{
    Arc::new(move |env| Box::pin(main(env)))
}

/// How a process ends against its will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process dies, the kernel lives: the page cache stays, sockets are closed.
    Process,
    /// The kernel restarts in good order: it ends the process, closes its sockets, writes its cache
    /// back and boots.
    Kernel,
    /// The machine loses power: unsynced bytes are at risk, peers are told nothing.
    Power,
}

pub(crate) struct Nodes {
    pub(super) cells: Vec<Cell>,
    dice: Lock<Vec<Dice>>,
}

pub(super) struct Cell {
    up: AtomicBool,
    paused: AtomicBool,
    incarnation: AtomicU32,
    /// The last incarnation that somebody was called for.
    called: AtomicU32,
    /// Boots of the machine (not of the process).
    machine: AtomicU32,
    /// When something last kept it from working as it should, nanoseconds.
    disturbed: AtomicU64,
    /// Told to whoever waits for it now.
    stop: Notify,
    pub(super) clock: Lock<Clock>,
    pub(super) pace: Pace,
    state: Lock<State>,
}

#[derive(Default)]
struct State {
    program: Option<Program>,
    main: Option<NodeHandle>,
    dedicated: Option<NodeHandle>,
    restart_ms: Option<u64>,
    faults: Vec<&'static str>,
}

impl Nodes {
    pub(super) fn new(seed: u64, count: usize) -> Self {
        let cell = || Cell {
            up: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            incarnation: AtomicU32::new(0),
            called: AtomicU32::new(0),
            machine: AtomicU32::new(1),
            disturbed: AtomicU64::new(0),
            stop: Notify::new(),
            clock: Lock::new(Rank(254), Clock::default()),
            pace: Pace::default(),
            state: Lock::new(Rank(253), State::default()),
        };
        let dice = (0..count).map(|node| Dice::new(seed, &format!("node {node}"))).collect();
        Self { cells: (0..count).map(|_| cell()).collect(), dice: Lock::new(Rank(254), dice) }
    }
}

/// Which incarnation of which node a handle belongs to.
#[derive(Clone)]
pub struct Process {
    /// Its universe.
    pub world: Arc<World>,
    /// Its node.
    pub node: usize,
    /// Counts the node's processes.
    pub incarnation: u32,
}

impl Process {
    /// Whether this very process still runs.
    pub fn alive(&self) -> bool {
        self.world.alive(self.node, self.incarnation)
    }

    /// Returns at once if alive; a dead process never gets past here.
    pub async fn must_live(&self) {
        if !self.alive() {
            std::future::pending::<()>().await;
        }
    }

    /// 64 random bits of the node's own stream.
    pub fn bits(&self) -> u64 {
        self.world.node_dice(self.node, Dice::bits)
    }

    /// Adds to the trace on behalf of this process.
    pub fn note(&self, note: Note, text: impl FnOnce() -> String) {
        if self.alive() {
            self.world.note(Note { node: Some(self.node), ..note }, text);
        }
    }

    /// Starts a task that dies with the process.
    pub(super) fn spawn(&self, dedicated: bool, task: impl Future<Output = ()> + Send + 'static) {
        if !self.alive() {
            return;
        }
        let home = {
            let state = self.world.nodes.cells[self.node].state.lock();
            if dedicated { state.dedicated.clone() } else { state.main.clone() }
        };
        let Some(home) = home else { return };
        if dedicated {
            drop(home.spawn(task));
        } else {
            drop(home.spawn(Paced::new(self.clone(), Box::pin(task))));
        }
    }
}

impl World {
    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes.cells.len()
    }

    /// Whether `incarnation` of `node` runs.
    pub fn alive(&self, node: usize, incarnation: u32) -> bool {
        let cell = &self.nodes.cells[node];
        cell.up.load(Relaxed) && cell.incarnation.load(Relaxed) == incarnation
    }

    /// Whether a process runs on `node`.
    pub fn is_up(&self, node: usize) -> bool {
        self.nodes.cells[node].up.load(Relaxed)
    }

    /// The current incarnation of `node`.
    pub fn incarnation(&self, node: usize) -> u32 {
        self.nodes.cells[node].incarnation.load(Relaxed)
    }

    /// How often the machine of `node` was powered on.
    pub fn machine_boots(&self, node: usize) -> u32 {
        self.nodes.cells[node].machine.load(Relaxed)
    }

    /// Notes that `node` was kept from working as it should.
    pub(crate) fn disturb(&self, node: usize) {
        self.nodes.cells[node].disturbed.store(self.now(), Relaxed);
    }

    /// When `node` was last kept from working as it should, nanoseconds: booted, paused, or hit by
    /// its disk.
    pub fn disturbed_at(&self, node: usize) -> u64 {
        if self.disks[node].lock().is_hurting() || self.is_slow(node) {
            self.now()
        } else {
            self.nodes.cells[node].disturbed.load(Relaxed)
        }
    }

    pub(crate) fn node_dice<T>(&self, node: usize, draw: impl FnOnce(&mut Dice) -> T) -> T {
        draw(&mut self.nodes.dice.lock()[node])
    }

    /// Says what runs on `node`, and after how many milliseconds a process that stopped is started
    /// again (`None`: never).
    pub fn install(&self, node: usize, program: Program, restart_ms: Option<u64>) {
        let mut state = self.nodes.cells[node].state.lock();
        state.program = Some(program);
        state.restart_ms = restart_ms;
    }

    /// The door of the process that runs on `node` now.
    pub fn env(self: &Arc<Self>, node: usize) -> SimEnv {
        SimEnv::new(Process { world: Arc::clone(self), node, incarnation: self.incarnation(node) })
    }

    /// Starts the installed program on `node`. Nothing happens if a process runs there.
    pub fn boot(self: &Arc<Self>, node: usize) {
        let cell = &self.nodes.cells[node];
        if cell.up.swap(true, Relaxed) {
            return;
        }
        let incarnation = cell.incarnation.fetch_add(1, Relaxed) + 1;
        self.net.lock().set_dark(node, false);
        self.disks[node].lock().started();
        self.disturb(node);
        let handle = Handle::current();
        let main = handle.create_node().name(format!("n{node}")).build();
        let dedicated = handle.create_node().name(format!("n{node}-dedicated")).build();
        let program = {
            let mut state = cell.state.lock();
            state.main = Some(main.clone());
            state.dedicated = Some(dedicated);
            state.program.clone()
        };
        let target = u64::from(incarnation);
        let note = Note { node: Some(node), kind: "boot", target, ..Note::default() };
        self.note(note, String::new);
        let Some(program) = program else { return };
        let (world, env) = (Arc::clone(self), self.env(node));
        let process = env.process().clone();
        let task = async move {
            program(env).await;
            if world.alive(node, incarnation) {
                world.crash(node, Crash::Process);
                world.restart_later(node);
            }
        };
        drop(main.spawn(Paced::new(process, Box::pin(task))));
    }

    /// Ends the process on `node`, or the whole machine. Returns whether one ran.
    pub fn crash(self: &Arc<Self>, node: usize, how: Crash) -> bool {
        let cell = &self.nodes.cells[node];
        let ran = cell.up.swap(false, Relaxed);
        if !ran && how == Crash::Process {
            return false;
        }
        let was_paused = cell.paused.swap(false, Relaxed);
        self.set_suspended(node, false);
        if !ran || was_paused || how == Crash::Process {
            self.disturb(node);
        }
        let homes = {
            let mut state = cell.state.lock();
            [state.main.take(), state.dedicated.take()]
        };
        self.net_crash(node, how);
        let hook = self.on_power_loss.lock().clone();
        // What is in the place of the right disk makes no promise.
        let is_ours = !self.disks[node].lock().is_replaced();
        if let Some(hook) = hook.filter(|_| how == Crash::Power && is_ours) {
            hook(self, node);
        }
        let (mut taken, mut fired, mut lied) = (Taken::default(), None, false);
        {
            let mut disk = self.disks[node].lock();
            disk.process_died();
            match how {
                Crash::Process => {},
                Crash::Kernel => {
                    cell.machine.fetch_add(1, Relaxed);
                    disk.shut_down();
                },
                Crash::Power => {
                    cell.machine.fetch_add(1, Relaxed);
                    taken = disk.power_loss();
                    fired = disk.armed.fired.take();
                    lied = disk.lie_came_true;
                },
            }
        }
        {
            let mut ledger = self.ledger.lock();
            ledger.sectors_lost += taken.sectors;
            if lied {
                ledger.budget.fired(Event::LieCameTrue);
            }
        }
        if let Some(class) = fired {
            self.fired_at(node, class);
        }
        let power = u64::from(how == Crash::Power);
        let Taken { sectors, changes } = taken;
        let len = sectors + changes;
        let note = Note { node: Some(node), kind: "crash", result: power, len, ..Note::default() };
        self.note(note, || {
            format!("{how:?}, {sectors} dirty sectors and {changes} directory changes lost")
        });
        for home in homes.into_iter().flatten() {
            Handle::current().kill(home.id());
        }
        ran
    }

    /// Tells the process on `node` to stop, if it listens yet.
    pub fn ask_to_stop(&self, node: usize) {
        self.nodes.cells[node].stop.notify_waiters();
    }

    /// Completes when the process on `node` is told to stop.
    pub async fn told_to_stop(&self, node: usize) {
        self.nodes.cells[node].stop.notified().await;
    }

    /// Starts `node` again after its supervisor's delay, unless somebody else does so before.
    pub fn restart_later(self: &Arc<Self>, node: usize) {
        let delay = self.nodes.cells[node].state.lock().restart_ms;
        if let Some(millis) = delay {
            self.at(self.now() + millis * MS, move |world| world.boot(node));
        }
    }

    /// The process stopped itself. Legitimate only if a fault of this node explains it.
    pub(super) fn halt(self: &Arc<Self>, node: usize, reason: String) {
        let ends_process = self.disks[node].lock().ends_process();
        let (excused, refused) = {
            let classes = self.nodes.cells[node].state.lock().faults.clone();
            let is_start = self.disks[node].lock().is_starting();
            let stops = |class: &&'static str| {
                halt_allowed(class, is_start) && self.may_halt(node, class, is_start)
            };
            // A process that serves goes on, and over files that are sound none is refused.
            let refuses = |class: &&str| {
                is_start
                    && refusal_allowed(class, &reason)
                    && self.disks[node].lock().is_hurt_by(class)
            };
            (ends_process && classes.iter().any(stops), classes.iter().any(refuses))
        };
        let excused = excused
            || refused
            || self.disks[node].lock().is_replaced()
            || self.disks[node].lock().names_lost_segment(&reason)
            || self.ledger.lock().budget.excuses("halt");
        self.note(Note { node: Some(node), kind: "halt", ..Note::default() }, || reason.clone());
        if !excused {
            let text = format!("halt: n{node} stopped without a fault that allows it: {reason}");
            self.fail(FailureKind::Safety, text);
        }
        self.ledger.lock().halts.push((node, reason.clone()));
        self.crash(node, Crash::Process);
        if self.disks[node].lock().put_back() {
            self.fired("replaced directory");
        }
        // An operator who reads the error restores what it names.
        if refused {
            self.disks[node].lock().give_back(|class| refusal_allowed(class, &reason));
        }
        self.restart_later(node);
    }

    /// Counts a fault that `node` was hit by; it may excuse a later halt.
    pub fn fired_on(self: &Arc<Self>, node: usize, class: &'static str) {
        self.disturb(node);
        self.blame(node, class);
        {
            let mut state = self.nodes.cells[node].state.lock();
            if !state.faults.contains(&class) {
                state.faults.push(class);
            }
        }
        self.fired_at(node, class);
        self.call_operator(node);
    }

    /// Somebody sees that a process goes on without one of its directories and, a while later, has
    /// it stopped and started again.
    pub(super) fn call_operator(self: &Arc<Self>, node: usize) {
        const COMES_MS: (u64, u64) = (300, 2_500);
        let incarnation = self.incarnation(node);
        let called = &self.nodes.cells[node].called;
        if !self.disks[node].lock().any_out_of_service()
            || called.swap(incarnation, Relaxed) == incarnation
        {
            return;
        }
        let mut dice = self.dice(&format!("operator of {node} {incarnation}"));
        let (soon, late) = COMES_MS;
        self.at(self.now() + dice.between(soon, late) * MS, move |world| {
            if world.alive(node, incarnation) {
                world.ask_to_stop(node);
            }
        });
    }

    /// Stops every task of `node` in its tracks, or lets them go on.
    pub fn set_paused(&self, node: usize, paused: bool) {
        let cell = &self.nodes.cells[node];
        // No process goes on in a machine that sleeps: its clock stands still.
        if !paused && self.is_suspended(node) {
            return;
        }
        if !cell.up.load(Relaxed) || cell.paused.swap(paused, Relaxed) == paused {
            return;
        }
        let homes = {
            let state = cell.state.lock();
            [state.main.clone(), state.dedicated.clone()]
        };
        for home in homes.into_iter().flatten() {
            if paused {
                Handle::current().pause(home.id());
            } else {
                Handle::current().resume(home.id());
            }
        }
        self.disturb(node);
        let kind = if paused { "pause" } else { "resume" };
        self.note(Note { node: Some(node), kind, ..Note::default() }, String::new);
    }

    /// The machine of `node` sleeps: nothing runs, nothing gets in or out, monotonic time stands
    /// still. Or it wakes up.
    pub fn suspend(&self, node: usize, sleeps: bool) {
        if sleeps == self.is_suspended(node) || !self.is_up(node) {
            return;
        }
        self.set_suspended(node, sleeps);
        self.net.lock().set_dark(node, sleeps);
        self.set_paused(node, sleeps);
    }

    /// Ends everything for good. Part of the teardown.
    pub(super) fn kill_all(&self) {
        for cell in &self.nodes.cells {
            cell.up.store(false, Relaxed);
            let old = std::mem::take(&mut *cell.state.lock());
            for home in [&old.main, &old.dedicated].into_iter().flatten() {
                Handle::current().kill(home.id());
            }
        }
    }
}

/// Whether a start may be refused over damage of `class` for this reason: one that names the file.
fn refusal_allowed(class: &str, reason: &str) -> bool {
    let words = DirFile::refusal(class).unwrap_or_default();
    // A disk that has no room says nothing of damage.
    let is_full = reason.ends_with(&io::Error::from(io::ErrorKind::StorageFull).to_string());
    !is_full && words.iter().any(|word| reason.contains(word))
}

/// Which fault classes excuse a halt. A class that is not listed excuses none. A disk that is full or
/// cannot be read excuses only that a start gives up: a process that runs goes on.
fn halt_allowed(class: &str, is_start: bool) -> bool {
    match class {
        "disk full" | "failed read" | "latent sector" => is_start,
        class => matches!(class, "failed sync" | "short write"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;
    use env::{Access, Env};

    use super::*;
    use crate::world::{Settings, install_panic_hook, run};

    const PATH: &str = "/journal";

    /// Whether a process may end itself with a reason that names a file which was lost: in its start or
    /// once it serves, and with the file away or back.
    fn is_excused(serves: bool, is_back: bool) -> bool {
        install_panic_hook();
        let settings = Settings { nodes: 1, ..Settings::default() };
        let outcome = run(settings, move |world| async move {
            let class = DirFile::Journal.class();
            {
                let mut disk = world.disk(0);
                let (inode, _) = disk.open(Path::new(PATH), Access::CreateNew).unwrap();
                disk.write(inode, 0, &[Bytes::from_static(b"bytes")]).unwrap();
                disk.sync_fs(Path::new("/")).unwrap();
                assert!(disk.lose_file(Path::new(PATH), class));
                assert!(!is_back || disk.give_back(|lost| lost == class));
            }
            world.fired_on(0, class);
            let ends = move |env: SimEnv| async move {
                if serves {
                    env.process().world.disk(0).serves();
                }
                env.halt(format!("cannot read {PATH}"));
            };
            world.install(0, program(ends), None);
            world.boot(0);
            world.sleep_ms(5).await;
            assert!(!world.is_up(0));
        });
        outcome.failure.is_none()
    }

    #[test]
    fn a_start_is_refused_over_a_file_while_that_is_damaged_and_nothing_that_serves_ends_over_it() {
        assert!(is_excused(false, false));
        assert!(!is_excused(false, true), "the file is back");
        assert!(!is_excused(true, false), "a process that serves goes on");
    }
}
