//! Arguments of `gregor verify`.

use std::path::PathBuf;

use clap::Args;

use super::serve::{dir_id, topic_id};
use super::{Format, pair};

/// Arguments of `gregor verify`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gregor verify data
  gregor verify data --deep
  gregor verify /disk1 /disk2 --json
  gregor verify --config server.properties

The code of a start runs on the directories, and what it writes stays in memory: nothing in them is
created, changed or removed. A directory that a broker uses is refused; stop the broker, or verify a
copy. Whether the disk has room is not looked at.

Name all directories of a node (log.dirs and metadata.log.dir), or its configuration. Of several, one
lists the others: those that are not named are told, and what lives in them is not missed. With
--config, what is told is what `gregor serve` with the same options does; a directory that is gone is
then refused.

Exit code 0: a start loses nothing that was promised (it may cut what a crash left half-written).
Exit code 1: something is damaged or missing; a start serves the rest and answers with an error where
the damage is.
Exit code 2: a start would refuse the directories, or they cannot be read, or a broker uses them.

After a clean stop a start reads no records, and neither does this command without --deep.")]
pub struct Verify {
    /// The data directories of one node
    #[arg(value_name = "DIR", required_unless_present_any = ["config", "overrides"])]
    #[arg(conflicts_with_all = ["config", "overrides", "accept_lost_dirs", "accept_lost_topics"])]
    pub dirs: Vec<PathBuf>,
    /// Those of a properties file, as for `gregor serve`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One key, winning over the file, as for `gregor serve`; may be repeated
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = pair)]
    pub overrides: Vec<(String, String)>,
    /// Go on without a lost log directory, as for `gregor serve`
    #[arg(long = "accept-lost-dir", value_name = "ID", value_parser = dir_id, allow_hyphen_values = true)]
    pub accept_lost_dirs: Vec<base::Uuid>,
    /// Take a topic that the metadata lost for deleted, as for `gregor serve`
    #[arg(long = "accept-lost-topic", value_name = "ID", value_parser = topic_id, allow_hyphen_values = true)]
    pub accept_lost_topics: Vec<base::TopicId>,
    /// Read every batch and compare its checksum, whatever a start would read
    #[arg(long)]
    pub deep: bool,
    /// How.
    #[command(flatten)]
    pub format: Format,
}
