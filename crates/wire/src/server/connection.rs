//! One connection: requests in, replies out, in order.
//!
//! Invariants: a connection on which nothing happens is small: no buffer, no half-done work, only who
//! waits for its next byte; every whole request in the buffer is handled before one write; replies that are
//! ready never wait behind a request that is not; replies that wait for the socket are bounded and
//! hold nothing of the budget that others need, however long their client does not read; a request
//! that cannot be answered ends the connection and no other. One request at a time, as Kafka does it, so effects are in order.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use base::{Instant, Probe};
use bytes::BytesMut;
use env::{Env, Net, Segment, SegmentQueue, Stream, timeout_at};
use protocol::frame::Framed;
use tracing::debug;

use super::frames::{Frame, FrameEnd, Frames};
use super::{FileOf, Shared};
use crate::dispatch::{self, Outcome, Reply};
use crate::handlers::produce::Together;

/// Replies in memory that wait for the end of a run of requests to leave in one write; from here on
/// they leave at once, so that short requests with long answers cannot pile up answers.
const OUT_BYTES_MAX: usize = 256 * 1024;

/// Room for short replies that leave together, to begin with.
const SHORT_REPLIES_BYTES: usize = 1024;

/// What one connection may have read, asked and been answered in one go before the others get their
/// turn, in bytes.
const TURN_BYTES: usize = 512 * 1024;
/// What a request counts for beside the bytes it came in and the bytes of its reply.
const TURN_REQUEST_BYTES: usize = TURN_BYTES / 64;

/// Produce requests that are handled together at most, and how many are expected.
const TOGETHER_MAX: usize = TURN_BYTES / TURN_REQUEST_BYTES;
const TOGETHER_FEW: usize = 16;

/// Serves one connection until either side ends it.
pub(crate) async fn run<E: Env>(
    shared: Arc<Shared<E>>,
    stream: <E::Net as Net>::Stream,
    peer: IpAddr,
) {
    let mut connection = Connection {
        shared,
        stream,
        peer,
        frames: Frames::default(),
        out: Out { queue: SegmentQueue::new(), short: BytesMut::new(), bytes: 0 },
        spent: 0,
        alarm: None,
    };
    if let Err(end) = connection.serve().await {
        debug!(%peer, %end, "connection ended");
    }
}

struct Connection<E: Env> {
    shared: Arc<Shared<E>>,
    stream: <E::Net as Net>::Stream,
    peer: IpAddr,
    frames: Frames,
    out: Out<FileOf<E>>,
    /// Of [`TURN_BYTES`], since the others had their turn.
    spent: usize,
    /// Rings when the connection has been idle for too long, or earlier: it is not set anew whenever
    /// something came.
    alarm: Option<Alarm>,
}

type Alarm = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Rings at `until`.
fn ring_at<E: Env>(env: E, until: Instant) -> Alarm {
    Box::pin(async move { env.sleep_until(until).await })
}

/// Replies that are ready.
struct Out<F> {
    queue: SegmentQueue<F>,
    /// Short replies behind the queue, which leave in one piece.
    short: BytesMut,
    /// Of those in memory.
    bytes: usize,
}

impl<E: Env> Connection<E> {
    async fn serve(&mut self) -> Result<(), FrameEnd> {
        while self.wait_idle().await? {
            // What it takes to handle requests is much more than to wait for them.
            let mut busy: Pin<Box<dyn Future<Output = Result<bool, FrameEnd>> + Send + '_>> =
                Box::pin(self.work());
            if !busy.as_mut().await? {
                break;
            }
        }
        Ok(())
    }

    /// Waits for the first byte of a request; false when the server stops or the client was idle too
    /// long.
    async fn wait_idle(&mut self) -> Result<bool, FrameEnd> {
        let Self { shared, stream, alarm, .. } = self;
        let shared = &**shared;
        if shared.stop.is_stopping() {
            return Ok(false);
        }
        let idle = shared.settings.idle_max;
        let until = idle.map(|idle| shared.env.now().after(idle));
        let mut readable = pin!(stream.readable());
        let wait = poll_fn(move |cx| {
            if let Poll::Ready(readable) = readable.as_mut().poll(cx) {
                return Poll::Ready(readable.map(|()| true));
            }
            let Some(until) = until else { return Poll::Pending };
            loop {
                let ring = alarm.get_or_insert_with(|| ring_at(shared.env.clone(), until));
                if ring.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                *alarm = None;
                if shared.env.now() >= until {
                    shared.env.probe().reached("connection_idle_closed");
                    return Poll::Ready(Ok(false));
                }
            }
        });
        match shared.stop.unless(wait).await {
            Some(readable) => Ok(readable?),
            None => Ok(false),
        }
    }

