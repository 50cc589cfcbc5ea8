//! What a start, a cut, a deletion of old records or a quiet log could make the journal forget.

use std::path::PathBuf;
use std::task::{Context, Poll, Waker};

use base::{LeaderEpoch, Offset, PartitionId, PartitionIndex, TopicId, Uuid};
use storage::journal::{BLOCK, read_journal};
use storage::{ProducerBatch, Verdict};

use crate::crash::{last_group, log_file, recover};
use crate::support::*;

fn other() -> PartitionId {
    PartitionId { topic: TopicId(Uuid([6; 16])), index: PartitionIndex(1) }
}

#[test]
fn a_cut_at_the_base_of_the_open_segment_leaves_it_in_the_journal() {
    let mut emptied = 0;
    for seed in 0..10 {
        let env = MemEnv::new();
        let (_dir, log) = fresh(&env);
        run(log.append(append_of(&[Spec::at(0).build()]))).unwrap();
        run(log.append(append_of(&[Spec { epoch: 1, ..Spec::at(1) }.build()]))).unwrap();
        let env = env.after_power_loss(seed);
        let (log, _) = recover(&env).unwrap();
        if log.end() > Offset(0) {
            continue;
        }
        emptied += 1;
        for at in 0..60 {
            let batch = Spec { epoch: 2, ..Spec::at(at) }.build();
            run(log.append(fsync_of(&[batch]))).unwrap();
        }
        run(log.checkpoint()).unwrap();
        let (log, recovery) = recover(&env.after_power_loss(seed)).unwrap();
        assert_eq!((log.end(), recovery.faulty), (Offset(60), Vec::new()), "seed {seed}");
    }
    assert!(emptied > 0);
}

#[test]
fn a_log_start_inside_the_open_segment_leaves_the_epochs_that_a_scan_needs() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    run(log.append(append_of(&[Spec::at(0).build()]))).unwrap();
    run(log.append(fsync_of(&[Spec { epoch: 1, ..Spec::at(1) }.build()]))).unwrap();
    run(log.set_log_start(Offset(1))).unwrap();
    run(log.append(append_of(&[Spec { epoch: 1, ..Spec::at(2) }.build()]))).unwrap();
    run(log.append(fsync_of(&[Spec { epoch: 1, ..Spec::at(3) }.build()]))).unwrap();

    let (log, recovery) = recover(&env.after_process_crash()).unwrap();

    assert_eq!((log.end(), recovery.faulty), (Offset(4), Vec::new()));
}

#[test]
fn a_log_made_anew_beside_its_files_after_damage_of_the_journal_is_uncertain() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 1);
    // A group to be damaged, and the other log behind it.
    run(log.begin_epoch(LeaderEpoch(3))).unwrap();
    let behind = run(dir.create_log(other(), GEN, small())).unwrap();
    for at in 0..3 {
        run(behind.append(fsync_of(&[Spec::at(at).build()]))).unwrap();
    }
    run(behind.checkpoint()).unwrap();
    let journal = run(read_journal(&env, &root())).unwrap();
    let first = journal.files.iter().find(|file| file.1.is_some_and(|head| head.lap == 1));
    let env = env.after_process_crash();
    let name = first.unwrap().0.to_string();
    env.rot(&root().join("journal").join(name), 4096 * 3 + 40, 0x40);

    let (dir, start) = open_dir(&env);
    assert!(start.journal_damaged);
    let anew = run(dir.create_log(other(), GEN, small())).unwrap();
    run(anew.append(fsync_of(&[Spec::at(0).build()]))).unwrap();
    drop((anew, dir));
    let before = env.files(&root()).len();
    let env = env.after_process_crash();
    let (dir, _) = open_dir(&env);
    let (_log, recovery) = run(dir.open_log(other(), GEN, small())).unwrap();

    assert!(recovery.uncertain);
    assert!(env.files(&root()).len() >= before, "nothing of the old log is removed");
}

