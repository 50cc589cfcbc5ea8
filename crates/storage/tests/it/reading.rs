//! What comes from memory, what from the file, and when segments are closed.

use base::{Duration, LeaderEpoch, Offset, Timestamp};
use env::Segment;
use records::{BatchBuilder, BatchView, NewRecord};
use storage::{FaultyRange, LogConfig, ReadError};

use crate::compact::{DAY, append_rows, compact};
use crate::crash::recover;
use crate::support::{
    GEN, MemEnv, Spec, append_of, append_some, bytes_of, fresh, open_dir, partition, read_all,
    root, run, small,
};

#[test]
fn recent_batches_come_from_memory_and_older_ones_from_the_file() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    run(log.read(Offset(0), Offset(0), 1000, true)).unwrap();
    append_some(&log, 20);

    let before = env.body_reads();
    run(log.read(Offset(15), Offset(20), 1000, true)).unwrap();
    assert_eq!(env.body_reads(), before);
}

#[test]
fn nothing_is_kept_in_memory_where_nobody_reads_at_the_end() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 20);
    assert_eq!(dir.tail_bytes(), 0);

    // Who comes to the end is expected again.
    run(log.read(Offset(15), Offset(20), 1000, true)).unwrap();
    append_some(&log, 5);
    assert!(dir.tail_bytes() > 0);
    let before = env.body_reads();
    let kept = run(log.read(Offset(20), Offset(25), 100_000, true)).unwrap();
    assert_eq!((kept.first_base, kept.next), (Some(Offset(20)), Some(Offset(25))));
    assert_eq!(env.body_reads(), before);

    env.advance(Duration::from_millis(10_000));
    append_some(&log, 5);
    assert_eq!(dir.tail_bytes(), 0, "but not for ever");
    assert_eq!(read_all(&log, Offset(20)).len(), 10);
}

#[test]
fn what_memory_does_not_keep_leaves_no_gap_in_what_it_does() {
    let env = MemEnv::new().with_buggify("storage_tail_unwanted");
    let (dir, log) = fresh(&env);
    for end in [5, 10, 15] {
        append_some(&log, 5);
        let read = run(log.read(Offset(end - 5), Offset(end), 100_000, true)).unwrap();
        assert_eq!((read.first_base, read.next), (Some(Offset(end - 5)), Some(Offset(end))));
    }
    assert_eq!(dir.tail_bytes(), 0);
}

#[test]
fn a_large_read_is_a_file_region_and_the_first_batch_is_always_whole() {
    let env = MemEnv::new().with_buggify("storage_tiny_tail");
    let (_dir, log) = fresh(&env);
    log.set_config(LogConfig::default());
    let big = Spec { value_bytes: 200_000, ..Spec::at(0) }.build();
    run(log.append(append_of(std::slice::from_ref(&big)))).unwrap();

    let slice = run(log.read(Offset(0), Offset(1), 10, true)).unwrap();
    assert!(matches!(slice.segments[0], Segment::Region(_)));
    assert_eq!(bytes_of(&slice), big.bytes().to_vec());

    let slice = run(log.read(Offset(0), Offset(1), 10, false)).unwrap();
    assert_eq!(slice.bytes, 0);
}

#[test]
fn an_offset_outside_the_log_is_refused_with_its_bounds() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_some(&log, 60);
    run(log.set_log_start(Offset(30))).unwrap();

    for from in [29, 61] {
        let read = run(log.read(Offset(from), Offset(60), 100, true));
        assert!(matches!(read, Err(ReadError::OutOfRange { start: Offset(30), end: Offset(60) })));
    }
    assert_eq!(run(log.read(Offset(60), Offset(60), 100, true)).unwrap().bytes, 0);
}

