//! Arguments of `gregor group`, and the ways in which offsets can be named.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::consume::{thousandths, utc_millis};
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
    /// Move the committed offsets of a group without members
    ResetOffsets(ResetOffsets),
    /// Delete committed offsets
    DeleteOffsets(DeleteOffsets),
    /// Delete groups without members, with their offsets
    #[command(after_help = "Examples:
  gregor group delete readers
  gregor group delete readers writers --json

A group with members is not deleted: stop its consumers first.")]
    Delete {
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

/// Arguments of `gregor group reset-offsets`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gregor group reset-offsets readers --topic orders --to-earliest            (shows what it would do)
  gregor group reset-offsets readers --topic orders --to-earliest --execute
  gregor group reset-offsets readers --topic orders:0,1 --to-offset 1200 --execute
  gregor group reset-offsets readers --all-topics --shift-by -100 --execute
  gregor group reset-offsets readers --all-topics --to-datetime 2026-01-31T12:00:00Z --execute
  gregor group reset-offsets readers --all-topics --by-duration PT1H30M --execute
  gregor group reset-offsets readers --all-topics --to-current --export > offsets.csv
  gregor group reset-offsets readers --from-file offsets.csv --execute

Only a group without members takes it: stop its consumers first. An offset before the first record
becomes the first, one behind the end becomes the end.

A file is CSV, as kafka-consumer-groups has it: topic,partition,offset in each line for one group, or
group,topic,partition,offset.")]
#[command(group = ArgGroup::new("what").args(["topics", "all_topics", "from_file"]).required(true))]
pub struct ResetOffsets {
    /// The groups; they need not exist yet
    #[arg(value_name = "GROUP", required = true, value_parser = name)]
    pub groups: Vec<String>,
    /// Which.
    #[command(flatten)]
    pub scope: Scope,
    /// Where to.
    #[command(flatten)]
    pub strategy: Strategy,
    /// Only show the new offsets; so it is without --execute
    #[arg(long, conflicts_with = "execute")]
    pub dry_run: bool,
    /// Commit the new offsets
    #[arg(long)]
    pub execute: bool,
    /// Print the new offsets as --from-file reads them
    #[arg(long, conflicts_with = "json")]
    pub export: bool,
    /// Where.
    #[command(flatten)]
    pub connect: Connect,
    /// How.
    #[command(flatten)]
    pub format: Format,
}

/// Arguments of `gregor group delete-offsets`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gregor group delete-offsets readers --topic orders
  gregor group delete-offsets readers --topic orders:0,1 --topic bills
  gregor group delete-offsets readers --all-topics --json

Offsets of a topic that a member reads are not deleted: stop those consumers first.")]
#[command(group = ArgGroup::new("what").args(["topics", "all_topics"]).required(true))]
pub struct DeleteOffsets {
    /// The group
    #[arg(value_parser = name)]
    pub group: String,
    /// Which.
    #[command(flatten)]
    pub scope: Scope,
    /// Where.
    #[command(flatten)]
    pub connect: Connect,
    /// How.
    #[command(flatten)]
    pub format: Format,
}

/// Which of a group's offsets.
#[derive(Args, Clone, Debug)]
#[group(multiple = false)]
pub struct Scope {
    /// A topic, or some of its partitions; may be given more than once
    #[arg(long = "topic", value_name = "TOPIC[:PARTITION,..]", value_parser = Places::parse)]
    pub topics: Vec<Places>,
    /// Every topic that the group has committed offsets for
    #[arg(long)]
    pub all_topics: bool,
}

/// A topic, or some of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Which topic.
    pub topic: String,
    /// Which partitions; `None` is all of them.
    pub partitions: Option<Vec<i32>>,
}

impl Places {
    fn parse(text: &str) -> Result<Self, String> {
        let (topic, partitions) = match text.split_once(':') {
            None => (text, None),
            Some((topic, list)) => {
                let number = |part: &str| part.trim().parse().ok().filter(|part: &i32| *part >= 0);
                let all: Option<Vec<i32>> = list.split(',').map(number).collect();
                (topic, Some(all.ok_or("write partitions as TOPIC:0,1,2")?))
            },
        };
        if topic.is_empty() {
            return Err("write TOPIC or TOPIC:0,1,2".to_owned());
        }
        Ok(Self { topic: topic.to_owned(), partitions })
    }
}

