//! The command line: what can be asked, with help a newcomer can work from.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// An Apache-Kafka-compatible replicated log whose every failure can be replayed from a seed.
#[derive(Debug, Parser)]
#[command(name = "gregor", version, about, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a broker. Without a configuration it listens on localhost:9092 and keeps its data in
    /// ./data; SIGTERM or Ctrl-C stops it cleanly.
    Serve(Serve),
}

/// Arguments of `gregor serve`.
#[derive(Args, Debug, Default)]
#[command(after_help = "Examples:
  gregor serve
  gregor serve --config server.properties
  gregor serve --data /var/lib/gregor --override num.partitions=4

Keys and defaults are Kafka's; a key that is unknown or without effect is named once in a warning.
A replication factor larger than the number of live brokers becomes that number.
GREGOR_LOG sets what is logged (error, warn, info, debug, or module=level).")]
pub struct Serve {
    /// A properties file in Kafka's notation (server.properties works as it is).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where data lives; wins over log.dirs and log.dir.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// One key, winning over the file; may be repeated.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Log as JSON, one object per line.
    #[arg(long)]
    pub log_json: bool,
}