#[test]
fn the_log_start_survives_a_crash_and_frees_segments() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_some(&log, 100);
    let before = log.size_bytes();
    run(log.set_log_start(Offset(70))).unwrap();
    assert!(log.size_bytes() < before);

    let env = env.after_power_loss(3);
    let (dir, _) = open_dir(&env);
    let (log, recovery) = run(dir.open_log(partition(), GEN, small())).unwrap();

    assert_eq!(log.start(), Offset(70));
    assert_eq!(recovery.faulty, Vec::new());
    assert_eq!(read_all(&log, Offset(70)).last().unwrap().0.next_offset(), log.end());
}

#[test]
fn a_segment_is_closed_by_size_and_by_age() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    log.set_config(LogConfig { segment_age: Duration::from_millis(50), ..LogConfig::default() });
    let files = || {
        let files = env.files(&log.folder());
        files.iter().filter(|path| path.extension().is_some_and(|e| e == "log")).count()
    };
    for (base, time) in [(0, 1000), (1, 1050), (2, 1051), (3, 1060)] {
        run(log.append(append_of(&[Spec { time, ..Spec::at(base) }.build()]))).unwrap();
    }
    assert_eq!(files(), 2);

    log.set_config(LogConfig { segment_bytes: 1, ..LogConfig::default() });
    let two: Vec<_> = [4, 5].map(|base| Spec { time: 1061, ..Spec::at(base) }.build()).into();
    run(log.append(append_of(&two))).unwrap();
    assert_eq!(files(), 4, "one append may close several segments");
    assert_eq!(read_all(&log, Offset(0)).len(), 6);
}

#[test]
fn a_look_up_by_time_finds_the_lowest_offset() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    for (base, time) in [(0, 50), (1, 200), (2, 100), (3, 300)] {
        run(log.append(append_of(&[Spec { time, ..Spec::at(base) }.build()]))).unwrap();
    }

    let at = |time| run(log.offset_for_timestamp(Timestamp(time))).unwrap().map(|hit| hit.offset.0);
    assert_eq!((at(60), at(200), at(201), at(301)), (Some(1), Some(1), Some(3), None));
    let max = run(log.max_timestamp()).unwrap().unwrap();
    assert_eq!((max.offset, max.timestamp), (Offset(3), Timestamp(300)));
    assert_eq!(max.epoch, LeaderEpoch(0));
}

/// A batch of records with these times.
fn batch_of_times(base: i64, times: &[i64]) -> BatchView {
    let mut builder = BatchBuilder::new().assigned(Offset(base), LeaderEpoch(0));
    for time in times {
        let record = NewRecord { timestamp: Timestamp(*time), ..NewRecord::default() };
        builder.push(&record).unwrap();
    }
    builder.finish().unwrap()
}

#[test]
fn the_largest_time_is_that_of_a_record_that_may_be_read() {
    for segment_bytes in [1, 150, 1 << 20] {
        let env = MemEnv::new();
        let (_dir, log) = fresh(&env);
        log.set_config(LogConfig { segment_bytes, ..LogConfig::default() });
        let batches: [&[i64]; 5] = [&[100, 50, 70, 60], &[40], &[65, 20], &[-1], &[30]];
        for times in batches {
            run(log.append(append_of(&[batch_of_times(log.end().0, times)]))).unwrap();
        }

        let expected = [
            (0, Some((0, 100))),
            (1, Some((2, 70))),
            (3, Some((5, 65))),
            (5, Some((5, 65))),
            (6, Some((8, 30))),
            (7, Some((8, 30))),
            (8, Some((8, 30))),
            (9, None),
        ];
        for (start, latest) in expected {
            run(log.set_log_start(Offset(start))).unwrap();
            let found = run(log.max_timestamp()).unwrap();
            let found = found.map(|hit| (hit.offset.0, hit.timestamp.0));
            assert_eq!(found, latest, "from {start} on, in segments of {segment_bytes}");
        }
    }
}

