//! One run: a fresh OS thread, a runtime, a universe, a verdict, and a clean end.
//!
//! Invariants: a run depends on its settings only (a fresh thread resets per-thread hash keys and
//! counters); afterwards nothing of it stays alive, or long campaigns leak.
#![expect(clippy::disallowed_types, reason = "a thread per universe")]

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use madsim::runtime::{Handle, Runtime};

use super::{Event, Failure, FailureKind, Ledger, Settings, World};

/// What a run came to.
#[derive(Debug)]
pub struct Outcome<T> {
    /// What the run's main function returned; `None` after a failure.
    pub value: Option<T>,
    /// The first failure.
    pub failure: Option<Failure>,
    /// Hash over every `Env` call and frame.
    pub hash: u64,
    /// Number of notes in the trace.
    pub notes: u64,
    /// Simulated nanoseconds.
    pub nanos: u64,
    /// Marks, faults and counts.
    pub ledger: Ledger,
    /// What happened, if it was kept.
    pub events: Vec<Event>,
    /// How much happened before that and was not kept.
    pub events_dropped: u64,
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes panics inside a universe silent and remembered with their place; panics elsewhere are
/// printed as ever. Call once per process.
pub fn install_panic_hook() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if Handle::try_current().is_err() {
            before(info);
            return;
        }
        let text = info.payload_as_str().unwrap_or("a panic without a message");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        PANIC.with_borrow_mut(|first| {
            first.get_or_insert_with(|| format!("{text} ({place})"));
        });
    }));
}

/// Runs `main` in the universe of `settings` until it returns or something fails.
pub fn run<T, F>(
    settings: Settings,
    main: impl FnOnce(Arc<World>) -> F + Send + 'static,
) -> Outcome<T>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let seed = settings.seed;
    let thread = std::thread::Builder::new()
        .name(format!("seed {seed}"))
        .stack_size(8 << 20)
        .spawn(move || run_here(settings, main));
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => lost(format!("the thread of seed {seed} panicked outside its universe")),
        Err(error) => lost(format!("no thread for seed {seed}: {error}")),
    }
}

fn run_here<T, F>(settings: Settings, main: impl FnOnce(Arc<World>) -> F) -> Outcome<T>
where
    F: Future<Output = T>,
{
    let runtime = Runtime::with_seed_and_config(settings.seed, madsim::Config::default());
    let world = World::new(settings);
    let result = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(until_failure(Arc::clone(&world), main(Arc::clone(&world))))
    }));
    let value = match result {
        Ok(value) => value,
        Err(_) => {
            let text = PANIC.with_borrow_mut(Option::take);
            world.fail(FailureKind::Crash, text.unwrap_or_else(|| "a panic".into()));
            None
        },
    };
    let nanos = world.last_now.load(Relaxed);
    let ledger = world.ledger.lock().clone();
    let (hash, notes) = world.trace_hash();
    let torn_down = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(tear_down(Arc::clone(&world)));
    }));
    let mut failure = ledger.failure.clone();
    if torn_down.is_err() && failure.is_none() {
        let text = PANIC.with_borrow_mut(Option::take).unwrap_or_default();
        let text = format!("a destructor panicked at the end of the run: {text}");
        failure = Some(Failure { kind: FailureKind::Crash, text, at: nanos });
    }
    drop(runtime);
    let (events, events_dropped) = world.trace.lock().take_events();
    Outcome { value, failure, hash, notes, nanos, ledger, events, events_dropped }
}

async fn until_failure<T>(world: Arc<World>, main: impl Future<Output = T>) -> Option<T> {
    drop(madsim::task::spawn(Arc::clone(&world).pump()));
    let mut failed = pin!(world.failed.notified());
    let mut main = pin!(main);
    let value = std::future::poll_fn(|cx| {
        if failed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        main.as_mut().poll(cx).map(Some)
    })
    .await;
    let failed = world.ledger.lock().failure.is_some();
    value.filter(|_| !failed)
}

/// Timers hold wakers, wakers hold tasks, tasks hold the world; and a dropped task is freed by
/// being scheduled once more. So the cycle is cut and the executor runs a little longer.
async fn tear_down(world: Arc<World>) {
    const YIELDS: u32 = 64;
    world.closing.store(true, Relaxed);
    world.kill_all();
    world.poke.notify_one();
    let timers = world.schedule.lock().take_all();
    drop(timers);
    let net = world.net.lock().take_all();
    drop(net);
    let hook = world.on_power_loss.lock().take();
    drop(hook);
    for _ in 0..YIELDS {
        super::pass().await;
    }
}

fn lost<T>(text: String) -> Outcome<T> {
    Outcome {
        value: None,
        failure: Some(Failure { kind: FailureKind::Crash, text, at: 0 }),
        hash: 0,
        notes: 0,
        nanos: 0,
        ledger: Ledger::default(),
        events: Vec::new(),
        events_dropped: 0,
    }
}
