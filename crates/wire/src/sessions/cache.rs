//! Which fetch sessions there are, and which one makes room for another.
//!
//! Owns: ids, ages and weights of all sessions. Invariants: at most so many sessions and so many
//! bytes; an id is never 0 and never given twice at a time; a session gives way to another only if it
//! has not been used for long, or if it is old and has fewer partitions, or to a follower's if it is a
//! client's. Pure: time and chance come from outside. Source: KIP-227; ADR 0025.

use std::collections::{BTreeMap, BTreeSet};

use base::{Duration, Instant};

use super::session::Weight;

/// Bounds of the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Sessions.
    pub(crate) slots: usize,
    /// Memory of all sessions.
    pub(crate) bytes: usize,
    /// How long a session is safe from others, after it was made and after it was used.
    pub(crate) idle: Duration,
}

/// What there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounts {
    /// Sessions.
    pub sessions: usize,
    /// Partitions in them.
    pub partitions: usize,
    /// An upper bound of their memory, in bytes.
    pub bytes: usize,
    /// Sessions that made room for others since the start.
    pub evicted: u64,
}

/// How dear a session is: followers' before clients', large before small.
type Worth = (bool, usize, i32);

#[derive(Debug)]
struct Entry<T> {
    session: T,
    privileged: bool,
    made: Instant,
    used: Instant,
    weight: Weight,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    limits: Limits,
    entries: BTreeMap<i32, Entry<T>>,
    by_use: BTreeSet<(Instant, i32)>,
    /// Sessions that a follower's may take the place of.
    under_followers: BTreeSet<Worth>,
    /// Sessions that any may take the place of.
    under_all: BTreeSet<Worth>,
    counts: SessionCounts,
}

