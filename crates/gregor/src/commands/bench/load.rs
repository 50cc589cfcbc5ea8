//! Putting a load on a broker, over real sockets.
//!
//! Invariants: a connection has a thread of its own and blocks in it, so that the client adds no
//! queue of its own; where requests are due at fixed times, a latency counts from the time a request
//! was due and not from when it could be sent, so a broker that stalls does not lower the load that
//! it is judged by; an answer with an error ends the measurement; the connections of each side go
//! over all partitions together.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::frames::{Answer, Batch, Frame};
use super::process::{Usage, usage};
use super::socket::{Answers, Requests, broken, connect, send};
use crate::failure::Failure;

/// The longest latency that is told apart from longer ones, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;
/// Requests that may be under way on a connection whose requests are due at fixed times.
const PACED_UNDER_WAY_MAX: usize = 65_536;
/// How often the progress of a measurement is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a warm-up may go on for the batches that it must make.
const WARMUP_MAX: Duration = Duration::from_secs(120);
/// Enough for the client's threads, of which there are many.
const STACK_BYTES: usize = 256 * 1024;

/// What is asked on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Append.
    Produce,
    /// Read what is there, from the first offset to the last and again.
    Read,
    /// Read what comes, one request at a time.
    Follow,
}

/// A measurement to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What each connection does.
    pub sides: Vec<Side>,
    /// Requests under way on each connection.
    pub depth: usize,
    /// The topic.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
    /// What is appended, and what the log consists of.
    pub batch: Batch,
    /// Batches that one fetch asks for.
    pub fetch_batches: u32,
    /// Batches that each partition has, for [`Side::Read`].
    pub stored_batches: u32,
    /// Appends a second in all; `None` is as fast as answers come.
    pub rate: Option<f64>,
    /// Unmeasured at the beginning, at least so long,
    pub warmup: Duration,
    /// and until each connection has had so many answers for each of its partitions.
    pub warmup_rounds: usize,
    /// Measured.
    pub duration: Duration,
    /// Ends the measurement early.
    pub bytes_max: u64,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// How long.
    pub duration: Duration,
    /// Requests answered.
    pub requests: u64,
    /// Bytes of batches in them or in their answers.
    pub bytes: u64,
    /// Of the broker's process, before and after.
    pub usage: Option<(Usage, Usage)>,
    /// In microseconds.
    pub latencies: Histogram<u64>,
}

