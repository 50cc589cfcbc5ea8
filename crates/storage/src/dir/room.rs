//! Whether the directory's disk is full, and when it is tried again.
//!
//! A full disk is no failure: whatever found no room is undone and refused, nothing that was
//! written before is in doubt. Which operations may so be refused: creating a file or a folder,
//! writing into a file whose bytes nobody counts yet, replacing a small file, a commit for which
//! the journal finds no file. A sync never: after a failed one nobody knows what is durable,
//! whatever the error is called.
//! Invariants: while it is full, appends try at most once per [`TRY_EVERY`]; it is over only when
//! [`PROBE_BYTES`] were found, so that a few bytes do not make it flap. Pure. Source: ADR 0016.

use std::io;
use std::sync::Arc;

use base::{Duration, Instant};

/// Appends that find a full disk are refused for so long without a look at it.
pub(crate) const TRY_EVERY: Duration = Duration::from_millis(100);
/// A full disk is looked at so often, whether anybody appends or not.
pub(crate) const PROBE_EVERY: Duration = Duration::from_millis(1_000);
/// With so much room the disk is not full any more.
pub(crate) const PROBE_BYTES: u64 = 1024 * 1024;

/// Whether there is room on the disk of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// Nobody missed any.
    Enough,
    /// The disk is full, or the quota is used up.
    Full {
        /// Since when.
        since: Instant,
        /// What could not be done first.
        what: Arc<str>,
    },
}

/// The process, or the system, has no file descriptor left (`EMFILE`, `ENFILE`).
const NO_DESCRIPTOR: [i32; 2] = [24, 23];

pub(crate) fn has_no_descriptor(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| NO_DESCRIPTOR.contains(&code))
}

/// Whether an error means that there is no room: no bytes, no quota, or no file descriptor.
pub fn is_full(error: &io::Error) -> bool {
    has_no_descriptor(error)
        || matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The error of a sync, which means the same whatever it is called.
pub fn of_sync(error: io::Error) -> io::Error {
    if is_full(&error) { io::Error::other(error.to_string()) } else { error }
}

/// What is known of the room.
#[derive(Debug)]
pub(crate) struct Watch {
    room: Room,
    /// Until then appends are refused.
    try_at: Option<Instant>,
    probe_at: Instant,
    /// Whether somebody has still to be told.
    news: bool,
}

impl Default for Watch {
    fn default() -> Self {
        Self { room: Room::Enough, try_at: None, probe_at: Instant(0), news: false }
    }
}

impl Watch {
    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// Whether an append is refused without a look at the disk.
    pub(crate) fn holds_back(&self, now: Instant) -> bool {
        self.try_at.is_some_and(|at| now < at)
    }

    /// Something found no room. True if that is news.
    pub(crate) fn found_none(&mut self, now: Instant, what: &str) -> bool {
        self.try_at = Some(now.after(TRY_EVERY));
        if self.room != Room::Enough {
            return false;
        }
        self.room = Room::Full { since: now, what: what.into() };
        self.probe_at = now.after(PROBE_EVERY);
        self.news = true;
        true
    }

    /// An append found room: the next one may try as well.
    pub(crate) fn found_some(&mut self) {
        self.try_at = None;
    }

    /// Whether it is time to look at a full disk.
    pub(crate) fn take_probe(&mut self, now: Instant) -> bool {
        let due = self.room != Room::Enough && now >= self.probe_at;
        if due {
            self.probe_at = now.after(PROBE_EVERY);
        }
        due
    }

    /// There is room again.
    pub(crate) fn is_over(&mut self) {
        self.news |= self.room != Room::Enough;
        (self.room, self.try_at) = (Room::Enough, None);
    }

    /// The room, if it is not as it was at the last call.
    pub(crate) fn take_news(&mut self) -> Option<Room> {
        std::mem::take(&mut self.news).then(|| self.room.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant(0).after(Duration::from_millis(millis))
    }

    #[test]
    fn a_full_disk_is_tried_ten_times_a_second_and_told_once() {
        let mut watch = Watch::default();
        assert!(!watch.holds_back(at(0)));

        assert!(watch.found_none(at(5), "append"));
        assert!(watch.holds_back(at(104)) && !watch.holds_back(at(105)));
        assert!(!watch.found_none(at(105), "append"));
        assert!(watch.holds_back(at(204)));

        let told = watch.take_news();
        assert_eq!(told, Some(Room::Full { since: at(5), what: "append".into() }));
        assert_eq!(watch.take_news(), None);
    }

    #[test]
    fn a_little_room_lets_appends_in_and_only_a_look_ends_it() {
        let mut watch = Watch::default();
        watch.found_none(at(0), "append");
        watch.take_news();

        watch.found_some();
        assert!(!watch.holds_back(at(1)));
        assert_ne!(watch.room(), &Room::Enough);
        assert!(!watch.take_probe(at(999)) && watch.take_probe(at(1_000)));
        assert!(!watch.take_probe(at(1_999)) && watch.take_probe(at(2_000)));

        watch.is_over();
        assert_eq!(watch.take_news(), Some(Room::Enough));
        assert!(!watch.take_probe(at(9_000)));
    }

    #[test]
    fn a_failed_sync_never_means_that_the_disk_is_full() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            assert!(is_full(&kind.into()));
            assert!(!is_full(&of_sync(kind.into())));
        }
        assert!(!is_full(&io::Error::other("EIO")));
    }
}
