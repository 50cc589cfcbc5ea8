//! The journal by itself: crashes at every disk operation, damage in every block, shared groups.

use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Waker};

use base::{LeaderEpoch, Offset, PartitionId, PartitionIndex, ReplicaGen, SegGen, TopicId, Uuid};
use bytes::Bytes;
use storage::Found;
use storage::journal::{
    BLOCK, Change, CommitError, JOURNAL_FILE_BYTES_MIN, Journal, JournalBatch, JournalEnd,
    JournalOptions, JournalState, OpenedJournal, Record, encode_group, read_journal,
};
use storage::names::SegmentName;

use crate::support::{Faults, MemEnv, root, run};

pub fn open(env: &MemEnv) -> std::io::Result<OpenedJournal<MemEnv>> {
    let options = JournalOptions { file_bytes: JOURNAL_FILE_BYTES_MIN };
    let opened = run(Journal::open(env, &root(), Uuid([1; 16]), options, true));
    opened.map_err(std::io::Error::other)
}

fn log(index: i32) -> Found {
    let topic = TopicId(Uuid([9; 16]));
    let partition = PartitionId { topic, index: PartitionIndex(index) };
    Found { partition, replica_gen: ReplicaGen(1) }
}

/// What commit number `at` says.
pub fn records(at: i32) -> Vec<Record> {
    let of = log(at / 4);
    let record = |change| Record { log: of, change };
    match at % 4 {
        0 => vec![record(Change::Create)],
        1 => {
            let name = SegmentName { base: Offset(0), seg_gen: SegGen(1) };
            let epoch = Change::Epoch { epoch: LeaderEpoch(at), start: Offset(0) };
            vec![record(Change::SegAdd(name)), record(epoch)]
        },
        2 => {
            let (end, high_watermark) = (Offset(i64::from(at)), Offset(1));
            vec![record(Change::Flushed { end, high_watermark })]
        },
        _ if at % 8 == 3 => vec![record(Change::Drop)],
        _ => vec![record(Change::LogStart(Offset(5)))],
    }
}

/// The state after the first `count` commits.
pub fn after(count: i32) -> JournalState {
    let mut state = JournalState::default();
    for record in (0..count).flat_map(records) {
        state.apply(&record).unwrap();
    }
    state
}

/// Commits as many as the disk lets it, and says how many were promised.
fn work(env: &MemEnv, count: i32) -> i32 {
    let Ok(opened) = open(env) else { return 0 };
    for at in 0..count {
        if run(opened.journal.commit(records(at))).is_err() {
            return at;
        }
        if at % 3 == 0 && run(opened.journal.upkeep()).is_err() {
            return at + 1;
        }
    }
    count
}

/// How many commits the state is of; it must be a whole number of them.
fn commits_in(state: &JournalState, promised: i32) -> i32 {
    let found = (promised..=promised + 1).find(|count| after(*count) == *state);
    assert!(found.is_some(), "not what {promised} commits left: {state:?}");
    found.unwrap()
}

#[test]
fn what_was_committed_is_read_back_and_nothing_else() {
    let env = MemEnv::new();
    assert_eq!(work(&env, 60), 60);
    assert!(env.reached("storage_journal_file_recycled"));

    let opened = open(&env.after_power_loss(1)).unwrap();

    assert_eq!(opened.journal.state(), after(60));
    assert_eq!(opened.end, JournalEnd::Whole);
}

#[test]
fn a_crash_at_any_operation_keeps_whole_commits_and_all_that_were_promised() {
    let env = MemEnv::new();
    work(&env, 60);
    for at in 1..=env.ops() {
        for seed in 0..3 {
            let env = MemEnv::new();
            env.set_faults(Faults { crash_at: Some(at), ..Faults::default() });
            let promised = work(&env, 60);
            let env = match seed {
                0 => env.after_process_crash(),
                _ => env.after_power_loss(at * 7 + seed),
            };

            let opened = open(&env).unwrap();

            assert_ne!(opened.end, JournalEnd::Corrupt, "crash at operation {at}");
            let count = commits_in(&opened.journal.state(), promised);
            // It goes on from there, and a second start reads the same.
            run(opened.journal.commit(records(count))).unwrap();
            let env = env.after_power_loss(seed);
            assert_eq!(open(&env).unwrap().journal.state(), after(count + 1));
        }
    }
}

