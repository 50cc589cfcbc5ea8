//! Bytes from a socket, cut into requests.
//!
//! Owns: one connection's read buffer. Invariants: a length is judged before anything is allocated
//! for it; bytes are charged to the budget before room is made for them, as they arrive, so that
//! an announced but unsent request costs no more than what was sent of it, or, of a client whose
//! last request was as large, no more than what is plentiful; the first buffer of a request is charged
//! once the rest is waited for; a large request, and any that has begun while memory is scarce, comes at the
//! pace that is asked of it or ends the connection; who waits for the first bytes of a request holds no buffer;
//! requests are slices of what was read, and only what a read brought of the next one is moved.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use base::{Instant, Probe};
use bytes::{Buf, Bytes, BytesMut};
use env::{Buffer, Env, Pools, Stream, timeout_at};
use protocol::frame::{self, LENGTH_BYTES};
use thiserror::Error;

use super::Shared;
use super::budget::{Charge, SMALL_BYTES};

/// Bytes taken in while a request is waited for, so that a client's end is noticed; a beginning of
/// a request that is as short needs no buffer of the pool while the rest is waited for.
const LITTLE_BYTES: usize = 512;

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
    /// Whole requests, each behind its length.
    ready: Bytes,
    /// Charged for the request at the front of these.
    charge: Charge,
    /// What came behind them, in a buffer of the pool or, if it is little, without one; never both.
    begun: Option<Buffer>,
    little: BytesMut,
    /// Charged for the unfinished request that has begun.
    begun_charge: Charge,
    /// While that request is a large one.
    pace: Option<Progress>,
    /// Bytes of the last request with its length; 0 before the first one.
    last: usize,
}

/// What must still come of a large request, and by when.
#[derive(Debug)]
struct Progress {
    bytes: usize,
    until: Instant,
}

impl Frames {
    /// Whether a whole request is there, and how long it is.
    pub(crate) fn whole<E: Env>(&mut self, shared: &Shared<E>) -> Result<Option<usize>, FrameEnd> {
        if self.ready.is_empty() {
            self.cut(shared);
        }
        if let Some(prefix) = self.ready.first_chunk::<LENGTH_BYTES>() {
            return judged(shared, *prefix).map(Some);
        }
        self.announced(shared).map(|_| None)
    }

    /// Charges the request of `length` bytes at the front; false if there is no room.
    pub(crate) fn try_charge<E: Env>(&mut self, shared: &Shared<E>, length: usize) -> bool {
        shared.budget.try_charge(&mut self.charge, length, length)
    }

    /// Charges the request of `length` bytes at the front, waiting for room.
    pub(crate) async fn charge<E: Env>(&mut self, shared: &Shared<E>, length: usize) {
        shared.budget.charge(&mut self.charge, length, length).await;
    }

    /// Takes the request of `length` bytes, which is whole and charged.
    pub(crate) fn take(&mut self, length: usize) -> Frame {
        self.ready.advance(LENGTH_BYTES);
        let bytes = self.ready.split_to(length);
        self.last = LENGTH_BYTES + length;
        Frame { bytes, _charge: std::mem::take(&mut self.charge) }
    }

    /// The next whole request that came with the last one.
    pub(crate) fn next(&self) -> Option<&[u8]> {
        let length = u32::from_be_bytes(*self.ready.first_chunk()?);
        let end = LENGTH_BYTES.checked_add(usize::try_from(length).ok()?)?;
        self.ready.get(LENGTH_BYTES..end)
    }

