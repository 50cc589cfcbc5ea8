//! Keeping the envelopes of the segment that grows in proportion to its bytes, not to its flushes.
//!
//! Each flush adds an envelope, however little it flushed: a log that gets a record a second would have
//! a hundred bytes of envelope for each. So neighbours are put together once there are many.
//! Invariants: the upkeep lock is held; the file that takes the other's place vouches for the same bytes
//! as that one, which are durable, and for none beyond; memory has what the file has; without room on the
//! disk the old file stays.

use base::Probe;
use env::Env;

use super::recover::slots_len;
use super::{Log, Upkeep};
use crate::envelope::{encode_slot, merged};
use crate::error::{DirectoryFailed, WriteError};
use crate::replace::replace;

/// Envelopes that a segment may have beyond twice as many as its bytes need.
const SPARE: usize = 128;

impl<E: Env> Log<E> {
    /// Puts envelopes of the segment that grows together, if that makes them notably fewer.
    ///
    /// # Errors
    /// The directory failed.
    pub(super) async fn merge_envelopes(&self, upkeep: &mut Upkeep) -> Result<(), DirectoryFailed> {
        let hasty = self.env().probe().buggify("storage_merge_often");
        let due = usize::try_from(upkeep.merge_at).unwrap_or(usize::MAX).max(SPARE);
        let due = if hasty { 2 } else { due };
        let (name, enveloped, fewer) = {
            let shared = self.inner.shared.lock();
            let Some(segment) = shared.active().filter(|segment| segment.enveloped >= due) else {
                return Ok(());
            };
            let runs = segment.runs.as_deref().unwrap_or_default();
            let mut enveloped = segment.enveloped;
            // Planted: what was written since the flush is vouched for as well.
            if self.env().probe().mutant("merge_ahead_of_flush") {
                enveloped = runs.len();
            }
            (segment.name, enveloped, merged(runs.get(..enveloped).unwrap_or_default()))
        };
        let next = SPARE.saturating_add(fewer.len().saturating_mul(2));
        upkeep.merge_at = u32::try_from(next).unwrap_or(u32::MAX);
        let is_worth_it = hasty || fewer.len() <= enveloped / 2;
        if !is_worth_it || fewer.len() == enveloped {
            return Ok(());
        }
        let (owner, folder) = (self.owner(name), self.inner.folder());
        let slots = fewer.iter().flat_map(|run| encode_slot(&owner, run)).collect();
        let replaced = replace(self.env(), &folder, &name.env(), slots).await;
        match replaced.map_err(|error| self.inner.dir.refuse("write envelopes in", &folder, &error))
        {
            Ok(()) => self.env().probe().reached("storage_envelopes_merged"),
            Err(WriteError::Full(_)) => return Ok(()),
            Err(WriteError::Failed(failed)) => return Err(failed),
        }
        upkeep.env_bytes = slots_len(fewer.len());
        let mut shared = self.inner.shared.lock();
        if let Some(segment) = shared.active_mut() {
            segment.enveloped = fewer.len();
            segment.runs.get_or_insert_default().splice(..enveloped, fewer);
        }
        Ok(())
    }
}
