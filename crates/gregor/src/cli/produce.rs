//! Arguments of `gregor produce`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use records::Compression;

use super::{Connect, Format, pair};

/// Arguments of `gregor produce`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  echo hello | gregor produce greetings
  gregor produce greetings lines.txt
  printf 'ann:1\\nbob:2\\n' | gregor produce scores --key-separator :
  gregor produce greetings lines.txt --headers source=lines.txt --compression zstd
  printf 'lang=en,tone=warm|ann:hello\\n' | gregor produce greetings --headers-separator '|' --key-separator :
  gregor produce greetings                 (type lines, end with Ctrl-D)

Every line becomes one record, without its end: the line feed, and a \\r right before it. Records
with a key go to the partition that Kafka's own clients choose for that key; others take turns over
the partitions, batch by batch. With acks=all the producer is idempotent: a batch is sent again until
its outcome is known, and never stored twice.
The command fails (exit code 1) if any record was not acknowledged.")]
pub struct Produce {
    /// The topic; it must exist
    pub topic: String,
    /// A file of lines; '-' or nothing is standard input
    pub file: Option<PathBuf>,
    /// What stands between a line's key and its value; lines without it have no key
    #[arg(short, long, value_name = "TEXT")]
    pub key_separator: Option<String>,
    /// A header of every record; may be repeated
    #[arg(short = 'H', long, value_name = "NAME=VALUE", value_parser = pair)]
    pub headers: Vec<(String, String)>,
    /// What stands between a line's own headers (NAME=VALUE,NAME=VALUE) and the rest; lines without
    /// it have none of their own
    #[arg(long, value_name = "TEXT")]
    pub headers_separator: Option<String>,
    /// A value that is exactly this is null: a tombstone, which deletes the key in a compacted topic
    #[arg(long, value_name = "TEXT")]
    pub null: Option<String>,
    /// How batches are compressed
    #[arg(short = 'z', long, value_enum, default_value = "none")]
    pub compression: Codec,
    /// The partition for every record
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    #[arg(allow_negative_numbers = true)]
    pub partition: Option<i32>,
    /// Who must have a record before it counts as acknowledged
    #[arg(long, value_enum, default_value = "all")]
    pub acks: Acks,
    /// Where.
    #[command(flatten)]
    pub connect: Connect,
    /// How.
    #[command(flatten)]
    pub format: Format,
}

/// How batches are compressed: Kafka's codecs, by their names in `compression.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Codec {
    /// Not at all
    None,
    /// Slow and small
    Gzip,
    /// Fast
    Snappy,
    /// Fast
    Lz4,
    /// Small and still fast
    Zstd,
}

impl Codec {
    /// The codec of the records' format.
    pub fn codec(self) -> Compression {
        match self {
            Self::None => Compression::None,
            Self::Gzip => Compression::Gzip,
            Self::Snappy => Compression::Snappy,
            Self::Lz4 => Compression::Lz4,
            Self::Zstd => Compression::Zstd,
        }
    }
}

/// Who must have a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Acks {
    /// Every replica in sync
    All,
    /// The leader
    #[value(name = "1")]
    Leader,
    /// Nobody: records are sent and nothing is known of them
    #[value(name = "0")]
    Nobody,
}
