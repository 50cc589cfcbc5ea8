//! Contracts of the clocks and of waiting.

use std::future::{pending, ready};
use std::path::Path;
use std::sync::Arc;

use base::{Duration, Instant, Timestamp};

use super::Verdict;
use crate::{Elapsed, Env, timeout_at};

/// 2020-01-01 and 2200-01-01: no run of this code lies outside.
const PLAUSIBLE: std::ops::Range<Timestamp> =
    Timestamp(1_577_836_800_000)..Timestamp(7_258_118_400_000);

/// Neither clock, whatever happens in between; the boot clock does not fall behind.
pub async fn monotonic_time_never_goes_back<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let (mut now, mut boot) = (env.now(), env.boot_now());
    for round in 0..50 {
        if round % 10 == 0 {
            env.sleep(Duration::from_millis(1)).await;
        } else {
            env.yield_now().await;
        }
        let (later, boot_later) = (env.now(), env.boot_now());
        check!(later >= now, "{later:?} after {now:?}");
        check!(boot_later >= boot, "boot clock: {boot_later:?} after {boot:?}");
        (now, boot) = (later, boot_later);
    }
    Ok(())
}

/// A sleep ends at its deadline or later, on both monotonic clocks.
pub async fn a_sleep_is_never_early<E: Env>(env: &E, _dir: &Path) -> Verdict {
    for micros in [0, 1, 500, 1000, 1001, 2500, 10_000] {
        let by = Duration::from_micros(micros);
        let (at, boot) = (env.now().after(by), env.boot_now());
        env.sleep_until(at).await;
        check!(env.now() >= at, "woke at {:?} instead of {at:?}", env.now());
        // The clocks are read one after the other, so a little is forgiven.
        let passed = env.boot_now().since(boot).saturating_add(Duration::from_micros(100));
        check!(passed >= by, "the boot clock saw {passed:?} of {by:?}");
        let before = env.now();
        env.sleep(by).await;
        check!(env.now() >= before.after(by), "slept {:?} of {by:?}", env.now().since(before));
    }
    Ok(())
}

/// A deadline that is over is no reason to wait.
pub async fn a_sleep_into_the_past_ends<E: Env>(env: &E, _dir: &Path) -> Verdict {
    env.sleep(Duration::from_millis(2)).await;
    env.sleep_until(Instant(0)).await;
    env.sleep_until(env.now()).await;
    Ok(())
}

/// `Instant::NEVER` does not come.
pub async fn a_sleep_without_end_does_not_end<E: Env>(env: &E, _dir: &Path) -> Verdict {
    for forever in [Instant::NEVER, Instant(u64::MAX / 2)] {
        let soon = env.now().after(Duration::from_millis(3));
        let woke = timeout_at(env, soon, env.sleep_until(forever)).await;
        check!(woke == Err(Elapsed), "{forever:?} has come");
    }
    Ok(())
}

/// The wall clock is milliseconds since 1970.
pub async fn the_wall_clock_is_plausible<E: Env>(env: &E, _dir: &Path) -> Verdict {
    env.yield_now().await;
    check!(PLAUSIBLE.contains(&env.wall()), "it is {} now", env.wall());
    Ok(())
}

/// What is ready is taken, even when the deadline is over too.
pub async fn a_result_in_time_beats_the_deadline<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let late = timeout_at(env, Instant(0), ready(7)).await;
    check!(late == Ok(7), "a ready result was given up: {late:?}");
    let early = env.now().after(Duration::from_secs(3600));
    let waited = timeout_at(env, early, env.sleep(Duration::from_millis(1))).await;
    check!(waited == Ok(()), "an hour passed in a millisecond");
    Ok(())
}

/// A deadline comes, not early, and what was waited for is gone then.
pub async fn a_deadline_drops_what_it_waited_for<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let held = Arc::new(());
    let holder = Arc::clone(&held);
    let at = env.now().after(Duration::from_millis(3));
    let result = timeout_at(env, at, async move {
        pending::<()>().await;
        drop(holder);
    })
    .await;
    check!(result == Err(Elapsed), "nothing ended with {result:?}");
    check!(env.now() >= at, "the deadline came early");
    check!(Arc::strong_count(&held) == 1, "the future was kept");
    Ok(())
}