/// What the threads share.
#[derive(Debug, Default)]
struct Gate {
    stop: AtomicBool,
    measuring: AtomicBool,
    /// Connections whose part of the warm-up is done.
    warm: AtomicUsize,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Gate {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn counts(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// Carries a plan out against the broker at `to`, whose process is `pid`.
///
/// # Errors
/// [`Failure`] if a connection broke or the broker answered with an error.
pub fn measure(to: SocketAddr, pid: Option<u32>, plan: &Plan) -> Result<Measured, Failure> {
    let gate = Gate::default();
    std::thread::scope(|scope| {
        let measured = spawn_all(scope, to, plan, &gate).and_then(|threads| {
            let watched = watch(pid, plan, &gate, || threads.iter().any(|t| t.is_finished()));
            gate.stop.store(true, Ordering::Relaxed);
            let mut latencies = histogram()?;
            for thread in threads {
                let ended = thread.join().map_err(|_| thread_failed())??;
                latencies.add(ended).map_err(|error| Failure::Other(error.to_string()))?;
            }
            let (duration, requests, bytes, usage) = watched?;
            Ok(Measured { duration, requests, bytes, usage, latencies })
        });
        // Or the scope waits for ever for those that were begun.
        gate.stop.store(true, Ordering::Relaxed);
        measured
    })
}

/// Appends [`Plan::stored_batches`] to each partition.
///
/// # Errors
/// [`Failure`] if a connection broke or the broker answered with an error.
pub fn fill(to: SocketAddr, plan: &Plan) -> Result<(), Failure> {
    const UNDER_WAY: usize = 8;
    let all = (0..partitions_of(plan)).collect();
    let mut work = Work::new(plan, Side::Produce, all)?;
    let mut stream = connect(to)?;
    let clone = stream.try_clone().map_err(|error| broken(to, &error))?;
    let mut answers = Answers::new(clone, to, true);
    let each = usize::try_from(plan.stored_batches).unwrap_or(usize::MAX);
    let mut left = work.frames.len().saturating_mul(each);
    let mut out = Vec::new();
    while left > 0 {
        let count = left.min(UNDER_WAY);
        send(&mut stream, &mut out, count, &mut work).map_err(|error| broken(to, &error))?;
        for _ in 0..count {
            answers.next()?;
        }
        left -= count;
    }
    Ok(())
}

fn thread_failed() -> Failure {
    Failure::Other("a client's thread failed".to_owned())
}

type Thread<'s> = std::thread::ScopedJoinHandle<'s, Result<Histogram<u64>, Failure>>;

/// Begins the load.
fn spawn_all<'s, 'e>(
    scope: &'s std::thread::Scope<'s, 'e>,
    to: SocketAddr,
    plan: &'e Plan,
    gate: &'e Gate,
) -> Result<Vec<Thread<'s>>, Failure> {
    let producers = plan.sides.iter().filter(|side| **side == Side::Produce).count();
    let begun = Instant::now();
    let mut threads = Vec::new();
    let shares = shares(&plan.sides, partitions_of(plan));
    for (index, (side, share)) in plan.sides.iter().zip(shares).enumerate() {
        let worker = Worker {
            stream: connect(to)?,
            warmup: Warmup::new(plan.warmup_rounds, share.len()),
            work: Work::new(plan, *side, share)?,
            to,
            gate,
            latencies: histogram()?,
        };
        let paced = plan.rate.filter(|_| *side == Side::Produce).map(|rate| {
            let every = Duration::from_secs_f64(f64_of(producers) / rate);
            (begun + every.mul_f64(f64_of(index) / f64_of(producers.max(1))), every)
        });
        let depth = if *side == Side::Follow { 1 } else { plan.depth };
        let run = move || match paced {
            Some((first, every)) => worker.run_paced(first, every),
            None => worker.run_closed(depth),
        };
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let spawned = thread.spawn_scoped(scope, run);
        threads.push(
            spawned.map_err(|source| Failure::System {
                what: "starting a thread".to_owned(),
                source,
            })?,
        );
    }
    Ok(threads)
}

type Watched = (Duration, u64, u64, Option<(Usage, Usage)>);

/// How many of its partitions a plan is about.
fn partitions_of(plan: &Plan) -> usize {
    usize::try_from(plan.partitions).unwrap_or(1).max(1)
}

/// The partitions of each connection. The connections of a side share them all out; of few
/// partitions, each gets one.
fn shares(sides: &[Side], partitions: usize) -> Vec<Vec<usize>> {
    let share = |(index, side): (usize, &Side)| {
        let same = |of: &[Side]| of.iter().filter(|other| *other == side).count();
        let place = same(sides.get(..index).unwrap_or_default());
        (place % partitions..partitions).step_by(same(sides).max(1)).collect()
    };
    sides.iter().enumerate().map(share).collect()
}

/// What a connection still has to do before the measurement may begin.
#[derive(Clone, Copy, Debug)]
struct Warmup {
    answers_left: usize,
}

impl Warmup {
    /// `rounds` answers for each of `partitions`, which take turns.
    fn new(rounds: usize, partitions: usize) -> Self {
        Self { answers_left: rounds.saturating_mul(partitions) }
    }

    /// Notes an answer; whether it was the last that was missing.
    fn answered(&mut self) -> bool {
        let was_last = self.answers_left == 1;
        self.answers_left = self.answers_left.saturating_sub(1);
        was_last
    }
}

/// Whether the warm-up is over, so long after it began, with so many connections done.
///
/// # Errors
/// [`Failure`] if it takes too long.
fn is_warm(plan: &Plan, since: Duration, warm: usize) -> Result<bool, Failure> {
    let (all, rounds) = (plan.sides.len(), plan.warmup_rounds);
    if rounds == 0 || warm >= all {
        return Ok(since >= plan.warmup);
    }
    if since < WARMUP_MAX.max(plan.warmup) {
        return Ok(false);
    }
    Err(Failure::Other(format!(
        "the warm-up took more than {} s: {warm} of {all} connections have had {rounds} answers for \
         each of their share of {} partitions",
        since.as_secs(),
        plan.partitions
    )))
}

/// Lets the load run, and measures between two points of time in it.
fn watch(
    pid: Option<u32>,
    plan: &Plan,
    gate: &Gate,
    ended: impl Fn() -> bool,
) -> Result<Watched, Failure> {
    let look = || pid.map(usage).transpose();
    let begun = Instant::now();
    while !is_warm(plan, begun.elapsed(), gate.warm.load(Ordering::Relaxed))? && !ended() {
        std::thread::sleep(LOOK_EVERY);
    }
    let (from, before, start) = (gate.counts(), look()?, Instant::now());
    gate.measuring.store(true, Ordering::Relaxed);
    while start.elapsed() < plan.duration
        && gate.counts().1.saturating_sub(from.1) < plan.bytes_max
        && !ended()
    {
        std::thread::sleep(LOOK_EVERY);
    }
    let (upto, after, duration) = (gate.counts(), look()?, start.elapsed());
    gate.measuring.store(false, Ordering::Relaxed);
    let usage = before.zip(after);
    Ok((duration, upto.0.saturating_sub(from.0), upto.1.saturating_sub(from.1), usage))
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)
        .map_err(|error| Failure::Other(error.to_string()))
}

/// A count as a factor.
#[expect(clippy::cast_precision_loss, reason = "counts of this size are exact")]
pub fn f64_of(count: usize) -> f64 {
    count as f64
}

/// What one connection asks, in turns.
struct Work {
    side: Side,
    frames: Vec<(Frame, i64)>,
    next: usize,
    correlation: i32,
    batch_bytes: u64,
    batch_records: i64,
    /// Records that one fetch moves on by, and records there are.
    step: i64,
    stored: i64,
}

impl Work {
    /// The work of a connection that has these partitions.
    fn new(plan: &Plan, side: Side, partitions: Vec<usize>) -> Result<Self, Failure> {
        let batch_records = i64::from(plan.batch.records);
        let bytes = u64::try_from(plan.batch.bytes.len()).unwrap_or(u64::MAX);
        let fetch_bytes = bytes.saturating_mul(u64::from(plan.fetch_batches));
        let fetch_bytes = i32::try_from(fetch_bytes).unwrap_or(i32::MAX);
        let frame = |partition: usize| {
            let partition = i32::try_from(partition).unwrap_or(i32::MAX);
            match side {
                Side::Produce => Frame::produce(&plan.topic, partition, 1, &plan.batch.bytes),
                Side::Read => Frame::fetch(&plan.topic, partition, fetch_bytes, 0),
                Side::Follow => Frame::fetch(&plan.topic, partition, fetch_bytes, 500),
            }
        };
        let frames = partitions.into_iter().map(|partition| Ok((frame(partition)?, 0)));
        Ok(Self {
            side,
            frames: frames.collect::<Result<_, Failure>>()?,
            next: 0,
            correlation: 0,
            batch_bytes: bytes,
            batch_records,
            step: batch_records.saturating_mul(i64::from(plan.fetch_batches)),
            stored: batch_records.saturating_mul(i64::from(plan.stored_batches)),
        })
    }

