//! When the producers' file is written, and when it does not count.

use std::task::{Context, Waker};

use base::Offset;
use storage::{Log, ProducerBatch, Verdict};

use crate::crash::recover;
use crate::support::*;

fn numbered(at: i64, sequence: i32) -> Spec {
    Spec { producer: Some((7, sequence)), ..Spec::at(at) }
}

fn judge(log: &Log<MemEnv>, spec: Spec) -> Verdict {
    log.producers().check(&ProducerBatch::of(spec.build().header()).unwrap())
}

fn path_of(env: &MemEnv, ending: &str) -> Option<std::path::PathBuf> {
    env.files(&root()).into_iter().find(|path| path.to_string_lossy().ends_with(ending))
}

#[test]
fn a_start_after_a_crash_leaves_the_producers_file_to_the_stop_that_follows() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    for at in 0..3 {
        run(log.append(append_of(&[numbered(at, i32::try_from(at).unwrap()).build()]))).unwrap();
    }
    run(log.checkpoint()).unwrap();

    let env = env.after_process_crash();
    let (dir, _) = open_dir(&env);
    let (log, recovery) = run(dir.open_log(partition(), GEN, small())).unwrap();
    assert!(recovery.producers_lost && path_of(&env, "producers").is_none());
    assert!(matches!(judge(&log, numbered(2, 2)), Verdict::Duplicate(_)));
    run(dir.seal()).unwrap();

    let env = env.after_process_crash();
    let (log, recovery) = recover(&env).unwrap();
    assert!(recovery.clean && !recovery.producers_lost);
    assert!(matches!(judge(&log, numbered(2, 2)), Verdict::Duplicate(_)));
    assert_eq!(judge(&log, numbered(3, 3)), Verdict::Append);
}

#[test]
fn a_producers_file_of_batches_that_are_gone_does_not_count_for_those_in_their_place() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    let large =
        Spec { value_bytes: usize::try_from(storage::STATE_BYTES).unwrap(), ..numbered(0, 0) };
    run(log.append(append_of(&[large.build()]))).unwrap();
    run(log.checkpoint()).unwrap();
    // The batch goes, and with it all that knew of it but the producers' file.
    assert!(path_of(&env, "producers").is_some());
    env.delete(&path_of(&env, ".env").unwrap());
    env.overwrite(&path_of(&env, ".log").unwrap(), &[]);

    let env = env.after_process_crash();
    let (log, _) = recover(&env).unwrap();
    assert_eq!(log.end(), Offset(0));
    run(log.append(append_of(&[Spec::at(0).build()]))).unwrap();
    run(log.checkpoint()).unwrap();

    let (log, _) = recover(&env.after_process_crash()).unwrap();
    assert_eq!((log.end(), judge(&log, numbered(1, 0))), (Offset(1), Verdict::Append));
    assert_eq!(judge(&log, numbered(1, 1)), Verdict::Append, "nobody has written here");
}

#[test]
fn producers_of_segments_that_retention_takes_are_kept_though_a_start_left_their_file() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    run(log.append(append_of(&[numbered(0, 0).build()]))).unwrap();
    let segments = (1..).find(|at| {
        run(log.append(append_of(&[Spec::at(*at).build()]))).unwrap();
        log.segments().len() == 3
    });
    assert!(segments.is_some());
    run(log.checkpoint()).unwrap();
    env.delete(&path_of(&env, "producers").unwrap());

    let env = env.after_process_crash();
    let (log, recovery) = recover(&env).unwrap();
    assert!(recovery.producers_lost && path_of(&env, "producers").is_none());
    run(log.set_log_start(log.segments()[1].base)).unwrap();

    let (log, _) = recover(&env.after_process_crash()).unwrap();
    assert!(log.start() > Offset(0));
    assert!(matches!(judge(&log, numbered(0, 0)), Verdict::Duplicate(_)));
}

