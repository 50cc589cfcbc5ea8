//! Bad company on the socket: the real binary, one well-behaved producer, and everybody else.
//!
//! Owns: what a stranger may cost the others. A producer measures its p99 alone and while garbage,
//! floods, half-open sockets, slow writers, clients who never read and deep pipelines arrive all at
//! once; memory is read from `/proc`. Amounts of work are fixed, nothing sleeps, every wait has a
//! deadline, and every kind of stranger must get what it deserves.
//!
//! Producer, strangers and broker share one machine, and what they take from each other's processors
//! is not the broker's doing. The strangers' threads are therefore nicer than the others, and there
//! is a third figure: the producer's p99 while the same strangers do the same to a *second* broker,
//! so that all of the work is done on this machine and none of it by the broker that is measured.
//! The bound is three times the larger of it and the quiet value, all of one run, but at least
//! [`P99_FLOOR`].
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "how a test fails")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "real threads and sockets"
)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

#[path = "hostile/members.rs"]
mod members;
#[path = "hostile/repeats.rs"]
mod repeats;
#[path = "hostile/rows.rs"]
mod rows;
#[path = "hostile/saturation.rs"]
mod saturation;

use base::Prng;
use bytes::Bytes;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{ApiVersionsRequest, MetadataRequest, ProduceRequest};
use protocol::{Part, Records, Request, frame};
use records::{BatchBuilder, NewRecord};

const MIB: usize = 1024 * 1024;
/// A broker that does not answer for this long hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// The producer's requests before, after and, at least, during the attack.
const REQUESTS: usize = 20_000;
/// How often every kind of stranger comes, all kinds in step.
const ROUNDS: usize = 300;
/// Below this the p99 tells whether the kernel gave a time slice or two to some other process of the
/// machine just then, and nothing about the broker.
const P99_FLOOR: Duration = Duration::from_millis(8);
const TOPIC: &str = "test";

/// How much nicer the strangers' threads are than the producer's and the broker's. Real strangers
/// come from other machines and take no processor of this one.
const STRANGERS_NICE: i32 = 10;

/// Tests of this file measure, one after the other.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The binary under test: of this build, or that which `GREGOR_BIN` names.
fn program() -> PathBuf {
    let built = env!("CARGO_BIN_EXE_gregor").into();
    std::env::var_os("GREGOR_BIN").map_or(built, |named| tests::root().join(named))
}

/// A running `gregor serve`, killed when dropped.
struct Broker {
    child: Child,
    at: SocketAddr,
    data: PathBuf,
    /// What it logged until it was ready.
    log: String,
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.data));
    }
}

impl Broker {
    fn start(name: &str, overrides: &[&str]) -> Self {
        Self::with_partitions(1, name, overrides)
    }

    /// A broker whose [`TOPIC`] has so many.
    fn with_partitions(partitions: usize, name: &str, overrides: &[&str]) -> Self {
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if data.exists() {
            std::fs::remove_dir_all(&data).unwrap();
        }
        let mut serve = Command::new(program());
        serve.arg("serve").arg("--data").arg(&data);
        for pair in [&["listeners=PLAINTEXT://127.0.0.1:0"], overrides].concat() {
            serve.args(["--override", pair]);
        }
        let mut child = serve.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = String::new();
        let at = loop {
            let line = lines.next().expect("a broker that starts").unwrap();
            log = log + &line + "\n";
            if line.contains(READY) {
                break address_behind(&line, READY);
            }
        };
        thread::spawn(move || lines.for_each(drop));
        let broker = Self { child, at, data, log };
        broker.create_topic(TOPIC, partitions);
        broker
    }

    /// Where metrics and health checks are, if the system chose.
    fn http(&self) -> SocketAddr {
        address_behind(&self.log, "served on http://")
    }

