//! A load that takes every core, for seconds (by default) or minutes (`GREGOR_SATURATION_SECS`).
//!
//! Owns: what a broker owes to those who are not the load. Every core is kept busy by producers of
//! large and of small batches that always have requests under way; meanwhile no member of a group is
//! expelled, `/health` and `/ready` are answered, memory stays within what the configuration allows,
//! and retention keeps the disk from filling. Producers are no nicer than the broker: they take what
//! processor time they can get from it, as neighbours on a real machine do.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64};

use env::Pools;
use storage::DirOptions;

use super::members::{GROUP, MEMBERS, SESSION, Seen, consume};
use super::*;

/// How long, unless `GREGOR_SATURATION_SECS` says.
const SECONDS: u64 = 10;
/// Of each size of batches, for each core.
const CONNECTIONS_PER_CORE: usize = 8;
const DEPTH: usize = 8;
const LARGE_BATCH_BYTES: usize = 64 * 1024;
const SMALL_BATCH_BYTES: usize = 1024;
const MB: u64 = 1_000_000;
/// Of the machine's processor time, while it is loaded.
const IDLE_PERCENT_MAX: f64 = 10.0;

/// Between two questions for `/health` and `/ready`, and how soon each must be answered.
const ASK_EVERY: Duration = Duration::from_millis(200);
const HEALTH_ANSWER_MAX: Duration = Duration::from_secs(2);

/// `queued.max.request.bytes`.
const REQUESTS_BUDGET: usize = 64 * MIB;
/// `gregor.flight.recorder.bytes`, by default.
const RECORDER: usize = 4 * MIB;
/// The most that a member asks a fetch for.
const FETCH: usize = MIB;
/// Code, tasks, the maps of segments and what the allocator keeps.
const BESIDES: usize = 64 * MIB;

/// `retention.bytes` of all partitions together, and their `segment.bytes`.
const RETAINED: usize = 256 * MIB;
const SEGMENT: usize = 16 * MIB;
/// `log.retention.check.interval.ms`.
const RETENTION_CHECK_MS: usize = 500;
/// Beyond what is retained only what came within this time may be on the disk, and that long after the
/// load nothing is: until the next look for old segments, and while those that the last one found are
/// removed, one partition after the other, with a sync for each on a disk that is busy.
const RETENTION_LAG_MAX: Duration = Duration::from_secs(30);
/// Files of the storage journal, and other small ones.
const JOURNAL: usize = 64 * MIB;

/// What all threads share.
pub struct Gate {
    closed: AtomicBool,
    members: AtomicUsize,
    produced_bytes: AtomicU64,
    produced_batches: AtomicU64,
    pub partitions: usize,
}

impl Gate {
    pub fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }

    /// What retention leaves.
    fn kept_bytes(&self) -> u64 {
        (RETAINED + SEGMENT * self.partitions + JOURNAL).try_into().unwrap()
    }

    /// A member has its share.
    pub fn joined(&self) {
        self.members.fetch_add(1, Ordering::Relaxed);
    }
}

/// Closes the gate however a test ends, or its threads would be waited for for ever.
struct Closing<'a>(&'a Gate);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }
}

/// One connection with [`DEPTH`] requests under way.
fn produce(broker: &Broker, gate: &Gate, index: usize) {
    let batch_bytes = if index.is_multiple_of(2) { LARGE_BATCH_BYTES } else { SMALL_BATCH_BYTES };
    let value = vec![7; batch_bytes];
    let mut batch = BatchBuilder::new();
    batch.push(&NewRecord { value: Some(&value), ..NewRecord::default() }).unwrap();
    // Both sizes come to every partition.
    let partition = index / 2 % gate.partitions;
    let mut frame = produce_of(0, partition, batch.finish_bytes().unwrap());
    let mut stream = broker.connect();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut under_way = VecDeque::new();
    for correlation in 0.. {
        frame[CORRELATION_AT..][..4].copy_from_slice(&i32::to_be_bytes(correlation));
        stream.write_all(&frame).unwrap();
        under_way.push_back(correlation);
        let under_way_max = if gate.is_open() { DEPTH - 1 } else { 0 };
        while under_way.len() > under_way_max {
            acknowledged(&mut answers, under_way.pop_front().unwrap());
            gate.produced_bytes.fetch_add(batch_bytes.try_into().unwrap(), Ordering::Relaxed);
            gate.produced_batches.fetch_add(1, Ordering::Relaxed);
        }
        if under_way.is_empty() {
            return;
        }
    }
}

