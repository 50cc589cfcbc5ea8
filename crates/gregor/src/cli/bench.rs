//! Arguments of `gregor bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Servers, pair};

/// Arguments of `gregor bench`.
#[derive(Args, Debug)]
pub struct Bench {
    /// What to do.
    #[command(subcommand)]
    pub command: BenchCommand,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Append batches that were encoded before
    #[command(after_help = "Examples:
  gregor bench produce
  gregor bench produce --batch-bytes 65536 --connections 4 --depth 5 --partitions 4
  gregor bench produce --rate 20 --seconds 10 --plot latencies.svg
  gregor bench produce -b broker.example:9092 --pid 4711

Without -b a broker of this program is started on a port and in a folder of its own, and ended after it.
The processor time is the broker's alone, from /proc. Without --rate each connection keeps --depth
requests under way; with it, requests are due at fixed times, and latencies count from those times,
however late a request could be sent.")]
    Produce(Run),
    /// Read what was written before, again and again
    #[command(after_help = "Examples:
  gregor bench fetch --fetch-bytes 1048576
  gregor bench fetch --fetch-bytes 262144 --connections 4 --json")]
    Fetch(Run),
    /// Append on half of the connections, and follow the ends of the partitions on the others
    #[command(after_help = "Examples:
  gregor bench mixed --connections 2 --rate 50")]
    Mixed(Run),
    /// Open connections that ask once and then nothing more, and see what they cost
    #[command(after_help = "Examples:
  gregor bench connections --count 10000")]
    Connections(Idle),
    /// Measure a broker, the floor and genuine Kafka in turns, and tell medians and ratios
    #[command(after_help = "Examples:
  gregor bench compare --floor target/release/floor
  gregor bench compare --floor target/release/floor --rounds 3 --case produce-16k --case fetch-1m
  gregor bench compare --kafka tests/clients/.work/build/kafka/lib --plot ratios.svg

The floor is tests/floor of the repository, a program that does the least that must be done.
`mvn -f tests/clients/pom.xml -P kafka package` puts genuine Kafka's programs where --kafka looks for
them in the example. A figure of one run says little on a machine that others use; the ratio of
medians of runs that took turns says more.")]
    Compare(Compare),
    /// The same load over more and more partitions, and over more and more connections
    #[command(after_help = "Examples:
  gregor bench growth
  gregor bench growth --partitions 1,1000 --connections 1,256 --json")]
    Growth(Growth),
}

/// Whom to measure.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// A running broker; without it one is started
    #[arg(short, long, value_name = "HOST:PORT", value_parser = Servers::parse)]
    pub bootstrap_server: Option<Servers>,
    /// The process of that broker, for its processor time and memory
    #[arg(long, value_name = "PID", requires = "bootstrap_server")]
    pub pid: Option<u32>,
    /// Where a started broker keeps its data; a folder in it, removed at the end
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    pub dir: PathBuf,
    /// A key for a started broker, as for `gregor serve`; may be repeated
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = pair)]
    pub overrides: Vec<(String, String)>,
}

/// How much, and in which pieces.
#[derive(Args, Clone, Debug)]
pub struct Load {
    /// Connections
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Requests under way on each connection
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub depth: u32,
    /// Partitions, taken in turns
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub partitions: u32,
    /// Bytes of a batch, at most; it has at least one record
    #[arg(long, value_name = "BYTES", default_value = "16384", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub batch_bytes: u32,
    /// Bytes of a record's value
    #[arg(long, value_name = "BYTES", default_value = "1000", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub record_bytes: u32,
    /// Bytes asked for by a fetch: as many whole batches as fit, but one
    #[arg(long, value_name = "BYTES", default_value = "1048576", value_parser = clap::value_parser!(u32).range(1..=104_857_600))]
    pub fetch_bytes: u32,
    /// Megabytes (10^6 bytes) a second, evenly; without it as fast as answers come
    #[arg(long, value_name = "MB", value_parser = positive)]
    pub rate: Option<f64>,
    /// How long to measure, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = positive)]
    pub seconds: f64,
    /// How long before that the load runs unmeasured, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = positive)]
    pub warmup: f64,
    /// Megabytes after which a measurement ends early, so that it fits the disk and the page cache
    #[arg(long, value_name = "MB", default_value = "2000", value_parser = positive)]
    pub megabytes: f64,
}

/// How results are told.
#[derive(Args, Clone, Debug)]
pub struct Printing {
    /// Print JSON, one object per line
    #[arg(long)]
    pub json: bool,
    /// Draw the result into this file, as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

/// Arguments of the single measurements.
#[derive(Args, Clone, Debug)]
pub struct Run {
    /// Whom.
    #[command(flatten)]
    pub target: Target,
    /// How much.
    #[command(flatten)]
    pub load: Load,
    /// How.
    #[command(flatten)]
    pub printing: Printing,
}

/// Arguments of `gregor bench connections`.
#[derive(Args, Clone, Debug)]
pub struct Idle {
    /// Connections
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub count: u32,
    /// How long to watch them, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = positive)]
    pub seconds: f64,
    /// Whom.
    #[command(flatten)]
    pub target: Target,
    /// How.
    #[command(flatten)]
    pub printing: Printing,
}

/// Arguments of `gregor bench compare`.
#[derive(Args, Clone, Debug)]
pub struct Compare {
    /// The program of tests/floor
    #[arg(long, value_name = "PROGRAM")]
    pub floor: Option<PathBuf>,
    /// The folder with the jars of genuine Kafka
    #[arg(long, value_name = "DIR")]
    pub kafka: Option<PathBuf>,
    /// How often each is measured
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=99))]
    pub rounds: u32,
    /// A case; may be repeated; all if none is named
    #[arg(long = "case", value_name = "NAME")]
    pub cases: Vec<String>,
    /// Bytes of a record's value
    #[arg(long, value_name = "BYTES", default_value = "1000", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub record_bytes: u32,
    /// How long to measure a case, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = positive)]
    pub seconds: f64,
    /// How long before that its load runs unmeasured, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = positive)]
    pub warmup: f64,
    /// Where the brokers keep their data; a folder in it, removed at the end
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    pub dir: PathBuf,
    /// How.
    #[command(flatten)]
    pub printing: Printing,
}

/// Arguments of `gregor bench growth`.
#[derive(Args, Clone, Debug)]
pub struct Growth {
    /// How many partitions, one after the other
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1,100,1000,10000")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub partitions: Vec<u32>,
    /// How many connections, one after the other
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1,16,256")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: Vec<u32>,
    /// How often each is measured
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=99))]
    pub rounds: u32,
    /// Bytes of a batch, at most
    #[arg(long, value_name = "BYTES", default_value = "16384", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub batch_bytes: u32,
    /// Bytes of a record's value
    #[arg(long, value_name = "BYTES", default_value = "1000", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub record_bytes: u32,
    /// How long to measure each, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = positive)]
    pub seconds: f64,
    /// Where the broker keeps its data; a folder in it, removed at the end
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    pub dir: PathBuf,
    /// How.
    #[command(flatten)]
    pub printing: Printing,
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number > 0.0 && number <= 1e9 { Ok(number) } else { Err("more than 0".to_owned()) }
}
