//! Arguments of `gregor config`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Connect, Format, pair};

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
    /// Show the settings of running brokers or of a topic, and where each is from
    Describe(DescribeSettings),
    /// Change settings of running brokers or of a topic, in force at once
    Alter(AlterSettings),
}

/// Whose settings.
#[derive(Args, Clone, Debug)]
pub struct Whose {
    /// Those of this topic
    #[arg(long, value_name = "NAME", conflicts_with = "broker")]
    pub topic: Option<String>,
    /// Those of this broker alone
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i32).range(0..))]
    pub broker: Option<i32>,
}

/// Arguments of `gregor config describe`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gregor config describe                     (what was set, of every broker)
  gregor config describe retention           (all that have this in their name)
  gregor config describe --broker 1 --all
  gregor config describe --topic orders --json")]
pub struct DescribeSettings {
    /// Only keys that have this in their name, defaults among them
    pub word: Option<String>,
    /// Whose.
    #[command(flatten)]
    pub of: Whose,
    /// Also those that nobody has set
    #[arg(long)]
    pub all: bool,
    /// Where.
    #[command(flatten)]
    pub connect: Connect,
    /// How.
    #[command(flatten)]
    pub format: Format,
}

/// Arguments of `gregor config alter`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gregor config alter --set log.retention.ms=3600000
  gregor config alter --broker 1 --delete log.retention.ms
  gregor config alter --topic orders --set segment.bytes=1048576 --validate-only

Without --topic and --broker the change is for every broker. All of it is made or, if anything is
refused, nothing. It is there after a restart, and wins over the configuration file.
`gregor config describe` shows what is set, `gregor config list` what there is to set.")]
pub struct AlterSettings {
    /// A setting and its new value; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = pair)]
    #[arg(required_unless_present = "deleted")]
    pub set: Vec<(String, String)>,
    /// A setting that goes back to what it was before; may be repeated
    #[arg(short, long = "delete", value_name = "KEY")]
    pub deleted: Vec<String>,
    /// Whose.
    #[command(flatten)]
    pub of: Whose,
    /// Check everything, change nothing
    #[arg(long)]
    pub validate_only: bool,
    /// Where.
    #[command(flatten)]
    pub connect: Connect,
    /// How.
    #[command(flatten)]
    pub format: Format,
}
