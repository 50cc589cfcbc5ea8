//! Bytes from a socket, cut into requests.
//!
//! Owns: one connection's read buffer. Invariants: a length is judged before anything is allocated
//! for it; bytes are charged to the budget before room is made for them, as they arrive, so that
//! an announced but unsent request costs no more than what was sent of it; a large request comes at
//! the pace that is asked of it or ends the connection; an idle connection holds no buffer.

use base::{Instant, Probe};
use bytes::{Buf, Bytes, BytesMut};
use env::{Env, Pools, Stream, timeout_at};
use protocol::frame::{self, LENGTH_BYTES};
use thiserror::Error;

use super::Shared;
use super::budget::{Charge, SMALL_BYTES};

/// Bytes taken in while a request is waited for, so that a client's end is noticed.
const WATCH_BYTES: usize = 512;

/// Why no further request comes.
#[derive(Debug, Error)]
pub(crate) enum FrameEnd {
    /// The client has finished.
    #[error("closed by the client")]
    Closed,
    /// It sends a large request more slowly than it may.
    #[error("a large request came too slowly")]
    TooSlow,
    /// It announced a request that is not served.
    #[error(transparent)]
    Length(#[from] frame::FrameLengthError),
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// One request and what it holds of the budget.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    /// Returned when the frame is dropped.
    _charge: Charge,
}

/// The read side of a connection.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    buffer: BytesMut,
    /// Charged for the unfinished request at the buffer's front.
    charge: Charge,
    /// While that request is a large one.
    pace: Option<Progress>,
}

/// What must still come of a large request, and by when.
#[derive(Debug)]
struct Progress {
    bytes: usize,
    until: Instant,
}

impl Frames {
    /// Whether a whole request is in the buffer, and how long it is.
    pub(crate) fn whole<E: Env>(&self, shared: &Shared<E>) -> Result<Option<usize>, FrameEnd> {
        let length = self.announced(shared)?;
        Ok(length.filter(|length| self.buffer.len() >= LENGTH_BYTES + length))
    }

    /// Charges the request of `length` bytes at the buffer's front; false if there is no room.
    pub(crate) fn try_charge<E: Env>(&mut self, shared: &Shared<E>, length: usize) -> bool {
        shared.budget.try_charge(&mut self.charge, length, length)
    }

    /// Charges the request of `length` bytes at the buffer's front, waiting for room.
    pub(crate) async fn charge<E: Env>(&mut self, shared: &Shared<E>, length: usize) {
        shared.budget.charge(&mut self.charge, length, length).await;
    }

    /// Takes the request of `length` bytes, which is whole and charged, from the buffer.
    pub(crate) fn take(&mut self, length: usize) -> Frame {
        self.buffer.advance(LENGTH_BYTES);
        let bytes = self.buffer.split_to(length).freeze();
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        self.pace = None;
        Frame { bytes, _charge: std::mem::take(&mut self.charge) }
    }

    /// Reads more bytes from the socket; how many. Cancel-safe.
    pub(crate) async fn read<E: Env>(
        &mut self,
        shared: &Shared<E>,
        stream: &mut impl Stream,
    ) -> Result<usize, FrameEnd> {
        self.make_room(shared).await?;
        let due = self.due(shared)?;
        let read = stream.read_into(&mut self.buffer);
        let read = match due {
            None => read.await?,
            Some(until) => {
                let Ok(read) = timeout_at(&shared.env, until, read).await else {
                    shared.env.probe().reached("request_too_slow");
                    return Err(FrameEnd::TooSlow);
                };
                read?
            },
        };
        if let Some(pace) = &mut self.pace {
            pace.bytes = pace.bytes.saturating_sub(read);
        }
        if read == 0 { Err(FrameEnd::Closed) } else { Ok(read) }
    }

    /// When more of the request at the buffer's front is too late; none if it has all the time.
    fn due<E: Env>(&mut self, shared: &Shared<E>) -> Result<Option<Instant>, FrameEnd> {
        let large = self.announced(shared)?.is_some_and(|length| length > SMALL_BYTES);
        let Some(pace) = shared.settings.large_request_pace.filter(|_| large) else {
            return Ok(None);
        };
        match &self.pace {
            Some(progress) if progress.bytes > 0 => Ok(Some(progress.until)),
            _ => {
                let until = shared.env.now().after(pace.every);
                self.pace = Some(Progress { bytes: pace.bytes, until });
                Ok(Some(until))
            },
        }
    }

    /// Completes when the client is gone; until then takes in what fits a small buffer, no more.
    /// Cancel-safe.
    pub(crate) async fn gone(&mut self, stream: &mut impl Stream) -> FrameEnd {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(WATCH_BYTES);
        }
        while self.buffer.len() < self.buffer.capacity() {
            match stream.read_into(&mut self.buffer).await {
                Ok(0) => return FrameEnd::Closed,
                Ok(_) => {},
                Err(error) => return error.into(),
            }
        }
        std::future::pending().await
    }

    fn announced<E: Env>(&self, shared: &Shared<E>) -> Result<Option<usize>, FrameEnd> {
        let Some(prefix) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let bytes_max = shared.settings.request_bytes_max;
        frame::length(*prefix, bytes_max).map(Some).map_err(|error| {
            shared.env.probe().reached("request_length_refused");
            error.into()
        })
    }

    /// Room for at least one more byte of the request at the buffer's front.
    async fn make_room<E: Env>(&mut self, shared: &Shared<E>) -> Result<(), FrameEnd> {
        if self.buffer.capacity() == 0 {
            self.buffer = shared.env.pools().take_read();
        }
        let Some(length) = self.announced(shared)? else {
            self.buffer.reserve(LENGTH_BYTES);
            return Ok(());
        };
        let (have, whole) = (self.buffer.len(), LENGTH_BYTES + length);
        if have >= whole || whole <= self.buffer.capacity() {
            return Ok(());
        }
        if have < self.buffer.capacity() && self.buffer.capacity() >= Pools::READ_BYTES {
            return Ok(());
        }
        let room = whole.min(have.saturating_mul(2).max(Pools::READ_BYTES));
        if !shared.budget.try_charge(&mut self.charge, room, length) {
            shared.budget.charge(&mut self.charge, room, length).await;
            // The client was not read meanwhile, so it was not slow.
            self.pace = None;
        }
        // Of exactly what was charged: room for more would also be filled with the front of the
        // next request, which would then hold all of this one's memory, charged or not.
        let mut larger = BytesMut::with_capacity(room);
        larger.extend_from_slice(&self.buffer);
        self.buffer = larger;
        Ok(())
    }
}