    /// What an answer is worth in bytes; whoever follows goes on behind it.
    fn answered(&mut self, answer: Answer) -> u64 {
        if self.side == Side::Produce {
            return self.batch_bytes;
        }
        if self.side == Side::Follow {
            let batches = answer.record_bytes / self.batch_bytes.max(1);
            let count = self.frames.len();
            if let Some((_, offset)) = self.frames.get_mut(self.next) {
                let batches = i64::try_from(batches).unwrap_or(0);
                *offset = offset.saturating_add(batches.saturating_mul(self.batch_records));
            }
            self.next = (self.next + 1) % count.max(1);
        }
        answer.record_bytes
    }
}

impl Requests for Work {
    fn next(&mut self) -> Option<&Frame> {
        let count = self.frames.len();
        let at = self.next;
        let (frame, offset) = self.frames.get_mut(at)?;
        self.correlation = self.correlation.wrapping_add(1);
        frame.set(self.correlation, *offset);
        if self.side == Side::Read {
            *offset = offset.saturating_add(self.step);
            if offset.saturating_add(self.step) > self.stored {
                *offset = 0;
            }
        }
        if self.side != Side::Follow {
            self.next = (at + 1) % count;
        }
        Some(frame)
    }
}

/// One connection.
struct Worker<'g> {
    stream: TcpStream,
    work: Work,
    warmup: Warmup,
    to: SocketAddr,
    gate: &'g Gate,
    latencies: Histogram<u64>,
}

