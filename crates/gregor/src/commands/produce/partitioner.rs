//! Which partition a record goes to.
//!
//! Invariant: a key goes where Kafka's own Java clients put it: murmur2 of the key, without the
//! sign bit, modulo the number of partitions. Records without a key take turns, batch by batch.

/// See the module head.
pub struct Partitioner {
    partitions: Vec<i32>,
    fixed: Option<i32>,
    turn: usize,
}

impl Partitioner {
    /// Over these partitions, or always the one that is `fixed`.
    pub fn new(partitions: Vec<i32>, fixed: Option<i32>) -> Self {
        Self { partitions, fixed, turn: 0 }
    }

    /// The partition for a record.
    pub fn choose(&self, key: Option<&[u8]>) -> i32 {
        let count = self.partitions.len().max(1);
        let place = match (self.fixed, key) {
            (Some(partition), _) => return partition,
            (None, Some(key)) => {
                usize::try_from(murmur2(key) & 0x7fff_ffff).unwrap_or(0).checked_rem(count)
            },
            (None, None) => self.turn.checked_rem(count),
        };
        place.and_then(|place| self.partitions.get(place)).copied().unwrap_or(0)
    }

    /// Moves on to the next partition for records without a key.
    pub fn next_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }
}

/// MurmurHash2 with Kafka's seed.
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(bytes.len() & 0xffff_ffff).unwrap_or(0);
    let mut hash = SEED ^ length;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(M);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(M) ^ mixed.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (byte, shift) in tail.iter().zip([0_u32, 8, 16]) {
            hash ^= u32::from(*byte) << shift;
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_of_kafkas_clients() {
        // The values that Kafka's own test of the function expects.
        let expected: [(&str, i32); 4] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
        ];
        for (key, hash) in expected {
            assert_eq!(murmur2(key.as_bytes()), hash.cast_unsigned(), "{key}");
        }
    }

    #[test]
    fn records_without_a_key_take_turns_and_a_fixed_partition_wins() {
        let mut turns = Partitioner::new(vec![0, 1, 2], None);
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(turns.choose(None));
            turns.next_turn();
        }
        assert_eq!(seen, [0, 1, 2, 0]);
        assert_eq!(Partitioner::new(vec![0, 1, 2], Some(2)).choose(Some(b"key")), 2);
    }
}
