//! Directories: identity, seal, start classes, deletion, foreign files.

use std::collections::BTreeSet;
use std::path::PathBuf;

use base::{BrokerId, Duration, LeaderEpoch, Offset, PartitionId, PartitionIndex, ReplicaGen};
use storage::{
    DirError, Expect, FLUSH_AFTER, LogConfig, LogDir, OpenError, SealOutcome, StartClass, inspect,
};

use crate::support::{
    GEN, MemEnv, Spec, append_of, append_some, expect, fresh, open_dir, options, partition,
    read_all, root, run, small,
};

#[test]
fn a_clean_start_reads_no_segment_body() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    let batches = append_some(&log, 100);
    assert_eq!(run(dir.seal()).unwrap(), SealOutcome::Sealed);
    let before = env.body_reads();

    let env = env.after_power_loss(1);
    let (dir, start) = open_dir(&env);
    let (log, recovery) = run(dir.open_log(partition(), GEN, small())).unwrap();

    assert_eq!(start.class, StartClass::Clean);
    assert!(recovery.clean);
    assert_eq!(env.body_reads(), before);
    assert_eq!((log.end(), log.flushed_end()), (Offset(100), Offset(100)));
    assert!(!env.files(&root()).iter().any(|path| path.ends_with("seal")), "used once");
    assert_eq!(read_all(&log, Offset(0)).len(), batches.len());
}

#[test]
fn a_seal_tells_the_next_start_alone_whose_logs_were_never_made() {
    let env = MemEnv::new();
    let (dir, _log) = fresh(&env);
    let other = PartitionId { index: PartitionIndex(9), ..partition() };
    let unmade = BTreeSet::from([partition(), other]);
    assert_eq!(run(dir.seal_but(&unmade)).unwrap(), SealOutcome::Sealed);

    let env = env.after_process_crash();
    let (dir, start) = open_dir(&env);
    assert_eq!((start.class, start.unmade), (StartClass::Clean, unmade.clone()));

    // A start that is refused leaves that to the next one.
    run(dir.give_back()).unwrap();
    let env = env.after_process_crash();
    let (_dir, start) = open_dir(&env);
    assert_eq!((start.class, start.unmade), (StartClass::Clean, unmade));

    let (_, start) = open_dir(&env.after_process_crash());
    assert_eq!((start.class, start.unmade), (StartClass::Process, BTreeSet::new()));
}

#[test]
fn a_seal_that_the_files_contradict_is_not_believed() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 5);
    run(dir.seal()).unwrap();
    let files = env.files(&log.folder());
    let file = files.into_iter().find(|path| path.extension().is_some_and(|e| e == "log")).unwrap();
    let mut longer = env.content(&file);
    longer.extend_from_slice(&[0; 40]);
    env.overwrite(&file, &longer);

    let env = env.after_process_crash();
    let (dir, _) = open_dir(&env);
    let (log, recovery) = run(dir.open_log(partition(), GEN, small())).unwrap();

    assert!(!recovery.clean);
    assert_eq!((log.end(), recovery.cut.map(|cut| cut.torn)), (Offset(5), Some(true)));
    assert!(env.reached("storage_sealed_state_contradicted"));
}

#[test]
fn the_class_of_a_start_says_what_may_be_lost() {
    let env = MemEnv::new();
    assert_eq!(open_dir(&env).1.class, StartClass::Clean);
    let env = env.after_process_crash();
    assert_eq!(open_dir(&env).1.class, StartClass::Process);
    let env = env.after_power_loss(1);
    let start = open_dir(&env).1;
    assert_eq!((start.class, start.ordinal), (StartClass::Os, 3));
}

#[test]
fn a_directory_in_use_is_refused() {
    let env = MemEnv::new();
    let _held = open_dir(&env);

    let refused = run(LogDir::open(&env, &root(), expect(), options()));

    let error = refused.map(drop).unwrap_err();
    assert!(matches!(error, DirError::Locked { .. }));
    assert!(error.to_string().contains("stop that process or choose another directory"));
}

