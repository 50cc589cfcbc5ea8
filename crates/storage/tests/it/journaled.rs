//! Logs on the journal: cuts in new files, moved starts, durable acknowledgements, and the planted
//! bugs that break them.

use std::pin::pin;
use std::task::{Context, Waker};

use base::{LeaderEpoch, Offset, PartitionId, PartitionIndex};
use storage::{Found, OpenError, SealOutcome, StartClass};

use crate::crash::{log_file, ops_of_a_whole_run, recover, work};
use crate::support::{
    Faults, GEN, MemEnv, Spec, append_of, append_some, expect, fresh, fsync_of, open_dir, options,
    partition, read_all, root, run, small,
};

#[test]
fn a_cut_goes_on_in_a_new_file_and_overwrites_nothing() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    let batches = append_some(&log, 3);
    run(log.checkpoint()).unwrap();
    append_some(&log, 3);
    let file = log_file(&env);
    env.rot(&file, batches[0].bytes().len() * 4 + 30, 1);
    let before = env.content(&file);

    let env = env.after_process_crash();
    let (log, _) = recover(&env).unwrap();
    let goes_on = Spec { value_bytes: 33, ..Spec::at(4) }.build();
    run(log.append(append_of(std::slice::from_ref(&goes_on)))).unwrap();
    run(log.checkpoint()).unwrap();

    assert_eq!(env.content(&file), before);
    let (log, recovery) = recover(&env.after_power_loss(1)).unwrap();
    assert_eq!((log.end(), recovery.cut, recovery.faulty), (Offset(5), None, Vec::new()));
    let found = read_all(&log, Offset(0));
    assert_eq!(found.len(), 5);
    assert_eq!(found[4].1, *goes_on.bytes());
}

#[test]
fn the_mutant_that_forgets_a_cut_reads_what_was_void() {
    let env = MemEnv::new().with_mutant("cut_not_journaled");
    let (_dir, log) = fresh(&env);
    let batches = append_some(&log, 3);
    run(log.checkpoint()).unwrap();
    append_some(&log, 3);
    env.rot(&log_file(&env), batches[0].bytes().len() * 4 + 30, 1);
    let env = env.after_process_crash();
    let (log, _) = recover(&env).unwrap();
    run(log.append(append_of(&[Spec { value_bytes: 33, ..Spec::at(4) }.build()]))).unwrap();
    run(log.checkpoint()).unwrap();

    let (log, recovery) = recover(&env.after_power_loss(1)).unwrap();

    // One read from before the cut runs on into what is void.
    let slice = run(log.read(Offset(3), Offset(5), 10_000, true)).unwrap();
    assert!(slice.bytes > batches[0].bytes().len(), "{recovery:?}");
}

/// Crashes at every operation of the work, and counts those after which a promise is broken.
fn broken_promises(mutant: &'static str) -> usize {
    let mut broken = 0;
    for at in 1..=ops_of_a_whole_run() {
        let env = MemEnv::new().with_mutant(mutant);
        env.set_faults(Faults { crash_at: Some(at), ..Faults::default() });
        let promised = work(&env);
        let kept = match recover(&env.after_power_loss(at)) {
            None => promised.flushed_end == 0,
            Some((log, recovery)) => {
                recovery.faulty.is_empty() && log.end().0 >= promised.flushed_end
            },
        };
        broken += usize::from(!kept);
    }
    broken
}

#[test]
fn the_mutants_that_run_ahead_of_a_flush_break_promises() {
    for mutant in ["ack_before_group_flush", "envelope_before_flush"] {
        assert!(broken_promises(mutant) > 0, "{mutant}");
    }
}

/// Moves the log's start, crashing at each operation, and counts what is damaged afterwards.
fn damaged_by_a_moved_start(mutant: Option<&'static str>) -> usize {
    let mut damaged = 0;
    for at in 1..12 {
        let mut env = MemEnv::new();
        if let Some(mutant) = mutant {
            env = env.with_mutant(mutant);
        }
        let (_dir, log) = fresh(&env);
        append_some(&log, 60);
        run(log.checkpoint()).unwrap();
        env.set_faults(Faults { crash_at: Some(env.ops() + at), ..Faults::default() });
        drop(run(log.set_log_start(Offset(40))));
        let (log, recovery) = recover(&env.after_power_loss(at)).unwrap();
        assert_eq!(log.end(), Offset(60));
        damaged += recovery.faulty.len();
    }
    damaged
}

#[test]
fn a_crash_while_the_start_moves_leaves_all_of_the_log_or_all_of_the_rest() {
    assert_eq!(damaged_by_a_moved_start(None), 0);
    assert!(damaged_by_a_moved_start(Some("unlink_before_drop_flushed")) > 0);
}

