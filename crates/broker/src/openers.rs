//! What compressed batches are opened with, shared by all partitions of a broker.
//!
//! Invariant: at most [`KEPT_MAX`] are kept idle; there are as many in use as batches are being
//! checked at this moment, hence not more than the runtime has threads.

use env::{Lock, Rank};
use records::Opener;

/// Taken alone, for a push or a pop.
const OPENERS_RANK: Rank = Rank(70);
/// Idle openers kept at most.
const KEPT_MAX: usize = 64;

/// A small free list.
#[derive(Debug)]
pub(crate) struct Openers {
    kept: Lock<Vec<Opener>>,
}

impl Default for Openers {
    fn default() -> Self {
        Self { kept: Lock::new(OPENERS_RANK, Vec::new()) }
    }
}

impl Openers {
    /// Lends an opener for the time of a call.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Opener) -> T) -> T {
        let kept = self.kept.lock().pop();
        let mut opener = kept.unwrap_or_default();
        let done = work(&mut opener);
        let mut kept = self.kept.lock();
        if kept.len() < KEPT_MAX {
            kept.push(opener);
        }
        done
    }
}