#[test]
fn a_directory_of_another_cluster_or_node_is_refused() {
    let env = MemEnv::new();
    drop(open_dir(&env));

    let other = Expect { cluster_id: Some("other".into()), ..expect() };
    let env = env.after_process_crash();
    let refused = run(LogDir::open(&env, &root(), other, options()));
    assert!(matches!(refused.map(drop), Err(DirError::OtherCluster { .. })));

    let other = Expect { node_id: BrokerId(2), ..expect() };
    let env = env.after_process_crash();
    let refused = run(LogDir::open(&env, &root(), other, options()));
    assert!(matches!(refused.map(drop), Err(DirError::OtherNode { .. })));

    let any = Expect { cluster_id: None, ..expect() };
    let env = env.after_process_crash();
    let (_, start) = run(LogDir::open(&env, &root(), any, options())).unwrap();
    assert_eq!(start.cluster_id, "test-cluster");
}

#[test]
fn no_seal_while_a_log_was_never_opened() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 3);
    assert_eq!(run(dir.seal()).unwrap(), SealOutcome::Sealed);

    let env = env.after_process_crash();
    let (dir, _) = open_dir(&env);
    assert_eq!(run(dir.seal()).unwrap(), SealOutcome::NotAllOpened(1));

    let env = env.after_process_crash();
    assert_eq!(open_dir(&env).1.class, StartClass::Process);
}

#[test]
fn a_log_deleted_is_gone_and_may_be_created_anew() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 3);

    run(dir.delete_log(partition(), GEN)).unwrap();

    assert!(dir.logs().is_empty());
    assert!(run(log.flush()).is_err());
    assert!(dir.failed().is_none());
    let deleted = run(dir.delete_log(partition(), GEN));
    assert!(matches!(deleted, Err(OpenError::Missing { .. })));
    let log = run(dir.create_log(partition(), GEN, small())).unwrap();
    assert_eq!(log.end(), Offset(0));
}

#[test]
fn an_interrupted_deletion_is_finished_by_the_next_start() {
    let whole = {
        let env = MemEnv::new();
        let (dir, log) = fresh(&env);
        append_some(&log, 3);
        let before = env.ops();
        run(dir.delete_log(partition(), GEN)).unwrap();
        env.ops() - before
    };
    for at in 3..=whole {
        let env = MemEnv::new();
        let (dir, log) = fresh(&env);
        append_some(&log, 3);
        let crash_at = Some(env.ops() + at);
        env.set_faults(crate::support::Faults { crash_at, ..Default::default() });
        assert!(run(dir.delete_log(partition(), GEN)).is_err());

        let env = env.after_power_loss(at);
        let (dir, _) = open_dir(&env);
        assert!(dir.logs().is_empty(), "crash at operation {at}");
    }
}

#[test]
fn a_log_without_an_append_has_no_file() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);

    assert!(env.files(&log.folder()).is_empty());
    let (dir_again, _) = {
        drop((dir, log));
        open_dir(&env.after_power_loss(1))
    };
    let (log, _) = run(dir_again.open_log(partition(), GEN, small())).unwrap();
    assert_eq!(log.end(), Offset(0));
    run(dir_again.delete_log(partition(), GEN)).unwrap();
}

#[test]
fn a_directory_of_a_release_without_a_journal_is_refused_and_left_alone() {
    let env = MemEnv::new();
    run(env::Disk::create_dir(&env, &root())).unwrap();
    let folder = root().join(storage::names::log_folder(partition(), GEN));
    run(env::Disk::create_dir(&env, &folder)).unwrap();
    env.overwrite(&folder.join("state"), b"GRGSTATE");
    env.overwrite(&root().join("seal"), b"sealed");

    let refused = run(LogDir::open(&env, &root(), expect(), options()));

    let error = refused.map(drop).unwrap_err();
    assert!(matches!(error, DirError::OldFormat { .. }));
    assert!(error.to_string().contains("move it away to start empty"));
    assert_eq!(env.content(&root().join("seal")), b"sealed");
}

#[test]
fn a_lost_manifest_is_refused() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_some(&log, 3);
    env.delete(&root().join("manifest"));

    let env = env.after_process_crash();
    let refused = run(LogDir::open(&env, &root(), expect(), options()));
    assert!(matches!(refused.map(drop), Err(DirError::ManifestLost { .. })));
}

