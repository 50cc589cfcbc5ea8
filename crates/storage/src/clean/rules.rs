//! What stays of a batch when its log is compacted.
//!
//! Invariants: see [`super`]. A batch that cannot be read stays as it is: compaction never turns
//! damage into absence. Whatever was let into the log can be read, whatever it inflates to: a batch is
//! never held uncompressed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use base::{Duration, Offset, ProducerEpoch, ProducerId, Timestamp};
use records::{
    BatchView, Glance, Opener, RetainError, Retained, STORED_INFLATED_BYTES_MAX, retain,
};

use super::{Endings, OffsetMap, Seen, millis};

/// What becomes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cleaned {
    /// It stays as it is.
    Whole,
    /// This stays of it.
    Part(BatchView),
    /// Nothing stays of it; its offsets are a hole.
    Gone,
}

/// What a producer that is remembered wrote last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastBatch {
    /// Its incarnation then.
    pub epoch: ProducerEpoch,
    /// The last offset of the batch.
    pub last_offset: Offset,
}

/// The rules of one cleaning.
#[derive(Debug)]
pub struct Rules<'a> {
    /// The keys of the dirty part and where each was seen last.
    pub keys: &'a OffsetMap,
    /// Records from here on stay; the keys below are all in `keys`, or were cleaned before.
    pub upto: Offset,
    /// Now, by the wall clock.
    pub now: Timestamp,
    /// `delete.retention.ms`.
    pub tombstones_for: Duration,
    /// The last batch of each producer that is remembered.
    pub producers: &'a BTreeMap<ProducerId, LastBatch>,
    /// How the transactions ended that have data in the dirty part.
    pub endings: &'a Endings,
}

impl Rules<'_> {
    /// What becomes of `batch`, the next one of a pass from the log's start that has `seen` those
    /// before it.
    ///
    /// # Errors
    /// [`RetainError`] if the batch cannot be read: leave the log as it is and report the damage.
    pub fn clean(
        &self,
        batch: &BatchView,
        seen: &mut Seen,
        opener: &mut Opener,
    ) -> Result<Cleaned, RetainError> {
        let header = batch.header();
        if header.base_offset >= self.upto {
            return Ok(Cleaned::Whole);
        }
        let horizon = header.attributes.has_delete_horizon().then_some(header.base_timestamp);
        let expired = horizon.is_some_and(|horizon| horizon <= self.now);
        let new_horizon = Timestamp(self.now.0.saturating_add(millis(self.tombstones_for)));
        if header.attributes.is_control() {
            let goes = !seen.marker(header) && !self.is_needed(batch);
            return match goes {
                true if expired => Ok(Cleaned::Gone),
                true => Self::marked(batch, new_horizon, opener),
                false => Ok(Cleaned::Whole),
            };
        }
        seen.data(header);
        let is_void = self.endings.is_aborted(header);
        let keep = |record: &Glance, key: Option<&[u8]>| {
            record.offset >= self.upto
                || (!is_void && self.is_last(record.offset, key) && (record.has_value || !expired))
        };
        let bytes_max = STORED_INFLATED_BYTES_MAX;
        Ok(match retain(batch, Some(new_horizon), opener, bytes_max, keep)? {
            Retained::Whole => Cleaned::Whole,
            Retained::Part(left) => Cleaned::Part(left),
            Retained::Nothing(_) if header.record_count == 0 && self.is_needed(batch) => {
                Cleaned::Whole
            },
            Retained::Nothing(left) if self.is_needed(batch) => Cleaned::Part(left),
            Retained::Nothing(_) => Cleaned::Gone,
        })
    }

    /// A marker without data: it may go from `horizon` on, if it did not know a time yet.
    fn marked(
        batch: &BatchView,
        horizon: Timestamp,
        opener: &mut Opener,
    ) -> Result<Cleaned, RetainError> {
        let all = |_: &Glance, _: Option<&[u8]>| true;
        Ok(match retain(batch, Some(horizon), opener, STORED_INFLATED_BYTES_MAX, all)? {
            Retained::Part(marked) => Cleaned::Part(marked),
            Retained::Whole | Retained::Nothing(_) => Cleaned::Whole,
        })
    }

    /// Whether the record is the last of its key. One without a key cannot be: a compacted topic
    /// takes none, so it is from a time before the topic was compacted.
    fn is_last(&self, offset: Offset, key: Option<&[u8]>) -> bool {
        let last = key.map(|key| self.keys.get(key));
        last.is_some_and(|last| last.is_none_or(|last| offset >= last))
    }

    /// Whether the batch tells what its producer sent last, or is a marker that tells of an epoch of it
    /// in which it has sent nothing yet: nothing else in the log does.
    fn is_needed(&self, batch: &BatchView) -> bool {
        let header = batch.header();
        let Some(producer) = header.producer() else { return false };
        self.producers.get(&producer.id).is_some_and(|last| {
            if header.attributes.is_control() {
                producer.epoch > last.epoch
            } else {
                header.last_offset() == last.last_offset
            }
        })
    }
}

