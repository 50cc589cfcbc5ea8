//! What the clients of a plan do, and what kind of broker they do it to.
//!
//! Invariant: a plan that was written before a field existed means what it meant then.

use serde::{Deserialize, Serialize};

use crate::check::DATA_DIRS;

/// What the clients do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// Idempotent producers.
    pub idempotent: usize,
    /// Producers without a producer id.
    pub plain: usize,
    /// Members of the consumer group.
    pub consumers: usize,
    /// Partitions of the topic.
    pub partitions: u32,
    /// How many of them are added while everybody works; one at least is there from the beginning.
    #[serde(default)]
    pub grown: u32,
    /// Records each producer has to get acknowledged.
    pub records: u64,
    /// Largest batch, records.
    pub batch_max: u64,
    /// Longest pause of a producer between two requests, milliseconds.
    pub think_max_ms: u64,
    /// An idempotent producer has a drawn number of batches on the wire, up to this one.
    #[serde(default = "one")]
    pub in_flight: usize,
    /// Topics that are created and deleted on the side.
    pub side_topics: u64,
    /// Segment size of the broker, bytes.
    pub segment_bytes: u64,
    /// Whether the broker has little patience and little room: connections that say nothing are
    /// closed soon, few are taken from one address, request bytes are few, a stop waits for nobody.
    #[serde(default)]
    pub tight: bool,
    /// Whether the broker deletes no topics.
    #[serde(default)]
    pub topics_stay: bool,
    /// Whether a client asks for what nobody should ask for.
    #[serde(default)]
    pub odd: bool,
    /// Whether an acknowledgement in the topic means that the record is durable.
    #[serde(default)]
    pub fsync: bool,
    /// How often the administrator changes that, under load.
    #[serde(default)]
    pub mode_changes: u64,
    /// Whether a client works on a compacted topic and on one that is deleted from the front.
    #[serde(default)]
    pub keeper: bool,
    /// Whether it has a third topic, which is compacted and deleted from the front.
    #[serde(default)]
    pub both: bool,
    /// Whether it is an idempotent producer of the compacted one.
    #[serde(default)]
    pub keeper_ids: bool,
    /// Whether sequences of producers begin right before they wrap.
    #[serde(default)]
    pub wraps: bool,
    /// Log directories of the broker.
    #[serde(default = "one")]
    pub dirs: usize,
    /// Which of them holds the metadata; as many as there are: one of its own.
    #[serde(default)]
    pub home: usize,
    /// Whether the broker's disks are full for a while once all is quiet: then everything is read.
    #[serde(default)]
    pub full_when_quiet: bool,
    /// Whether plain producers ask for no acknowledgement (`acks=0`). No seed draws it, for nothing
    /// is promised then.
    #[serde(default)]
    pub unacked: bool,
    /// Whether each process of a client has ways of its own: producers that ask for `acks=1`, topics
    /// that are named by their ids, timestamps that do not ascend, settings that are read back.
    #[serde(default)]
    pub varied: bool,
    /// How often an operator changes settings of the broker and of the topic.
    #[serde(default)]
    pub settings: u64,
    /// Whether a client deletes groups and offsets, and lets offsets expire.
    #[serde(default)]
    pub groups: bool,
}

impl Work {
    /// With how many partitions the topic is created.
    pub fn partitions_at_first(&self) -> u32 {
        self.partitions.saturating_sub(self.grown).max(1)
    }

    /// The broker's directories: where logs live, and which holds the metadata.
    pub fn dirs(&self) -> (&'static [&'static str], usize) {
        let most = DATA_DIRS.len() - 1;
        let dirs = self.dirs.clamp(1, most);
        (&DATA_DIRS[..dirs], self.home.min(dirs))
    }
}

fn one() -> usize {
    1
}

#[cfg(test)]
mod tests {
    use super::super::Plan;
    use super::Work;

    #[test]
    fn one_partition_at_least_is_there_from_the_beginning() {
        let work = Plan::draw(1).work;
        let first =
            |partitions, grown| Work { partitions, grown, ..work.clone() }.partitions_at_first();

        assert_eq!([first(4, 0), first(4, 3), first(1, 3)], [4, 1, 1]);
    }
}
