//! What happened, as a hash always and event by event when asked.
//!
//! Invariant: the hash covers every `Env` call (time, node, kind, target, offset, length, result)
//! and every network frame both ways; text and remarks are never part of it, so that keeping events
//! changes nothing.

use std::collections::VecDeque;
use std::fmt;

/// One thing that happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Note {
    /// Which node, `None` for the world itself.
    pub node: Option<usize>,
    /// What, a short word.
    pub kind: &'static str,
    /// On what: an inode, a connection, a digest of a path.
    pub target: u64,
    /// Where in it, bytes.
    pub offset: u64,
    /// How much, bytes.
    pub len: u64,
    /// What came of it: 0 is success, else a digest of the error or of the bytes read.
    pub result: u64,
}

/// A note or a remark, and when.
#[derive(Clone, Debug)]
pub struct Event {
    /// Simulated nanoseconds.
    pub at: u64,
    /// What.
    pub note: Note,
    /// The same for people; may be empty.
    pub text: String,
}

impl fmt::Display for Event {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let note = &self.note;
        let who = note.node.map_or_else(|| "world".to_owned(), |node| format!("n{node}"));
        write!(to, "{:>13.6} {who:<5} {:<9}", seconds(self.at), note.kind)?;
        if !self.text.is_empty() {
            write!(to, " {}", self.text)?;
        }
        write!(to, " {:x?}", (note.target, note.offset, note.len, note.result))
    }
}

/// The running hash and, if kept, the events.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    count: u64,
    events: Option<VecDeque<Event>>,
    /// Events that had to go.
    dropped: u64,
}

impl Trace {
    /// Events that are kept at most, the last ones: some 200 MB.
    pub const EVENTS_MAX: usize = 1_000_000;

    /// An empty trace that keeps its events or not.
    pub fn new(keep: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, count: 0, events: keep.then(VecDeque::new), dropped: 0 }
    }

    /// Adds `note`, which happened at `now` (nanoseconds); `text` is asked only if events are kept.
    pub fn add(&mut self, now: u64, note: &Note, text: impl FnOnce() -> String) {
        self.count += 1;
        let node = note.node.map_or(u64::MAX, |node| u64::try_from(node).unwrap_or(u64::MAX));
        let kind = super::digest(note.kind.as_bytes());
        for word in [now, node, kind, note.target, note.offset, note.len, note.result] {
            self.hash = mix(self.hash, word);
        }
        self.remark(now, note, text);
    }

    /// Keeps something for people that is not part of the hash, if events are kept.
    pub fn remark(&mut self, now: u64, note: &Note, text: impl FnOnce() -> String) {
        if let Some(events) = &mut self.events {
            if events.len() >= Self::EVENTS_MAX {
                drop(events.pop_front());
                self.dropped += 1;
            }
            events.push_back(Event { at: now, note: *note, text: text() });
        }
    }

    /// The hash over everything so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many notes were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The events, if they were kept, and how many came before the first of them.
    pub fn take_events(&mut self) -> (Vec<Event>, u64) {
        let events = self.events.as_mut().map(std::mem::take).unwrap_or_default();
        (events.into(), self.dropped)
    }
}

/// Nanoseconds as seconds, for people.
#[expect(clippy::cast_precision_loss, reason = "shown to people only")]
pub fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn mix(hash: u64, word: u64) -> u64 {
    let wide = u128::from(hash ^ word) * 0x9e37_79b9_7f4a_7c15_u128;
    let low = u64::try_from(wide & u128::from(u64::MAX)).unwrap_or(0);
    let high = u64::try_from(wide >> 64).unwrap_or(0);
    (low ^ high).rotate_left(23).wrapping_add(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(note: Note) -> u64 {
        let mut trace = Trace::new(false);
        trace.add(5, &note, String::new);
        trace.hash()
    }

    #[test]
    fn every_field_of_a_note_changes_the_hash() {
        let plain = Note { node: Some(1), kind: "read", ..Note::default() };

        let changed = [
            Note { node: None, ..plain },
            Note { kind: "write", ..plain },
            Note { target: 1, ..plain },
            Note { offset: 1, ..plain },
            Note { len: 1, ..plain },
            Note { result: 1, ..plain },
        ];

        assert!(changed.iter().all(|note| hash_of(*note) != hash_of(plain)));
    }

    #[test]
    fn keeping_events_and_remarks_does_not_change_the_hash() {
        let note = Note { kind: "read", ..Note::default() };
        let (mut quiet, mut chatty) = (Trace::new(false), Trace::new(true));
        quiet.add(1, &note, || "a".into());
        chatty.add(1, &note, || "b".into());
        chatty.remark(2, &note, || "c".into());

        assert_eq!(quiet.hash(), chatty.hash());
        assert_eq!((quiet.count(), chatty.count()), (1, 1));
        assert_eq!(chatty.take_events().0.len(), 2);
    }
}
