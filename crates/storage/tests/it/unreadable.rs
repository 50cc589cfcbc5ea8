//! What cannot be read hides itself and nothing else: sectors, and batches of a segment without an index.

use std::path::PathBuf;

use base::{Offset, ProducerId, Timestamp};
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