#[test]
fn the_mutant_that_keeps_a_nonce_takes_an_old_lap_for_this_one() {
    let mut wrong = 0;
    for at in 0..40 {
        let env = MemEnv::new().with_mutant("recycle_keeps_nonce");
        env.set_faults(Faults { crash_at: Some(150 + at), ..Faults::default() });
        let promised = work(&env, 60);
        let Ok(opened) = open(&env.after_power_loss(at)) else {
            wrong += 1;
            continue;
        };
        let state = opened.journal.state();
        let explained = (promised..=promised + 1).any(|count| after(count) == state);
        wrong += usize::from(!explained || opened.end == JournalEnd::Corrupt);
    }
    assert!(wrong > 0);
}

#[test]
fn a_crash_at_any_operation_of_a_start_loses_nothing() {
    for second in 1..30 {
        let env = MemEnv::new();
        assert_eq!(work(&env, 20), 20);
        let env = env.after_process_crash();
        env.set_faults(Faults { crash_at: Some(env.ops() + second), ..Faults::default() });
        drop(open(&env));

        let opened = open(&env.after_power_loss(second)).unwrap();

        assert_eq!(opened.journal.state(), after(20));
        assert_ne!(opened.end, JournalEnd::Corrupt);
    }
}

#[test]
fn what_only_the_page_cache_had_is_durable_after_a_start() {
    let env = MemEnv::new();
    let opened = open(&env).unwrap();
    run(opened.journal.commit(records(0))).unwrap();
    env.set_faults(Faults { fail_sync_at: Some(env.ops() + 2), ..Faults::default() });
    assert!(run(opened.journal.commit(records(1))).is_err());
    assert!(run(opened.journal.commit(records(1))).is_err(), "it failed for good");
    assert!(opened.journal.is_failed());

    let env = env.after_process_crash();
    assert_eq!(open(&env).unwrap().journal.state(), after(2));

    assert_eq!(open(&env.after_power_loss(1)).unwrap().journal.state(), after(2));
}

fn file_of_groups(env: &MemEnv) -> PathBuf {
    let files = env.files(&root().join("journal"));
    let used = |path: &PathBuf| env.content(path)[BLOCK..].iter().any(|byte| *byte != 0);
    files.into_iter().find(used).unwrap()
}

#[test]
fn damage_in_any_block_is_noticed_and_noted_once() {
    for block in 0..=6 {
        let env = MemEnv::new();
        assert_eq!(work(&env, 6), 6);
        env.rot(&file_of_groups(&env), block * BLOCK + 20, 1);
        let env = env.after_process_crash();

        let opened = open(&env).unwrap();

        // The last group alone looks like one that was never acknowledged.
        let is_last = block == 6;
        assert_eq!(opened.end == JournalEnd::Corrupt, !is_last, "block {block}");
        let uncertain = |journal: &Journal<MemEnv>| {
            journal.state().logs().values().filter(|log| log.uncertain).count()
        };
        let marked = uncertain(&opened.journal);
        assert_eq!(marked, if is_last { 0 } else { opened.journal.state().logs().len() });
        let again = open(&env.after_power_loss(1)).unwrap();
        assert_ne!(again.end, JournalEnd::Corrupt);
        assert_eq!(uncertain(&again.journal), marked);
    }
}

#[test]
fn damage_longer_than_any_group_is_no_torn_end_if_a_group_follows() {
    for follows in [true, false] {
        let env = MemEnv::new();
        assert_eq!(work(&env, 2), 2);
        let (path, _) = newest_lap(&env);
        let found = run(read_journal(&env, &root())).unwrap();
        let nonce = found.files.iter().filter_map(|(_, header, _)| *header).next().unwrap().nonce;
        let far = 3 * 1024 * 1024 / BLOCK;
        let mut content = env.content(&path);
        content.resize(far * BLOCK, 0x5a);
        if follows {
            content.extend_from_slice(&encode_group(nonce, 900, &[]));
        }
        env.overwrite(&path, &content);

        let opened = open(&env.after_process_crash()).unwrap();

        assert_eq!(opened.end == JournalEnd::Corrupt, follows);
    }
}

