//! A full disk: what finds no room is refused and undone, what was written stays, and work goes on
//! as soon as there is room.

use std::task::{Context, Poll, Waker};

use base::{Duration, LeaderEpoch, Offset};
use env::Env;
use storage::{Log, LogDir, OpenError, Room, SealOutcome, WriteError};

use crate::support::*;

fn fill(env: &MemEnv, partial: usize) {
    env.set_faults(Faults { full: true, partial, ..Faults::default() });
}

/// There is room again after some time.
fn full_for(env: &MemEnv, time: Duration) {
    let full_until = Some(env.now().after(time));
    env.set_faults(Faults { full: true, full_until, ..Faults::default() });
}

/// Room is back, and enough time has passed for it to be looked for.
fn free(env: &MemEnv) {
    env.set_faults(Faults::default());
    env.advance(Duration::from_millis(200));
}

fn full<T: std::fmt::Debug>(result: &Result<T, WriteError>) -> bool {
    matches!(result, Err(WriteError::Full(_)))
}

/// Tries to append `count` batches in one go.
fn try_append(log: &Log<MemEnv>, count: i64) -> Result<(), WriteError> {
    let batches: Vec<_> = (0..count).map(|at| Spec::at(log.end().0 + at).build()).collect();
    run(log.append(append_of(&batches))).map(drop)
}

fn check_whole(log: &Log<MemEnv>, records: i64) {
    assert_eq!(log.end(), Offset(records));
    let offsets: Vec<i64> =
        read_all(log, Offset(0)).iter().map(|(header, _)| header.base_offset.0).collect();
    assert_eq!(offsets, (0..records).collect::<Vec<_>>());
}

/// A log with three batches, a part of a fourth in its file, and three more once there was room.
fn spoiled_and_recovered(env: &MemEnv, partial: usize) -> (LogDir<MemEnv>, Log<MemEnv>) {
    let (dir, log) = fresh(env);
    append_some(&log, 3);
    fill(env, partial);
    assert!(full(&try_append(&log, 2)));
    check_whole(&log, 3);
    assert!(full(&try_append(&log, 1)), "nobody looks again so soon");
    env.advance(Duration::from_millis(200));
    assert!(full(&try_append(&log, 1)), "it is still full");
    free(env);
    append_some(&log, 3);
    check_whole(&log, 6);
    assert_eq!(dir.failed(), None);
    (dir, log)
}

#[test]
fn a_directory_that_cannot_be_synced_for_want_of_a_descriptor_is_well_and_waits() {
    for undescribed in [1, 5] {
        let env = MemEnv::new();
        let (dir, log) = fresh(&env);
        env.set_faults(Faults { undescribed, ..Faults::default() });

        run(log.append(fsync_of(&[Spec::at(0).build()]))).unwrap();

        assert_eq!(dir.failed(), None);
        assert_eq!(env.sleeps.load(std::sync::atomic::Ordering::Relaxed), undescribed);
        run(log.checkpoint()).unwrap();
        let (log, _) = crate::crash::recover(&env.after_power_loss(undescribed)).unwrap();
        assert_eq!(log.end(), Offset(1), "its entries were durable before it was written to");
    }
}

#[test]
fn after_a_full_disk_the_next_append_goes_on_whatever_part_of_a_batch_was_written() {
    // Nothing, less than a header, a whole batch and a part of the next.
    for partial in [0, 20, 90] {
        let env = MemEnv::new();
        let (dir, log) = spoiled_and_recovered(&env, partial);
        assert!(env.reached("storage_segment_spoiled"));
        run(log.checkpoint()).unwrap();
        check_whole(&log, 6);

        assert_eq!(run(dir.seal()).unwrap(), SealOutcome::Sealed);
        let again = env.after_process_crash();
        let (dir, _) = open_dir(&again);
        let (log, recovery) = run(dir.open_log(partition(), GEN, small())).unwrap();
        assert!(recovery.clean);
        check_whole(&log, 6);
    }
}

#[test]
fn a_crash_after_a_full_disk_takes_nothing_that_was_durable() {
    for partial in [0, 20, 90] {
        for power in [false, true] {
            let env = MemEnv::new();
            let (_dir, log) = spoiled_and_recovered(&env, partial);
            run(log.flush()).unwrap();
            let again = if power { env.after_power_loss(7) } else { env.after_process_crash() };
            let (dir, _) = open_dir(&again);
            let (log, recovery) = run(dir.open_log(partition(), GEN, small())).unwrap();
            assert!(recovery.faulty.is_empty() && !recovery.uncertain);
            check_whole(&log, 6);
        }
    }
}

