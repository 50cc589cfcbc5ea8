//! Walking the batches of a segment file, reading as little as possible.
//!
//! Invariants: never reads at or past `end`, and never more at once than one batch or one window; a
//! sector that cannot be read fails who needs it, and nobody before it.

use base::Offset;
use bytes::Bytes;
use env::File;
use records::BatchHeader;
use records::header::LENGTH_AT;
use std::io;

/// What a batch's length does not count.
const LENGTH_ENDS: u64 = 12;
/// Bytes read at once.
const WINDOW: usize = 64 * 1024;

/// Why a walk stopped.
#[derive(Debug)]
pub(crate) enum WalkError {
    /// The bytes there are no batch that could follow.
    NotABatch,
    /// The file ends within the batch.
    Truncated,
    Io(io::Error),
}

impl From<io::Error> for WalkError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A batch found by its header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located {
    pub(crate) header: BatchHeader,
    pub(crate) position: u64,
}

impl Located {
    pub(crate) fn len(&self) -> u64 {
        u64::try_from(self.header.len_bytes()).unwrap_or(u64::MAX)
    }

    pub(crate) fn end_position(&self) -> u64 {
        self.position.saturating_add(self.len())
    }
}

/// Goes through the batches of a file from one position to another.
pub(crate) struct Walk<F> {
    file: F,
    position: u64,
    end: u64,
    next: Offset,
    window_at: u64,
    window: Bytes,
    read_bytes: u64,
}

impl<F: File> Walk<F> {
    /// From `position`, where a batch starts whose offset is at least `next`, up to `end`.
    pub(crate) fn new(file: F, position: u64, end: u64, next: Offset) -> Self {
        let (window_at, window) = (position, Bytes::new());
        Self { file, position, end, next, window_at, window, read_bytes: 0 }
    }

    /// Goes on at another place, where a batch starts whose offset is at least `next`.
    pub(crate) fn go_on_at(&mut self, position: u64, next: Offset) {
        (self.position, self.next) = (position, next);
    }

    /// Where the next batch starts.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The smallest offset the next batch may have.
    pub(crate) fn next_offset(&self) -> Offset {
        self.next
    }

    /// Bytes read so far.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// The next batch's header; `None` at the end.
    pub(crate) async fn header(&mut self) -> Result<Option<Located>, WalkError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        let head = self.bytes(position, BatchHeader::LEN).await?;
        let header = BatchHeader::parse(&head).map_err(|_| WalkError::NotABatch)?;
        let follows = header.base_offset >= self.next
            && header.last_offset_delta >= 0
            && header.last_offset().0 < i64::MAX;
        if !follows {
            return Err(WalkError::NotABatch);
        }
        let located = Located { header, position };
        if located.end_position() > self.end {
            return Err(WalkError::Truncated);
        }
        self.position = located.end_position();
        self.next = header.next_offset();
        Ok(Some(located))
    }

    /// Where a batch at `at` ends by its length alone, whatever else its header says; `at` itself if
    /// that is no length.
    pub(crate) async fn end_by_length(&mut self, at: u64) -> Result<u64, WalkError> {
        let head = match self.bytes(at, LENGTH_AT + 4).await {
            Ok(head) => head,
            Err(error @ WalkError::Io(_)) => return Err(error),
            Err(WalkError::NotABatch | WalkError::Truncated) => return Ok(at),
        };
        let length = head.last_chunk().map_or(0, |length| i32::from_be_bytes(*length));
        let len = u64::try_from(length).unwrap_or(0);
        let behind = at.saturating_add(len).saturating_add(LENGTH_ENDS);
        Ok(if len == 0 { at } else { behind })
    }

    /// The bytes of a batch this walk has found.
    pub(crate) async fn body(&mut self, batch: &Located) -> Result<Bytes, WalkError> {
        self.bytes(batch.position, batch.header.len_bytes()).await
    }

    async fn bytes(&mut self, at: u64, len: usize) -> Result<Bytes, WalkError> {
        if let Some(found) = self.in_window(at, len) {
            return Ok(found);
        }
        let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        if len > left {
            return Err(WalkError::Truncated);
        }
        let window = len.max(WINDOW).min(left);
        self.window = match self.file.read_at(at, window).await {
            // What cannot be read may lie behind what is wanted.
            Err(_) if window > len => self.file.read_at(at, len).await?,
            read => read?,
        };
        self.window_at = at;
        self.read_bytes += u64::try_from(self.window.len()).unwrap_or(0);
        self.in_window(at, len).ok_or(WalkError::Truncated)
    }

    /// A range of the file, if it has just been read.
    pub(crate) fn in_window(&self, at: u64, len: usize) -> Option<Bytes> {
        let from = usize::try_from(at.checked_sub(self.window_at)?).ok()?;
        let to = from.checked_add(len)?;
        (to <= self.window.len()).then(|| self.window.slice(from..to))
    }
}
