//! Compaction: what stays, what a crash at any operation leaves, and who else is at work.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use base::{Duration, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use proptest::prelude::*;
use records::{BatchBuilder, BatchView, NewRecord, OPEN_BYTES_MAX, Producer};
use storage::clean::CleanConfig;
use storage::{CompactError, Compacted, Compaction, Found, Log, LogConfig, LogDir, Verdict};

use crate::crash::recover;
use crate::support::*;

pub const CONFIG: CleanConfig =
    CleanConfig { dirty_ppm_min: 0, lag_min: Duration::ZERO, lag_max: Duration::MAX };
pub const DAY: i64 = 86_400_000;

/// A record: its offset, key and value.
pub type Row = (i64, u8, Option<u8>);

fn batch(base: i64, writes: &[(u8, Option<u8>)], producer: Option<i64>) -> BatchView {
    let mut batch = BatchBuilder::new().assigned(Offset(base), LeaderEpoch(0));
    if let Some(id) = producer {
        let (id, epoch) = (ProducerId(id), ProducerEpoch(0));
        let base_sequence = Some(i32::try_from(base).unwrap());
        batch = batch.producer(Producer { id, epoch, base_sequence });
    }
    for (key, value) in writes {
        let value = value.map(|value| [value; 150]);
        let value = value.as_ref().map(|value| &value[..]);
        let key = Some(std::slice::from_ref(key));
        let timestamp = Timestamp(1_000 + base);
        batch.push(&NewRecord { timestamp, key, value, headers: &[] }).unwrap();
    }
    batch.finish().unwrap()
}

/// Appends one record a batch.
pub fn append_rows(log: &Log<MemEnv>, writes: &[(u8, Option<u8>)]) {
    for write in writes {
        let batch = batch(log.end().0, &[*write], None);
        run(log.append(append_of(&[batch]))).unwrap();
    }
}

pub fn rows(log: &Log<MemEnv>) -> Vec<Row> {
    let mut found = Vec::new();
    for (_, bytes) in read_all(log, log.start()) {
        let batch = BatchView::parse(&bytes).unwrap();
        batch.verify_stored().unwrap();
        for record in &batch.open(OPEN_BYTES_MAX).unwrap() {
            let record = record.unwrap();
            let value = record.value.map(|value| value[0]);
            found.push((record.offset.0, record.key.unwrap()[0], value));
        }
    }
    found
}

pub fn compaction(log: &Log<MemEnv>, now: i64) -> Option<Compaction> {
    let dirty = run(log.dirty(&CONFIG, log.end(), Timestamp(now))).unwrap()?;
    Some(Compaction {
        dirty,
        now: Timestamp(now),
        tombstones_for: Duration::from_millis(1_000),
        map_bytes_max: 1 << 20,
        bytes_per_second: None,
    })
}

pub fn compact(log: &Log<MemEnv>, now: i64) -> Option<Result<Compacted, CompactError>> {
    compaction(log, now).map(|wish| run(log.compact(&wish, &|| true)))
}

