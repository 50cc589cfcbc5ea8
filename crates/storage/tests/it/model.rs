//! Any sequence of appends, reads, flushes and restarts agrees with a plain vector of batches.

use base::{Offset, Timestamp};
use bytes::Bytes;
use proptest::prelude::*;
use records::BatchHeader;
use storage::{LogConfig, REGION_BYTES_MIN, SealOutcome};

use crate::support::{
    GEN, MemEnv, Spec, append_of, bytes_of, fresh, open_dir, partition, read_all, run, small,
};

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(i32, usize, i64)>),
    Read { from: u8, upto: u8, max_bytes: usize, min_one: bool },
    Time(i64),
    Flush,
    Checkpoint,
    CleanRestart,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![4 => 0..300_usize, 1 => 15_000..20_000_usize, 1 => 60_000..90_000_usize];
    let batch = (1..4_i32, size, 0..1000_i64);
    prop_oneof![
        6 => prop::collection::vec(batch, 1..6).prop_map(Step::Append),
        6 => (any::<u8>(), any::<u8>(), 0..200_000_usize, any::<bool>())
            .prop_map(|(from, upto, max_bytes, min_one)| Step::Read { from, upto, max_bytes, min_one }),
        2 => (0..1100_i64).prop_map(Step::Time),
        1 => Just(Step::Flush),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::CleanRestart),
        1 => Just(Step::Crash),
    ]
}

fn model_read(
    model: &[(BatchHeader, Bytes)],
    from: i64,
    upto: i64,
    max_bytes: usize,
    min_one: bool,
) -> Vec<u8> {
    let mut out = Vec::new();
    for (header, bytes) in model.iter().filter(|(header, _)| header.last_offset().0 >= from) {
        let first = out.is_empty();
        let fits = out.len() + bytes.len() <= max_bytes || (first && min_one);
        if header.last_offset().0 >= upto || from >= upto || !fits {
            break;
        }
        out.extend_from_slice(bytes);
    }
    out
}

fn check(steps: &[Step], tiny: bool, segment_bytes: u64) {
    let mut env = MemEnv::new();
    if tiny {
        env = env.with_buggify("storage_tiny_tail");
    }
    let config = LogConfig { segment_bytes, ..small() };
    let (mut dir, mut log) = fresh(&env);
    log.set_config(config.clone());
    let mut model: Vec<(BatchHeader, Bytes)> = Vec::new();
    for step in steps {
        match step {
            Step::Append(specs) => {
                let mut batches = Vec::new();
                let mut base = log.end().0;
                for (count, value_bytes, time) in specs {
                    let (count, value_bytes, time) = (*count, *value_bytes, *time);
                    let spec = Spec { count, value_bytes, time, ..Spec::at(base) };
                    base += i64::from(count);
                    batches.push(spec.build());
                }
                let done = run(log.append(append_of(&batches))).unwrap();
                assert_eq!(done.end, Offset(base));
                model.extend(batches.iter().map(|b| (*b.header(), b.bytes().clone())));
            },
            Step::Read { from, upto, max_bytes, min_one } => {
                let end = log.end().0;
                let (from, upto) = (i64::from(*from) % (end + 1), i64::from(*upto) % (end + 2));
                let slice = run(log.read(Offset(from), Offset(upto), *max_bytes, *min_one));
                let slice = slice.unwrap();
                let bytes = bytes_of(&slice);
                let expected = model_read(&model, from, upto, *max_bytes, *min_one);
                // A read stops at a segment's end, and a large one at an index entry.
                assert!(expected.starts_with(&bytes), "{step:?}");
                assert_eq!(bytes.is_empty(), expected.is_empty(), "{step:?}");
                let one_segment = segment_bytes > 1_000_000;
                if one_segment && expected.len() < REGION_BYTES_MIN {
                    assert_eq!(bytes.len(), expected.len(), "{step:?}");
                }
                let first = records::batches(bytes.into()).next().map(|b| b.unwrap());
                assert_eq!(slice.first_base, first.map(|b| b.header().base_offset));
            },
            Step::Time(at) => {
                let found = run(log.offset_for_timestamp(Timestamp(*at))).unwrap();
                let expected = model.iter().find_map(|(_, bytes)| {
                    let batch = records::BatchView::parse(bytes).unwrap();
                    batch.first_at_or_after(Timestamp(*at), Offset(0), 1 << 20).unwrap()
                });
                assert_eq!(found.map(|hit| hit.offset), expected.map(|hit| hit.offset));
            },
            Step::Flush => assert_eq!(run(log.flush()).unwrap(), log.end()),
            Step::Checkpoint => assert_eq!(run(log.checkpoint()).unwrap(), log.end()),
            Step::CleanRestart | Step::Crash => {
                let clean = matches!(step, Step::CleanRestart);
                if clean {
                    assert_eq!(run(dir.seal()).unwrap(), SealOutcome::Sealed);
                }
                env = env.after_process_crash();
                (dir, _) = open_dir(&env);
                let opened = run(dir.open_log(partition(), GEN, config.clone())).unwrap();
                assert_eq!(opened.1.clean, clean);
                assert_eq!(opened.1.cut, None);
                log = opened.0;
            },
        }
        let end = model.last().map_or(0, |(header, _)| header.next_offset().0);
        assert_eq!(log.end(), Offset(end));
    }
    assert_eq!(read_all(&log, Offset(0)), model);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_log_agrees_with_a_vector(
        steps in prop::collection::vec(step(), 1..40),
        tiny in any::<bool>(),
        segment_bytes in prop_oneof![Just(2000), Just(100_000), Just(1 << 30)],
    ) {
        check(&steps, tiny, segment_bytes);
    }
}
