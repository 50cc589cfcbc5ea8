//! One connection: requests in, replies out, in order.
//!
//! Invariants: every whole request in the buffer is handled before one write; replies that are
//! ready never wait behind a request that is not; a request that cannot be answered ends the
//! connection and no other. One request at a time, as Kafka does it, so effects are in order.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use base::Probe;
use env::{Env, Net, Segment, SegmentQueue, Stream, timeout_at};
use tracing::debug;

use super::budget::Charge;
use super::frames::{FrameEnd, Frames};
use super::{FileOf, Shared};
use crate::dispatch::{self, Outcome, Reply};

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
        out: Out { queue: SegmentQueue::new(), charges: Vec::new() },
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
}

/// Replies that are ready, and what their requests hold of the budget.
struct Out<F> {
    queue: SegmentQueue<F>,
    charges: Vec<Charge>,
}

impl<E: Env> Connection<E> {
    async fn serve(&mut self) -> Result<(), FrameEnd> {
        loop {
            while let Some(frame) = self.frames.next(&self.shared).await? {
                let outcome = self.handle(&frame.bytes).await?;
                self.out.charges.push(frame.charge);
                match outcome {
                    Outcome::Reply(reply) => push(&mut self.out.queue, reply),
                    Outcome::Silent => {},
                    Outcome::Close => {
                        self.shared.env.probe().reached("connection_closed_by_refusal");
                        self.write().await?;
                        return Ok(());
                    },
                }
                if self.shared.stop.is_stopping() {
                    self.write().await?;
                    return Ok(());
                }
            }
            self.write().await?;
            if !self.wait_for_bytes().await? {
                return Ok(());
            }
        }
    }

    /// Handles one request; while it is not ready, what is ready leaves.
    async fn handle(&mut self, request: &bytes::Bytes) -> Result<Outcome<FileOf<E>>, FrameEnd> {
        let mut handling = pin!(dispatch::handle(&self.shared, self.peer, request));
        let first = std::future::poll_fn(|cx| std::task::Poll::Ready(handling.as_mut().poll(cx)));
        if let std::task::Poll::Ready(outcome) = first.await {
            return Ok(outcome);
        }
        if !self.out.queue.is_empty() {
            self.stream.write_segments(&mut self.out.queue).await?;
            self.out.charges.clear();
        }
        Ok(handling.await)
    }

    async fn write(&mut self) -> Result<(), FrameEnd> {
        if !self.out.queue.is_empty() {
            let idle = self.shared.settings.idle_max;
            let at = idle.map_or(base::Instant::NEVER, |idle| self.shared.env.now().after(idle));
            let write = self.stream.write_segments(&mut self.out.queue);
            match timeout_at(&self.shared.env, at, write).await {
                Ok(written) => written?,
                Err(env::Elapsed) => {
                    self.shared.env.probe().reached("connection_write_stalled");
                    return Err(FrameEnd::Closed);
                },
            }
        }
        self.out.charges.clear();
        Ok(())
    }

    /// Whether more bytes came; false when the server stops or the client was idle too long.
    async fn wait_for_bytes(&mut self) -> Result<bool, FrameEnd> {
        let shared = Arc::clone(&self.shared);
        let idle = shared.settings.idle_max;
        let at = idle.map_or(base::Instant::NEVER, |idle| shared.env.now().after(idle));
        let read = timeout_at(&shared.env, at, self.frames.read(&shared, &mut self.stream));
        let Some(read) = shared.stop.unless(read).await else { return Ok(false) };
        match read {
            Ok(read) => read.map(|()| true),
            Err(env::Elapsed) => {
                shared.env.probe().reached("connection_idle_closed");
                Ok(false)
            },
        }
    }
}

/// Queues a reply, with its segments in their places.
fn push<F>(queue: &mut SegmentQueue<F>, mut reply: Reply<F>) {
    for part in reply.parts {
        match part {
            protocol::Part::Bytes(bytes) => queue.push_back(Segment::Bytes(bytes)),
            protocol::Part::External { token, .. } => {
                let at = usize::try_from(token).unwrap_or(usize::MAX);
                let Some(segments) = reply.externals.get_mut(at) else {
                    unreachable!("each external part names segments of its own reply");
                };
                queue.extend(segments.drain(..));
            },
        }
    }
}
