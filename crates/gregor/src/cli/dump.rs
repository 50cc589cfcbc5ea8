//! Arguments of `gregor dump`.

use std::path::PathBuf;

use clap::Args;

use super::Format;

/// Arguments of `gregor dump`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gregor dump data
  gregor dump data --topic orders --partition 0 --batches
  gregor dump data --topic orders --records
  gregor dump data --json

Every batch is read and its checksum compared, whatever is printed. Nothing in the directory is
changed, locked or repaired. Exit code 1 means that something durable is damaged. Bytes behind the
durable end of a log that was not closed are no damage: the next start cuts what is torn there.
A directory that a broker uses may be looked at; its last bytes may then be half-written.")]
pub struct Dump {
    /// The data directory
    pub dir: PathBuf,
    /// Only this topic, by name or id
    #[arg(short, long, value_name = "NAME")]
    pub topic: Option<String>,
    /// Only partitions of this number
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    #[arg(allow_negative_numbers = true)]
    pub partition: Option<i32>,
    /// List every batch
    #[arg(long)]
    pub batches: bool,
    /// List every record (and every batch)
    #[arg(long)]
    pub records: bool,
    /// How.
    #[command(flatten)]
    pub format: Format,
}
