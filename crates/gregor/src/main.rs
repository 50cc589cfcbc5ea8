//! `gregor`: the broker daemon and its command-line tools, in one binary.
//!
//! Owns: the process. Reads the command line, runs one command, turns its outcome into an exit
//! code: 0 done, 1 failed, 2 wrong usage or nothing to work on.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the binary talks to the terminal and reads its own files, environment and clock"
)]

mod cli;
mod commands;
mod config;
mod daemon;
mod dynamic;
mod failure;
mod http;
mod listeners;
mod log_levels;
mod logging;
mod metrics;
mod notify;
mod output;
mod progress;
mod reload;
mod remote;
mod serve;
mod spelling;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Only what a command shows was to be had of it, and whoever read that has seen enough. What
        // does something fails with what it could not do, whoever reads ([`output::Output::new`]).
        Err(failure) if failure.is_unread() => ExitCode::SUCCESS,
        Err(failure) => {
            output::aside(&format!("error: {failure}"));
            if let Some(hint) = failure.hint() {
                output::aside(&format!("hint: {hint}"));
            }
            match failure {
                Failure::Usage(_) | Failure::Unfit { .. } => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        },
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Topic(arguments) => commands::topic::run(arguments.command),
        Command::Produce(arguments) => commands::produce::run(&arguments),
        Command::Consume(arguments) => commands::consume::run(&arguments),
        Command::Group(arguments) => commands::group::run(arguments.command),
        Command::Dump(arguments) => commands::dump::run(&arguments),
        Command::Verify(arguments) => commands::verify::run(&arguments),
        Command::Bench(arguments) => commands::bench::run(&arguments.command),
        Command::Record(arguments) => commands::record::run(arguments.command),
        Command::Config(arguments) => commands::config::run(arguments.command),
        Command::Metrics(arguments) => commands::metrics::run(&arguments),
        Command::Man { folder } => commands::man::run(&folder),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "gregor", &mut script);
            io::Write::write_all(&mut io::stdout(), &script).map_err(Failure::Output)
        },
    }
}