#[test]
fn a_stop_right_after_a_full_disk_is_clean_and_the_part_of_a_batch_is_gone() {
    for (before, clean) in [(3, true), (0, false)] {
        let env = MemEnv::new();
        let (dir, log) = fresh(&env);
        append_some(&log, before);
        if before == 0 {
            // The segment is made, and its first batch finds no room.
            append_some(&log, 1);
            run(log.set_log_start(Offset(1))).unwrap();
        }
        let end = log.end();
        fill(&env, 20);
        assert!(full(&try_append(&log, 1)));
        free(&env);
        assert_eq!(run(dir.seal()).unwrap(), SealOutcome::Sealed);

        let again = env.after_process_crash();
        let (dir, _) = open_dir(&again);
        let (log, recovery) = run(dir.open_log(partition(), GEN, small())).unwrap();
        assert_eq!((log.end(), recovery.faulty.len()), (end, 0));
        assert_eq!(recovery.clean, clean || end > Offset(0));
        append_some(&log, 1);
    }
}

#[test]
fn a_new_segment_whose_first_batch_finds_no_room_leaves_no_trace() {
    let env = MemEnv::new();
    let (dir, _) = open_dir(&env);
    // Every batch gets a segment of its own.
    let tiny = storage::LogConfig { segment_bytes: 1, ..small() };
    let log = run(dir.create_log(partition(), GEN, tiny)).unwrap();
    append_some(&log, 2);
    let before = env.files(&root());

    fill(&env, 20);
    assert!(full(&try_append(&log, 1)));
    env.advance(Duration::from_millis(200));
    assert!(full(&try_append(&log, 1)));
    let tmp = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "tmp");
    let mut after = env.files(&root());
    after.retain(|path| !tmp(path));
    assert_eq!(after, before);

    free(&env);
    append_some(&log, 2);
    check_whole(&log, 4);
    assert!(log.segments().iter().all(|segment| segment.bytes > 0), "no segment is empty");
}

#[test]
fn while_the_disk_is_full_reads_log_starts_epochs_and_deletions_go_on() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 60);
    let files = env.files(&log_folder(&log)).len();
    fill(&env, 0);
    assert!(full(&try_append(&log, 1)));

    run(log.set_log_start(Offset(50))).unwrap();
    assert!(env.files(&log_folder(&log)).len() < files, "segments are gone");
    assert_eq!(read_all(&log, Offset(50)).len(), 10);
    run(log.begin_epoch(LeaderEpoch(3))).unwrap();
    run(dir.delete_log(partition(), GEN)).unwrap();
    assert!(dir.logs().is_empty() && env.files(&log_folder(&log)).is_empty());
    assert_eq!(dir.failed(), None);
}

fn log_folder(log: &Log<MemEnv>) -> std::path::PathBuf {
    log.folder().to_owned()
}

#[test]
fn a_deletion_for_which_even_the_journal_has_no_room_is_done_when_there_is_some() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 3);
    fill(&env, 0);
    for epoch in 1.. {
        if full(&run(log.begin_epoch(LeaderEpoch(epoch)))) {
            break;
        }
    }
    assert!(env.reached("storage_journal_full"));
    let created = run(dir.create_log(partition(), base::ReplicaGen(9), small()));
    assert!(matches!(created, Err(OpenError::Full(_))));
    run(dir.delete_log(partition(), GEN)).unwrap();
    assert!(!dir.logs().is_empty(), "not yet");

    // The clock jumps with every sleep of the flusher.
    full_for(&env, Duration::from_secs(5));
    let mut flusher = Box::pin(dir.run_flusher(|_| {}));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(flusher.as_mut().poll(&mut cx).is_pending());

    assert!(dir.logs().is_empty() && env.reached("storage_deletion_done_later"));
    assert!(env.wall_since_start() >= Duration::from_secs(5));
    let (again, _) = open_dir(&env.after_power_loss(1));
    assert!(again.logs().is_empty());
}

#[test]
fn the_flusher_tells_once_that_the_disk_is_full_and_once_that_this_is_over() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 1);
    let told = std::sync::Arc::new(Lock2::<Vec<bool>>::default());
    let hears = std::sync::Arc::clone(&told);
    let mut flusher = Box::pin(dir.run_flusher(move |room| {
        hears.lock().push(matches!(room, Room::Full { .. }));
    }));
    let mut cx = Context::from_waker(Waker::noop());
    fill(&env, 0);
    assert!(full(&try_append(&log, 1)));
    assert!(matches!(dir.room(), Room::Full { .. }));
    full_for(&env, Duration::from_secs(5));
    assert!(flusher.as_mut().poll(&mut cx).is_pending());

    assert_eq!(dir.room(), Room::Enough);
    assert_eq!(*told.lock(), [true, false]);
    append_some(&log, 1);
    run(dir.seal()).unwrap();
    assert!(matches!(flusher.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));
}

