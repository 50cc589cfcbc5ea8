//! What a crash in the middle of a cleaning leaves tells of no loss, whatever happened meanwhile.

use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use base::{LeaderEpoch, Offset, Timestamp};
use records::{BatchBuilder, NewRecord};
use storage::{CompactError, Compacted, Log, LogConfig};

use crate::compact::{DAY, append_rows, compact, compaction, rows, segment_files, updates};
use crate::crash::recover;
use crate::support::*;

/// Cleans; when `asks` questions have been answered whether to go on, the log's start moves beyond
/// everything that is cleaned, and the process crashes `ops` disk operations later. Returns whether
/// the next start found a copy.
fn start_moves_then_crash(asks: u32, ops: u64) -> bool {
    let env = MemEnv::new().with_buggify("storage_compaction_breath");
    let (_dir, log) = fresh(&env);
    // Each key once, so that every copy holds something.
    append_rows(&log, &(0..60).map(|at| (at, Some(at))).collect::<Vec<_>>());
    let wish = compaction(&log, DAY).unwrap();
    let (asked, start) = (AtomicU32::new(0), log.segments().last().unwrap().base);
    let go_on = || {
        if asked.fetch_add(1, Ordering::Relaxed) == asks {
            run(log.set_log_start(start)).unwrap();
            env.set_faults(Faults { crash_at: Some(env.ops() + ops), ..Faults::default() });
        }
        true
    };
    let _crashed: Result<Compacted, CompactError> = run(log.compact(&wish, &go_on));
    assert_eq!(log.start(), start);

    let env = env.after_process_crash();
    let (log, recovery) = recover(&env).unwrap();

    assert!(!log.is_uncertain() && !env.reached("storage_stray_salvaged"), "{recovery:?}");
    assert_eq!((log.start(), segment_files(&env).len()), (start, log.segments().len()));
    env.reached("storage_stray_removed")
}

#[test]
fn a_crash_of_a_cleaning_whose_sources_the_log_start_took_is_no_loss() {
    let each = (60..90).flat_map(|asks| (1..9).map(move |ops| start_moves_then_crash(asks, ops)));

    let copies = each.filter(|found| *found).count();

    assert!(copies > 8, "{copies}");
}

#[test]
fn a_crash_of_a_cleaning_is_no_loss_though_a_later_segment_is_known_to_be_gone() {
    let mut left = 0;
    for nth in 1..60 {
        let env = MemEnv::new();
        let (dir, log) = fresh(&env);
        append_rows(&log, &updates(60));
        let gone = log.segments()[3].base;
        drop((dir, log));
        let env = env.after_process_crash();
        let name = segment_files(&env).into_iter().nth(3).unwrap();
        let path = env.files(&root()).into_iter().find(|path| path.ends_with(&name)).unwrap();
        env.delete(&path);
        let (log, recovery) = recover(&env).unwrap();
        assert_eq!((recovery.faulty[0].from, recovery.uncertain), (gone, false));
        let wish = compaction(&log, DAY).unwrap();
        env.set_faults(Faults { crash_at: Some(env.ops() + nth), ..Faults::default() });
        let _crashed: Result<Compacted, CompactError> = run(log.compact(&wish, &|| true));

        let env = env.after_process_crash();
        let (log, recovery) = recover(&env).unwrap();

        assert!(!log.is_uncertain(), "{nth}: {recovery:?}");
        left += usize::from(env.reached("storage_stray_salvaged"));
    }
    assert!(left > 2, "{left}");
}

/// What happens to a log while it is cleaned.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    Cut(Offset),
    Start(Offset),
}

impl Meanwhile {
    async fn happen(self, log: &Log<MemEnv>) -> bool {
        match self {
            Self::Cut(to) => log.truncate(to).await.is_ok(),
            Self::Start(to) => log.set_log_start(to).await.is_ok(),
        }
    }
}

const RECORDS: u8 = 60;

/// Every key once, but for that of each second record.
fn half_updates() -> Vec<(u8, Option<u8>)> {
    (0..RECORDS).map(|at| (if at % 2 == 0 { at } else { 200 }, Some(at))).collect()
}