    fn create_topic(&self, name: &str, partitions: usize) {
        let mut create = Command::new(program());
        create.args(["topic", "create", name, "--bootstrap-server", &self.at.to_string()]);
        create.args(["--partitions", &partitions.to_string()]);
        assert!(create.stdout(Stdio::null()).status().unwrap().success());
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.at, PATIENCE).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Resident bytes: now (`VmRSS`) or the most there ever were (`VmHWM`).
    fn resident(&self, which: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(which)).expect("a figure");
        let kib: usize = line.trim_matches([':', '\t', ' ', 'k', 'B']).parse().unwrap();
        kib * 1024
    }

    /// Processor time so far.
    fn cpu(&self) -> Duration {
        cpu_of(&self.child.id().to_string())
    }
}

/// Processor time that a process has used.
fn cpu_of(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    let fields = after_name.split(' ').skip(11).take(2);
    let ticks: u64 = fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    // A tick is 10 ms wherever Linux runs on a machine of today.
    Duration::from_millis(ticks * 10)
}

const READY: &str = "is ready on ";

fn address_behind(log: &str, words: &str) -> SocketAddr {
    let (_, rest) = log.split_once(words).expect("an address in the log");
    rest.split([',', ' ', '\n', '/', '"']).next().unwrap().parse().unwrap()
}

/// A frame as it goes to the socket.
fn frame_of<R: Request>(version: i16, correlation: i32, request: &R) -> Vec<u8> {
    let parts = frame::request(version, correlation, Some("hostile"), request).unwrap();
    let mut out = Vec::new();
    for part in parts {
        let Part::Bytes(bytes) = part else { unreachable!("requests are in memory") };
        out.extend_from_slice(&bytes);
    }
    out
}

/// A produce request, `acks=all`, of one record of `value_bytes`.
fn produce_frame(correlation: i32, value_bytes: usize) -> Vec<u8> {
    let value = vec![7; value_bytes];
    let mut batch = BatchBuilder::new();
    batch.push(&NewRecord { value: Some(&value), ..NewRecord::default() }).unwrap();
    produce_of(correlation, 0, batch.finish_bytes().unwrap())
}

/// A produce request, `acks=all`, of one batch.
fn produce_of(correlation: i32, partition: usize, batch: Bytes) -> Vec<u8> {
    let records = Records::from(batch);
    let index = partition.try_into().unwrap();
    let partition_data = vec![PartitionProduceData { index, records }];
    let topic = TopicProduceData { name: TOPIC.into(), partition_data, ..Default::default() };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    };
    frame_of(PRODUCE_VERSION, correlation, &request)
}

const PRODUCE_VERSION: i16 = 11;
/// Where a frame has its correlation id: behind the length, the key and the version.
const CORRELATION_AT: usize = 8;

fn read_frame(stream: &mut impl Read) -> std::io::Result<Bytes> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut bytes)?;
    Ok(bytes.into())
}

/// Reads the answer to a produce request; it must be a success.
fn acknowledged(stream: &mut impl Read, correlation: i32) -> i64 {
    let answer = read_frame(stream).expect("an answer");
    let (found, response) =
        frame::read_response::<ProduceRequest>(&answer, PRODUCE_VERSION).unwrap();
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!((found, partition.error_code), (correlation, 0));
    partition.base_offset
}

/// One connection, one request at a time, every answer checked.
struct Producer {
    stream: TcpStream,
    next: i32,
}

impl Producer {
    fn new(broker: &Broker) -> Self {
        Self { stream: broker.connect(), next: 0 }
    }

    /// Produces until `done` says so, given how often it has; what each request took.
    fn measure(&mut self, done: impl Fn(usize) -> bool) -> Vec<Duration> {
        let mut took = Vec::new();
        while !done(took.len()) {
            let frame = produce_frame(self.next, 100);
            let begun = Instant::now();
            self.stream.write_all(&frame).unwrap();
            let offset = acknowledged(&mut self.stream, self.next);
            took.push(begun.elapsed());
            assert_eq!(offset, i64::from(self.next), "nobody else writes here");
            self.next += 1;
        }
        took
    }

