//! What cannot be read hides itself and nothing else: sectors, and batches of a segment without an index.

use std::path::PathBuf;

use base::{LeaderEpoch, Offset, ProducerId, Timestamp};
use storage::{CompactError, FaultyRange, Log, LogConfig, OpenError, ReadError};

use crate::compact::{DAY, append_rows, compact, segment_files, updates};
use crate::crash::recover;
use crate::support::*;

fn file_of(env: &MemEnv, ending: &str) -> PathBuf {
    let files = env.files(&root()).into_iter();
    files.rev().find(|path| path.to_string_lossy().ends_with(ending)).unwrap()
}

/// Opens the log alone.
fn opens(env: &MemEnv) -> Result<(), OpenError> {
    let (dir, _) = open_dir(env);
    run(dir.open_log(partition(), GEN, small())).map(drop)
}

/// What a read of one batch at `at` begins with; `None` if it meets damage there.
fn read_at(log: &Log<MemEnv>, at: i64) -> Option<i64> {
    match run(log.read(Offset(at), log.end(), 1, true)) {
        Ok(slice) => slice.first_base.map(|base| base.0),
        Err(ReadError::Corrupt { at: found }) if found.0 == at => None,
        Err(error) => unreachable!("{at}: {error}"),
    }
}

#[test]
fn a_start_that_cannot_read_forgets_no_producer() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    let spec = |at: i64| Spec { producer: Some((7 + at, 0)), value_bytes: 100, ..Spec::at(at) };
    for at in 0..4 {
        run(log.append(append_of(&[spec(at).build()]))).unwrap();
    }
    run(log.checkpoint()).unwrap();
    let len = spec(0).build().bytes().len();
    let places = [(".log", len + 90..len + 91), (".log", 0..1), (".env", 0..1)];

    for (kind, at) in places {
        let env = env.after_process_crash();
        let file = file_of(&env, kind);
        env.unreadable(&file, at);
        assert!(opens(&env).is_err(), "what is in {kind} may be there");

        env.unreadable(&file, 0..0);
        let (log, recovery) = recover(&env.after_process_crash()).unwrap();
        assert_eq!([7, 8, 9, 10].map(|id| log.producers().knows(ProducerId(id))), [true; 4]);
        assert_eq!((log.end(), recovery.faulty), (Offset(4), vec![]));
    }
}

#[test]
fn a_start_that_cannot_read_the_producers_file_leaves_it_to_the_next_one() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_some(&log, 5);
    run(dir.seal()).unwrap();
    let env = env.after_process_crash();
    let file = file_of(&env, "producers");
    env.unreadable(&file, 0..1);

    assert!(opens(&env).is_err());

    env.unreadable(&file, 0..0);
    let (log, recovery) = recover(&env.after_process_crash()).unwrap();
    assert_eq!((log.end(), recovery.producers_lost), (Offset(5), false));
}

#[test]
fn a_read_error_in_the_dirty_part_ends_a_cleaning_before_its_segment() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_rows(&log, &updates(60));
    let broken = log.segments()[2];
    let file = log.folder().join(segment_files(&env)[2].clone());
    env.unreadable(&file, 300..301);

    let done = compact(&log, DAY).unwrap().unwrap();
    assert_eq!(done.upto, broken.base);
    let refused = compact(&log, DAY).unwrap();
    assert!(matches!(refused, Err(CompactError::Io(_))), "{refused:?}");

    env.unreadable(&file, 0..0);
    let last = *log.segments().last().unwrap();
    assert_eq!(compact(&log, DAY).unwrap().unwrap().upto, last.base);
}

/// A log after a restart whose first segment, of batches that are `len` long, has lost its index.
fn without_index(rot: impl Fn(&MemEnv, &std::path::Path, usize)) -> (Log<MemEnv>, i64) {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    let len = append_some(&log, 500)[0].bytes().len();
    run(dir.seal()).unwrap();
    let env = env.after_process_crash();
    let named = |ending: &str| {
        let mut files = env.files(&root()).into_iter();
        let is_first = format!("{:020}-", 0);
        files.find(|path| {
            let path = path.to_string_lossy();
            path.contains(&is_first) && path.ends_with(ending)
        })
    };
    env.delete(&named(".env").unwrap());
    rot(&env, &named(".log").unwrap(), len);
    let (dir, _) = open_dir(&env);
    let (log, recovery) = run(dir.open_log(partition(), GEN, LogConfig::default())).unwrap();
    assert!(recovery.clean);
    let end = log.segments()[0].end.0;
    assert!(end > 8);
    (log, end)
}

