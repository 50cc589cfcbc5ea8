//! Logs that are cut short on purpose, and the mark that only another replica can take away.

use base::{LeaderEpoch, Offset};
use records::BatchView;
use storage::{CompactError, FaultyRange, ReadError, TruncateError, Verdict};

use crate::compact::{DAY, append_rows, compact, compaction, rows, updates};
use crate::crash::{log_file, recover};
use crate::support::*;

/// Appends two-record batches of one producer up to offset `end`, three to a segment.
fn filled(log: &storage::Log<MemEnv>, end: i64) -> Vec<BatchView> {
    let mut batches = Vec::new();
    while log.end().0 < end {
        let base = log.end().0;
        let producer = Some((7, i32::try_from(base).unwrap()));
        let batch = Spec { count: 2, value_bytes: 250, producer, ..Spec::at(base) }.build();
        run(log.append(append_of(std::slice::from_ref(&batch)))).unwrap();
        batches.push(batch);
    }
    batches
}

fn knows_producer_up_to(log: &storage::Log<MemEnv>, end: i64) -> bool {
    let next = Spec { producer: Some((7, i32::try_from(end).unwrap())), ..Spec::at(end) };
    let batch = storage::ProducerBatch::of(next.build().header()).unwrap();
    log.producers().check(&batch) == Verdict::Append
}

#[test]
fn a_log_cut_anywhere_holds_the_whole_batches_below_and_goes_on_there() {
    for to in 1..=23 {
        for sealed in [false, true] {
            let env = MemEnv::new();
            let (dir, log) = fresh(&env);
            let batches = filled(&log, 24);
            run(log.begin_epoch(LeaderEpoch(1))).unwrap();
            let stays = to / 2 * 2;

            assert_eq!(run(log.truncate(Offset(to))).unwrap(), Offset(stays));

            assert_eq!((log.end(), log.flushed_end()), (Offset(stays), Offset(stays)));
            assert_eq!(log.latest_epoch().map(|e| e.epoch.0), Some(0));
            let kept = |log: &storage::Log<MemEnv>| {
                let found = read_all(log, Offset(0));
                found.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>()
            };
            let count = usize::try_from(stays / 2).unwrap();
            let expected: Vec<_> = batches[..count].iter().map(|b| b.bytes().clone()).collect();
            assert_eq!(kept(&log), expected, "cut at {to}");
            assert!(stays == 0 || knows_producer_up_to(&log, stays));
            if sealed {
                run(dir.seal()).unwrap();
            }
            let env = env.after_power_loss(1);
            let (log, recovery) = recover(&env).unwrap();
            assert_eq!((log.end(), recovery.clean), (Offset(stays), sealed));
            assert_eq!((&recovery.faulty, recovery.uncertain), (&Vec::new(), false));
            assert_eq!(kept(&log), expected);
            assert!(stays == 0 || knows_producer_up_to(&log, stays));
            // It goes on with other bytes at the same offsets.
            let other = Spec { epoch: 2, value_bytes: 33, ..Spec::at(stays) }.build();
            run(log.append(fsync_of(std::slice::from_ref(&other)))).unwrap();
            let (log, recovery) = recover(&env.after_power_loss(2)).unwrap();
            assert_eq!(recovery.faulty, Vec::new());
            assert_eq!(kept(&log)[count..], [other.bytes().clone()]);
        }
    }
}

#[test]
fn a_cut_ends_at_the_logs_start_and_removes_the_files_behind_it() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    filled(&log, 24);
    run(log.set_log_start(Offset(10))).unwrap();
    assert_eq!(run(log.truncate(Offset(30))).unwrap(), Offset(24), "nothing to cut");

    assert_eq!(run(log.truncate(Offset(3))).unwrap(), Offset(10));

    let is_log = |path: &&std::path::PathBuf| path.extension().is_some_and(|e| e == "log");
    assert_eq!(env.files(&log.folder()).iter().filter(is_log).count(), 0);
    let (log, recovery) = recover(&env.after_power_loss(1)).unwrap();
    assert_eq!((log.start(), log.end(), recovery.faulty), (Offset(10), Offset(10), Vec::new()));
    run(log.append(fsync_of(&[Spec::at(10).build()]))).unwrap();
}

#[test]
fn what_fsync_promised_behind_a_cut_is_kept_in_the_journal() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    let busy = run(dir.create_log(partition(), base::ReplicaGen(2), small())).unwrap();
    filled(&log, 24);
    run(log.checkpoint()).unwrap();
    run(log.truncate(Offset(4))).unwrap();
    for at in 4..8 {
        run(log.append(fsync_of(&[Spec::at(at).build()]))).unwrap();
    }
    for epoch in 1..80 {
        run(busy.begin_epoch(LeaderEpoch(epoch))).unwrap();
    }
    assert!(env.reached("storage_journal_file_recycled"));

    for seed in 0..10 {
        let env = env.clone().after_power_loss(seed);
        let (log, recovery) = recover(&env).unwrap();
        assert_eq!((log.end(), recovery.faulty), (Offset(8), Vec::new()));
    }
}