#[test]
fn an_epoch_that_the_journal_has_forgotten_is_learned_from_the_envelopes_and_kept() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 1);
    // A group to be damaged, and the other log behind it.
    run(log.begin_epoch(LeaderEpoch(3))).unwrap();
    run(log.append(append_of(&[Spec { epoch: 3, ..Spec::at(1) }.build()]))).unwrap();
    run(log.checkpoint()).unwrap();
    run(log.append(append_of(&[Spec { epoch: 3, ..Spec::at(2) }.build()]))).unwrap();
    run(dir.create_log(other(), GEN, small())).unwrap();
    let mut env = env.after_process_crash();
    env.rot(&root().join("journal").join("0"), 4096 * 3 + 40, 0x40);

    for _ in 0..2 {
        let (log, recovery) = recover(&env).unwrap();
        assert!(recovery.uncertain && env.reached("storage_epoch_learned"));
        assert_eq!(log.epochs().epoch_at(Offset(2)), Some(LeaderEpoch(3)));
        assert_eq!((log.end(), recovery.cut, recovery.faulty), (Offset(3), None, Vec::new()));
        env = env.after_process_crash();
        let files = env.files(&root());
        let envelopes = files.iter().find(|path| path.to_string_lossy().ends_with(".env"));
        env.delete(envelopes.unwrap());
    }
}

#[test]
fn a_log_made_anew_beside_its_files_knows_no_producer_of_the_old_one() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 1);
    // A group to be damaged, and the other log behind it.
    run(log.begin_epoch(LeaderEpoch(3))).unwrap();
    let numbered = |at, sequence| Spec { producer: Some((7, sequence)), ..Spec::at(at) }.build();
    let old = run(dir.create_log(other(), GEN, small())).unwrap();
    run(old.append(append_of(&[numbered(0, 0), numbered(1, 1)]))).unwrap();
    run(dir.seal()).unwrap();
    let env = env.after_process_crash();
    env.rot(&root().join("journal").join("0"), 4096 * 3 + 40, 0x40);

    let (dir, start) = open_dir(&env);
    assert!(start.journal_damaged);
    let anew = run(dir.create_missing_log(other(), GEN, small())).unwrap();
    run(anew.append(append_of(&[numbered(0, 2)]))).unwrap();
    for at in 1..4 {
        run(anew.append(append_of(&[Spec::at(at).build()]))).unwrap();
    }
    let (dir, _) = open_dir(&env.after_process_crash());
    let (anew, _) = run(dir.open_log(other(), GEN, small())).unwrap();

    let again = ProducerBatch::of(numbered(4, 2).header()).unwrap();
    assert!(matches!(anew.producers().check(&again), Verdict::Duplicate(_)));
    assert!(env.reached("storage_producers_put_away"));
}

#[test]
fn a_log_whose_segments_are_forgotten_after_a_clean_stop_knows_no_producer_of_them() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    let numbered = |at, sequence| Spec { producer: Some((7, sequence)), ..Spec::at(at) }.build();
    // The group that names the segment is to be damaged.
    run(log.append(append_of(&[numbered(0, 0), numbered(1, 1)]))).unwrap();
    run(dir.create_log(other(), GEN, small())).unwrap();
    run(dir.seal()).unwrap();
    let env = env.after_process_crash();
    env.rot(&root().join("journal").join("0"), 4096 * 2 + 40, 0x40);

    let (log, recovery) = recover(&env).unwrap();
    assert!(!recovery.clean && recovery.uncertain);
    run(log.append(append_of(&[numbered(0, 2)]))).unwrap();
    for at in 1..4 {
        run(log.append(append_of(&[Spec::at(at).build()]))).unwrap();
    }
    let (log, _) = recover(&env.after_process_crash()).unwrap();

    let again = ProducerBatch::of(numbered(4, 2).header()).unwrap();
    assert!(matches!(log.producers().check(&again), Verdict::Duplicate(_)));
}

#[test]
fn a_log_that_a_start_misses_is_made_anew_as_uncertain_if_the_journal_is_damaged() {
    for damaged in [true, false] {
        let env = MemEnv::new();
        let (dir, log) = fresh(&env);
        append_some(&log, 1);
        run(log.begin_epoch(LeaderEpoch(3))).unwrap();
        run(dir.create_log(other(), GEN, small())).unwrap();
        run(log.begin_epoch(LeaderEpoch(4))).unwrap();
        let missed =
            if damaged { other() } else { PartitionId { index: PartitionIndex(7), ..other() } };
        let env = env.after_process_crash();
        if damaged {
            env.rot(&root().join("journal").join("0"), 4096 * 3 + 40, 0x40);
        }

        let (dir, start) = open_dir(&env);
        assert_eq!(start.journal_damaged, damaged);
        let anew = run(dir.create_missing_log(missed, GEN, small())).unwrap();
        let new = PartitionId { index: PartitionIndex(8), ..other() };
        let new = run(dir.create_log(new, GEN, small())).unwrap();
        assert_eq!((anew.is_uncertain(), new.is_uncertain()), (damaged, false));

        let (dir, _) = open_dir(&env.after_process_crash());
        let (_, recovery) = run(dir.open_log(missed, GEN, small())).unwrap();
        assert_eq!(recovery.uncertain, damaged, "and stays so");
    }
}

