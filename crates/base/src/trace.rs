//! The schema of what happened: entries that a broker's flight recorder keeps and that the
//! simulator's page draws, and the text they become in a file.
//!
//! Invariants: an entry is one line, whatever is in its text; reading what was written gives the
//! same entries; reading anything else is an error that names the line, never a panic.
//!
//! The format is ours (ADR 0021): a head line, then `NANOSECONDS KIND TEXT` per entry, in order of time.

use std::fmt::{self, Write as _};

use thiserror::Error;

/// What sort of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The broker serves.
    Boot,
    /// It begins to stop.
    Stop,
    /// It ends at once, for a reason.
    Halt,
    /// A log directory failed.
    DirectoryFailed,
    /// A disk is full, or has room again.
    Room,
    /// The metadata core took in a command.
    Metadata,
    /// A coordinator core took in an event.
    Group,
    /// Retention or compaction removed something.
    Clean,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Boot,
        Self::Stop,
        Self::Halt,
        Self::DirectoryFailed,
        Self::Room,
        Self::Metadata,
        Self::Group,
        Self::Clean,
    ];

    /// Its word in a file and on the page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Stop => "stop",
            Self::Halt => "halt",
            Self::DirectoryFailed => "directory_failed",
            Self::Room => "room",
            Self::Metadata => "metadata",
            Self::Group => "group",
            Self::Clean => "clean",
        }
    }

    /// The kind with this word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When: nanoseconds on the broker's monotonic clock.
    pub at: u64,
    /// What sort of thing.
    pub kind: Kind,
    /// The thing, for people.
    pub text: String,
}

/// What a flight recorder held at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The broker's version.
    pub version: String,
    /// When the record was taken: nanoseconds on the same clock as the entries.
    pub now: u64,
    /// The same moment, milliseconds since 1970.
    pub wall: i64,
    /// Entries that came before the first one and are gone.
    pub dropped: u64,
    /// The entries, in order of time.
    pub entries: Vec<Entry>,
}

/// Why a text is no record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TraceError {
    /// It does not begin as a record does.
    #[error("this is no flight record: its first line does not begin with '{HEAD}'")]
    Head,
    /// A line cannot be read.
    #[error("line {0} is no entry of a flight record")]
    Line(usize),
}

const HEAD: &str = "gregor flight record 1";

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, now, wall, dropped, entries } = self;
        writeln!(f, "{HEAD} now={now} wall={wall} dropped={dropped} version={version}")?;
        for entry in entries {
            write!(f, "{} {} ", entry.at, entry.kind.name())?;
            for char in entry.text.chars() {
                match char {
                    '\n' => f.write_str("\\n")?,
                    '\r' => f.write_str("\\r")?,
                    '\\' => f.write_str("\\\\")?,
                    char => f.write_char(char)?,
                }
            }
            f.write_char('\n')?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Record {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Self, TraceError> {
        let (head, rest) = text.split_once('\n').unwrap_or((text, ""));
        let mut record = Self::head(head).ok_or(TraceError::Head)?;
        // Lines end with a line feed alone: a text may hold other characters that end lines.
        for (index, line) in rest.split_terminator('\n').enumerate() {
            record.entries.push(entry(line).ok_or(TraceError::Line(index + 2))?);
        }
        Ok(record)
    }
}

impl Record {
    fn head(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix(HEAD)?.strip_prefix(' ')?.splitn(4, ' ');
        let mut word = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
        Some(Self {
            now: word("now")?.parse().ok()?,
            wall: word("wall")?.parse().ok()?,
            dropped: word("dropped")?.parse().ok()?,
            version: word("version")?.to_owned(),
            entries: Vec::new(),
        })
    }
}

fn entry(line: &str) -> Option<Entry> {
    let mut parts = line.splitn(3, ' ');
    let at = parts.next()?.parse().ok()?;
    let kind = Kind::from_name(parts.next()?)?;
    Some(Entry { at, kind, text: unescaped(parts.next()?)? })
}

fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        plain.push(match char {
            '\\' => match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            },
            char => char,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(texts: &[String]) -> Record {
        let entries = texts.iter().zip(0..).map(|(text, at)| Entry {
            at,
            kind: Kind::ALL[usize::try_from(at).unwrap_or(0) % Kind::ALL.len()],
            text: text.clone(),
        });
        let version = "0.1.0".to_owned();
        Record { version, now: 9, wall: -1, dropped: 3, entries: entries.collect() }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(texts in prop::collection::vec(any::<String>(), 0..9)) {
            let record = record(&texts);
            prop_assert_eq!(record.to_string().parse(), Ok(record));
        }

        #[test]
        fn anything_else_is_an_error_and_never_a_panic(text in any::<String>()) {
            prop_assert!(text.parse::<Record>().is_err());
            let behind_a_head = format!("{HEAD} {text}\n{text}");
            prop_assert!(behind_a_head.parse::<Record>().is_err());
        }
    }

    #[test]
    fn an_error_names_the_line() {
        let text = format!("{}7 boot\n", record(&["fine".to_owned()]));
        assert_eq!(text.parse::<Record>(), Err(TraceError::Line(3)));
        assert_eq!("".parse::<Record>(), Err(TraceError::Head));
    }
}
