//! Crashes: at every disk operation, with and without the page cache; failed syncs; rot.

use base::{LeaderEpoch, Offset};
use bytes::Bytes;
use proptest::prelude::*;
use records::BatchHeader;
use storage::{FaultyRange, Log, ReadError, Recovery, Verdict};

use crate::support::{
    Faults, GEN, MemEnv, Spec, append_of, append_some, fresh, fsync_of, open_dir, partition,
    read_all, root, run, small,
};

/// What a process that crashed had been promised.
#[derive(Default)]
pub struct Promised {
    batches: Vec<(BatchHeader, Bytes)>,
    written_end: i64,
    pub flushed_end: i64,
    epochs: Vec<(i32, i64)>,
}

/// Works until the disk fails.
pub fn work(env: &MemEnv) -> Promised {
    let mut promised = Promised::default();
    let _finished: Option<()> = try_work(env, &mut promised);
    promised
}

fn try_work(env: &MemEnv, promised: &mut Promised) -> Option<()> {
    let (dir, _) = run(storage::LogDir::open(
        env,
        &root(),
        crate::support::expect(),
        crate::support::options(),
    ))
    .ok()?;
    let found = storage::Found { partition: partition(), replica_gen: GEN };
    let log = if dir.logs().contains(&found) {
        run(dir.open_log(partition(), GEN, small())).ok()?.0
    } else {
        run(dir.create_log(partition(), GEN, small())).ok()?
    };
    for round in 0..12 {
        if round % 5 == 0 {
            run(log.begin_epoch(LeaderEpoch(round))).ok()?;
            promised.epochs.push((round, log.end().0));
        }
        let base = log.end().0;
        let value_bytes = if round % 4 == 3 { 1500 } else { 200 };
        let producer = Some((7, i32::try_from(base).unwrap()));
        let epoch = round / 5 * 5;
        let spec = Spec { value_bytes, producer, epoch, count: 2, ..Spec::at(base) };
        let batch = spec.build();
        promised.batches.push((*batch.header(), batch.bytes().clone()));
        let fsync = round % 4 == 1;
        let append = if fsync { fsync_of(&[batch]) } else { append_of(&[batch]) };
        run(log.append(append)).ok()?;
        promised.written_end = log.end().0;
        if fsync {
            promised.flushed_end = log.end().0;
        }
        match round % 3 {
            0 => promised.flushed_end = run(log.flush()).ok()?.0,
            1 => promised.flushed_end = run(log.checkpoint()).ok()?.0,
            _ => {},
        }
    }
    run(dir.seal()).ok()?;
    promised.flushed_end = log.end().0;
    Some(())
}

/// Opens the log as the next process, if it was ever created.
pub fn recover(env: &MemEnv) -> Option<(Log<MemEnv>, Recovery)> {
    let (dir, _) = open_dir(env);
    dir.logs().first()?;
    Some(run(dir.open_log(partition(), GEN, small())).unwrap())
}

fn check_recovered(env: &MemEnv, promised: &Promised, at_least: i64) {
    let Some((log, recovery)) = recover(env) else {
        assert_eq!(at_least, 0, "the log is gone");
        return;
    };
    assert_eq!(recovery.faulty, Vec::new());
    assert!(log.end().0 >= at_least, "{} < {at_least}: {recovery:?}", log.end());
    let found = read_all(&log, Offset(0));
    assert_eq!(found[..], promised.batches[..found.len()]);
    let end = log.end().0;
    // The producer is known exactly up to the end.
    if end > 0 {
        let next = Spec { producer: Some((7, i32::try_from(end).unwrap())), ..Spec::at(end) };
        let batch = storage::ProducerBatch::of(next.build().header()).unwrap();
        assert_eq!(log.producers().check(&batch), Verdict::Append);
    }
    let epochs = log.epochs();
    for (epoch, start) in promised.epochs.iter().filter(|(_, start)| *start < end) {
        assert_eq!(epochs.epoch_at(Offset(*start)), Some(LeaderEpoch(*epoch)));
    }
    // It can go on.
    append_some_epoch(&log, 11);
}