/// Which offsets of the first segment can be read, and what is noted as damaged.
fn readable(log: &Log<MemEnv>, end: i64) -> (Vec<i64>, Vec<FaultyRange>) {
    let found = (0..end).filter_map(|at| read_at(log, at).inspect(|base| assert_eq!(*base, at)));
    (found.collect(), log.faulty())
}

#[test]
fn a_batch_of_a_segment_without_its_index_hides_only_itself() {
    // The base offset (to a smaller and a larger one), the magic number, the attributes, how many
    // offsets it has (so that it reaches beyond those behind it), how many records.
    for (at, with) in [(7, 5), (7, 9), (16, 1), (21, 1), (26, 2), (26, 0x40), (60, 1)] {
        let (log, end) = without_index(|env, file, len| env.rot(file, 4 * len + at, with));

        let (found, faulty) = readable(&log, end);
        let expected: Vec<i64> = (0..end).filter(|offset| *offset != 4).collect();
        let is_of_the_body = at == 60 || at == 21;
        if is_of_the_body {
            // The headers follow each other: who reads it finds that its checksum does not hold.
            assert_eq!((found.len(), faulty), (usize::try_from(end).unwrap(), vec![]), "{at}");
            continue;
        }
        assert_eq!(found, expected, "{at}");
        assert_eq!(faulty, [FaultyRange { from: Offset(4), to: Offset(5) }], "{at}");
        assert_eq!(read_at(&log, end), Some(end), "the next segment");
    }
}

#[test]
fn a_look_up_by_time_does_not_pass_over_damage_that_may_hold_the_answer() {
    let (log, end) = without_index(|env, file, len| env.rot(file, 4 * len + 16, 1));
    let at = |time| run(log.offset_for_timestamp(Timestamp(time)));
    let found = |time| at(time).unwrap().map(|hit| hit.offset.0);

    assert_eq!([0, 3].map(found), [Some(0), Some(3)]);
    for time in 4..end {
        let answer = at(time);
        assert!(matches!(answer, Err(ReadError::Corrupt { at: Offset(4) })), "{time}: {answer:?}");
    }
    assert_eq!(found(end), Some(end), "the segment with the damage has nothing as late");
}

#[test]
fn a_batch_without_a_length_hides_what_is_behind_it_in_a_segment_without_its_index() {
    let (log, end) = without_index(|env, file, len| env.rot(file, 4 * len + 10, 1));

    let (found, faulty) = readable(&log, end);
    assert_eq!(found, [0, 1, 2, 3]);
    assert_eq!(faulty, [FaultyRange { from: Offset(4), to: Offset(end) }]);
    assert_eq!(read_at(&log, end), Some(end), "the next segment");
}

#[test]
fn a_segment_without_its_index_is_looked_through_again_without_telling_of_more_damage() {
    let (log, end) = without_index(|env, file, len| env.rot(file, 4 * len + 16, 1));
    for _ in 0..3 {
        assert_eq!(readable(&log, end).1.len(), 1);
        // Pushes the first one out of memory.
        for segment in log.segments() {
            assert_eq!(read_at(&log, segment.base.0), Some(segment.base.0));
        }
    }
}

/// What a log with these times says after its first segment was cut to half; the times of the later
/// segments are their offsets.
fn first_cut_to_half(time: impl Fn(i64) -> i64) -> (Log<MemEnv>, FaultyRange) {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    for at in 0..200 {
        let batch = Spec { time: time(at), ..Spec::at(at) }.build();
        run(log.append(append_of(&[batch]))).unwrap();
    }
    let end = log.segments()[0].end;
    let file = log.folder().join(segment_files(&env)[0].clone());
    let content = env.content(&file);
    env.overwrite(&file, &content[..content.len() / 2]);
    let (log, recovery) = recover(&env.after_process_crash()).unwrap();
    let [damage] = recovery.faulty[..] else { unreachable!("{recovery:?}") };
    assert_eq!((damage.to, log.segments()[0].end), (end, end));
    (log, damage)
}

