//! The storage tests' disk in memory below a scheduler that chooses who comes next.
//!
//! Invariants: an order follows from its seed; time moves only while somebody waits for it; a
//! planted bug is switched on by name, as in the simulator.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::{Duration, Instant, Prng, Probe, Timestamp};
use env::{Env, Host, Pools};
use shuttle::scheduler::RandomScheduler;
use shuttle::{Config, FailurePersistence, Runner};

use crate::support::{MemEnv, NoNet};

/// How far one look at the clock moves it.
const STEP: Duration = Duration::from_millis(10);
/// Who waits longer waits for ever: background work that these tests are not about.
const PATIENCE: Duration = Duration::from_secs(60);
/// Orders tried per test.
const ORDERS: usize = 1500;

/// The planted bug, if any.
#[derive(Clone, Copy, Default)]
pub struct Planted(pub Option<&'static str>);

impl Probe for Planted {
    fn mutant(&self, id: &'static str) -> bool {
        self.0 == Some(id)
    }
}

/// One process.
#[derive(Clone)]
pub struct ShuttleEnv {
    mem: MemEnv,
    planted: Planted,
    clock: Arc<AtomicU64>,
    random: Arc<AtomicU64>,
    pools: Arc<Pools>,
}

impl ShuttleEnv {
    pub fn new(planted: Planted) -> Self {
        let mem = MemEnv::new();
        let (clock, random) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(1)));
        Self { mem, planted, clock, random, pools: Arc::default() }
    }
}

impl Env for ShuttleEnv {
    type Probe = Planted;
    type Disk = MemEnv;
    type Net = NoNet;

    fn probe(&self) -> &Planted {
        &self.planted
    }

    fn disk(&self) -> &MemEnv {
        &self.mem
    }

    fn net(&self) -> &NoNet {
        &NoNet
    }

    fn host(&self) -> Host {
        self.mem.host()
    }

    fn pools(&self) -> &Pools {
        &self.pools
    }

    fn now(&self) -> Instant {
        Instant(self.clock.load(Ordering::Relaxed))
    }

    fn boot_now(&self) -> Instant {
        self.now()
    }

    fn wall(&self) -> Timestamp {
        Timestamp(i64::try_from(self.now().0 / 1_000_000).unwrap())
    }

    async fn sleep_until(&self, at: Instant) {
        if at > self.now().after(PATIENCE) {
            std::future::pending().await
        }
        while self.now() < at {
            self.clock.fetch_max(self.now().after(STEP).0.min(at.0), Ordering::Relaxed);
            shuttle::future::yield_now().await;
        }
    }

    async fn yield_now(&self) {
        shuttle::future::yield_now().await;
    }

    async fn seam(&self, _site: &'static str) {
        shuttle::future::yield_now().await;
    }

    fn random_u64(&self) -> u64 {
        Prng::new(self.random.fetch_add(1, Ordering::Relaxed)).next_u64()
    }

    fn spawn(&self, _name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        drop(shuttle::future::spawn(task));
    }

    fn spawn_dedicated(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn(name, task);
    }

    fn halt(&self, reason: String) {
        panic!("halted: {reason}");
    }
}

/// Runs `work` in many orders; false if one of them failed.
pub fn holds<F: Future<Output = ()> + 'static>(
    planted: Planted,
    work: fn(ShuttleEnv) -> F,
) -> bool {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config.failure_persistence = FailurePersistence::None;
    let all = std::panic::catch_unwind(|| {
        let runner = Runner::new(RandomScheduler::new_from_seed(1, ORDERS), config);
        runner.run(move || shuttle::future::block_on(pin!(work(ShuttleEnv::new(planted)))));
    });
    all.is_ok()
}

/// The work holds in every order as the code is, and not with the bug planted.
pub fn catches<F: Future<Output = ()> + 'static>(bug: &'static str, work: fn(ShuttleEnv) -> F) {
    assert!(holds(Planted(None), work), "an order in which it does not hold");
    assert!(!holds(Planted(Some(bug)), work), "no order shows `{bug}`");
}