fn append_some_epoch(log: &Log<MemEnv>, epoch: i32) {
    let batch = Spec { epoch, ..Spec::at(log.end().0) }.build();
    run(log.append(append_of(&[batch]))).unwrap();
    run(log.flush()).unwrap();
}

pub fn ops_of_a_whole_run() -> u64 {
    let env = MemEnv::new();
    work(&env);
    env.ops()
}

#[test]
fn a_process_crash_at_any_operation_loses_nothing_written() {
    for at in 1..=ops_of_a_whole_run() {
        let env = MemEnv::new();
        env.set_faults(Faults { crash_at: Some(at), ..Faults::default() });
        let promised = work(&env);

        check_recovered(&env.after_process_crash(), &promised, promised.written_end);
    }
}

#[test]
fn a_power_loss_at_any_operation_loses_nothing_flushed() {
    for at in 1..=ops_of_a_whole_run() {
        for seed in 0..4 {
            let env = MemEnv::new();
            env.set_faults(Faults { crash_at: Some(at), ..Faults::default() });
            let promised = work(&env);

            check_recovered(
                &env.after_power_loss(seed * 1000 + at),
                &promised,
                promised.flushed_end,
            );
        }
    }
}

#[test]
fn a_crash_during_recovery_loses_nothing_flushed() {
    for at in (20..=ops_of_a_whole_run()).step_by(7) {
        for second in 1..60 {
            let env = MemEnv::new();
            env.set_faults(Faults { crash_at: Some(at), ..Faults::default() });
            let promised = work(&env);
            let env = env.after_power_loss(at);
            env.set_faults(Faults { crash_at: Some(env.ops() + second), ..Faults::default() });
            let opened = run(storage::LogDir::open(
                &env,
                &root(),
                crate::support::expect(),
                crate::support::options(),
            ));
            if let Ok((dir, _)) = opened {
                drop(run(dir.open_log(partition(), GEN, small())));
            }

            let env = env.after_power_loss(second);
            let Some((log, recovery)) = recover(&env) else {
                assert_eq!(promised.flushed_end, 0);
                continue;
            };
            assert_eq!(recovery.faulty, Vec::new());
            assert!(log.end().0 >= promised.flushed_end);
        }
    }
}

/// fsyncgate: a sync fails, the process restarts, then the machine loses power.
fn failed_sync_then_restart_then_power_loss(mutant: Option<&'static str>) -> usize {
    let mut lost = 0;
    for at in 1..=ops_of_a_whole_run() {
        let mut env = MemEnv::new();
        if let Some(mutant) = mutant {
            env = env.with_mutant(mutant);
        }
        env.set_faults(Faults { fail_sync_at: Some(at), ..Faults::default() });
        let first = work(&env);
        let env = env.after_process_crash();
        let Some((log, recovery)) = recover(&env) else { continue };
        assert!(mutant.is_some() || recovery.faulty.is_empty());
        // What recovery reports as durable must survive.
        let durable = log.flushed_end().0;
        assert!(durable >= first.flushed_end);
        let env = env.after_power_loss(at);
        let end = recover(&env).map_or(0, |(log, recovery)| match recovery.faulty.first() {
            Some(range) => range.from.0,
            None => log.end().0,
        });
        lost += usize::from(end < durable);
    }
    lost
}

#[test]
fn after_a_failed_sync_recovery_trusts_only_what_it_wrote_again() {
    assert_eq!(failed_sync_then_restart_then_power_loss(None), 0);
}

#[test]
fn the_mutant_that_trusts_the_page_cache_loses_data() {
    assert!(failed_sync_then_restart_then_power_loss(Some("trust_page_cache")) > 0);
}

#[test]
fn the_mutant_that_skips_directory_syncs_loses_data() {
    let mut lost = 0;
    for seed in 0..10 {
        let env = MemEnv::new().with_mutant("skip_dir_sync");
        let promised = work(&env);
        let env = env.after_power_loss(seed);
        // A rolled segment whose entry was never synced is gone, with what was flushed into it.
        let end = recover(&env).map_or(0, |(log, recovery)| match recovery.faulty.first() {
            Some(range) => range.from.0,
            None => log.end().0,
        });
        lost += usize::from(end < promised.flushed_end);
    }
    assert!(lost > 0);
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_any_more() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 2);
    env.set_faults(Faults { fail_sync_at: Some(env.ops() + 1), ..Faults::default() });

    assert!(run(log.flush()).is_err());

    assert!(dir.failed().is_some());
    assert!(run(log.flush()).is_err());
    assert!(run(log.append(append_of(&[Spec::at(2).build()]))).is_err());
    assert!(run(dir.seal()).is_err());
    assert!(env.reached("storage_sync_failed"));
    assert_eq!(log.flushed_end(), Offset(0));
}

