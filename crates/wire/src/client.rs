//! A small Kafka client for tools, tests and the simulator: one connection, one request at a time.
//!
//! Owns: a connection and its answers. Invariants: every call has a deadline; a connection on which
//! a call did not end with its whole answer (deadline, cancelled, garbage) is closed and never used
//! again, so an answer cannot be taken for another's; an answer beyond [`ANSWER_BYTES_MAX`]
//! is refused before it is allocated. It does not retry: whoever calls knows whether that is safe.

mod cluster;
mod data;
mod group;

use std::net::SocketAddr;

use base::Instant;
use bytes::{Buf, Bytes, BytesMut};
use env::{Env, Net, Segment, SegmentQueue, Stream, timeout_at};
use protocol::frame::{self, FrameLengthError, LENGTH_BYTES};
use protocol::{DecodeError, EncodeError, Part, Request};
use thiserror::Error;

use crate::error_code::ErrorCode;
use crate::server::FileOf;

pub use cluster::TopicWish;
pub use data::{Appended, Batches, Read, WhichOffset};
pub use group::{CommittedOffset, Member};

/// Largest answer accepted, in bytes.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Room made for an answer beyond what has arrived of it.
const STEP_BYTES: usize = 1024 * 1024;

/// Why a call has no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// There is nobody, or they hung up: nothing is known about the request.
    #[error("connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// The broker closed the connection: it refuses the request, or it stops.
    #[error("the broker closed the connection")]
    Closed,
    /// The deadline came first: nothing is known about the request.
    #[error("no answer in time")]
    TimedOut,
    /// An earlier call ended without its answer; connect again.
    #[error("the connection was given up after an earlier failure")]
    GivenUp,
    /// The request cannot be written in that version.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The request's records are not in memory.
    #[error("records that are not in memory cannot be sent")]
    NotInMemory,
    /// The answer is not one.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The answer is longer than any that is accepted.
    #[error(transparent)]
    Length(#[from] FrameLengthError),
    /// The answer belongs to another request.
    #[error("an answer to request {found} instead of {expected}")]
    Correlation {
        /// The request sent.
        expected: i32,
        /// The request answered.
        found: i32,
    },
    /// Bytes behind the answer, which nobody asked for.
    #[error("bytes behind the answer")]
    Unasked,
    /// The broker's answer is an error.
    #[error("{code}{}", .message.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        /// Kafka's number.
        code: ErrorCode,
        /// What the broker says about it.
        message: Option<String>,
    },
    /// The answer lacks what was asked for.
    #[error("the answer says nothing about what was asked")]
    Incomplete,
}

impl ClientError {
    /// Kafka's number, if the broker gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// The error in an answer, as one.
fn accepted(code: i16, message: Option<&str>) -> Result<(), ClientError> {
    match ErrorCode(code) {
        ErrorCode::NONE => Ok(()),
        code => Err(ClientError::Refused { code, message: message.map(str::to_owned) }),
    }
}

/// A connection to one broker.
pub struct Client<E: Env> {
    env: E,
    /// `None` after a failure.
    stream: Option<<E::Net as Net>::Stream>,
    client_id: String,
    next_correlation: i32,
}

impl<E: Env> std::fmt::Debug for Client<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl<E: Env> Client<E> {
    /// Connects to a broker.
    ///
    /// # Errors
    /// [`ClientError::Io`], [`ClientError::TimedOut`].
    pub async fn connect(
        env: &E,
        to: SocketAddr,
        client_id: &str,
        deadline: Instant,
    ) -> Result<Self, ClientError> {
        let connected = timeout_at(env, deadline, env.net().connect(to)).await;
        let stream = connected.map_err(|env::Elapsed| ClientError::TimedOut)??;
        Ok(Self {
            env: env.clone(),
            stream: Some(stream),
            client_id: client_id.to_owned(),
            next_correlation: 0,
        })
    }

    /// Whether a further call may succeed.
    pub fn is_usable(&self) -> bool {
        self.stream.is_some()
    }

    /// Asks, and waits for the answer. Dropping the future gives the connection up.
    ///
    /// # Errors
    /// [`ClientError`]; after all but [`ClientError::Encode`] and [`ClientError::NotInMemory`] the
    /// connection is given up.
    pub async fn call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Response, ClientError> {
        let (correlation, mut queue) = self.encode(version, request)?;
        let mut stream = self.stream.take().ok_or(ClientError::GivenUp)?;
        let answer = async {
            stream.write_segments(&mut queue).await?;
            read_frame(&mut stream).await
        };
        let answer = timeout_at(&self.env, deadline, answer).await;
        let answer = answer.map_err(|env::Elapsed| ClientError::TimedOut)??;
        let (found, response) = frame::read_response::<R>(&answer, version)?;
        if found != correlation {
            return Err(ClientError::Correlation { expected: correlation, found });
        }
        self.stream = Some(stream);
        Ok(response)
    }

    /// Sends a request that has no answer (a produce with `acks=0`).
    ///
    /// # Errors
    /// As [`Client::call`]; success says nothing about what the broker did.
    pub async fn send<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let (_, mut queue) = self.encode(version, request)?;
        let mut stream = self.stream.take().ok_or(ClientError::GivenUp)?;
        let sent = timeout_at(&self.env, deadline, stream.write_segments(&mut queue)).await;
        sent.map_err(|env::Elapsed| ClientError::TimedOut)??;
        self.stream = Some(stream);
        Ok(())
    }

    fn encode<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<(i32, SegmentQueue<FileOf<E>>), ClientError> {
        let correlation = self.next_correlation;
        self.next_correlation = correlation.wrapping_add(1) & i32::MAX;
        let client_id = Some(self.client_id.as_str());
        let mut queue = SegmentQueue::new();
        for part in frame::request(version, correlation, client_id, request)? {
            match part {
                Part::Bytes(bytes) => queue.push_back(Segment::Bytes(bytes)),
                Part::External { .. } => return Err(ClientError::NotInMemory),
            }
        }
        Ok((correlation, queue))
    }
}

/// Reads one frame, without its length. There is no next one before the next
/// request.
async fn read_frame(stream: &mut impl Stream) -> Result<Bytes, ClientError> {
    let mut buffer = BytesMut::with_capacity(LENGTH_BYTES);
    read_until(stream, &mut buffer, LENGTH_BYTES).await?;
    let Some(prefix) = buffer.first_chunk::<LENGTH_BYTES>() else {
        return Err(ClientError::Closed);
    };
    let length = frame::length(*prefix, ANSWER_BYTES_MAX)?;
    buffer.advance(LENGTH_BYTES);
    read_until(stream, &mut buffer, length).await?;
    let frame = buffer.split_to(length).freeze();
    if buffer.is_empty() { Ok(frame) } else { Err(ClientError::Unasked) }
}

async fn read_until(
    stream: &mut impl Stream,
    buffer: &mut BytesMut,
    length: usize,
) -> Result<(), ClientError> {
    while buffer.len() < length {
        if buffer.len() == buffer.capacity() {
            buffer.reserve((length - buffer.len()).min(STEP_BYTES));
        }
        if stream.read_into(buffer).await? == 0 {
            return Err(ClientError::Closed);
        }
    }
    Ok(())
}
