//! Bytes from a socket, cut into requests.
//!
//! Owns: one connection's read buffer. Invariants: a length is judged before anything is allocated
//! for it; bytes are charged to the budget before room is made for them, as they arrive, so that
//! an announced but unsent request costs nothing; an idle connection holds no buffer.

use base::Probe;
use bytes::{Buf, Bytes, BytesMut};
use env::{Env, Pools, Stream};
use protocol::frame::{self, LENGTH_BYTES};
use thiserror::Error;

use super::Shared;
use super::budget::Charge;

/// A large request's buffer grows in steps of at most this many bytes beyond what arrived.
const STEP_BYTES: usize = 1024 * 1024;

/// Why no further request comes.
#[derive(Debug, Error)]
pub(crate) enum FrameEnd {
    /// The client has finished.
    #[error("closed by the client")]
    Closed,
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
    pub(crate) charge: Charge,
}

/// The read side of a connection.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    buffer: BytesMut,
    /// Charged for the unfinished request at the buffer's front.
    charge: Charge,
}

impl Frames {
    /// Whether part of a request is here.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next whole request in the buffer, if there is one.
    pub(crate) async fn next<E: Env>(
        &mut self,
        shared: &Shared<E>,
    ) -> Result<Option<Frame>, FrameEnd> {
        let Some(length) = self.announced(shared)? else { return Ok(None) };
        let Some(rest) = self.buffer.len().checked_sub(LENGTH_BYTES + length) else {
            return Ok(None);
        };
        shared.budget.charge(&mut self.charge, length, length).await;
        self.buffer.advance(LENGTH_BYTES);
        let bytes = self.buffer.split_to(length).freeze();
        if rest == 0 {
            self.buffer = BytesMut::new();
        }
        Ok(Some(Frame { bytes, charge: std::mem::take(&mut self.charge) }))
    }

    /// Reads more bytes from the socket. Cancel-safe.
    pub(crate) async fn read<E: Env>(
        &mut self,
        shared: &Shared<E>,
        stream: &mut impl Stream,
    ) -> Result<(), FrameEnd> {
        self.make_room(shared).await?;
        match stream.read_into(&mut self.buffer).await? {
            0 => Err(FrameEnd::Closed),
            _ => Ok(()),
        }
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
        let room = whole.min(have.saturating_mul(2).clamp(Pools::READ_BYTES, have + STEP_BYTES));
        shared.budget.charge(&mut self.charge, room, length).await;
        self.buffer.reserve(room - have);
        Ok(())
    }
}
