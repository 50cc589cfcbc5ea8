//! Many universes, on several cores, and what they add up to.
//!
//! Owns: the workers, the running totals, the verdict of a campaign. Invariant: how many workers
//! there are changes nothing but the time it takes; wall-clock time only reaches the progress line.

mod marks;
mod totals;

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use env::{Lock, Rank};

use crate::fault::Plan;
use crate::scenario::{self, RunOptions};
use crate::world::{FailureKind, Outcome, seconds};

pub use marks::{EXCUSED, RARE, all as all_marks, catalog};
pub use totals::{Failed, Totals};

/// Which seeds, on how many cores.
#[derive(Clone, Debug)]
pub struct Range {
    /// The first seed.
    pub start: u64,
    /// How many.
    pub seeds: u64,
    /// On how many threads.
    pub jobs: usize,
    /// Planted bugs that are switched on.
    pub mutants: Vec<String>,
    /// Stop after so many failures.
    pub failures_max: u64,
}

/// The exit code that says how a run failed.
pub fn exit_code(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::Safety => 10,
        FailureKind::Liveness => 11,
        FailureKind::Crash => 12,
    }
}

/// The exit code of a campaign in which a mark or a fault class never fired.
pub const EXIT_SILENT: u8 = 13;

/// Runs every seed of `range`, reporting progress to `progress`.
pub fn run(range: &Range, progress: &mut (dyn Write + Send)) -> Totals {
    let next = AtomicU64::new(0);
    let state = Lock::new(Rank(1), (Totals::default(), progress, Clock::start()));
    let work = || {
        loop {
            let at = next.fetch_add(1, Relaxed);
            if at >= range.seeds {
                return;
            }
            let mut plan = Plan::draw(range.start + at);
            plan.mutants.clone_from(&range.mutants);
            let outcome = scenario::run_plan(&plan, &RunOptions::default());
            let mut state = state.lock();
            let (totals, progress, clock) = &mut *state;
            totals.add(plan, outcome);
            if clock.report_due() {
                report(*progress, totals, range.seeds, clock);
            }
            if totals.failures() >= range.failures_max {
                next.store(range.seeds, Relaxed);
            }
        }
    };
    threads(range.jobs, work);
    let mut state = state.lock();
    let (totals, progress, clock) = &mut *state;
    report(*progress, totals, range.seeds, clock);
    std::mem::take(totals)
}

#[expect(clippy::disallowed_methods, reason = "worker threads outside every universe")]
fn threads(jobs: usize, work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(&work);
        }
    });
}

/// Wall-clock and processor time of this process, for the progress line only.
struct Clock {
    wall: u64,
    cpu: u64,
    reported: u64,
}

impl Clock {
    const REPORT_EVERY: u64 = 2_000_000_000;

    fn start() -> Self {
        let wall = Self::read(rustix::time::ClockId::Monotonic);
        let cpu = Self::read(rustix::time::ClockId::ProcessCPUTime);
        Self { wall, cpu, reported: wall }
    }

    fn read(id: rustix::time::ClockId) -> u64 {
        let time = rustix::time::clock_gettime(id);
        let nanos = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
        u64::try_from(nanos).unwrap_or(0)
    }

    fn report_due(&mut self) -> bool {
        let now = Self::read(rustix::time::ClockId::Monotonic);
        let due = now.saturating_sub(self.reported) >= Self::REPORT_EVERY;
        if due {
            self.reported = now;
        }
        due
    }
}

fn report(to: &mut (dyn Write + Send), totals: &Totals, of: u64, clock: &Clock) {
    let wall = seconds(Clock::read(rustix::time::ClockId::Monotonic) - clock.wall).max(1e-9);
    let cpu = seconds(Clock::read(rustix::time::ClockId::ProcessCPUTime) - clock.cpu).max(1e-9);
    // A progress line that cannot be written is no reason to stop.
    drop(writeln!(
        to,
        "{}/{of} seeds, {:.1} seeds/s, {:.0} acked requests/CPU s, {:.0} events/CPU s, {} failed",
        totals.seeds(),
        ratio(totals.seeds(), wall),
        ratio(totals.acked_requests(), cpu),
        ratio(totals.notes(), cpu),
        totals.failures(),
    ));
}

#[expect(clippy::cast_precision_loss, reason = "shown to people only")]
fn ratio(count: u64, per: f64) -> f64 {
    count as f64 / per
}

/// How often a planted bug was found.
#[derive(Clone, Debug, Default)]
pub struct Killed {
    /// Seeds that were run.
    pub seeds: u64,
    /// Plans that failed, with what they failed on.
    pub kills: Vec<(Plan, String)>,
}

/// Runs seeds with one planted bug until it was found `wanted` times or the range is over.
pub fn hunt(mutant: &str, range: &Range, wanted: usize) -> Killed {
    let mut killed = Killed::default();
    let batch = u64::try_from(range.jobs.max(1) * 4).unwrap_or(4);
    while killed.seeds < range.seeds && killed.kills.len() < wanted {
        let seeds = batch.min(range.seeds - killed.seeds);
        let part = Range {
            start: range.start + killed.seeds,
            seeds,
            jobs: range.jobs,
            mutants: vec![mutant.to_owned()],
            failures_max: u64::MAX,
        };
        let totals = run(&part, &mut std::io::sink());
        killed.seeds += seeds;
        let found = totals.into_failed();
        killed.kills.extend(found.into_iter().map(|failed| (failed.plan, failed.failure.text)));
    }
    killed
}

/// The seed's verdict in one line.
pub fn verdict<T>(seed: u64, outcome: &Outcome<T>) -> String {
    let ledger = &outcome.ledger;
    match &outcome.failure {
        None => format!(
            "seed {seed}: ok, {} records acked, {:.2} simulated s, {} events, hash {:016x}",
            ledger.acked,
            seconds(outcome.nanos),
            outcome.notes,
            outcome.hash,
        ),
        Some(failure) => format!(
            "seed {seed}: FAILED, {:?} at {:.6} simulated s: {}",
            failure.kind,
            seconds(failure.at),
            failure.text,
        ),
    }
}