#[test]
fn foreign_files_are_reported_and_left_alone() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 1);
    drop(dir);
    env.overwrite(&root().join("notes.txt"), b"mine");
    let inside = log.folder().join("00000000000000000000.index");
    env.overwrite(&inside, b"kafka's");

    let env = env.after_process_crash();
    let (dir, start) = open_dir(&env);
    let (_, recovery) = run(dir.open_log(partition(), GEN, small())).unwrap();

    assert_eq!(start.unknown, vec!["notes.txt".to_owned()]);
    assert_eq!(recovery.unknown, vec!["00000000000000000000.index".to_owned()]);
    assert_eq!(env.content(&inside), b"kafka's");
}

#[test]
fn an_older_incarnation_of_a_replica_is_another_log() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 2);

    let newer = run(dir.create_log(partition(), ReplicaGen(2), small())).unwrap();

    assert_eq!(newer.end(), Offset(0));
    assert_eq!(dir.logs().len(), 2);
    let again = run(dir.create_log(partition(), GEN, small()));
    assert!(matches!(again, Err(OpenError::Exists { .. })));
}

#[test]
fn the_flusher_keeps_the_recovery_point_close() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    let mut flusher = Box::pin(dir.run_flusher(|_| {}));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(flusher.as_mut().poll(&mut cx).is_pending());
    append_some(&log, 3);
    assert_eq!(log.flushed_end(), Offset(0));

    // The clock jumps with every sleep, so that one poll is enough.
    assert!(flusher.as_mut().poll(&mut cx).is_pending());

    assert_eq!(log.flushed_end(), Offset(3));
    assert!(env.wall_since_start() <= FLUSH_AFTER);
    let syncs = env.syncs();
    env.advance(Duration::from_secs(10));
    assert!(flusher.as_mut().poll(&mut cx).is_pending());
    assert_eq!(env.syncs(), syncs, "nothing is dirty");
    run(dir.seal()).unwrap();
    assert!(matches!(flusher.as_mut().poll(&mut cx), std::task::Poll::Ready(Ok(()))));
}

#[test]
fn the_flusher_sleeps_without_a_deadline_once_others_made_the_logs_durable() {
    for by in 0..4 {
        let env = MemEnv::new();
        let (dir, log) = fresh(&env);
        let mut flusher = Box::pin(dir.run_flusher(|_| ()));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        append_some(&log, 3);
        match by {
            0 => drop(run(log.checkpoint()).unwrap()),
            1 => run(log.begin_epoch(LeaderEpoch(1))).unwrap(),
            2 => run(log.set_log_start(Offset(3))).unwrap(),
            _ => run(dir.delete_log(partition(), GEN)).unwrap(),
        }
        let sleeps = || env.sleeps.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(sleeps(), 0);

        assert!(flusher.as_mut().poll(&mut cx).is_pending());

        assert_eq!(sleeps(), 0, "case {by}");
        // And it still wakes for the next append.
        if by < 3 {
            run(log.append(append_of(&[Spec { epoch: 1, ..Spec::at(3) }.build()]))).unwrap();
            assert!(flusher.as_mut().poll(&mut cx).is_pending());
            assert_eq!(log.flushed_end(), Offset(4));
        }
    }
}

#[test]
fn a_manifest_of_another_directory_is_refused() {
    let (env, other) = (MemEnv::new(), MemEnv::new());
    let (_dir, log) = fresh(&env);
    append_some(&log, 1);
    // Another one's directory id is another one.
    env::Env::random_u64(&other);
    drop(open_dir(&other));
    let manifest = root().join("manifest");
    env.overwrite(&manifest, &other.content(&manifest));

    let env = env.after_process_crash();
    let refused = run(LogDir::open(&env, &root(), expect(), options()));

    let error = refused.map(drop).unwrap_err();
    assert!(matches!(error, DirError::OtherManifest { .. }), "{error}");
    assert!(error.to_string().contains("restore all of one from a backup"));
}

