//! Shrinking, from flags to the smaller plan.

use std::io::{self, Write};
use std::path::PathBuf;

use super::{Cli, command, draw, reproduce, save};
use crate::campaign::{exit_code, verdict};
use crate::fault::{Plan, Timed};
use crate::scenario::{self, RunOptions};
use crate::shrink::{Size, shrink};

pub(super) fn run(cli: &Cli, plan: &Plan, out: &mut dyn Write) -> io::Result<u8> {
    let path =
        cli.out.clone().unwrap_or_else(|| PathBuf::from(format!("shrunk-{}.json", plan.seed)));
    let mut written = Ok(());
    let mut progress = |smaller: &Plan, runs| {
        let Size { faults, clients, records, noise } = Size::of(smaller);
        // A progress line that cannot be written is no reason to stop.
        drop(writeln!(
            io::stderr(),
            "{runs} runs: {faults} faults, {clients} clients, {records} records, {noise} loud knobs"
        ));
        if written.is_ok() {
            written = save(&path, smaller);
        }
    };
    let shrunk = shrink(plan, cli.jobs(), &mut progress);
    written?;
    let Some(shrunk) = shrunk else {
        let outcome = scenario::run_plan(plan, &RunOptions::default());
        writeln!(out, "{}", verdict(plan.seed, &outcome))?;
        writeln!(out, "nothing fails, so there is nothing to shrink")?;
        return Ok(0);
    };
    save(&path, &shrunk.plan)?;
    let (before, after) = (Size::of(plan), Size::of(&shrunk.plan));
    writeln!(out, "seed {}: {:?}: {}", plan.seed, shrunk.failure.kind, shrunk.failure.text)?;
    writeln!(out, "{} runs            {:>8} {:>8}", shrunk.runs, "before", "after")?;
    for (name, before, after) in [
        ("faults", before.faults, after.faults),
        ("clients", before.clients, after.clients),
        ("loud knobs", before.noise, after.noise),
    ] {
        writeln!(out, "  {name:<16} {before:>8} {after:>8}")?;
    }
    writeln!(out, "  {:<16} {:>8} {:>8}", "records", before.records, after.records)?;
    for Timed { at_ms, fault } in &shrunk.plan.faults {
        writeln!(out, "  at {at_ms} ms: {fault:?}")?;
    }
    writeln!(out, "written to {}", path.display())?;
    let how = format!("--plan {}", path.display());
    if let Some(html) = &cli.html {
        let options = RunOptions { keep_events: true, ..RunOptions::default() };
        let outcome = scenario::run_plan(&shrunk.plan, &options);
        draw(html, &shrunk.plan, &outcome, &command(&how, &[]), out)?;
    }
    reproduce(out, &how, &[])?;
    Ok(exit_code(shrunk.failure.kind))
}