#[test]
fn a_full_disk_stops_no_change_of_state() {
    let env = MemEnv::new();
    let opened = open(&env).unwrap();
    // The spare file of a new directory is made once it serves.
    run(opened.journal.upkeep()).unwrap();
    env.set_faults(Faults { full: true, ..Faults::default() });
    for at in 0..20 {
        run(opened.journal.commit(records(at))).unwrap();
        run(opened.journal.upkeep()).unwrap();
    }
    assert!(env.reached("storage_journal_upkeep_put_off"));
    assert!(!opened.journal.is_failed());

    env.set_faults(Faults::default());
    assert!(opened.journal.is_upkeep_due());
    run(opened.journal.upkeep()).unwrap();
    assert!(!opened.journal.is_upkeep_due());
    assert_eq!(open(&env.after_power_loss(1)).unwrap().journal.state(), after(20));
}

#[test]
fn a_lost_manifest_is_not_an_empty_directory() {
    let env = MemEnv::new();
    assert_eq!(work(&env, 3), 3);
    env.delete(&root().join("manifest"));

    assert!(open(&env.after_process_crash()).is_err());
}

#[test]
fn commits_that_wait_share_one_flush() {
    let mut env = MemEnv::new();
    env.restless = true;
    let journal = open(&env).unwrap().journal;
    let before = env.syncs();
    let commit = |at: i32| {
        let records = vec![Record { log: log(at), change: Change::Create }];
        Box::pin(journal.commit(records))
    };
    let mut tasks: Vec<Pin<Box<dyn Future<Output = _>>>> = Vec::new();
    for at in 0..20 {
        tasks.push(commit(at));
    }
    let mut cx = Context::from_waker(Waker::noop());
    while !tasks.is_empty() {
        tasks.retain_mut(|task| task.as_mut().poll(&mut cx).is_pending());
    }

    assert!(env.syncs() - before < 15, "{} flushes", env.syncs() - before);
    assert!(env.reached("storage_journal_group_shared"));
    assert_eq!(journal.state().logs().len(), 20);
}

#[test]
fn batches_stay_until_their_segment_is_durable() {
    let env = MemEnv::new();
    let journal = open(&env).unwrap().journal;
    let name = SegmentName { base: Offset(0), seg_gen: SegGen(1) };
    let record = |change| Record { log: log(0), change };
    run(journal.commit(vec![record(Change::Create), record(Change::SegAdd(name))])).unwrap();
    let batch = |at: u8| JournalBatch {
        seg_gen: SegGen(1),
        position: u32::from(at) * 4,
        base: Offset(i64::from(at)),
        end: Offset(i64::from(at) + 1),
        bytes: Bytes::copy_from_slice(&[at; 4]),
    };
    let write = |at| {
        let change = Change::Batch(batch(at));
        run(journal.commit(vec![Record { log: log(0), change }])).unwrap();
        run(journal.upkeep()).unwrap();
    };
    let mut count = 0;
    while journal.has_room_for(4) {
        write(count);
        count += 1;
    }
    assert!(count > 15, "more than one file's worth");

    let env = env.after_power_loss(1);
    let opened = open(&env).unwrap();
    let expected: Vec<_> = (0..count).map(batch).collect();
    assert_eq!(opened.batches[&log(0)], expected);
    // They survive a second start as well, until they are said to be in their segment.
    let env = env.after_power_loss(1);
    let opened = open(&env).unwrap();
    assert_eq!(opened.batches[&log(0)], expected);
    opened.journal.note_filed(log(0), Offset(i64::from(count)));
    run(opened.journal.upkeep()).unwrap();

    let opened = open(&env.after_power_loss(1)).unwrap();
    assert_eq!(opened.batches.get(&log(0)), None);
    assert!(opened.journal.has_room_for(4));
}

