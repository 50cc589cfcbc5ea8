//! Writers that have not begun yet: batches that are submitted together are written together.
//!
//! Invariant: a partition whose writer is held back here is written to as soon as its holder says
//! so or is dropped, whatever comes first; nobody else will do it. Source: ADR 0029.

use std::sync::Arc;

use env::Env;
use smallvec::SmallVec;

use super::Partition;

/// Partitions that the next batches of whoever holds this may still join before they are written.
/// Others wait meanwhile, so hold it across no wait for anybody.
#[derive(Debug)]
pub struct Held<E: Env>(SmallVec<[Arc<Partition<E>>; 1]>);

impl<E: Env> Default for Held<E> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<E: Env> Held<E> {
    /// Its writer is the holder's to begin.
    pub(super) fn hold(&mut self, partition: &Arc<Partition<E>>) {
        self.0.push(Arc::clone(partition));
    }

    /// Lets the writers begin, in the order in which they were held back.
    pub fn write(&mut self) {
        // Planted: of several writers one never begins, and nobody else takes its place.
        if self.0.len() > 1 && self.0.last().is_some_and(|last| last.forgets_writer()) {
            self.0.pop();
        }
        self.0.drain(..).for_each(|partition| partition.write_pending());
    }
}

impl<E: Env> Drop for Held<E> {
    fn drop(&mut self) {
        self.write();
    }
}
