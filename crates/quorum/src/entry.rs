//! Entries of the log.

use std::fmt;

use bytes::Bytes;

use crate::voters::{NodeKey, Voters};

/// The reign of at most one leader. 0 is before the first election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// The place of an entry in the log. The bootstrap entry has 1; 0 is before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

impl Term {
    /// The one after it.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Index {
    /// The one after it.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The one before it; 0 has none before it.
    pub(crate) fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One entry: atomic for everybody who sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// The term of the leader that made it.
    pub term: Term,
    /// What it says.
    pub payload: Payload,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Payload {
    /// The first entry of a cluster; term 0.
    Bootstrap {
        /// Drawn by the node that founded the cluster.
        cluster: base::Uuid,
        /// The first voters.
        voters: Voters,
    },
    /// The first entry of a leader: once it is committed, so is everything before it.
    Leads(NodeKey),
    /// From here on these vote.
    Voters(Voters),
    /// What the users of the log agree on.
    Data(Bytes),
}

impl Payload {
    /// The voters that it puts in force.
    pub(crate) fn voters(&self) -> Option<&Voters> {
        match self {
            Self::Bootstrap { voters, .. } | Self::Voters(voters) => Some(voters),
            Self::Leads(_) | Self::Data(_) => None,
        }
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Data(bytes) => bytes.len(),
            Self::Leads(_) => 32,
            Self::Bootstrap { voters, .. } | Self::Voters(voters) => 32 + voters.len() * 32,
        }
    }
}