/// Asks for `/health` and `/ready` again and again; how long each answer took.
fn ask(broker: &Broker, gate: &Gate) -> Vec<Duration> {
    let http = broker.http();
    let mut took = Vec::new();
    for path in ["/health", "/ready"].iter().cycle().take_while(|_| gate.is_open()) {
        let begun = Instant::now();
        let mut stream = TcpStream::connect_timeout(&http, HEALTH_ANSWER_MAX).unwrap();
        stream.set_read_timeout(Some(HEALTH_ANSWER_MAX)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer in time");
        let answered = begun.elapsed();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        assert!(answered <= HEALTH_ANSWER_MAX, "{path} took {answered:?}");
        took.push(answered);
        thread::sleep((ASK_EVERY / 2).saturating_sub(answered));
    }
    took
}

/// Bytes that the files below `dir` take on the disk.
fn bytes_on_disk(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    // Files come and go while this looks.
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_on_disk(&entry.path()),
        Ok(found) => found.blocks() * 512,
        Err(_) => 0,
    });
    bytes.sum()
}

/// Ticks of the whole machine since it was started: idle, waiting for a disk, and in all.
fn machine() -> [u64; 3] {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let line = stat.lines().next().unwrap();
    let fields = line.split_whitespace().skip(1).take(8).map(|ticks| ticks.parse().unwrap());
    let ticks: Vec<u64> = fields.collect();
    [ticks[3], ticks[4], ticks.iter().sum()]
}

/// What the broker and the machine had used at one instant.
struct Used {
    at: Instant,
    cpu: Duration,
    clients_cpu: Duration,
    machine: [u64; 3],
    bytes: u64,
    batches: u64,
}

impl Used {
    fn now(broker: &Broker, gate: &Gate) -> Self {
        Self {
            at: Instant::now(),
            cpu: broker.cpu(),
            clients_cpu: cpu_of("self"),
            machine: machine(),
            bytes: gate.produced_bytes.load(Ordering::Relaxed),
            batches: gate.produced_batches.load(Ordering::Relaxed),
        }
    }

    /// Parts of the machine's time since `before`, in percent: idle, waiting for a disk.
    fn rest_since(&self, before: &Self) -> [f64; 2] {
        let since = |which: usize| f64_of(self.machine[which] - before.machine[which]);
        [since(0), since(1)].map(|ticks| 100.0 * ticks / since(2))
    }

    fn line_since(&self, before: &Self) -> String {
        let seconds = (self.at - before.at).as_secs_f64();
        let [idle, disk] = self.rest_since(before);
        format!(
            "{:.0} MB/s in {:.0} batches/s, broker {:.2} cores, clients {:.2}, machine {idle:.1} % idle and {disk:.1} % waiting for the disk",
            f64_of(self.bytes - before.bytes) / 1e6 / seconds,
            f64_of(self.batches - before.batches) / seconds,
            (self.cpu - before.cpu).as_secs_f64() / seconds,
            (self.clients_cpu - before.clients_cpu).as_secs_f64() / seconds,
        )
    }
}

fn f64_of(count: u64) -> f64 {
    u32::try_from(count / 1000).map_or(f64::MAX, |thousands| f64::from(thousands) * 1e3)
        + f64::from(u32::try_from(count % 1000).unwrap())
}

/// Looks at the broker for so long, or until somebody has given up; the most data there was.
#[expect(clippy::print_stdout, reason = "how far it is, and whether memory grows")]
fn watch(broker: &Broker, gate: &Gate, length: Duration, gave_up: impl Fn() -> bool) -> u64 {
    let kept = gate.kept_bytes();
    let first = Used::now(broker, gate);
    let mut lately = VecDeque::from([(first.at, first.bytes)]);
    let (mut told, mut data_most) = (first.at, 0);
    while first.at.elapsed() < length && !gave_up() {
        thread::sleep(Duration::from_millis(250));
        let (data, now) = (bytes_on_disk(&broker.data), Used::now(broker, gate));
        lately.push_back((now.at, now.bytes));
        while lately[1].0 + RETENTION_LAG_MAX < now.at {
            lately.pop_front();
        }
        let data_max = kept + now.bytes - lately[0].1;
        assert!(data <= data_max, "retention is late: {} of {} MB", data / MB, data_max / MB);
        data_most = data_most.max(data);
        if told.elapsed() >= length / 10 {
            told = now.at;
            println!(
                "{:>4} s: {}; resident {} MiB, data {} MB",
                first.at.elapsed().as_secs(),
                now.line_since(&first),
                broker.resident("VmRSS") / MIB,
                data / MB,
            );
        }
    }
    data_most
}

