//! The names of files and folders in a log directory.
//!
//! Invariant: a name is accepted only if it is exactly what we would write, so that nothing foreign
//! is ever taken for ours.

use base::{Offset, PartitionId, PartitionIndex, ReplicaGen, SegGen, TopicId, Uuid};

/// Who the directory belongs to.
pub const IDENTITY: &str = "identity";
/// Held while a process uses the directory.
pub const LOCK: &str = "lock";
/// The last act of a graceful stop.
pub const SEAL: &str = "seal";
/// One slot per process start.
pub const STARTS: &str = "starts";
/// In a log's folder: its producers up to some offset.
pub const PRODUCERS: &str = "producers";
/// In a log's folder of a release without a journal.
pub const OLD_STATE: &str = "state";
/// Ends the name of a file that is about to replace another.
pub const TMP: &str = ".tmp";
/// The folder of the cluster's metadata, which is the broker's.
pub const METADATA: &str = "metadata";
/// The folder of the journal.
pub const JOURNAL: &str = "journal";
/// The journal's state at one moment.
pub const MANIFEST: &str = "manifest";
/// The folder of files that nothing explains.
pub const SALVAGE: &str = "salvage";
/// In the directory with the metadata: all directories of the node.
pub const DIRECTORIES: &str = "directories";
/// Made, with [`TMP`] behind it, to see whether a full disk has room again.
pub const ROOM: &str = "room";
/// Every name in a log directory that is not a log's.
pub const OURS: [&str; 10] =
    [IDENTITY, LOCK, METADATA, SEAL, STARTS, JOURNAL, MANIFEST, SALVAGE, DIRECTORIES, ROOM];

/// A segment: its first offset, and the generation that tells it from others at that offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentName {
    /// Offset of its first record.
    pub base: Offset,
    /// Never used for another segment of the directory.
    pub seg_gen: SegGen,
}

impl SegmentName {
    /// The file of batches.
    pub fn log(self) -> String {
        format!("{:020}-{}.log", self.base.0, self.seg_gen)
    }

    /// The file of envelopes.
    pub fn env(self) -> String {
        format!("{:020}-{}.env", self.base.0, self.seg_gen)
    }

    /// What `name` names, and whether that is the file of envelopes.
    pub fn parse(name: &str) -> Option<(Self, bool)> {
        let (stem, extension) = name.split_once('.')?;
        let (base, seg_gen) = stem.split_once('-')?;
        let found = Self {
            base: Offset(base.parse().ok().filter(|base| *base >= 0)?),
            seg_gen: SegGen(seg_gen.parse().ok()?),
        };
        match extension {
            "log" if found.log() == name => Some((found, false)),
            "env" if found.env() == name => Some((found, true)),
            _ => None,
        }
    }
}

/// The folder of a log.
pub fn log_folder(partition: PartitionId, replica_gen: ReplicaGen) -> String {
    format!("{partition}-{replica_gen}")
}

/// Which log the folder `name` is of.
pub fn parse_log_folder(name: &str) -> Option<(PartitionId, ReplicaGen)> {
    let mut parts = name.rsplitn(3, '-');
    let replica_gen = ReplicaGen(parts.next()?.parse().ok()?);
    let index = PartitionIndex(parts.next()?.parse().ok().filter(|index| *index >= 0)?);
    let topic = TopicId(Uuid::parse(parts.next()?).ok()?);
    let partition = PartitionId { topic, index };
    (log_folder(partition, replica_gen) == name).then_some((partition, replica_gen))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_give_back_what_they_name(
            topic in any::<[u8; 16]>(), index in 0_i32.., base in 0_i64.., number in any::<u64>(),
        ) {
            let partition = PartitionId { topic: TopicId(Uuid(topic)), index: PartitionIndex(index) };
            let folder = log_folder(partition, ReplicaGen(number));
            prop_assert_eq!(parse_log_folder(&folder), Some((partition, ReplicaGen(number))));
            let segment = SegmentName { base: Offset(base), seg_gen: SegGen(number) };
            prop_assert_eq!(SegmentName::parse(&segment.log()), Some((segment, false)));
            prop_assert_eq!(SegmentName::parse(&segment.env()), Some((segment, true)));
        }
    }

    #[test]
    fn what_we_would_not_write_is_not_ours() {
        for name in ["0-1.log", "00000000000000000000-01.log", "00000000000000000000-1.txt", "x"] {
            assert_eq!(SegmentName::parse(name), None, "{name}");
        }
        for name in ["journal", "AAAAAAAAAAAAAAAAAAAAAA-0-01", "AAAA-0-1", "lost+found"] {
            assert_eq!(parse_log_folder(name), None, "{name}");
        }
    }
}
