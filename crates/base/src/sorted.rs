//! A sorted map for many small entries that mostly come in order.
//!
//! A `BTreeMap` splits a full node in the middle, so keys that come in order leave every node half
//! empty. Here the entries lie in chunks, and a full chunk is split where the new entry goes, so that
//! what comes in order fills every chunk.
//! Invariants: keys rise strictly over all chunks; no chunk is empty or has more than [`CHUNK`]
//! entries; a chunk's `floor` is above every key before the chunk and above none in it; two
//! neighbours have more than [`TOGETHER`] entries together.

use std::fmt;

/// Entries of a chunk, at most: few enough to be moved for an insertion.
const CHUNK: usize = 64;
/// Neighbours with at most this many entries together become one chunk.
const TOGETHER: usize = CHUNK / 2;

/// A sorted map. A look-up is a binary search; an insertion or a removal moves at most [`CHUNK`]
/// entries, and now and then the list of chunks.
#[derive(Clone)]
pub struct SortedMap<K, V> {
    chunks: Vec<Chunk<K, V>>,
    len: usize,
}

#[derive(Clone)]
struct Chunk<K, V> {
    /// Kept beside the entries, so that a look-up goes into one chunk only.
    floor: K,
    entries: Vec<(K, V)>,
}

/// Where a key is, or belongs.
#[derive(Clone, Copy)]
struct Place {
    chunk: usize,
    entry: usize,
    is_there: bool,
}

impl<K: Copy + Ord, V> SortedMap<K, V> {
    /// One without an entry.
    pub const fn new() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn place(&self, key: &K) -> Place {
        let after = self.chunks.partition_point(|chunk| chunk.floor <= *key);
        let chunk = after.saturating_sub(1);
        let entries = self.chunks.get(chunk).map(|chunk| chunk.entries.as_slice());
        match entries.unwrap_or_default().binary_search_by(|(known, _)| known.cmp(key)) {
            Ok(entry) => Place { chunk, entry, is_there: true },
            Err(entry) => Place { chunk, entry, is_there: false },
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let place = self.place(key);
        let (_, value) = self.chunks.get(place.chunk)?.entries.get(place.entry)?;
        place.is_there.then_some(value)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.place(key);
        let (_, value) = self.chunks.get_mut(place.chunk)?.entries.get_mut(place.entry)?;
        place.is_there.then_some(value)
    }

    /// Whether the key has a value.
    pub fn contains_key(&self, key: &K) -> bool {
        self.place(key).is_there
    }

    /// Gives the key a value. Returns the one that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Place { chunk: at, entry, is_there } = self.place(&key);
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push(Chunk { floor: key, entries: vec![(key, value)] });
            self.len = 1;
            return None;
        };
        if let Some((_, known)) = chunk.entries.get_mut(entry).filter(|_| is_there) {
            return Some(std::mem::replace(known, value));
        }
        self.len += 1;
        if chunk.entries.len() < CHUNK {
            chunk.floor = chunk.floor.min(key);
            chunk.entries.insert(entry, (key, value));
            return None;
        }
        let behind = chunk.entries.split_off(entry);
        if let Some(floor) = behind.first().map(|(first, _)| *first) {
            chunk.floor = chunk.floor.min(key);
            chunk.entries.push((key, value));
            self.chunks.insert(at + 1, Chunk { floor, entries: behind });
            self.join(at + 1);
            self.join_with_last(at);
        } else {
            // Behind a full chunk: more is to come.
            let mut entries = Vec::with_capacity(CHUNK);
            entries.push((key, value));
            self.chunks.insert(at + 1, Chunk { floor: key, entries });
            self.join(at + 1);
        }
        None
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let Place { chunk: at, entry, is_there } = self.place(key);
        let chunk = self.chunks.get_mut(at).filter(|_| is_there)?;
        let (_, value) = chunk.entries.remove(entry);
        self.len -= 1;
        if chunk.entries.is_empty() {
            self.chunks.remove(at);
        } else {
            self.join(at);
            self.join_with_last(at);
        }
        Some(value)
    }

    fn join_with_last(&mut self, at: usize) {
        if let Some(last) = at.checked_sub(1) {
            self.join(last);
        }
    }

    /// Makes one of a chunk and the next one, if both are small.
    fn join(&mut self, at: usize) {
        let Some([left, right]) = self.chunks.get_mut(at..).and_then(|rest| rest.get_mut(..2))
        else {
            return;
        };
        if left.entries.len() + right.entries.len() <= TOGETHER {
            left.entries.append(&mut right.entries);
            self.chunks.remove(at + 1);
        }
    }

    /// The entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let entries = self.chunks.iter().flat_map(|chunk| &chunk.entries);
        entries.map(|(key, value)| (key, value))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The values, to be changed, in the order of their keys.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let entries = self.chunks.iter_mut().flat_map(|chunk| &mut chunk.entries);
        entries.map(|(_, value)| value)
    }
}

