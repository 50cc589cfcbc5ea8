//! Bad input and load, row by row: what a stranger does, what becomes of him, and what it costs a
//! producer of 100 requests a second.
//!
//! Owns: the rows, which are those of the table in `docs/operations.md`. Each row's deeds are counted
//! and end by themselves. While they are done the producer measures from the instant at which a
//! request was due, so that a broker that stands still counts as slow for every request that waited.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::{CreateTopicsRequest, FetchRequest};
use protocol::{ApiKey, for_each_api, messages};
use records::Compression;

use super::*;

/// The most that the p99 may be while strangers do any of this, unless three times what it is while
/// nobody does anything is more.
const P99_MAX: Duration = Duration::from_millis(100);
/// Requests for each row, at least.
const REQUESTS_MIN: u32 = 150;
/// Of the broker under test.
const REQUEST_BYTES_MAX: usize = 16 * MIB;
const BUDGET: usize = 32 * MIB;
/// Beyond the budget: the buffers and tasks of ten thousand connections, records opened for a look at
/// them, and what the allocator keeps.
const BESIDES: usize = 320 * MIB;
/// Between two requests of the producer.
const PACE: Duration = Duration::from_millis(10);

/// What a stranger does, and how he does it.
struct Row {
    /// As in the table of the documentation.
    name: &'static str,
    act: fn(&Broker),
}

const ROWS: &[Row] = &[
    Row { name: "a frame beyond `socket.request.max.bytes`", act: oversize },
    Row { name: "a frame of negative size", act: negative },
    Row { name: "every truncation of a request of every API and version", act: truncations },
    Row { name: "counts and lengths of 2147483647 anywhere", act: huge_counts },
    Row { name: "batches that inflate to 256 MiB, in every codec", act: bombs },
    Row { name: "garbage before the handshake", act: garbage_before },
    Row { name: "garbage after the handshake", act: garbage_after },
    Row { name: "a client that never reads its answers", act: never_reads },
    Row { name: "a request of 15 MiB, byte by byte", act: byte_by_byte },
    Row { name: "10,000 connections", act: ten_thousand },
    Row { name: "requests without end, pipelined", act: endless },
    Row { name: "unknown keys and versions", act: unknown },
    Row { name: "topic names with control characters", act: control_characters },
    Row { name: "values of the wrong type", act: wrong_types },
    Row { name: "the smallest element of every array, 10,000 times", act: repeats::repeated },
];

fn oversize(broker: &Broker) {
    for length in [i32::MAX, i32::try_from(REQUEST_BYTES_MAX).unwrap() + 1].repeat(100) {
        let mut stream = broker.connect();
        throw(&mut stream, &length.to_be_bytes());
        assert_eq!(bytes_until_closed(stream), 0, "length {length}");
    }
}

fn negative(broker: &Broker) {
    for length in [-1, -2, i32::MIN].repeat(100) {
        let mut stream = broker.connect();
        throw(&mut stream, &i32::to_be_bytes(length));
        assert_eq!(bytes_until_closed(stream), 0, "length {length}");
    }
}

/// A request of every API, without anything in it, in every version that the broker serves.
fn empty_requests(broker: &Broker) -> Vec<Vec<u8>> {
    let mut stream = broker.connect();
    stream.write_all(&frame_of(0, 1, &ApiVersionsRequest::default())).unwrap();
    let answer = read_frame(&mut stream).expect("an answer");
    let (_, served) = frame::read_response::<ApiVersionsRequest>(&answer, 0).unwrap();
    let mut all = Vec::new();
    for api in served.api_keys {
        let key = ApiKey::from_i16(api.api_key).expect("a known key");
        let first = api.min_version.max(key.versions().min);
        for version in first..=api.max_version {
            all.push(empty_request(key, version));
        }
    }
    assert!(all.len() > 100, "{} requests", all.len());
    all
}

macro_rules! empty {
    ($(($api:ident, $request:ident, $response:ident))*) => {
        fn empty_request(key: ApiKey, version: i16) -> Vec<u8> {
            match key {
                $(ApiKey::$api => frame_of(version, 7, &messages::$request::default()),)*
            }
        }
    };
}
for_each_api!(empty);

/// Sends `body` as one frame and nothing more; the broker answers or does not, and closes.
fn say(broker: &Broker, body: &[u8]) -> usize {
    let mut stream = broker.connect();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    throw(&mut stream, &[&length[..], body].concat());
    drop(stream.shutdown(Shutdown::Write));
    bytes_until_closed(stream)
}

fn truncations(broker: &Broker) {
    for request in empty_requests(broker) {
        let body = &request[4..];
        for end in 0..body.len() {
            say(broker, &body[..end]);
        }
    }
}