impl Worker<'_> {
    /// Keeps `depth` requests under way.
    fn run_closed(mut self, depth: usize) -> Result<Histogram<u64>, Failure> {
        let clone = self.stream.try_clone().map_err(|error| broken(self.to, &error))?;
        let mut answers = Answers::new(clone, self.to, self.work.side == Side::Produce);
        let mut under_way = VecDeque::new();
        let mut out = Vec::new();
        let mut to_send = depth;
        while to_send > 0 || !under_way.is_empty() {
            let now = Instant::now();
            under_way.extend(std::iter::repeat_n(now, to_send));
            send(&mut self.stream, &mut out, to_send, &mut self.work)
                .map_err(|error| broken(self.to, &error))?;
            let mut answered = 0;
            while !under_way.is_empty() && (answered == 0 || answers.has_next()) {
                let answer = answers.next()?;
                let since = under_way.pop_front().unwrap_or(now);
                let bytes = self.work.answered(answer);
                note(self.gate, &mut self.warmup, &mut self.latencies, (since, bytes));
                answered += 1;
            }
            to_send = if self.gate.is_stopped() { 0 } else { answered };
        }
        Ok(self.latencies)
    }

    /// Sends a request whenever one is due, whatever the broker does.
    fn run_paced(mut self, first: Instant, every: Duration) -> Result<Histogram<u64>, Failure> {
        let clone = self.stream.try_clone().map_err(|error| broken(self.to, &error))?;
        let mut answers = Answers::new(clone, self.to, true);
        let (due, dues): (SyncSender<Instant>, Receiver<Instant>) =
            sync_channel(PACED_UNDER_WAY_MAX);
        let (gate, to, bytes) = (self.gate, self.to, self.work.batch_bytes);
        let (work, stream) = (&mut self.work, &mut self.stream);
        let (latencies, warmup) = (&mut self.latencies, &mut self.warmup);
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let mut at = first;
                let mut out = Vec::new();
                // Whoever reads the answers may have given up.
                while !gate.is_stopped() && wait_until(at, &due) {
                    send(stream, &mut out, 1, work).map_err(|error| broken(to, &error))?;
                    at += every;
                }
                Ok(())
            });
            while let Ok(since) = dues.recv() {
                answers.next()?;
                note(gate, warmup, latencies, (since, bytes));
            }
            writer.join().map_err(|_| thread_failed())?
        })?;
        Ok(self.latencies)
    }
}

/// Waits for the instant at which a request is due, and says so; whether anybody wants to know.
fn wait_until(at: Instant, due: &SyncSender<Instant>) -> bool {
    std::thread::sleep(at.saturating_duration_since(Instant::now()));
    due.send(at).is_ok()
}