#[test]
fn inspection_shows_everything_and_changes_nothing() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 30);
    run(dir.seal()).unwrap();
    let files = env.files(&root());
    let before: Vec<(PathBuf, Vec<u8>)> =
        files.into_iter().map(|path| (path.clone(), env.content(&path))).collect();

    let report = run(inspect::directory(&env, &root())).unwrap();

    assert_eq!(report.identity.unwrap().unwrap().cluster_id, "test-cluster");
    assert!(report.seal.unwrap().is_ok());
    assert_eq!((report.starts.len(), report.starts_damaged), (1, 0));
    let segments = &report.logs[0].segments;
    assert!(segments.len() > 1);
    assert!(segments.iter().all(|s| s.envelopes.as_ref().is_some_and(|e| !e.damaged)));
    let path = log.folder().join(segments[0].name.log());
    let batches = run(inspect::batches(&env, &path, 0..u64::MAX, 1000)).unwrap();
    assert!(batches.batches.iter().all(|batch| batch.crc_matches));
    assert_eq!((batches.position, batches.stopped), (segments[0].bytes, None));
    for (path, content) in before {
        assert_eq!(env.content(&path), content);
    }
}

#[test]
fn a_directory_without_its_identity_is_refused_and_not_made_anew() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_some(&log, 1);
    let env = env.after_process_crash();
    let identity = env.content(&root().join("identity"));
    env.delete(&root().join("identity"));

    for _ in 0..2 {
        let refused = run(LogDir::open(&env.after_process_crash(), &root(), expect(), options()));
        assert!(matches!(refused, Err(DirError::IdentityLost { .. })));
    }

    // Nor without its manifest as well: the journal is there.
    let manifest = env.content(&root().join("manifest"));
    env.delete(&root().join("manifest"));
    let refused = run(LogDir::open(&env.after_process_crash(), &root(), expect(), options()));
    assert!(matches!(refused, Err(DirError::IdentityLost { .. })));

    env.overwrite(&root().join("manifest"), &manifest);
    env.overwrite(&root().join("identity"), &identity);
    let (dir, _) = open_dir(&env.after_process_crash());
    let (log, _) = run(dir.open_log(partition(), GEN, small())).unwrap();
    assert_eq!(log.end(), Offset(1));
}

#[test]
fn segments_are_numbered_on_even_if_nobody_knows_how_many_starts_there_were() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_some(&log, 30);
    run(log.checkpoint()).unwrap();
    let mut env = env.after_process_crash();
    for _ in 0..3 {
        env.delete(&root().join("starts"));
        let (dir, _) = open_dir(&env);
        let (log, _) = run(dir.open_log(partition(), GEN, small())).unwrap();
        append_some(&log, 30);
        run(log.checkpoint()).unwrap();
        env = env.after_process_crash();
    }
    let (dir, _) = open_dir(&env);
    let (log, recovery) = run(dir.open_log(partition(), GEN, small())).unwrap();
    assert_eq!((log.end(), recovery.faulty.len()), (Offset(120), 0));
}

#[test]
fn envelopes_grow_with_the_bytes_of_a_segment_and_not_with_its_flushes() {
    let env = MemEnv::new();
    let (dir, _) = open_dir(&env);
    let log = run(dir.create_log(partition(), GEN, LogConfig::default())).unwrap();
    for _ in 0..1_000 {
        append_some(&log, 1);
        run(log.checkpoint()).unwrap();
    }
    let envelopes =
        env.files(&root()).into_iter().find(|path| path.extension() == Some("env".as_ref()));
    let bytes = env.content(&envelopes.unwrap()).len();
    assert!(bytes <= 140 * storage::SLOT, "{bytes} bytes of envelopes");
    assert!(env.reached("storage_envelopes_merged"));
    assert_eq!(read_all(&log, Offset(0)).len(), 1_000);

    // What is on the disk says the same, after a stop and after a power loss.
    run(dir.seal()).unwrap();
    let env = env.after_process_crash();
    let (again, recovery) = crate::crash::recover(&env).unwrap();
    assert!(recovery.clean);
    assert_eq!(read_all(&again, Offset(0)).len(), 1_000);
    append_some(&again, 200);
    for _ in 0..200 {
        append_some(&again, 1);
        run(again.checkpoint()).unwrap();
    }
    let (lost, _) = crate::crash::recover(&env.after_power_loss(1)).unwrap();
    assert_eq!((lost.end(), read_all(&lost, Offset(0)).len()), (Offset(1_400), 1_400));
}