fn huge_counts(broker: &Broker) {
    let plain = i32::MAX.to_be_bytes().repeat(16);
    // The same as a compact length, which is a varint.
    let compact = [0xff, 0xff, 0xff, 0xff, 0x07].repeat(16);
    for request in empty_requests(broker) {
        // Length, key, version, correlation id, the client's name.
        let head = 4 + 2 + 2 + 4 + 2 + "hostile".len();
        for skipped in 0..4 {
            for counts in [&plain, &compact] {
                let body = [&request[4..head], &vec![0; skipped], counts].concat();
                say(broker, &body);
            }
        }
    }
}

/// A produce request of one compressed batch.
fn bomb(codec: Compression) -> Vec<u8> {
    let value = vec![0; 256 * MIB];
    let mut batch = BatchBuilder::new().compression(codec);
    batch.push(&NewRecord { value: Some(&value), ..NewRecord::default() }).unwrap();
    produce_of(1, 0, batch.finish_bytes().unwrap())
}

fn bombs(broker: &Broker) {
    for codec in Compression::ALL.into_iter().filter(|codec| *codec != Compression::None) {
        let request = bomb(codec);
        if request.len() > REQUEST_BYTES_MAX {
            // Snappy does not compress so far: as a frame it is too large already.
            assert_eq!(codec, Compression::Snappy, "{codec}: {} bytes", request.len());
            continue;
        }
        for _ in 0..5 {
            let mut stream = broker.connect();
            throw(&mut stream, &request);
            let answer = read_frame(&mut stream).expect("an answer");
            let (_, response) =
                frame::read_response::<ProduceRequest>(&answer, PRODUCE_VERSION).unwrap();
            let code = response.responses[0].partition_responses[0].error_code;
            // MESSAGE_TOO_LARGE or INVALID_RECORD, as it is large before or after it was opened.
            assert!(code == 10 || code == 87, "{codec}: error {code}");
        }
    }
}

fn garbage_before(broker: &Broker) {
    for round in 0..50 {
        garbage(broker, &mut Prng::new(round));
    }
}

fn garbage_after(broker: &Broker) {
    let handshake = frame_of(0, 1, &ApiVersionsRequest::default());
    for round in 0..200 {
        let mut random = Prng::new(round);
        let mut stream = broker.connect();
        stream.write_all(&handshake).unwrap();
        read_frame(&mut stream).expect("an answer");
        let bytes: Vec<u8> = (0..64).flat_map(|_| random.next_u64().to_be_bytes()).collect();
        throw(&mut stream, &[&[0, 0, 2, 0], &bytes[..]].concat());
        drop(stream.shutdown(Shutdown::Write));
        assert_eq!(bytes_until_closed(stream), 0, "round {round}");
    }
}

fn never_reads(broker: &Broker) {
    let held = Held::new(broker);
    for _ in 0..20 {
        held.ask_and_never_read();
    }
}

fn byte_by_byte(broker: &Broker) {
    let held = Held::new(broker);
    for _ in 0..500 {
        held.dribble();
    }
    held.all_are_connected();
}

fn ten_thousand(broker: &Broker) {
    const WANTED: usize = 10_000;
    /// What else is open in either process.
    const OTHERS: u64 = 500;
    // Each end takes a file of its process, and the broker has done the same for itself.
    let files = env_tokio::raise_descriptor_limit();
    let count = WANTED.min(usize::try_from(files.saturating_sub(OTHERS)).unwrap());
    let mut all: Vec<_> = (0..count).map(|_| broker.connect()).collect();
    let ask = frame_of(0, 1, &ApiVersionsRequest::default());
    // The last one first: all that came before it are accepted then.
    for stream in all.iter_mut().rev().step_by(100) {
        stream.write_all(&ask).unwrap();
        read_frame(stream).expect("an answer");
    }
    if count < WANTED {
        // Not by a macro, whose words nobody reads while all is well.
        let mut stderr = std::io::stderr();
        writeln!(
            stderr,
            "only {count} of {WANTED} connections were opened: a process may have {files} files here (ulimit -Hn), and needs {OTHERS} for other things"
        )
        .unwrap();
    }
}

fn endless(broker: &Broker) {
    for _ in 0..20 {
        deep_pipeline(broker);
    }
    // And one that never stops to hear: it is read until its answers fill what there is for them.
    let fetch = frame_of(12, 1, &FetchRequest::default()).repeat(1000);
    let mut stream = broker.connect();
    stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    loop {
        match stream.write(&fetch[sent % fetch.len()..]) {
            Ok(written) => sent += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => unreachable!("cut off after {sent} bytes: {error}"),
        }
        assert!(sent < 64 * MIB, "requests are taken for ever");
    }
}

fn unknown(broker: &Broker) {
    for key in (-3_i16..200).chain([i16::MIN, i16::MAX]) {
        for version in [-1_i16, 99, i16::MAX] {
            let [k0, k1] = key.to_be_bytes();
            let [v0, v1] = version.to_be_bytes();
            let answered = say(broker, &[k0, k1, v0, v1, 0, 0, 0, 9, 0, 1, b'x', 0]);
            // ApiVersions alone says what there is instead.
            assert_eq!(answered > 0, key == 18, "key {key} version {version}: {answered}");
        }
    }
}

