//! Reading the group's committed offsets straight off a simulated disk.
//!
//! Owns: the way from the bytes of `__consumer_offsets` to committed offsets, by Kafka's format of
//! them (an offset's key is of kind 0 or 1, and a value of any version begins with the offset) and
//! without the coordinator's decoder. Invariant: as for logs, only what is contiguous and whole
//! counts.

use std::collections::{BTreeMap, BTreeSet};

use base::{PartitionId, Uuid};

use super::platter::{View, logs, walk};
use crate::client::{GROUP, TOPIC};
use crate::disk::Image;

/// What was committed for each partition of the topic.
pub type Committed = BTreeMap<i32, CommitLog>;

/// The offsets that were committed for a partition, in the order of the log.
#[derive(Clone, Debug, Default)]
pub struct CommitLog {
    /// The offsets.
    pub offsets: Vec<i64>,
    /// Whether compaction may have taken some of them, but for the last.
    pub thinned: bool,
}

impl CommitLog {
    /// Whether a commit is there `times` times; in a log that was thinned, it or a higher one.
    pub fn holds(&self, offset: i64, times: usize) -> bool {
        if self.thinned {
            return self.offsets.iter().any(|at| *at >= offset);
        }
        self.offsets.iter().filter(|at| **at == offset).count() >= times
    }
}

/// Every commit of the group. `topic` is the work's own log, in which none can be.
pub fn read_committed(image: &Image, topic: Uuid, view: View) -> Committed {
    let mut all = Committed::new();
    for log in logs(image, view, |of| of.topic.0 != topic).into_values() {
        let thinned = log.cleaned() > 0;
        walk(image, &log, view, |batch| {
            let set = batch.open(1 << 24).map_err(|error| error.to_string())?;
            for record in set.iter() {
                let record = record.map_err(|error| error.to_string())?;
                if let Some((partition, offset)) = commit(record.key, record.value) {
                    let found = all.entry(partition).or_default();
                    found.offsets.push(offset);
                    found.thinned |= thinned;
                }
            }
            Ok(())
        });
    }
    all
}

/// Where a coordinators' log says that the group is no more: a group without members and commits is
/// forgotten, and the next one of its name begins with generation 1. `topic` as above.
pub fn ends_of_group(image: &Image, topic: Uuid) -> BTreeSet<(PartitionId, i64)> {
    let mut ends = BTreeSet::new();
    for (of, log) in logs(image, View::Cache, |of| of.topic.0 != topic) {
        walk(image, &log, View::Cache, |batch| {
            let set = batch.open(1 << 24).map_err(|error| error.to_string())?;
            let ended = set.iter().flatten().filter(|record| is_end(record.key, record.value));
            ends.extend(ended.map(|record| (of, record.offset.0)));
            Ok(())
        });
    }
    ends
}

/// Whether a record takes the group back: a key of kind 2 without a value.
fn is_end(key: Option<&[u8]>, value: Option<&[u8]>) -> bool {
    let rest = key.and_then(|key| key.strip_prefix(&[0, 2]));
    value.is_none() && rest.and_then(string).is_some_and(|(group, _)| group == GROUP.as_bytes())
}

/// Partition and offset, if a record is a commit of the group; −1 if the offset was taken back.
fn commit(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<(i32, i64)> {
    let (kind, rest) = key?.split_first_chunk::<2>()?;
    if !matches!(i16::from_be_bytes(*kind), 0 | 1) {
        return None;
    }
    let (group, rest) = string(rest)?;
    let (topic, rest) = string(rest)?;
    let partition = i32::from_be_bytes(rest.try_into().ok()?);
    if group != GROUP.as_bytes() || topic != TOPIC.as_bytes() {
        return None;
    }
    let Some(value) = value else { return Some((partition, -1)) };
    Some((partition, i64::from_be_bytes(*value.get(2..)?.first_chunk()?)))
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_in_every_version_and_nothing_else_is_taken_for_one() {
        let key = b"\x00\x01\x00\x07readers\x00\x04work\x00\x00\x00\x02";
        for version in 0..=4_u8 {
            let value = [&[0, version][..], &77_i64.to_be_bytes(), b"whatever follows"].concat();
            assert_eq!(commit(Some(key), Some(&value)), Some((2, 77)));
        }
        assert_eq!(commit(Some(key), None), Some((2, -1)));
        let of_a_group = b"\x00\x02\x00\x07readers";
        let of_another = b"\x00\x01\x00\x07writers\x00\x04work\x00\x00\x00\x02";
        for other in [&of_a_group[..], &of_another[..], b"key", b""] {
            assert_eq!(commit(Some(other), Some(b"\x00\x04")), None);
        }
        assert_eq!(commit(None, Some(b"\x00\x04")), None);
    }

    #[test]
    fn a_group_ends_with_a_record_of_it_that_has_no_value() {
        let key = Some(&b"\x00\x02\x00\x07readers"[..]);
        assert!(is_end(key, None));
        assert!(!is_end(key, Some(b"\x00\x03")));
        for other in [
            &b"\x00\x02\x00\x07writers"[..],
            b"\x00\x01\x00\x07readers\x00\x04work\x00\x00\x00\x02",
            b"",
        ] {
            assert!(!is_end(Some(other), None));
        }
        assert!(!is_end(None, None));
    }
}