    /// Handles requests until nothing of a further one is there; false if the connection ends.
    async fn work(&mut self) -> Result<bool, FrameEnd> {
        loop {
            while let Some(length) = self.frames.whole(&self.shared)? {
                if !self.frames.try_charge(&self.shared, length) {
                    // What is answered gives its bytes back before more are waited for.
                    self.shared.env.probe().reached("request_budget_exhausted");
                    self.write().await?;
                    self.frames.charge(&self.shared, length).await;
                }
                // What it holds of the budget is free before its reply leaves, and before it waits for
                // something to happen: how long that takes is up to the client.
                let frame = self.frames.take(length);
                // Where it lies, and not moved there as an `await` of its own would have it.
                let goes_on = if dispatch::is_produce(&frame.bytes)
                    && self.frames.next().is_some_and(dispatch::is_produce)
                {
                    pin!(self.produce_together(frame)).await?
                } else {
                    let outcome = pin!(self.handle(frame)).await?;
                    self.take(outcome)
                };
                if !goes_on || self.shared.stop.is_stopping() {
                    return self.write().await.map(|()| false);
                }
                if self.out.bytes >= OUT_BYTES_MAX {
                    self.shared.env.probe().reached("replies_written_early");
                    self.write().await?;
                }
                // Who has asked for nothing more gives up its turn by waiting.
                if self.frames.whole(&self.shared)?.is_some() {
                    self.end_turn().await;
                }
            }
            self.write().await?;
            match self.wait_for_bytes().await? {
                Came::More => self.end_turn().await,
                Came::Nothing => return Ok(true),
                Came::End => return Ok(false),
            }
        }
    }

    /// Takes what has become of a request; false if the connection ends with it.
    fn take(&mut self, outcome: Outcome<FileOf<E>>) -> bool {
        self.spent += TURN_REQUEST_BYTES;
        match outcome {
            Outcome::Reply(reply) => self.spent += self.out.push(reply),
            Outcome::Silent => {},
            Outcome::Close => return false,
        }
        true
    }

    /// Handles produce requests that have come together: all of them get their places before the
    /// first is waited for, so that what goes to one partition is written with one write (ADR 0029).
    /// They are answered in their order, each as soon as it can be. False if the connection ends.
    async fn produce_together(&mut self, first: Frame) -> Result<bool, FrameEnd> {
        let shared = Arc::clone(&self.shared);
        shared.env.probe().reached("produce_together");
        let mut together = Together::default();
        let mut begun = Vec::with_capacity(TOGETHER_FEW);
        let mut next = Some(first);
        while let Some(frame) = next {
            let request = pin!(dispatch::begin(&shared, self.peer, frame, &mut together)).await;
            let more = begun.len() < TOGETHER_MAX - 1 && request.lets_others_begin();
            begun.push(request);
            next = if more { self.take_next_produce() } else { None };
        }
        together.write();
        for request in begun {
            let outcome = pin!(self.ready(pin!(request.ended()), false)).await?;
            if !self.take(outcome) {
                return Ok(false);
            }
            if self.out.bytes >= OUT_BYTES_MAX {
                self.write().await?;
            }
        }
        Ok(true)
    }

    /// The next request, if it came with the last one, is to be [handled together](Self::produce_together)
    /// with it and finds room at once.
    fn take_next_produce(&mut self) -> Option<Frame> {
        let length = self.frames.next().filter(|next| dispatch::is_produce(next))?.len();
        let room = self.frames.try_charge(&self.shared, length);
        room.then(|| self.frames.take(length))
    }

    /// Lets the others have their turn if this connection had its own: a deep pipeline or a huge
    /// request would otherwise keep the thread, and everybody else waiting, for as long as it is.
    async fn end_turn(&mut self) {
        let probe = self.shared.env.probe();
        if self.spent >= TURN_BYTES || (self.spent > 0 && probe.buggify("short_turns")) {
            probe.reached("connection_turn_ended");
            self.spent = 0;
            self.shared.env.yield_now().await;
        }
    }

    /// Handles one request.
    async fn handle(&mut self, request: Frame) -> Result<Outcome<FileOf<E>>, FrameEnd> {
        let shared = Arc::clone(&self.shared);
        let may_wait = dispatch::may_wait(&request.bytes);
        let handling = pin!(dispatch::handle(&shared, self.peer, request));
        pin!(self.ready(handling, may_wait)).await
    }

    /// Sees a request to its end. While it is not ready, what is ready leaves. Where the client decides
    /// how long that takes, its end is noticed; anything else is done even if the client is gone,
    /// as it was asked for.
    async fn ready(
        &mut self,
        mut handling: Pin<&mut (impl Future<Output = Outcome<FileOf<E>>> + Send)>,
        may_wait: bool,
    ) -> Result<Outcome<FileOf<E>>, FrameEnd> {
        let first = poll_fn(|cx| Poll::Ready(handling.as_mut().poll(cx)));
        if let Poll::Ready(outcome) = first.await {
            return Ok(outcome);
        }
        // In a box, for most are ready: what is moved for each request is small.
        Box::pin(self.handle_slowly(handling, may_wait)).await
    }