/// The file of the newest lap, and how many laps there are.
fn newest_lap(env: &MemEnv) -> (PathBuf, usize) {
    let found = run(read_journal(env, &root())).unwrap();
    let laps =
        found.files.iter().filter_map(|(number, header, _)| Some((header.as_ref()?.lap, number)));
    let newest = laps.clone().max().unwrap().1;
    (root().join("journal").join(newest.to_string()), laps.count())
}

#[test]
fn a_newest_lap_that_cannot_be_read_is_damage_and_not_the_journals_end() {
    for (damage, groups_in_it) in [("rot", 0), ("rot", 1), ("rot", 3), ("gone", 0), ("gone", 1)] {
        let env = MemEnv::new();
        let journal = open(&env).unwrap().journal;
        let mut count = 0;
        let mut commit = |env: &MemEnv| {
            run(journal.commit(records(count))).unwrap();
            count += 1;
            newest_lap(env).1
        };
        // Without upkeep the manifest stays behind in the first lap.
        while commit(&env) < 2 {}
        for _ in 1..groups_in_it {
            commit(&env);
        }
        let path = newest_lap(&env).0;
        let mut env = env.after_power_loss(1);
        match damage {
            "rot" => env.rot(&path, 30, 1),
            _ => env.delete(&path),
        }
        // A start that dies before it could say so makes no difference.
        for died in [Some(9), Some(14), None] {
            let faults = Faults { crash_at: died.map(|at| env.ops() + at), ..Faults::default() };
            env.set_faults(faults);
            let opened = open(&env);
            assert_eq!(opened.is_err(), died.is_some());
            env = env.after_power_loss(1);
            if let Ok(opened) = opened {
                assert_eq!(opened.end, JournalEnd::Corrupt, "{damage}, {groups_in_it} groups");
                assert!(opened.journal.state().logs().values().all(|log| log.uncertain));
            }
        }
        let again = open(&env).unwrap();
        assert_eq!(again.end, JournalEnd::Whole, "noted once");
        assert!(again.journal.state().logs().values().all(|log| log.uncertain));
    }
}

#[test]
fn nothing_is_committed_about_a_log_that_does_not_exist_any_more() {
    let env = MemEnv::new();
    let journal = open(&env).unwrap().journal;
    let commit = |change| run(journal.commit(vec![Record { log: log(0), change }]));
    let epoch = || Change::Epoch { epoch: LeaderEpoch(1), start: Offset(0) };
    assert!(matches!(commit(epoch()), Err(CommitError::Gone(_))), "not yet");
    commit(Change::Create).unwrap();
    commit(epoch()).unwrap();
    commit(Change::Drop).unwrap();

    assert!(matches!(commit(epoch()), Err(CommitError::Gone(_))));
    commit(Change::Removed).unwrap();
    assert!(matches!(commit(epoch()), Err(CommitError::Gone(_))));

    assert!(!journal.is_failed());
    commit(Change::Create).unwrap();
    commit(epoch()).unwrap();
    assert_eq!(open(&env.after_power_loss(1)).unwrap().end, JournalEnd::Whole);
}

#[test]
fn nothing_joins_about_a_log_whose_deletion_waits_unless_that_finds_no_room() {
    let mut env = MemEnv::new();
    env.restless = true;
    let journal = open(&env).unwrap().journal;
    let commit = |change| journal.commit(vec![Record { log: log(0), change }]);
    let epoch = |epoch| Change::Epoch { epoch: LeaderEpoch(epoch), start: Offset(0) };
    run(commit(Change::Create)).unwrap();
    env.set_faults(Faults { journal_full: true, ..Faults::default() });
    let next = (1..).find(|at| run(commit(epoch(*at))).is_err()).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut waited = 0;
    for _ in 0..20 {
        let mut deletion = Box::pin(commit(Change::Drop));
        if deletion.as_mut().poll(&mut cx).is_pending() {
            assert!(matches!(run(commit(epoch(next))), Err(CommitError::Gone(_))));
            assert!(matches!(run(deletion), Err(CommitError::Io(_))));
            waited += 1;
        }
        assert!(matches!(run(commit(epoch(next))), Err(CommitError::Io(_))), "it is there again");
    }
    assert!(waited > 0 && !journal.is_failed());

    env.set_faults(Faults::default());
    run(commit(epoch(next))).unwrap();
    run(commit(Change::Drop)).unwrap();
    assert!(matches!(run(commit(epoch(next + 1))), Err(CommitError::Gone(_))));
}

