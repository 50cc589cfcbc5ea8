//! An appender, two flushers, a reader and somebody who moves the log's start, in any order.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use base::{Offset, Prng};
use bytes::Bytes;
use proptest::prelude::*;
use records::{BatchHeader, batches};
use storage::{Log, ReadError};

use crate::support::{
    Faults, GEN, MemEnv, Spec, append_of, append_some, bytes_of, fresh, fsync_of, open_dir,
    partition, read_all, run, small,
};

type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// What the tasks know of each other.
#[derive(Default)]
struct Known {
    written: RefCell<Vec<(BatchHeader, Bytes)>>,
    flushed: Cell<i64>,
    done: Cell<bool>,
}

async fn append(log: &Log<MemEnv>, known: &Known) {
    for round in 0..40_i64 {
        let base = log.end().0;
        let value_bytes = if round % 7 == 0 { 17_000 } else { 100 };
        let batch = Spec { value_bytes, ..Spec::at(base) }.build();
        known.written.borrow_mut().push((*batch.header(), batch.bytes().clone()));
        let fsync = round % 5 == 2;
        let append = if fsync { fsync_of(&[batch]) } else { append_of(&[batch]) };
        let Ok(appended) = log.append(append).await else { break };
        if fsync {
            known.flushed.set(known.flushed.get().max(appended.end.0));
        }
    }
    known.done.set(true);
}

async fn flush(log: &Log<MemEnv>, known: &Known, checkpoint: bool) {
    while !known.done.get() {
        let before = log.end();
        let flushed = if checkpoint { log.checkpoint().await.ok() } else { log.flush().await.ok() };
        let Some(flushed) = flushed else { return };
        assert!(flushed >= before && log.flushed_end() >= flushed);
        known.flushed.set(known.flushed.get().max(flushed.0));
        std::future::poll_fn(yield_once(Cell::new(false))).await;
    }
}

fn yield_once(yielded: Cell<bool>) -> impl FnMut(&mut Context<'_>) -> Poll<()> {
    move |_| if yielded.replace(true) { Poll::Ready(()) } else { Poll::Pending }
}

async fn read(log: &Log<MemEnv>, known: &Known) {
    let mut next = 0;
    while !known.done.get() {
        match log.read(Offset(next), Offset(i64::MAX), 900, true).await {
            Ok(slice) => {
                for batch in batches(bytes_of(&slice).into()) {
                    let batch = batch.unwrap();
                    let written = known.written.borrow();
                    let same = written.iter().find(|(header, _)| header == batch.header());
                    assert_eq!(same.map(|(_, bytes)| bytes), Some(batch.bytes()));
                    next = batch.header().next_offset().0;
                }
                if slice.bytes == 0 {
                    next = log.start().0;
                }
            },
            Err(ReadError::OutOfRange { start, .. }) => next = start.0,
            Err(ReadError::Io(error)) if error.to_string() == "crashed" => return,
            Err(error) => unreachable!("{error}"),
        }
        std::future::poll_fn(yield_once(Cell::new(false))).await;
    }
}

async fn move_start(log: &Log<MemEnv>, known: &Known) {
    while !known.done.get() {
        let start = Offset((log.end().0 - 15).max(0));
        if log.set_log_start(start).await.is_err() {
            return;
        }
        std::future::poll_fn(yield_once(Cell::new(false))).await;
    }
}

fn check(seed: u64, crash_after: Option<u64>, moving: bool) {
    let mut env = MemEnv::new().with_buggify("storage_tiny_tail");
    env.restless = true;
    let mut prng = Prng::new(seed);
    // Another sequence of pauses.
    for _ in 0..seed % 64 {
        env::Env::random_u64(&env);
    }
    let (_dir, log) = fresh(&env);
    if let Some(after) = crash_after {
        env.set_faults(Faults { crash_at: Some(env.ops() + after), ..Faults::default() });
    }
    let known = Known::default();
    let mut tasks: Vec<Task<'_>> = vec![
        Box::pin(append(&log, &known)),
        Box::pin(flush(&log, &known, true)),
        Box::pin(flush(&log, &known, false)),
        Box::pin(read(&log, &known)),
    ];
    if moving {
        tasks.push(Box::pin(move_start(&log, &known)));
    }
    let mut cx = Context::from_waker(Waker::noop());
    while !tasks.is_empty() {
        let at = usize::try_from(prng.below(u64::try_from(tasks.len()).unwrap())).unwrap();
        if tasks[at].as_mut().poll(&mut cx).is_ready() {
            drop(tasks.swap_remove(at));
        }
    }
    drop(tasks);

    let env = env.after_power_loss(seed);
    let (dir, _) = open_dir(&env);
    let (log, recovery) = run(dir.open_log(partition(), GEN, small())).unwrap();
    assert_eq!(recovery.faulty, Vec::new());
    assert!(log.end().0 >= known.flushed.get(), "{recovery:?}");
    let start = log.start();
    let found = read_all(&log, start);
    let written = known.written.borrow();
    let from = written.iter().position(|(header, _)| header.base_offset >= start).unwrap_or(0);
    assert_eq!(found[..], written[from..from + found.len()]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_order_of_append_flush_read_and_trim_keeps_every_promise(
        seed in any::<u64>(),
        crash_after in prop::option::of(0..400_u64),
        moving in any::<bool>(),
    ) {
        check(seed, crash_after, moving);
    }
}

#[test]
fn an_end_of_a_segment_that_was_given_up_keeps_no_append_waiting() {
    let mut given_up = 0;
    for polls in 1..200 {
        let mut env = MemEnv::new();
        env.restless = true;
        let (_dir, log) = fresh(&env);
        append_some(&log, 3);
        let mut cx = Context::from_waker(Waker::noop());
        let mut closing = Box::pin(log.close_segment());
        if (0..polls).any(|_| closing.as_mut().poll(&mut cx).is_ready()) {
            break;
        }
        drop(closing);
        let batch = Spec::at(3).build();
        // Given up in the middle of a sync or of a group, the directory is dead.
        if run(log.append(append_of(&[batch]))).is_ok() {
            given_up += 1;
            assert!(log.segments().len() <= 2);
        }
    }
    assert!(given_up > 0);
}
