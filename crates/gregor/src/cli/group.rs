//! Arguments of `gregor group`.

use clap::{Args, Subcommand};

use super::{Connect, Format};

/// Arguments of `gregor group`.
#[derive(Args, Debug)]
pub struct Group {
    /// What to do.
    #[command(subcommand)]
    pub command: GroupCommand,
}

/// What to do with groups.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List the consumer groups
    #[command(after_help = "Examples:
  gregor group list
  gregor group list --json")]
    List {
        /// Where.
        #[command(flatten)]
        connect: Connect,
        /// How.
        #[command(flatten)]
        format: Format,
    },
    /// Show members, committed offsets and what is left to read
    #[command(after_help = "Examples:
  gregor group describe readers
  gregor group describe readers --json

For each partition i: the committed offset o_i, the log's end m_i, and the lag m_i - o_i. Summed:
  consumed  t = Σ o_i          remaining  r = Σ (m_i - o_i)
A partition without a committed offset adds nothing to t, and everything it holds to r.")]
    Describe {
        /// Which
        #[arg(value_name = "GROUP", required = true)]
        groups: Vec<String>,
        /// Where.
        #[command(flatten)]
        connect: Connect,
        /// How.
        #[command(flatten)]
        format: Format,
    },
}