#[test]
fn durable_appends_that_find_no_journal_file_are_durable_in_their_segment() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 1);
    run(log.checkpoint()).unwrap();
    // Only the journal's own files find no room.
    fill(&env, 0);
    for epoch in 1.. {
        if full(&run(log.begin_epoch(LeaderEpoch(epoch)))) {
            break;
        }
    }
    env.set_faults(Faults { journal_full: true, ..Faults::default() });
    env.advance(Duration::from_millis(200));
    let batch = Spec { epoch: log.latest_epoch().unwrap().epoch.0, ..Spec::at(1) }.build();
    run(log.append(fsync_of(&[batch]))).unwrap();

    assert!(env.reached("storage_fsync_by_segment_when_full"));
    assert_eq!((log.flushed_end(), dir.failed()), (Offset(2), None));
}

#[test]
fn a_sync_that_says_the_disk_is_full_ends_the_directory_like_any_other() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 1);
    env.set_faults(Faults { full_at_sync: true, ..Faults::default() });

    assert!(run(log.flush()).is_err());

    assert!(dir.failed().is_some());
    assert!(matches!(try_append(&log, 1), Err(WriteError::Failed(_))));
}

#[test]
fn what_found_no_room_does_not_come_back_once_the_flusher_has_seen_to_it() {
    // A whole batch and a part of the next reach the file; none of them counts.
    for before in [3, 0] {
        let env = MemEnv::new();
        let (_dir, log) = fresh(&env);
        append_some(&log, before);
        run(log.checkpoint()).unwrap();
        fill(&env, 90);
        assert!(full(&try_append(&log, 2)));
        env.set_faults(Faults::default());
        run(log.checkpoint()).unwrap();

        let (dir, _) = open_dir(&env.after_process_crash());
        let (log, recovery) = run(dir.open_log(partition(), GEN, small())).unwrap();
        assert_eq!((log.end().0, recovery.cut), (i64::try_from(before).unwrap(), None));
        append_some(&log, 2);
        check_whole(&log, i64::try_from(before).unwrap() + 2);
    }
}

#[test]
fn a_stop_on_a_full_disk_leaves_no_seal_and_ends_the_flusher() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 3);
    let mut flusher = std::pin::pin!(dir.run_flusher(|_| ()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(flusher.as_mut().poll(&mut cx).is_pending());
    fill(&env, 0);

    assert!(matches!(run(dir.seal()), Err(WriteError::Full(_))));

    assert!(flusher.as_mut().poll(&mut cx).is_ready(), "who waits for it waits for ever");
}

#[test]
fn what_comes_while_a_spoiled_segment_is_flushed_is_durable_before_it_is_closed() {
    let mut came_meanwhile = 0;
    for polls in 1..40 {
        let mut env = MemEnv::new();
        env.restless = true;
        let (_dir, log) = fresh(&env);
        append_some(&log, 3);
        let mut checkpoint = Box::pin(log.checkpoint());
        let mut cx = Context::from_waker(Waker::noop());
        if (0..polls).any(|_| checkpoint.as_mut().poll(&mut cx).is_ready()) {
            break;
        }
        append_some(&log, 1);
        fill(&env, 20);
        assert!(full(&try_append(&log, 1)));
        free(&env);
        run(checkpoint).unwrap();

        came_meanwhile += usize::from(env.reached("storage_spoiled_segment_closed"));
        let (log, recovery) = crate::crash::recover(&env.after_power_loss(polls)).unwrap();
        check_whole(&log, 4);
        assert!(!recovery.uncertain && recovery.faulty.is_empty(), "after {polls} polls");
    }
    assert!(came_meanwhile > 0);
}

#[test]
fn what_comes_while_a_log_is_sealed_is_not_closed_as_if_it_were_durable() {
    let mut came_meanwhile = 0;
    for polls in 1..60 {
        let mut env = MemEnv::new();
        env.restless = true;
        let (dir, log) = fresh(&env);
        append_some(&log, 3);
        let mut seal = Box::pin(dir.seal());
        let mut cx = Context::from_waker(Waker::noop());
        if (0..polls).any(|_| seal.as_mut().poll(&mut cx).is_ready()) {
            break;
        }
        append_some(&log, 1);
        fill(&env, 20);
        assert!(full(&try_append(&log, 1)));
        free(&env);
        assert_eq!(run(seal).unwrap(), SealOutcome::Sealed);

        let (log, recovery) = crate::crash::recover(&env.after_power_loss(polls)).unwrap();
        assert!(!recovery.uncertain && recovery.faulty.is_empty(), "{polls}: {recovery:?}");
        check_whole(&log, log.end().0.max(3));
        came_meanwhile += usize::from(!recovery.clean);
    }
    assert!(came_meanwhile > 0);
}