    /// As [`Producer::measure`], while strangers of every kind come to `broker`; and the processor
    /// time of that.
    fn among_strangers_of(&mut self, broker: &Broker) -> (Vec<Duration>, Duration) {
        let held = Held::new(broker);
        let over = AtomicUsize::new(0);
        let cpu = broker.cpu();
        let took = thread::scope(|scope| {
            scope.spawn(|| attack(broker, &held, &over));
            self.measure(|count| count >= REQUESTS && over.load(Ordering::SeqCst) == KINDS)
        });
        held.all_are_connected();
        (took, broker.cpu().saturating_sub(cpu))
    }
}

fn percentile(took: &[Duration], hundredths: usize) -> Duration {
    let mut sorted = took.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * hundredths / 100).min(sorted.len() - 1)]
}

/// Reads to the end of the connection; how many bytes came before it.
fn bytes_until_closed(mut stream: TcpStream) -> usize {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {},
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {},
        Err(error) => unreachable!("the broker does not close the connection: {error}"),
    }
    bytes.len()
}

/// Writes as much as is taken; a broker that has closed the connection already is right.
fn throw(stream: &mut TcpStream, bytes: &[u8]) {
    match stream.write_all(bytes) {
        Ok(()) => {},
        Err(error)
            if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {},
        Err(error) => unreachable!("neither taken nor refused: {error}"),
    }
}

/// Random bytes: refused by their length, or waited for until the client has finished.
fn garbage(broker: &Broker, random: &mut Prng) {
    for _ in 0..8 {
        let bytes: Vec<u8> = (0..512).flat_map(|_| random.next_u64().to_be_bytes()).collect();
        let mut stream = broker.connect();
        throw(&mut stream, &bytes);
        drop(stream.shutdown(Shutdown::Write));
        assert_eq!(bytes_until_closed(stream), 0, "garbage is not answered");
    }
}

/// A sound header and a body that claims two thousand million topics.
fn garbage_bodies(broker: &Broker) {
    // Produce 8, Fetch 4, ListOffsets 5, Metadata 8, OffsetCommit 7, JoinGroup 5, CreateTopics 4.
    for (key, version) in [(0_i16, 8_i16), (1, 4), (2, 5), (3, 8), (8, 7), (11, 5), (19, 4)] {
        let mut frame = Vec::new();
        frame.extend_from_slice(&key.to_be_bytes());
        frame.extend_from_slice(&version.to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 9, 0, 1, b'x']);
        frame.extend_from_slice(&[0x7f; 200]);
        let mut stream = broker.connect();
        throw(&mut stream, &u32::try_from(frame.len()).unwrap().to_be_bytes());
        throw(&mut stream, &frame);
        assert_eq!(bytes_until_closed(stream), 0, "api {key} version {version}");
    }
    // A key and a version that nobody serves.
    for head in [[0x7f, 0, 0, 0], [0, 0, 0x7f, 0]] {
        let mut stream = broker.connect();
        throw(&mut stream, &[0, 0, 0, 11, head[0], head[1], head[2], head[3]]);
        throw(&mut stream, &[0, 0, 0, 9, 0, 1, b'x']);
        assert_eq!(bytes_until_closed(stream), 0);
    }
}

/// Lengths that no request may have.
fn oversized(broker: &Broker) {
    for length in [i32::MAX, 16 * 1024 * 1024 + 1, -1, i32::MIN] {
        let mut stream = broker.connect();
        throw(&mut stream, &length.to_be_bytes());
        assert_eq!(bytes_until_closed(stream), 0, "length {length}");
    }
}

/// Connections that come many at a time and leave at once.
fn flood(broker: &Broker) {
    let all: Vec<_> = (0..32).map(|_| broker.connect()).collect();
    drop(all);
}

/// Many requests before the first answer is read; every answer comes, in order.
fn deep_pipeline(broker: &Broker) {
    const DEEP: i32 = 500;
    let mut stream = broker.connect();
    let mut requests = Vec::new();
    for correlation in 0..DEEP {
        requests.extend(frame_of(0, correlation, &ApiVersionsRequest::default()));
    }
    stream.write_all(&requests).unwrap();
    for correlation in 0..DEEP {
        let answer = read_frame(&mut stream).expect("an answer");
        assert_eq!(answer[..4], correlation.to_be_bytes());
    }
}