#[test]
fn batches_of_a_log_dropped_in_the_same_group_pin_no_lap() {
    let mut together = 0;
    for seed in 0..20 {
        let mut env = MemEnv::new();
        env.restless = true;
        for _ in 0..seed {
            env::Env::random_u64(&env);
        }
        let journal = open(&env).unwrap().journal;
        let name = SegmentName { base: Offset(0), seg_gen: SegGen(1) };
        let record = |change| Record { log: log(0), change };
        run(journal.commit(vec![record(Change::Create), record(Change::SegAdd(name))])).unwrap();
        let (base, end) = (Offset(0), Offset(1));
        let bytes = Bytes::from_static(b"batch");
        let batch = JournalBatch { seg_gen: SegGen(1), position: 0, base, end, bytes };
        let mut tasks = [Change::Batch(batch), Change::Drop]
            .map(|change| Box::pin(journal.commit(vec![record(change)])));
        let before = env.syncs();
        let mut done = [false; 2];
        let mut cx = Context::from_waker(Waker::noop());
        while done != [true; 2] {
            for (task, done) in tasks.iter_mut().zip(&mut done).filter(|(_, done)| !**done) {
                *done = task.as_mut().poll(&mut cx).is_ready();
            }
        }
        together += usize::from(env.syncs() == before + 1);

        for _ in 0..60 {
            for change in [Change::Create, Change::Drop, Change::Removed] {
                run(journal.commit(vec![Record { log: log(1), change }])).unwrap();
            }
        }

        let manifest = run(read_journal(&env, &root())).unwrap().manifest.unwrap().unwrap();
        assert!(manifest.lap > 1);
        assert_eq!(manifest.kept, Vec::new(), "seed {seed}");
    }
    assert!(together > 0, "never one group");
}

#[test]
fn a_record_about_no_log_in_a_group_that_is_whole_is_damage_and_no_panic() {
    let batch = JournalBatch {
        seg_gen: SegGen(1),
        position: 0,
        base: Offset(0),
        end: Offset(1),
        bytes: Bytes::from_static(b"batch"),
    };
    let epoch = Change::Epoch { epoch: LeaderEpoch(1), start: Offset(0) };
    for change in [Change::Batch(batch), epoch, Change::Removed, Change::Drop] {
        let env = MemEnv::new();
        let journal = open(&env).unwrap().journal;
        let record = |index, change| Record { log: log(index), change };
        for change in [Change::Create, Change::Drop, Change::Removed] {
            run(journal.commit(vec![record(0, change)])).unwrap();
        }
        run(journal.commit(vec![record(1, Change::Create)])).unwrap();
        let (path, _) = newest_lap(&env);
        let found = run(read_journal(&env, &root())).unwrap();
        let nonce = found.files.iter().filter_map(|(_, header, _)| *header).next().unwrap().nonce;
        let mut payload = Vec::new();
        record(0, change).encode(&mut payload);
        let mut content = env.content(&path);
        content[5 * BLOCK..6 * BLOCK].copy_from_slice(&encode_group(nonce, 4, &payload));
        env.overwrite(&path, &content);

        let opened = open(&env.after_power_loss(1)).unwrap();

        assert_eq!(opened.end, JournalEnd::Corrupt);
        assert_eq!(opened.batches.len(), 0);
        assert!(opened.journal.state().logs().get(&log(1)).is_some_and(|log| log.uncertain));
    }
}