#[test]
fn what_fsync_acknowledged_survives_though_its_segment_was_never_synced() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    let batches: Vec<_> = (0..5).map(|at| Spec::at(at).build()).collect();
    for batch in &batches {
        run(log.append(fsync_of(std::slice::from_ref(batch)))).unwrap();
    }
    assert_eq!(log.flushed_end(), Offset(5));
    assert!(env.reached("storage_fsync_by_journal"));

    let mut restored = 0;
    for seed in 0..20 {
        let env = MemEnv::new();
        let (_dir, log) = fresh(&env);
        for batch in &batches {
            run(log.append(fsync_of(std::slice::from_ref(batch)))).unwrap();
        }
        let env = env.after_power_loss(seed);
        let (log, recovery) = recover(&env).unwrap();
        assert_eq!((log.end(), &recovery.faulty), (Offset(5), &Vec::new()));
        assert_eq!(read_all(&log, Offset(0)).len(), 5);
        restored += recovery.journal_bytes;
        // Durable in the segment now, whatever becomes of the journal.
        let (log, again) = recover(&env.after_power_loss(seed)).unwrap();
        assert_eq!((log.end(), again.journal_bytes), (Offset(5), 0));
    }
    assert!(restored > 0);
}

#[test]
fn what_the_journal_holds_is_written_again_though_the_page_cache_has_it() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    for at in 0..3 {
        run(log.append(fsync_of(&[Spec::at(at).build()]))).unwrap();
    }
    env.set_faults(Faults { fail_sync_at: Some(env.ops() + 1), ..Faults::default() });
    assert!(run(log.checkpoint()).is_err());

    let (log, _) = recover(&env.after_process_crash()).unwrap();
    assert_eq!(log.flushed_end(), Offset(3));
    // So many groups that the journal has let go of the batches.
    for epoch in 1..60 {
        run(log.begin_epoch(LeaderEpoch(epoch))).unwrap();
    }

    let (log, recovery) = recover(&env.after_power_loss(1)).unwrap();
    assert_eq!((log.end(), recovery.faulty), (Offset(3), Vec::new()));
}

#[test]
fn fsync_behind_what_is_not_durable_flushes_the_segment() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_some(&log, 2);

    run(log.append(fsync_of(&[Spec::at(2).build()]))).unwrap();

    assert_eq!(log.flushed_end(), Offset(3));
    assert!(env.reached("storage_fsync_by_segment"));
    let (log, _) = recover(&env.after_power_loss(1)).unwrap();
    assert_eq!(log.end(), Offset(3));
}

#[test]
fn a_thousand_logs_are_created_with_a_handful_of_flushes_and_survive_a_power_loss() {
    let env = MemEnv::new();
    let (dir, _) = open_dir(&env);
    let found = |index| Found {
        partition: PartitionId { index: PartitionIndex(index), ..partition() },
        replica_gen: GEN,
    };
    let wished = |upto| (0..upto).map(|index| (found(index), small())).collect::<Vec<_>>();

    let before = env.syncs();
    assert!(run(dir.create_logs(wished(1000))).iter().all(Result::is_ok));
    assert!(env.syncs() - before <= 10, "{} flushes", env.syncs() - before);

    let again = run(dir.create_logs(vec![(found(1000), small()), (found(7), small())]));
    assert!(matches!(again[..], [Ok(_), Err(OpenError::Exists { .. })]));
    let (dir, _) = open_dir(&env.after_power_loss(1));
    assert_eq!(dir.logs().len(), 1001);
}

#[test]
fn a_stop_writes_no_file_of_a_log_that_nobody_wrote_to_since_the_start() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 3);
    run(dir.seal()).unwrap();
    let env = env.after_process_crash();
    let (dir, _) = open_dir(&env);
    run(dir.open_log(partition(), GEN, small())).unwrap();

    let before = env.syncs();
    assert_eq!(run(dir.seal()).unwrap(), SealOutcome::Sealed);
    assert_eq!(env.syncs() - before, 2, "the journal and the seal");
    let env = env.after_power_loss(1);
    let (dir, start) = open_dir(&env);
    let (log, recovery) = run(dir.open_log(partition(), GEN, small())).unwrap();
    assert_eq!((start.class, recovery.clean, log.end().0), (StartClass::Clean, true, 3));
}