#[test]
fn a_look_up_by_time_does_not_pass_over_a_segment_that_lost_its_end() {
    let (log, damage) = first_cut_to_half(|at| at);
    let at = |time| run(log.offset_for_timestamp(Timestamp(time)));
    let found = |time| at(time).unwrap().map(|hit| hit.offset.0);

    assert!((0..damage.from.0).all(|time| found(time) == Some(time)));
    for time in damage.from.0..damage.to.0 {
        let answer = at(time);
        assert!(
            matches!(answer, Err(ReadError::Corrupt { at }) if at == damage.from),
            "{answer:?}"
        );
    }
    assert_eq!(found(damage.to.0), Some(damage.to.0), "what is lost is known to be older");
}

#[test]
fn the_largest_time_is_not_said_if_it_is_lost_with_the_end_of_a_segment() {
    let (log, damage) = first_cut_to_half(|at| if at < 25 { 1_000 + at } else { at });

    let answer = run(log.max_timestamp());

    assert!(matches!(answer, Err(ReadError::Corrupt { at }) if at == damage.from), "{answer:?}");
}

#[test]
fn a_look_up_by_time_does_not_pass_over_an_open_segment_that_was_damaged() {
    for gone in [true, false] {
        let mut env = MemEnv::new();
        let (_dir, log) = fresh(&env);
        append_some(&log, 100);
        // Which notes how far everything is durable.
        run(log.begin_epoch(LeaderEpoch(1))).unwrap();
        let file = file_of(&env, ".log");
        if gone {
            env.delete(&file);
        } else {
            let content = env.content(&file);
            env.overwrite(&file, &content[..content.len() / 2]);
        }
        // The second start goes by what the first one noted.
        for _ in 0..2 {
            env = env.after_process_crash();
            let (log, recovery) = recover(&env).unwrap();
            let [damage] = recovery.faulty[..] else { unreachable!("{recovery:?}") };
            assert_eq!(damage.to, Offset(100));
            let next = Spec { time: 1_000, epoch: 1, ..Spec::at(log.end().0) }.build();
            run(log.append(append_of(&[next]))).unwrap();
            let is_told = |answer: Result<_, _>| matches!(answer, Err(ReadError::Corrupt { at }) if at == damage.from);
            for time in [damage.from.0, 99, 500] {
                assert!(is_told(run(log.offset_for_timestamp(Timestamp(time)))), "{gone} {time}");
            }
            assert!(is_told(run(log.max_timestamp())), "{gone}");
            let before = run(log.offset_for_timestamp(Timestamp(damage.from.0 - 1)));
            assert_eq!(before.unwrap().unwrap().offset, Offset(damage.from.0 - 1));
        }
    }
}

#[test]
fn more_segments_are_gone_than_one_group_of_the_journal_could_note() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    log.set_config(LogConfig { segment_bytes: 1, ..small() });
    append_some(&log, 1_300);
    for file in segment_files(&env).into_iter().take(1_299) {
        env.delete(&log.folder().join(file));
    }

    let (log, recovery) = recover(&env.after_process_crash()).unwrap();

    let gone = |at| FaultyRange { from: Offset(at), to: Offset(at + 1) };
    let expected: Vec<_> = (0..1_299).map(gone).collect();
    assert_eq!((log.end(), recovery.faulty), (Offset(1_300), expected.clone()));
    let (_, again) = recover(&env.after_power_loss(1)).unwrap();
    assert_eq!(again.faulty, expected, "noted once");
}

#[test]
fn a_batch_of_another_epoch_than_the_journal_says_does_not_count_below_the_recovery_point_either() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    let len = append_some(&log, 4)[0].bytes().len();
    run(log.flush()).unwrap();
    run(log.append(fsync_of(&[Spec::at(4).build()]))).unwrap();
    assert!(env.reached("storage_fsync_by_journal"));
    // Without its envelopes a segment is looked through from its beginning on.
    env.delete(&file_of(&env, ".env"));
    // The epoch of a batch is under no checksum.
    env.rot(&file_of(&env, ".log"), 2 * len + 15, 1);

    let (log, recovery) = recover(&env.after_process_crash()).unwrap();

    let told = FaultyRange { from: Offset(2), to: Offset(5) };
    assert_eq!((recovery.faulty, log.end()), (vec![told], Offset(5)));
    assert!(run(log.read(Offset(2), log.end(), 1, true)).is_err());
}
