//! What a request, a record and an idle connection cost, in counts and not in times.
//!
//! The client here allocates nothing while it is counted, so what is counted is the broker's.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "how a test fails")]
#![expect(clippy::disallowed_methods, reason = "tests make and remove their own directories")]
#![expect(clippy::disallowed_types, reason = "a client of plain sockets, which allocates nothing")]

#[path = "wire/world.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod world;

use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::{Bytes, BytesMut};
use env::{Env, Lock, Rank};
use protocol::Records;
use protocol::messages::ProduceRequest;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use world::{Served, World, batch, framed};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is counted is the whole process's.
static ALONE: Lock<()> = Lock::new(Rank(0), ());

/// Requests sent at a time, and how often.
const DEPTH: usize = 16;
const ROUNDS: usize = 200;

fn produce(batch: Bytes) -> Bytes {
    let request = ProduceRequest {
        acks: 1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: "t".to_owned(),
            partition_data: vec![PartitionProduceData { index: 0, records: Records::from(batch) }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    framed(11, 1, &request)
}

/// Reads `count` answers and throws them away.
fn skip_answers(stream: &mut TcpStream, count: usize) {
    let mut some = [0; 4096];
    for _ in 0..count {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut left = usize::try_from(u32::from_be_bytes(length)).unwrap();
        while left > 0 {
            let most = left.min(some.len());
            stream.read_exact(&mut some[..most]).unwrap();
            left -= most;
        }
    }
}

/// What one of many requests cost.
struct Cost {
    allocations: f64,
    allocated_bytes: f64,
    /// Calls that receive, write to a file or send.
    calls: f64,
}

fn calls(served: &Served) -> u64 {
    let net = served.env.net().counts();
    net.receive_calls + net.send_calls + served.env.disk().write_calls()
}

/// What the broker spends for one of many requests, `depth` at a time: the median of the rounds, for in
/// some of them the disk is busy with a sync beside.
fn cost(served: &Served, request: &Bytes, depth: usize) -> Cost {
    let mut together = BytesMut::new();
    (0..depth).for_each(|_| together.extend_from_slice(request));
    let mut stream = TcpStream::connect(served.addr).unwrap();
    let mut round = || {
        stream.write_all(&together).unwrap();
        skip_answers(&mut stream, depth);
    };
    // Until what is kept has its size.
    (0..ROUNDS).for_each(|_| round());
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let (region, before) = (Region::new(COUNTED), calls(served));
        round();
        let (change, calls) = (region.change(), calls(served) - before);
        let allocations = change.allocations + change.reallocations;
        rounds.push([allocations, change.bytes_allocated, usize::try_from(calls).unwrap()]);
    }
    let [allocations, allocated_bytes, calls] = [0, 1, 2].map(|of| {
        let mut values: Vec<usize> = rounds.iter().map(|round| round[of]).collect();
        values.sort_unstable();
        let median = u32::try_from(values[ROUNDS / 2]).unwrap();
        f64::from(median) / f64::from(u32::try_from(depth).unwrap())
    });
    Cost { allocations, allocated_bytes, calls }
}

#[test]
fn records_cost_no_allocation_and_a_produce_request_a_few() {
    let _alone = ALONE.lock();
    World::new("counts-produce").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let one = cost(&served, &produce(batch(&["x"])), DEPTH).allocations;
            let many = cost(&served, &produce(batch(&["x"; 500])), DEPTH).allocations;

            println!("{one} allocations a request with 1 record, {many} with 500");
            // A larger request may take a part of a buffer more; 499 records more take nothing.
            assert!((many - one).abs() < 0.5, "{one} with one record, {many} with 500");
            assert!(many.max(one) <= 4.0, "{one} with one record, {many} with 500");
        },
    );
}

#[test]
fn a_produce_request_of_a_pipeline_costs_at_most_two_calls_that_move_bytes() {
    let _alone = ALONE.lock();
    World::new("counts-calls").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let large = "x".repeat(1000);
            // What one receive brings is written with one write and answered with another; of 320 KB
            // that is up to TCP.
            for (records, depth, most) in [(1, 16, 0.4), (15, 5, 1.0), (64, 5, 2.0)] {
                let request = produce(batch(&vec![large.as_str(); records]));
                let Cost { calls, .. } = cost(&served, &request, depth);
                println!("{calls} calls a request with {records} KB, {depth} at a time");
                assert!(calls <= most, "{calls} calls with {records} KB, {depth} at a time");
            }
        },
    );
}