pub fn segment_files(env: &MemEnv) -> Vec<String> {
    let files = env.files(&root());
    let names = files.iter().filter(|path| path.extension().is_some_and(|e| e == "log"));
    names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

/// What readers end with.
fn table(rows: &[Row]) -> BTreeMap<u8, u8> {
    let mut table = BTreeMap::new();
    for (_, key, value) in rows {
        match value {
            Some(value) => table.insert(*key, *value),
            None => table.remove(key),
        };
    }
    table
}

pub fn updates(count: u8) -> Vec<(u8, Option<u8>)> {
    (0..count).map(|at| (at % 4, (at % 7 != 6).then_some(at))).collect()
}

#[test]
fn of_every_key_the_newest_record_stays_where_it_was() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_rows(&log, &updates(60));
    let (before, end) = (rows(&log), log.end());
    let segments = log.segments();

    let done = compact(&log, DAY).unwrap().unwrap();

    let (last, _) = segments.split_last().unwrap();
    assert_eq!((done.upto, log.cleaned()), (last.base, last.base));
    assert!(done.bytes_after * 2 < done.bytes_before, "{done:?}");
    let after = rows(&log);
    let below: Vec<&Row> = after.iter().filter(|row| row.0 < done.upto.0).collect();
    let newest = |key: u8| before.iter().rfind(|row| row.1 == key && row.0 < done.upto.0);
    assert_eq!(below.len(), 4);
    assert!(below.iter().all(|row| newest(row.1) == Some(row)));
    assert_eq!(
        before.iter().filter(|row| row.0 >= done.upto.0).collect::<Vec<_>>(),
        after.iter().filter(|row| row.0 >= done.upto.0).collect::<Vec<_>>()
    );
    assert_eq!((log.start(), log.end(), log.flushed_end() <= end), (Offset(0), end, true));
    assert_eq!(segment_files(&env).len(), log.segments().len());
    assert!(compact(&log, DAY).is_none(), "nothing is dirty any more");
}

#[test]
fn a_read_where_nothing_is_left_goes_on_behind_it() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_rows(&log, &(0..60).map(|at| (1, Some(at))).collect::<Vec<_>>());
    let upto = compact(&log, DAY).unwrap().unwrap().upto;

    let first = rows(&log)[0].0;
    assert_eq!(first, upto.0 - 1, "the newest record below the end of the cleaned part");
    for from in [0, 1, first - 1, first] {
        let slice = run(log.read(Offset(from), log.end(), 1, true)).unwrap();
        assert_eq!(slice.first_base, Some(Offset(first)), "from {from}");
    }
    // And if a whole range of segments has gone, the one behind it answers.
    append_rows(&log, &(0..60).map(|at| (1, Some(at))).collect::<Vec<_>>());
    let upto = compact(&log, DAY).unwrap().unwrap().upto;
    assert_eq!(rows(&log)[0].0, upto.0 - 1);
    assert!(log.segments()[0].base > Offset(0) || log.segments()[0].bytes > 0);
}

#[test]
fn a_read_goes_on_behind_a_hole_though_all_the_segments_in_memory_are_newer() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    // Three records a segment, the last one of which the next segment supersedes.
    log.set_config(LogConfig { segment_bytes: 700, ..LogConfig::default() });
    let keys = (1..=24).flat_map(|at| [2 * at, 2 * at + 1, 0]);
    append_rows(&log, &keys.map(|key| (key, Some(key))).collect::<Vec<_>>());
    compact(&log, DAY).unwrap().unwrap();
    let segments = log.segments();
    assert!(segments.len() > 20 && segments[1].base == Offset(3), "{segments:?}");
    // As many as are kept in memory, and not the first two.
    assert!(rows(&log).len() > 40);

    let slice = run(log.read(Offset(2), log.end(), 1, true)).unwrap();
    let by_time = run(log.offset_for_timestamp(Timestamp(1_002))).unwrap();

    assert_eq!(slice.first_base, Some(Offset(3)));
    assert_eq!(by_time.map(|hit| hit.offset), Some(Offset(3)));
}

#[test]
fn the_last_batch_stays_even_if_a_segment_was_begun_behind_it() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_rows(&log, &updates(20));
    append_rows(&log, &[(1, None)]);
    assert!(run(log.close_segment()).unwrap());
    // The next append gets as far as its segment and no further.
    let ops = env.ops();
    let batch = batch(log.end().0, &[(2, Some(2))], None);
    let crashed = (ops + 1..ops + 40).find_map(|at| {
        env.set_faults(Faults { crash_at: Some(at), ..Faults::default() });
        run(log.append(append_of(std::slice::from_ref(&batch)))).err()
    });
    assert!(crashed.is_some());
    let (log, _) = recover(&env.after_process_crash()).unwrap();
    for day in 1..4 {
        let _nothing_left = compact(&log, day * DAY);
    }
    let found = read_all(&log, log.start());
    assert_eq!(found.last().unwrap().0.next_offset(), log.end());
}