#[test]
fn a_log_that_is_quiet_pins_no_lap_of_the_journal() {
    for seed in 0..40 {
        let mut env = MemEnv::new();
        env.restless = true;
        for _ in 0..seed {
            env::Env::random_u64(&env);
        }
        let (dir, log) = fresh(&env);
        let busy = run(dir.create_log(other(), GEN, small())).unwrap();
        run(log.append(fsync_of(&[Spec::at(0).build()]))).unwrap();
        // The segment is durable before the group is.
        let mut append = Box::pin(log.append(fsync_of(&[Spec::at(1).build()])));
        let mut done = false;
        while log.end() < Offset(2) && !done {
            done = append.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        }
        run(log.checkpoint()).unwrap();
        if !done {
            run(append).unwrap();
        }
        for epoch in 1..80 {
            run(busy.begin_epoch(LeaderEpoch(epoch))).unwrap();
        }

        let manifest = run(read_journal(&env, &root())).unwrap().manifest.unwrap().unwrap();
        assert_eq!(manifest.kept, Vec::new(), "seed {seed}");
    }
}

/// Makes the last group of the newest lap unreadable.
fn rot_last_group(env: &MemEnv) {
    let (path, blocks) = last_group(env);
    assert!(!blocks.is_empty());
    for at in blocks {
        env.rot(&path, at * BLOCK + 40, 1);
    }
}

#[test]
fn bytes_behind_a_record_that_is_lost_tell_of_it() {
    // The last group names the first segment, the second one, or an epoch.
    for case in 0..3 {
        let env = MemEnv::new();
        let (_dir, log) = fresh(&env);
        if case > 0 {
            append_some(&log, 1);
        }
        if case == 1 {
            log.set_config(storage::LogConfig { segment_bytes: 1, ..small() });
        }
        let epoch = if case == 2 { 1 } else { 0 };
        let base = log.end().0;
        run(log.append(append_of(&[Spec { epoch, ..Spec::at(base) }.build()]))).unwrap();
        let env = env.after_process_crash();
        rot_last_group(&env);

        let (dir, start) = open_dir(&env);
        assert!(!start.journal_damaged, "the journal alone cannot tell");
        let (log, recovery) = run(dir.open_log(partition(), GEN, small())).unwrap();

        assert!(recovery.uncertain, "case {case}");
        assert_eq!(log.end(), Offset(base));
        assert!(recover(&env.after_power_loss(1)).unwrap().1.uncertain);
    }
}

#[test]
fn a_log_made_anew_beside_its_files_is_uncertain_though_the_journal_can_be_read() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 1);
    drop(dir);
    let env = env.after_process_crash();
    // The journal of a directory in which the log was never made.
    let empty = MemEnv::new();
    drop(open_dir(&empty));
    env.overwrite(&root().join("identity"), &empty.content(&root().join("identity")));
    env.overwrite(&root().join("manifest"), &empty.content(&root().join("manifest")));
    for file in empty.files(&root().join("journal")) {
        env.overwrite(&file, &empty.content(&file));
    }

    let (dir, start) = open_dir(&env);
    assert!(!start.journal_damaged);
    drop(run(dir.create_log(partition(), GEN, small())).unwrap());

    let state = run(read_journal(&env, &root())).unwrap().replayed.unwrap().state;
    assert!(state.logs().values().all(|log| log.uncertain));
}