#[test]
fn a_batch_is_copied_once_if_it_is_small_and_read_at_the_end_and_else_never() {
    let _alone = ALONE.lock();
    World::new("counts-copies").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let large = "x".repeat(1000);
            let small = produce(batch(&[large.as_str(); 15]));
            let whole = produce(batch(&[large.as_str(); 64]));
            let bytes = |request: &Bytes| cost(&served, request, 5).allocated_bytes;
            let unread = [bytes(&small), bytes(&whole)];
            // The last batch, and with it the log's end.
            let mut stream = TcpStream::connect(served.addr).unwrap();
            let rounds = i64::try_from(2 * ROUNDS).unwrap();
            let mut end = rounds * 5 * (15 + 64);
            let read = [(&small, 15), (&whole, 64)].map(|(request, records)| {
                stream.write_all(&fetch(end - 1, 1)).unwrap();
                skip_answers(&mut stream, 1);
                end += rounds * 5 * records;
                bytes(request)
            });

            println!(
                "bytes allocated: {unread:?} where nobody reads, {read:?} where somebody does"
            );
            // What is copied goes into memory of its own; where bytes are received is reused, and some
            // is for the work itself.
            let work = 0.0..9_000.0;
            assert!(unread.iter().all(|bytes| work.contains(bytes)), "{unread:?}");
            assert!((15_000.0..15_000.0 + work.end).contains(&read[0]), "{read:?}");
            assert!(work.contains(&read[1]), "{read:?}");
        },
    );
}

#[test]
fn an_idle_connection_is_small() {
    const CONNECTIONS: usize = 500;
    let _alone = ALONE.lock();
    World::new("counts-idle").serve(
        |_, _| {},
        |served| async move {
            // ApiVersions in version 0, asked by nobody.
            let question = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
            let ask = || {
                let mut stream = TcpStream::connect(served.addr).unwrap();
                stream.write_all(&question).unwrap();
                skip_answers(&mut stream, 1);
                stream
            };
            let mut streams = Vec::with_capacity(CONNECTIONS);
            // Tables grow by doubling, so that they are not counted.
            let first: Vec<_> = (0..CONNECTIONS).map(|_| ask()).collect();
            drop(first);
            let at = served.soon();
            while served.server.connections() > 0 {
                assert!(served.env.now() < at, "they end");
                served.env.yield_now().await;
            }
            let region = Region::new(COUNTED);
            (0..CONNECTIONS).for_each(|_| streams.push(ask()));
            let change = region.change();
            let bytes = change.bytes_allocated.saturating_sub(change.bytes_deallocated);

            println!("{} bytes a connection", bytes / CONNECTIONS);
            assert!(bytes <= 2048 * CONNECTIONS, "{} bytes a connection", bytes / CONNECTIONS);
        },
    );
}

fn fetch(offset: i64, bytes_max: i32) -> Bytes {
    let request = protocol::messages::FetchRequest {
        max_bytes: i32::MAX,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: "t".to_owned(),
            partitions: vec![FetchPartition {
                partition: 0,
                fetch_offset: offset,
                partition_max_bytes: bytes_max,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..Default::default()
    };
    framed(12, 1, &request)
}

#[test]
fn a_fetch_of_64_kib_from_one_segment_leaves_by_sendfile() {
    let _alone = ALONE.lock();
    World::new("counts-sendfile").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let large = "x".repeat(10_000);
            let sent = batch(&[large.as_str(); 7]);
            let mut stream = TcpStream::connect(served.addr).unwrap();
            // More than the log keeps in memory.
            for _ in 0..40 {
                stream.write_all(&produce(sent.clone())).unwrap();
                skip_answers(&mut stream, 1);
            }
            let before = served.env.net().counts();

            stream.write_all(&fetch(0, i32::try_from(sent.len()).unwrap())).unwrap();
            skip_answers(&mut stream, 1);

            let after = served.env.net().counts();
            let by_sendfile = after.sendfile_bytes - before.sendfile_bytes;
            assert_eq!(by_sendfile, u64::try_from(sent.len()).unwrap());
            assert_eq!(after.copied_bytes, before.copied_bytes);
            assert!(after.memory_bytes - before.memory_bytes < 300, "the head alone");
        },
    );
}