impl<K: Copy + Ord, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Copy + Ord, V> FromIterator<(K, V)> for SortedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

impl<K: Copy + Ord, V: PartialEq> PartialEq for SortedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Copy + Ord, V: Eq> Eq for SortedMap<K, V> {}

impl<K: Copy + Ord + fmt::Debug, V: fmt::Debug> fmt::Debug for SortedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl<K: Copy + Ord, V> SortedMap<K, V> {
        fn check(&self) {
            let lens = self.chunks.iter().map(|chunk| chunk.entries.len());
            assert_eq!(lens.clone().sum::<usize>(), self.len);
            assert!(
                lens.clone().all(|len| (1..=CHUNK).contains(&len)),
                "{:?}",
                lens.collect::<Vec<_>>()
            );
            let keys: Vec<K> = self.keys().copied().collect();
            assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
            for chunk in &self.chunks {
                assert!(chunk.floor <= chunk.entries[0].0);
            }
            for pair in self.chunks.windows(2) {
                assert!(pair[0].entries.last().unwrap().0 < pair[1].floor);
                assert!(pair[0].entries.len() + pair[1].entries.len() > TOGETHER);
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16),
        /// Keys from the first on, one after the other.
        InsertRun(u16, u16),
        Remove(u16),
        RemoveRun(u16, u16),
        Change(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = || 0..600_u16;
        let run = || (key(), 1..300_u16);
        prop_oneof![
            key().prop_map(Step::Insert),
            run().prop_map(|(from, count)| Step::InsertRun(from, count)),
            key().prop_map(Step::Remove),
            run().prop_map(|(from, count)| Step::RemoveRun(from, count)),
            key().prop_map(Step::Change),
        ]
    }

    fn carry_out(
        step: &Step,
        number: usize,
        map: &mut SortedMap<u16, usize>,
        model: &mut BTreeMap<u16, usize>,
    ) {
        match *step {
            Step::Insert(key) => assert_eq!(map.insert(key, number), model.insert(key, number)),
            Step::InsertRun(from, count) => {
                for key in from..from + count {
                    assert_eq!(map.insert(key, number), model.insert(key, number));
                }
            },
            Step::Remove(key) => assert_eq!(map.remove(&key), model.remove(&key)),
            Step::RemoveRun(from, count) => {
                for key in from..from + count {
                    assert_eq!(map.remove(&key), model.remove(&key));
                }
            },
            Step::Change(key) => {
                assert_eq!(map.contains_key(&key), model.contains_key(&key));
                assert_eq!(map.get(&key), model.get(&key));
                if let Some(value) = map.get_mut(&key) {
                    *value += 1;
                }
                if let Some(value) = model.get_mut(&key) {
                    *value += 1;
                }
            },
        }
    }

    proptest! {
        #[test]
        fn it_does_what_a_btree_map_does(steps in prop::collection::vec(step(), 0..60)) {
            let (mut map, mut model) = (SortedMap::new(), BTreeMap::new());
            for (number, step) in steps.iter().enumerate() {
                carry_out(step, number, &mut map, &mut model);
                map.check();
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
            }
            map.values_mut().chain(model.values_mut()).for_each(|value| *value += 1);
            prop_assert!(map.keys().eq(model.keys()) && map.values().eq(model.values()));
            // However it came to be.
            let again: SortedMap<_, _> = model.iter().rev().map(|(key, value)| (*key, *value)).collect();
            prop_assert_eq!(again, map);
        }
    }

    /// How many chunks there are, and how many there were if each was full.
    fn chunks(map: &SortedMap<(u32, u32), ()>) -> (usize, usize) {
        (map.chunks.len(), map.len().div_ceil(CHUNK))
    }

    #[test]
    fn keys_in_order_fill_every_chunk_wherever_they_come_in() {
        let mut map = SortedMap::new();
        for topic in [5, 9, 1, 7, 3] {
            for partition in 0..10_000 {
                map.insert((topic, partition), ());
            }
        }
        map.check();
        let (chunks, full) = chunks(&map);
        assert!(chunks <= full + 10, "{chunks} chunks, not {full}");
    }

    #[test]
    fn what_is_taken_out_gives_its_room_back() {
        let mut map: SortedMap<_, _> = (0..10_000)
            .flat_map(|partition| [((0, partition), ()), ((1, partition), ())])
            .collect();
        for partition in 0..10_000 {
            map.remove(&(0, partition));
            if partition % 16 > 0 {
                map.remove(&(1, partition));
            }
        }
        map.check();
        let (chunks, full) = chunks(&map);
        assert!(chunks <= 4 * full + 1, "{chunks} chunks, not {full}");
        for partition in 0..10_000 {
            map.remove(&(1, partition));
        }
        assert_eq!((map.len(), map.chunks.len()), (0, 0));
    }
}
