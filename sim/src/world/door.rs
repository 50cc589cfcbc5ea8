//! `Env` as one simulated process sees it.
//!
//! Invariant: every call is traced, and the calls of a dead process do nothing: those that can
//! wait wait for ever, the others are ignored.

use std::sync::Arc;

use base::{Instant, Probe, Timestamp};
use env::{Env, Host, Pools};

use super::{Dice, MS, Note, Process, World, digest};
use crate::disk::SimDisk;
use crate::net::SimNet;

/// The world of one simulated process.
#[derive(Clone)]
pub struct SimEnv(Arc<Inner>);

struct Inner {
    process: Process,
    probe: SimProbe,
    disk: SimDisk,
    net: SimNet,
    pools: Pools,
}

impl SimEnv {
    /// Nanoseconds by which a process's clock is ahead of the universe's, so that zero is no time.
    const CLOCK_START: u64 = 1_000_000_000;

    pub(super) fn new(process: Process) -> Self {
        Self(Arc::new(Inner {
            probe: SimProbe(process.clone()),
            disk: SimDisk::new(process.clone()),
            net: SimNet::new(process.clone()),
            pools: Pools::default(),
            process,
        }))
    }

    /// Whose door this is.
    pub fn process(&self) -> &Process {
        &self.0.process
    }

    fn world(&self) -> &Arc<World> {
        &self.0.process.world
    }
}

impl Env for SimEnv {
    type Probe = SimProbe;
    type Disk = SimDisk;
    type Net = SimNet;

    fn probe(&self) -> &SimProbe {
        &self.0.probe
    }

    fn disk(&self) -> &SimDisk {
        &self.0.disk
    }

    fn net(&self) -> &SimNet {
        &self.0.net
    }

    fn host(&self) -> Host {
        let process = &self.0.process;
        let boots = self.world().machine_boots(process.node);
        Host { boot_id: format!("boot-{}-{boots}", process.node) }
    }

    fn pools(&self) -> &Pools {
        &self.0.pools
    }

    fn now(&self) -> Instant {
        let mono = self.world().clock(self.0.process.node, |clock, now| clock.mono(now));
        Instant(mono.saturating_add(Self::CLOCK_START))
    }

    fn boot_now(&self) -> Instant {
        let boot = self.world().clock(self.0.process.node, |clock, now| clock.boot(now));
        Instant(boot.saturating_add(Self::CLOCK_START))
    }

    fn wall(&self) -> Timestamp {
        self.world().wall(self.0.process.node)
    }

    async fn sleep_until(&self, at: Instant) {
        if at == Instant::NEVER {
            return std::future::pending().await;
        }
        let (world, node) = (self.world(), self.0.process.node);
        let at = at.0.saturating_sub(Self::CLOCK_START);
        // The pace may have changed while it slept.
        while world.clock(node, |clock, now| clock.mono(now)) < at {
            let when = world.clock(node, |clock, _| clock.when(at));
            world.sleep_until(when.unwrap_or_else(|| world.now() + MS)).await;
        }
    }

    async fn yield_now(&self) {
        self.0.process.note(Note { kind: "yield", ..Note::default() }, String::new);
        super::pass().await;
    }

    async fn seam(&self, site: &'static str) {
        let process = &self.0.process;
        let odds = self.world().noise(self.world().knobs().seam);
        if odds == 0 {
            return;
        }
        let yields = self
            .world()
            .node_dice(process.node, |dice| if dice.chance(odds) { dice.between(1, 3) } else { 0 });
        for _ in 0..yields {
            let target = digest(site.as_bytes());
            process.note(Note { kind: "seam", target, ..Note::default() }, || site.to_owned());
            super::pass().await;
        }
    }

    fn random_u64(&self) -> u64 {
        let process = &self.0.process;
        let drawn = process.bits();
        process.note(Note { kind: "random", result: drawn, ..Note::default() }, String::new);
        drawn
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let target = digest(name.as_bytes());
        self.0.process.note(Note { kind: "spawn", target, ..Note::default() }, || name.to_owned());
        self.0.process.spawn(false, task);
    }

    fn spawn_dedicated(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let target = digest(name.as_bytes());
        let note = Note { kind: "dedicate", target, ..Note::default() };
        self.0.process.note(note, || name.to_owned());
        self.0.process.spawn(true, task);
    }

    fn halt(&self, reason: String) {
        if self.0.process.alive() {
            self.world().halt(self.0.process.node, reason);
        }
    }
}

/// A handle into the world for mutants, marks and buggify sites.
#[derive(Clone)]
pub struct SimProbe(Process);

impl Probe for SimProbe {
    fn mutant(&self, id: &'static str) -> bool {
        self.0.world.mutant(id)
    }

    fn reached(&self, mark: &'static str) {
        if self.0.alive() {
            self.0.world.mark(mark);
            if crate::check::alarm_causes(mark).is_some() {
                let note = Note { node: Some(self.0.node), kind: "alarm", ..Note::default() };
                self.0.world.note(note, || mark.to_owned());
            }
            self.0.world.blame_mark(self.0.node, mark);
            self.0.world.spring_at_mark(self.0.node, mark);
        }
    }

    fn buggify(&self, site: &'static str) -> bool {
        let world = &self.0.world;
        let odds = world.noise(world.knobs().buggify);
        if odds == 0 {
            return false;
        }
        let active = *world
            .ledger
            .lock()
            .buggy
            .entry(site)
            .or_insert_with(|| Dice::new(world.seed(), site).chance(odds));
        active && world.node_dice(self.0.node, |dice| dice.chance(250))
    }
}
