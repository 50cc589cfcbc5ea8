//! Compaction of a log with transactions, which are written here as a broker with coordinators would.

use std::path::PathBuf;

use base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use records::control::end_transaction;
use records::{BatchBuilder, BatchView, Ending, NewRecord, OPEN_BYTES_MAX, Producer};
use storage::{CompactError, Compaction, Log, LogConfig};

use crate::compact::{CONFIG, DAY, Row, append_rows, compact, compaction, segment_files};
use crate::support::*;

/// Appends a record of a transaction of `producer`.
fn append_data(log: &Log<MemEnv>, producer: i64, (key, value): (u8, u8)) {
    let value = [value; 150];
    let (id, epoch) = (ProducerId(producer), ProducerEpoch(0));
    let base_sequence = Some(i32::try_from(log.end().0).unwrap());
    let mut batch = BatchBuilder::new()
        .assigned(log.end(), LeaderEpoch(0))
        .producer(Producer { id, epoch, base_sequence })
        .transactional();
    let key = Some(std::slice::from_ref(&key));
    let timestamp = Timestamp(1_000);
    batch.push(&NewRecord { timestamp, key, value: Some(&value), headers: &[] }).unwrap();
    run(log.append(append_of(&[batch.finish().unwrap()]))).unwrap();
}

fn append_marker(log: &Log<MemEnv>, producer: i64, ending: Ending) {
    append_marker_of(log, (producer, 0), ending);
}

fn append_marker_of(log: &Log<MemEnv>, (producer, epoch): (i64, i16), ending: Ending) {
    let (id, epoch) = (ProducerId(producer), ProducerEpoch(epoch));
    let marker = end_transaction(id, epoch, ending, 0, Timestamp(1_000)).unwrap();
    let marker = marker.assigned(log.end(), LeaderEpoch(0)).finish().unwrap();
    run(log.append(append_of(&[marker]))).unwrap();
}

/// Keys and values of records that are not marks.
fn data_of(log: &Log<MemEnv>) -> Vec<Row> {
    let mut found = Vec::new();
    for (_, bytes) in read_all(log, log.start()) {
        let batch = BatchView::parse(&bytes).unwrap();
        if batch.header().attributes.is_control() {
            continue;
        }
        for record in &batch.open(OPEN_BYTES_MAX).unwrap() {
            let record = record.unwrap();
            found.push((record.offset.0, record.key.unwrap()[0], record.value.map(|v| v[0])));
        }
    }
    found
}

#[test]
fn an_aborted_record_takes_none_that_was_committed_with_it_wherever_its_marker_is() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    log.set_config(LogConfig { segment_bytes: 600, ..LogConfig::default() });
    append_data(&log, 5, (1, 10));
    append_marker(&log, 5, Ending::Commit);
    append_data(&log, 6, (1, 20));
    append_data(&log, 5, (2, 30));
    append_marker(&log, 5, Ending::Commit);
    let stable = log.end();
    // A transaction is open from here on, so that the marker of producer 6 lies behind what is stable.
    append_data(&log, 7, (1, 40));
    append_marker(&log, 6, Ending::Abort);
    append_data(&log, 7, (1, 50));
    append_data(&log, 7, (3, 60));

    let wish = |upto| {
        let dirty = run(log.dirty(&CONFIG, upto, Timestamp(DAY))).unwrap().unwrap();
        Compaction { dirty, ..compaction(&log, DAY).unwrap() }
    };
    run(log.compact(&wish(stable), &|| true)).unwrap();
    let expected = [(0, 1, Some(10)), (3, 2, Some(30)), (5, 1, Some(40)), (7, 1, Some(50))];
    assert_eq!(data_of(&log)[..4], expected);
    assert!(env.reached("storage_compaction_saw_transaction"));

    // Asked for more than is decided, it ends before the open transaction all the same.
    let done = run(log.compact(&wish(log.end()), &|| true)).unwrap();
    assert!(done.upto <= Offset(5), "{done:?}");
    assert_eq!(data_of(&log)[..4], expected);
}

/// Records of keys of their own, so that the segments before them are closed.
fn append_others(log: &Log<MemEnv>, count: u8) {
    append_rows(log, &(100..100 + count).map(|key| (key, Some(key))).collect::<Vec<_>>());
}

#[test]
fn a_log_whose_first_dirty_transaction_is_open_is_left_alone_until_its_marker_comes() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    log.set_config(LogConfig { segment_bytes: 600, ..LogConfig::default() });
    append_data(&log, 5, (1, 10));
    append_data(&log, 6, (2, 20));
    append_marker(&log, 6, Ending::Commit);
    append_others(&log, 8);
    let files = segment_files(&env);

    let refused = compact(&log, DAY).unwrap();
    assert!(matches!(refused, Err(CompactError::Undecided { at: Offset(0) })), "{refused:?}");
    append_data(&log, 6, (9, 21));
    append_marker(&log, 6, Ending::Commit);
    let reads = env.body_reads();
    for _ in 0..3 {
        assert!(compaction(&log, DAY).is_none(), "another transaction decides nothing here");
    }
    assert_eq!(env.body_reads(), reads, "nothing is looked at again");
    assert!(files.iter().all(|file| segment_files(&env).contains(file)), "nothing is written anew");

    append_marker(&log, 5, Ending::Abort);
    let done = compact(&log, DAY).unwrap().unwrap();
    assert!(done.upto > Offset(8), "{done:?}");
    assert_eq!(data_of(&log)[0], (1, 2, Some(20)));
}