/// Sockets that are held for the whole attack.
struct Held {
    silent: Vec<TcpStream>,
    slow: Vec<TcpStream>,
    /// With the bytes sent so far.
    deaf: Vec<(TcpStream, AtomicUsize)>,
}

impl Held {
    fn new(broker: &Broker) -> Self {
        let silent: Vec<_> = (0..128).map(|_| broker.connect()).collect();
        for (index, mut stream) in silent.iter().enumerate() {
            stream.write_all(&[0; 3][..index % 4]).unwrap();
        }
        let slow: Vec<_> = (0..64).map(|_| broker.connect()).collect();
        for mut stream in &slow {
            stream.write_all(&u32::try_from(15 * MIB).unwrap().to_be_bytes()).unwrap();
        }
        let deaf: Vec<_> = (0..16).map(|_| (broker.connect(), AtomicUsize::new(0))).collect();
        for (stream, _) in &deaf {
            stream.set_nonblocking(true).unwrap();
        }
        Self { silent, slow, deaf }
    }

    /// A byte of each of the huge requests.
    fn dribble(&self) {
        for mut stream in &self.slow {
            stream.write_all(&[0]).unwrap();
        }
    }

    /// Asks for the largest answers there are, and reads none.
    fn ask_and_never_read(&self) {
        const ASKED_MAX: usize = 64 * MIB;
        let everything = MetadataRequest { topics: None, ..MetadataRequest::default() };
        let requests = frame_of(8, 1, &everything).repeat(1000);
        for (stream, sent) in &self.deaf {
            let mut stream = stream;
            loop {
                let here = sent.load(Ordering::Relaxed);
                match stream.write(&requests[here % requests.len()..]) {
                    Ok(written) => sent.store(here + written, Ordering::Relaxed),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => unreachable!("a client that never reads was cut off: {error}"),
                }
                assert!(here < ASKED_MAX, "requests are taken for ever and never answered");
            }
        }
    }

    /// The silent and the slow are within the rights they have here: still connected.
    fn all_are_connected(&self) {
        for mut stream in self.silent.iter().chain(&self.slow) {
            stream.set_nonblocking(true).unwrap();
            let end = stream.read(&mut [0]).expect_err("neither closed nor answered");
            assert_eq!(end.kind(), ErrorKind::WouldBlock);
        }
    }
}

/// All kinds at once, round by round, until all have come [`ROUNDS`] times.
fn attack(broker: &Broker, held: &Held, over: &AtomicUsize) {
    // Of this thread, and of those it starts.
    rustix::process::nice(STRANGERS_NICE).expect("a lower priority");
    let in_step = Barrier::new(KINDS);
    thread::scope(|scope| {
        macro_rules! kind {
            (|$round:ident| $act:expr) => {
                scope.spawn(|| {
                    for $round in 0..ROUNDS {
                        in_step.wait();
                        $act;
                    }
                    over.fetch_add(1, Ordering::SeqCst);
                });
            };
        }
        kind!(|round| garbage(broker, &mut Prng::new(u64::try_from(round).unwrap())));
        kind!(|_round| garbage_bodies(broker));
        kind!(|_round| oversized(broker));
        kind!(|_round| flood(broker));
        kind!(|_round| deep_pipeline(broker));
        kind!(|_round| held.dribble());
        kind!(|_round| held.ask_and_never_read());
    });
}
/// Threads of [`attack`]; the silent need none.
const KINDS: usize = 7;

