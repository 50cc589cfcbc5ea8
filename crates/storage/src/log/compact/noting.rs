//! The first pass of a cleaning: the keys of the dirty part, and how its transactions ended.
//!
//! Invariants: what cannot be read ends the range before its segment, and no key of that segment is
//! taken; a transaction whose end is not known ends the range before it, and is not looked at again
//! before a marker of its producer comes; keys and transactions together have a bound.

use base::{Offset, Probe, ProducerId};
use env::Env;

use super::{CompactError, Source, Work};
use crate::clean::{Dirty, Endings, OffsetMap, note_keys};
use crate::log::Log;

/// Of the bytes that may be taken, one part of so many is for transactions.
const TRANSACTIONS_SHARE: usize = 8;

/// What the dirty part holds.
pub(super) struct Noted {
    pub(super) keys: OffsetMap,
    /// How its transactions ended.
    pub(super) endings: Endings,
    /// Up to where the keys fitted and everything is decided.
    pub(super) upto: Offset,
    /// Whether it has a transaction, so that `endings` were looked for.
    is_transactional: bool,
    /// Whether a batch was noted.
    any: bool,
}

/// What could not be read, and in which source.
type Stop = (Source, CompactError);

/// Whether there is more to note.
#[derive(PartialEq, Eq)]
enum More {
    Yes,
    No,
}

impl CompactError {
    fn is_of_reading(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Io(_))
    }
}

impl<E: Env> Log<E> {
    /// Bounds cleanings by a transaction, unless a marker has come since there were `marked`.
    fn note_undecided(&self, transaction: (Offset, ProducerId), marked: u64) {
        let mut shared = self.inner.shared.lock();
        let rare = shared.rare();
        if rare.marked == marked {
            self.env().probe().reached("storage_compaction_undecided");
            rare.undecided = Some(transaction);
        }
    }
}

