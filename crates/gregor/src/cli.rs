//! The command line: what can be asked, with help a newcomer can work from.
//!
//! Owns: the commands and what they share. Each command's own arguments are in a file below.

mod consume;
mod dump;
mod group;
mod keys;
mod produce;
mod serve;
mod topic;

use base::Duration;
use clap::{Args, Parser, Subcommand};

pub use consume::{Consume, From};
pub use dump::Dump;
pub use group::{Group, GroupCommand};
pub use keys::{ConfigCommand, Keys};
pub use produce::{Acks, Produce};
pub use serve::Serve;
pub use topic::{CreateTopic, Topic, TopicCommand};

/// An Apache-Kafka-compatible replicated log whose every failure can be replayed from a seed.
#[derive(Debug, Parser)]
#[command(
    name = "gregor",
    version,
    about,
    propagate_version = true,
    after_help = "First steps, in two terminals:
  gregor serve
  gregor topic create greetings
  echo 'hello, world' | gregor produce greetings
  gregor consume greetings --from beginning

Exit codes: 0 done, 1 failed (the last line says what to do next), 2 wrong usage."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a broker
    ///
    /// Without a configuration it listens on localhost:9092 and keeps its data in ./data; SIGTERM
    /// or Ctrl-C stops it cleanly.
    Serve(Serve),
    /// Create, list, describe and delete topics
    Topic(Topic),
    /// Send records, one per line of a file or of standard input
    Produce(Produce),
    /// Read records
    Consume(Consume),
    /// List consumer groups and show how far they are
    Group(Group),
    /// Show and check what is in a data directory, without a broker and without changing it
    Dump(Dump),
    /// List the configuration keys, or check a configuration file
    Config(Keys),
    /// Print a completion script for a shell
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// How a broker is reached.
#[derive(Args, Clone, Debug)]
pub struct Connect {
    /// A broker; `host:port`
    #[arg(short, long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub bootstrap_server: String,
    /// How long one answer may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub timeout: Duration,
}

/// How results are printed.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Format {
    /// Print JSON, one object per line
    #[arg(long)]
    pub json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if !(0.001..=86_400.0).contains(&seconds) {
        return Err("between 0.001 and 86400 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_that_does_something_shows_examples() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let leaf = !command.has_subcommands();
            let known = ["completions"].contains(&command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(!leaf || known || help.contains("Examples:"), "{path} has no examples");
            assert!(command.get_about().is_some() || path == " gregor", "{path} says nothing");
            for sub in command.get_subcommands() {
                check(sub, &path);
            }
        }
        check(&Cli::command(), "");
    }
}
