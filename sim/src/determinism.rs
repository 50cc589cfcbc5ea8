//! The determinism check: same seed, same trace, in this process and in another one.

use std::io::{self, Write};
use std::process::Command;

use crate::fault::Plan;
use crate::scenario::{self, RunOptions};

/// The exit code of two runs that differ.
const DIFFERENT: u8 = 10;

fn hash_of(seed: u64, canary: bool) -> u64 {
    let options = RunOptions { canary, ..RunOptions::default() };
    scenario::run_plan(&Plan::draw(seed), &options).hash
}

/// Prints `seed hash` for each seed: the other process's part.
///
/// # Errors
/// What writing returns.
pub fn print_hashes(start: u64, seeds: u64, canary: bool, out: &mut dyn Write) -> io::Result<u8> {
    for seed in start..start + seeds {
        writeln!(out, "{seed} {:016x}", hash_of(seed, canary))?;
    }
    Ok(0)
}

/// Runs each seed twice here and once in another process. Returns the exit code.
///
/// # Errors
/// If the other process cannot be started, or what writing returns.
pub fn check(start: u64, seeds: u64, canary: bool, out: &mut dyn Write) -> io::Result<u8> {
    let mut other = Command::new(std::env::current_exe()?);
    other.args(["--hashes", "--start", &start.to_string(), "--seeds", &seeds.to_string()]);
    if canary {
        other.arg("--canary");
    }
    let elsewhere = String::from_utf8_lossy(&other.output()?.stdout).into_owned();
    let mut elsewhere = elsewhere.lines();
    let mut different = 0;
    for seed in start..start + seeds {
        let (first, second) = (hash_of(seed, canary), hash_of(seed, canary));
        let there = elsewhere.next().unwrap_or("nothing").to_owned();
        let here = format!("{seed} {first:016x}");
        if first != second {
            different += 1;
            writeln!(out, "seed {seed}: {first:016x} and {second:016x} in one process")?;
        }
        if here != there {
            different += 1;
            writeln!(out, "seed {seed}: here {here}, in another process {there}")?;
        }
    }
    writeln!(out, "{seeds} seeds, {different} differences")?;
    Ok(if different == 0 { 0 } else { DIFFERENT })
}

/// `0..count` in the order in which a randomly keyed map yields them. Called outside every
/// universe, where the keys are the operating system's.
#[expect(
    clippy::disallowed_types,
    clippy::iter_over_hash_type,
    reason = "the canary: exactly what the determinism check must notice"
)]
pub fn random_order(count: usize) -> Vec<usize> {
    let numbers: std::collections::HashSet<usize> = (0..count).collect();
    let mut order = Vec::new();
    for number in numbers {
        order.push(number);
    }
    order
}