    /// Handles a request that is not ready at once.
    async fn handle_slowly(
        &mut self,
        mut handling: Pin<&mut (impl Future<Output = Outcome<FileOf<E>>> + Send)>,
        may_wait: bool,
    ) -> Result<Outcome<FileOf<E>>, FrameEnd> {
        let shared = Arc::clone(&self.shared);
        // Both at once: a client that does not read must not hold up what its request has in hand.
        let mut outcome = None;
        let written = {
            let mut write = pin!(self.write());
            let both = poll_fn(|cx| {
                if outcome.is_none()
                    && let Poll::Ready(ready) = handling.as_mut().poll(cx)
                {
                    outcome = Some(ready);
                }
                write.as_mut().poll(cx)
            });
            both.await
        };
        if let Some(outcome) = outcome {
            return written.map(|()| outcome);
        }
        if !may_wait {
            let outcome = handling.await;
            return written.map(|()| outcome);
        }
        written?;
        let mut gone = pin!(self.frames.gone(&shared, &mut self.stream));
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = handling.as_mut().poll(cx) {
                return Poll::Ready(Ok(outcome));
            }
            gone.as_mut().poll(cx).map(|end| {
                shared.env.probe().reached("client_gone_while_waiting");
                Err(end)
            })
        })
        .await
    }

    async fn write(&mut self) -> Result<(), FrameEnd> {
        self.out.end_short();
        // Who reads slowly is not idle as long as it reads.
        while !self.out.queue.is_empty() {
            let idle = self.shared.settings.idle_max;
            let at = idle.map_or(Instant::NEVER, |idle| self.shared.env.now().after(idle));
            let write = self.stream.write_some(&mut self.out.queue);
            match timeout_at(&self.shared.env, at, write).await {
                Ok(written) => written?,
                Err(env::Elapsed) => {
                    self.shared.env.probe().reached("connection_write_stalled");
                    return Err(FrameEnd::Closed);
                },
            }
        }
        self.out.bytes = 0;
        Ok(())
    }

    /// Whether more bytes came. Waits for them only if a request has begun.
    async fn wait_for_bytes(&mut self) -> Result<Came, FrameEnd> {
        let shared = Arc::clone(&self.shared);
        if shared.stop.is_stopping() {
            return Ok(Came::End);
        }
        let nothing_yet = self.frames.is_empty();
        let mut read = pin!(self.frames.read(&shared, &mut self.stream));
        let at_once = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx)));
        if let Poll::Ready(read) = at_once.await {
            self.spent += read?;
            return Ok(Came::More);
        }
        // Whoever waits has given up its turn.
        self.spent = 0;
        if nothing_yet {
            return Ok(Came::Nothing);
        }
        let idle = shared.settings.idle_max;
        let at = idle.map_or(Instant::NEVER, |idle| shared.env.now().after(idle));
        let read = timeout_at(&shared.env, at, read);
        let Some(read) = shared.stop.unless(read).await else { return Ok(Came::End) };
        match read {
            Ok(read) => read.map(|read| {
                self.spent += read;
                Came::More
            }),
            Err(env::Elapsed) => {
                shared.env.probe().reached("connection_idle_closed");
                Ok(Came::End)
            },
        }
    }
}

/// What a wait for bytes brought.
enum Came {
    /// Bytes.
    More,
    /// Nothing so far, and nothing was left of earlier ones.
    Nothing,
    /// The server stops, or the client was idle too long.
    End,
}

impl<F> Out<F> {
    /// Queues a reply, with its segments in their places; how many of its bytes are in memory.
    fn push(&mut self, mut reply: Reply<F>) -> usize {
        let before = self.bytes;
        let parts = match reply.frame {
            Framed::Short(bytes) => {
                if self.short.capacity() == 0 {
                    self.short.reserve(SHORT_REPLIES_BYTES);
                }
                self.short.extend_from_slice(&bytes);
                self.bytes = self.bytes.saturating_add(bytes.len());
                return bytes.len();
            },
            Framed::Parts(parts) => parts,
        };
        self.end_short();
        for part in parts {
            match part {
                protocol::Part::Bytes(bytes) => self.push_segment(Segment::Bytes(bytes)),
                protocol::Part::External { token, .. } => {
                    let at = usize::try_from(token).unwrap_or(usize::MAX);
                    let Some(segments) = reply.externals.get_mut(at) else {
                        unreachable!("each external part names segments of its own reply");
                    };
                    segments.drain(..).for_each(|segment| self.push_segment(segment));
                },
            }
        }
        self.bytes.saturating_sub(before)
    }

    fn end_short(&mut self) {
        if !self.short.is_empty() {
            self.queue.push_back(Segment::Bytes(std::mem::take(&mut self.short).freeze()));
        }
    }

    fn push_segment(&mut self, segment: Segment<F>) {
        if let Segment::Bytes(bytes) = &segment {
            self.bytes = self.bytes.saturating_add(bytes.len());
        }
        self.queue.push_back(segment);
    }
}