#[test]
fn an_open_segment_that_is_gone_is_written_again_from_the_journal() {
    // The journal has let go of so many.
    for (let_go, envelopes_too) in [(0, false), (0, true), (2, false), (2, true)] {
        let env = MemEnv::new();
        let (_dir, log) = fresh(&env);
        for at in 0..let_go {
            run(log.append(fsync_of(&[Spec::at(at).build()]))).unwrap();
        }
        for epoch in 1..=let_go * 30 {
            run(log.begin_epoch(LeaderEpoch(i32::try_from(epoch).unwrap()))).unwrap();
        }
        let epoch = log.latest_epoch().map_or(0, |latest| latest.epoch.0);
        for at in let_go..5 {
            run(log.append(fsync_of(&[Spec { epoch, ..Spec::at(at) }.build()]))).unwrap();
        }
        let file = log_file(&env);
        let env = env.after_power_loss(1);
        env.delete(&file);
        if envelopes_too {
            env.delete(&file.with_extension("env"));
        }

        let (log, recovery) = recover(&env).unwrap();

        assert!(recovery.uncertain, "more may have been in it");
        assert_eq!(log.end(), Offset(5));
        if let_go == 0 {
            assert_eq!(recovery.faulty, Vec::new());
            assert_eq!(read_all(&log, Offset(0)).len(), 5);
        } else {
            let (from, to) = (Offset(0), Offset(5));
            assert_eq!(recovery.faulty, vec![storage::FaultyRange { from, to }]);
        }
        run(log.append(fsync_of(&[Spec { epoch, ..Spec::at(5) }.build()]))).unwrap();
        let (log, recovery) = recover(&env.after_power_loss(2)).unwrap();
        assert!(recovery.uncertain);
        assert_eq!((log.end(), read_all(&log, Offset(5)).len()), (Offset(6), 1));
    }
}

#[test]
fn a_start_that_dies_while_it_writes_a_segment_again_forgets_nothing() {
    for died in 1..80 {
        let env = MemEnv::new();
        let (_dir, log) = fresh(&env);
        for at in 0..3 {
            run(log.append(fsync_of(&[Spec::at(at).build()]))).unwrap();
        }
        let file = log_file(&env);
        let env = env.after_power_loss(1);
        env.delete(&file);
        env.set_faults(Faults { crash_at: Some(env.ops() + died), ..Faults::default() });
        if let Ok((dir, _)) = run(storage::LogDir::open(&env, &root(), expect(), options())) {
            drop(run(dir.open_log(partition(), GEN, small())));
        }

        let (log, recovery) = recover(&env.after_power_loss(died)).unwrap();

        assert!(recovery.uncertain, "died at {died}");
        assert_eq!((log.end(), recovery.faulty), (Offset(3), Vec::new()), "died at {died}");
    }
}

#[test]
fn files_of_logs_at_rest_are_closed_and_opened_again_by_who_needs_them() {
    let env = MemEnv::new().with_buggify("storage_few_files");
    let (dir, _) = open_dir(&env);
    let id = |index| PartitionId { index: PartitionIndex(index), ..partition() };
    let logs: Vec<_> =
        (0..5).map(|index| run(dir.create_log(id(index), GEN, small())).unwrap()).collect();
    let mut written = Vec::new();
    for round in 0..3 {
        for log in &logs {
            written.push(append_some(log, 20));
            run(log.checkpoint()).unwrap();
        }
        let mut flusher = pin!(dir.run_flusher(|_| ()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(flusher.as_mut().poll(&mut cx).is_pending(), "idle in round {round}");
    }
    assert!(env.reached("storage_files_released") && env.reached("storage_file_opened_again"));
    for log in &logs {
        assert_eq!(read_all(log, Offset(0)).len(), 60);
    }
    let (dir, _) = open_dir(&env.after_power_loss(1));
    for index in 0..5 {
        let (log, recovery) = run(dir.open_log(id(index), GEN, small())).unwrap();
        assert_eq!((log.end(), recovery.cut), (Offset(60), None));
    }
}

#[test]
fn envelopes_that_somebody_took_away_are_written_again_while_the_log_is_in_use() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_some(&log, 3);
    run(log.checkpoint()).unwrap();
    let file = log_file(&env).with_extension("env");
    env.delete(&file);
    append_some(&log, 2);
    run(log.checkpoint()).unwrap();

    let (log, recovery) = recover(&env.after_power_loss(1)).unwrap();

    assert_eq!((log.end(), recovery.cut, recovery.faulty), (Offset(5), None, Vec::new()));
    assert_eq!(read_all(&log, Offset(0)).len(), 5);
}

#[test]
fn a_spare_file_of_the_journal_that_somebody_took_away_is_not_missed() {
    let env = MemEnv::new();
    let journal = crate::journal::open(&env).unwrap().journal;
    run(journal.upkeep()).unwrap();
    let files = env.files(&root().join("journal"));
    let spare = files.iter().max().unwrap();
    assert_eq!(files.len(), 2);
    env.delete(spare);

    let mut groups = 0;
    while !env.reached("storage_journal_spare_gone") {
        run(journal.commit(crate::journal::records(groups))).unwrap();
        groups += 1;
    }

    let again = crate::journal::open(&env.after_power_loss(3)).unwrap();
    assert_eq!(again.end, storage::journal::JournalEnd::Whole);
    assert_eq!(again.journal.state(), crate::journal::after(groups));
}