#[test]
fn many_closed_segments_are_read_again_after_their_index_was_dropped() {
    let env = MemEnv::new().with_buggify("storage_tiny_tail").with_buggify("storage_segment_bytes");
    let (dir, log) = fresh(&env);
    let batches = append_some(&log, 200);
    assert_eq!(read_all(&log, Offset(0)).len(), batches.len());
    run(dir.seal()).unwrap();

    let env = env.after_process_crash();
    let (dir, _) = open_dir(&env);
    let (log, _) = run(dir.open_log(partition(), GEN, small())).unwrap();
    let found: Vec<_> = read_all(&log, Offset(0)).into_iter().map(|(_, bytes)| bytes).collect();
    let written: Vec<_> = batches.into_iter().map(BatchView::into_bytes).collect();
    assert_eq!(found, written);
}

#[test]
fn damage_in_the_middle_hides_only_itself() {
    let env = MemEnv::new().with_buggify("storage_tiny_tail");
    let (_dir, log) = fresh(&env);
    log.set_config(LogConfig::default());
    let batches = append_some(&log, 10);
    let files = env.files(&log.folder());
    let file = files.into_iter().find(|path| path.extension().is_some_and(|e| e == "log")).unwrap();
    env.rot(&file, batches[0].bytes().len() * 3 + 16, 1);

    let sound = run(log.read(Offset(0), Offset(10), 10_000, true)).unwrap();
    assert_eq!(sound.bytes, batches[0].bytes().len() * 3);
    let read = run(log.read(Offset(3), Offset(4), 10_000, true));
    assert!(matches!(read, Err(ReadError::Corrupt { at: Offset(3) })));
}

#[test]
fn the_high_watermark_is_remembered_but_never_beyond_the_end() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 5);
    log.note_high_watermark(Offset(4));
    run(dir.seal()).unwrap();

    let env = env.after_process_crash();
    let (dir, _) = open_dir(&env);
    let (log, _) = run(dir.open_log(partition(), GEN, small())).unwrap();

    assert_eq!(log.high_watermark_hint(), Offset(4));
    log.note_high_watermark(Offset(99));
    assert_eq!(log.high_watermark_hint(), Offset(5));
}

#[test]
fn too_much_that_is_not_durable_makes_an_append_wait_for_a_flush() {
    let env = MemEnv::new().with_buggify("storage_flush_bound").with_buggify("storage_short_run");
    let (_dir, log) = fresh(&env);
    append_some(&log, 5);

    assert_eq!(log.flushed_end(), Offset(4));
    assert!(env.reached("storage_append_waits_for_flush"));
}

#[test]
fn a_batch_whose_base_offset_rotted_is_damage_wherever_it_seems_to_lie() {
    // The last byte of it: to the next offset, to a smaller one, behind the end of the log.
    for with in [3 ^ 4, 3 ^ 2, 3 ^ 0x43] {
        let env = MemEnv::new().with_buggify("storage_tiny_tail");
        let (_dir, log) = fresh(&env);
        log.set_config(LogConfig::default());
        let batches = append_some(&log, 10);
        let files = env.files(&log.folder());
        let is_log = |path: &&std::path::PathBuf| path.extension().is_some_and(|e| e == "log");
        env.rot(files.iter().find(is_log).unwrap(), batches[0].bytes().len() * 3 + 7, with);

        let sound = run(log.read(Offset(0), Offset(10), 10_000, true)).unwrap();
        assert_eq!((sound.bytes, sound.next), (batches[0].bytes().len() * 3, Some(Offset(3))));
        for min_one in [true, false] {
            let read = run(log.read(Offset(3), Offset(10), 10_000, min_one));
            assert!(matches!(read, Err(ReadError::Corrupt { at: Offset(3) })));
            let read = run(log.read(Offset(3), Offset(4), 10_000, min_one));
            assert!(matches!(read, Err(ReadError::Corrupt { at: Offset(3) })));
        }
        let hit = run(log.offset_for_timestamp(Timestamp(3)));
        assert!(matches!(hit, Err(ReadError::Corrupt { .. })), "{hit:?}");
    }
}

