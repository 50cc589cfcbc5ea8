//! Arguments of `gregor metrics`.

use clap::Args;

use super::Format;

/// Arguments of `gregor metrics`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gregor metrics
  gregor metrics lag
  gregor metrics --json
  curl http://localhost:9404/metrics

A broker serves them at the address that gregor.http.listener names.")]
pub struct Metrics {
    /// Only metrics that have this in their name, their meaning or their MBean
    #[arg(conflicts_with = "markdown")]
    pub word: Option<String>,
    /// Print Markdown: the table, as docs/operations.md has it
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// How.
    #[command(flatten)]
    pub format: Format,
}