/// Commits groups of one block and larger ones, each of a new log. Returns those that were promised,
/// and whether a commit was refused by a journal that went on; no more than one follows then.
fn small_and_large_groups(env: &MemEnv) -> (Vec<Found>, bool) {
    let (mut promised, mut refused) = (Vec::new(), false);
    let Ok(opened) = open(env) else { return (promised, refused) };
    for at in 0..40 {
        let of = log(at);
        let mut records = vec![Record { log: of, change: Change::Create }];
        // A small one still fits where a large one does not.
        let starts = 1..=if at % 2 == 0 { 1 } else { 400 };
        records.extend(
            starts.map(|start| Record { log: of, change: Change::LogStart(Offset(start)) }),
        );
        match run(opened.journal.commit(records)) {
            Ok(()) => {
                promised.push(of);
                if refused {
                    break;
                }
            },
            Err(_) if opened.journal.is_failed() => break,
            Err(_) => refused = true,
        }
        if at % 5 == 0 && run(opened.journal.upkeep()).is_err() {
            break;
        }
    }
    (promised, refused)
}

#[test]
fn a_disk_that_is_full_at_any_operation_loses_no_group_that_was_promised() {
    let env = MemEnv::new();
    assert_eq!(small_and_large_groups(&env).0.len(), 40);
    let mut went_on = 0;
    for at in 1..=env.ops() {
        let env = MemEnv::new();
        env.set_faults(Faults { full_at: Some(at), ..Faults::default() });
        let (promised, refused) = small_and_large_groups(&env);
        went_on += usize::from(refused);
        let again = open(&env.after_process_crash()).unwrap();
        assert_ne!(again.end, JournalEnd::Corrupt, "operation {at}");
        let state = again.journal.state();
        let lost = promised.iter().filter(|log| !state.logs().contains_key(log)).count();
        assert_eq!(lost, 0, "of {} at operation {at}", promised.len());
    }
    assert!(went_on > 0, "without a file for the next lap it goes on");
}

#[test]
fn two_files_of_one_lap_are_damage() {
    for fresher in [false, true] {
        let env = MemEnv::new();
        let journal = open(&env).unwrap().journal;
        run(journal.commit(records(0))).unwrap();
        let (path, _) = newest_lap(&env);
        let earlier = env.content(&path);
        run(journal.commit(records(1))).unwrap();
        let copy = if fresher { env.content(&path) } else { earlier };
        env.overwrite(&root().join("journal").join("77"), &copy);
        let opened = open(&env.after_process_crash()).unwrap();
        assert_eq!(opened.end, JournalEnd::Corrupt);
        assert!(opened.journal.state().logs().values().all(|log| log.uncertain));
        let again = open(&env.after_power_loss(1)).unwrap();
        assert_eq!(again.end, JournalEnd::Whole, "noted once");
    }
}

#[test]
fn a_copy_of_a_file_that_nobody_needs_is_no_damage() {
    let env = MemEnv::new();
    assert_eq!(work(&env, 60), 60);
    let found = run(read_journal(&env, &root())).unwrap();
    let needed = found.manifest.unwrap().unwrap().lap;
    let old = found.files.iter().find(|(_, header, _)| header.is_some_and(|h| h.lap < needed));
    let old = root().join("journal").join(old.unwrap().0.to_string());
    env.overwrite(&root().join("journal").join("77"), &env.content(&old));
    let opened = open(&env.after_power_loss(1)).unwrap();
    assert_eq!((opened.end, opened.journal.state()), (JournalEnd::Whole, after(60)));
}

#[test]
fn a_spare_file_that_could_not_be_opened_is_taken_later() {
    let begun = || {
        let env = MemEnv::new();
        let journal = open(&env).unwrap().journal;
        run(journal.upkeep()).unwrap();
        run(journal.commit(records(0))).unwrap();
        (env, journal)
    };
    let large = |journal: &Journal<MemEnv>| {
        let change = Change::LogStart(Offset(1));
        run(journal.commit(vec![Record { log: log(0), change }; 400]))
    };
    let (env, journal) = begun();
    let mut fit = 0;
    while !env.reached("storage_journal_next_file") {
        large(&journal).unwrap();
        fit += 1;
    }
    let (env, journal) = begun();
    (1..fit).for_each(|_| large(&journal).unwrap());
    // No new file can be made, and the spare one cannot be opened.
    let full_at = Some(env.ops() + 1);
    env.set_faults(Faults { journal_full: true, full_at, ..Faults::default() });
    assert!(large(&journal).is_err());
    assert!(!journal.is_failed());
    large(&journal).unwrap();
}
