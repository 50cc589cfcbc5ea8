//! Arguments of `gregor verify`.

use std::path::PathBuf;

use clap::Args;

use super::Format;

/// Arguments of `gregor verify`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gregor verify data
  gregor verify data --deep
  gregor verify data --json

The code of a start runs on the directory, and what it writes stays in memory: nothing in the directory
is created, changed or removed. A directory that a broker uses is refused; stop the broker, or verify a
copy.

Exit code 0: a start loses nothing that was promised (it may cut what a crash left half-written).
Exit code 1: something is damaged or missing; a start serves the rest and answers with an error where
the damage is.
Exit code 2: a start would refuse the directory, or it cannot be read, or a broker uses it.

After a clean stop a start reads no records, and neither does this command without --deep.")]
pub struct Verify {
    /// The data directory
    pub dir: PathBuf,
    /// Read every batch and compare its checksum, whatever a start would read
    #[arg(long)]
    pub deep: bool,
    /// How.
    #[command(flatten)]
    pub format: Format,
}
