//! Many universes, on several cores, and what they add up to.
//!
//! Owns: the workers, the running totals, the verdict of a campaign. Invariants: totals are those
//! of a run of seeds without a gap, up to the seed of the last failure that counts, and depend on
//! nothing else: not on how many workers there are, whether in processes of their own, nor on how
//! often the campaign was stopped and resumed; wall-clock time decides only how many seeds are run.

mod batch;
mod clock;
mod hunt;
mod marks;
mod saved;
mod totals;

use std::collections::BTreeMap;
use std::io::{self, Write};

use env::{Lock, Rank};

use crate::world::{FailureKind, Outcome, seconds};

use batch::Batch;
use clock::Clock;

pub use batch::serve as serve_batch;
pub use hunt::{Hunt, hunt};
pub use marks::{EXCUSED, RARE, all as all_marks, catalog};
pub use saved::Saved;
pub use totals::{Failed, Lost, Totals};

/// Which seeds, on how many cores.
#[derive(Clone, Debug)]
pub struct Range {
    /// The first seed.
    pub start: u64,
    /// How many at most.
    pub seeds: u64,
    /// On how many threads.
    pub jobs: usize,
    /// Planted bugs that are switched on.
    pub mutants: Vec<String>,
    /// Stop after so many failures.
    pub failures_max: u64,
    /// Begin nothing more after so many nanoseconds, those of earlier processes included.
    pub time_max: Option<u64>,
    /// Each batch of seeds in a process of its own.
    pub isolate: bool,
    /// The process ends at this seed as by a bug that no unwinding stops.
    pub abort_at: Option<u64>,
    /// The process never gets past this seed.
    pub hang_at: Option<u64>,
    /// A process that is busy with one seed for longer is ended, seconds of the wall clock.
    pub seed_secs_max: u64,
}

impl Range {
    /// A seed takes a fraction of a second on an idle core, and twenty on the busiest machine seen.
    pub const SEED_SECS_MAX: u64 = 600;

    /// `seeds` seeds from `start` on, on `jobs` threads, without a limit of any kind.
    pub fn new(start: u64, seeds: u64, jobs: usize) -> Self {
        Self {
            start,
            seeds,
            jobs: jobs.max(1),
            mutants: Vec::new(),
            failures_max: u64::MAX,
            time_max: None,
            isolate: false,
            abort_at: None,
            hang_at: None,
            seed_secs_max: Self::SEED_SECS_MAX,
        }
    }

    /// Seeds that a worker takes at once: many where each batch is a process, but never so many
    /// that a worker has nothing to do, and few where the time is limited, for a batch is never cut.
    fn batch(&self) -> u64 {
        const TIMED: u64 = 4;
        const TOGETHER: u64 = 16;
        const ISOLATED: u64 = 50;
        let most = match (self.time_max, self.isolate) {
            (Some(_), _) => TIMED,
            (None, true) => ISOLATED,
            (None, false) => TOGETHER,
        };
        let jobs = u64::try_from(self.jobs).unwrap_or(1).max(1);
        self.seeds.div_ceil(jobs).clamp(1, most)
    }
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
/// The exit code of a campaign that was told to stop before its end.
pub const EXIT_STOPPED: u8 = 14;

/// The worst of two exit codes: a broken promise, a crash, work that was not done, a campaign that
/// was stopped, one that says too little.
pub fn worse(one: u8, other: u8) -> u8 {
    const BY_WEIGHT: &[u8] = &[0, EXIT_SILENT, EXIT_STOPPED, 11, 12, 10];
    let weight = |code: u8| BY_WEIGHT.iter().position(|known| *known == code);
    if weight(other) > weight(one) { other } else { one }
}

/// How a campaign ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// What it came to.
    pub totals: Totals,
    /// Whether somebody told it to stop before it was done.
    pub stopped: bool,
}

/// What a campaign has come to, and after how many nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Sums over all seeds so far.
    pub totals: Totals,
    /// Wall-clock nanoseconds so far, those of earlier processes included.
    pub spent: u64,
}

/// Where a campaign tells how far it is.
pub struct Reports<'a> {
    /// A line for people now and then.
    pub progress: &'a mut (dyn Write + Send),
    /// Called with every new standing; an error ends the campaign.
    pub keep: &'a mut (dyn FnMut(&Standing) -> io::Result<()> + Send),
}

struct State<'a> {
    standing: Standing,
    /// Seeds handed out, counted from the first.
    handed: u64,
    /// Batches that wait for an earlier one, by their first seed, counted from the first.
    waiting: BTreeMap<u64, Batch>,
    ended: bool,
    /// Whether somebody told a batch to stop.
    stopped: bool,
    /// Seeds, requests and events of earlier processes.
    before: (u64, u64, u64),
    reports: Reports<'a>,
    clock: Clock,
    kept: io::Result<()>,
}

