//! Compaction of a log with transactions, which are written here as a broker with coordinators would.

use base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use records::control::end_transaction;
use records::{BatchBuilder, BatchView, Ending, NewRecord, OPEN_BYTES_MAX, Producer};
use storage::{Compaction, Log, LogConfig};

use crate::compact::{CONFIG, DAY, Row, compaction};
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
    let (id, epoch) = (ProducerId(producer), ProducerEpoch(0));
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
