//! What waits for the disk: writes under way, and messages that promise what they make durable.
//!
//! Invariant: a message that promises something leaves once every write up to the one it waits for is
//! durable; one of an earlier term never leaves any more.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use base::BrokerId;

use crate::entry::{Index, Term};
use crate::message::Message;

/// Writes and what waits for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes {
    /// The number of the last write that was asked for.
    last: u64,
    /// Up to here all are durable.
    durable: u64,
    /// Where the log ended after each write under way, and the lowest cut since.
    ends: VecDeque<(u64, Index)>,
    /// Up to here the log is durable.
    durable_end: Index,
    waiting: VecDeque<(u64, BrokerId, Message)>,
}

/// Numbers of writes count from the last durable one: when a node was started makes no difference to
/// what it does.
impl Hash for Writes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let age = |number: u64| number.saturating_sub(self.durable);
        (age(self.last), self.durable_end).hash(state);
        self.ends.iter().for_each(|(number, end)| (age(*number), end).hash(state));
        self.waiting.iter().for_each(|(number, to, message)| {
            (age(*number), to, message).hash(state);
        });
    }
}

impl Writes {
    /// How many writes after the last durable one `number` is.
    pub(crate) fn age(&self, number: u64) -> u64 {
        number.saturating_sub(self.durable)
    }

    /// Of a log that was found on the disk.
    pub(crate) fn found(end: Index) -> Self {
        Self { durable_end: end, ..Self::default() }
    }

    /// The number of the last write that was asked for.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Whether everything that was asked for is durable.
    pub(crate) fn is_durable(&self, number: u64) -> bool {
        number <= self.durable
    }

    /// Up to here the log is durable.
    pub(crate) fn durable_end(&self) -> Index {
        self.durable_end
    }

    /// A further write: the log is kept up to `kept` and then ends at `end`.
    pub(crate) fn next(&mut self, kept: Index, end: Index) -> u64 {
        self.last += 1;
        // What is cut is not durable any more, whichever write made it so.
        self.durable_end = self.durable_end.min(kept);
        self.ends.iter_mut().for_each(|(_, end)| *end = (*end).min(kept));
        self.ends.push_back((self.last, end));
        self.last
    }

    /// Everything up to `number` is durable; what may leave now.
    pub(crate) fn persisted(&mut self, number: u64) -> Vec<(BrokerId, Message)> {
        self.durable = self.durable.max(number.min(self.last));
        while let Some((_, end)) = self.ends.pop_front_if(|(at, _)| *at <= self.durable) {
            self.durable_end = self.durable_end.max(end);
        }
        let mut leave = Vec::new();
        while let Some((_, to, message)) = self.waiting.pop_front_if(|(at, ..)| *at <= self.durable)
        {
            leave.push((to, message));
        }
        leave
    }

    /// Lets a message leave once everything asked for so far is durable.
    pub(crate) fn wait(&mut self, to: BrokerId, message: Message) {
        // Whoever hears the same again while the disk is slow answers once.
        let again = self.waiting.iter().any(|(_, other, said)| *other == to && *said == message);
        if !again {
            self.waiting.push_back((self.last, to, message));
        }
    }

    /// Takes back what was promised in terms before this one.
    pub(crate) fn forget_before(&mut self, term: Term) {
        self.waiting.retain(|(.., message)| message.term >= term);
    }
}
