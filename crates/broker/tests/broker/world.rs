//! A broker on a fresh directory, and short words for asking it.

use std::path::PathBuf;
use std::sync::Arc;

use base::{
    Duration, Instant, Offset, PartitionId, PartitionIndex, ProducerEpoch, ProducerId, TopicId,
};
use broker::api::{
    Acks, CreateTopic, Fetch, FetchError, FetchPartition, FetchedData, Isolation, Produce,
    ProduceError, Produced,
};
use broker::{Broker, BrokerConfig};
use bytes::{Bytes, BytesMut};
use env::{Disk, Env, File, Segment};
use env_tokio::{Settings, TokioEnv};
use records::{BatchBuilder, BatchView, NewRecord, Producer};
use tokio::runtime::{Builder, Runtime};

pub type FileOf<E> = <<E as Env>::Disk as Disk>::File;

/// A runtime and a directory that goes when it is dropped.
pub struct World {
    pub runtime: Runtime,
    pub dir: PathBuf,
    env: TokioEnv,
}

impl World {
    pub fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("gregor-broker-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&dir));
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let env = TokioEnv::new(runtime.handle().clone(), Settings::default()).expect("the world");
        Self { runtime, dir, env }
    }

    pub fn env(&self) -> TokioEnv {
        self.env.clone()
    }

    pub fn config(&self) -> BrokerConfig {
        BrokerConfig {
            log_dirs: vec![self.dir.clone()],
            offsets_partitions: 3,
            ..BrokerConfig::default()
        }
    }

    pub async fn start(&self) -> Broker<TokioEnv> {
        Broker::start(self.env(), self.config()).await.expect("starts")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

pub async fn topic<E: Env>(
    broker: &Broker<E>,
    name: &str,
    configs: &[(&str, &str)],
) -> PartitionId {
    let configs = configs.iter();
    let wish = CreateTopic {
        name: name.to_owned(),
        configs: configs.map(|(k, v)| ((*k).to_owned(), Some((*v).to_owned()))).collect(),
        ..CreateTopic::default()
    };
    let created = broker.create_topics(vec![wish], false).await.remove(0).expect("created");
    first(created.id)
}

pub fn first(topic: TopicId) -> PartitionId {
    PartitionId { topic, index: PartitionIndex(0) }
}

pub fn batch(values: &[&str]) -> Bytes {
    build(BatchBuilder::new(), values)
}

pub fn numbered(id: i64, epoch: i16, sequence: i32, values: &[&str]) -> Bytes {
    let producer =
        Producer { id: ProducerId(id), epoch: ProducerEpoch(epoch), base_sequence: Some(sequence) };
    build(BatchBuilder::new().producer(producer), values)
}

fn build(mut builder: BatchBuilder, values: &[&str]) -> Bytes {
    for value in values {
        let record = NewRecord { value: Some(value.as_bytes()), ..NewRecord::default() };
        builder.push(&record).expect("small");
    }
    builder.finish_bytes().expect("not empty")
}

pub fn wish(partition: PartitionId, batch: Bytes) -> Produce {
    Produce { partition, acks: Acks::All, deadline: Instant::NEVER, batch, internal_allowed: false }
}

pub async fn produce<E: Env>(
    broker: &Broker<E>,
    partition: PartitionId,
    batch: Bytes,
) -> Result<Produced, ProduceError> {
    broker.produce(wish(partition, batch)).await
}

pub fn fetch(partition: PartitionId, offset: i64) -> Fetch {
    Fetch {
        partitions: vec![part(partition, offset)],
        isolation: Isolation::ReadUncommitted,
        min_bytes: 1,
        max_bytes: 1 << 20,
        max_wait: Duration::ZERO,
    }
}

pub fn part(partition: PartitionId, offset: i64) -> FetchPartition {
    FetchPartition {
        partition,
        offset: Offset(offset),
        max_bytes: 1 << 20,
        current_leader_epoch: None,
        last_fetched_epoch: None,
    }
}

/// The one partition that was asked for.
pub async fn read<E: Env>(
    broker: &Broker<E>,
    wish: Fetch,
) -> Result<FetchedData<FileOf<E>>, FetchError> {
    broker.fetch(wish).await.remove(0).outcome
}

/// Every value from `offset` to the end, with its offset.
pub async fn values<E: Env>(
    broker: &Broker<E>,
    partition: PartitionId,
    mut offset: i64,
) -> Vec<(i64, String)> {
    let mut all = Vec::new();
    loop {
        let data = read(broker, fetch(partition, offset)).await.expect("readable");
        let records = records_of(data.segments).await;
        let Some((last, _)) = records.last() else {
            return all;
        };
        let next = last + 1;
        all.extend(records.into_iter().filter(|(at, _)| *at >= offset));
        offset = next;
    }
}

/// The batches of a partition, from its start.
pub async fn stored<E: Env>(broker: &Broker<E>, partition: PartitionId) -> Vec<BatchView> {
    let data = read(broker, fetch(partition, 0)).await.expect("readable");
    let bytes = bytes_of(data.segments).await;
    records::batches(bytes).map(|batch| batch.expect("whole batches only")).collect()
}

async fn bytes_of<F: File>(segments: Vec<Segment<F>>) -> Bytes {
    let mut bytes = BytesMut::new();
    for segment in segments {
        match segment {
            Segment::Bytes(piece) => bytes.extend_from_slice(&piece),
            Segment::Region(region) => {
                let len = usize::try_from(region.len).expect("fits");
                bytes.extend_from_slice(&region.file.read_at(region.at, len).await.expect("read"));
            },
        }
    }
    bytes.freeze()
}

pub async fn records_of<F: File>(segments: Vec<Segment<F>>) -> Vec<(i64, String)> {
    let bytes = bytes_of(segments).await;
    let mut all = Vec::new();
    for batch in records::batches(bytes) {
        let batch = batch.expect("whole batches only");
        batch.verify_crc().expect("intact");
        for record in &batch.open(1 << 20).expect("opens") {
            let record = record.expect("intact");
            let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
            all.push((record.offset.0, value));
        }
    }
    all
}

pub fn spawn<T: Send + 'static>(
    world: &World,
    future: impl Future<Output = T> + Send + 'static,
) -> Arc<tokio::sync::Mutex<tokio::sync::oneshot::Receiver<T>>> {
    let (done, waits) = tokio::sync::oneshot::channel();
    world.env().spawn("test", async move { drop(done.send(future.await)) });
    Arc::new(tokio::sync::Mutex::new(waits))
}

pub async fn join<T>(task: Arc<tokio::sync::Mutex<tokio::sync::oneshot::Receiver<T>>>) -> T {
    let mut task = task.lock().await;
    (&mut *task).await.expect("the task ends")
}