/// How long it takes until what is not retained is gone.
fn retention_catches_up(broker: &Broker, gate: &Gate) -> Duration {
    let begun = Instant::now();
    while bytes_on_disk(&broker.data) > gate.kept_bytes() {
        assert!(begun.elapsed() < RETENTION_LAG_MAX, "{} bytes", bytes_on_disk(&broker.data));
        thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}

/// What the threads of a load have seen.
struct Load {
    seen: Vec<Seen>,
    asked: Vec<Duration>,
    resident_before: usize,
    data_most: u64,
    before: Used,
    after: Used,
}

impl Load {
    #[expect(clippy::print_stdout, reason = "the figures for the documentation")]
    fn print(&self) {
        println!(
            "{} MB in {} batches: {}",
            self.after.bytes / MB,
            self.after.batches,
            self.after.line_since(&self.before),
        );
        for seen in &self.seen {
            println!("member of {GROUP}, session {SESSION:?}: {seen:?}");
        }
        println!(
            "/health and /ready: {} answers, p50 {:?}, p99 {:?}, slowest {:?}; bound {HEALTH_ANSWER_MAX:?}",
            self.asked.len(),
            percentile(&self.asked, 50),
            percentile(&self.asked, 99),
            percentile(&self.asked, 100),
        );
        println!(
            "data: {} MB at most; bound: retained and what came within {RETENTION_LAG_MAX:?}",
            self.data_most / MB,
        );
    }
}

fn load(broker: &Broker, gate: &Gate, connections: usize, length: Duration) -> Load {
    thread::scope(|scope| {
        let closing = Closing(gate);
        let members: Vec<_> = (0..MEMBERS).map(|_| scope.spawn(|| consume(broker, gate))).collect();
        while gate.members.load(Ordering::Relaxed) < MEMBERS {
            assert!(!members.iter().any(thread::ScopedJoinHandle::is_finished), "a member failed");
            thread::sleep(Duration::from_millis(10));
        }
        let resident_before = broker.resident("VmRSS");
        let asker = scope.spawn(|| ask(broker, gate));
        let producers: Vec<_> = (0..connections)
            .map(|index| scope.spawn(move || produce(broker, gate, index)))
            .collect();
        let before = Used::now(broker, gate);
        let gave_up = || {
            asker.is_finished()
                || members.iter().any(thread::ScopedJoinHandle::is_finished)
                || producers.iter().any(thread::ScopedJoinHandle::is_finished)
        };
        let data_most = watch(broker, gate, length, gave_up);
        let after = Used::now(broker, gate);
        assert!(!gave_up(), "somebody gave up; its own message says why");
        drop(closing);
        let seen = members.into_iter().map(|member| member.join().unwrap()).collect();
        Load { seen, asked: asker.join().unwrap(), resident_before, data_most, before, after }
    })
}

#[test]
fn a_load_on_every_core_expels_no_member_fails_no_health_check_and_leaves_memory_its_bound() {
    let _alone = alone();
    let seconds = std::env::var("GREGOR_SATURATION_SECS").ok();
    let seconds = seconds.map_or(SECONDS, |seconds| seconds.parse().expect("a number of seconds"));
    let cores = thread::available_parallelism().unwrap().get();
    let connections = 2 * CONNECTIONS_PER_CORE * cores;
    // As many as a byte can number, and a multiple of the members.
    let partitions = MEMBERS * cores.clamp(2, 32);
    let broker = Broker::with_partitions(
        partitions,
        "saturation",
        &[
            &format!("queued.max.request.bytes={REQUESTS_BUDGET}"),
            "socket.request.max.bytes=16777216",
            &format!("log.retention.check.interval.ms={RETENTION_CHECK_MS}"),
            &format!("log.retention.bytes={}", RETAINED / partitions),
            &format!("log.segment.bytes={SEGMENT}"),
            "offsets.topic.num.partitions=4",
            "gregor.http.listener=127.0.0.1:0",
        ],
    );
    let gate = Gate {
        closed: AtomicBool::new(false),
        members: AtomicUsize::new(0),
        produced_bytes: AtomicU64::new(0),
        produced_batches: AtomicU64::new(0),
        partitions,
    };
    let load = load(&broker, &gate, connections, Duration::from_secs(seconds));

    let tails = DirOptions::default().tail_bytes_max;
    let buffers = Pools::KEPT_BYTES_MAX + connections * Pools::READ_BYTES;
    let allowed = [REQUESTS_BUDGET, tails, buffers, MEMBERS * FETCH, RECORDER, BESIDES];
    let bound = load.resident_before + allowed.iter().sum::<usize>();
    let resident = broker.resident("VmHWM");
    println!("{seconds} s of {connections} connections, {DEPTH} deep, on {cores} cores");
    load.print();
    let caught_up = retention_catches_up(&broker, &gate);
    println!("retention: caught up {caught_up:?} after the load; bound {RETENTION_LAG_MAX:?}");
    println!(
        "resident: {} MiB before, {} MiB at most; bound {} MiB = before + {:?} for requests, tails, buffers, fetches, recorder and the rest",
        load.resident_before / MIB,
        resident / MIB,
        bound / MIB,
        allowed.map(|bytes| bytes / MIB),
    );
    assert!(load.seen.iter().all(|seen| seen.generation == load.seen[0].generation));
    assert!(load.seen.iter().all(|seen| seen.records > 0), "every member reads");
    assert!(resident <= bound);
    let [idle, _] = load.after.rest_since(&load.before);
    assert!(idle < IDLE_PERCENT_MAX, "{idle:.1} % idle: not saturated");
}
