//! A consumer's half of a fetch session (KIP-227).
//!
//! Invariants: it names only what has changed since it named it last; after a request without an
//! answer it begins anew; what an answer leaves out counts as told, and is held against what clients
//! know: nothing was kept from the reader, and nobody was served twice while it waited.

use std::collections::{BTreeMap, BTreeSet};

use protocol::messages::fetch_request::{FetchRequest, ForgottenTopic};
use protocol::messages::fetch_response::FetchResponse;

use super::errors::{FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, NONE};
use crate::check::{Asked, History};
use crate::world::{Dice, World};

/// See the module.
#[derive(Default)]
pub struct Session {
    id: i32,
    /// Of the next request; 0: a new session is wanted.
    epoch: i32,
    /// Bytes that every request of the session asks for.
    bytes: i32,
    /// The offset that the broker was told last, by partition.
    known: BTreeMap<i32, i64>,
    /// The high watermark told last, by partition.
    watermarks: BTreeMap<i32, i64>,
    /// How often others were served while a partition had something to read.
    passed: BTreeMap<i32, usize>,
    /// Most partitions at a time.
    size: usize,
}

/// An answer as a session without one would have got it.
pub struct Heard {
    /// What it says.
    pub answer: FetchResponse,
    /// What it left out: partition and high watermark.
    pub left_out: Vec<(i32, i64)>,
}

impl Session {
    /// Makes a request that names everything one of this session.
    pub fn ask(&mut self, mut request: FetchRequest, dice: &mut Dice) -> FetchRequest {
        request.session_id = self.id;
        request.session_epoch = self.epoch;
        let Some(topic) = request.topics.first_mut() else { return request };
        let wanted: BTreeMap<i32, i64> =
            topic.partitions.iter().map(|part| (part.partition, part.fetch_offset)).collect();
        if self.epoch == 0 {
            // Often so few that one batch is all that fits.
            let most = if dice.chance(500) { 600 } else { 20_000 };
            self.bytes = i32::try_from(dice.between(64, most)).unwrap_or(64);
            self.known.clear();
            self.size = 0;
            self.watermarks.clear();
            self.passed.clear();
        }
        request.max_bytes = self.bytes;
        topic.partitions.iter_mut().for_each(|part| part.partition_max_bytes = self.bytes);
        let known = std::mem::take(&mut self.known);
        topic.partitions.retain(|part| known.get(&part.partition) != Some(&part.fetch_offset));
        let gone: Vec<i32> = known.keys().copied().filter(|at| !wanted.contains_key(at)).collect();
        let (name, topic_id) = (topic.topic.clone(), topic.topic_id);
        if topic.partitions.is_empty() {
            request.topics.clear();
        }
        for index in &gone {
            self.watermarks.remove(index);
            self.passed.remove(index);
        }
        if !gone.is_empty() {
            let topic = ForgottenTopic { topic: name, topic_id, partitions: gone };
            request.forgotten_topics_data = vec![topic];
        }
        self.size = self.size.max(wanted.len());
        self.known = wanted;
        request
    }

    /// There was no answer: whether the request was taken in is unknown.
    pub fn lost(&mut self) {
        self.epoch = 0;
    }

    /// Takes an answer in. `None`: the session is no more, and the next request makes another.
    pub fn hear(
        &mut self,
        (world, history): (&World, &History),
        answer: FetchResponse,
        asked: &Asked,
    ) -> Option<Heard> {
        let was_full = self.epoch == 0;
        if answer.error_code != NONE {
            // Requests of a session are sent one after the other, on whatever connection.
            let fits = !was_full && answer.error_code == FETCH_SESSION_ID_NOT_FOUND;
            world.check("errors", fits, || {
                let told = answer.error_code;
                format!("session {} in epoch {} was answered with {told}", self.id, self.epoch)
            });
            self.end(answer.error_code == INVALID_FETCH_SESSION_EPOCH);
            return None;
        }
        self.is_of_session(world, &answer, was_full);
        let left_out = self.holds_up((world, history), &answer, asked);
        let first = self.epoch.checked_add(1).unwrap_or(1);
        (self.id, self.epoch) = (answer.session_id, if answer.session_id == 0 { 0 } else { first });
        Some(Heard { answer, left_out })
    }

    /// Holds an answer against what there was to read. Returns what it left out.
    fn holds_up(
        &mut self,
        (world, history): (&World, &History),
        answer: &FetchResponse,
        asked: &Asked,
    ) -> Vec<(i32, i64)> {
        let parts: Vec<_> = answer.responses.iter().flat_map(|topic| &topic.partitions).collect();
        let named: BTreeSet<i32> = parts.iter().map(|part| part.partition_index).collect();
        let served: BTreeSet<i32> = parts
            .iter()
            .filter(|part| part.records.as_bytes().is_some_and(|bytes| !bytes.is_empty()))
            .map(|part| part.partition_index)
            .collect();
        for part in &parts {
            self.watermarks.insert(part.partition_index, part.high_watermark);
        }
        let failed: BTreeSet<i32> = parts
            .iter()
            .filter(|part| part.error_code != NONE)
            .map(|part| part.partition_index)
            .collect();
        let mut left_out = Vec::new();
        for (index, at) in &self.known {
            if !named.contains(index) {
                left_out.push((*index, self.watermarks.get(index).copied().unwrap_or(-1)));
            }
            let waits = !failed.contains(index) && history.has_more(world, (*index, *at), asked);
            if !waits || served.contains(index) {
                self.passed.remove(index);
                continue;
            }
            // Whoever has something is served, unless somebody else is.
            world.check("session-serves", !served.is_empty(), || {
                format!("{index}: a session serves nobody while there is something at {at}")
            });
            let passed = self.passed.entry(*index).or_default();
            // A session begins in the order of its first fetch, whoever was served by that.
            *passed += usize::from(self.epoch > 0);
            world.check("session-order", *passed < self.size.max(1), || {
                format!("{index}: others were served {passed} times since it waits at {at}")
            });
        }
        left_out
    }

    /// Holds the id of an answer against that of its request.
    fn is_of_session(&self, world: &World, answer: &FetchResponse, was_full: bool) {
        let id = answer.session_id;
        let fits = if was_full { id >= 0 } else { id == self.id };
        world.check("session-id", fits, || {
            format!("session {} in epoch {} was answered for session {id}", self.id, self.epoch)
        });
    }

    /// The next request makes another, and closes this one if it may still be there.
    fn end(&mut self, may_be_there: bool) {
        self.epoch = 0;
        if !may_be_there {
            self.id = 0;
        }
    }
}