#[test]
fn a_tombstone_goes_with_the_first_cleaning_after_its_time() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    let other = |from: u8| (from..from + 30).map(|key| (key, Some(key))).collect::<Vec<_>>();
    append_rows(&log, &[(1, Some(1)), (1, None)]);
    append_rows(&log, &other(100));
    compact(&log, DAY).unwrap().unwrap();
    assert_eq!(rows(&log)[0], (1, 1, None));
    append_rows(&log, &other(150));
    compact(&log, DAY + 999).unwrap().unwrap();
    assert_eq!(rows(&log)[0], (1, 1, None));
    append_rows(&log, &other(200));
    compact(&log, DAY + 1_000).unwrap().unwrap();
    assert_eq!(rows(&log)[0].1, 100);
}

#[test]
fn a_restart_knows_how_far_the_log_was_compacted() {
    for clean in [false, true] {
        let env = MemEnv::new();
        let (dir, log) = fresh(&env);
        append_rows(&log, &updates(60));
        let done = compact(&log, DAY).unwrap().unwrap();
        let before = rows(&log);
        if clean {
            run(dir.seal()).unwrap();
        } else {
            run(log.flush()).unwrap();
        }

        let (log, recovery) = recover(&env.after_power_loss(1)).unwrap();

        assert_eq!((recovery.clean, recovery.faulty), (clean, Vec::new()));
        assert_eq!((log.cleaned(), rows(&log)), (done.upto, before));
        assert!(compact(&log, DAY).is_none());
    }
}

#[test]
fn what_is_not_committed_is_left_alone() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_rows(&log, &updates(60));
    let segments = log.segments();

    let dirty = |stable: Offset| run(log.dirty(&CONFIG, stable, Timestamp(DAY))).unwrap();

    assert_eq!(dirty(segments[2].end).map(|dirty| dirty.upto), Some(segments[2].end));
    assert_eq!(dirty(Offset(segments[2].end.0 - 1)).map(|d| d.upto), Some(segments[1].end));
    assert_eq!(dirty(Offset(1)), None);
}

#[test]
fn what_is_older_than_the_longest_lag_is_due_also_after_a_restart() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_rows(&log, &updates(60));
    run(log.flush()).unwrap();
    let config = |lag| CleanConfig {
        dirty_ppm_min: 1_000_000,
        lag_max: Duration::from_millis(lag),
        ..CONFIG
    };
    let (log, _) = recover(&env.after_process_crash()).unwrap();
    let due = |lag| run(log.dirty(&config(lag), log.end(), Timestamp(2_000))).unwrap().unwrap().due;
    // The first batch is of 1000.
    assert!(!due(1_000));
    assert!(due(999));
}

#[test]
fn damage_is_reported_and_everything_behind_it_stays() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_rows(&log, &updates(60));
    run(log.checkpoint()).unwrap();
    let damaged = log.segments()[2];
    let file = log.folder().join(segment_files(&env)[2].clone());
    // The last byte of a value: the record can be parsed, the CRC is wrong.
    env.rot(&file, 200, 1);
    let bytes = env.content(&file);

    let done = compact(&log, DAY).unwrap().unwrap();

    assert_eq!((done.upto, done.unread), (damaged.base, Some(damaged.base)));
    assert_eq!((env.content(&file), log.cleaned()), (bytes.clone(), damaged.base));
    assert!(env.reached("storage_compaction_stopped_by_damage"));
    assert!(compact(&log, DAY).is_none());
    assert_eq!(env.content(&file), bytes);
}

#[test]
fn a_batch_whose_epoch_rotted_is_damage_and_not_written_again() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_rows(&log, &updates(60));
    run(log.checkpoint()).unwrap();
    let damaged = log.segments()[2];
    let file = log.folder().join(segment_files(&env)[2].clone());
    // The last byte of the leader epoch, which the CRC does not cover.
    env.rot(&file, 15, 1);
    let bytes = env.content(&file);

    let done = compact(&log, DAY).unwrap().unwrap();

    assert_eq!((done.upto, done.unread), (damaged.base, Some(damaged.base)));
    assert_eq!(env.content(&file), bytes);
}