#[test]
fn an_append_that_meets_the_deletion_of_its_log_ends_and_harms_nobody() {
    let mut refused = 0;
    for polls in 0..60 {
        let mut env = MemEnv::new();
        env.restless = true;
        let (dir, log) = fresh(&env);
        let busy = run(dir.create_log(other(), GEN, small())).unwrap();
        run(log.append(fsync_of(&[Spec::at(0).build()]))).unwrap();
        let mut append =
            Box::pin(log.append(fsync_of(&[Spec { epoch: 1, ..Spec::at(1) }.build()])));
        let mut cx = Context::from_waker(Waker::noop());
        let mut appended = None;
        let mut poll_append = |cx: &mut Context<'_>| {
            if appended.is_none()
                && let Poll::Ready(outcome) = append.as_mut().poll(cx)
            {
                appended = Some(outcome);
            }
            appended.is_some()
        };
        for _ in 0..polls {
            poll_append(&mut cx);
        }
        let mut delete = Box::pin(dir.delete_log(partition(), GEN));
        let mut poll_delete = || delete.as_mut().poll(&mut cx).map(Result::unwrap).is_ready();
        // As far as it gets alone.
        while !(0..300).any(|_| poll_delete()) {
            poll_append(&mut Context::from_waker(Waker::noop()));
        }
        while !poll_append(&mut cx) {}
        drop((delete, append));
        refused += usize::from(appended.unwrap().is_err());

        assert!(dir.failed().is_none(), "{:?} after {polls} polls", dir.failed());
        run(busy.append(fsync_of(&[Spec::at(0).build()]))).unwrap();
        run(dir.create_log(partition(), GEN, small())).unwrap();
        drop((dir, log, busy));
        let (dir, start) = open_dir(&env.after_power_loss(polls));
        assert!(!start.journal_damaged, "after {polls} polls");
        assert_eq!(dir.logs().len(), 2);
        let (log, recovery) = run(dir.open_log(partition(), GEN, small())).unwrap();
        assert_eq!((log.end(), recovery.uncertain), (Offset(0), false));
    }
    assert!(refused > 0);
}

#[test]
fn a_segment_that_is_gone_below_the_start_is_let_go_of_by_the_log_as_well() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_some(&log, 2);
    run(log.checkpoint()).unwrap();
    run(log.set_log_start(Offset(2))).unwrap();
    env.delete(&log_file(&env));

    let (log, recovery) = recover(&env.after_process_crash()).unwrap();

    assert!(recovery.uncertain, "nobody knows how far it went");
    assert_eq!((log.start(), log.end()), (Offset(2), Offset(2)));
    assert!(log.segments().is_empty(), "as the journal has it");
}

fn starts(env: &MemEnv) -> bool {
    let Ok((dir, _)) = run(storage::LogDir::open(env, &root(), expect(), options())) else {
        return false;
    };
    run(dir.open_log(partition(), GEN, small())).is_ok()
}

/// Whether envelopes that a start went by were gone after a power loss behind it, in some order of crashes.
fn envelopes_go_with_the_power(mutant: Option<&'static str>) -> bool {
    let (mut taken, mut gone) = (0, false);
    for nth in 1..8 {
        for second in 1..40 {
            let env = mutant.into_iter().fold(MemEnv::new(), MemEnv::with_mutant);
            let (_dir, log) = fresh(&env);
            append_some(&log, 2);
            run(log.checkpoint()).unwrap();
            append_some(&log, 1);
            env.set_faults(Faults { crash_at: Some(env.ops() + nth), ..Faults::default() });
            drop(run(log.checkpoint()));
            let env = env.after_process_crash();
            let is_index = |file: &PathBuf| file.extension().is_some_and(|kind| kind == "env");
            let path = env.files(&root()).into_iter().find(is_index).unwrap();
            // The next start dies as well, and may have written some.
            env.set_faults(Faults { crash_at: Some(env.ops() + second), ..Faults::default() });
            if starts(&env) {
                continue;
            }
            let env = env.after_process_crash();

            let (_log, _) = recover(&env).unwrap();

            let found = env.content(&path);
            taken = taken.max(found.len());
            for seed in 0..4 {
                let left = env.after_power_loss(seed).content(&path);
                gone |= left != found;
            }
        }
    }
    assert!(taken > 128, "no crash left a second envelope");
    gone
}

#[test]
fn envelopes_that_a_start_took_in_are_durable_behind_it() {
    assert!(!envelopes_go_with_the_power(None));
    assert!(envelopes_go_with_the_power(Some("envelopes_trusted")));
}

#[test]
fn a_log_that_is_cut_without_its_envelopes_may_have_lost_what_was_durable_and_says_so() {
    for (takes_envelopes, rots) in [(true, true), (true, false), (false, false)] {
        let env = MemEnv::new();
        let (_dir, log) = fresh(&env);
        let len = append_some(&log, 6)[0].bytes().len();
        run(log.checkpoint()).unwrap();
        if takes_envelopes {
            let is_index = |file: &PathBuf| file.extension().is_some_and(|kind| kind == "env");
            env.delete(&env.files(&root()).into_iter().find(is_index).unwrap());
        }
        if rots {
            env.rot(&log_file(&env), 3 * len + 16, 1);
        }

        let (log, recovery) = recover(&env.after_process_crash()).unwrap();

        let end = Offset(if rots { 3 } else { 6 });
        assert_eq!((log.end(), log.is_uncertain()), (end, rots), "{recovery:?}");
    }
}