/// Runs the seeds of `range` that `begun` does not have yet.
///
/// # Errors
/// What `reports.keep` returns.
pub fn run(range: &Range, begun: Standing, reports: Reports<'_>) -> io::Result<Ended> {
    let totals = &begun.totals;
    let state = State {
        handed: totals.covered(),
        before: (totals.seeds(), totals.answered_requests(), totals.notes()),
        ended: begun.totals.failures() >= range.failures_max,
        stopped: false,
        clock: Clock::start(begun.spent),
        standing: begun,
        waiting: BTreeMap::new(),
        reports,
        kept: Ok(()),
    };
    let state = Lock::new(Rank(1), state);
    threads(range.jobs, || {
        loop {
            let Some((at, seeds)) = state.lock().hand_out(range) else { return };
            let batch = batch::run(range, range.start + at, seeds);
            state.lock().take_in(range, at, batch);
        }
    });
    let mut state = state.lock();
    let state = &mut *state;
    report(state, range);
    std::mem::replace(&mut state.kept, Ok(()))?;
    let totals = std::mem::take(&mut state.standing.totals);
    Ok(Ended { totals, stopped: state.stopped })
}

impl State<'_> {
    /// A worker that is so many batches ahead of another one ends.
    const WAITING_MAX: usize = 10_000;

    fn hand_out(&mut self, range: &Range) -> Option<(u64, u64)> {
        let late = range.time_max.is_some_and(|most| self.clock.spent() >= most);
        let full = self.waiting.len() >= Self::WAITING_MAX;
        if self.ended || late || full || self.handed >= range.seeds {
            return None;
        }
        let (at, seeds) = (self.handed, range.batch().min(range.seeds - self.handed));
        self.handed += seeds;
        Some((at, seeds))
    }

    /// Names a seed that failed at once: who waits for the end of a long campaign wants to begin with it.
    fn tell(&mut self, failed: &Failed) {
        let (seed, failure) = (failed.plan.seed, &failed.failure);
        let (kind, text) = (failure.kind, &failure.text);
        // A line that cannot be written is no reason to stop.
        drop(writeln!(self.reports.progress, "FAILED seed {seed}, {kind:?}: {text}"));
    }

    /// Adds a batch, once all that come before it were added.
    fn take_in(&mut self, range: &Range, at: u64, batch: Batch) {
        self.stopped |= batch.stopped;
        self.ended |= batch.stopped;
        self.waiting.insert(at, batch);
        let before = self.standing.totals.covered();
        while let Some(batch) = self.waiting.remove(&self.standing.totals.covered()) {
            self.clock.add_cpu(batch.cpu);
            for piece in batch.pieces {
                if !self.ended {
                    piece.failed().for_each(|failed| self.tell(failed));
                    self.standing.totals.merge(piece);
                    self.ended = self.standing.totals.failures() >= range.failures_max;
                }
            }
            if self.ended {
                self.waiting.clear();
            }
        }
        if self.standing.totals.covered() > before && self.kept.is_ok() {
            self.standing.spent = self.clock.spent();
            self.kept = (self.reports.keep)(&self.standing);
            self.ended |= self.kept.is_err();
        }
        if self.clock.report_due() {
            report(self, range);
        }
    }
}

/// Runs `work` on `jobs` threads and waits for all of them.
#[expect(clippy::disallowed_methods, reason = "worker threads outside every universe")]
pub(crate) fn threads(jobs: usize, work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(&work);
        }
    });
}

fn report(state: &mut State<'_>, range: &Range) {
    let (totals, clock) = (&state.standing.totals, &state.clock);
    let (wall, cpu) = (seconds(clock.wall()).max(1e-9), seconds(clock.cpu()).max(1e-9));
    let of = match range.time_max {
        Some(most) => format!(" in {:.0} of {:.0} s", seconds(clock.spent()), seconds(most)),
        None => format!("/{}", range.seeds),
    };
    // A progress line that cannot be written is no reason to stop.
    drop(writeln!(
        state.reports.progress,
        "{}{of} seeds, {:.1} seeds/s, {:.0} answered requests/CPU s, {:.0} events/CPU s, {} failed",
        totals.covered(),
        ratio(totals.seeds() - state.before.0, wall),
        ratio(totals.answered_requests() - state.before.1, cpu),
        ratio(totals.notes() - state.before.2, cpu),
        totals.failures(),
    ));
}

#[expect(clippy::cast_precision_loss, reason = "shown to people only")]
fn ratio(count: u64, per: f64) -> f64 {
    count as f64 / per
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_code_stays_whatever_comes_behind_it() {
        for (codes, worst) in
            [([10, 11, 12], 10), ([11, 12, 13], 12), ([13, 11, 0], 11), ([13, 14, 0], 14)]
        {
            assert_eq!(codes.into_iter().fold(0, worse), worst);
            assert_eq!(codes.into_iter().rev().fold(0, worse), worst);
        }
    }

    #[test]
    fn a_batch_is_small_where_the_time_is_limited() {
        for isolate in [false, true] {
            let timed = Range { isolate, time_max: Some(1), ..Range::new(0, u64::MAX, 2) };
            let free = Range { time_max: None, ..timed.clone() };
            assert!(timed.batch() <= 4 && free.batch() >= 16);
        }
    }
}
