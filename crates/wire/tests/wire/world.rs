//! A broker with its front door on a fresh directory and a free port.

use std::net::SocketAddr;
use std::path::PathBuf;

use base::{BrokerId, Duration, Instant};
use broker::{Broker, BrokerConfig};
use bytes::{Bytes, BytesMut};
use env::{Env, Net, Segment, SegmentQueue, Stream};
use env_tokio::{Settings, TokioEnv, TokioStream};
use protocol::{Part, Request};
use records::{BatchBuilder, NewRecord};
use tokio::runtime::{Builder, Runtime};
use wire::client::{Client, TopicWish};
use wire::server::{Advertised, Server, ServerSettings};

pub struct World {
    runtime: Runtime,
    dir: PathBuf,
    env: TokioEnv,
}

pub struct Served {
    pub env: TokioEnv,
    pub broker: Broker<TokioEnv>,
    pub server: Server<TokioEnv>,
    pub addr: SocketAddr,
}

impl World {
    pub fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("gregor-wire-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&dir));
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let env = TokioEnv::new(runtime.handle().clone(), Settings::default()).expect("the world");
        Self { runtime, dir, env }
    }

    /// Runs a test against a broker with these settings.
    pub fn serve<F: Future<Output = ()> + Send>(
        self,
        adjust: impl FnOnce(&mut BrokerConfig, &mut ServerSettings),
        test: impl FnOnce(Served) -> F,
    ) {
        let mut config = BrokerConfig {
            log_dirs: vec![self.dir.clone()],
            offsets_partitions: 2,
            group_initial_rebalance_delay: Duration::ZERO,
            ..BrokerConfig::default()
        };
        let advertised = Advertised { host: "127.0.0.1".to_owned(), port: 0 };
        let mut settings = ServerSettings::new(BrokerId(1), advertised);
        adjust(&mut config, &mut settings);
        let env = self.env.clone();
        self.runtime.block_on(async move {
            let broker = Broker::start(env.clone(), config).await.expect("starts");
            let server = Server::new(env.clone(), broker.clone(), settings);
            let addr = server.listen(([127, 0, 0, 1], 0).into()).await.expect("binds");
            let stop = (env.clone(), broker.clone(), server.clone());
            test(Served { env, broker, server, addr }).await;
            let (env, broker, server) = stop;
            assert!(server.stop(env.now().after(Duration::from_secs(20))).await, "all ended");
            broker.stop().await;
        });
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

impl Served {
    pub fn soon(&self) -> Instant {
        self.env.now().after(Duration::from_secs(20))
    }

    pub async fn client(&self) -> Client<TokioEnv> {
        Client::connect(&self.env, self.addr, "test", self.soon()).await.expect("connects")
    }

    pub async fn topic(&self, name: &str, partitions: i32) {
        let wish = TopicWish {
            name: name.to_owned(),
            partitions: Some(partitions),
            ..TopicWish::default()
        };
        self.client().await.create_topic(wish, self.soon()).await.expect("created");
    }

    pub async fn raw(&self) -> Raw {
        Raw {
            env: self.env.clone(),
            stream: self.env.net().connect(self.addr).await.expect("connects"),
            buffer: BytesMut::new(),
        }
    }
}

/// A connection on which anything can be sent.
pub struct Raw {
    env: TokioEnv,
    stream: TokioStream,
    buffer: BytesMut,
}

impl Raw {
    pub async fn send(&mut self, bytes: impl Into<Bytes>) {
        let mut queue = SegmentQueue::from([Segment::Bytes(bytes.into())]);
        // A broker that has hung up already is no concern of the sender.
        drop(self.stream.write_segments(&mut queue).await);
    }

    /// The next frame, without its length; `None` when the broker has hung up.
    pub async fn frame(&mut self) -> Option<Bytes> {
        loop {
            if let Some(length) = self.buffer.first_chunk() {
                let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
                if self.buffer.len() >= 4 + length {
                    let mut frame = self.buffer.split_to(4 + length);
                    return Some(frame.split_off(4).freeze());
                }
            }
            self.buffer.reserve(4096);
            let at = self.env.now().after(Duration::from_secs(20));
            let read = env::timeout_at(&self.env, at, self.stream.read_into(&mut self.buffer));
            match read.await.expect("the broker answers or hangs up") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {},
            }
        }
    }
}

/// A request's frame.
pub fn framed<R: Request>(version: i16, correlation: i32, request: &R) -> Bytes {
    let parts = protocol::frame::request(version, correlation, Some("test"), request);
    let mut whole = BytesMut::new();
    for part in parts.expect("encodes") {
        match part {
            Part::Bytes(bytes) => whole.extend_from_slice(&bytes),
            Part::External { .. } => unreachable!("requests are in memory"),
        }
    }
    whole.freeze()
}

pub fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new();
    for value in values {
        let record = NewRecord { value: Some(value.as_bytes()), ..NewRecord::default() };
        builder.push(&record).expect("small");
    }
    builder.finish_bytes().expect("not empty")
}

/// The values of all records in these batches, from `offset` on.
pub fn values(batches: Bytes, offset: i64) -> Vec<String> {
    let mut values = Vec::new();
    for batch in records::batches(batches) {
        let batch = batch.expect("whole");
        let set = batch.open(records::OPEN_BYTES_MAX).expect("opens");
        for record in set.iter() {
            let record = record.expect("a record");
            if record.offset.0 >= offset {
                let value = record.value.expect("a value");
                values.push(String::from_utf8_lossy(value).into_owned());
            }
        }
    }
    values
}