#[test]
fn a_read_of_a_hole_before_a_segment_that_is_gone_is_told_of_the_damage() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    // Three records a segment, the last one of which the next segment supersedes.
    log.set_config(LogConfig { segment_bytes: 700, ..LogConfig::default() });
    let keys = (1..=4).flat_map(|at| [2 * at, 2 * at + 1, 0]);
    append_rows(&log, &keys.map(|key| (key, Some(key))).collect::<Vec<_>>());
    compact(&log, DAY).unwrap().unwrap();
    let (from, to) = (Offset(3), Offset(6));
    assert_eq!((log.segments()[1].base, log.segments()[1].end), (from, to));

    let env = env.after_process_crash();
    let name = format!("{:020}-", from.0);
    let is_it = |path: &std::path::PathBuf| {
        path.extension().is_some_and(|e| e == "log") && path.to_string_lossy().contains(&name)
    };
    env.delete(&env.files(&root()).into_iter().find(is_it).unwrap());
    let (log, recovery) = recover(&env).unwrap();

    assert_eq!(recovery.faulty, [FaultyRange { from, to }]);
    for at in 2..6 {
        let read = run(log.read(Offset(at), log.end(), 1, true)).map(|slice| slice.first_base);
        assert!(matches!(read, Err(ReadError::Corrupt { .. })), "{at}: {read:?}");
    }
    let behind = run(log.read(to, log.end(), 1, true)).unwrap();
    assert_eq!(behind.first_base, Some(to));
}

#[test]
fn a_closed_segment_that_is_gone_from_a_running_log_is_damage_and_no_failed_disk() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    log.set_config(LogConfig { segment_bytes: 700, ..LogConfig::default() });
    for at in 0..40 {
        run(log.append(append_of(&[Spec::at(at).build()]))).unwrap();
    }
    run(dir.seal()).unwrap();
    let env = env.after_process_crash();
    let (dir, _) = open_dir(&env);
    let (log, _) = run(dir.open_log(partition(), GEN, LogConfig::default())).unwrap();
    let lost = log.segments()[1];
    let name = format!("{:020}-", lost.base.0);
    let is_it = |path: &std::path::PathBuf| {
        path.extension().is_some_and(|e| e == "log") && path.to_string_lossy().contains(&name)
    };
    env.delete(&env.files(&root()).into_iter().find(is_it).unwrap());

    let read = |at| run(log.read(at, log.end(), 1, true)).map(|slice| slice.first_base);
    for _ in 0..2 {
        assert!(matches!(read(lost.base), Err(ReadError::Corrupt { at }) if at == lost.base));
    }
    assert_eq!(read(Offset(0)).unwrap(), Some(Offset(0)));
    assert_eq!(read(lost.end).unwrap(), Some(lost.end));
}

#[test]
fn a_segment_that_became_shorter_after_a_clean_stop_is_told_and_never_sent_short() {
    let env = MemEnv::new().with_buggify("storage_tiny_tail");
    let (dir, log) = fresh(&env);
    log.set_config(LogConfig { segment_bytes: 400_000, ..LogConfig::default() });
    for at in 0..30 {
        let batch = Spec { value_bytes: 20_000, ..Spec::at(at) }.build();
        run(log.append(append_of(&[batch]))).unwrap();
    }
    run(dir.seal()).unwrap();
    let env = env.after_process_crash();
    let is_log = |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "log");
    let path = env.files(&log.folder()).into_iter().find(is_log).unwrap();
    let there = 150_000;
    env.overwrite(&path, &env.content(&path)[..there]);
    let (dir, _) = open_dir(&env);
    let (log, _) = run(dir.open_log(partition(), GEN, LogConfig::default())).unwrap();

    let (mut at, mut sent) = (Offset(0), 0);
    let told = loop {
        match run(log.read(at, log.end(), 1 << 20, true)) {
            Ok(slice) => {
                assert_eq!(bytes_of(&slice).len(), slice.bytes, "from {at}");
                (at, sent) = (slice.next.unwrap(), sent + slice.bytes);
            },
            Err(error) => break error,
        }
    };

    assert!(matches!(told, ReadError::Corrupt { at: found } if found == at), "{told:?}");
    assert!(sent <= there && sent > there - 21_000, "what is there can be read: {sent}");
}
