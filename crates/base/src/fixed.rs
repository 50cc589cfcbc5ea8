//! Hash maps with a fixed seed, for hot look-ups by trusted keys.
//!
//! Invariant: the hash of a key never differs between processes. They are still never iterated
//! (clippy's `iter_over_hash_type`); where order or hostile keys matter, use a `BTreeMap`.
#![expect(clippy::disallowed_types, reason = "the one place that names the std maps, re-seeded")]

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};

/// A hash map whose layout is the same in every run.
pub type FixedMap<K, V> = HashMap<K, V, FixedState>;
/// A hash set whose layout is the same in every run.
pub type FixedSet<K> = HashSet<K, FixedState>;

/// Builds hashers that all start from the same constant.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedState;

impl BuildHasher for FixedState {
    type Hasher = FixedHasher;

    fn build_hasher(&self) -> FixedHasher {
        FixedHasher(0x243f_6a88_85a3_08d3)
    }
}

/// Multiply-and-fold over 8-byte words with a constant seed.
#[derive(Clone, Copy, Debug)]
pub struct FixedHasher(u64);

impl FixedHasher {
    fn mix(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15_u128;
        let bytes = wide.to_le_bytes();
        let (mut low, mut high) = ([0; 8], [0; 8]);
        low.copy_from_slice(&bytes[..8]);
        high.copy_from_slice(&bytes[8..]);
        self.0 = u64::from_le_bytes(low) ^ u64::from_le_bytes(high);
    }
}

impl Hasher for FixedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
        self.mix(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
