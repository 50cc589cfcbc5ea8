//! Directories, logs and batches for the tests, and a network that is not there.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use base::{
    BrokerId, LeaderEpoch, Offset, PartitionId, PartitionIndex, ProducerEpoch, ProducerId,
    ReplicaGen, Timestamp, TopicId, Uuid,
};
use bytes::{Bytes, BytesMut};
use env::{File, IoBufs, Listener, Net, Segment, SegmentQueue, Stream};
use records::build::{BatchBuilder, NewRecord};
use records::{BatchHeader, BatchView, Producer};
use smallvec::SmallVec;
use storage::{
    Append, DirOptions, Durability, Expect, Log, LogConfig, LogDir, ReadSlice, StartInfo,
};

use crate::support::*;

pub const GEN: ReplicaGen = ReplicaGen(1);

/// Runs a future that never really waits.
pub fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..1_000_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
    unreachable!("a future that waits for ever");
}

pub fn root() -> PathBuf {
    PathBuf::from("data")
}

pub fn partition() -> PartitionId {
    PartitionId { topic: TopicId(Uuid([5; 16])), index: PartitionIndex(0) }
}

pub fn is_of_journal(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    name.parse::<u32>().is_ok() || name == "manifest.tmp"
}

pub fn expect() -> Expect {
    Expect { cluster_id: Some("test-cluster".into()), node_id: BrokerId(1) }
}

/// Opens the directory as the next process would.
pub fn open_dir(env: &MemEnv) -> (LogDir<MemEnv>, StartInfo) {
    run(LogDir::open(env, &root(), expect(), options())).unwrap()
}

/// A small journal, so that its files are used again and again.
pub fn options() -> DirOptions {
    DirOptions { journal_file_bytes: 64 * 1024, ..DirOptions::default() }
}

/// Small segments.
pub fn small() -> LogConfig {
    LogConfig { segment_bytes: 2000, ..LogConfig::default() }
}

/// A directory with one log, created now.
pub fn fresh(env: &MemEnv) -> (LogDir<MemEnv>, Log<MemEnv>) {
    let (dir, _) = open_dir(env);
    let log = run(dir.create_log(partition(), GEN, small())).unwrap();
    (dir, log)
}

/// How a batch for a test is made.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub base: i64,
    pub count: i32,
    pub value_bytes: usize,
    pub time: i64,
    pub epoch: i32,
    pub producer: Option<(i64, i32)>,
}

impl Spec {
    pub fn at(base: i64) -> Self {
        Self { base, count: 1, value_bytes: 10, time: base, epoch: 0, producer: None }
    }

    pub fn build(&self) -> BatchView {
        let mut builder = BatchBuilder::new().assigned(Offset(self.base), LeaderEpoch(self.epoch));
        if let Some((id, sequence)) = self.producer {
            builder = builder.producer(Producer {
                id: ProducerId(id),
                epoch: ProducerEpoch(0),
                base_sequence: Some(sequence),
            });
        }
        let value = vec![u8::try_from(self.base % 251).unwrap(); self.value_bytes];
        for at in 0..self.count {
            let timestamp = Timestamp(self.time + i64::from(at));
            let record = NewRecord { timestamp, value: Some(&value), ..NewRecord::default() };
            builder.push(&record).unwrap();
        }
        builder.finish().unwrap()
    }
}

/// An append of these batches, each in two pieces as the broker hands them in.
pub fn append_of(batches: &[BatchView]) -> Append {
    let durability = Durability::Replicated;
    let mut append =
        Append { bufs: IoBufs::new(), batches: SmallVec::new(), durability, owned: false };
    for batch in batches {
        append.bufs.push(batch.bytes().slice(..16));
        append.bufs.push(batch.bytes().slice(16..));
        append.batches.push(*batch.header());
    }
    append
}

/// An append that is done once its batches are durable.
pub fn fsync_of(batches: &[BatchView]) -> Append {
    Append { durability: Durability::Fsync, ..append_of(batches) }
}

/// Appends `count` one-record batches and returns their bytes.
pub fn append_some(log: &Log<MemEnv>, count: usize) -> Vec<BatchView> {
    let mut batches = Vec::new();
    for _ in 0..count {
        let batch = Spec::at(log.end().0).build();
        run(log.append(append_of(std::slice::from_ref(&batch)))).unwrap();
        batches.push(batch);
    }
    batches
}

/// The bytes of a read, regions read now.
pub fn bytes_of(slice: &ReadSlice<MemFile>) -> Vec<u8> {
    let mut out = Vec::new();
    for segment in &slice.segments {
        match segment {
            Segment::Bytes(bytes) => out.extend_from_slice(bytes),
            Segment::Region(region) => {
                let len = usize::try_from(region.len).unwrap();
                out.extend_from_slice(&run(region.file.read_at(region.at, len)).unwrap());
            },
        }
    }
    assert_eq!(out.len(), slice.bytes);
    out
}

/// Every batch of the log from `from` on, by reading it to its end.
pub fn read_all(log: &Log<MemEnv>, from: Offset) -> Vec<(BatchHeader, Bytes)> {
    let mut next = from;
    let mut found = Vec::new();
    while next < log.end() {
        let slice = run(log.read(next, log.end(), 300, true)).unwrap();
        for batch in records::batches(Bytes::from(bytes_of(&slice))) {
            let batch = batch.unwrap();
            next = batch.header().next_offset();
            found.push((*batch.header(), batch.into_bytes()));
        }
    }
    found
}

/// No network.
#[derive(Clone)]
pub struct NoNet;

impl Net for NoNet {
    type File = MemFile;
    type Listener = NoNet;
    type Stream = NoNet;

    async fn listen(&self, _at: SocketAddr) -> io::Result<NoNet> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn connect(&self, _to: SocketAddr) -> io::Result<NoNet> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Listener for NoNet {
    type Stream = NoNet;

    async fn accept(&mut self) -> io::Result<(NoNet, SocketAddr)> {
        pending().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Stream for NoNet {
    type File = MemFile;

    async fn readable(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn read_at_most(&mut self, _buf: &mut BytesMut, _most: usize) -> io::Result<usize> {
        Ok(0)
    }

    async fn write_some(&mut self, _queue: &mut SegmentQueue<MemFile>) -> io::Result<()> {
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}
