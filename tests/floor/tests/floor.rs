//! The floor answers the two requests of the bench as a broker would.
#![expect(clippy::unwrap_used, reason = "how a test fails")]
#![expect(clippy::disallowed_types, reason = "a real process")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base::codec::Part;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{FetchRequest, ProduceRequest};
use protocol::{Records, Request, frame};
use records::{BatchBuilder, NewRecord, batches};

struct Floor {
    child: Child,
    stream: TcpStream,
}

impl Drop for Floor {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Floor {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_floor"));
        command.arg(Path::new(env!("CARGO_TARGET_TMPDIR")));
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let at = line.trim().rsplit(' ').next().unwrap();
        Self { stream: TcpStream::connect(at).unwrap(), child }
    }

    fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        for part in frame::request(version, 5, Some("test"), request).unwrap() {
            let Part::Bytes(bytes) = part else { unreachable!("all is in memory") };
            self.stream.write_all(&bytes).unwrap();
        }
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut answer).unwrap();
        let (correlation, response) = frame::read_response::<R>(&answer.into(), version).unwrap();
        assert_eq!(correlation, 5);
        response
    }

    fn produce(&mut self, value: &[u8]) -> i64 {
        let mut batch = BatchBuilder::new();
        for _ in 0..3 {
            batch.push(&NewRecord { value: Some(value), ..NewRecord::default() }).unwrap();
        }
        let request = ProduceRequest {
            acks: 1,
            topic_data: vec![TopicProduceData {
                name: "a".to_owned(),
                partition_data: vec![PartitionProduceData {
                    index: 2,
                    records: Records::from(batch.finish_bytes().unwrap()),
                }],
                ..TopicProduceData::default()
            }],
            ..ProduceRequest::default()
        };
        let response = self.ask(11, &request);
        let part = &response.responses[0].partition_responses[0];
        assert_eq!((part.index, part.error_code), (2, 0));
        part.base_offset
    }

    fn fetch(&mut self, offset: i64, bytes_max: i32) -> Vec<(i64, usize)> {
        let request = FetchRequest {
            max_bytes: bytes_max,
            session_epoch: -1,
            topics: vec![FetchTopic {
                topic: "a".to_owned(),
                partitions: vec![FetchPartition {
                    partition: 2,
                    fetch_offset: offset,
                    partition_max_bytes: bytes_max,
                    ..FetchPartition::default()
                }],
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        let response = self.ask(12, &request);
        let part = &response.responses[0].partitions[0];
        let bytes = part.records.as_bytes().cloned().unwrap_or_default();
        let whole = batches(bytes).map(|batch| batch.unwrap());
        whole.map(|b| (b.header().base_offset.0, b.bytes().len())).collect()
    }
}

#[test]
fn what_is_appended_is_read_back_with_its_offsets() {
    let mut floor = Floor::start();
    assert_eq!([floor.produce(b"one"), floor.produce(b"two"), floor.produce(b"six")], [0, 3, 6]);

    let all = floor.fetch(0, 1_000_000);
    let offsets: Vec<_> = all.iter().map(|batch| batch.0).collect();
    assert_eq!(offsets, [0, 3, 6]);

    let two = i32::try_from(2 * all[0].1).unwrap();
    assert_eq!(floor.fetch(3, two), [(3, all[0].1), (6, all[0].1)]);
    assert_eq!(floor.fetch(0, two + 1), [(0, all[0].1), (3, all[0].1)]);
    assert_eq!(floor.fetch(9, two), []);
}
