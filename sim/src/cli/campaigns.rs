//! Campaigns and mutant hunts, from flags to exit codes.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::Path;

use super::{Cli, commit, markdown, reproduce, save, usage, write};
use crate::campaign::{
    self, EXIT_SILENT, EXIT_STOPPED, Ended, Range, Reports, Saved, Standing, Totals, exit_code,
    worse,
};
use crate::durability::{self, Counts};
use crate::mutants::MUTANTS;

/// Exit code of a process that ended before its time.
const EXIT_CRASH: u8 = 12;

/// A time like `90s`, `30m` or `2h`, as nanoseconds.
pub(super) fn nanos(text: &str) -> Result<u64, String> {
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        _ => return Err("a number and s, m or h, for instance 30m".to_owned()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| "not a whole number".to_owned())?;
    if count == 0 {
        return Err("no time at all".to_owned());
    }
    count.checked_mul(unit * 1_000_000_000).ok_or("too long".to_owned())
}

fn range(cli: &Cli) -> io::Result<Range> {
    let start = cli.start.unwrap_or(0);
    // Without a number of seeds the time is the limit.
    let seeds = match cli.seeds {
        Some(seeds) if start.checked_add(seeds).is_none() => {
            return Err(usage(&format!("there are no {seeds} seeds from {start} on")));
        },
        Some(seeds) => seeds,
        None => u64::MAX - start,
    };
    Ok(Range {
        mutants: cli.mutant.clone(),
        time_max: cli.time,
        isolate: cli.isolate,
        abort_at: cli.abort_at,
        hang_at: cli.hang_at,
        seed_secs_max: cli.seed_secs_max.unwrap_or(Range::SEED_SECS_MAX),
        ..Range::new(start, seeds, cli.jobs())
    })
}

pub(super) fn run(cli: &Cli, out: &mut dyn Write) -> io::Result<u8> {
    const FAILURES_MAX: u64 = 20;
    let range = Range { failures_max: FAILURES_MAX, ..range(cli)? };
    if cli.batch {
        let range = Range { failures_max: u64::MAX, ..range };
        return campaign::serve_batch(&range, out).map(|()| 0);
    }
    let saved = cli.resume.as_deref().map(Saved::at).transpose()?;
    let begun = match &saved {
        Some(saved) => saved.load(&range)?,
        None => Standing::default(),
    };
    let mut keep = |standing: &Standing| match &saved {
        Some(saved) => saved.keep(&range, standing),
        None => Ok(()),
    };
    let reports = Reports { progress: &mut io::stderr(), keep: &mut keep };
    // A file that cannot be written is found out before any time is spent.
    (reports.keep)(&begun)?;
    let Ended { totals, stopped } = campaign::run(&range, begun, reports)?;
    let code = judge(&totals, out)?;
    if stopped {
        let of = cli.seeds.map(|seeds| format!(" of {seeds}")).unwrap_or_default();
        writeln!(out, "STOPPED after {}{of} seeds", totals.covered())?;
        return Ok(worse(code, EXIT_STOPPED));
    }
    match &cli.durability {
        Some(path) => tell(&totals, range.start, path, code, out),
        None => Ok(code),
    }
}

/// Writes the page of what may be lost. Returns the exit code.
fn tell(totals: &Totals, start: u64, path: &Path, code: u8, out: &mut dyn Write) -> io::Result<u8> {
    let run = (totals.seeds(), start, totals.failures());
    let counts = Counts::of(totals.met(), run, commit());
    write(path, &durability::page(&counts))?;
    let unbacked = counts.unbacked();
    for line in &unbacked {
        writeln!(out, "SILENT {line}")?;
    }
    Ok(if unbacked.is_empty() { code } else { worse(code, EXIT_SILENT) })
}

/// Prints what a campaign came to. Returns the exit code.
fn judge(totals: &Totals, out: &mut dyn Write) -> io::Result<u8> {
    totals.print(out)?;
    let mut code = 0;
    for failed in totals.failed() {
        let (seed, failure) = (failed.plan.seed, &failed.failure);
        writeln!(out, "FAILED seed {seed}, {:?}: {}", failure.kind, failure.text)?;
        reproduce(out, &format!("--seed {seed}"), &failed.plan.mutants)?;
        code = worse(code, exit_code(failure.kind));
    }
    for lost in totals.lost() {
        let last = lost.from + lost.seeds - 1;
        write!(out, "LOST seeds {} to {last}: their process ended with {}", lost.from, lost.how)?;
        match lost.at {
            Some(seed) => {
                writeln!(out, ", at seed {seed}")?;
                reproduce(out, &format!("--seed {seed}"), &lost.mutants)?;
            },
            None => writeln!(out, ", before the first of them")?,
        }
        code = worse(code, EXIT_CRASH);
    }
    let silent = totals.silent();
    for line in &silent {
        writeln!(out, "SILENT {line}")?;
    }
    Ok(if silent.is_empty() { code } else { worse(code, EXIT_SILENT) })
}

pub(super) fn hunt_all(cli: &Cli, out: &mut dyn Write) -> io::Result<u8> {
    const SEEDS: u64 = 400;
    let mut range = range(cli)?;
    if cli.seeds.is_none() && cli.time.is_none() {
        range.seeds = range.seeds.min(SEEDS);
    }
    let mut survived = false;
    writeln!(out, "{:<28} {:>5} {:>6} {:>10}  found by", "mutant", "kills", "seeds", "seeds/kill")?;
    let mut rows = BTreeMap::new();
    let wanted = |id: &str| cli.mutant.is_empty() || cli.mutant.iter().any(|wanted| wanted == id);
    let ids: Vec<&str> = MUTANTS.iter().map(|mutant| mutant.id).filter(|id| wanted(id)).collect();
    let kills = cli.kills.map_or(5, NonZeroUsize::get);
    campaign::hunt(&ids, &range, kills, &mut |hunt| {
        let id = hunt.mutant.as_str();
        let kills = u64::try_from(hunt.kills.len()).unwrap_or(u64::MAX);
        let mean = hunt.seeds.checked_div(kills).map_or("-".to_owned(), |mean| mean.to_string());
        let by = hunt.kills.first().map_or("nobody", |(_, text)| text.as_str());
        let by: String = by.chars().take(70).collect();
        writeln!(out, "{id:<28} {kills:>5} {:>6} {mean:>10}  {by}", hunt.seeds)?;
        survived |= kills < 2;
        if let (Some(dir), Some((plan, _))) = (&cli.save, hunt.kills.first()) {
            save(&dir.join(format!("mutant-{id}.json")), plan)?;
        }
        if let Some(mutant) = MUTANTS.iter().find(|mutant| mutant.id == id) {
            rows.insert(mutant.id, markdown::row(mutant, hunt, markdown::has_plan(id)));
        }
        match &cli.markdown {
            Some(path) => write(path, &markdown::page(&markdown::read(path), &rows)),
            None => Ok(()),
        }
    })?;
    Ok(if survived { EXIT_SILENT } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::nanos;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(nanos("90s"), Ok(90_000_000_000));
        assert_eq!(nanos("30m"), Ok(1_800_000_000_000));
        assert_eq!(nanos("2h"), Ok(7_200_000_000_000));
        for wrong in ["", "0s", "30", "m", "-1s", "1.5h", "3 m", "99999999999999h", "5ä"] {
            assert!(nanos(wrong).is_err(), "{wrong}");
        }
    }
}
