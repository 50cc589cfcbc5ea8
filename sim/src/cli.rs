//! The command line.
//!
//! Owns: its flags and what they print. Exit codes: 0 fine, 2 usage, 10 safety, 11 liveness,
//! 12 crash, 13 something that had to happen in a campaign never did.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;

use crate::campaign::{self, EXIT_SILENT, Range, exit_code, verdict};
use crate::determinism;
use crate::fault::Plan;
use crate::scenario::{self, MUTANTS, RunOptions};
use crate::world::install_panic_hook;

/// Runs the whole broker in simulated universes, each of which is a function of its seed.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Cli {
    /// Run one seed and say how it went.
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "plan"])]
    seed: Option<u64>,
    /// Run so many seeds and sum up.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed of a campaign.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    start: u64,
    /// Threads of a campaign; changes nothing but the time it takes.
    #[arg(long, value_name = "J", default_value_t = 2)]
    jobs: usize,
    /// Run a plan from a file, as written by --print-plan.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Print the plan of --seed as JSON instead of running it.
    #[arg(long, requires = "seed")]
    print_plan: bool,
    /// Print everything that happened.
    #[arg(long)]
    trace: bool,
    /// Switch a planted bug on.
    #[arg(long, value_name = "ID")]
    mutant: Vec<String>,
    /// Run every planted bug until it was found, and print how many seeds that took.
    #[arg(long)]
    mutants: bool,
    /// With --mutants: how often each planted bug has to be found.
    #[arg(long, value_name = "N", default_value_t = 5)]
    kills: usize,
    /// With --mutants: write one killing plan each into this folder.
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Run so many seeds twice here and once in another process, and compare their traces.
    #[arg(long, value_name = "N")]
    check_determinism: Option<u64>,
    /// Print the trace hash of each seed of a campaign.
    #[arg(long, hide = true)]
    hashes: bool,
    /// Let one choice depend on a randomly keyed map: the determinism check must notice.
    #[arg(long, hide = true)]
    canary: bool,
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
    let unknown = cli.mutant.iter().find(|id| !MUTANTS.contains(&id.as_str()));
    if let Some(id) = unknown {
        return Err(usage(&format!("no mutant {id}; there are {}", MUTANTS.join(", "))));
    }
    if let Some(seeds) = cli.check_determinism {
        return determinism::check(cli.start, seeds, cli.canary, out);
    }
    if cli.mutants {
        return hunt_all(cli, out);
    }
    if cli.hashes {
        return determinism::print_hashes(cli.start, cli.seeds.unwrap_or(1), cli.canary, out);
    }
    if let Some(seeds) = cli.seeds {
        return run_campaign(cli, seeds, out);
    }
    let mut plan = match (&cli.plan, cli.seed) {
        (Some(path), _) => load(path)?,
        (None, Some(seed)) => Plan::draw(seed),
        (None, None) => return Err(usage("say --seed N, --seeds N or --plan FILE; see --help")),
    };
    plan.mutants.extend(cli.mutant.iter().cloned());
    if cli.print_plan {
        writeln!(out, "{}", plan.to_json().map_err(io::Error::other)?)?;
        return Ok(0);
    }
    run_one(cli, &plan, out)
}

fn run_one(cli: &Cli, plan: &Plan, out: &mut dyn Write) -> io::Result<u8> {
    let options = RunOptions { keep_text: cli.trace, canary: cli.canary };
    let outcome = scenario::run_plan(plan, &options);
    for line in &outcome.lines {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "{}", verdict(plan.seed, &outcome))?;
    let Some(failure) = outcome.failure else { return Ok(0) };
    let how = match &cli.plan {
        Some(path) => format!("--plan {}", path.display()),
        None => format!("--seed {}", plan.seed),
    };
    reproduce(out, &how, &plan.mutants)?;
    Ok(exit_code(failure.kind))
}

fn run_campaign(cli: &Cli, seeds: u64, out: &mut dyn Write) -> io::Result<u8> {
    let range = Range {
        start: cli.start,
        seeds,
        jobs: cli.jobs,
        mutants: cli.mutant.clone(),
        failures_max: 20,
    };
    let totals = campaign::run(&range, &mut io::stderr());
    totals.print(out)?;
    let mut code = 0;
    for failed in totals.failed() {
        let (seed, failure) = (failed.plan.seed, &failed.failure);
        writeln!(out, "FAILED seed {seed}, {:?}: {}", failure.kind, failure.text)?;
        reproduce(out, &format!("--seed {seed}"), &failed.plan.mutants)?;
        code = exit_code(failure.kind);
    }
    let silent = totals.silent();
    for line in &silent {
        writeln!(out, "SILENT {line}")?;
    }
    Ok(if code == 0 && !silent.is_empty() { EXIT_SILENT } else { code })
}

fn hunt_all(cli: &Cli, out: &mut dyn Write) -> io::Result<u8> {
    let seeds = cli.seeds.unwrap_or(400);
    let range = Range {
        start: cli.start,
        seeds,
        jobs: cli.jobs,
        mutants: Vec::new(),
        failures_max: u64::MAX,
    };
    let mut survived = false;
    writeln!(out, "{:<22} {:>5} {:>6} {:>10}  found by", "mutant", "kills", "seeds", "seeds/kill")?;
    for id in
        MUTANTS.iter().filter(|id| cli.mutant.is_empty() || cli.mutant.iter().any(|m| m == *id))
    {
        let killed = campaign::hunt(id, &range, cli.kills);
        let kills = u64::try_from(killed.kills.len()).unwrap_or(u64::MAX);
        let mean = killed.seeds.checked_div(kills).map_or("-".to_owned(), |mean| mean.to_string());
        let by = killed.kills.first().map_or("nobody", |(_, text)| text.as_str());
        let by: String = by.chars().take(70).collect();
        writeln!(out, "{id:<22} {kills:>5} {:>6} {mean:>10}  {by}", killed.seeds)?;
        survived |= kills < 2;
        if let (Some(dir), Some((plan, _))) = (&cli.save, killed.kills.first()) {
            save(&dir.join(format!("mutant-{id}.json")), plan)?;
        }
    }
    Ok(if survived { EXIT_SILENT } else { 0 })
}

fn reproduce(out: &mut dyn Write, how: &str, mutants: &[String]) -> io::Result<()> {
    let mutants: String = mutants.iter().map(|id| format!(" --mutant {id}")).collect();
    writeln!(out, "reproduce: cargo sim {how}{mutants}   # at commit {}", commit())
}

/// The commit that is checked out, for a seed means something at one commit only.
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let text = output.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    text.map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .unwrap_or("unknown".into())
}

#[expect(clippy::disallowed_methods, reason = "a plan is read before any universe exists")]
fn load(path: &Path) -> io::Result<Plan> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| usage(&format!("cannot read {}: {error}", path.display())))?;
    Plan::from_json(&text).map_err(|error| usage(&format!("{}: {error}", path.display())))
}

#[expect(clippy::disallowed_methods, reason = "a plan is written after every universe")]
fn save(path: &Path, plan: &Plan) -> io::Result<()> {
    std::fs::write(path, plan.to_json().map_err(io::Error::other)? + "\n")
}

fn usage(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text.to_owned())
}