#[test]
fn the_last_batch_of_a_producer_stays_so_that_a_lost_snapshot_is_made_again() {
    for mutant in [None, Some("compaction_forgets_producers")] {
        let mut env = MemEnv::new();
        if let Some(mutant) = mutant {
            env = env.with_mutant(mutant);
        }
        let (_dir, log) = fresh(&env);
        run(log.append(append_of(&[batch(0, &[(1, Some(1))], Some(7))]))).unwrap();
        append_rows(&log, &updates(60));
        compact(&log, DAY).unwrap().unwrap();
        run(log.flush()).unwrap();
        assert!(rows(&log).iter().all(|row| row.0 > 0), "the record is gone");
        env.delete(&log.folder().join("producers"));

        let (log, recovery) = recover(&env.after_process_crash()).unwrap();

        assert!(recovery.producers_lost);
        let again = storage::ProducerBatch::of(batch(0, &[(1, Some(1))], Some(7)).header());
        let known = log.producers().check(&again.unwrap());
        assert_eq!(matches!(known, Verdict::Duplicate(_)), mutant.is_none(), "{known:?}");
    }
}

#[test]
fn a_small_map_takes_several_cleanings() {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_rows(&log, &(0..200).map(|at| (at, Some(at))).collect::<Vec<_>>());
    append_rows(&log, &(0..200).map(|at| (at, Some(at))).collect::<Vec<_>>());
    let before = table(&rows(&log));
    let mut cleanings = 0;
    while let Some(wish) = compaction(&log, DAY) {
        let wish = Compaction { map_bytes_max: 0, ..wish };
        let done = run(log.compact(&wish, &|| true)).unwrap();
        assert!(done.upto > wish.dirty.from);
        cleanings += 1;
    }
    assert!(cleanings > 3, "{cleanings}");
    assert!(env.reached("storage_compaction_map_full"));
    assert_eq!(table(&rows(&log)), before);
}

#[test]
fn a_cleaning_that_is_told_to_stop_leaves_no_file() {
    let env = MemEnv::new().with_buggify("storage_compaction_breath");
    let (_dir, log) = fresh(&env);
    append_rows(&log, &updates(60));
    let before = table(&rows(&log));
    let wish = compaction(&log, DAY).unwrap();
    let asked = AtomicU32::new(0);
    // All keys are noted by then, and a segment is being written.
    let go_on = || asked.fetch_add(1, Ordering::Relaxed) < 70;

    let error = run(log.compact(&wish, &go_on)).unwrap_err();

    assert!(matches!(error, CompactError::Interrupted), "{error:?}");
    assert_eq!(table(&rows(&log)), before);
    assert_eq!(segment_files(&env).len(), log.segments().len());
    assert!(log.cleaned() < wish.dirty.upto);
}

#[test]
fn a_log_start_that_moves_meanwhile_wins() {
    let env = MemEnv::new().with_buggify("storage_compaction_breath");
    let (_dir, log) = fresh(&env);
    append_rows(&log, &updates(60));
    let wish = compaction(&log, DAY).unwrap();
    let start = log.segments()[1].end;
    let go_on = || run(log.set_log_start(start)).is_ok();

    let error = run(log.compact(&wish, &go_on)).unwrap_err();

    assert!(matches!(error, CompactError::Interrupted), "{error:?}");
    assert_eq!((log.start(), rows(&log)[0].0), (start, start.0));
    assert_eq!(segment_files(&env).len(), log.segments().len());
}