impl<E: Env, G: Fn() -> bool + Sync> Work<'_, E, G> {
    /// Notes the dirty part. What there is of it lies behind its beginning.
    pub(super) async fn note_all(&mut self) -> Result<Noted, CompactError> {
        let from = self.wish.dirty.from;
        let seed = self.log.env().random_u64();
        let noted = loop {
            let for_transactions = self.wish.map_bytes_max / TRANSACTIONS_SHARE;
            let upto = self.wish.dirty.upto;
            let mut noted = Noted {
                keys: OffsetMap::new(seed, self.wish.map_bytes_max - for_transactions),
                endings: Endings::new(upto, for_transactions),
                upto,
                is_transactional: false,
                any: false,
            };
            match self.note_sources(&mut noted).await {
                Ok(()) => break noted,
                // With the keys that were noted so far the part before would be cleaned by records
                // that nobody may be able to read.
                Err((source, error)) => self.end_before(source, error)?,
            }
        };
        let undecided = noted.endings.undecided().filter(|open| open.0 == noted.upto);
        // What could not be read may hold the marker.
        if let Some(open) = undecided.filter(|_| self.unread.is_none()) {
            self.log.note_undecided(open, self.marked);
        }
        if noted.upto > from {
            return Ok(noted);
        }
        let unread = self.unread.take().map(|(_, error)| error);
        Err(unread.unwrap_or(CompactError::Undecided { at: noted.upto }))
    }

    /// Goes on with what lies before `source`, which cannot be read, if that is anything.
    fn end_before(&mut self, source: Source, error: CompactError) -> Result<(), CompactError> {
        let upto = source.name.base;
        if !error.is_of_reading() || upto <= self.wish.dirty.from {
            return Err(error);
        }
        self.wish.dirty.upto = upto;
        let kept = self.sources.partition_point(|source| source.name.base < upto);
        let mut behind = self.sources.split_off(kept);
        behind.append(&mut self.behind);
        self.behind = behind;
        self.tell_unread(upto, upto, error);
        Ok(())
    }

    /// Something at `at` cannot be read. If it is damaged, nothing from `bound` on is compacted any
    /// more; a read that failed may succeed the next time.
    fn tell_unread(&mut self, at: Offset, bound: Offset, error: CompactError) {
        if let CompactError::Damaged { at } = error {
            self.log.note_unreadable(bound.min(at));
        }
        self.unread.get_or_insert((at, error));
    }

    async fn note_sources(&mut self, noted: &mut Noted) -> Result<(), Stop> {
        for at in 0..self.sources.len() {
            let source = self.sources[at];
            if source.end <= self.wish.dirty.from {
                continue;
            }
            if self.note_source(at, noted).await? == More::No {
                break;
            }
        }
        Ok(())
    }

    async fn note_source(&mut self, at: usize, noted: &mut Noted) -> Result<More, Stop> {
        let Dirty { from, upto, .. } = self.wish.dirty;
        let source = self.sources[at];
        let stop = |error| (source, error);
        let newest = self.log.env().probe().mutant("compaction_loses_newest");
        let mut reader = self.read(source).await.map_err(stop)?;
        while let Some(batch) = self.next(&mut reader, source).await.map_err(stop)? {
            let base = batch.header().base_offset;
            if base < from {
                continue;
            }
            if !noted.is_transactional && batch.header().attributes.is_transactional() {
                noted.is_transactional = true;
                noted.endings = self.endings(at, base).await?;
                noted.upto = upto.min(noted.endings.decided());
            }
            if base >= noted.upto {
                return Ok(More::No);
            }
            let late = i64::from(newest);
            let (keys, endings) = (&mut noted.keys, &noted.endings);
            let fits = note_keys(keys, &batch, endings, late, &mut self.opener);
            let fits = fits.map_err(|_| stop(CompactError::Damaged { at: base }))?;
            if !fits {
                self.log.env().probe().reached("storage_compaction_map_full");
                noted.upto = base;
                return if noted.any {
                    Ok(More::No)
                } else {
                    Err(stop(CompactError::MapTooSmall { at: base }))
                };
            }
            noted.any = true;
        }
        Ok(More::Yes)
    }

    /// How the transactions ended whose data is at `from` or behind it, in the source `first` and
    /// those after it. Only a log that has any is read for that, up to its end if need be, and behind
    /// the dirty part no further than it can be read.
    async fn endings(&mut self, first: usize, from: Offset) -> Result<Endings, Stop> {
        self.log.env().probe().reached("storage_compaction_saw_transaction");
        let for_transactions = self.wish.map_bytes_max / TRANSACTIONS_SHARE;
        let upto = self.wish.dirty.upto;
        let mut endings = Endings::new(upto, for_transactions);
        let later = self.sources.iter().skip(first).chain(&self.behind).copied();
        for source in later.collect::<Vec<_>>() {
            if endings.is_over(source.name.base) {
                break;
            }
            let mut at = source.name.base.max(from);
            match self.note_endings(source, &mut endings, &mut at).await {
                Ok(()) => {},
                Err(error) if error.is_of_reading() && source.name.base >= upto => {
                    endings.end_at(at);
                    let bound = endings.undecided().map_or(at, |(open, _)| open.min(at));
                    self.tell_unread(at, bound, error);
                    break;
                },
                Err(error) => return Err((source, error)),
            }
        }
        if endings.is_full() {
            self.log.env().probe().reached("storage_compaction_map_full");
        }
        Ok(endings)
    }

    /// Takes in a source from `at` on, which becomes how far it got.
    async fn note_endings(
        &mut self,
        source: Source,
        endings: &mut Endings,
        at: &mut Offset,
    ) -> Result<(), CompactError> {
        let mut reader = self.read(source).await?;
        while let Some(batch) = self.next(&mut reader, source).await? {
            let base = batch.header().base_offset;
            if base >= *at {
                endings.note(&batch).map_err(|_| CompactError::Damaged { at: base })?;
                *at = batch.header().next_offset();
            }
        }
        Ok(())
    }
}