#[test]
fn a_producer_and_the_memory_bear_strangers_of_every_kind_at_once() {
    let _alone = alone();
    const BUDGET: usize = 32 * MIB;
    /// Beyond the budget: buffers of 64 KiB for some 350 connections, answers under way, and what
    /// the allocator keeps of what was freed.
    const BESIDES: usize = 64 * MIB;
    let budget = format!("queued.max.request.bytes={BUDGET}");
    let settings = [
        &budget,
        "socket.request.max.bytes=16777216",
        // So that the slow ones stay for the whole attack.
        "gregor.large.request.min.rate=0",
    ];
    let [broker, elsewhere] = ["hostile", "elsewhere"].map(|name| Broker::start(name, &settings));
    // So that a request of 30 bytes has an answer of some 10,000.
    broker.create_topic("wide", 200);
    elsewhere.create_topic("wide", 200);
    let mut producer = Producer::new(&broker);
    drop(producer.measure(|count| count == REQUESTS / 2));
    let mut quiet = producer.measure(|count| count == REQUESTS / 2);
    let (beside, beside_cpu) = producer.among_strangers_of(&elsewhere);
    let resident_quiet = broker.resident("VmHWM");
    let (among, among_cpu) = producer.among_strangers_of(&broker);
    let resident_most = broker.resident("VmHWM");
    quiet.extend(producer.measure(|count| count == REQUESTS / 2));

    let figures =
        [("quiet", &quiet), ("strangers elsewhere", &beside), ("among strangers", &among)];
    for (name, took) in figures {
        let (half, most) = (percentile(took, 50), percentile(took, 99));
        println!("produce, {name}: p50 {half:?}, p99 {most:?} of {} requests", took.len());
    }
    let [quiet_p99, beside_p99, among_p99] = figures.map(|(_, took)| percentile(took, 99));
    let bound = (3 * quiet_p99.max(beside_p99)).max(P99_FLOOR);
    let times = |of: Duration| among_p99.as_secs_f64() / of.as_secs_f64();
    println!(
        "p99 among strangers is {:.1} times the quiet one and {:.1} times the one with strangers elsewhere; bound {bound:?} = max(3 x quiet, 3 x elsewhere, {P99_FLOOR:?})",
        times(quiet_p99),
        times(beside_p99),
    );
    println!(
        "{ROUNDS} rounds of strangers took {beside_cpu:?} of the other broker's processor time, and {among_cpu:?} of this one's with the producer"
    );
    println!(
        "resident: {} MiB quiet, {} MiB at most; bound {} MiB = quiet + budget + {}",
        resident_quiet / MIB,
        resident_most / MIB,
        (resident_quiet + BUDGET + BESIDES) / MIB,
        BESIDES / MIB,
    );
    assert!(among_p99 <= bound);
    assert!(resident_most <= resident_quiet + BUDGET + BESIDES);
}

#[test]
fn large_requests_on_many_connections_stay_within_the_budget() {
    let _alone = alone();
    const BUDGET: usize = 8 * MIB;
    /// As above, for 64 connections.
    const BESIDES: usize = 16 * MIB;
    const CONNECTIONS: usize = 64;
    const EACH: usize = 4;
    let budget = format!("queued.max.request.bytes={BUDGET}");
    // One request alone may be as large as `socket.request.max.bytes`.
    let broker = Broker::start("budget", &[&budget, "socket.request.max.bytes=2097152"]);
    let mut one = broker.connect();
    let large = |correlation| produce_frame(correlation, MIB - 1024);
    one.write_all(&large(0)).unwrap();
    assert_eq!(acknowledged(&mut one, 0), 0);
    let resident_quiet = broker.resident("VmRSS");

    // All of 256 MiB at once, if the broker took them.
    let all_begun = Barrier::new(CONNECTIONS);
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut stream = broker.connect();
                all_begun.wait();
                for correlation in 0..i32::try_from(EACH).unwrap() {
                    stream.write_all(&large(correlation)).unwrap();
                }
                for correlation in 0..i32::try_from(EACH).unwrap() {
                    acknowledged(&mut stream, correlation);
                }
            });
        }
    });

    let resident_most = broker.resident("VmHWM");
    println!(
        "{} produce requests of 1 MiB on {CONNECTIONS} connections: resident {} MiB before, {} MiB at most; budget {} MiB",
        CONNECTIONS * EACH,
        resident_quiet / MIB,
        resident_most / MIB,
        BUDGET / MIB,
    );
    one.write_all(&large(1)).unwrap();
    assert_eq!(acknowledged(&mut one, 1), i64::try_from(CONNECTIONS * EACH).unwrap() + 1);
    assert!(resident_most <= resident_quiet + BUDGET + BESIDES);
}
