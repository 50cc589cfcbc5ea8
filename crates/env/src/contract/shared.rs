//! Contracts of randomness, locks and buffer pools.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::{Verdict, eventually};
use crate::{Env, Lock, Pools, Rank};

/// No two draws are alike (a collision of 1000 draws of 64 bits has odds of 1 to 10^13).
pub async fn random_numbers_differ<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let mut numbers = BTreeSet::new();
    let mut uuids = BTreeSet::new();
    let (mut ones, mut zeros) = (0, 0);
    for _ in 0..1000 {
        let number = env.random_u64();
        ones |= number;
        zeros |= !number;
        check!(numbers.insert(number), "{number} was drawn twice");
        check!(uuids.insert(env.random_uuid()), "a uuid was drawn twice");
    }
    check!(ones & zeros == u64::MAX, "some bit never changes: {ones:#x} {zeros:#x}");
    env.yield_now().await;
    Ok(())
}

/// Locks are taken upwards; guards may be dropped in any order.
pub async fn locks_nest_in_rising_rank<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let (low, high) = (Lock::new(Rank(10), 1), Lock::new(Rank(20), 2));
    for _ in 0..2 {
        let (first, second) = (low.lock(), high.lock());
        check!(*first + *second == 3, "locked values changed");
        drop(first);
        drop(second);
        let alone = high.lock();
        drop(alone);
        drop(low.lock());
    }
    env.yield_now().await;
    Ok(())
}

/// No increment is lost between tasks.
pub async fn a_lock_admits_one_at_a_time<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let count = Arc::new(Lock::new(Rank(10), 0));
    for _ in 0..4 {
        let (task_env, count) = (env.clone(), Arc::clone(&count));
        env.spawn("contract", async move {
            for _ in 0..250 {
                let seen = {
                    let mut count = count.lock();
                    *count += 1;
                    *count
                };
                if seen % 10 == 0 {
                    task_env.yield_now().await;
                }
            }
        });
    }
    eventually(env, "a thousand increments", || *count.lock() == 1000).await
}

/// What comes back is handed out again, empty and with its room.
pub async fn a_returned_buffer_is_reused<E: Env>(env: &E, _dir: &Path) -> Verdict {
    env.yield_now().await;
    for bytes in [1, 1_000_000] {
        let mut buffer = env.pools().take(bytes);
        check!(buffer.capacity() >= bytes.max(Pools::READ_BYTES), "room for {}", buffer.capacity());
        check!(buffer.is_empty(), "a buffer with {} bytes in it", buffer.len());
        buffer.bytes_mut().extend_from_slice(&[7; 100]);
        let at = buffer.as_ptr().addr();
        drop(buffer);
        let again = env.pools().take(bytes);
        check!(again.is_empty(), "a buffer came back with {} bytes in it", again.len());
        check!(again.capacity() >= bytes, "shrunk to {}", again.capacity());
        check!(again.as_ptr().addr() == at, "the buffer was not reused");
        let other = env.pools().take(bytes);
        check!(other.as_ptr().addr() != at, "one buffer, two owners");
    }
    Ok(())
}

/// Bytes that somebody still holds do not change.
pub async fn a_buffer_still_referenced_is_not_reused<E: Env>(env: &E, _dir: &Path) -> Verdict {
    env.yield_now().await;
    let mut buffer = env.pools().take(100);
    buffer.bytes_mut().extend_from_slice(&[7; 100]);
    let at = buffer.as_ptr().addr();
    let whole = buffer.freeze();
    let held = whole.slice(..60);
    drop(whole);
    let mut next = env.pools().take(100);
    next.bytes_mut().extend_from_slice(&[9; 1000]);
    check!(held.iter().all(|byte| *byte == 7), "held bytes were overwritten");
    drop(held);
    let last = env.pools().take(100);
    check!(last.as_ptr().addr() == at, "the buffer did not come back with its last bytes");
    Ok(())
}