/// A log in which a transaction of producer 5 is decided in the first segment, and the one that begins
/// at the returned offset is aborted behind the segment whose file is returned.
fn decided_behind(env: &MemEnv) -> (Log<MemEnv>, Offset, Offset, PathBuf) {
    let (_dir, log) = fresh(env);
    log.set_config(LogConfig { segment_bytes: 600, ..LogConfig::default() });
    append_data(&log, 5, (1, 10));
    append_marker(&log, 5, Ending::Commit);
    append_data(&log, 5, (1, 11));
    append_marker(&log, 5, Ending::Commit);
    append_others(&log, 4);
    let open_from = log.end();
    append_data(&log, 6, (1, 20));
    append_others(&log, 4);
    let stable = log.segments()[log.segments().len() - 2].end;
    append_others(&log, 4);
    let damaged = log.segments().iter().position(|segment| segment.base >= stable).unwrap();
    let file = log.folder().join(segment_files(env)[damaged].clone());
    append_marker(&log, 6, Ending::Abort);
    append_others(&log, 4);
    run(log.checkpoint()).unwrap();
    (log, open_from, stable, file)
}

fn wish(log: &Log<MemEnv>, stable: Offset) -> Option<Compaction> {
    let dirty = run(log.dirty(&CONFIG, stable, Timestamp(DAY))).unwrap()?;
    Some(Compaction { dirty, ..compaction(log, DAY)? })
}

#[test]
fn damage_behind_the_dirty_part_leaves_what_is_decided_before_it_to_a_cleaning() {
    let env = MemEnv::new();
    let (log, open_from, stable, file) = decided_behind(&env);
    env.rot(&file, 200, 1);

    let done = run(log.compact(&wish(&log, stable).unwrap(), &|| true)).unwrap();

    assert_eq!(done.upto, open_from, "{done:?}");
    assert_eq!(data_of(&log)[0], (2, 1, Some(11)), "the transaction behind it took nothing");
    assert!(wish(&log, log.end()).is_none(), "nobody knows how that one ended");
    assert!(env.reached("storage_compaction_stopped_by_damage"));
}

#[test]
fn a_read_error_behind_the_dirty_part_leaves_what_is_decided_before_it_to_a_cleaning() {
    let env = MemEnv::new();
    let (log, open_from, stable, file) = decided_behind(&env);
    env.unreadable(&file, 200..201);

    let done = run(log.compact(&wish(&log, stable).unwrap(), &|| true)).unwrap();
    assert_eq!(done.upto, open_from, "{done:?}");
    let refused = run(log.compact(&wish(&log, stable).unwrap(), &|| true));
    assert!(matches!(refused, Err(CompactError::Io(_))), "{refused:?}");

    env.unreadable(&file, 0..0);
    while let Some(wish) = wish(&log, log.end()) {
        run(log.compact(&wish, &|| true)).unwrap();
    }
    assert_eq!(data_of(&log)[0], (2, 1, Some(11)));
    assert!(data_of(&log).iter().all(|row| row.0 != open_from.0), "it was aborted");
}

#[test]
fn more_transactions_than_there_is_room_for_take_several_cleanings() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    for producer in 0..100 {
        append_data(&log, 1_000 + producer, (u8::try_from(producer % 4).unwrap(), 1));
    }
    for producer in 0..100 {
        let ending = if producer == 7 { Ending::Commit } else { Ending::Abort };
        append_marker(&log, 1_000 + producer, ending);
    }
    append_others(&log, 20);
    let mut cleanings = 0;
    while let Some(wish) = compaction(&log, DAY) {
        let wish = Compaction { map_bytes_max: 0, ..wish };
        let done = run(log.compact(&wish, &|| true)).unwrap();
        assert!(done.upto > wish.dirty.from);
        cleanings += 1;
    }
    assert!(cleanings >= 4, "{cleanings}");
    assert!(env.reached("storage_compaction_map_full"));
    assert_eq!(data_of(&log)[0], (7, 3, Some(1)));
    assert_eq!(data_of(&log)[1].0, 200);
}

#[test]
fn a_marker_of_an_epoch_in_which_its_producer_has_sent_nothing_stays() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    log.set_config(LogConfig { segment_bytes: 600, ..LogConfig::default() });
    append_data(&log, 6, (1, 10));
    append_marker(&log, 6, Ending::Commit);
    append_marker(&log, 6, Ending::Abort);
    append_marker_of(&log, (6, 1), Ending::Abort);
    for now in [DAY, DAY + 2_000, DAY + 4_000] {
        append_others(&log, 8);
        compact(&log, now).unwrap().unwrap();
    }
    let found = read_all(&log, Offset(0));
    let markers = found.iter().filter(|(header, _)| header.attributes.is_control());
    let markers: Vec<i64> = markers.map(|(header, _)| header.base_offset.0).collect();
    assert_eq!(markers, [1, 3], "the second one tells nothing, the last one fences");
}
