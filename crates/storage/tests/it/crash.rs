//! Crashes: at every disk operation, with and without the page cache; failed syncs; rot.

use base::{LeaderEpoch, Offset, ReplicaGen};
use bytes::Bytes;
use proptest::prelude::*;
use records::BatchHeader;
use storage::journal::{BLOCK, decode_block, read_journal};
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
fn a_lost_segment_tells_of_no_producer_and_a_start_that_needs_it_says_so() {
    for is_needed in [true, false] {
        let env = MemEnv::new();
        let (_dir, log) = fresh(&env);
        let find = |what: &str| {
            let files = env.files(&root()).into_iter();
            files.filter(|path| path.to_string_lossy().ends_with(what)).collect::<Vec<_>>()
        };
        append_some(&log, 30);
        let older = env.content(&find("producers")[0]);
        append_some(&log, 30);
        let segments = find(".log");
        env.delete(&segments[segments.len() - 2]);
        if is_needed {
            env.overwrite(&find("producers")[0], &older);
        }

        let env = env.after_process_crash();
        let (_, recovery) = recover(&env).unwrap();

        assert_eq!(recovery.faulty.len(), 1);
        assert_eq!(env.reached("storage_producers_behind_damage"), is_needed);
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

    let env = env.after_process_crash().with_buggify("storage_producers_at_start");
    let (log, recovery) = recover(&env).unwrap();

    assert_eq!((log.end(), recovery.recovery_point), (Offset(10), Offset(10)));
    assert_eq!(recovery.scanned_bytes, 0);
    assert!(env.reached("storage_envelopes_rewritten"));
    let again = recover(&env.after_process_crash()).unwrap().1;
    assert_eq!(again.rebuilt_bytes, 0, "the index was repaired on disk");
}

#[test]
fn a_rotted_base_offset_below_the_recovery_point_is_damage_from_there_on() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    let batches = append_some(&log, 6);
    run(log.begin_epoch(LeaderEpoch(1))).unwrap();
    env.rot(&log_file(&env), batches[0].bytes().len() * 2 + 7, 2 ^ 3);
    env.overwrite(&log_file(&env).with_extension("env"), &[]);

    let (log, recovery) = recover(&env.after_process_crash()).unwrap();

    assert_eq!(recovery.faulty, vec![FaultyRange { from: Offset(2), to: Offset(6) }]);
    assert_eq!(log.end(), Offset(6));
}

#[test]
fn producers_behind_a_damaged_header_are_found_where_the_next_run_begins() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    let mut lengths = Vec::new();
    // Two segments of two runs each.
    for producer in 0..4 {
        let batch = Spec { producer: Some((producer, 0)), value_bytes: 900, ..Spec::at(producer) };
        let batch = batch.build();
        lengths.push(batch.bytes().len());
        run(log.append(append_of(&[batch]))).unwrap();
        run(log.checkpoint()).unwrap();
    }
    let files = env.files(&root());
    let logs: Vec<_> =
        files.iter().filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    assert_eq!(logs.len(), 2);
    for log in logs {
        env.rot(log, 16, 1);
    }
    env.delete(files.iter().find(|path| path.ends_with("producers")).unwrap());

    let (log, recovery) = recover(&env.after_process_crash()).unwrap();

    assert!(recovery.producers_lost);
    for (producer, known) in [(0, false), (1, true), (2, false), (3, true)] {
        let again = Spec { producer: Some((producer, 0)), ..Spec::at(producer) }.build();
        let batch = storage::ProducerBatch::of(again.header()).unwrap();
        let duplicate = matches!(log.producers().check(&batch), Verdict::Duplicate { .. });
        assert_eq!(duplicate, known, "producer {producer}");
    }
}

