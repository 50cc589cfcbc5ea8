//! Arguments of `gregor serve`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::pair;

/// Arguments of `gregor serve`.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "Examples:
  gregor serve
  gregor serve --config server.properties
  gregor serve --data /var/lib/gregor --override num.partitions=4
  gregor serve --override listeners=PLAINTEXT://127.0.0.1:0     (any free port; the log says which)

Keys and defaults are Kafka's (`gregor config list`); a key that is unknown or without effect is
named once in a warning. A replication factor larger than the number of live brokers is refused.
GREGOR_LOG, or the key gregor.log.level, sets what is logged (error, warn, info, debug, or
module=level, separated by commas).

SIGTERM and SIGINT stop the broker cleanly. SIGHUP reads FILE again and applies what may change;
without --config there is nothing to read, and SIGHUP stops it too.

Metrics, /health and /ready are served on http://localhost:9404 (gregor.http.listener), and a page
that shows what the broker does now; `gregor metrics` lists the metrics.")]
pub struct Serve {
    /// A properties file in Kafka's notation (server.properties works as it is)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where data lives; wins over log.dirs and log.dir
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// One key, winning over the file; may be repeated
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = pair)]
    pub overrides: Vec<(String, String)>,
    /// Go on without a lost log directory (the start names its identity): its partitions begin empty
    #[arg(long = "accept-lost-dir", value_name = "ID", value_parser = dir_id, allow_hyphen_values = true)]
    pub accept_lost_dirs: Vec<base::Uuid>,
    /// Delete the logs of a topic that the metadata lost (the start names it)
    #[arg(long = "accept-lost-topic", value_name = "ID", value_parser = topic_id, allow_hyphen_values = true)]
    pub accept_lost_topics: Vec<base::TopicId>,
    /// Take back what was set for this key while brokers ran, for this one and for all: where that keeps
    /// every client out; may be repeated
    #[arg(long = "drop-dynamic", value_name = "KEY", value_parser = key)]
    pub drop_dynamic: Vec<String>,
    /// How the log is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// The same as --log-format json
    #[arg(long, hide = true, conflicts_with = "log_format")]
    pub log_json: bool,
}

/// How the log is written.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for a person
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

impl Serve {
    /// How the log is written, whichever way that was asked for.
    pub fn log_format(&self) -> LogFormat {
        if self.log_json { LogFormat::Json } else { self.log_format }
    }
}

fn key(text: &str) -> Result<String, String> {
    match base::config::broker_key(text) {
        Some(key) => Ok(key.name.to_owned()),
        None => Err(crate::config::unknown_key(text)),
    }
}

pub(super) fn topic_id(text: &str) -> Result<base::TopicId, String> {
    let id = base::Uuid::parse(text);
    id.map(base::TopicId).map_err(|_| "the id of a topic has 22 characters".to_owned())
}

pub(super) fn dir_id(text: &str) -> Result<base::Uuid, String> {
    base::Uuid::parse(text)
        .map_err(|_| "the identity of a log directory has 22 characters".to_owned())
}
