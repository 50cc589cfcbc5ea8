//! The command line.
//!
//! Owns: its flags and what they print. Exit codes: 0 fine, 2 usage, 10 safety, 11 liveness,
//! 12 crash, 13 something that had to happen in a campaign never did, 14 a campaign that was stopped.

mod campaigns;
mod markdown;
mod modes;
mod shrinking;

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use base::trace::Record;
use clap::Parser;

use self::modes::Mode;
use crate::campaign::{exit_code, verdict};
use crate::determinism;
use crate::fault::Plan;
use crate::mutants::MUTANTS;
use crate::page::{page, record_page};
use crate::scenario::{self, RunOptions};
use crate::world::{Outcome, install_panic_hook};

/// Runs the whole broker in simulated universes, each of which is a function of its seed.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Cli {
    /// Run one seed and say how it went.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Run so many seeds and sum up.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Run seeds for so long and sum up, for instance 90s, 30m or 2h; how long must not and does
    /// not change what a seed does.
    #[arg(long = "for", value_name = "TIME", value_parser = campaigns::nanos)]
    time: Option<u64>,
    /// In a campaign: run each batch of seeds in a process of its own. One that aborts, overflows
    /// its stack or runs out of memory costs its batch, which is named.
    #[arg(long)]
    isolate: bool,
    /// In a campaign: keep its standing in this file, and go on from there if the file exists. Time
    /// that was spent before counts.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// In a campaign: write what it came to as the page of what may be lost.
    #[arg(long, value_name = "FILE")]
    durability: Option<PathBuf>,
    /// The first seed of a campaign, a hunt or a comparison; 0 if nothing is said.
    #[arg(long, value_name = "SEED")]
    start: Option<u64>,
    /// Threads of a campaign or a search, 2 if nothing is said; changes nothing but the time it
    /// takes.
    #[arg(long, value_name = "J")]
    jobs: Option<NonZeroUsize>,
    /// Run a plan from a file, as written by --print-plan.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Draw what a broker's flight recorder held, as `gregor record dump` wrote it; with --html.
    #[arg(long, value_name = "FILE", requires = "html")]
    record: Option<PathBuf>,
    /// Print the plan of --seed as JSON instead of running it.
    #[arg(long)]
    print_plan: bool,
    /// Print everything that happened.
    #[arg(long)]
    trace: bool,
    /// With --seed, --plan or --record: write it as a page for a browser, lanes over time; with
    /// --shrink, that of the smaller plan.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// With --seed or --plan: look for a smaller plan that fails in the same way.
    #[arg(long)]
    shrink: bool,
    /// With --shrink: where to write that plan; it is written anew with every step.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Switch a planted bug on.
    #[arg(long, value_name = "ID")]
    mutant: Vec<String>,
    /// Run every planted bug until it was found, and print how many seeds that took.
    #[arg(long)]
    mutants: bool,
    /// With --mutants: how often each planted bug has to be found, 5 times if nothing is said.
    #[arg(long, value_name = "N")]
    kills: Option<NonZeroUsize>,
    /// With --mutants: write one killing plan each into this folder.
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// With --mutants: bring the page of mutants up to what was found.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Run so many seeds twice here and once in another process, and compare their traces; from
    /// --seed or --start on.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    check_determinism: Option<u64>,
    /// Print the trace hash of each seed of a campaign.
    #[arg(long, hide = true)]
    hashes: bool,
    /// Let one choice depend on a randomly keyed map: the determinism check must notice.
    #[arg(long, hide = true)]
    canary: bool,
    /// Run a campaign's batch for another process.
    #[arg(long, hide = true)]
    batch: bool,
    /// End the process at this seed of a campaign: only its batch may be lost.
    #[arg(long, hide = true, value_name = "SEED")]
    abort_at: Option<u64>,
    /// Never get past this seed of a campaign: only its batch may be lost.
    #[arg(long, hide = true, value_name = "SEED")]
    hang_at: Option<u64>,
    /// With --isolate: end a process that is busy with one seed for so many seconds.
    #[arg(long, value_name = "SECONDS", requires = "isolate", value_parser = clap::value_parser!(u64).range(1..))]
    seed_secs_max: Option<u64>,
}

impl Cli {
    fn jobs(&self) -> usize {
        self.jobs.map_or(2, NonZeroUsize::get)
    }
}

/// Parses the arguments, runs, and returns the exit code.
pub fn main(arguments: impl Iterator<Item = std::ffi::OsString>) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // Nothing is left to be done if the terminal is gone.
            drop(error.print());
            return code;
        },
    };
    install_panic_hook();
    let mut out = io::stdout();
    match dispatch(&cli, &mut out) {
        Ok(code) => code,
        Err(error) => {
            drop(writeln!(io::stderr(), "sim: {error}"));
            2
        },
    }
}

