//! Arguments of `gregor record`.

use std::path::PathBuf;

use base::Duration;
use clap::{Args, Subcommand};

use super::seconds;

/// Arguments of `gregor record`.
#[derive(Args, Debug)]
pub struct Record {
    /// What to do.
    #[command(subcommand)]
    pub command: RecordCommand,
}

/// What to do with the flight recorder.
#[derive(Debug, Subcommand)]
pub enum RecordCommand {
    /// Write down what the broker's flight recorder holds
    #[command(after_help = "Examples:
  gregor record dump > broker.record
  gregor record dump --http broker.example:9404 --out broker.record
  cargo sim --record broker.record --html broker.html    (in a checkout: the record as a page)

The record is text, a line for each thing that the broker's cores took in: nanoseconds, what it was, and
the thing. gregor.flight.recorder.bytes says how much is kept.")]
    Dump {
        /// Where the broker serves its metrics (gregor.http.listener)
        #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9404")]
        http: String,
        /// The file to write; standard output if none is named
        #[arg(short, long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// How long the answer may take, in seconds
        #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
        timeout: Duration,
    },
}
