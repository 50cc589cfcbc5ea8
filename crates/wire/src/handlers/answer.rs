//! Answers that may become long: within a bound, and by turns.
//!
//! Owns: the size of the largest answer. Invariants: an answer that would be longer is not built any
//! further, and the connection is closed, for there is no other way to say so in most answers; who
//! asks for much lets the others have their turn between the elements of the answer.

use base::Probe;
use base::codec::{Message, Wire};
use env::Env;
use protocol::Writer;
use tracing::debug;

use crate::dispatch::{Context, Outcome};
use crate::server::FileOf;

/// The bytes of the longest answer, but for records in it. A hundred thousand partitions in one answer
/// take some 5 MB, and all settings of ten thousand topics some 30; librdkafka takes no answer beyond
/// 100 MB.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Work for one request after which the others get their turn: as much as looking at so many bytes of
/// batches.
const TURN_WORK: usize = 256 * 1024;
/// What an element of an answer counts for, whatever its size.
const ELEMENT_WORK: usize = 1024;
/// What a byte of it counts for.
const BYTE_WORK: usize = 8;

/// An answer is longer than it may be.
#[derive(Debug)]
pub(crate) struct TooLong;

/// How much of an answer there is.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    bytes: usize,
    work: usize,
}

impl Growth {
    /// One more element of about so many bytes.
    ///
    /// # Errors
    /// [`TooLong`] if that is too much.
    pub(crate) async fn by<E: Env>(
        &mut self,
        context: &Context<'_, E>,
        bytes: usize,
    ) -> Result<(), TooLong> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > ANSWER_BYTES_MAX {
            return Err(TooLong);
        }
        let work = bytes.saturating_mul(BYTE_WORK).saturating_add(ELEMENT_WORK);
        self.work = self.work.saturating_add(work);
        if self.work >= TURN_WORK || context.probe().buggify("short_turns") {
            context.probe().reached("answer_turn_ended");
            self.work = 0;
            context.shared.env.yield_now().await;
        }
        Ok(())
    }
}

/// An answer that is nothing but one array, which is encoded element by element: it is in memory once.
pub(crate) struct Answer<'c, 'a, E: Env> {
    context: &'c Context<'a, E>,
    writer: Writer,
    growth: Growth,
    flexible: bool,
}

impl<'c, 'a, E: Env> Answer<'c, 'a, E> {
    /// An answer of the form of `M`, of `count` elements behind the time of throttling, which the
    /// versions from `throttled_since` on have.
    pub(crate) fn of<M: Message>(
        context: &'c Context<'a, E>,
        throttled_since: i16,
        count: usize,
    ) -> Self {
        let flexible = M::is_flexible(context.version());
        let mut writer = context.begin_reply();
        if context.version() >= throttled_since {
            writer.i32(0);
        }
        // It was counted in a request that was shorter.
        if writer.length(Some(count), flexible).is_err() {
            unreachable!("{count} elements were asked for");
        }
        Self { context, writer, growth: Growth::default(), flexible }
    }

    /// One more element.
    ///
    /// # Errors
    /// [`TooLong`] if that is too much, or if it cannot be told in this version.
    pub(crate) async fn push(&mut self, element: &impl Wire) -> Result<(), TooLong> {
        let before = self.writer.len();
        if let Err(error) = element.encode(&mut self.writer, self.context.version()) {
            debug!(%error, "a part of a response cannot be encoded");
            return Err(TooLong);
        }
        self.growth.by(self.context, self.writer.len().saturating_sub(before)).await
    }

    /// What the next element took to be found, beside its bytes.
    pub(crate) fn worked(&mut self, work: usize) {
        self.growth.work = self.growth.work.saturating_add(work);
    }

    /// The whole of it, if `pushed` says that everything is in it.
    pub(crate) fn end(mut self, pushed: Result<(), TooLong>) -> Outcome<FileOf<E>> {
        if let Err(TooLong) = pushed {
            return self.context.too_long();
        }
        if self.flexible {
            self.writer.uvarint(0);
        }
        self.context.finish(protocol::frame::ended(self.writer), Vec::new())
    }
}