#[test]
fn a_cut_that_cannot_be_made_out_changes_nothing() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    let batches = filled(&log, 4);
    run(log.checkpoint()).unwrap();
    env.rot(&log_file(&env), batches[0].bytes().len() + 16, 1);

    let refused = run(log.truncate(Offset(2)));

    assert!(matches!(refused, Err(TruncateError::Unreadable(ReadError::Corrupt { .. }))));
    assert_eq!((log.end(), dir.failed()), (Offset(4), None));
    filled(&log, 6);
}

#[test]
fn an_uncertain_log_is_certain_again_when_somebody_says_so_and_not_before() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    filled(&log, 4);
    assert!(!log.is_uncertain());
    run(log.declare_certain()).unwrap();
    env.delete(&log_file(&env));
    let env = env.after_process_crash();
    let (log, _) = recover(&env).unwrap();
    assert!(log.is_uncertain());
    run(log.truncate(Offset(0))).unwrap();
    let env = env.after_process_crash();
    let (log, recovery) = recover(&env).unwrap();
    assert!(log.is_uncertain() && recovery.uncertain, "a cut proves nothing");

    run(log.declare_certain()).unwrap();

    assert!(!log.is_uncertain());
    let (log, recovery) = recover(&env.after_power_loss(1)).unwrap();
    assert!(!log.is_uncertain() && !recovery.uncertain);
}

#[test]
fn a_segment_below_the_start_of_its_log_goes_once_nothing_is_added_to_it() {
    for ends_at_rest in [false, true] {
        let env = MemEnv::new();
        let (_dir, log) = fresh(&env);
        filled(&log, 2);
        run(log.set_log_start(Offset(2))).unwrap();
        let first = log.segments();
        assert_eq!(first.len(), 1, "it may grow");

        if ends_at_rest {
            assert!(run(log.close_segment()).unwrap());
            assert_eq!(log.segments(), []);
        }
        log.set_config(storage::LogConfig { segment_bytes: 1, ..small() });
        filled(&log, 4);

        let bases: Vec<Offset> = log.segments().iter().map(|segment| segment.base).collect();
        assert_eq!(bases, [Offset(2)]);
        let files = env.files(&root());
        let is_segment = |path: &&std::path::PathBuf| path.extension().is_some_and(|e| e == "log");
        assert_eq!(files.iter().filter(is_segment).count(), 1, "{files:?}");
        let (recovered, _) = recover(&env.after_process_crash()).unwrap();
        assert_eq!(recovered.segments(), log.segments());
    }
}

#[test]
fn what_was_compacted_counts_no_further_than_a_cut() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    // Each key once, so that everything stays.
    append_rows(&log, &(0..60).map(|at| (at, Some(at))).collect::<Vec<_>>());
    compact(&log, DAY).unwrap().unwrap();
    let cleaned = log.cleaned();

    let cut = run(log.truncate(Offset(cleaned.0 / 2))).unwrap();

    assert!(cut < cleaned);
    assert_eq!(log.cleaned(), cut, "as the journal has it");
    let (log, _) = recover(&env.after_process_crash()).unwrap();
    assert_eq!((log.cleaned(), log.end()), (cut, cut));
}

#[test]
fn a_cleaning_that_was_chosen_before_a_cut_does_not_begin_behind_it() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_rows(&log, &updates(60));
    let wish = compaction(&log, DAY).unwrap();
    run(log.truncate(Offset(20))).unwrap();
    // Nobody has said of these that they are committed.
    append_rows(&log, &updates(60));

    let done = run(log.compact(&wish, &|| true));

    assert!(matches!(done, Err(CompactError::Interrupted)), "{done:?}");
    assert_eq!(rows(&log).len(), 80);
}

#[test]
fn a_cut_in_damage_is_refused_and_changes_nothing() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    let len = append_some(&log, 6)[0].bytes().len();
    run(log.checkpoint()).unwrap();
    let content = env.content(&log_file(&env));
    env.overwrite(&log_file(&env), &content[..3 * len]);
    let (log, recovery) = recover(&env.after_process_crash()).unwrap();
    assert_eq!(recovery.faulty, [FaultyRange { from: Offset(3), to: Offset(6) }]);

    for to in 4..6 {
        let refused = run(log.truncate(Offset(to)));
        assert!(matches!(refused, Err(TruncateError::Unreadable(_))), "{to}: {refused:?}");
    }

    assert_eq!((log.end(), log.faulty()), (Offset(6), recovery.faulty));
    assert_eq!(run(log.truncate(Offset(3))).unwrap(), Offset(3), "before it");
}
