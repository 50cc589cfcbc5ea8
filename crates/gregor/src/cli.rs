//! The command line: what can be asked, with help a newcomer can work from.
//!
//! Owns: the commands and what they share. Each command's own arguments are in a file below.

pub mod bench;
mod consume;
mod dump;
mod group;
mod keys;
mod metrics;
mod produce;
mod record;
mod serve;
mod topic;
mod verify;

use base::Duration;
use clap::{Args, Parser, Subcommand};

pub use bench::{Bench, BenchCommand, Compare, Growth, Idle, Load, Run, Target};
pub use consume::{Consume, From};
pub use dump::Dump;
pub use group::{DeleteOffsets, Group, GroupCommand, Places, ResetOffsets, Scope, Strategy};
pub use keys::{AlterSettings, ConfigCommand, DescribeSettings, Keys, Whose};
pub use metrics::Metrics;
pub use produce::{Acks, Produce};
pub use record::{Record, RecordCommand};
pub use serve::{LogFormat, Serve};
pub use topic::{AlterTopic, CreateTopic, Topic, TopicCommand};
pub use verify::Verify;

/// Gregor, an Apache-Kafka-compatible broker, and its tools
#[derive(Debug, Parser)]
#[command(
    name = "gregor",
    version,
    about = "Gregor, an Apache-Kafka-compatible broker, and its tools",
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
    /// Create, list, describe, alter and delete topics
    Topic(Topic),
    /// Send records, one per line of a file or of standard input
    Produce(Produce),
    /// Read records
    Consume(Consume),
    /// List consumer groups and show how far they are
    Group(Group),
    /// Show and check what is in a data directory, without a broker and without changing it
    Dump(Dump),
    /// Say what a start would do to a data directory, without doing it
    Verify(Verify),
    /// Measure what a broker costs and how fast it is
    Bench(Bench),
    /// Write down what a running broker's flight recorder holds
    Record(Record),
    /// List the configuration keys, check a file, show or change settings of running brokers
    Config(Keys),
    /// List the metrics of a broker, and the Kafka MBean that each takes the place of
    Metrics(Metrics),
    /// Write the manual pages into a folder
    #[command(after_help = "Examples:
  gregor man /usr/local/share/man

The pages of sections 1, 5 and 7 go into man1, man5 and man7 below the folder, which are made.
`man -M FOLDER gregor` reads them where they are.")]
    Man {
        /// Where to
        #[arg(value_name = "FOLDER")]
        folder: std::path::PathBuf,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Examples:
  gregor completions bash > ~/.local/share/bash-completion/completions/gregor
  gregor completions zsh > ~/.zfunc/_gregor      (with fpath+=(~/.zfunc) before compinit in ~/.zshrc)
  gregor completions fish > ~/.config/fish/completions/gregor.fish

The folder must be there; a new shell reads the script.")]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// How a broker is reached.
#[derive(Args, Clone, Debug)]
pub struct Connect {
    /// A broker, or several separated by commas, of which the first that answers is asked
    #[arg(short, long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    #[arg(value_parser = Servers::parse)]
    pub bootstrap_server: Servers,
    /// How long one answer may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub timeout: Duration,
}

/// Where brokers are, `host:port` each; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servers(pub Vec<String>);

impl Servers {
    /// Reads `host:port`, or several separated by commas, as Kafka's tools do.
    fn parse(text: &str) -> Result<Self, String> {
        let servers: Vec<&str> = text.split(',').map(str::trim).collect();
        for server in &servers {
            if server.contains("://") {
                return Err("write host:port, without a protocol".to_owned());
            }
            let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let is_host =
                !bare.unwrap_or(host).is_empty() && (bare.is_some() || !host.contains(':'));
            if !is_host || port.parse::<u16>().is_err() {
                let of = if servers.len() > 1 { format!("'{server}': ") } else { String::new() };
                return Err(format!("{of}write host:port, such as 127.0.0.1:9092 or [::1]:9092"));
            }
        }
        Ok(Self(servers.into_iter().map(str::to_owned).collect()))
    }
}

/// How results are printed.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Format {
    /// Print JSON, one object per line
    #[arg(long)]
    pub json: bool,
}

/// A `KEY=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
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
    fn brokers_are_a_list_of_hosts_with_ports() {
        let servers = Servers::parse("a:9092, [::1]:9093").expect("two");
        assert_eq!(servers.0, ["a:9092", "[::1]:9093"]);
        for bad in ["", "127.0.0.1", "http://a:9092", "a:9092,", "a:99999", ":9092", "::1:9092"] {
            assert!(Servers::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_command_that_does_something_shows_examples() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let leaf = !command.has_subcommands();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(!leaf || help.contains("Examples:"), "{path} has no examples");
            assert!(command.get_about().is_some() || path == " gregor", "{path} says nothing");
            for sub in command.get_subcommands() {
                check(sub, &path);
            }
        }
        check(&Cli::command(), "");
    }
}
