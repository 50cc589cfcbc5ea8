//! `gregor`: the broker daemon and its command-line tools, in one binary.
//!
//! Owns: the process. Reads the command line, starts the runtime, runs one command, turns its
//! outcome into an exit code: 0 done, 1 failed, 2 wrong usage.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the binary talks to the terminal and reads its own files, environment and clock"
)]

mod cli;
mod config;
mod failure;
mod listeners;
mod serve;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            if let Some(hint) = failure.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        },
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Serve(arguments) => serve::run(&arguments),
    }
}
