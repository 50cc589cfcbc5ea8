//! What a command fails with: one sentence, and what to do next.

use thiserror::Error;

/// Why a command failed.
#[derive(Debug, Error)]
pub enum Failure {
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// What the system said.
        source: std::io::Error,
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
        source: std::io::Error,
    },
    /// An address is taken.
    #[error("cannot listen on {at}: {source}")]
    Listen {
        /// The address.
        at: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The broker could not start.
    #[error("cannot start: {0}")]
    Start(String),
    /// The broker had to stop.
    #[error("the broker stopped: {0}")]
    Halted(String),
    /// Anything a remote broker answered or a directory held.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// What to do next, if there is something better than reading the message.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => Some(
                "another process serves this port; stop it, or choose another with --override listeners=PLAINTEXT://127.0.0.1:9192",
            ),
            Self::Listen { .. } => Some("the address must be one of this machine"),
            Self::Config(_) => Some("`gregor serve --help` and docs/operations.md list the keys"),
            Self::Halted(_) => Some(
                "nothing acknowledged was taken back; look for the first error above, mend the disk, start again",
            ),
            Self::Read { .. } | Self::System { .. } | Self::Start(_) | Self::Other(_) => None,
        }
    }
}
