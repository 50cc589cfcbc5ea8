//! Which offset a key was last seen at, in a bounded number of bytes.
//!
//! Invariants: a key is known by a 128-bit hash under a seed that nobody outside can know, so keys
//! cannot be chosen to collide; the map never takes more than it was given, and says so before it
//! would. Ours; Kafka's has the same shape with MD5.

use base::Offset;
use twox_hash::XxHash3_128;

/// Bytes of a slot: a hash and an offset.
const SLOT_BYTES: usize = 24;
/// Slots of a fresh map.
const SLOTS_MIN: usize = 64;
/// Slots in use, of every 10, before the map grows.
const LOAD_OF_TEN: usize = 8;
const FREE: i64 = -1;

/// Keys and the highest offset of each.
#[derive(Clone, Debug)]
pub struct OffsetMap {
    seed: u64,
    slots_max: usize,
    used: usize,
    hashes: Vec<u128>,
    offsets: Vec<i64>,
}

impl OffsetMap {
    /// An empty map that takes at most `bytes_max` bytes (`log.cleaner.dedupe.buffer.size`), but
    /// room for fifty keys in any case; `seed` is a random number.
    pub fn new(seed: u64, bytes_max: usize) -> Self {
        let most = (bytes_max / SLOT_BYTES).max(SLOTS_MIN);
        // A power of two, so that a mask finds the slot.
        let slots_max = 1 << most.ilog2();
        let (hashes, offsets) = (vec![0; SLOTS_MIN], vec![FREE; SLOTS_MIN]);
        Self { seed, slots_max, used: 0, hashes, offsets }
    }

    /// How many keys are in it.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether no key is in it.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// How many more keys fit for certain.
    pub fn room(&self) -> usize {
        Self::limit(self.slots_max).saturating_sub(self.used)
    }

    /// Notes that `key` is at `offset`; a lower offset changes nothing. False, and nothing noted,
    /// if the key is new and there is no room.
    #[must_use]
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let mut at = self.slot(hash);
        if self.offsets[at] == FREE {
            if self.room() == 0 {
                return false;
            }
            if self.used >= Self::limit(self.offsets.len()) {
                self.grow();
                at = self.slot(hash);
            }
            self.hashes[at] = hash;
            self.used += 1;
        }
        self.offsets[at] = self.offsets[at].max(offset.0);
        true
    }

    /// The highest offset noted for `key`.
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let found = self.offsets[self.slot(self.hash(key))];
        (found != FREE).then_some(Offset(found))
    }

    fn limit(slots: usize) -> usize {
        slots / 10 * LOAD_OF_TEN
    }

    fn hash(&self, key: &[u8]) -> u128 {
        XxHash3_128::oneshot_with_seed(self.seed, key)
    }

    /// The slot of this hash, or the free one where it would be.
    fn slot(&self, hash: u128) -> usize {
        let mask = self.offsets.len() - 1;
        let mut at = place(hash) & mask;
        while self.offsets[at] != FREE && self.hashes[at] != hash {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let slots = self.offsets.len() * 2;
        let hashes = std::mem::replace(&mut self.hashes, vec![0; slots]);
        let offsets = std::mem::replace(&mut self.offsets, vec![FREE; slots]);
        for (hash, offset) in hashes.into_iter().zip(offsets) {
            if offset != FREE {
                let at = self.slot(hash);
                self.hashes[at] = hash;
                self.offsets[at] = offset;
            }
        }
    }
}

/// Where the hash would like to be; 31 bits are enough for every table that fits in memory.
fn place(hash: u128) -> usize {
    let [a, b, c, d, ..] = hash.to_le_bytes();
    usize::try_from(u32::from_le_bytes([a, b, c, d]) >> 1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_the_highest_offset_of_every_key(
            puts in prop::collection::vec((0..400_u32, 0..10_000_i64), 0..1_500),
            seed in any::<u64>(),
        ) {
            let mut map = OffsetMap::new(seed, 1 << 20);
            let mut model: BTreeMap<u32, i64> = BTreeMap::new();
            for (key, offset) in puts {
                prop_assert!(map.put(&key.to_be_bytes(), Offset(offset)));
                let known = model.entry(key).or_insert(offset);
                *known = offset.max(*known);
            }
            prop_assert_eq!(map.len(), model.len());
            for key in 0..400_u32 {
                let wanted = model.get(&key).map(|offset| Offset(*offset));
                prop_assert_eq!(map.get(&key.to_be_bytes()), wanted);
            }
        }
    }

    #[test]
    fn a_full_map_refuses_new_keys_and_takes_known_ones() {
        let mut map = OffsetMap::new(1, 100 * SLOT_BYTES);
        let mut taken = 0_i64;
        while map.put(&taken.to_be_bytes(), Offset(taken)) {
            taken += 1;
        }

        assert_eq!((map.len(), map.room()), (48, 0));
        assert_eq!(map.get(&taken.to_be_bytes()), None);
        assert!(map.put(&7_i64.to_be_bytes(), Offset(1_000)));
        assert_eq!(map.get(&7_i64.to_be_bytes()), Some(Offset(1_000)));
    }
}
