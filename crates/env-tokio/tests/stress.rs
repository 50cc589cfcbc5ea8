//! Locks and buffer pools under real threads, which the simulator's single thread never has.
#![expect(clippy::disallowed_methods, reason = "a stress test starts its threads itself")]

use std::collections::BTreeSet;

use env::{Lock, Pools, Rank};

const THREADS: u8 = 4;
const ROUNDS: u32 = 50_000;

#[test]
fn nested_locks_lose_no_step_between_threads() {
    let (outer, inner) = (Lock::new(Rank(1), 0), Lock::new(Rank(2), 0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let mut first = outer.lock();
                    let mut second = inner.lock();
                    *first += 1;
                    *second += *first % 2;
                }
            });
        }
    });
    assert_eq!(*outer.lock(), u32::from(THREADS) * ROUNDS);
    assert_eq!(*inner.lock(), u32::from(THREADS) * ROUNDS / 2);
}

/// Takes, marks and gives back buffers, and holds on to pieces of some.
fn use_buffers(pools: &Pools, owned: &Lock<BTreeSet<usize>>, mark: u8) {
    let mut held = Vec::new();
    for round in 0..ROUNDS / 10 {
        let mut buffer = pools.take(1);
        assert!(buffer.is_empty() && buffer.capacity() >= Pools::READ_BYTES);
        let at = buffer.as_ptr().addr();
        assert!(owned.lock().insert(at), "one buffer, two owners");
        buffer.bytes_mut().extend_from_slice(&[mark; 512]);
        assert!(buffer.iter().all(|byte| *byte == mark));
        if round % 7 == 0 {
            held.push((at, buffer.freeze().slice(..256)));
        } else {
            // Before it is given back: the next owner may have it at once.
            owned.lock().remove(&at);
        }
        if held.len() == 20 {
            assert!(held.iter().flat_map(|(_, bytes)| bytes).all(|byte| *byte == mark));
            held.iter().for_each(|(at, _)| assert!(owned.lock().remove(at)));
            held.clear();
        }
    }
    held.iter().for_each(|(at, _)| assert!(owned.lock().remove(at)));
}

#[test]
fn a_pooled_buffer_has_one_owner_and_held_bytes_stay() {
    let pools = Pools::default();
    let owned = Lock::new(Rank(1), BTreeSet::new());
    std::thread::scope(|scope| {
        for mark in 1..=THREADS {
            let (pools, owned) = (&pools, &owned);
            scope.spawn(move || use_buffers(pools, owned, mark));
        }
    });
}

#[test]
fn a_pool_hands_out_what_it_was_given() {
    let pools = Pools::default();
    let kept_max = Pools::KEPT_BYTES_MAX / Pools::READ_BYTES;
    let taken: Vec<_> = (0..2 * kept_max).map(|_| pools.take(1)).collect();
    let given: BTreeSet<_> = taken.iter().map(|buffer| buffer.as_ptr().addr()).collect();
    assert_eq!(given.len(), 2 * kept_max);
    drop(taken);
    assert_eq!(pools.kept_bytes(), Pools::KEPT_BYTES_MAX);
    let again: Vec<_> = (0..kept_max).map(|_| pools.take(1)).collect();
    assert!(again.iter().all(|buffer| given.contains(&buffer.as_ptr().addr())));
}