/// Two logs that nobody sealed: one whose batches are in the journal alone, in its first lap, and one
/// that goes through the laps behind it. Returns what each was promised.
fn pinned_work(env: &MemEnv) -> [(ReplicaGen, i64); 2] {
    let (dir, quiet) = fresh(env);
    let busy = run(dir.create_log(partition(), ReplicaGen(2), small())).unwrap();
    for at in 0..3 {
        run(quiet.append(fsync_of(&[Spec::at(at).build()]))).unwrap();
    }
    for at in 0..8 {
        run(busy.append(fsync_of(&[Spec { value_bytes: 100, ..Spec::at(at) }.build()]))).unwrap();
        if at % 2 == 0 {
            run(busy.checkpoint()).unwrap();
        }
    }
    for epoch in 1..50 {
        run(busy.begin_epoch(LeaderEpoch(epoch))).unwrap();
    }
    assert!(!env.reached("storage_fsync_by_segment"), "only the journal and envelopes vouch");
    [(GEN, quiet.end().0), (ReplicaGen(2), busy.end().0)]
}

#[test]
fn the_work_that_is_damaged_pins_a_lap_behind_which_others_come_and_go() {
    let env = MemEnv::new();
    pinned_work(&env);
    let found = run(read_journal(&env, &root())).unwrap();
    let manifest = found.manifest.unwrap().unwrap();
    assert_eq!(manifest.kept.first().map(|kept| kept.lap), Some(1));
    assert!(found.replayed.unwrap().last.lap > 3);
}

/// Where the last group of the journal lies: its rot cannot be told from a write that was torn.
pub fn last_group(env: &MemEnv) -> (std::path::PathBuf, Vec<usize>) {
    let found = run(read_journal(env, &root())).unwrap();
    let last = found.replayed.unwrap().last;
    let file = found.files.iter().find(|file| file.1.is_some_and(|head| head.lap == last.lap));
    let (number, header, _) = file.unwrap();
    let path = root().join("journal").join(number.to_string());
    let (nonce, content) = (header.as_ref().unwrap().nonce, env.content(&path));
    let of_last = |at: &usize| {
        let block = decode_block(&content[at * BLOCK..]);
        block.is_ok_and(|block| block.nonce == nonce && block.group + 1 == last.groups)
    };
    (path, (1..content.len() / BLOCK).filter(of_last).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_damage_anywhere_makes_recovery_panic_or_lie(
        file in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        with in 1_u8..,
        seed in any::<u64>(),
    ) {
        let env = MemEnv::new();
        let promised = pinned_work(&env);
        let files: Vec<_> = env.files(&root()).into_iter()
            .filter(|path| path.components().count() == 3 && !env.content(path).is_empty())
            .collect();
        let path = &files[file.index(files.len())];
        // Most of a journal's file is what was never written.
        let used = env.content(path).iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        let at = at.index(used);
        let (last_file, last_blocks) = last_group(&env);
        prop_assume!(*path != last_file || !last_blocks.contains(&(at / BLOCK)));
        env.rot(path, at, with);
        let env = env.after_power_loss(seed);

        let (dir, start) = open_dir(&env);
        prop_assert!(start.journal_damaged || dir.logs().len() == promised.len());
        for (replica_gen, promised) in promised {
            let found = storage::Found { partition: partition(), replica_gen };
            if !dir.logs().contains(&found) {
                continue;
            }
            let (log, recovery) = run(dir.open_log(partition(), replica_gen, small())).unwrap();
            prop_assert!(!start.journal_damaged || recovery.uncertain);
            let told = recovery.uncertain || !recovery.faulty.is_empty();
            prop_assert!(
                log.end().0 >= promised || told,
                "{replica_gen}: {} < {promised}, {recovery:?}", log.end()
            );
            reads_what_it_claims(&log, promised, told)?;
        }
    }
}

/// Whatever can be read has the offsets it claims; the rest is reported.
fn reads_what_it_claims(log: &Log<MemEnv>, promised: i64, told: bool) -> Result<(), TestCaseError> {
    let mut next = Offset(0);
    while next < log.end() {
        match run(log.read(next, log.end(), 300, true)) {
            Ok(slice) => {
                let bytes = crate::support::bytes_of(&slice);
                prop_assert!(!bytes.is_empty(), "nothing and no error at {next}");
                for batch in records::batches(bytes.into()).map_while(Result::ok) {
                    prop_assert!(batch.header().base_offset >= next);
                    next = batch.header().next_offset();
                }
            },
            Err(ReadError::Corrupt { .. }) => next = Offset(next.0 + 1),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
    prop_assert!(log.end().0 <= promised || told);
    Ok(())
}
