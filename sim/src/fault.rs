//! What goes wrong, when: data that is drawn from the seed, printed, edited and replayed.
//!
//! Owns: [`Plan`], how one is drawn ([`Plan::draw`]) and how its faults are carried out.
//! Invariants: a plan replays without its generator; after [`crate::world::World::calm_down`] no
//! fault begins and every running one is healed.

mod draw;
mod harm;
mod inject;
mod sound;
mod work;

use serde::{Deserialize, Serialize};

use crate::disk::OpKind;
use crate::world::Knobs;

pub use draw::BROKER;
pub use harm::{DirFile, End, Harm};
pub use inject::{heal, inject_all, lose};
pub use work::Work;

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
    /// Clients that are lost for good once everything is quiet: the others must go on without them.
    #[serde(default)]
    pub gone: Vec<Gone>,
}

/// A client that is lost for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gone {
    /// Which.
    pub node: usize,
    /// In which way.
    pub how: Lost,
}

/// How a client is lost for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// Nothing passes between it and the broker.
    Cut,
    /// It is heard and hears nothing.
    Deaf,
    /// It hears and is not heard.
    Mute,
    /// It stands still; its kernel goes on.
    Frozen,
    /// Its machine has no power.
    Off,
}

fn one_sector() -> u32 {
    1
}

