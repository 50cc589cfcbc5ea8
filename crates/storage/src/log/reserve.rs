//! Room reserved behind the end of a segment that grows.
//!
//! A file system that knows where the next bytes go need not look for a place at each of them, which
//! takes a tenth of what a large append costs (docs/performance.md).
//!
//! Invariants: what is reserved changes no length and promises nothing: where there is no room for
//! it, appends go on without; it is at most a quarter of what is written, and at most
//! [`RESERVE_BYTES_MAX`]; a segment that is closed has given back what it did not need.

use base::Probe;
use env::{Env, File};

use super::{FileOf, Log};
use crate::config::SEGMENT_BYTES_MAX;
use crate::dir::is_full;
use crate::error::WriteError;

/// Segments below this size reserve nothing, and reservations are multiples of it.
const RESERVE_BYTES_MIN: u64 = 1024 * 1024;
/// No more than this is reserved at a time.
const RESERVE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Up to where room is to be reserved in a file that is about to have `end` bytes and grows to at
/// most `most`.
fn wanted(end: u64, most: u64, unit: u64) -> u64 {
    let more = (end / 4).clamp(unit, RESERVE_BYTES_MAX).next_multiple_of(unit);
    end.saturating_add(more).min(most).max(end)
}

impl<E: Env> Log<E> {
    /// Reserves room in the open segment, which is about to have `end` bytes, if none is left.
    pub(super) async fn reserve(&self, file: &FileOf<E>, end: u64) -> Result<(), WriteError> {
        let wanted = {
            let mut shared = self.inner.shared.lock();
            let most = shared.limits.segment_bytes.min(SEGMENT_BYTES_MAX);
            let Some(segment) = shared.active_mut() else { return Ok(()) };
            if u64::from(segment.reserved) >= end {
                return Ok(());
            }
            let early = self.env().probe().buggify("storage_reserve_early");
            let unit = if early { 16 * 1024 } else { RESERVE_BYTES_MIN };
            // Whether there is room or not, it is not asked for again before that much is written.
            let is_small = !early && end < unit;
            let wanted = if is_small { unit } else { wanted(end, most, unit) };
            segment.reserved = u32::try_from(wanted).unwrap_or(u32::MAX);
            if is_small { end } else { wanted }
        };
        if wanted <= end {
            return Ok(());
        }
        match file.preallocate(wanted).await {
            Ok(()) => {
                self.env().probe().reached("storage_room_reserved");
                Ok(())
            },
            Err(error) if is_full(&error) => {
                self.env().probe().reached("storage_no_room_to_reserve");
                Ok(())
            },
            Err(error) => {
                Err(self.inner.dir.refuse("reserve room in", &self.inner.folder(), &error))
            },
        }
    }

    /// Gives back what was reserved behind the end of the open segment, which is about to be closed.
    /// Nobody may append.
    pub(super) async fn give_back_reserved(&self) -> Result<(), WriteError> {
        let file = {
            let shared = self.inner.shared.lock();
            // Of a segment that an earlier process began it is not known what was reserved.
            shared.active().filter(|segment| segment.bytes > 0).and_then(|s| s.file.clone())
        };
        if let Some(file) = file {
            let refused =
                |error| self.inner.dir.refuse("give back room in", &self.inner.folder(), &error);
            let len = file.len().await.map_err(refused)?;
            // Planted: the last byte is taken for one that was only reserved.
            let short = u64::from(self.env().probe().mutant("reserved_cut_short"));
            file.set_len(len.saturating_sub(short)).await.map_err(refused)?;
            self.env().probe().reached("storage_reserved_room_given_back");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = RESERVE_BYTES_MIN;

    #[test]
    fn what_is_reserved_is_a_quarter_of_what_is_there_and_bounded() {
        let most = 1024 * MB;
        assert_eq!(wanted(MB, most, MB), 2 * MB);
        assert_eq!(wanted(40 * MB, most, MB), 50 * MB);
        assert_eq!(wanted(512 * MB, most, MB), 576 * MB);
    }

    #[test]
    fn nothing_is_reserved_behind_the_largest_segment() {
        assert_eq!(wanted(1000 * MB, 1024 * MB, MB), 1024 * MB);
        assert_eq!(wanted(1024 * MB, 1024 * MB, MB), 1024 * MB);
        assert_eq!(wanted(1100 * MB, 1024 * MB, MB), 1100 * MB, "one larger batch has its own");
    }
}
