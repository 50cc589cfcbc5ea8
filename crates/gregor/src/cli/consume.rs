//! Arguments of `gregor consume`, and where a reader may start.

use base::Duration;
use clap::Args;

use super::{Connect, Format, seconds};

/// Arguments of `gregor consume`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gregor consume greetings                                  (everything there is, then end)
  gregor consume greetings --follow --from end              (only what comes from now on)
  gregor consume greetings --from @1767225600000 --max 10   (records of 2026 on)
  gregor consume greetings --partition 0 --from 1200
  gregor consume greetings --group readers --follow         (share the partitions, remember the place)
  gregor consume greetings --json
  gregor consume greetings --format '%p/%o %k=%s\\n'

Without --follow it ends at what was the end of each partition when it started.
In a group, reading starts at the committed offset (or at --from where there is none), and the
offset is committed after the records were printed, and on leaving. While whoever reads the output
does not, the member stays in the group for --max-poll-interval; a group that rebalances meanwhile
waits for it as long as --timeout. It leaves then, and joins again when the output goes on.
--format knows %t topic, %p partition, %o offset, %T timestamp (ms), %k key, %s value, %h headers,
%% and the escapes \\n, \\t and \\\\; a key or value that is null prints as nothing.
--json prints partition, offset, timestamp, key, value and headers; bytes that are not UTF-8 are
printed as key_base64 or value_base64 instead.")]
pub struct Consume {
    /// The topic
    pub topic: String,
    /// Where to start: beginning, end, an offset, @MILLISECONDS since 1970, or a time in UTC such
    /// as 2026-01-31T12:00:00Z
    #[arg(short, long, value_name = "WHERE", default_value = "beginning")]
    #[arg(allow_negative_numbers = true, value_parser = From::parse)]
    pub from: From,
    /// Start at this offset; the same as --from OFFSET
    #[arg(long, value_name = "OFFSET", conflicts_with_all = ["from", "from_time"])]
    #[arg(value_parser = clap::value_parser!(i64).range(0..))]
    pub from_offset: Option<i64>,
    /// Start at the first record of this time or later: milliseconds since 1970, or a time in UTC
    #[arg(long, value_name = "TIME", conflicts_with = "from", value_parser = time)]
    pub from_time: Option<i64>,
    /// Only this partition
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    #[arg(allow_negative_numbers = true, conflicts_with = "group")]
    pub partition: Option<i32>,
    /// End after so many records
    #[arg(short = 'n', long, value_name = "N")]
    pub max: Option<u64>,
    /// Join this consumer group
    #[arg(short, long, value_parser = group)]
    pub group: Option<String>,
    /// How long the group keeps a member that it does not hear of, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    #[arg(requires = "group")]
    pub session_timeout: Duration,
    /// How long a member stays whose output takes nothing, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    #[arg(requires = "group")]
    pub max_poll_interval: Duration,
    /// Wait for more records; Ctrl-C ends
    #[arg(long)]
    pub follow: bool,
    /// Print each record like this instead of its value and a line feed
    #[arg(long, value_name = "TEXT", conflicts_with = "json", value_parser = format)]
    pub format: Option<String>,
    /// Where.
    #[command(flatten)]
    pub connect: Connect,
    /// How.
    #[command(flatten)]
    pub output: Format,
}

impl Consume {
    /// Where to start, however it was said.
    pub fn start(&self) -> From {
        let offset = self.from_offset.map(From::Offset);
        offset.or_else(|| self.from_time.map(From::Time)).unwrap_or(self.from)
    }
}

/// Milliseconds since 1970, or a UTC time.
fn time(text: &str) -> Result<i64, String> {
    let bare = text.strip_prefix('@').unwrap_or(text);
    let millis = bare.parse().ok().filter(|millis: &i64| *millis >= 0);
    let wanted = "write milliseconds since 1970, or a time such as 2026-01-31T12:00:00Z";
    millis.or_else(|| utc_millis(text)).ok_or_else(|| wanted.to_owned())
}

fn group(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a group needs a name".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// A template in which every `%` stands before a letter that is known.
fn format(text: &str) -> Result<String, String> {
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char == '%' && !chars.next().is_some_and(|letter| "tpoTksh%".contains(letter)) {
            return Err("--format knows %t %p %o %T %k %s %h %%".to_owned());
        }
    }
    Ok(text.to_owned())
}

/// Where a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The first record there is.
    Beginning,
    /// Behind the last one.
    End,
    /// This offset.
    Offset(i64),
    /// The first record of this time or later, milliseconds since 1970.
    Time(i64),
}

impl From {
    /// Reads `beginning`, `end`, `N`, `@MILLISECONDS` or a UTC time.
    fn parse(text: &str) -> Result<Self, String> {
        let wanted = "beginning, end, an offset, @MILLISECONDS or 2026-01-31T12:00:00Z";
        match text {
            "beginning" => return Ok(Self::Beginning),
            "end" => return Ok(Self::End),
            _ => {},
        }
        let number = |text: &str| text.parse().ok().filter(|number: &i64| *number >= 0);
        let found = match text.strip_prefix('@') {
            Some(millis) => number(millis).map(Self::Time),
            None => number(text).map(Self::Offset).or_else(|| utc_millis(text).map(Self::Time)),
        };
        found.ok_or_else(|| format!("write {wanted}"))
    }
}

/// `YYYY-MM-DD`, optionally with `THH:MM[:SS[.sss]]` and `Z`, as milliseconds since 1970.
pub(super) fn utc_millis(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00"));
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let millis = thousandths(fraction)?;
    let mut time = time.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute) = (time.next()??, time.next()??);
    let second = time.next().unwrap_or(Some(0))?;
    let sound = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second);
    // Days since 1970 by the usual shift of the year's start to March.
    let (shifted, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + (month * 153 + 2) / 5 + day
            - 719_469;
    sound.then_some(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1_000 + millis)
}

/// What stands behind a decimal point, in thousandths; further digits are left out.
pub(super) fn thousandths(digits: &str) -> Option<i64> {
    let sound = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let padded: String = digits.chars().chain("000".chars()).take(3).collect();
    padded.parse().ok().filter(|_| sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_word_an_offset_or_a_time_and_a_format_has_known_letters() {
        assert_eq!(From::parse("beginning"), Ok(From::Beginning));
        assert_eq!(From::parse("17"), Ok(From::Offset(17)));
        assert_eq!(From::parse("@17"), Ok(From::Time(17)));
        assert_eq!(From::parse("1970-01-02"), Ok(From::Time(86_400_000)));
        assert_eq!(From::parse("2026-01-01T00:00:00Z"), Ok(From::Time(1_767_225_600_000)));
        assert_eq!(From::parse("2024-02-29T12:30Z"), Ok(From::Time(1_709_209_800_000)));
        assert_eq!(From::parse("1970-01-01T00:00:01.25"), Ok(From::Time(1_250)));
        assert!(format("%t %p %o %T %k %s %h 100%%\\n").is_ok());
        assert_eq!((time("17"), time("@17"), time("1970-01-02")), (Ok(17), Ok(17), Ok(86_400_000)));
        assert!(time("-1").is_err() && time("now").is_err());
        for bad in ["%z", "%", "%%%", "% k"] {
            assert!(format(bad).is_err(), "{bad}");
        }
        for bad in ["", "start", "-1", "@", "@-5", "2026-13-01", "2026-01-01T25:00"] {
            assert!(From::parse(bad).is_err(), "{bad}");
        }
    }
}