/// Counts an answer, and its latency if the measurement is under way.
fn note(
    gate: &Gate,
    warmup: &mut Warmup,
    latencies: &mut Histogram<u64>,
    (since, bytes): (Instant, u64),
) {
    if warmup.answered() {
        gate.warm.fetch_add(1, Ordering::Relaxed);
    }
    if gate.measuring.load(Ordering::Relaxed) {
        let us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        latencies.saturating_record(us.max(1));
    }
    gate.requests.fetch_add(1, Ordering::Relaxed);
    gate.bytes.fetch_add(bytes, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use base::Timestamp;

    use super::*;

    fn plan(connections: usize, partitions: i32) -> Plan {
        Plan {
            sides: vec![Side::Read; connections],
            depth: 1,
            topic: "bench".to_owned(),
            partitions,
            batch: Batch::new(1_000, 100, Timestamp(1)).unwrap(),
            fetch_batches: 2,
            stored_batches: 5,
            rate: None,
            warmup: Duration::ZERO,
            warmup_rounds: 0,
            duration: Duration::ZERO,
            bytes_max: 0,
        }
    }

    #[test]
    fn partitions_are_shared_out_to_connections_and_connections_to_partitions() {
        let counts = |connections: usize, partitions: usize| -> Vec<usize> {
            shares(&vec![Side::Read; connections], partitions).iter().map(Vec::len).collect()
        };
        assert_eq!(counts(3, 10), [4, 3, 3]);
        assert_eq!(counts(256, 1), [1; 256]);
    }

    #[test]
    fn every_partition_is_written_and_read_whatever_the_number_of_connections() {
        for (connections, partitions) in (2..=9).flat_map(|c| (1..=9).map(move |p| (c, p))) {
            let sides = crate::commands::bench::Workload::Mixed.sides(connections);
            let shares = shares(&sides, partitions);
            for side in [Side::Produce, Side::Follow] {
                let of_side = sides.iter().zip(&shares).filter(|(of, _)| **of == side);
                let mut reached: Vec<usize> =
                    of_side.flat_map(|(_, share)| share.clone()).collect();
                reached.sort_unstable();
                reached.dedup();
                let all: Vec<usize> = (0..partitions).collect();
                assert_eq!(reached, all, "{side:?}: {connections} connections");
            }
        }
    }

    #[test]
    fn a_connection_is_warm_with_the_last_batch_of_its_last_partition_and_not_before() {
        let mut warmup = Warmup::new(2, 3);
        let answered: Vec<bool> = (0..8).map(|_| warmup.answered()).collect();
        assert_eq!(answered, [false, false, false, false, false, true, false, false]);
        let mut none = Warmup::new(0, 3);
        assert!(!none.answered(), "nobody waits for it");
    }

    #[test]
    fn a_warm_up_ends_with_its_time_and_its_rounds_and_fails_where_they_take_too_long() {
        let (second, mut plan) = (Duration::from_secs(1), plan(4, 10));
        plan.warmup = second;
        assert!(!is_warm(&plan, second / 2, 0).unwrap());
        assert!(is_warm(&plan, second, 0).unwrap(), "no rounds are asked for");
        plan.warmup_rounds = 2;
        assert!(!is_warm(&plan, second, 3).unwrap());
        assert!(!is_warm(&plan, second / 2, 4).unwrap());
        assert!(is_warm(&plan, second, 4).unwrap());
        let failure = is_warm(&plan, WARMUP_MAX, 3).unwrap_err().to_string();
        assert!(failure.contains("took more than 120 s: 3 of 4 connections"), "{failure}");
        assert!(is_warm(&plan, WARMUP_MAX, 4).unwrap());
    }

    #[test]
    fn a_reader_begins_again_before_the_end() {
        let mut work = Work::new(&plan(1, 1), Side::Read, vec![0]).unwrap();
        let records = work.batch_records;
        let mut offsets = Vec::new();
        for _ in 0..4 {
            offsets.push(work.frames[0].1);
            work.next().unwrap();
        }
        assert_eq!(offsets, [0, 2 * records, 0, 2 * records]);
    }

    #[test]
    fn a_stall_is_in_the_latencies_of_all_requests_that_were_due_in_it() {
        use std::io::{Read, Write};

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let stall = Duration::from_millis(300);
        // A broker that reads nothing at all for a while, and then answers everything at once.
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            std::thread::sleep(stall);
            let mut length = [0; 4];
            while stream.read_exact(&mut length).is_ok() {
                let mut request = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
                stream.read_exact(&mut request).unwrap();
                let body = [&request[4..8], &[0, 2, 6], b"bench", &[2, 0, 0, 0, 0, 0, 0]].concat();
                let length = u32::try_from(body.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length[..], &body].concat()).unwrap();
            }
        });
        let mut plan = plan(1, 1);
        plan.sides = vec![Side::Produce];
        plan.rate = Some(1_000.0);
        plan.duration = Duration::from_millis(400);
        plan.bytes_max = u64::MAX;

        let measured = measure(to, None, &plan).unwrap();
        server.join().unwrap();

        let slow = measured.latencies.count_between(100_000, LATENCY_MAX_US);
        assert!(slow > 100, "{slow} of {} requests saw the stall", measured.latencies.len());
    }
}