/// Whether the log holds what was written to it between its ends, and what only it said of a key.
fn check_rows(log: &Log<MemEnv>, what: &str) {
    let rows = rows(log);
    for (at, key, value) in &rows {
        assert!(log.start().0 <= *at && *at < log.end().0, "{what}: {at}");
        let written = half_updates()[usize::try_from(*at).unwrap()];
        assert_eq!((*key, *value), written, "{what}");
    }
    let of_one_key = rows.iter().filter(|row| row.1 != 200).map(|row| row.0);
    let expected = (log.start().0..log.end().0).filter(|at| at % 2 == 0);
    assert_eq!(of_one_key.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{what}");
}

/// Cleans; after so many `polls` something else happens to the log beside it, and the process
/// crashes `ops` disk operations later, if it does. False if the cleaning was over by then.
fn meanwhile_then_crash(polls: u32, ops: Option<u64>, what: Meanwhile, power: Option<u64>) -> bool {
    let told = format!("{what:?} after {polls} polls, crash after {ops:?} operations, {power:?}");
    let mut env = MemEnv::new().with_buggify("storage_compaction_breath");
    env.restless = true;
    let (_dir, log) = fresh(&env);
    append_rows(&log, &half_updates());
    run(log.checkpoint()).unwrap();
    let wish = compaction(&log, DAY).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut cleaning = Box::pin(log.compact(&wish, &|| true));
    if (0..polls).any(|_| cleaning.as_mut().poll(&mut cx).is_ready()) {
        return false;
    }
    let crash_at = ops.map(|ops| env.ops() + ops);
    env.set_faults(Faults { crash_at, ..Faults::default() });
    let mut happens = Box::pin(what.happen(&log));
    let (mut happened, mut cleaned) = (Poll::Pending, false);
    while happened.is_pending() || !cleaned {
        if happened.is_pending() {
            happened = happens.as_mut().poll(&mut cx);
        }
        cleaned = cleaned || cleaning.as_mut().poll(&mut cx).is_ready();
    }
    if ops.is_none() {
        assert_eq!(happened, Poll::Ready(true), "{told}");
        let ends = match what {
            Meanwhile::Cut(to) => (Offset(0), to),
            Meanwhile::Start(to) => (to, Offset(RECORDS.into())),
        };
        assert_eq!((log.start(), log.end()), ends, "{told}");
        check_rows(&log, &told);
    }

    let env = match power {
        None => env.after_process_crash(),
        Some(seed) => env.after_power_loss(seed),
    };
    let (log, recovery) = recover(&env).unwrap();

    assert!(!log.is_uncertain() && recovery.faulty.is_empty(), "{told}: {recovery:?}");
    assert!(!env.reached("storage_stray_salvaged"), "{told}");
    check_rows(&log, &told);
    true
}

fn with_a_crash_at_every_operation(what: Meanwhile) {
    let mut tried = 0;
    for polls in (1_u32..).step_by(5) {
        let whole = meanwhile_then_crash(polls, None, what, None);
        let crashed = (1..30).all(|ops| {
            let power = Some(u64::from(polls) + ops);
            meanwhile_then_crash(polls, Some(ops), what, None)
                && meanwhile_then_crash(polls, Some(ops), what, power)
        });
        if !whole || !crashed {
            break;
        }
        tried += 1;
    }
    assert!(tried > 10, "{tried}");
}

#[test]
fn a_log_that_is_cut_in_a_segment_that_is_cleaned_holds_what_is_left_after_any_crash() {
    with_a_crash_at_every_operation(Meanwhile::Cut(Offset(13)));
}

#[test]
fn a_log_that_is_cut_below_all_that_is_cleaned_holds_what_is_left_after_any_crash() {
    with_a_crash_at_every_operation(Meanwhile::Cut(Offset(0)));
}

#[test]
fn a_log_whose_start_moves_into_what_is_cleaned_holds_what_is_left_after_any_crash() {
    with_a_crash_at_every_operation(Meanwhile::Start(Offset(26)));
}

#[test]
fn a_segment_becomes_no_more_segments_than_the_journal_can_name_at_once() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    log.set_config(LogConfig { segment_bytes: 1 << 20, ..small() });
    for at in 0..1_500_i64 {
        // The first two have one key, and all others their own.
        let key = at.max(1).to_be_bytes();
        let (timestamp, key) = (Timestamp(1_000), Some(&key[..]));
        let mut batch = BatchBuilder::new().assigned(Offset(at), LeaderEpoch(0));
        batch.push(&NewRecord { timestamp, key, value: key, headers: &[] }).unwrap();
        run(log.append(append_of(&[batch.finish().unwrap()]))).unwrap();
    }
    assert!(run(log.close_segment()).unwrap());
    append_rows(&log, &updates(1));
    // The topic has smaller segments from now on.
    log.set_config(LogConfig { segment_bytes: 1, ..small() });

    let done = compact(&log, DAY).unwrap().unwrap();

    assert_eq!(done.upto, Offset(1_500));
    run(log.flush()).unwrap();
    let segments = log.segments().len();
    assert!((100..=300).contains(&segments), "{segments}");
    let (log, recovery) = recover(&env.after_power_loss(1)).unwrap();
    assert_eq!((log.segments().len(), recovery.faulty), (segments, vec![]));
    assert_eq!(read_all(&log, Offset(0)).len(), 1_500);
}