#[test]
fn a_full_disk_ends_the_cleaning_and_nothing_else() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    append_rows(&log, &updates(60));
    let before = table(&rows(&log));
    env.set_faults(Faults { full: true, ..Faults::default() });

    let error = compact(&log, DAY).unwrap().unwrap_err();

    assert!(matches!(error, CompactError::Full(_)), "{error:?}");
    assert!(dir.failed().is_none());
    env.set_faults(Faults::default());
    assert_eq!(table(&rows(&log)), before);
    compact(&log, DAY).unwrap().unwrap();
}

#[test]
fn a_cleaning_takes_its_time_if_it_is_told_to() {
    let env = MemEnv::new().with_buggify("storage_compaction_breath");
    let (_dir, log) = fresh(&env);
    append_rows(&log, &updates(60));
    let wish = Compaction { bytes_per_second: Some(1_000), ..compaction(&log, DAY).unwrap() };

    let done = run(log.compact(&wish, &|| true)).unwrap();

    let moved = done.bytes_before * 2 + done.bytes_after;
    let seconds = env.wall_since_start().as_secs();
    assert!((moved / 1_000 - 1..=moved / 1_000).contains(&seconds), "{moved} in {seconds} s");
}

#[test]
fn the_segment_that_grows_can_be_ended_so_that_a_log_becomes_empty() {
    for clean in [false, true] {
        let env = MemEnv::new();
        let (dir, log) = fresh(&env);
        append_rows(&log, &updates(5));
        assert!(run(log.close_segment()).unwrap());
        assert!(!run(log.close_segment()).unwrap(), "there is none any more");
        run(log.set_log_start(Offset(5))).unwrap();
        assert_eq!((log.start(), log.end(), log.segments()), (Offset(5), Offset(5), Vec::new()));
        assert_eq!(segment_files(&env), Vec::<String>::new());
        if clean {
            run(dir.seal()).unwrap();
        }

        let (log, recovery) = recover(&env.after_power_loss(3)).unwrap();

        assert_eq!((recovery.clean, recovery.faulty), (clean, Vec::new()));
        assert_eq!((log.start(), log.end()), (Offset(5), Offset(5)));
        append_rows(&log, &[(9, Some(9))]);
        assert_eq!(rows(&log), [(5, 9, Some(9))]);
    }
}

/// What a process that crashed had been told.
#[derive(Default)]
struct Told {
    written: Vec<Row>,
    durable: usize,
    start: i64,
}

fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 900, ..LogConfig::default() }
}

fn open(env: &MemEnv) -> Option<(LogDir<MemEnv>, Log<MemEnv>)> {
    let (dir, _) = run(LogDir::open(env, &root(), expect(), options())).ok()?;
    let found = Found { partition: partition(), replica_gen: GEN };
    let log = if dir.logs().contains(&found) {
        run(dir.open_log(partition(), GEN, small_segments())).ok()?.0
    } else {
        run(dir.create_log(partition(), GEN, small_segments())).ok()?
    };
    Some((dir, log))
}

/// Writes, flushes and compacts until the disk fails.
fn work(env: &MemEnv, told: &mut Told) -> Option<()> {
    let (dir, log) = open(env)?;
    for round in 0..4_u8 {
        for at in 0..14_u8 {
            let (key, value) = (at % 5, (at != 3).then_some(round * 20 + at));
            let base = log.end().0;
            told.written.push((base, key, value));
            run(log.append(append_of(&[batch(base, &[(key, value)], None)]))).ok()?;
        }
        run(log.flush()).ok()?;
        told.durable = told.written.len();
        if let Some(wish) = compaction(&log, DAY) {
            run(log.compact(&wish, &|| true)).ok()?;
        }
        if round == 2 {
            told.start = 12;
            run(log.set_log_start(Offset(12))).ok()?;
        }
    }
    run(dir.seal()).ok()?;
    Some(())
}

/// Whether every byte can be read and is a sound batch.
fn is_sound(log: &Log<MemEnv>) -> bool {
    let mut next = log.start();
    while next < log.end() {
        let Ok(slice) = run(log.read(next, log.end(), 1, true)) else { return false };
        let batch = BatchView::parse(&bytes_of(&slice).into());
        match batch.map(|batch| batch.verify_stored()) {
            Ok(Ok(())) => next = slice.next.unwrap(),
            Ok(Err(_)) | Err(_) => return false,
        }
    }
    true
}

