//! What a command line asks for, and which options go with that.
//!
//! Invariants: exactly one thing is asked for; an option that would have no effect is refused with
//! its name.

use std::io;

use super::{Cli, usage};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// One universe is run.
    Run,
    /// Its plan is printed.
    Print,
    /// A smaller plan is looked for.
    Shrink,
    /// Many universes are run.
    Campaign,
    /// Planted bugs are hunted.
    Hunt,
    /// Universes are run several times and compared.
    Compare,
    /// A flight record is drawn.
    Record,
}

use Mode::{Campaign, Compare, Hunt, Print, Record, Run, Shrink};

impl Mode {
    /// How it is asked for.
    fn asked_by(self) -> &'static str {
        match self {
            Run => "one universe",
            Print => "--print-plan",
            Shrink => "--shrink",
            Campaign => "a campaign",
            Hunt => "--mutants",
            Compare => "--check-determinism",
            Record => "--record",
        }
    }

    /// What `cli` asks for.
    ///
    /// # Errors
    /// Nothing, or several things that exclude each other; an option that does not go with it.
    pub(super) fn of(cli: &Cli) -> io::Result<Self> {
        let mode = if cli.record.is_some() {
            Record
        } else if cli.check_determinism.is_some() || cli.hashes {
            Compare
        } else if cli.mutants {
            Hunt
        } else if cli.seeds.is_some() || cli.time.is_some() {
            Campaign
        } else if cli.seed.is_none() && cli.plan.is_none() {
            return Err(usage(
                "say --seed N, --plan FILE, --seeds N, --for TIME, --mutants, --record FILE or \
                 --check-determinism N; see --help",
            ));
        } else if cli.print_plan {
            Print
        } else if cli.shrink {
            Shrink
        } else {
            Run
        };
        for (option, is_given, modes) in options(cli) {
            if is_given && !modes.contains(&mode) {
                return Err(usage(&format!("{option} does not go with {}", mode.asked_by())));
            }
        }
        for (one, other) in
            [(cli.seed.is_some(), cli.plan.is_some()), (cli.seed.is_some(), cli.start.is_some())]
        {
            if one && other {
                return Err(usage("--seed goes neither with --plan nor with --start"));
            }
        }
        Ok(mode)
    }
}

/// Every option: whether it is given, and what it goes with.
fn options(cli: &Cli) -> Vec<(&'static str, bool, &'static [Mode])> {
    vec![
        ("--seed", cli.seed.is_some(), &[Run, Print, Shrink, Compare]),
        ("--plan", cli.plan.is_some(), &[Run, Print, Shrink]),
        ("--seeds", cli.seeds.is_some() && !cli.hashes, &[Campaign, Hunt]),
        ("--for", cli.time.is_some(), &[Campaign, Hunt]),
        ("--start", cli.start.is_some(), &[Campaign, Hunt, Compare]),
        ("--jobs", cli.jobs.is_some(), &[Shrink, Campaign, Hunt]),
        ("--isolate", cli.isolate, &[Campaign]),
        ("--seed-secs-max", cli.seed_secs_max.is_some(), &[Campaign]),
        ("--resume", cli.resume.is_some(), &[Campaign]),
        ("--durability", cli.durability.is_some(), &[Campaign]),
        ("--print-plan", cli.print_plan, &[Print]),
        ("--trace", cli.trace, &[Run]),
        ("--html", cli.html.is_some(), &[Run, Shrink, Record]),
        ("--shrink", cli.shrink, &[Shrink]),
        ("--out", cli.out.is_some(), &[Shrink]),
        ("--mutant", !cli.mutant.is_empty(), &[Run, Print, Shrink, Campaign, Hunt]),
        ("--mutants", cli.mutants, &[Hunt]),
        ("--kills", cli.kills.is_some(), &[Hunt]),
        ("--save", cli.save.is_some(), &[Hunt]),
        ("--markdown", cli.markdown.is_some(), &[Hunt]),
        ("--canary", cli.canary, &[Run, Compare]),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn mode(arguments: &str) -> Result<Mode, String> {
        let all = ["sim"].into_iter().chain(arguments.split_whitespace());
        let cli = Cli::try_parse_from(all).map_err(|error| error.to_string())?;
        Mode::of(&cli).map_err(|error| error.to_string())
    }

    #[test]
    fn each_thing_that_can_be_asked_for_is_told_from_the_others() {
        for (arguments, expected) in [
            ("--seed 1 --trace --html x --mutant y", Run),
            ("--plan x", Run),
            ("--seed 1 --print-plan --mutant y", Print),
            ("--plan x --shrink --out y --html z --jobs 1", Shrink),
            ("--seeds 5 --for 1m --start 3 --jobs 1 --isolate --resume x --durability y", Campaign),
            ("--mutants --seeds 5 --for 1m --kills 1 --save x --markdown y --mutant z", Hunt),
            ("--check-determinism 5 --start 3", Compare),
            ("--check-determinism 5 --seed 3", Compare),
            ("--record x --html y", Record),
        ] {
            assert_eq!(mode(arguments), Ok(expected), "{arguments}");
        }
    }

    #[test]
    fn what_would_have_no_effect_is_refused_by_its_name() {
        for (arguments, named) in [
            ("", "--seed"),
            ("--seed 1 --plan x", "--plan"),
            ("--seed 1 --start 2", "--start"),
            ("--seed 1 --seeds 2", "--seed "),
            ("--seed 1 --isolate", "--isolate"),
            ("--seed 1 --resume x", "--resume"),
            ("--seed 1 --kills 2", "--kills"),
            ("--seed 1 --out x", "--out"),
            ("--seed 1 --jobs 2", "--jobs"),
            ("--seed 1 --print-plan --shrink", "--shrink"),
            ("--seed 1 --print-plan --trace", "--trace"),
            ("--seed 1 --shrink --trace", "--trace"),
            ("--plan x --seeds 2", "--plan"),
            ("--seeds 2 --trace", "--trace"),
            ("--seeds 2 --print-plan", "--print-plan"),
            ("--for 1s --html x", "--html"),
            ("--record x", "--html"),
            ("--record x --html y --seed 1", "--seed"),
            ("--seeds 2 --save x", "--save"),
            ("--mutants --seed 1", "--seed"),
            ("--mutants --isolate", "--isolate"),
            ("--check-determinism 2 --seeds 3", "--seeds"),
            ("--check-determinism 2 --mutants", "--mutants"),
            ("--check-determinism 2 --mutant x", "--mutant"),
        ] {
            let said = mode(arguments).unwrap_err();
            assert!(said.contains(named), "{arguments}: {said}");
        }
    }

    #[test]
    fn nothing_at_all_is_no_number() {
        for arguments in [
            "--seeds 0",
            "--for 0s",
            "--mutants --kills 0",
            "--seeds 1 --jobs 0",
            "--check-determinism 0",
            "--seeds 1 --isolate --seed-secs-max 0",
        ] {
            assert!(mode(arguments).is_err(), "{arguments}");
        }
    }
}
