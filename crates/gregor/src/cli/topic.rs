//! Arguments of `gregor topic`.

use clap::{Args, Subcommand};

use super::{Connect, Format, pair};

/// Arguments of `gregor topic`.
#[derive(Args, Debug)]
pub struct Topic {
    /// What to do.
    #[command(subcommand)]
    pub command: TopicCommand,
}

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Create a topic
    Create(CreateTopic),
    /// List the topics
    #[command(after_help = "Examples:
  gregor topic list
  gregor topic list --json -b broker.example:9092")]
    List {
        /// Also those that brokers keep for themselves
        #[arg(long)]
        internal: bool,
        /// Where.
        #[command(flatten)]
        connect: Connect,
        /// How.
        #[command(flatten)]
        format: Format,
    },
    /// Show partitions, leaders, replicas and settings of topics
    #[command(after_help = "Examples:
  gregor topic describe
  gregor topic describe orders payments
  gregor topic describe orders --json")]
    Describe {
        /// Which; all if none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Where.
        #[command(flatten)]
        connect: Connect,
        /// How.
        #[command(flatten)]
        format: Format,
    },
    /// Change settings of a topic, or add partitions, in force at once
    Alter(AlterTopic),
    /// Delete topics and all their records
    #[command(after_help = "Examples:
  gregor topic delete orders

There is no way back, and no question is asked.")]
    Delete {
        /// Which
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// Where.
        #[command(flatten)]
        connect: Connect,
        /// How.
        #[command(flatten)]
        format: Format,
    },
}

/// Arguments of `gregor topic create`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gregor topic create orders
  gregor topic create orders --partitions 4 --config retention.ms=3600000

`gregor config list --topic` names the settings of topics.")]
pub struct CreateTopic {
    /// Its name: letters, digits, '.', '_' and '-'
    pub name: String,
    /// How many partitions; the broker's num.partitions if not given
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: Option<i32>,
    /// How many brokers hold each partition; the broker's default.replication.factor if not given
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    pub replication_factor: Option<i16>,
    /// A setting of the topic; may be repeated
    #[arg(short, long = "config", value_name = "KEY=VALUE", value_parser = pair)]
    pub configs: Vec<(String, String)>,
    /// Where.
    #[command(flatten)]
    pub connect: Connect,
    /// How.
    #[command(flatten)]
    pub format: Format,
}

/// Arguments of `gregor topic alter`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gregor topic alter orders --config gregor.durability=fsync
  gregor topic alter orders --config retention.ms=3600000 --delete-config segment.bytes
  gregor topic alter orders --partitions 12
  gregor topic alter orders --config segment.bytes=1 --validate-only

All settings are changed or, if one is refused, none; partitions are added after that.
Partitions only become more: records stay where they are, and from then on a key may go to another
partition than before. Every record acknowledged after a change to
gregor.durability=fsync is durable, and so is everything before it.
`gregor topic describe` shows a topic's settings, `gregor config list --topic` what there is to set.")]
pub struct AlterTopic {
    /// Which
    pub name: String,
    /// A setting and its new value; may be repeated
    #[arg(short, long = "config", value_name = "KEY=VALUE", value_parser = pair)]
    #[arg(required_unless_present_any = ["deleted", "partitions"])]
    pub configs: Vec<(String, String)>,
    /// A setting that goes back to the broker's default; may be repeated
    #[arg(short, long = "delete-config", value_name = "KEY")]
    pub deleted: Vec<String>,
    /// How many partitions it has then; more than before
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: Option<i32>,
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
