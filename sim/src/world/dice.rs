//! Random streams, one per purpose, so that removing one fault does not reshuffle the rest.
//!
//! Invariant: a stream depends on (seed, purpose) only, and its numbers never change between
//! releases or platforms (ChaCha8 plus our own integer reductions; no floats).

use std::hash::{BuildHasher, Hasher};

use base::fixed::FixedState;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A stable 64-bit digest of bytes.
pub fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = FixedState.build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of `seed` for `purpose`.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&digest(purpose.as_bytes()).to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.bits()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number in `0..bound`; 0 if `bound` is 0.
    pub fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(u64::try_from(bound).unwrap_or(u64::MAX))).unwrap_or(0)
    }

    /// A number in `low..=high`; `low` if the range is empty.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low.saturating_add(self.below(high.saturating_sub(low).saturating_add(1)))
    }

    /// True in `per_mille` of 1000 cases.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < u64::from(per_mille)
    }

    /// One of `items`.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_two_purposes_differ_and_each_repeats() {
        let draw = |purpose: &str| {
            let mut dice = Dice::new(7, purpose);
            [dice.bits(), dice.bits()]
        };

        assert_eq!(draw("disk"), draw("disk"));
        assert_ne!(draw("disk"), draw("net"));
    }

    #[test]
    fn ranges_include_both_ends_and_stay_inside() {
        let mut dice = Dice::new(1, "range");
        let drawn: Vec<u64> = (0..1000).map(|_| dice.between(3, 5)).collect();

        assert_eq!(drawn.iter().min(), Some(&3));
        assert_eq!(drawn.iter().max(), Some(&5));
    }
}
