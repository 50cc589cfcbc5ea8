//! Who votes.
//!
//! Invariant: a voter is a node with the directory it votes from. A node whose directory was wiped is
//! not the voter that it was: what the old one had promised is gone.

use std::collections::BTreeSet;
use std::fmt;

use base::{BrokerId, Uuid};

/// A node and the directory that its log lies in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey {
    /// `node.id`.
    pub node: BrokerId,
    /// Drawn when the directory was made.
    pub dir: Uuid,
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.dir.0.last().copied().unwrap_or_default();
        write!(f, "{}/{dir:x}", self.node.0)
    }
}

/// The voters in force from some entry on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Voters(BTreeSet<NodeKey>);

impl FromIterator<NodeKey> for Voters {
    fn from_iter<I: IntoIterator<Item = NodeKey>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}

impl Voters {
    /// Nobody.
    pub(crate) const fn none() -> Self {
        Self(BTreeSet::new())
    }

    /// Whether `key` is one.
    pub fn contains(&self, key: NodeKey) -> bool {
        self.0.contains(&key)
    }

    /// In the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = NodeKey> + '_ {
        self.0.iter().copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none, as before a bootstrap.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether those of whom `yes` is true are more than half.
    pub fn majority(&self, yes: impl Fn(NodeKey) -> bool) -> bool {
        self.0.iter().filter(|key| yes(**key)).count() * 2 > self.0.len()
    }

    /// The largest value that more than half of them have reached.
    pub(crate) fn reached_by_majority<T: Copy + Ord + Default>(
        &self,
        of: impl Fn(NodeKey) -> T,
    ) -> T {
        let mut all: Vec<T> = self.iter().map(of).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.get(self.len() / 2).copied().unwrap_or_default()
    }

    /// With one more.
    pub(crate) fn with(&self, key: NodeKey) -> Self {
        self.iter().chain([key]).collect()
    }

    /// Without that one.
    pub(crate) fn without(&self, key: NodeKey) -> Self {
        self.iter().filter(|other| *other != key).collect()
    }
}
