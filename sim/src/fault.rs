//! What goes wrong, when: data that is drawn from the seed, printed, edited and replayed.
//!
//! Owns: [`Plan`], how one is drawn ([`Plan::draw`]) and how its faults are carried out.
//! Invariants: a plan replays without its generator; after [`crate::world::World::calm_down`] no
//! fault begins and every running one is healed.

mod draw;
mod inject;

use serde::{Deserialize, Serialize};

use crate::disk::OpKind;
use crate::world::Knobs;

pub use draw::BROKER;
pub use inject::{heal, inject_all};

/// Everything that decides a run, but for the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Every random stream follows from it.
    pub seed: u64,
    /// What the clients do.
    pub work: Work,
    /// Background noise.
    #[serde(default)]
    pub knobs: Knobs,
    /// Planted bugs that are switched on.
    #[serde(default)]
    pub mutants: Vec<String>,
    /// What goes wrong, sorted by time.
    #[serde(default)]
    pub faults: Vec<Timed>,
}

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
}

fn one() -> usize {
    1
}

/// A fault and when it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// Simulated milliseconds after the start.
    pub at_ms: u64,
    /// What happens.
    #[serde(flatten)]
    pub fault: Fault,
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// The process dies; the page cache stays.
    ProcessCrash {
        /// Where.
        node: usize,
        /// Until it is started again.
        down_ms: u64,
    },
    /// The process is told to stop, and does so in its own time.
    CleanStop {
        /// Where.
        node: usize,
    },
    /// The machine loses power: unsynced bytes are kept, dropped or torn; peers are half-open.
    PowerLoss {
        /// Where.
        node: usize,
        /// Until it is started again.
        down_ms: u64,
    },
    /// The process or machine ends right after its `nth` next operation of a kind.
    CrashAtOp {
        /// Where.
        node: usize,
        /// Which operation.
        op: OpKind,
        /// Which of them, from 1.
        nth: u32,
        /// Whether the machine loses power.
        power: bool,
    },
    /// The next syncs fail and leave their pages clean.
    FailedSync {
        /// Where.
        node: usize,
        /// How many.
        count: u32,
    },
    /// The next write stops short with an error.
    ShortWrite {
        /// Where.
        node: usize,
    },
    /// Nothing more fits on the disk.
    DiskFull {
        /// Where.
        node: usize,
        /// How long.
        ms: u64,
    },
    /// Disk operations take longer.
    SlowDisk {
        /// Where.
        node: usize,
        /// How many times as long.
        factor: u64,
        /// For how long.
        ms: u64,
    },
    /// Every connection between two nodes is reset at a random byte.
    Reset {
        /// One of them.
        a: usize,
        /// The other.
        b: usize,
    },
    /// Nothing gets from one node to another.
    Cut {
        /// The sender.
        from: usize,
        /// Who hears nothing.
        to: usize,
        /// Whether the other direction is cut too.
        both: bool,
        /// For how long.
        ms: u64,
    },
    /// Everything takes longer on the network.
    SlowNet {
        /// How many times as long.
        factor: u64,
        /// For how long.
        ms: u64,
    },
    /// A process stands still while its kernel and its peers go on.
    Pause {
        /// Where.
        node: usize,
        /// For how long.
        ms: u64,
    },
}

impl Fault {
    /// Every class, in the order of [`Fault::class`].
    pub const CLASSES: &'static [&'static str] = &[
        "process crash",
        "clean stop",
        "power loss",
        "power loss at a disk operation",
        "process crash at a disk operation",
        "failed sync",
        "short write",
        "disk full",
        "slow disk",
        "connection reset",
        "cut",
        "slow net",
        "pause",
    ];

    /// The class it is counted under when it takes effect.
    pub fn class(&self) -> &'static str {
        match self {
            Self::ProcessCrash { .. } => "process crash",
            Self::CleanStop { .. } => "clean stop",
            Self::PowerLoss { .. } => "power loss",
            Self::CrashAtOp { power: true, .. } => "power loss at a disk operation",
            Self::CrashAtOp { power: false, .. } => "process crash at a disk operation",
            Self::FailedSync { .. } => "failed sync",
            Self::ShortWrite { .. } => "short write",
            Self::DiskFull { .. } => "disk full",
            Self::SlowDisk { .. } => "slow disk",
            Self::Reset { .. } => "connection reset",
            Self::Cut { .. } => "cut",
            Self::SlowNet { .. } => "slow net",
            Self::Pause { .. } => "pause",
        }
    }
}

impl Plan {
    /// The plan as JSON for people.
    ///
    /// # Errors
    /// Never in practice: every field has a JSON form.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// If the text is not a plan; unknown fields are refused.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// How many client nodes the plan needs.
    pub fn clients(&self) -> usize {
        self.work.idempotent
            + self.work.plain
            + self.work.consumers
            + 1
            + usize::from(self.work.odd)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_plan_survives_json() {
        for seed in 0..50 {
            let plan = Plan::draw(seed);
            let text = plan.to_json().unwrap();
            assert_eq!(Plan::from_json(&text).unwrap(), plan);
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_plan() {
        assert_eq!(Plan::draw(9), Plan::draw(9));
        assert_ne!(Plan::draw(9).faults, Plan::draw(10).faults);
    }

    #[test]
    fn a_hundred_seeds_draw_every_fault_class() {
        let drawn: BTreeSet<&str> = (0..100)
            .flat_map(|seed| Plan::draw(seed).faults)
            .map(|timed| timed.fault.class())
            .collect();
        let all: BTreeSet<&str> = Fault::CLASSES.iter().copied().collect();
        assert_eq!(drawn, all);
    }

    #[test]
    fn every_plan_owes_at_least_two_hundred_records() {
        for seed in 0..200 {
            let work = Plan::draw(seed).work;
            let producers = u64::try_from(work.idempotent + work.plain).unwrap();
            assert!(producers * work.records >= 200, "seed {seed}");
        }
    }
}
