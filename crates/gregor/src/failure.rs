//! What a command fails with: one sentence, and what to do next.

use std::borrow::Cow;
use std::io;

use thiserror::Error;
use wire::error_code::ErrorCode;

use crate::output::counted;

/// Why a command failed.
#[derive(Debug, Error)]
pub enum Failure {
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration says something that cannot be.
    #[error("configuration: {0}")]
    Config(String),
    /// The system refused something the process needs.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// An address is taken.
    #[error("cannot listen on {at}: {source}")]
    Listen {
        /// The address.
        at: String,
        /// What the system said.
        source: io::Error,
    },
    /// The broker could not start.
    #[error("cannot start: {0}")]
    Start(String),
    /// The broker had to stop.
    #[error("the broker stopped: {0}")]
    Halted(String),
    /// The broker stopped as it was told to, and could not close every directory.
    #[error(
        "stopped, but could not close {dirs}: what was acknowledged last may not be on that disk"
    )]
    Unsealed {
        /// Which.
        dirs: String,
    },
    /// Results could not be printed.
    #[error("cannot write: {0}")]
    Output(#[source] io::Error),
    /// No connection to a broker.
    #[error("cannot connect to {at}: {source}")]
    Connect {
        /// The address as given.
        at: String,
        /// What the system said.
        source: io::Error,
    },
    /// A connection ended, or its bytes made no sense.
    #[error("the connection to {at} broke: {why}")]
    Broken {
        /// The address.
        at: String,
        /// How.
        why: String,
    },
    /// No answer in time.
    #[error("no answer from {at} to {what} within {seconds} s")]
    TimedOut {
        /// The address.
        at: String,
        /// The request.
        what: String,
        /// The limit.
        seconds: f64,
    },
    /// A broker answered with an error.
    #[error("{what}: {code}{}", told.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        /// What was asked.
        what: String,
        /// Kafka's number and name for it.
        code: ErrorCode,
        /// The broker's own words.
        told: Option<String>,
    },
    /// No such topic.
    #[error("there is no topic '{0}'")]
    UnknownTopic(String),
    /// No such partition.
    #[error("topic '{topic}' has no partition {partition}, only 0 to {last}")]
    UnknownPartition {
        /// Which.
        topic: String,
        /// Which.
        partition: i32,
        /// The highest there is.
        last: i32,
    },
    /// No such group.
    #[error("there is no group '{0}'")]
    UnknownGroup(String),
    /// What nobody deletes.
    #[error("'{0}' holds the offsets of all groups and is the broker's own; it is not deleted")]
    OwnTopic(String),
    /// A line of the input is more than a topic takes.
    #[error(
        "line {line} is too large: a batch of {bytes} bytes{}; it was refused{}",
        allowed.map(|most| format!(", {most} allowed")).unwrap_or_default(),
        match *behind {
            0 => String::new(),
            1 => ", 1 line behind it was not sent".to_owned(),
            lines => format!(", {lines} lines behind it were not sent"),
        }
    )]
    LineTooLarge {
        /// Which, from 1.
        line: u64,
        /// The batch that holds it alone.
        bytes: usize,
        /// The topic's limit, if it is known.
        allowed: Option<usize>,
        /// Lines read and not sent.
        behind: u64,
    },
    /// The command line or the environment asks for what there is not.
    #[error("{0}")]
    Usage(String),
    /// A failure with advice of its own.
    #[error("{what}")]
    Advised {
        /// What is wrong.
        what: String,
        /// What to do next.
        hint: String,
    },
    /// Some records were not acknowledged, or not even sent.
    #[error(
        "{missing} of {} not {}; the first reason: {why}",
        if *sent == 1 { "1 record was".to_owned() } else { format!("{sent} records were") },
        if *is_blind { "sent, or lost on the way" } else { "acknowledged" }
    )]
    Unacknowledged {
        /// Of these, records that may be stored nonetheless.
        unknown: u64,
        /// Records without acknowledgement.
        missing: u64,
        /// Records read from the input.
        sent: u64,
        /// The first failure.
        why: String,
        /// Whether nobody was asked for an acknowledgement.
        is_blind: bool,
    },
    /// A directory holds damage.
    #[error("{places} damaged {} in {dir}", if *places == 1 { "place" } else { "places" })]
    Damaged {
        /// The directory.
        dir: String,
        /// How many.
        places: u64,
    },
    /// A directory that a start would refuse, or that cannot be looked at.
    #[error("{what}")]
    Unfit {
        /// What is wrong.
        what: String,
        /// What to do next.
        hint: String,
    },
    /// Anything else that a broker answered or a directory held.
    #[error("{0}")]
    Other(String),
}

