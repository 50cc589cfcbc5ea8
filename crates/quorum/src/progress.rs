//! What a leader knows of another node.

use base::Instant;

use crate::entry::Index;

/// How far one node is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Progress {
    /// Its log agrees with the leader's up to here, durably.
    pub(crate) matched: Index,
    /// The next entry to send.
    pub(crate) next: Index,
    /// It is not known where its log agrees: one message at a time.
    pub(crate) probing: bool,
    /// Messages with entries under way.
    pub(crate) in_flight: usize,
    /// It answered since the last heartbeat.
    pub(crate) answered: bool,
    /// When it was last heard of.
    pub(crate) alive_at: Instant,
    /// The last round that it answered.
    pub(crate) alive_round: u64,
    /// It is fed a snapshot, of which it has so many bytes.
    pub(crate) chunk: Option<u64>,
}

impl Progress {
    /// Of a node of which nothing is known but that it is there.
    pub(crate) fn unknown(next: Index, now: Instant) -> Self {
        Self {
            matched: Index(0),
            next,
            probing: true,
            in_flight: 0,
            answered: true,
            alive_at: now,
            alive_round: 0,
            chunk: None,
        }
    }

    /// It has everything up to `index`.
    pub(crate) fn has_matched(&mut self, index: Index) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.probing = false;
        self.answered = true;
        self.chunk = None;
        self.matched = self.matched.max(index);
        self.next = self.next.max(self.matched.next());
    }

    /// Its log agrees at most up to `hint`. What it said before may be gone with its disk.
    pub(crate) fn lacks(&mut self, hint: Index) {
        self.in_flight = 0;
        self.probing = true;
        self.answered = true;
        self.matched = self.matched.min(hint);
        self.next = hint.next();
    }
}