/// Where offsets are moved to.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Strategy {
    /// To the first record
    #[arg(long)]
    pub to_earliest: bool,
    /// Behind the last record
    #[arg(long)]
    pub to_latest: bool,
    /// To what is committed now, or behind the last record where nothing is
    #[arg(long)]
    pub to_current: bool,
    /// To this offset
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub to_offset: Option<i64>,
    /// By so many records, forward or (negative) back
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub shift_by: Option<i64>,
    /// To the first record of this time or later: a time in UTC such as 2026-01-31T12:00:00.000Z, or
    /// @MILLISECONDS since 1970
    #[arg(long, value_name = "TIME", value_parser = datetime)]
    pub to_datetime: Option<i64>,
    /// To the first record that is not older than this, such as PT1H30M or P7D
    #[arg(long, value_name = "DURATION", value_parser = duration_millis)]
    pub by_duration: Option<i64>,
    /// To what this file says of each partition, which says which those are
    #[arg(long, value_name = "FILE")]
    pub from_file: Option<PathBuf>,
}

fn name(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a group needs a name".to_owned()),
        text => Ok(text.to_owned()),
    }
}

fn datetime(text: &str) -> Result<i64, String> {
    let found = match text.strip_prefix('@') {
        Some(millis) => millis.parse().ok().filter(|millis: &i64| *millis >= 0),
        None => utc_millis(text),
    };
    found.ok_or_else(|| "write 2026-01-31T12:00:00.000Z or @MILLISECONDS".to_owned())
}

/// Milliseconds of an ISO 8601 duration of days, hours, minutes and seconds.
fn duration_millis(text: &str) -> Result<i64, String> {
    let wrong = || "write a duration such as P7D, PT1H30M or P1DT0.5S".to_owned();
    let rest = text.to_ascii_uppercase();
    let rest = rest.strip_prefix('P').ok_or_else(wrong)?;
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) | None if rest.is_empty() || rest.ends_with('T') => return Err(wrong()),
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    let day = of_units(days, &[('D', 86_400_000)]);
    let time = of_units(time, &[('H', 3_600_000), ('M', 60_000), ('S', 1_000)]);
    day.zip(time).and_then(|(day, time)| day.checked_add(time)).ok_or_else(wrong)
}

/// The sum of numbers that each stand before their unit, in this order; only the last unit, of a
/// thousand milliseconds, may have a fraction.
fn of_units(text: &str, units: &[(char, i64)]) -> Option<i64> {
    let (mut rest, mut sum) = (text, 0_i64);
    for (unit, millis) in units {
        let Some((number, behind)) = rest.split_once(*unit) else { continue };
        rest = behind;
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, digits)) if *unit == 'S' => (whole, thousandths(digits)?),
            Some(_) => return None,
            None => (number, 0),
        };
        let whole: i64 = whole.parse().ok().filter(|whole| *whole >= 0)?;
        sum = sum.checked_add(whole.checked_mul(*millis)?)?.checked_add(fraction)?;
    }
    rest.is_empty().then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_what_iso_8601_says() {
        for (text, millis) in [
            ("P7D", 604_800_000),
            ("PT1H30M", 5_400_000),
            ("P1DT0.5S", 86_400_500),
            ("pt2.25s", 2_250),
            ("P0D", 0),
        ] {
            assert_eq!(duration_millis(text), Ok(millis), "{text}");
        }
        for bad in ["", "P", "PT", "7D", "P7", "PT30M1H", "P-1D", "PT1.5H", "P1DT", "1h"] {
            assert!(duration_millis(bad).is_err(), "{bad}");
        }
        assert!(duration_millis("P99999999999999999D").is_err());
    }

    #[test]
    fn a_place_is_a_topic_or_some_of_its_partitions() {
        let all = Places { topic: "t".into(), partitions: None };
        assert_eq!(Places::parse("t"), Ok(all));
        let some = Places { topic: "t".into(), partitions: Some(vec![0, 2]) };
        assert_eq!(Places::parse("t:0,2"), Ok(some));
        for bad in ["", ":0", "t:", "t:a", "t:-1"] {
            assert!(Places::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_is_utc_or_milliseconds() {
        assert_eq!(datetime("1970-01-01T00:00:00.250Z"), Ok(250));
        assert_eq!(datetime("@17"), Ok(17));
        assert!(datetime("yesterday").is_err());
    }
}
