//! The flight recorder: what the cores took in lately, in a ring of bounded size.
//!
//! Owns: the ring. Invariants: it holds at most `gregor.flight.recorder.bytes`, the latest entries;
//! recording decides nothing, so that a broker with a recorder does what one without does; a text is
//! made only if it is kept, and its beginning only if it is long.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Write};

use base::trace::{Entry, Kind};
use base::{Instant, Probe};
use env::{Lock, Rank};

/// Taken under any other lock.
const RING_RANK: Rank = Rank(250);
/// Bytes of a text that are kept.
const TEXT_MAX: usize = 240;

/// See the module head.
#[derive(Debug)]
pub(crate) struct Recorder {
    bytes_max: usize,
    ring: Lock<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Entry>,
    bytes: usize,
    dropped: u64,
}

impl Recorder {
    /// One that keeps so many bytes; with 0 it keeps nothing.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, ring: Lock::new(RING_RANK, Ring::default()) }
    }

    /// Keeps what happened.
    pub(crate) fn record(&self, now: Instant, kind: Kind, what: &dyn Debug, probe: &impl Probe) {
        if self.bytes_max == 0 {
            return;
        }
        // Planted: the ring has no end.
        let keeps_all = probe.mutant("recorder_keeps_all");
        let bytes_max = if keeps_all { usize::MAX } else { self.bytes_max };
        let mut ring = self.ring.lock();
        // The text of an entry that goes is written over, so that a full ring allocates nothing.
        let mut text = ring.make_room(bytes_max);
        text.clear();
        let mut brief = Brief(&mut text);
        if write!(brief, "{what:?}").is_err() {
            text.push('\u{2026}');
        }
        ring.push(Entry { at: now.0, kind, text });
    }

    /// What is kept, and how many entries are gone.
    pub(crate) fn taken(&self) -> (Vec<Entry>, u64) {
        let ring = self.ring.lock();
        (ring.entries.iter().cloned().collect(), ring.dropped)
    }
}

impl Ring {
    /// Drops the oldest until one more has room; a text that may be used again.
    fn make_room(&mut self, bytes_max: usize) -> String {
        let mut text = String::new();
        while self.bytes + LARGEST > bytes_max {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= len_bytes(&oldest);
            self.dropped += 1;
            text = oldest.text;
        }
        text
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += len_bytes(&entry);
        self.entries.push_back(entry);
    }
}

/// What an entry takes at most: the cut mark is three bytes, and a text may have twice its length
/// as room.
const LARGEST: usize = size_of::<Entry>() + 2 * (TEXT_MAX + 3);

fn len_bytes(entry: &Entry) -> usize {
    size_of::<Entry>() + entry.text.capacity()
}

/// Refuses to become too long, at the end of a character.
struct Brief<'a>(&'a mut String);

impl Write for Brief<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = TEXT_MAX - self.0.len();
        let cut = text.floor_char_boundary(room);
        self.0.push_str(&text[..cut]);
        if cut < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant(nanos)
    }

    #[test]
    fn the_latest_entries_are_kept_within_the_bound_and_the_others_are_counted() {
        let recorder = Recorder::new(8 * 1024);
        for nanos in 0..1000 {
            recorder.record(
                at(nanos),
                Kind::Group,
                &"x".repeat(usize::try_from(nanos).unwrap()),
                &(),
            );
        }
        let (entries, dropped) = recorder.taken();
        let bytes: usize = recorder.ring.lock().entries.iter().map(len_bytes).sum();
        assert!(bytes <= 8 * 1024 && bytes > 4 * 1024, "{bytes}");
        assert_eq!(entries.len() as u64 + dropped, 1000);
        let times: Vec<u64> = entries.iter().map(|entry| entry.at).collect();
        assert_eq!(times, (dropped..1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_long_text_keeps_its_beginning_and_ends_with_a_character() {
        let recorder = Recorder::new(64 * 1024);
        recorder.record(at(1), Kind::Boot, &"ä".repeat(500), &());
        let text = recorder.taken().0.remove(0).text;
        assert!(text.starts_with("\"ää") && text.ends_with("ä\u{2026}"), "{text}");
        assert!(text.len() <= TEXT_MAX + 3, "{}", text.len());
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let recorder = Recorder::new(0);
        recorder.record(at(1), Kind::Boot, &"text", &());
        assert_eq!(recorder.taken(), (Vec::new(), 0));
    }
}
