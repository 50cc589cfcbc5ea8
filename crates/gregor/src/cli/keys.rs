//! Arguments of `gregor config`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Format;

/// Arguments of `gregor config`.
#[derive(Args, Debug)]
pub struct Keys {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What to do with configuration keys.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// List every key with type, default and meaning
    #[command(after_help = "Examples:
  gregor config list
  gregor config list retention
  gregor config list --topic
  gregor config list --json

A key marked 'no effect' is accepted, so that Kafka's own files work, and changes nothing.")]
    List {
        /// Only keys that have this in their name or meaning
        #[arg(conflicts_with = "markdown")]
        word: Option<String>,
        /// The settings of topics instead of those of the broker
        #[arg(long)]
        topic: bool,
        /// Print Markdown: both tables, as docs/operations.md has them
        #[arg(long, conflicts_with_all = ["json", "topic"])]
        markdown: bool,
        /// How.
        #[command(flatten)]
        format: Format,
    },
    /// Check a properties file; unlike `serve`, this refuses unknown keys
    #[command(after_help = "Examples:
  gregor config check server.properties

Exit code 1 if a value is wrong or a key is unknown; keys without effect are named.")]
    Check {
        /// The file
        file: PathBuf,
        /// How.
        #[command(flatten)]
        format: Format,
    },
}