impl<T: Clone> Cache<T> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            by_use: BTreeSet::new(),
            under_followers: BTreeSet::new(),
            under_all: BTreeSet::new(),
            counts: SessionCounts::default(),
        }
    }

    pub(crate) fn counts(&self) -> SessionCounts {
        self.counts
    }

    pub(crate) fn get(&self, id: i32) -> Option<T> {
        self.entries.get(&id).map(|entry| entry.session.clone())
    }

    /// Makes a session if there is room or another has to give way. `chance` is any number.
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        chance: u64,
        (privileged, weight): (bool, Weight),
        make: impl FnOnce() -> T,
    ) -> Option<(i32, T)> {
        let has_slot = self.entries.len() < self.limits.slots
            || self.evict(now, (privileged, weight.partitions, 0));
        if !has_slot || !self.fits(now, weight.bytes) {
            return None;
        }
        let id = self.free_id(chance);
        let session = make();
        let entry = Entry {
            session: session.clone(),
            privileged,
            made: now,
            used: now,
            weight: Weight::default(),
        };
        self.entries.insert(id, entry);
        self.counts.sessions = self.entries.len();
        self.used(id, weight, now);
        Some((id, session))
    }

    /// A session was used and weighs as much as said. Returns `false`, and the session is gone, if
    /// that is more than there is room for.
    pub(crate) fn touch(&mut self, id: i32, weight: Weight, now: Instant) -> bool {
        let Some(entry) = self.entries.get(&id) else {
            // It gave way meanwhile; the answer under way is its last.
            return true;
        };
        let more = weight.bytes.saturating_sub(entry.weight.bytes);
        self.used(id, weight, now);
        if more > 0 && !self.fits(now, 0) {
            self.remove(id);
            return false;
        }
        true
    }

    /// Whether there was such a session, which is gone now.
    pub(crate) fn remove(&mut self, id: i32) -> bool {
        let Some(entry) = self.entries.remove(&id) else { return false };
        self.by_use.remove(&(entry.used, id));
        self.unrank((entry.privileged, entry.weight.partitions, id));
        self.counts.sessions = self.entries.len();
        self.counts.partitions = self.counts.partitions.saturating_sub(entry.weight.partitions);
        self.counts.bytes = self.counts.bytes.saturating_sub(entry.weight.bytes);
        true
    }

    fn used(&mut self, id: i32, weight: Weight, now: Instant) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let (used, old) = (entry.used, entry.weight);
        (entry.used, entry.weight) = (now, weight);
        let (privileged, is_old) = (entry.privileged, now.since(entry.made) > self.limits.idle);
        self.by_use.remove(&(used, id));
        self.by_use.insert((now, id));
        self.unrank((privileged, old.partitions, id));
        let worth = (privileged, weight.partitions, id);
        if !privileged || is_old {
            self.under_followers.insert(worth);
        }
        if is_old {
            self.under_all.insert(worth);
        }
        let counts = &mut self.counts;
        counts.partitions =
            counts.partitions.saturating_sub(old.partitions).saturating_add(weight.partitions);
        counts.bytes = counts.bytes.saturating_sub(old.bytes).saturating_add(weight.bytes);
    }

    fn unrank(&mut self, worth: Worth) {
        self.under_followers.remove(&worth);
        self.under_all.remove(&worth);
    }

    /// Whether one session gave way to one that is worth so much.
    fn evict(&mut self, now: Instant, worth: Worth) -> bool {
        if self.evict_unused(now) {
            return true;
        }
        let below = if worth.0 { &self.under_followers } else { &self.under_all };
        match below.first().copied() {
            // An id is never 0, so one that is as large does not do.
            Some(least) if worth > least => self.give_way(least.2),
            Some(_) | None => false,
        }
    }

    fn evict_unused(&mut self, now: Instant) -> bool {
        match self.by_use.first().copied() {
            Some((used, id)) if now.since(used) > self.limits.idle => self.give_way(id),
            Some(_) | None => false,
        }
    }

    fn give_way(&mut self, id: i32) -> bool {
        let gone = self.remove(id);
        self.counts.evicted = self.counts.evicted.saturating_add(u64::from(gone));
        gone
    }

    /// Whether so many bytes more have room, once those that are not used any more are gone.
    fn fits(&mut self, now: Instant, more: usize) -> bool {
        loop {
            if self.counts.bytes.saturating_add(more) <= self.limits.bytes {
                return true;
            }
            if !self.evict_unused(now) {
                return false;
            }
        }
    }

    fn free_id(&self, chance: u64) -> i32 {
        const IDS: u64 = i32::MAX.unsigned_abs() as u64;
        let mut id = i32::try_from(chance % IDS).unwrap_or(0).saturating_add(1);
        // Ends, for there are fewer sessions than ids.
        while self.entries.contains_key(&id) {
            id = id.checked_add(1).unwrap_or(1);
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(120);
    const PARTITION: usize = 10;

    fn cache(slots: usize, partitions: usize) -> Cache<()> {
        Cache::new(Limits { slots, bytes: partitions * PARTITION, idle: IDLE })
    }

    fn at(seconds: u64) -> Instant {
        Instant(0).after(Duration::from_secs(seconds))
    }

    fn weight(partitions: usize) -> Weight {
        Weight { partitions, bytes: partitions * PARTITION }
    }

    fn admit(cache: &mut Cache<()>, seconds: u64, size: usize) -> Option<i32> {
        cache.admit(at(seconds), seconds, (false, weight(size)), || ()).map(|(id, ())| id)
    }

    fn admit_follower(cache: &mut Cache<()>, seconds: u64, size: usize) -> Option<i32> {
        cache.admit(at(seconds), seconds, (true, weight(size)), || ()).map(|(id, ())| id)
    }

    #[test]
    fn ids_are_positive_and_never_the_same_twice() {
        let mut cache = cache(4, 100);
        let last = u64::from(i32::MAX.unsigned_abs()) - 1;
        let mut id = |chance| cache.admit(at(0), chance, (false, weight(1)), || ()).unwrap().0;

        assert_eq!([id(last), id(last), id(0), id(u64::MAX)], [i32::MAX, 1, 2, 4]);
    }

    #[test]
    fn a_full_cache_makes_no_session_while_all_are_young_and_used() {
        let mut cache = cache(2, 100);
        assert_eq!([admit(&mut cache, 0, 1), admit(&mut cache, 0, 1)], [Some(1), Some(2)]);

        assert_eq!(admit(&mut cache, 120, 50), None);
        assert_eq!(cache.counts().sessions, 2);
        assert_eq!(cache.counts().evicted, 0);
    }

    #[test]
    fn without_slots_there_are_no_sessions() {
        assert_eq!(admit(&mut cache(0, 100), 0, 1), None);
    }

    #[test]
    fn what_was_not_used_for_two_minutes_gives_way_to_anything() {
        let mut cache = cache(2, 100);
        let (old, used) = (admit(&mut cache, 0, 9).unwrap(), admit(&mut cache, 0, 1).unwrap());
        assert!(cache.touch(used, weight(1), at(60)));

        assert_eq!(admit(&mut cache, 120, 1), None, "not more than two minutes");
        assert!(admit(&mut cache, 121, 1).is_some());
        assert_eq!((cache.get(old), cache.get(used)), (None, Some(())));
        assert_eq!(cache.counts().evicted, 1);
    }

    #[test]
    fn an_old_session_gives_way_to_a_larger_one_and_the_smallest_does_first() {
        let mut cache = cache(2, 100);
        let (large, small) = (admit(&mut cache, 0, 9).unwrap(), admit(&mut cache, 0, 3).unwrap());
        for id in [large, small] {
            let size = if id == large { 9 } else { 3 };
            assert!(cache.touch(id, weight(size), at(100)));
        }
        assert_eq!(admit(&mut cache, 121, 80), None, "they were young when they were used last");
        assert!(cache.touch(large, weight(9), at(122)));
        assert!(cache.touch(small, weight(3), at(122)));

        assert_eq!(admit(&mut cache, 123, 3), None, "no larger than the smallest");
        assert!(admit(&mut cache, 123, 4).is_some());
        assert_eq!((cache.get(large), cache.get(small)), (Some(()), None));
    }

    #[test]
    fn a_follower_takes_a_clients_place_at_once_and_a_client_never_a_followers() {
        let mut cache = cache(1, 100);
        let client = admit(&mut cache, 0, 50).unwrap();
        let follower = admit_follower(&mut cache, 1, 1).unwrap();
        assert_eq!(cache.get(client), None);

        assert_eq!(admit_follower(&mut cache, 2, 9), None, "the other follower's is young");
        assert!(cache.touch(follower, weight(1), at(122)));
        assert_eq!(admit(&mut cache, 123, 99), None, "whatever its size");
        assert!(admit_follower(&mut cache, 123, 9).is_some());
    }

    #[test]
    fn no_session_takes_more_memory_than_there_is() {
        let mut cache = cache(9, 10);
        let first = admit(&mut cache, 0, 6).unwrap();
        assert_eq!(admit(&mut cache, 0, 5), None);
        let second = admit(&mut cache, 0, 4).unwrap();
        assert_eq!(cache.counts().bytes, 10 * PARTITION);

        assert!(cache.touch(first, weight(5), at(1)), "it may shrink");
        assert!(cache.touch(second, weight(5), at(1)), "and another take its room");
        assert!(!cache.touch(second, weight(6), at(1)), "but not more");
        assert_eq!(cache.get(second), None);
        let counts = SessionCounts { sessions: 1, partitions: 5, bytes: 50, evicted: 0 };
        assert_eq!(cache.counts(), counts);
        assert!(admit(&mut cache, 122, 9).is_some(), "what is not used makes room");
    }

    #[test]
    fn a_session_that_gave_way_may_still_answer() {
        let mut cache = cache(1, 10);
        let id = admit(&mut cache, 0, 1).unwrap();
        assert!(cache.remove(id));
        assert!(!cache.remove(id));

        assert!(cache.touch(id, weight(1), at(1)));
        assert_eq!(cache.counts(), SessionCounts::default());
    }
}
