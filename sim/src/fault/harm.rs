//! Damage of the files of a log directory: which kind of file, in which way, found when.
//!
//! Owns: [`DirFile`], [`Harm`], [`End`]: data of a plan. What each kind of file may lose in silence
//! is nothing: see `sim/src/check/told.rs`.

use serde::{Deserialize, Serialize};

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DirFile {
    /// A file of the storage journal: a header of any lap, or a group that is not the last one.
    Journal,
    /// The journal's state at one moment.
    Manifest,
    /// Envelopes of a segment of the topic.
    Envelopes,
    /// The seal of a clean stop.
    Seal,
    /// The slots of process starts.
    Starts,
    /// Whose directory it is.
    Identity,
    /// The producers of a partition.
    Producers,
    /// The metadata log, but for its last entry unless the last stop was clean.
    Metadata,
    /// A segment of the coordinators' topic, as far as it has envelopes.
    Coordinator,
    /// The open segment of a partition, as far as it has envelopes.
    OpenSegment,
    /// A closed segment of a partition.
    ClosedSegment,
}

impl DirFile {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Journal,
        Self::Manifest,
        Self::Envelopes,
        Self::Seal,
        Self::Starts,
        Self::Identity,
        Self::Producers,
        Self::Metadata,
        Self::Coordinator,
        Self::OpenSegment,
        Self::ClosedSegment,
    ];

    /// The class its damage is counted under.
    pub fn class(self) -> &'static str {
        match self {
            Self::Journal => "damaged journal",
            Self::Manifest => "damaged manifest",
            Self::Envelopes => "damaged envelopes",
            Self::Seal => "damaged seal",
            Self::Starts => "damaged starts",
            Self::Identity => "damaged identity",
            Self::Producers => "damaged producers",
            Self::Metadata => "damaged metadata log",
            Self::Coordinator => "damaged coordinator log",
            Self::OpenSegment => "damaged open segment",
            Self::ClosedSegment => "damaged closed segment",
        }
    }

    /// A broker may refuse to start over a damaged file if it says which: a word of that reason for
    /// each class that has one. The others are no reason to refuse.
    pub fn refusal(class: &str) -> Option<&'static [&'static str]> {
        match class {
            "damaged journal" => Some(&["/journal", "the journal in"]),
            "damaged manifest" => Some(&["manifest"]),
            "damaged identity" => Some(&[
                "/identity",
                "but no identity",
                "has no data, but",
                // A sector of another directory's identity is a sound one.
                "the identity beside it",
            ]),
            "damaged metadata log" => Some(&["metadata log"]),
            _ => None,
        }
    }
}

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Harm {
    /// Bits of its sectors flip.
    Rot,
    /// A write that was meant for another file landed in its sectors.
    Misdirected,
    /// It is gone.
    Lost,
}

/// How the process ended before the damage was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It stopped cleanly.
    Stop,
    /// It died.
    Crash,
    /// With the power.
    Power,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_kind_of_file_has_a_class_of_its_own() {
        let classes: BTreeSet<&str> = DirFile::ALL.iter().map(|file| file.class()).collect();

        assert_eq!(classes.len(), DirFile::ALL.len());
        assert!(classes.iter().all(|class| crate::fault::Fault::CLASSES.contains(class)));
    }
}
