//! A few seeds in a row, in this process or in one of their own.
//!
//! Owns: what the two processes say to each other: a line `at SEED` before each seed, and one line
//! of JSON at the end. Invariants: both ways give the same pieces; a child that ends without that
//! last line, or says nothing for too long, loses its seeds, and them only, and they are named.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clock::cpu_now;
use super::{Lost, Range, Totals};
use crate::fault::Plan;
use crate::scenario::{self, RunOptions};

/// What a batch came to.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Batch {
    /// Sums over seeds in a row; each piece but the last ends with a failure and has no other.
    pub pieces: Vec<Totals>,
    /// Processor time it took elsewhere, nanoseconds.
    pub cpu: u64,
    /// Somebody stopped it on purpose; there are no pieces.
    pub stopped: bool,
}

/// Runs `seeds` seeds from `from` on, where `range` says.
pub(super) fn run(range: &Range, from: u64, seeds: u64) -> Batch {
    if !range.isolate {
        let pieces = run_here(range, from, seeds, &mut |_| Ok(()));
        return Batch { pieces: pieces.unwrap_or_default(), cpu: 0, stopped: false };
    }
    run_elsewhere(range, from, seeds)
        .unwrap_or_else(|error| lost(range, from, seeds, (None, format!("no process: {error}"))))
}

fn lost(range: &Range, from: u64, seeds: u64, (at, how): (Option<u64>, String)) -> Batch {
    let mut piece = Totals::default();
    piece.add_lost(Lost { from, seeds, at, how, mutants: range.mutants.clone() });
    Batch { pieces: vec![piece], cpu: 0, stopped: false }
}

fn run_here(
    range: &Range,
    from: u64,
    seeds: u64,
    begins: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<Vec<Totals>> {
    let mut pieces = vec![Totals::default()];
    for seed in from..from.saturating_add(seeds) {
        if pieces.last().is_some_and(|piece| piece.failures() > 0) {
            let failures = u64::try_from(pieces.len()).unwrap_or(u64::MAX);
            if failures >= range.failures_max {
                break;
            }
            pieces.push(Totals::default());
        }
        begins(seed)?;
        if range.abort_at == Some(seed) {
            std::process::abort();
        }
        while range.hang_at == Some(seed) {
            std::thread::yield_now();
        }
        let mut plan = Plan::draw(seed);
        plan.mutants.clone_from(&range.mutants);
        let outcome = scenario::run_plan(&plan, &RunOptions::default());
        if let Some(piece) = pieces.last_mut() {
            piece.add(plan, outcome);
        }
    }
    Ok(pieces)
}

/// The child's part: runs the seeds of `range` one after the other and says so to `out`.
///
/// # Errors
/// What writing returns, for instance when the parent is gone.
pub fn serve(range: &Range, out: &mut dyn Write) -> io::Result<()> {
    let pieces = run_here(range, range.start, range.seeds, &mut |seed| {
        writeln!(out, "at {seed}")?;
        out.flush()
    })?;
    let batch = Batch { pieces, cpu: cpu_now(), stopped: false };
    writeln!(out, "{}", serde_json::to_string(&batch).map_err(io::Error::other)?)
}

/// The parent's part.
fn run_elsewhere(range: &Range, from: u64, seeds: u64) -> io::Result<Batch> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--batch", "--start", &from.to_string(), "--seeds", &seeds.to_string()]);
    for id in &range.mutants {
        command.args(["--mutant", id]);
    }
    if let Some(seed) = range.abort_at {
        command.args(["--abort-at", &seed.to_string()]);
    }
    if let Some(seed) = range.hang_at {
        command.args(["--hang-at", &seed.to_string()]);
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let (mut at, mut batch, mut hangs) = (None, None, false);
    let lines = child.stdout.take().map(lines_of);
    while let Some(lines) = &lines {
        match lines.recv_timeout(Duration::from_secs(range.seed_secs_max)) {
            Ok(line) => match line.strip_prefix("at ") {
                Some(seed) => at = seed.parse().ok(),
                None => batch = serde_json::from_str::<Batch>(&line).ok(),
            },
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                hangs = true;
                child.kill()?;
                break;
            },
        }
    }
    let status = child.wait()?;
    Ok(match batch.filter(|_| status.success()) {
        Some(batch) => batch,
        None if hangs => {
            let how = format!("our signal, after {} s with one seed", range.seed_secs_max);
            lost(range, from, seeds, (at, how))
        },
        None if was_told_to_stop(status) => Batch { stopped: true, ..Batch::default() },
        None => lost(range, from, seeds, (at, status.to_string())),
    })
}

/// The lines that a child says, until it ends or one cannot be read.
#[expect(clippy::disallowed_methods, reason = "a reader outside every universe")]
fn lines_of(out: ChildStdout) -> mpsc::Receiver<String> {
    let (say, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if say.send(line).is_err() {
                return;
            }
        }
    });
    heard
}

/// Whether a person ended the process: it says nothing about its seeds.
fn was_told_to_stop(status: ExitStatus) -> bool {
    const HANGUP: i32 = 1;
    const INTERRUPT: i32 = 2;
    const TERMINATE: i32 = 15;
    matches!(status.signal(), Some(HANGUP | INTERRUPT | TERMINATE))
}