/// A fault and when it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Map<String, serde_json::Value>")]
pub struct Timed {
    /// Simulated milliseconds after the start.
    pub at_ms: u64,
    /// What happens.
    #[serde(flatten)]
    pub fault: Fault,
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
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
        /// In which of its log directories.
        #[serde(default)]
        dir: usize,
        /// How many.
        count: u32,
    },
    /// The next write stops short with an error.
    ShortWrite {
        /// Where.
        node: usize,
        /// In which of its log directories.
        #[serde(default)]
        dir: usize,
    },
    /// Only so much more fits on the disk.
    DiskFull {
        /// Where.
        node: usize,
        /// In which of its log directories.
        #[serde(default)]
        dir: usize,
        /// How long.
        ms: u64,
        /// Bytes that still fit.
        #[serde(default)]
        room: u64,
    },
    /// Operations that begin now return when it is over.
    StalledDisk {
        /// Where.
        node: usize,
        /// In which of its log directories.
        #[serde(default)]
        dir: usize,
        /// For how long.
        ms: u64,
    },
    /// The next reads fail, and succeed when tried again.
    FailedRead {
        /// Where.
        node: usize,
        /// In which of its log directories.
        #[serde(default)]
        dir: usize,
        /// How many.
        count: u32,
    },
    /// Sectors at rest cannot be read.
    LatentSector {
        /// Where.
        node: usize,
        /// How many.
        #[serde(default = "one_sector")]
        sectors: u32,
        /// For how long.
        ms: u64,
    },
    /// Sectors at rest change by themselves.
    BitRot {
        /// Where.
        node: usize,
        /// How many.
        sectors: u32,
        /// Whether the bytes of a batch that no checksum covers change as well.
        #[serde(default)]
        unprotected: bool,
    },
    /// The next write also lands on a sector at rest.
    MisdirectedWrite {
        /// Where.
        node: usize,
        /// Whether it may land where a batch begins.
        #[serde(default)]
        unprotected: bool,
    },
    /// A file of the log directory is not what was written.
    Damage {
        /// Where.
        node: usize,
        /// What kind of file.
        file: DirFile,
        /// In which way.
        harm: Harm,
        /// How many sectors of it.
        #[serde(default = "one_sector")]
        sectors: u32,
        /// How the process ends before that; `None` for not at all.
        end: Option<End>,
        /// Until it is started again; after a clean stop its supervisor does so.
        down_ms: u64,
        /// Whether places are hit where damage is known to go unnoticed.
        #[serde(default)]
        unprotected: bool,
    },
    /// Syncs say that they succeeded, and the drive keeps the bytes in its own volatile cache.
    LyingSync {
        /// Where.
        node: usize,
        /// For how long; then the drive writes what it has.
        ms: u64,
    },
    /// From now on a power loss keeps any part of the pending directory changes.
    ReorderedDirs {
        /// Where.
        node: usize,
    },
    /// The machine goes down and comes back with another directory.
    ReplacedDirectory {
        /// Where.
        node: usize,
        /// How old the copy is that it comes back with; none for an empty directory.
        age_ms: Option<u64>,
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
    /// A machine sleeps: monotonic time stands still, boot time goes on.
    Suspend {
        /// Where.
        node: usize,
        /// For how long.
        ms: u64,
    },
    /// A machine's clocks run too fast, or too slow.
    ClockDrift {
        /// Where.
        node: usize,
        /// Parts per million.
        ppm: i64,
    },
    /// A machine's wall clock jumps.
    ClockJump {
        /// Where.
        node: usize,
        /// Milliseconds forth, or back.
        by_ms: i64,
    },
    /// Each poll of a task takes time.
    SlowNode {
        /// Where.
        node: usize,
        /// How much, microseconds.
        poll_us: u64,
        /// For how long.
        ms: u64,
    },
    /// A runtime polls nothing; tasks that run on their own go on.
    StalledRuntime {
        /// Where.
        node: usize,
        /// For how long.
        ms: u64,
    },
    /// A node reads nothing from its sockets and offers a small window.
    StalledReader {
        /// Where.
        node: usize,
        /// For how long.
        ms: u64,
        /// Bytes that may come meanwhile, per connection.
        window: usize,
    },
    /// The kernel restarts in good order.
    KernelRestart {
        /// Where.
        node: usize,
        /// Until the process is started again.
        down_ms: u64,
    },
    /// After the `nth` next operation `after` on a name, right before the next operation `before`,
    /// the process or machine ends.
    CrashBetween {
        /// Where.
        node: usize,
        /// The first operation.
        after: OpKind,
        /// Part of the name it is done to, or all of it behind a `=`; empty for any.
        #[serde(default)]
        name: String,
        /// Which of them, from 1.
        nth: u32,
        /// The second operation, which is not done any more.
        before: OpKind,
        /// Whether the machine loses power.
        power: bool,
    },
    /// The process or machine ends when the product reaches a mark.
    CrashAtMark {
        /// Where.
        node: usize,
        /// Which mark.
        mark: String,
        /// At which time, from 1.
        nth: u32,
        /// Whether the machine loses power.
        power: bool,
    },
    /// The process ends, and so do its next starts, each after its `nth` disk operation.
    CrashDuringStart {
        /// Where.
        node: usize,
        /// How many starts.
        times: u32,
        /// After which operation.
        nth: u32,
        /// Whether the machine loses power each time.
        power: bool,
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
        "stalled disk",
        "failed read",
        "latent sector",
        "bit rot",
        "misdirected write",
        "damaged journal",
        "damaged manifest",
        "damaged envelopes",
        "damaged seal",
        "damaged starts",
        "damaged identity",
        "damaged producers",
        "damaged metadata log",
        "damaged coordinator log",
        "damaged open segment",
        "damaged closed segment",
        "lying sync",
        "directory changes reordered",
        "suspend",
        "clock drift",
        "clock jump",
        "slow node",
        "stalled runtime",
        "stalled reader",
        "kernel restart",
        "crash between two operations",
        "crash at a mark",
        "process crash during start",
        "power loss during start",
        "gone for good",
    ];

    /// Classes that no seed draws: a plan has to ask for them.
    pub const UNDRAWN_CLASSES: &'static [&'static str] = &["replaced directory"];

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
            Self::StalledDisk { .. } => "stalled disk",
            Self::FailedRead { .. } => "failed read",
            Self::LatentSector { .. } => "latent sector",
            Self::BitRot { .. } => "bit rot",
            Self::MisdirectedWrite { .. } => "misdirected write",
            Self::Damage { file, .. } => file.class(),
            Self::LyingSync { .. } => "lying sync",
            Self::ReorderedDirs { .. } => "directory changes reordered",
            Self::ReplacedDirectory { .. } => "replaced directory",
            Self::Suspend { .. } => "suspend",
            Self::ClockDrift { .. } => "clock drift",
            Self::ClockJump { .. } => "clock jump",
            Self::SlowNode { .. } => "slow node",
            Self::StalledRuntime { .. } => "stalled runtime",
            Self::StalledReader { .. } => "stalled reader",
            Self::KernelRestart { .. } => "kernel restart",
            Self::CrashBetween { .. } => "crash between two operations",
            Self::CrashAtMark { .. } => "crash at a mark",
            Self::CrashDuringStart { power: false, .. } => "process crash during start",
            Self::CrashDuringStart { power: true, .. } => "power loss during start",
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
    /// If the text is not a plan, or not one that can be carried out; unknown fields are refused.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let mut plan: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        plan.check()?;
        plan.faults.sort_by_key(|timed| timed.at_ms);
        Ok(plan)
    }

    /// The nodes of the producers.
    pub fn producers(&self) -> std::ops::Range<usize> {
        2..2 + self.work.idempotent + self.work.plain
    }

    /// The nodes of the group's members.
    pub fn consumers(&self) -> std::ops::Range<usize> {
        let first = self.producers().end;
        first..first + self.work.consumers
    }

    /// How many client nodes the plan needs.
    pub fn clients(&self) -> usize {
        self.work.idempotent
            + self.work.plain
            + self.work.consumers
            + 1
            + usize::from(self.work.odd)
            + usize::from(self.work.keeper)
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
    fn five_hundred_seeds_draw_every_fault_class() {
        let plans: Vec<Plan> = (0..500).map(Plan::draw).collect();
        let faults = plans.iter().flat_map(|plan| &plan.faults);
        let mut drawn: BTreeSet<&str> = faults.map(|timed| timed.fault.class()).collect();
        if plans.iter().any(|plan| !plan.gone.is_empty()) {
            drawn.insert("gone for good");
        }
        let all: BTreeSet<&str> = Fault::CLASSES.iter().copied().collect();
        assert_eq!(drawn, all);
    }

    #[test]
    fn a_client_that_is_lost_for_good_leaves_a_producer_and_a_member_behind() {
        for plan in (0..200).map(Plan::draw) {
            let gone: BTreeSet<usize> = plan.gone.iter().map(|gone| gone.node).collect();
            let (producers, consumers) = (plan.producers(), plan.consumers());
            assert!(producers.clone().any(|node| !gone.contains(&node)));
            assert!(consumers.is_empty() || consumers.clone().any(|node| !gone.contains(&node)));
            assert!(gone.iter().all(|node| producers.contains(node) || consumers.contains(node)));
        }
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
