//! The last batches of a log in memory, so that readers at the end touch no file.
//!
//! Invariants: the batches are contiguous and end where the log ends, or there are none; bytes are
//! counted against one budget for the whole directory and given back when dropped; nothing is kept
//! where nobody has read at the end lately.

use env::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::collections::VecDeque;
use std::sync::Arc;

use base::{Instant, Offset, Probe};
use bytes::Bytes;
use env::Segment;
use smallvec::SmallVec;

use crate::config::TAIL_BYTES_PER_LOG;
use crate::log::ReadSlice;

/// Who has read at a log's end within this time is expected again.
const WANTED_SECONDS: u64 = 10;

/// How many bytes all tails of a directory may hold.
#[derive(Clone, Debug)]
pub(crate) struct TailBudget {
    max: usize,
    used: Arc<AtomicUsize>,
    refused: Arc<AtomicBool>,
    /// Planted bug: taking is a look and then a write.
    by_halves: bool,
}

impl TailBudget {
    pub(crate) fn new<P: Probe>(max: usize, probe: &P) -> Self {
        let by_halves = probe.mutant("tail_budget_by_halves");
        Self { max, used: Arc::default(), refused: Arc::default(), by_halves }
    }

    /// Bytes that all tails hold now.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let used = if self.by_halves {
            let used = self.used();
            self.used.store(used.saturating_add(bytes), Ordering::Relaxed);
            used
        } else {
            self.used.fetch_add(bytes, Ordering::Relaxed)
        };
        if used.saturating_add(bytes) > self.max {
            self.give(bytes);
            self.refused.store(true, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Whether somebody was refused since the last call.
    pub(crate) fn take_refused(&self) -> bool {
        self.refused.swap(false, Ordering::Relaxed)
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What a tail may hold.
#[derive(Clone, Copy)]
pub(crate) struct Allowance<'a> {
    pub(crate) budget: &'a TailBudget,
    /// Next to nothing, to meet the tail's beginning more often.
    pub(crate) tiny: bool,
    /// Planted bug: batches that are not kept leave those before them where they are.
    pub(crate) gaps: bool,
}

struct TailBatch {
    base: Offset,
    last: Offset,
    bytes: usize,
    bufs: SmallVec<[Bytes; 2]>,
}

/// The last batches of one log. Nothing is kept for a log that nobody writes to and reads.
#[derive(Default)]
pub(crate) struct Tail {
    kept: Option<Box<Kept>>,
}

struct Kept {
    budget: TailBudget,
    bytes_max: usize,
    batches: VecDeque<TailBatch>,
    bytes: usize,
    used_at: Instant,
    /// When somebody read at the end.
    wanted_at: Option<Instant>,
}

impl Tail {
    /// Takes a batch, of these first and last offsets, that was just written at the log's end;
    /// without its bytes if it is not to be kept.
    pub(crate) fn push(
        &mut self,
        offsets: (Offset, Offset),
        bufs: Option<SmallVec<[Bytes; 2]>>,
        now: Instant,
        of: Allowance<'_>,
    ) {
        let kept = self.kept(of);
        kept.used_at = now;
        match bufs {
            Some(bufs) => kept.push(offsets, bufs),
            // Planted: what was kept before is believed to reach to the log's end.
            None if of.gaps => {},
            None => self.clear(),
        }
    }

    /// Somebody read at the log's end.
    pub(crate) fn want(&mut self, now: Instant, of: Allowance<'_>) {
        self.kept(of).wanted_at = Some(now);
    }

    /// Whether somebody has read at the log's end lately.
    pub(crate) fn is_wanted(&self, now: Instant) -> bool {
        let wanted_at = self.kept.as_ref().and_then(|kept| kept.wanted_at);
        wanted_at.is_some_and(|at| now.since(at).as_secs() < WANTED_SECONDS)
    }

    fn kept(&mut self, of: Allowance<'_>) -> &mut Kept {
        self.kept.get_or_insert_with(|| {
            let bytes_max = if of.tiny { 256 } else { TAIL_BYTES_PER_LOG };
            let (budget, batches) = (of.budget.clone(), VecDeque::new());
            let used_at = Instant(0);
            Box::new(Kept { budget, bytes_max, batches, bytes: 0, used_at, wanted_at: None })
        })
    }

    /// Gives back the batches that end before `offset`: on disk they are not what they were.
    pub(crate) fn forget_before(&mut self, offset: Offset) {
        if let Some(kept) = &mut self.kept {
            while kept.batches.front().is_some_and(|batch| batch.last < offset) && kept.pop() {}
        }
    }

    /// Gives everything back.
    pub(crate) fn clear(&mut self) {
        if let Some(kept) = &mut self.kept {
            while kept.pop() {}
        }
    }

    /// When something was last added.
    pub(crate) fn used_at(&self) -> Instant {
        self.kept.as_ref().map_or(Instant(0), |kept| kept.used_at)
    }

    /// Whole batches from the one that holds `from` on, below `upto` and within `max_bytes` (but
    /// the first, if `min_one`). `None` if memory does not reach back to `from`.
    pub(crate) fn read<F>(
        &self,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
        min_one: bool,
    ) -> Option<ReadSlice<F>> {
        let batches = &self.kept.as_ref()?.batches;
        if batches.front()?.base > from {
            return None;
        }
        let at = batches.partition_point(|batch| batch.last < from);
        let mut slice = ReadSlice::default();
        for batch in batches.range(at..) {
            let first = slice.first_base.is_none();
            let fits = slice.bytes + batch.bytes <= max_bytes || (first && min_one);
            if batch.last >= upto || !fits {
                break;
            }
            slice.first_base.get_or_insert(batch.base);
            slice.next = Some(Offset(batch.last.0.saturating_add(1)));
            slice.bytes += batch.bytes;
            slice.segments.extend(batch.bufs.iter().cloned().map(Segment::Bytes));
        }
        Some(slice)
    }
}

impl Kept {
    fn push(&mut self, (base, last): (Offset, Offset), bufs: SmallVec<[Bytes; 2]>) {
        let bytes: usize = bufs.iter().map(Bytes::len).sum();
        while self.bytes.saturating_add(bytes) > self.bytes_max && self.pop() {}
        while bytes <= self.bytes_max && !self.budget.take(bytes) {
            if !self.pop() {
                return;
            }
        }
        if bytes > self.bytes_max {
            return;
        }
        self.bytes += bytes;
        self.batches.push_back(TailBatch { base, last, bytes, bufs });
    }

    fn pop(&mut self) -> bool {
        let Some(batch) = self.batches.pop_front() else {
            return false;
        };
        self.bytes -= batch.bytes;
        self.budget.give(batch.bytes);
        true
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.clear();
    }
}