#[test]
fn producers_of_deleted_records_are_found_as_long_as_their_segment_is_there() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    run(log.append(append_of(&[numbered(0, 0).build(), Spec::at(1).build()]))).unwrap();
    run(log.set_log_start(Offset(1))).unwrap();

    let (log, recovery) = recover(&env.after_process_crash()).unwrap();

    assert_eq!((log.start(), recovery.producers_lost), (Offset(1), true));
    assert!(matches!(judge(&log, numbered(0, 0)), Verdict::Duplicate(_)));
}

#[test]
fn producers_of_deleted_records_are_found_although_a_crash_tore_the_tail_behind_them() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    for at in 0..3 {
        run(log.append(append_of(&[numbered(at, i32::try_from(at).unwrap()).build()]))).unwrap();
    }
    run(log.checkpoint()).unwrap();
    run(log.set_log_start(Offset(3))).unwrap();
    let path = path_of(&env, ".log").unwrap();
    let torn = [&env.content(&path)[..], &[7; 30]].concat();
    env.overwrite(&path, &torn);

    let (log, _) = recover(&env.after_process_crash()).unwrap();

    assert_eq!((log.start(), log.end()), (Offset(3), Offset(3)));
    assert!(matches!(judge(&log, numbered(2, 2)), Verdict::Duplicate(_)));
    assert!(log.segments().is_empty(), "the journal has let go of the segment");
    let (log, _) = recover(&env.after_process_crash().after_process_crash()).unwrap();
    assert!(matches!(judge(&log, numbered(2, 2)), Verdict::Duplicate(_)), "without its bytes");
}

#[test]
fn a_producer_is_not_known_by_a_batch_whose_header_rotted() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    for (at, sequence) in [(0, 0), (1, 1), (2, 2)] {
        run(log.append(append_of(&[numbered(at, sequence).build()]))).unwrap();
    }
    run(log.checkpoint()).unwrap();
    // The last byte of the second one's producer id, which becomes 6.
    env.rot(&path_of(&env, ".log").unwrap(), numbered(0, 0).build().bytes().len() + 50, 1);

    let (log, _) = recover(&env.after_process_crash()).unwrap();

    assert!(!log.producers().knows(base::ProducerId(6)), "nobody of that id has written");
    assert!(matches!(judge(&log, numbered(3, 0)), Verdict::Duplicate { .. }));
    assert!(matches!(judge(&log, numbered(3, 2)), Verdict::Duplicate { .. }), "behind it");
    assert_eq!(judge(&log, numbered(3, 1)), Verdict::OutOfOrder { expected: 3 });
}

/// Whether, in some order, a producer's batch that came while the producers' file was written and went
/// with the power would be refused as a repetition when it is sent again. Second, whether it did go.
fn a_lost_batch_is_taken_for_written(mutant: Option<&'static str>) -> (bool, bool) {
    let (mut believed, mut lost) = (false, false);
    for (order, polls) in (0..20).flat_map(|order| (1..40).map(move |polls| (order, polls))) {
        let mut env = MemEnv::new().with_buggify("storage_producers_often");
        env.restless = true;
        env = mutant.into_iter().fold(env, MemEnv::with_mutant);
        for _ in 0..order {
            env::Env::random_u64(&env);
        }
        let (_dir, log) = fresh(&env);
        run(log.append(append_of(&[numbered(0, 0).build()]))).unwrap();
        let mut checkpoint = Box::pin(log.checkpoint());
        let mut cx = Context::from_waker(Waker::noop());
        if (0..polls).any(|_| checkpoint.as_mut().poll(&mut cx).is_ready()) {
            continue;
        }
        run(log.append(append_of(&[numbered(1, 1).build()]))).unwrap();
        run(checkpoint).unwrap();

        for seed in 0..8 {
            let (log, _) = recover(&env.after_power_loss(seed)).unwrap();
            if log.end() == Offset(1) {
                lost = true;
                believed |= judge(&log, numbered(1, 1)) != Verdict::Append;
            }
        }
    }
    (believed, lost)
}

#[test]
fn the_producers_file_knows_no_batch_that_was_not_durable_when_it_was_written() {
    assert_eq!(a_lost_batch_is_taken_for_written(None), (false, true));
    assert_eq!(a_lost_batch_is_taken_for_written(Some("snapshot_holds_future")), (true, true));
}