    /// Whether nothing has come of a further request.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.unfinished().is_empty()
    }

    /// What has come behind the whole requests.
    fn unfinished(&self) -> &[u8] {
        self.begun.as_deref().unwrap_or(&self.little)
    }

    /// Makes whole requests of what has come.
    fn cut<E: Env>(&mut self, shared: &Shared<E>) {
        let bytes = self.unfinished();
        let mut end = 0;
        while let Some(prefix) = bytes.get(end..).and_then(|rest| rest.first_chunk())
            && let Ok(length) = frame::length(*prefix, shared.settings.request_bytes_max)
            && bytes.len() - end >= LENGTH_BYTES + length
        {
            end += LENGTH_BYTES + length;
        }
        if end == 0 {
            return;
        }
        self.charge = std::mem::take(&mut self.begun_charge);
        self.pace = None;
        let Some(buffer) = self.begun.take() else {
            self.ready = self.little.split_to(end).freeze();
            if self.little.is_empty() {
                self.little = BytesMut::new();
            }
            return;
        };
        let rest = buffer.get(end..).unwrap_or_default();
        if rest.len() > LITTLE_BYTES {
            let mut next = shared.env.pools().take(rest.len());
            next.bytes_mut().extend_from_slice(rest);
            self.begun = Some(next);
        } else if !rest.is_empty() {
            self.little = BytesMut::from(rest);
        }
        let mut ready = buffer.freeze();
        ready.truncate(end);
        self.ready = ready;
    }

    /// Reads more bytes from the socket, once no whole request is left; how many. Cancel-safe.
    pub(crate) async fn read<E: Env>(
        &mut self,
        shared: &Shared<E>,
        stream: &mut impl Stream,
    ) -> Result<usize, FrameEnd> {
        self.make_room(shared).await?;
        let scarce = !self.charge_begun(shared)?;
        let due = self.due(shared, scarce)?;
        let read = self.read_some(shared, stream);
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

    /// Reads into the buffer there is; if there is none, takes one once something has come.
    async fn read_some<E: Env>(
        &mut self,
        shared: &Shared<E>,
        stream: &mut impl Stream,
    ) -> Result<usize, FrameEnd> {
        let announced = self.announced(shared)?;
        if let Some(buffer) = &mut self.begun {
            let upto = match announced.filter(|length| is_large(*length)) {
                Some(length) => LENGTH_BYTES + length,
                None => aligned(buffer.capacity(), self.last),
            };
            let most = upto.checked_sub(buffer.len()).filter(|most| *most > 0);
            let read = stream.read_at_most(buffer.bytes_mut(), most.unwrap_or(usize::MAX));
            return Ok(read.await?);
        }
        loop {
            stream.readable().await?;
            let (mut buffer, most) = self.first_buffer(shared);
            buffer.bytes_mut().extend_from_slice(&self.little);
            let read = {
                let most = most.saturating_sub(self.little.len());
                let mut read = pin!(stream.read_at_most(buffer.bytes_mut(), most));
                poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await
            };
            if let Poll::Ready(read) = read {
                let read = read?;
                self.little = BytesMut::new();
                self.begun = Some(buffer);
                return Ok(read);
            }
            // Nothing had come after all, or others have to have their turn first.
            self.begun_charge = Charge::default();
            drop(buffer);
            shared.env.yield_now().await;
        }
    }

    /// A buffer for the beginning of a request, and how much to read into it. Requests of the same
    /// size as the last one are expected: bytes behind the last one that fits stay in the socket, as
    /// they would have to be moved, and a large one lies in its buffer from its first byte on.
    fn first_buffer<E: Env>(&mut self, shared: &Shared<E>) -> (Buffer, usize) {
        let length = self.last.saturating_sub(LENGTH_BYTES);
        let charge = &mut self.begun_charge;
        if is_large(length) && shared.budget.try_charge_plenty(charge, self.last, length) {
            return (shared.env.pools().take(self.last), self.last);
        }
        // Of middling ones several fit into a larger buffer. It is charged as a large request, as
        // which it may have to grow: a charge is of one share.
        let few = 2 * Pools::READ_BYTES;
        if length > Pools::READ_BYTES / 4 && shared.budget.try_charge_plenty(charge, few, few) {
            return (shared.env.pools().take(few), aligned(few, self.last));
        }
        (shared.env.pools().take(1), aligned(Pools::READ_BYTES, self.last))
    }

    /// Charges the buffer that an unfinished request of no large size is in, if there is plenty: what is
    /// scarce is for whole requests. False if it is not charged.
    fn charge_begun<E: Env>(&mut self, shared: &Shared<E>) -> Result<bool, FrameEnd> {
        let Some(length) = self.announced(shared)?.filter(|length| !is_large(*length)) else {
            return Ok(true);
        };
        let Some(room) = self.begun.as_ref().map(Buffer::capacity) else { return Ok(true) };
        let charged = shared.budget.try_charge_plenty(&mut self.begun_charge, room, length);
        if !charged {
            shared.env.probe().reached("request_begun_while_scarce");
        }
        Ok(charged)
    }

    /// When more of the unfinished request is too late; none if it has all the time: a small one has,
    /// unless it holds memory that is `scarce`.
    fn due<E: Env>(
        &mut self,
        shared: &Shared<E>,
        scarce: bool,
    ) -> Result<Option<Instant>, FrameEnd> {
        let large = self.announced(shared)?.is_some_and(|length| length > SMALL_BYTES);
        let Some(pace) = shared.settings.large_request_pace.filter(|_| large || scarce) else {
            // The time that it was given while memory was scarce is over.
            self.pace = None;
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

    /// Completes when the client is gone; until then takes in what fits into the buffer there is, or
    /// into a small one, and no more. Cancel-safe.
    pub(crate) async fn gone<E: Env>(
        &mut self,
        shared: &Shared<E>,
        stream: &mut impl Stream,
    ) -> FrameEnd {
        if let Err(end) = self.charge_begun(shared) {
            return end;
        }
        if self.begun.is_none() {
            self.little.reserve(LITTLE_BYTES.saturating_sub(self.little.len()));
        }
        let buffer = match &mut self.begun {
            Some(buffer) => buffer.bytes_mut(),
            None => &mut self.little,
        };
        while buffer.len() < buffer.capacity() {
            match stream.read_into(buffer).await {
                Ok(0) => return FrameEnd::Closed,
                Ok(_) => {},
                Err(error) => return error.into(),
            }
        }
        std::future::pending().await
    }

    /// How long the unfinished request says it is.
    fn announced<E: Env>(&self, shared: &Shared<E>) -> Result<Option<usize>, FrameEnd> {
        let Some(prefix) = self.unfinished().first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        judged(shared, *prefix).map(Some)
    }

    /// Room for at least one more byte of the unfinished request, if it is a large one or has a
    /// buffer. What is little needs none before more of it has come.
    async fn make_room<E: Env>(&mut self, shared: &Shared<E>) -> Result<(), FrameEnd> {
        let announced = self.announced(shared)?;
        let have = self.unfinished().len();
        let room_now = self.begun.as_ref().map_or(0, Buffer::capacity);
        let Some(length) = announced.filter(|length| is_large(*length)) else {
            if have <= LITTLE_BYTES
                && let Some(buffer) = self.begun.take()
            {
                self.little = BytesMut::from(&*buffer);
                self.begun_charge = Charge::default();
            }
            return Ok(());
        };
        let whole = LENGTH_BYTES + length;
        if have >= whole || whole <= room_now {
            return Ok(());
        }
        let expected = whole <= self.last
            && shared.budget.try_charge_plenty(&mut self.begun_charge, whole, length);
        if have < room_now && !expected {
            return Ok(());
        }
        let mut room = whole;
        if !expected {
            room = whole.min(have.saturating_mul(2).max(Pools::READ_BYTES));
            if !shared.budget.try_charge(&mut self.begun_charge, room, length) {
                shared.budget.charge(&mut self.begun_charge, room, length).await;
                // The client was not read meanwhile, so it was not slow.
                self.pace = None;
            }
        }
        let mut larger = shared.env.pools().take(room);
        larger.bytes_mut().extend_from_slice(self.unfinished());
        self.little = BytesMut::new();
        self.begun = Some(larger);
        Ok(())
    }
}

/// So many bytes of a room that requests of `each` bytes fill them.
fn aligned(room: usize, each: usize) -> usize {
    match room.checked_div(each) {
        None | Some(0) => room,
        Some(count) => count.saturating_mul(each),
    }
}

/// Whether a request has a buffer of its own.
fn is_large(length: usize) -> bool {
    length + LENGTH_BYTES > Pools::READ_BYTES
}

/// The length at the front of a request, if it may be that long.
fn judged<E: Env>(shared: &Shared<E>, prefix: [u8; LENGTH_BYTES]) -> Result<usize, FrameEnd> {
    let length = frame::length(prefix, shared.settings.request_bytes_max);
    length.map_err(|error| {
        shared.env.probe().reached("request_length_refused");
        error.into()
    })
}