/// The error codes that topics are refused with.
fn create(broker: &Broker, topics: Vec<CreatableTopic>) -> Vec<i16> {
    const VERSION: i16 = 7;
    let request = CreateTopicsRequest { topics, timeout_ms: 30_000, ..Default::default() };
    let mut stream = broker.connect();
    stream.write_all(&frame_of(VERSION, 1, &request)).unwrap();
    let answer = read_frame(&mut stream).expect("an answer");
    let (_, response) = frame::read_response::<CreateTopicsRequest>(&answer, VERSION).unwrap();
    response.topics.iter().map(|topic| topic.error_code).collect()
}

fn control_characters(broker: &Broker) {
    let characters = (0..32_u8).map(char::from).chain(['\u{7f}', '\u{85}', '\u{202e}', '/', '\\']);
    let topic = |char: char| CreatableTopic {
        name: format!("a{char}b").as_str().into(),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let topics: Vec<_> = characters.map(topic).collect();
    let count = topics.len();
    for _ in 0..50 {
        // INVALID_TOPIC_EXCEPTION.
        assert_eq!(create(broker, topics.clone()), vec![17; count]);
    }
}

fn wrong_types(broker: &Broker) {
    let bad = [
        ("retention.ms", "soon"),
        ("retention.ms", "99999999999999999999"),
        ("segment.bytes", "1.5"),
        ("cleanup.policy", "shred"),
        ("min.cleanable.dirty.ratio", "half"),
        ("unclean.leader.election.enable", "maybe"),
        ("max.message.bytes", ""),
        ("no.such.key", "1"),
    ];
    let topic = |(index, (key, value)): (usize, &(&str, &str))| CreatableTopic {
        name: format!("wrong-{index}").as_str().into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![CreatableTopicConfig { name: (*key).into(), value: Some((*value).into()) }],
        ..CreatableTopic::default()
    };
    let topics: Vec<_> = bad.iter().enumerate().map(topic).collect();
    for _ in 0..50 {
        // INVALID_CONFIG.
        assert_eq!(create(broker, topics.clone()), vec![40; bad.len()]);
    }
}

impl Producer {
    /// Produces every [`PACE`] until told to stop; how late after its due instant each answer came.
    fn paced(&mut self, stop: &Receiver<()>) -> Vec<Duration> {
        let begun = Instant::now();
        let mut late = Vec::new();
        let (_never, forever) = channel::<()>();
        for count in 0.. {
            let due = begun + PACE * count;
            // However soon it is over, some requests are made.
            let stop = if count < REQUESTS_MIN { &forever } else { stop };
            match stop.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => {},
                Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
            }
            self.stream.write_all(&produce_frame(self.next, 100)).unwrap();
            acknowledged(&mut self.stream, self.next);
            self.next += 1;
            late.push(due.elapsed());
        }
        late
    }

    /// As [`Producer::paced`], while `act` is done by somebody who is nicer.
    fn during(&mut self, act: impl FnOnce() + Send) -> Vec<Duration> {
        let (over, stop) = channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                rustix::process::nice(STRANGERS_NICE).expect("a lower priority");
                act();
                drop(over);
            });
            self.paced(&stop)
        })
    }
}

#[test]
fn every_row_of_bad_input_and_load_leaves_a_producer_its_pace_and_memory_its_bound() {
    let _alone = alone();
    let budget = format!("queued.max.request.bytes={BUDGET}");
    let largest = format!("socket.request.max.bytes={REQUEST_BYTES_MAX}");
    let slow = "gregor.large.request.min.rate=0";
    let broker = Broker::start("rows", &[&budget, &largest, slow]);
    broker.create_topic("wide", 200);
    let mut producer = Producer::new(&broker);
    drop(producer.during(|| ()));
    let quiet = percentile(&producer.during(|| ()), 99);
    let p99_max = P99_MAX.max(3 * quiet);
    let resident_quiet = broker.resident("VmHWM");
    let bound = resident_quiet + BUDGET + BESIDES;
    println!("p50, p99 and most of 100 requests a second; peak resident so far");
    println!("nothing: p99 {quiet:?}, {} MiB", resident_quiet / MIB);
    for Row { name, act } in ROWS {
        let took = producer.during(|| act(&broker));
        let resident = broker.resident("VmHWM");
        let [half, most, worst] = [50, 99, 100].map(|part| percentile(&took, part));
        println!(
            "{name}: {half:?} {most:?} {worst:?} of {} requests, {} MiB",
            took.len(),
            resident / MIB
        );
        assert!(most <= p99_max, "{name}: p99 {most:?}, at most {p99_max:?}");
        assert!(resident <= bound, "{name}: {} MiB, at most {}", resident / MIB, bound / MIB);
    }
}

#[test]
fn the_documentation_has_these_rows_and_no_others() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once("| what arrives |").expect("the table of bad input");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let named: Vec<&str> = rows.map(|row| row.split('|').nth(1).unwrap().trim()).collect();
    let known: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
    assert_eq!(named, known);
}