/// Notes the keys of a batch of the dirty part, each `late` offsets too late (a planted bug; 0), but for
/// those of an aborted transaction. False, with some noted, if the map is full: then the cleaned range
/// ends before this batch.
///
/// # Errors
/// [`RetainError`] if the batch cannot be read.
pub fn note_keys(
    keys: &mut OffsetMap,
    batch: &BatchView,
    endings: &Endings,
    late: i64,
    opener: &mut Opener,
) -> Result<bool, RetainError> {
    if batch.header().attributes.is_control() || endings.is_aborted(batch.header()) {
        return Ok(true);
    }
    let mut fits = true;
    batch.scan_keys(opener, STORED_INFLATED_BYTES_MAX, |record, key| {
        let at = Offset(record.offset.0.saturating_add(late));
        fits = key.is_none_or(|key| keys.put(key, at));
        if fits { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(fits)
}

#[cfg(test)]
mod tests {
    use base::LeaderEpoch;
    use proptest::prelude::*;
    use records::control::end_transaction;
    use records::{BatchBuilder, Compression, Control, Ending, NewRecord, Producer};

    use super::*;

    type Write = (u8, Option<u8>);

    fn batch(base: i64, writes: &[Write], codec: Compression) -> BatchView {
        let producer =
            Producer { id: ProducerId(5), epoch: ProducerEpoch(0), base_sequence: Some(0) };
        let mut batch = BatchBuilder::new()
            .compression(codec)
            .assigned(Offset(base), LeaderEpoch(0))
            .producer(producer);
        for (key, value) in writes {
            let value = value.map(|value| [value]);
            let record = NewRecord {
                timestamp: Timestamp(1_000),
                key: Some(std::slice::from_ref(key)),
                value: value.as_ref().map(|value| &value[..]),
                headers: &[],
            };
            batch.push(&record).unwrap();
        }
        batch.finish().unwrap()
    }

    fn log(batches: &[Vec<Write>], codec: Compression) -> Vec<BatchView> {
        let mut base = 0;
        let mut log = Vec::new();
        for writes in batches {
            log.push(batch(base, writes, codec));
            base += i64::try_from(writes.len()).unwrap();
        }
        log
    }

    /// Offsets, keys and values, as a reader sees them.
    fn read(log: &[BatchView]) -> Vec<(i64, u8, Option<u8>)> {
        let mut seen = Vec::new();
        for batch in log {
            for record in &batch.open(STORED_INFLATED_BYTES_MAX).unwrap() {
                let record = record.unwrap();
                let value = record.value.map(|value| value[0]);
                seen.push((record.offset.0, record.key.unwrap()[0], value));
            }
        }
        seen
    }

    fn table(records: &[(i64, u8, Option<u8>)]) -> BTreeMap<u8, u8> {
        let mut table = BTreeMap::new();
        for (_, key, value) in records {
            match value {
                Some(value) => table.insert(*key, *value),
                None => table.remove(key),
            };
        }
        table
    }

    /// One whole cleaning of what lies below `upto`, whose keys from `dirty` on are noted.
    fn clean(
        log: &[BatchView],
        dirty: Offset,
        upto: Offset,
        now: i64,
        producers: &BTreeMap<ProducerId, LastBatch>,
    ) -> Vec<BatchView> {
        let mut keys = OffsetMap::new(9, 1 << 20);
        let mut endings = Endings::new(upto, 1 << 20);
        log.iter()
            .filter(|batch| batch.header().base_offset >= dirty)
            .for_each(|batch| endings.note(batch).unwrap());
        for batch in log {
            let base = batch.header().base_offset;
            if (dirty..upto).contains(&base) {
                assert!(note_keys(&mut keys, batch, &endings, 0, &mut Opener::default()).unwrap());
            }
        }
        let tombstones_for = Duration::from_millis(100);
        let now = Timestamp(now);
        let rules = Rules { keys: &keys, upto, now, tombstones_for, producers, endings: &endings };
        let (mut cleaned, mut seen) = (Vec::new(), Seen::default());
        for batch in log {
            match rules.clean(batch, &mut seen, &mut Opener::default()).unwrap() {
                Cleaned::Whole => cleaned.push(batch.clone()),
                Cleaned::Part(left) => cleaned.push(left),
                Cleaned::Gone => {},
            }
        }
        cleaned
    }

    proptest! {
        #[test]
        fn readers_of_a_cleaned_log_end_with_the_same_table(
            batches in prop::collection::vec(
                prop::collection::vec((0..6_u8, prop::option::of(any::<u8>())), 1..6), 1..12),
            codec in prop::sample::select(vec![Compression::None, Compression::Lz4]),
            cut in any::<prop::sample::Index>(),
        ) {
            let log = log(&batches, codec);
            let before = read(&log);
            let upto = log[cut.index(log.len())].header().base_offset;
            let none = BTreeMap::new();
            let once = clean(&log, Offset(0), upto, 5_000, &none);
            let after = read(&once);

            // Nothing is new, in another order, or elsewhere.
            prop_assert!(after.iter().all(|record| before.contains(record)));
            prop_assert!(after.is_sorted_by_key(|record| record.0));
            // The first cleaning keeps tombstones, so a reader on its way sees every deletion.
            prop_assert_eq!(table(&after), table(&before));
            // One record a key below the end of the range, everything from there on.
            let below: Vec<u8> =
                after.iter().filter(|record| record.0 < upto.0).map(|record| record.1).collect();
            let mut keys = below.clone();
            keys.sort_unstable();
            keys.dedup();
            prop_assert_eq!(keys.len(), below.len());
            prop_assert_eq!(
                before.iter().filter(|record| record.0 >= upto.0).count(),
                after.iter().filter(|record| record.0 >= upto.0).count()
            );
            // Long after, nothing dirty is left and no tombstone either.
            let twice = read(&clean(&once, upto, upto, 5_101, &none));
            prop_assert_eq!(table(&twice), table(&before));
            prop_assert!(twice.iter().all(|record| record.0 >= upto.0 || record.2.is_some()));
        }
    }

    #[test]
    fn a_tombstone_stays_for_its_time_after_the_first_cleaning_that_saw_it() {
        let log =
            log(&[vec![(1, Some(1))], vec![(1, None)], vec![(2, Some(2))]], Compression::None);
        let none = BTreeMap::new();
        let end = Offset(3);
        let once = clean(&log, Offset(0), end, 5_000, &none);
        assert_eq!(read(&once), [(1, 1, None), (2, 2, Some(2))]);
        let early = clean(&once, end, end, 5_099, &none);
        assert_eq!(early, once);
        let late = clean(&once, end, end, 5_100, &none);
        assert_eq!(read(&late), [(2, 2, Some(2))]);
    }

    fn last(epoch: i16, last_offset: i64) -> LastBatch {
        LastBatch { epoch: ProducerEpoch(epoch), last_offset: Offset(last_offset) }
    }

    #[test]
    fn the_last_batch_of_a_producer_stays_without_its_records_until_it_is_forgotten() {
        let log = log(&[vec![(1, Some(1))], vec![(1, Some(2))]], Compression::Gzip);
        let known = BTreeMap::from([(ProducerId(5), last(0, 0))]);
        let once = clean(&log, Offset(0), Offset(2), 5_000, &known);

        assert_eq!(once.len(), 2);
        assert_eq!((once[0].header().record_count, once[0].header().last_offset()), (0, Offset(0)));
        assert_eq!(once[0].header().producer(), log[0].header().producer());
        assert_eq!(clean(&once, Offset(2), Offset(2), 5_000, &known), once);
        assert_eq!(clean(&once, Offset(2), Offset(2), 5_000, &BTreeMap::new()), once[1..]);
    }

    /// A batch of a transaction of `producer`.
    fn data(base: i64, producer: i64, (key, value): (u8, u8)) -> BatchView {
        let (key, value, timestamp) = ([key], [value], Timestamp(1_000));
        let id = ProducerId(producer);
        let producer = Producer { id, epoch: ProducerEpoch(0), base_sequence: Some(0) };
        let mut batch = BatchBuilder::new()
            .assigned(Offset(base), LeaderEpoch(0))
            .producer(producer)
            .transactional();
        let record = NewRecord { timestamp, key: Some(&key), value: Some(&value), headers: &[] };
        batch.push(&record).unwrap();
        batch.finish().unwrap()
    }

    fn marker(base: i64, producer: i64, ending: Ending) -> BatchView {
        let (id, epoch) = (ProducerId(producer), ProducerEpoch(0));
        let marker = end_transaction(id, epoch, ending, 0, Timestamp(1_000)).unwrap();
        marker.assigned(Offset(base), LeaderEpoch(0)).finish().unwrap()
    }

    fn bases(log: &[BatchView]) -> Vec<i64> {
        log.iter().map(|batch| batch.header().base_offset.0).collect()
    }

    /// Two transactions of one producer around one of another, whose marker lies behind the range.
    fn transactions() -> Vec<BatchView> {
        vec![
            data(0, 5, (1, 10)),
            marker(1, 5, Ending::Commit),
            data(2, 6, (1, 20)),
            data(3, 5, (2, 30)),
            marker(4, 5, Ending::Abort),
            marker(5, 6, Ending::Abort),
            data(6, 5, (9, 90)),
        ]
    }

    #[test]
    fn data_of_an_aborted_transaction_goes_and_supersedes_nothing() {
        let none = BTreeMap::new();
        for upto in [5, 6] {
            let once = clean(&transactions(), Offset(0), Offset(upto), 5_000, &none);
            assert_eq!(bases(&once), [0, 1, 4, 5, 6], "the record that was committed stays");
        }
    }

    #[test]
    fn a_marker_stays_until_its_time_is_over_since_nothing_was_seen_of_its_transaction() {
        let (none, end) = (BTreeMap::new(), Offset(6));
        let once = clean(&transactions(), Offset(0), end, 5_000, &none);
        assert!(!once[2].header().attributes.has_delete_horizon(), "its data was seen");
        let twice = clean(&once, end, end, 6_000, &none);
        assert_eq!(bases(&twice), [0, 1, 4, 5, 6]);
        assert!(twice[2].header().attributes.has_delete_horizon());
        let early = clean(&twice, end, end, 6_099, &none);
        assert_eq!(early, twice);
        let late = clean(&twice, end, end, 6_100, &none);
        assert_eq!(bases(&late), [0, 1, 6], "committed data has its marker");
        let marks = twice[2].open(STORED_INFLATED_BYTES_MAX).unwrap();
        let mark = marks.iter().next().unwrap().unwrap();
        let aborts = Control::EndTransaction { ending: Ending::Abort, coordinator_epoch: 0 };
        assert_eq!(Control::parse(&mark), Ok(aborts));
    }

    #[test]
    fn a_marker_of_an_epoch_in_which_its_producer_has_sent_nothing_stays() {
        // Producer 6 is known by what it sent elsewhere, in the marker's epoch or the one before.
        for (epoch, expected) in [(0, vec![0, 1, 6]), (-1, vec![0, 1, 5, 6])] {
            let known = BTreeMap::from([(ProducerId(6), last(epoch, 90))]);
            let mut log = transactions();
            for now in [5_000, 6_000, 7_000] {
                log = clean(&log, Offset(0), Offset(6), now, &known);
            }
            assert_eq!(bases(&log), expected);
        }
    }

    #[test]
    fn a_control_batch_of_no_transaction_stays() {
        let mut batch = BatchBuilder::new().control().assigned(Offset(0), LeaderEpoch(0));
        let key = [0, 0, 0, 9];
        let timestamp = Timestamp(1_000);
        batch.push(&NewRecord { timestamp, key: Some(&key), value: None, headers: &[] }).unwrap();
        let mut log = vec![batch.finish().unwrap(), data(1, 5, (1, 1))];
        for now in [5_000, 6_000, 7_000] {
            log = clean(&log, Offset(0), Offset(1), now, &BTreeMap::new());
        }
        assert_eq!(bases(&log), [0, 1]);
    }

    #[test]
    fn a_transaction_without_an_end_is_not_decided() {
        let mut endings = Endings::new(Offset(6), 0);
        let log = transactions();
        log[..5].iter().for_each(|batch| endings.note(batch).unwrap());
        assert_eq!(endings.undecided(), Some((Offset(2), ProducerId(6))));
        assert_eq!((endings.decided(), endings.is_over(Offset(6))), (Offset(2), false));
        log[5..].iter().for_each(|batch| endings.note(batch).unwrap());
        assert_eq!(endings.undecided(), None, "the last one begins behind the range");
        assert_eq!((endings.decided(), endings.is_over(Offset(6))), (Offset(6), true));
    }

    #[test]
    fn of_more_transactions_than_fit_the_first_ones_are_decided() {
        let begun = (0..40).map(|at| data(at, at, (1, 1)));
        let ended = (0..40).map(|at| marker(40 + at, at, Ending::Abort));
        let log: Vec<BatchView> = begun.chain(ended).collect();
        let mut endings = Endings::new(Offset(40), 0);
        log.iter().for_each(|batch| endings.note(batch).unwrap());

        assert!(endings.is_full());
        assert_eq!(endings.decided(), Offset(32));
        let aborted = log.iter().filter(|batch| endings.is_aborted(batch.header()));
        assert_eq!(aborted.count(), 32);
    }

    #[test]
    fn of_many_transactions_of_a_producer_each_is_known_as_it_ended() {
        let mut endings = Endings::new(Offset(i64::MAX), 1 << 20);
        let ending = |at: i64| if at % 3 == 0 { Ending::Abort } else { Ending::Commit };
        for at in 0..100 {
            endings.note(&data(3 * at, 5, (1, 1))).unwrap();
            endings.note(&data(3 * at + 1, 5, (1, 2))).unwrap();
            endings.note(&marker(3 * at + 2, 5, ending(at))).unwrap();
        }
        for at in 0..300 {
            let aborted = at % 3 < 2 && ending(at / 3) == Ending::Abort;
            assert_eq!(endings.is_aborted(data(at, 5, (1, 1)).header()), aborted, "{at}");
            assert!(!endings.is_aborted(data(at, 4, (1, 1)).header()));
        }
    }

    #[test]
    fn a_full_map_ends_the_range_before_the_batch_that_did_not_fit() {
        let writes: Vec<Vec<Write>> = (0..60).map(|key| vec![(key, Some(1))]).collect();
        let log = log(&writes, Compression::None);
        let mut keys = OffsetMap::new(0, 0);
        let fitted = log
            .iter()
            .take_while(|batch| {
                let endings = Endings::new(Offset(0), 0);
                note_keys(&mut keys, batch, &endings, 0, &mut Opener::default()).unwrap()
            })
            .count();
        assert_eq!(fitted, keys.len());
        assert!(fitted < log.len(), "{fitted}");
    }

    #[test]
    fn a_batch_that_cannot_be_read_is_not_cleaned() {
        let good = batch(0, &[(1, Some(1)), (1, Some(2))], Compression::None);
        let mut bytes = good.bytes().to_vec();
        bytes[records::header::HEADER_LEN] = 0x7e;
        let damaged = BatchView::parse(&bytes.into()).unwrap();
        let keys = OffsetMap::new(0, 0);
        let rules = Rules {
            keys: &keys,
            upto: Offset(9),
            now: Timestamp(0),
            tombstones_for: Duration::ZERO,
            producers: &BTreeMap::new(),
            endings: &Endings::new(Offset(0), 0),
        };
        let cleaned = rules.clean(&damaged, &mut Seen::default(), &mut Opener::default());
        assert!(matches!(cleaned, Err(RetainError::Open(_))));
    }
}
