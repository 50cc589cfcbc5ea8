//! What a storage error may come from.
//!
//! Owns: [`Blame`], when each fault last hit a machine's disk, and which process said that its
//! directory failed. Invariant: an error is excused by what happened while its request was under
//! way, or by what its process said of its directory, and not by what happened some other time; that
//! a process stops itself is excused by what hit this very process.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{MS, World};

/// A broker that found its disk full refuses for so long without another look, milliseconds of its own
/// clock.
const FULL_MS: u64 = 100;
/// A process that is hit and runs undisturbed stops within this time, milliseconds.
pub const HALT_MS: u64 = 1_000;

/// See the module head.
#[derive(Clone, Debug, Default)]
pub struct Blame {
    /// By node and class: when it last took effect there, by the machine's monotonic clock.
    hits: BTreeMap<(usize, &'static str), u64>,
    /// By node: the last process that said that its directory failed.
    failed: BTreeMap<usize, u32>,
    /// By node and class: the last process that was hit, and when, in the universe's time.
    processes: BTreeMap<(usize, &'static str), (u32, u64)>,
}

/// A request that is about to be sent to a node.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    node: usize,
    /// By the node's monotonic clock.
    at: u64,
    incarnation: u32,
}

impl Blame {
    fn hit_since(&self, asked: &Asked, class: &'static str, before: u64) -> bool {
        let hit = self.hits.get(&(asked.node, class));
        hit.is_some_and(|hit| hit.saturating_add(before) >= asked.at)
    }

    /// When `class` last hit this very process.
    fn hit_at(&self, node: usize, incarnation: u32, class: &'static str) -> Option<u64> {
        let (process, at) = self.processes.get(&(node, class))?;
        (*process == incarnation).then_some(*at)
    }

    fn may_fail_reads(&self, asked: &Asked) -> bool {
        let said =
            self.failed.get(&asked.node).is_some_and(|process| *process >= asked.incarnation);
        said || ["failed read", "latent sector"].iter().any(|class| self.hit_since(asked, class, 0))
    }

    fn may_fail(&self, asked: &Asked) -> bool {
        self.may_fail_reads(asked) || self.hit_since(asked, "disk full", FULL_MS * MS)
    }
}

impl World {
    /// What holds right before a request is sent to `node`.
    pub fn asks(&self, node: usize) -> Asked {
        let at = self.clock(node, super::clock::Clock::mono);
        Asked { node, at, incarnation: self.incarnation(node) }
    }

    /// A fault took effect on the disk of `node`.
    pub(super) fn blame(&self, node: usize, class: &'static str) {
        let at = self.clock(node, super::clock::Clock::mono);
        let (process, now) = (self.incarnation(node), self.now());
        let blame = &mut self.ledger.lock().blame;
        blame.hits.insert((node, class), at);
        blame.processes.insert((node, class), (process, now));
    }

    /// Whether a fault of `class` may be why the process on `node` stops itself now. Once faults are
    /// over, one that runs had to stop when it was hit, or when the operation that was hit could end;
    /// one that starts may still be at it.
    pub(super) fn may_halt(&self, node: usize, class: &'static str, is_start: bool) -> bool {
        let hit = self.ledger.lock().blame.hit_at(node, self.incarnation(node), class);
        let since = |at: u64| self.now() - at.max(self.calm_at());
        let is_due = |at| !self.is_calm() || is_start || since(at) <= HALT_MS * MS;
        hit.is_some_and(is_due)
    }

    /// The process on `node` reached a mark.
    pub(super) fn blame_mark(self: &Arc<Self>, node: usize, mark: &str) {
        if matches!(mark, "storage_directory_failed" | "directory_offline_at_start") {
            let process = self.incarnation(node);
            self.ledger.lock().blame.failed.insert(node, process);
            self.disk(node).gives_up();
            self.call_operator(node);
        }
    }

    /// Whether a read may have been answered with a storage error.
    pub fn may_fail_reads(&self, asked: &Asked) -> bool {
        self.ledger.lock().blame.may_fail_reads(asked)
    }

    /// Whether anything may have been.
    pub fn may_fail(&self, asked: &Asked) -> bool {
        self.ledger.lock().blame.may_fail(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(at_ms: u64, incarnation: u32) -> Asked {
        Asked { node: 0, at: at_ms * MS, incarnation }
    }

    #[test]
    fn a_full_disk_excuses_what_was_asked_a_moment_after_it_and_nothing_later() {
        let mut blame = Blame::default();
        assert!(!blame.may_fail(&asked(0, 1)));
        blame.hits.insert((0, "disk full"), 500 * MS);

        assert!(blame.may_fail(&asked(499, 1)) && blame.may_fail(&asked(600, 1)));
        assert!(!blame.may_fail(&asked(601, 1)));
        assert!(!blame.may_fail_reads(&asked(499, 1)), "reads go on");
    }

    #[test]
    fn a_read_that_failed_excuses_what_was_under_way_then() {
        let mut blame = Blame::default();
        blame.hits.insert((0, "latent sector"), 500 * MS);

        assert!(blame.may_fail_reads(&asked(500, 1)));
        assert!(!blame.may_fail_reads(&asked(501, 1)));
    }

    #[test]
    fn a_hit_is_held_against_the_process_that_it_hit_and_no_later_one() {
        let mut blame = Blame::default();
        blame.processes.insert((0, "failed sync"), (3, 500 * MS));

        assert_eq!(blame.hit_at(0, 3, "failed sync"), Some(500 * MS));
        assert_eq!(blame.hit_at(0, 4, "failed sync"), None);
        assert_eq!(blame.hit_at(1, 3, "failed sync"), None);
        assert_eq!(blame.hit_at(0, 3, "short write"), None);
    }

    #[test]
    fn a_failed_directory_excuses_its_process_and_none_that_comes_after_it() {
        let mut blame = Blame::default();
        blame.failed.insert(0, 3);

        assert!(blame.may_fail(&asked(9, 3)) && blame.may_fail_reads(&asked(9, 2)));
        assert!(!blame.may_fail(&asked(9, 4)));
        assert!(!blame.may_fail(&Asked { node: 1, ..asked(9, 3) }));
    }
}