#[test]
fn an_abandoned_append_kills_the_directory() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);

    drop(log.append(append_of(&[Spec::at(0).build()])));
    assert!(dir.failed().is_none(), "a future that was never polled did nothing");
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_some(&log, 3);
    run(log.checkpoint()).unwrap();
    append_some(&log, 2);
    env.set_faults(Faults { crash_at: Some(env.ops() + 1), ..Faults::default() });
    assert!(run(log.append(append_of(&[Spec::at(5).build()]))).is_err());

    let (log, recovery) = recover(&env.after_process_crash()).unwrap();

    assert_eq!(log.end(), Offset(5));
    let cut = recovery.cut.unwrap();
    assert_eq!((cut.at, cut.torn), (Offset(5), true));
    assert_eq!(recovery.recovery_point, Offset(3));
    assert!(recovery.scanned_bytes > 0);
}

pub fn log_file(env: &MemEnv) -> std::path::PathBuf {
    let files = env.files(&root());
    files.into_iter().find(|path| path.extension().is_some_and(|e| e == "log")).unwrap()
}

#[test]
fn rot_beyond_the_recovery_point_ends_the_log_there() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    let batches = append_some(&log, 3);
    run(log.checkpoint()).unwrap();
    append_some(&log, 3);
    env.rot(&log_file(&env), batches[0].bytes().len() * 4 + 30, 1);

    let (log, recovery) = recover(&env.after_process_crash()).unwrap();

    assert_eq!(log.end(), Offset(4));
    assert!(!recovery.cut.unwrap().torn, "a whole batch follows: no process crash does that");
}

#[test]
fn rot_below_the_recovery_point_is_never_cut() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    let batches = append_some(&log, 6);
    run(log.begin_epoch(LeaderEpoch(1))).unwrap();
    let at = batches[0].bytes().len();
    env.rot(&log_file(&env), at + 16, 7);
    // Not even if the envelopes are gone too, so that the headers must be walked.
    let env_file = log_file(&env).with_extension("env");
    env.overwrite(&env_file, &[]);

    let env = env.after_process_crash();
    let (log, recovery) = recover(&env).unwrap();

    assert_eq!(log.end(), Offset(6));
    assert_eq!(recovery.faulty, vec![FaultyRange { from: Offset(1), to: Offset(6) }]);
    let read = run(log.read(Offset(2), Offset(6), 100, true));
    assert!(matches!(read, Err(ReadError::Corrupt { at: Offset(2) })));
    append_some_epoch(&log, 1);
    assert_eq!(read_all(&log, Offset(6)).len(), 1);
    assert!(env.reached("storage_durable_bytes_damaged"));
}

#[test]
fn a_file_shorter_than_its_envelopes_is_damage() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    let batches = append_some(&log, 6);
    run(log.checkpoint()).unwrap();
    let file = log_file(&env);
    let kept = env.content(&file)[..batches[0].bytes().len() * 2].to_vec();
    env.overwrite(&file, &kept);

    let (log, recovery) = recover(&env.after_process_crash()).unwrap();

    assert_eq!(log.end(), Offset(6));
    assert_eq!(recovery.faulty, vec![FaultyRange { from: Offset(2), to: Offset(6) }]);
    append_some(&log, 1);
    assert_eq!(read_all(&log, Offset(6)).len(), 1);
}