fn dispatch(cli: &Cli, out: &mut dyn Write) -> io::Result<u8> {
    let ids: Vec<&str> = MUTANTS.iter().map(|mutant| mutant.id).collect();
    if let Some(id) = cli.mutant.iter().find(|id| !ids.contains(&id.as_str())) {
        return Err(usage(&format!("no mutant {id}; there are {}", ids.join(", "))));
    }
    let mode = Mode::of(cli)?;
    match mode {
        Mode::Compare => return compare(cli, out),
        Mode::Hunt => return campaigns::hunt_all(cli, out),
        Mode::Campaign => return campaigns::run(cli, out),
        Mode::Record => return draw_record(cli, out),
        Mode::Run | Mode::Print | Mode::Shrink => {},
    }
    let mut plan = match (&cli.plan, cli.seed) {
        (Some(path), _) => load(path)?,
        (None, seed) => Plan::draw(seed.unwrap_or(0)),
    };
    for id in &cli.mutant {
        if !plan.mutants.contains(id) {
            plan.mutants.push(id.clone());
        }
    }
    if mode == Mode::Print {
        writeln!(out, "{}", plan.to_json().map_err(io::Error::other)?)?;
        return Ok(0);
    }
    if mode == Mode::Shrink {
        return shrinking::run(cli, &plan, out);
    }
    run_one(cli, &plan, out)
}

fn compare(cli: &Cli, out: &mut dyn Write) -> io::Result<u8> {
    let start = cli.seed.or(cli.start).unwrap_or(0);
    let seeds = cli.check_determinism.or(cli.seeds).unwrap_or(1);
    if start.checked_add(seeds).is_none() {
        return Err(usage(&format!("there are no {seeds} seeds from {start} on")));
    }
    match cli.hashes {
        true => determinism::print_hashes(start, seeds, cli.canary, out),
        false => determinism::check(start, seeds, cli.canary, out),
    }
}

fn run_one(cli: &Cli, plan: &Plan, out: &mut dyn Write) -> io::Result<u8> {
    let keep_events = cli.trace || cli.html.is_some();
    let outcome = scenario::run_plan(plan, &RunOptions { keep_events, canary: cli.canary });
    if cli.trace && outcome.events_dropped > 0 {
        writeln!(out, "{} events before these were not kept", outcome.events_dropped)?;
    }
    for event in outcome.events.iter().filter(|_| cli.trace) {
        writeln!(out, "{event}")?;
    }
    writeln!(out, "{}", verdict(plan.seed, &outcome))?;
    if cli.plan.is_some() {
        lost(&outcome, out)?;
    }
    let how = match &cli.plan {
        Some(path) => format!("--plan {}", path.display()),
        None => format!("--seed {}", plan.seed),
    };
    if let Some(path) = &cli.html {
        draw(path, plan, &outcome, &command(&how, &cli.mutant), out)?;
    }
    let Some(failure) = outcome.failure else { return Ok(0) };
    reproduce(out, &how, &cli.mutant)?;
    Ok(exit_code(failure.kind))
}

/// Says what was lost although nothing failed.
fn lost(outcome: &Outcome<()>, out: &mut dyn Write) -> io::Result<()> {
    let ledger = &outcome.ledger;
    for (promise, count) in &ledger.lost {
        writeln!(out, "lost, and excused: {count} of {}", promise.name())?;
    }
    for oracle in &ledger.excused {
        writeln!(out, "excused: {oracle}")?;
    }
    if ledger.budget.damage_was_told() {
        writeln!(out, "damage was told")?;
    }
    for (node, reason) in &ledger.halts {
        writeln!(out, "n{node} stopped: {reason}")?;
    }
    Ok(())
}

/// Writes the page of a run whose events were kept.
fn draw(
    path: &Path,
    plan: &Plan,
    outcome: &Outcome<()>,
    again: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    write(path, &page(plan, outcome, again).map_err(io::Error::other)?)?;
    writeln!(out, "page: {}", path.display())
}

/// Writes the page of a flight record.
fn draw_record(cli: &Cli, out: &mut dyn Write) -> io::Result<u8> {
    let (Some(from), Some(path)) = (&cli.record, &cli.html) else { return Ok(2) };
    let shown = from.display().to_string();
    let text = read(from)?;
    let held: Record = text.parse().map_err(|error| usage(&format!("{shown}: {error}")))?;
    write(path, &record_page(&held, &shown).map_err(io::Error::other)?)?;
    writeln!(out, "page: {}", path.display())?;
    Ok(0)
}

/// The command that runs something again.
fn command(how: &str, mutants: &[String]) -> String {
    let mutants: String = mutants.iter().map(|id| format!(" --mutant {id}")).collect();
    format!("cargo sim {how}{mutants}   # at commit {}", commit())
}

fn reproduce(out: &mut dyn Write, how: &str, mutants: &[String]) -> io::Result<()> {
    writeln!(out, "reproduce: {}", command(how, mutants))
}

/// The commit that is checked out, for a seed means something at one commit only.
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let text = output.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    text.map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .unwrap_or("unknown".into())
}

fn load(path: &Path) -> io::Result<Plan> {
    let text = read(path)?;
    Plan::from_json(&text).map_err(|error| usage(&format!("{}: {error}", path.display())))
}

#[expect(clippy::disallowed_methods, reason = "a file is read before any universe exists")]
fn read(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| usage(&format!("cannot read {}: {error}", path.display())))
}

fn save(path: &Path, plan: &Plan) -> io::Result<()> {
    write(path, &(plan.to_json().map_err(io::Error::other)? + "\n"))
}

#[expect(clippy::disallowed_methods, reason = "a file is written after every universe")]
fn write(path: &Path, text: &str) -> io::Result<()> {
    std::fs::write(path, text)
        .map_err(|error| usage(&format!("cannot write {}: {error}", path.display())))
}

fn usage(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text.to_owned())
}
