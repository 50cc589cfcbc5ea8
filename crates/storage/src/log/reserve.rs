//! Room reserved behind the end of a segment that grows.
//!
//! A file system that knows where the next bytes go need not look for a place at each of them, which
//! takes a tenth of what a large append costs (docs/performance.md).
//!
//! Invariants: what is reserved changes no length and promises nothing: where there is little room, or
//! the file system refuses, appends go on without, and what a refused reservation took is given back;
//! it is a quarter of what is written, at least [`RESERVE_BYTES_MIN`] and at most [`RESERVE_BYTES_MAX`]; a segment that the
//! running broker closes gives back what it did not need, once nobody can add to it any more.

use std::io;
use std::path::Path;

use base::Probe;
use env::{Access, Disk, Env, File};

use super::{FileOf, Log, SegmentState};
use crate::config::SEGMENT_BYTES_MAX;
use crate::names::SegmentName;

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

/// Reservations leave at least so many times as much to others.
const LEFT_TO_OTHERS: u64 = 16;

impl<F> SegmentState<F> {
    /// Whether room may be reserved behind its end, by this process or an earlier one.
    pub(super) fn may_have_room(&self) -> bool {
        self.bytes > 0 && (self.reserved > self.bytes || u64::from(self.bytes) >= RESERVE_BYTES_MIN)
    }
}

impl<E: Env> Log<E> {
    /// Reserves room in the open segment, which is about to have `end` bytes, if none is left. Part of
    /// an append.
    pub(super) async fn reserve(&self, file: &FileOf<E>, end: u64) {
        let (wanted, early) = {
            let mut shared = self.inner.shared.lock();
            let most = shared.limits.segment_bytes.min(SEGMENT_BYTES_MAX);
            let Some(segment) = shared.active_mut() else { return };
            if u64::from(segment.reserved) >= end {
                return;
            }
            let early = self.env().probe().buggify("storage_reserve_early");
            let unit = if early { 16 * 1024 } else { RESERVE_BYTES_MIN };
            // Whether there is room or not, it is not asked for again before that much is written.
            let is_small = !early && end < unit;
            let wanted = if is_small { unit } else { wanted(end, most, unit) };
            segment.reserved = u32::try_from(wanted).unwrap_or(u32::MAX);
            (if is_small { end } else { wanted }, early)
        };
        // What is early takes the last room as well, to see that it is no harm.
        if wanted <= end || !(early || self.has_plenty(wanted - end).await) {
            return;
        }
        match file.preallocate(wanted).await {
            Ok(()) => self.env().probe().reached("storage_room_reserved"),
            // A part may have been reserved before it was known that there is not enough.
            Err(refused) => {
                self.env().probe().reached("storage_no_room_to_reserve");
                let given_back = cut_to_length(file, 0).await;
                tracing::debug!(log = %self.inner.partition, %refused, ?given_back, "no room reserved");
            },
        }
    }

    /// Whether the disk has much more than that.
    async fn has_plenty(&self, bytes: u64) -> bool {
        let space = self.env().disk().space(&self.inner.dir.path).await;
        space.is_ok_and(|space| space.usable_bytes / LEFT_TO_OTHERS >= bytes)
    }

    /// The open segment, if closing it has to give room back.
    pub(super) fn reserves(&self) -> Option<SegmentName> {
        let shared = self.inner.shared.lock();
        shared.active().filter(|segment| segment.may_have_room()).map(|segment| segment.name)
    }

    /// Gives back what was reserved behind the end of a segment that was closed just now.
    pub(super) async fn give_back_reserved(&self, name: Option<SegmentName>) {
        if let Some(name) = name {
            give_back_reserved(self.env(), &self.inner.folder().join(name.log())).await;
        }
    }
}

/// Gives back what was reserved behind the end of a segment's file. Where that fails nothing is lost but
/// the room, until the segment goes.
pub(super) async fn give_back_reserved<E: Env>(env: &E, path: &Path) {
    // Planted: the last byte is taken for one that was only reserved.
    let short = u64::from(env.probe().mutant("reserved_cut_short"));
    let given_back = match env.disk().open(path, Access::Write).await {
        Ok(file) => cut_to_length(&file, short).await,
        Err(error) => Err(error),
    };
    match given_back {
        Ok(()) => env.probe().reached("storage_reserved_room_given_back"),
        Err(error) => tracing::debug!(path = %path.display(), %error, "reserved room stays"),
    }
}

/// Lets go of everything behind the end of a file that nobody adds to meanwhile.
async fn cut_to_length(file: &impl File, short: u64) -> io::Result<()> {
    let len = file.len().await?;
    file.set_len(len.saturating_sub(short)).await
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