#[test]
fn a_segment_that_is_gone_is_damage_and_its_offsets_are_not_used_again() {
    for gone in [0, 1, 2] {
        let env = MemEnv::new();
        let (_dir, log) = fresh(&env);
        let batches = append_some(&log, 60);
        run(log.begin_epoch(LeaderEpoch(1))).unwrap();
        let files = env.files(&root());
        let logs: Vec<_> =
            files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
        assert_eq!(logs.len(), 3);
        env.delete(&logs[gone]);

        for _ in 0..2 {
            let (log, recovery) = recover(&env.after_process_crash()).unwrap();

            assert_eq!(log.end(), Offset(60), "{recovery:?}");
            assert_eq!(recovery.faulty.len(), 1);
            let FaultyRange { from, to } = recovery.faulty[0];
            let lost = i64::try_from(batches.len()).unwrap() / 3;
            assert!(to.0 - from.0 >= lost - 10);
            for at in 0..60 {
                let read = run(log.read(Offset(at), Offset(60), 100, true));
                assert_eq!(read.is_err(), (from.0..to.0).contains(&at), "{at}");
            }
        }
        let (log, _) = recover(&env.after_process_crash()).unwrap();
        append_some_epoch(&log, 1);
        assert_eq!(read_all(&log, Offset(60)).len(), 1);
    }
}

#[test]
fn a_lost_or_damaged_producers_file_is_made_again_from_the_batches() {
    for damage in [true, false] {
        let env = MemEnv::new();
        let promised = work(&env);
        let files = env.files(&root());
        let producers = files.into_iter().find(|path| path.ends_with("producers")).unwrap();
        if damage {
            env.rot(&producers, 40, 1);
        } else {
            env.delete(&producers);
        }

        let env = env.after_process_crash();
        let (log, recovery) = recover(&env).unwrap();

        assert!(recovery.producers_lost);
        assert_eq!(read_all(&log, Offset(0)), promised.batches);
        let entries: Vec<_> =
            log.epochs().entries().iter().map(|e| (e.epoch.0, e.start.0)).collect();
        assert_eq!(entries, promised.epochs);
        assert_eq!(log.producers().len(), 1);
    }
}

#[test]
fn a_hole_in_the_envelopes_is_filled_from_the_headers() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    for _ in 0..5 {
        append_some(&log, 2);
        run(log.checkpoint()).unwrap();
    }
    let env_file = log_file(&env).with_extension("env");
    env.rot(&env_file, 128 + 60, 1);

    let env = env.after_process_crash();
    let (log, recovery) = recover(&env).unwrap();

    assert_eq!((log.end(), recovery.recovery_point), (Offset(10), Offset(10)));
    assert_eq!(recovery.scanned_bytes, 0);
    assert!(env.reached("storage_envelopes_rewritten"));
    let again = recover(&env.after_process_crash()).unwrap().1;
    assert_eq!(again.rebuilt_bytes, 0, "the index was repaired on disk");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_damage_anywhere_makes_recovery_panic_or_lie(
        file in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        with in 1_u8..,
    ) {
        let env = MemEnv::new();
        let promised = work(&env);
        let files: Vec<_> = env.files(&root()).into_iter()
            .filter(|path| path.components().count() == 3 && !env.content(path).is_empty())
            .collect();
        let path = &files[file.index(files.len())];
        env.rot(path, at.index(env.content(path).len()), with);
        let env = env.after_power_loss(1);

        let (dir, start) = open_dir(&env);
        let Some(found) = dir.logs().first().copied() else {
            prop_assert!(start.journal_damaged);
            return Ok(());
        };
        let opened = run(dir.open_log(found.partition, found.replica_gen, small())).unwrap();
        let (log, recovery) = opened;
        prop_assert_eq!(start.journal_damaged, recovery.uncertain);

        // Whatever can be read has the offsets it claims; the rest is reported.
        let mut next = Offset(0);
        while next < log.end() {
            match run(log.read(next, log.end(), 300, true)) {
                Ok(slice) => {
                    let bytes = crate::support::bytes_of(&slice);
                    for batch in records::batches(bytes.into()).map_while(Result::ok) {
                        next = next.max(batch.header().next_offset());
                    }
                },
                Err(ReadError::Corrupt { .. }) => {},
                Err(error) => prop_assert!(false, "{error}"),
            }
            next = Offset(next.0 + 1);
        }
        prop_assert!(log.end().0 <= promised.flushed_end);
    }
}