/// Whether everything that was promised is there; panics if something is that nobody wrote.
fn kept(env: &MemEnv, told: &Told, end_at_least: usize) -> bool {
    let Some((_dir, log)) = open(env) else { return end_at_least == 0 };
    if !log.faulty().is_empty() || !is_sound(&log) {
        return false;
    }
    let found = rows(&log);
    assert!(found.iter().all(|row| told.written.contains(row)), "{found:?}");
    assert!(found.is_sorted_by_key(|row| row.0));
    let end = usize::try_from(log.end().0).unwrap();
    let written = &told.written[..end.min(told.written.len())];
    let newest = |row: &&Row| !written.iter().any(|other| other.1 == row.1 && other.0 > row.0);
    let promised = written.iter().filter(|row| row.0 >= told.start.max(log.start().0));
    // No tombstone is old enough to go.
    let whole = promised.filter(newest).all(|row| found.contains(row));
    // A log without a segment does not look for files.
    let tidy = log.segments().is_empty() || segment_files(env).len() == log.segments().len();
    whole && tidy && end >= end_at_least && log.start().0 <= told.start
}

fn operations() -> u64 {
    let env = MemEnv::new();
    let mut told = Told::default();
    work(&env, &mut told).unwrap();
    assert!(env.reached("storage_compacted"));
    env.ops()
}

fn after_power_loss_everywhere(mutant: Option<&'static str>) -> usize {
    let mut lost = 0;
    for at in 1..=operations() {
        let mut env = MemEnv::new();
        if let Some(mutant) = mutant {
            env = env.with_mutant(mutant);
        }
        env.set_faults(Faults { crash_at: Some(at), ..Faults::default() });
        let mut told = Told::default();
        let _finished: Option<()> = work(&env, &mut told);
        lost += usize::from(!kept(&env.after_power_loss(at), &told, told.durable));
    }
    lost
}

#[test]
fn a_power_loss_at_any_operation_finds_the_old_segments_or_the_new_ones() {
    assert_eq!(after_power_loss_everywhere(None), 0);
}

#[test]
fn the_mutant_that_swaps_before_the_flush_loses_data() {
    assert!(after_power_loss_everywhere(Some("swap_before_flush")) > 0);
}

#[test]
fn the_mutant_that_unlinks_before_the_swap_is_durable_loses_data() {
    assert!(after_power_loss_everywhere(Some("unlink_before_swap_flushed")) > 0);
}

#[test]
fn a_process_crash_at_any_operation_finds_the_old_segments_or_the_new_ones() {
    for at in 1..=operations() {
        let env = MemEnv::new();
        env.set_faults(Faults { crash_at: Some(at), ..Faults::default() });
        let mut told = Told::default();
        let _finished: Option<()> = work(&env, &mut told);
        let written = told.written.len().saturating_sub(1).max(told.durable);

        assert!(kept(&env.after_process_crash(), &told, written), "at operation {at}");
    }
}

proptest! {
    #[test]
    fn readers_of_a_compacted_log_end_with_the_same_table(
        writes in prop::collection::vec((0..6_u8, prop::option::of(any::<u8>())), 1..120),
        cleanings in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
    ) {
        let env = MemEnv::new();
        let (_dir, log) = fresh(&env);
        let stops: Vec<usize> = cleanings.iter().map(|index| index.index(writes.len())).collect();
        let mut written = Vec::new();
        for (at, write) in writes.iter().enumerate() {
            written.push((i64::try_from(at).unwrap(), write.0, write.1));
            append_rows(&log, &[*write]);
            if stops.contains(&at) {
                let _done = compact(&log, DAY);
            }
        }
        let found = rows(&log);
        prop_assert!(found.iter().all(|row| written.contains(row)));
        prop_assert_eq!(table(&found), table(&written));
    }
}