/// Errors that the same request may not meet again a little later.
const PASSING: &[ErrorCode] = &[
    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode::LEADER_NOT_AVAILABLE,
    ErrorCode::NOT_LEADER_OR_FOLLOWER,
    ErrorCode::REQUEST_TIMED_OUT,
    ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode::COORDINATOR_NOT_AVAILABLE,
    ErrorCode::NOT_COORDINATOR,
    ErrorCode::NOT_ENOUGH_REPLICAS,
    ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ErrorCode::THROTTLING_QUOTA_EXCEEDED,
];

impl Failure {
    /// Whether trying again may help: nothing is known to be wrong for good.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken { .. } | Self::TimedOut { .. } => true,
            Self::Refused { code, .. } => PASSING.contains(code),
            _ => false,
        }
    }

    /// Whether what was asked may have been done all the same.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Broken { .. } | Self::TimedOut { .. } => true,
            Self::Refused { code, .. } => matches!(
                *code,
                ErrorCode::REQUEST_TIMED_OUT | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
            ),
            _ => false,
        }
    }

    /// Whether a broker said that the same request may be accepted a little later.
    pub fn is_refused_for_now(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if PASSING.contains(code))
    }

    /// Whether nothing is wrong but that whoever read what was printed has gone.
    pub fn is_unread(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What to do next, if there is something better than reading the message.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        let hint = match self {
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "another process serves this port; stop it, or choose another with --override listeners=PLAINTEXT://127.0.0.1:9192"
            },
            Self::Listen { .. } => "the address must be one of this machine",
            Self::Config(_) => "`gregor config list` and docs/operations.md list the keys",
            Self::Halted(_) => {
                "nothing acknowledged was taken back; look for the first error above, mend the disk, start again"
            },
            Self::Unsealed { .. } => {
                "the error above says why; mend the disk and start again: as long as the machine was not switched off, the next start finds what it still has, and says what it cuts"
            },
            Self::Connect { .. } => {
                "is a broker running there? `gregor serve` starts one; -b HOST:PORT names another"
            },
            Self::Broken { .. } => {
                "is this a Kafka listener? look at the broker's log, then try again"
            },
            Self::TimedOut { .. } => "look at the broker's log; --timeout SECONDS waits longer",
            Self::UnknownTopic(name) => {
                return Some(
                    format!("`gregor topic create {name}` makes it, `gregor topic list` shows what there is")
                        .into(),
                );
            },
            Self::UnknownPartition { topic, .. } => {
                return Some(format!("`gregor topic describe {topic}` shows them").into());
            },
            Self::UnknownGroup(_) => {
                "`gregor group list` shows the groups; one appears when its first member joins or commits"
            },
            Self::Refused { code, .. } => return refusal_hint(*code),
            Self::Unacknowledged { is_blind: true, .. } => {
                "of what is not acknowledged nobody knows what is stored; --acks all tells"
            },
            Self::Unacknowledged { unknown: 0, .. } => {
                "what was acknowledged is stored, the others are not"
            },
            Self::Unacknowledged { unknown, .. } => {
                return Some(
                    format!(
                        "what was acknowledged is stored; {} may or may not be. Look at the broker's log",
                        counted(*unknown, "record")
                    )
                    .into(),
                );
            },
            Self::LineTooLarge { .. } => {
                "shorten it, or create the topic with -c max.message.bytes=N"
            },
            Self::Advised { hint, .. } | Self::Unfit { hint, .. } => {
                return Some(hint.clone().into());
            },
            Self::Damaged { .. } => {
                "keep a copy of the directory before anything else; a replica or a backup has the bytes that are lost here"
            },
            Self::Read { .. }
            | Self::System { .. }
            | Self::Start(_)
            | Self::Output(_)
            | Self::OwnTopic(_)
            | Self::Usage(_)
            | Self::Other(_) => return None,
        };
        Some(hint.into())
    }
}

fn refusal_hint(code: ErrorCode) -> Option<Cow<'static, str>> {
    let hint = match code {
        ErrorCode::TOPIC_ALREADY_EXISTS => "`gregor topic describe NAME` shows it",
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => "`gregor topic list` shows what there is",
        ErrorCode::INVALID_TOPIC_EXCEPTION => {
            "a name has 1 to 249 letters, digits, '.', '_' and '-', and is not '.' or '..'"
        },
        ErrorCode::INVALID_CONFIG => "`gregor config list --topic` shows the settings of topics",
        ErrorCode::OFFSET_OUT_OF_RANGE => {
            "start with --from beginning or --from end; retention may have deleted what was there"
        },
        _ => return None,
    };
    Some(hint.into())
}
