//! One connection to the broker: requests, and their answers in the same order.
//!
//! Invariants: after an error or a timeout the connection is gone, so that a late answer can never
//! be taken for another's; an answer with a wrong correlation id or with bytes left over is a
//! broken promise of the broker.

use std::fmt::Debug;

use base::{Duration, Instant};
use bytes::{Buf, BytesMut};
use env::{Env, Net, Segment, SegmentQueue, Stream, timeout_at};
use protocol::{Part, Request, frame};

use crate::net::{SimStream, address_of};
use crate::world::{FailureKind, Note, SimEnv, brief};

/// The port the broker listens on.
pub const PORT: u16 = 9092;
/// A frame larger than this is refused, bytes.
const FRAME_MAX: usize = 32 << 20;

/// The outcome is unknown: the request may have been carried out or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// No connection, so nothing was sent.
    NotSent,
    /// Something was sent, and no answer came.
    Unknown,
}

fn number(correlation: i32) -> u64 {
    u64::try_from(correlation).unwrap_or(0)
}

/// See the module head.
pub struct Connection {
    env: SimEnv,
    broker: usize,
    name: String,
    stream: Option<SimStream>,
    correlation: i32,
    input: BytesMut,
    /// Bytes of whole frames on this connection: written, read.
    moved: (u64, u64),
}

/// A request that can be shown, as its answer.
pub trait Shown: Request<Response: Debug> + Debug {}

impl<R: Request<Response: Debug> + Debug> Shown for R {}

impl Connection {
    /// A connection that is made when it is first needed.
    pub fn new(env: SimEnv, broker: usize, name: String) -> Self {
        let input = BytesMut::new();
        Self { env, broker, name, stream: None, correlation: 0, input, moved: (0, 0) }
    }

    /// Sends `body` and waits up to `timeout` for the answer.
    ///
    /// # Errors
    /// [`CallError`]; the connection is then gone.
    pub async fn call<R: Shown>(
        &mut self,
        version: i16,
        body: &R,
        timeout: Duration,
    ) -> Result<R::Response, CallError> {
        let deadline = self.env.now().after(timeout);
        let correlation = self.send(version, body, deadline).await?;
        self.receive::<R>(version, correlation, deadline).await
    }

    /// Sends `body` and returns under which number its answer will come. Answers have to be
    /// received in the order in which requests were sent.
    ///
    /// # Errors
    /// [`CallError`]; the connection is then gone, and with it all answers that were to come.
    pub async fn send<R: Shown>(
        &mut self,
        version: i16,
        body: &R,
        deadline: Instant,
    ) -> Result<i32, CallError> {
        if self.stream.is_none() {
            self.input.clear();
            self.moved = (0, 0);
            self.stream = Some(self.connect(deadline).await?);
        }
        // Taken out, and only put back when all went well.
        let Some(mut stream) = self.stream.take() else { return Err(CallError::NotSent) };
        self.correlation = self.correlation.wrapping_add(1);
        let env = self.env.clone();
        let writing = self.write(&mut stream, version, body);
        let Ok(Some(len)) = timeout_at(&env, deadline, writing).await else {
            return Err(CallError::Unknown);
        };
        self.moved.0 += len;
        let note = Note {
            kind: "request",
            target: stream.pipe(),
            offset: self.moved.0,
            len,
            result: number(self.correlation),
            ..Note::default()
        };
        env.process().remark(note, || format!("{} v{version} {}", R::NAME, brief(body)));
        self.stream = Some(stream);
        Ok(self.correlation)
    }

    /// Waits for the answer to the oldest request that has none yet.
    ///
    /// # Errors
    /// [`CallError`]; the connection is then gone, and with it all answers that were to come.
    pub async fn receive<R: Shown>(
        &mut self,
        version: i16,
        correlation: i32,
        deadline: Instant,
    ) -> Result<R::Response, CallError> {
        let Some(mut stream) = self.stream.take() else { return Err(CallError::Unknown) };
        let env = self.env.clone();
        let reading = self.answer::<R>(&mut stream, version, correlation);
        let Ok(Some((len, answer))) = timeout_at(&env, deadline, reading).await else {
            return Err(CallError::Unknown);
        };
        self.moved.1 += len;
        let note = Note {
            kind: "answer",
            target: stream.pipe(),
            offset: self.moved.1,
            len,
            result: number(correlation),
            ..Note::default()
        };
        env.process().remark(note, || format!("{} v{version} {}", R::NAME, brief(&answer)));
        self.stream = Some(stream);
        env.process().world.ledger.lock().answered += 1;
        Ok(answer)
    }

    /// Whether there is a connection, as far as is known.
    pub fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    async fn connect(&self, deadline: Instant) -> Result<SimStream, CallError> {
        let to = address_of(self.broker, PORT);
        match timeout_at(&self.env, deadline, self.env.net().connect(to)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(_)) | Err(_) => Err(CallError::NotSent),
        }
    }

    async fn write<R: Request>(
        &mut self,
        stream: &mut SimStream,
        version: i16,
        body: &R,
    ) -> Option<u64> {
        let parts = match frame::request(version, self.correlation, Some(&self.name), body) {
            Ok(parts) => parts,
            Err(error) => return self.broken(&format!("cannot encode {}: {error}", R::NAME)),
        };
        let (mut queue, mut len) = (SegmentQueue::new(), 0);
        for part in parts {
            if let Part::Bytes(bytes) = part {
                len += bytes.len();
                queue.push_back(Segment::Bytes(bytes));
            }
        }
        stream.write_segments(&mut queue).await.ok()?;
        u64::try_from(len).ok()
    }

    async fn answer<R: Request>(
        &mut self,
        stream: &mut SimStream,
        version: i16,
        wanted: i32,
    ) -> Option<(u64, R::Response)> {
        let answer = self.read_frame(stream).await?;
        let len = u64::try_from(frame::LENGTH_BYTES + answer.len()).ok()?;
        match frame::read_response::<R>(&answer, version) {
            Ok((correlation, answer)) if correlation == wanted => Some((len, answer)),
            Ok((correlation, _)) => {
                self.broken(&format!("{}: answer {correlation} to {wanted}", R::NAME))
            },
            Err(error) => self.broken(&format!("{} v{version}: bad answer: {error}", R::NAME)),
        }
    }

    async fn read_frame(&mut self, stream: &mut SimStream) -> Option<bytes::Bytes> {
        loop {
            if let Some(prefix) = self.input.first_chunk::<{ frame::LENGTH_BYTES }>() {
                let len = match frame::length(*prefix, FRAME_MAX) {
                    Ok(len) => len,
                    Err(error) => return self.broken(&error.to_string()),
                };
                if self.input.len() >= frame::LENGTH_BYTES + len {
                    self.input.advance(frame::LENGTH_BYTES);
                    return Some(self.input.split_to(len).freeze());
                }
            }
            self.input.reserve(4096);
            match stream.read_into(&mut self.input).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {},
            }
        }
    }

    fn broken<T>(&self, text: &str) -> Option<T> {
        let text = format!("wire: {}: {text}", self.name);
        self.env.process().world.fail(FailureKind::Safety, text);
        None
    }
}
