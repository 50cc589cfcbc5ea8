//! Opening a log after a crash: the segments that the journal names, held against what is there.
//!
//! Order: closed segments (durable as a whole, so only measured), batches that the journal holds
//! (written where they belong), the open segment (scanned beyond its recovery point), one commit of
//! all findings, and only then what would hide a finding.

use base::{Offset, Probe};
use env::{Access, Disk, Env, File, IoBufs};

use super::recover::{FaultyRange, Listing, Loaded, Opening};
use super::reserve::give_back_reserved;
use super::scan::{Holes, Place, from_envelopes};
use super::{FileOf, SegmentState, Upkeep};
use crate::config::STATE_BYTES;
use crate::envelope::Envelopes;
use crate::epochs::EpochStart;
use crate::error::OpenError;
use crate::journal::{Change, JournalBatch, KnownSegment, Mark, SegmentSummary};
use crate::names::{PRODUCERS, SegmentName};
use crate::producers::{ProducerSnapshot, ProducerStates, encode_snapshot};
use crate::replace::{read_whole, replace};

/// Most damaged ranges that are noted together, so that the record of them fits into a group.
const MARKS_TOGETHER: usize = 256;

/// What was found out and is not in the journal yet.
#[derive(Default)]
struct Findings {
    faulty: Vec<FaultyRange>,
    uncertain: bool,
    /// The open segment ends here for good.
    closed: Option<SegmentSummary>,
    /// The open segment holds nothing; its file goes.
    emptied: Option<SegmentName>,
    /// The envelopes of the open segment are not what its runs are.
    envelopes: bool,
}

/// The producers of a log.
struct Producers {
    states: ProducerStates,
    /// Up to where the file told of them.
    upto: Offset,
    is_of_the_end: bool,
    /// The file tells of more than the log has.
    is_ahead: bool,
}

/// A segment file that the journal does not name.
struct Stray {
    file: String,
    is_empty: bool,
    tells_of_loss: bool,
}

impl Findings {
    /// The open segment, if it ends for good and at or below the log's start: the journal lets go of
    /// such a one (simulator seeds 520802 and 6003422).
    fn below(&self, start: Offset) -> Option<&SegmentSummary> {
        self.closed.as_ref().filter(|closed| closed.end <= start)
    }

    fn faulty(&mut self, from: Offset, to: Offset) {
        if from < to {
            self.faulty.push(FaultyRange { from, to });
        }
    }

    /// Damage that is not among what is `known`.
    fn new_damage(&self, known: &[FaultyRange]) -> Vec<FaultyRange> {
        self.faulty.iter().filter(|range| !known.contains(range)).copied().collect()
    }
}

impl<E: Env> Opening<E> {
    pub(super) async fn load_unclean(
        &mut self,
        listing: &Listing,
    ) -> Result<Loaded<FileOf<E>>, OpenError> {
        self.probe().reached("storage_log_recovered");
        let known = self.known.clone();
        let mut findings = Findings::default();
        let mut segments = Vec::with_capacity(known.segments.len());
        for (at, segment) in known.segments.iter().enumerate() {
            let next = known.segments.get(at + 1).map(|next| next.name.base);
            let there = listing.logs.contains(&segment.name);
            let loaded = match (segment.closed, next) {
                (Some(summary), _) => self.closed(&summary, there, &mut findings).await?,
                (None, Some(next)) => self.outrun(segment, next, there, &mut findings).await?,
                (None, None) if there => {
                    self.open_one(segment.name, self.known_durable(), &mut findings).await?
                },
                (None, None) => self.lost_one(segment.name, &mut findings).await?,
            };
            segments.push(loaded);
        }
        let end = segments.last().map_or(known.start, |segment| segment.end).max(known.start);
        let strays = self.strays(listing).await?;
        findings.uncertain |= strays.iter().any(|stray| stray.tells_of_loss);
        if findings.below(known.start).is_some_and(|below| below.bytes > 0) {
            // Its bytes tell of producers, and it goes.
            let of_all = self.producers_at(end, &segments).await?;
            self.put_producers(end, of_all.states).await?;
        }
        self.settle(&findings, &mut segments, end).await?;
        self.put_strays_away(strays, self.misses_a_segment(listing)).await?;
        let mut upkeep = Upkeep { has_folder: true, ..Upkeep::default() };
        if let Some(open) = segments.last_mut().filter(|segment| segment.open) {
            upkeep.env_bytes = super::recover::slots_len(open.enveloped);
        }
        let (mut epochs, mut faulty) = (self.known.epochs.clone(), known.faulty.clone());
        epochs.cut(end);
        faulty.extend(findings.new_damage(&known.faulty));
        faulty.sort_by_key(|range| (range.from, range.to));
        self.recovery.faulty.clone_from(&faulty);
        let producers = self.producers_at(end, &segments).await?;
        let upto = producers.upto;
        let behind = segments.iter().map(|segment| segment.bytes_behind(upto)).sum::<u64>();
        Ok(Loaded {
            segments,
            start: known.start,
            end,
            high_watermark: known.high_watermark,
            epochs,
            producers: producers.states,
            faulty,
            state_age_bytes: match (producers.is_of_the_end, producers.is_ahead) {
                (true, _) => 0,
                (false, false) => behind.max(1),
                (false, true) => behind.max(STATE_BYTES),
            },
            upkeep,
        })
    }

    /// The producers of everything below `end`: those of the file, and what batches tell since.
    async fn producers_at(
        &mut self,
        end: Offset,
        segments: &[SegmentState<FileOf<E>>],
    ) -> Result<Producers, OpenError> {
        let snapshot = self.read_producers().await?;
        // It would fit again once the log has other batches in the place of those that are gone.
        let is_ahead = snapshot.as_ref().is_some_and(|snapshot| snapshot.upto > end);
        let snapshot = snapshot.filter(|snapshot| snapshot.upto <= end);
        if snapshot.is_none() {
            self.recovery.producers_lost = true;
            self.probe().reached("storage_producers_lost");
        }
        let is_of_the_end = snapshot.as_ref().is_some_and(|snapshot| snapshot.upto == end);
        // What lies below the log's start and is there yet still tells of its producers.
        let start = self.known.start;
        let first = segments.first().map_or(start, |first| first.name.base.min(start));
        let (upto, states) =
            snapshot.map_or((first, ProducerStates::default()), |s| (s.upto, s.producers));
        let states = self.rebuild_producers(upto, states, segments).await?;
        Ok(Producers { states, upto, is_of_the_end, is_ahead })
    }

    async fn put_producers(
        &self,
        upto: Offset,
        producers: ProducerStates,
    ) -> Result<(), OpenError> {
        let snapshot = ProducerSnapshot { log: self.found, upto, producers };
        let bytes = encode_snapshot(&snapshot);
        let result = replace(&self.dir.env, &self.folder, PRODUCERS, bytes).await;
        result.map_err(|error| self.dir.fail("write the producers in", &self.folder, &error))?;
        Ok(())
    }

    /// A segment that was closed: durable as a whole.
    async fn closed(
        &mut self,
        summary: &SegmentSummary,
        there: bool,
        findings: &mut Findings,
    ) -> Result<SegmentState<FileOf<E>>, OpenError> {
        let mut segment = SegmentState::unloaded(summary);
        if !there {
            self.probe().reached("storage_segments_gone");
            findings.faulty(self.faulty_from(summary.name.base), summary.end);
            segment.bytes = 0;
            return Ok(segment);
        }
        let (file, len) = self.open_segment_file(summary.name, Access::Read).await?;
        if len >= u64::from(summary.bytes) {
            return Ok(segment);
        }
        self.probe().reached("storage_durable_bytes_damaged");
        let envelopes = self.read_envelopes(summary.name).await?;
        let (mut segment, indexed) = from_envelopes(summary.name, &file, &envelopes, len);
        let reached = self.index(&mut segment, indexed, len, Holes::Possible).await?;
        findings.faulty(reached.offset, summary.end);
        (segment.open, segment.end) = (false, summary.end);
        // What is lost may have the largest time, and the summary still tells it.
        segment.max_timestamp = summary.max_timestamp;
        Ok(segment)
    }

    /// A segment with a successor whose end nobody noted: the successor's base is its end.
    async fn outrun(
        &mut self,
        known: &KnownSegment,
        next: Offset,
        there: bool,
        findings: &mut Findings,
    ) -> Result<SegmentState<FileOf<E>>, OpenError> {
        if !there {
            let (name, max_timestamp) = (known.name, None);
            let summary = SegmentSummary { name, end: next, bytes: 0, max_timestamp };
            return self.closed(&summary, there, findings).await;
        }
        let (file, len) = self.open_segment_file(known.name, Access::Read).await?;
        let envelopes = self.read_envelopes(known.name).await?;
        let (mut segment, indexed) = from_envelopes(known.name, &file, &envelopes, len);
        let reached = self.index(&mut segment, indexed, len, Holes::Possible).await?;
        findings.faulty(reached.offset, next);
        (segment.open, segment.end) = (false, next);
        if reached.offset < next {
            segment.max_timestamp = None;
        }
        Ok(segment)
    }

    /// The segment that was being written is gone. What the journal holds of it is written again.
    async fn lost_one(
        &mut self,
        name: SegmentName,
        findings: &mut Findings,
    ) -> Result<SegmentState<FileOf<E>>, OpenError> {
        self.probe().reached("storage_segments_gone");
        // How far it went is not known: at least as far as anybody has said.
        let began = self.known.epochs.latest().map_or(name.base, |epoch| epoch.start);
        let end = name.base.max(self.known_durable()).max(began);
        // Planted: what is not there was never there.
        if self.probe().mutant("lost_segment_is_empty") {
            findings.emptied = Some(name);
            let summary = SegmentSummary { name, end: name.base, bytes: 0, max_timestamp: None };
            return Ok(SegmentState::unloaded(&summary));
        }
        findings.uncertain = true;
        if !self.held(name).is_empty() {
            // With the file there again nothing else would tell.
            self.dir.commit(self.found, vec![Change::Mark(Mark::Uncertain)]).await?;
            self.make_again(name).await?;
            return self.open_one(name, end, findings).await;
        }
        findings.faulty(name.base, end);
        let summary = SegmentSummary { name, end, bytes: 0, max_timestamp: None };
        if end > name.base {
            findings.closed = Some(summary);
        } else {
            findings.emptied = Some(name);
        }
        self.recovery.recovery_point = end;
        Ok(SegmentState::unloaded(&summary))
    }

    /// Where damage begins that was found at `from`.
    fn faulty_from(&self, from: Offset) -> Offset {
        // Planted: damage of one segment condemns the whole log.
        if self.probe().mutant("damage_condemns_log") { self.known.start } else { from }
    }

    /// Makes the file of a segment that is gone, empty.
    async fn make_again(&self, name: SegmentName) -> Result<(), OpenError> {
        self.probe().reached("storage_segment_made_again");
        let (disk, path) = (self.dir.env.disk(), self.folder.join(name.log()));
        let failed = |error| self.dir.fail("make a segment again in", &self.folder, &error);
        disk.create_dir(&self.folder).await.map_err(failed)?;
        disk.open(&path, Access::CreateOrWrite).await.map_err(failed)?;
        self.dir.sync_folder(&self.folder).await?;
        self.dir.sync_folder(&self.dir.path).await?;
        Ok(())
    }

    /// The batches of a segment that the journal holds.
    fn held(&self, name: SegmentName) -> Vec<JournalBatch> {
        let mut held = self.dir.held_batches(self.found);
        held.retain(|batch| batch.seg_gen == name.seg_gen);
        held
    }

    /// Up to where the journal says that everything is durable.
    fn known_durable(&self) -> Offset {
        let sealed = self.known.sealed.filter(|s| Some(s.start_id) == self.dir.sealed_by);
        self.known.flushed.max(sealed.map_or(Offset::ZERO, |sealed| sealed.end))
    }

    /// The segment that was being written: index what was durable, scan what was not. Somebody said
    /// that everything below `known_durable` was.
    async fn open_one(
        &mut self,
        name: SegmentName,
        known_durable: Offset,
        findings: &mut Findings,
    ) -> Result<SegmentState<FileOf<E>>, OpenError> {
        let (file, _) = self.open_segment_file(name, Access::Write).await?;
        let held = self.held(name);
        for batch in &held {
            self.redo(&file, batch).await?;
        }
        let len = file.len().await.map_err(self.io("measure", &self.folder))?;
        let envelopes = self.read_envelopes(name).await?;
        findings.uncertain |= self.learn_epochs(&envelopes);
        let durable = recovery_point(name, &envelopes, &held);
        let (mut segment, indexed) = from_envelopes(name, &file, &envelopes, len);
        // Planted: without its envelopes a segment is void.
        if envelopes.damaged && self.probe().mutant("damaged_envelopes_void_segment") {
            findings.uncertain = true;
            findings.emptied = Some(name);
            let summary = SegmentSummary { name, end: name.base, bytes: 0, max_timestamp: None };
            return Ok(SegmentState::unloaded(&summary));
        }
        let end = len.min(durable.position);
        let reached = self.index(&mut segment, indexed, end, Holes::None).await?;
        self.recovery.recovery_point = durable.offset;
        let damaged = reached.position < durable.position || reached.offset != durable.offset;
        if damaged {
            self.probe().reached("storage_durable_bytes_damaged");
            findings.faulty(self.faulty_from(reached.offset), durable.offset);
            segment.bytes = u32::try_from(durable.position).unwrap_or(u32::MAX);
            segment.end = durable.offset;
        }
        let end = len.max(durable.position);
        findings.uncertain |= self.scan(&mut segment, &file, durable, end).await?;
        // Without its envelopes nobody knows whether what is cut had been durable.
        findings.uncertain |= envelopes.lost && self.recovery.cut.is_some();
        if segment.end < known_durable {
            self.probe().reached("storage_durable_bytes_damaged");
            findings.faulty(segment.end, known_durable);
            segment.end = known_durable;
            self.recovery.cut = None;
        }
        // Always: an earlier start may have written the same tail and died before it synced
        // (simulator seed 1771).
        // Planted: only if something was written.
        let nothing = self.recovery.scanned_bytes == 0 && self.recovery.journal_bytes == 0;
        if !(nothing && self.probe().mutant("tail_synced_if_written")) {
            let synced = file.sync_data().await;
            synced.map_err(|error| self.dir.fail("sync", &self.folder, &error))?;
        }
        (segment.run_open, segment.enveloped) = (false, envelopes.runs.len());
        findings.envelopes = envelopes.damaged || indexed.position < durable.position;
        // Planted: what was read is believed to be on the disk.
        let trusted = self.probe().mutant("envelopes_trusted");
        if !envelopes.runs.is_empty() && !findings.envelopes && !trusted {
            self.write_envelopes_again(name).await?;
        }
        let empty = segment.end == name.base;
        let is_whole = findings.faulty.iter().all(|range| range.to <= name.base);
        if empty && len > 0 {
            findings.emptied = Some(name);
        } else if !is_whole
            || len != u64::from(segment.bytes)
            || segment.end != self.written_end(&segment)
        {
            // The largest time may be lost. Nothing is added, so that it stays unknown.
            segment.max_timestamp = segment.max_timestamp.filter(|_| is_whole);
            segment.bytes = u32::try_from(len).unwrap_or(u32::MAX).min(segment.bytes);
            findings.closed = Some(segment.summary());
            segment.open = false;
        }
        Ok(segment)
    }

    /// What was found of the envelopes may be in the page cache alone, written a moment before a crash or
    /// left clean by a sync that failed: then it would go with the power, and what the next start finds
    /// without it is not what this one goes on from (simulator seed 6004587). The same bytes in the same
    /// places, so that nothing can be torn.
    async fn write_envelopes_again(&self, name: SegmentName) -> Result<(), OpenError> {
        let path = self.folder.join(name.env());
        let bytes = read_whole(&self.dir.env, &path).await.map_err(self.io("read", &path))?;
        let file = self.dir.env.disk().open(&path, Access::Write).await;
        let file = file.map_err(self.io("open", &path))?;
        let failed = |error| self.dir.fail("write envelopes again in", &self.folder, &error);
        let bufs = IoBufs::from_iter(bytes);
        file.append(0, bufs).await.map_err(failed)?;
        file.sync_data().await.map_err(failed)?;
        Ok(())
    }

    /// One past the last offset of the batches that are in the segment.
    fn written_end(&self, segment: &SegmentState<FileOf<E>>) -> Offset {
        segment.runs.iter().flatten().last().map_or(segment.name.base, crate::envelope::Run::end)
    }

    /// Writes a batch that the journal holds where it belongs. Even if it is there: after a failed
    /// sync only the page cache may have it (simulator seed 140).
    async fn redo(&mut self, file: &FileOf<E>, batch: &JournalBatch) -> Result<(), OpenError> {
        let at = u64::from(batch.position);
        let there = file.read_at(at, batch.bytes.len()).await;
        let there = there.map_err(self.io("read", &self.folder))?;
        let len = file.len().await.map_err(self.io("measure", &self.folder))?;
        // Behind a hole: what is missing before it is damage, and found as such.
        if at > len {
            return Ok(());
        }
        // Planted: what the page cache has is believed to be on the disk.
        if there == batch.bytes && self.probe().mutant("journal_batch_trusted") {
            return Ok(());
        }
        let bytes = IoBufs::from_iter([batch.bytes.clone()]);
        let result = file.append(at, bytes).await;
        result.map_err(|error| self.dir.fail("write again in", &self.folder, &error))?;
        if there != batch.bytes {
            self.probe().reached("storage_batch_from_journal");
            self.recovery.journal_bytes += u64::try_from(batch.bytes.len()).unwrap_or(0);
        }
        Ok(())
    }

    /// Journals what was found; then, and not before, does what would hide it.
    async fn settle(
        &mut self,
        findings: &Findings,
        segments: &mut Vec<SegmentState<FileOf<E>>>,
        end: Offset,
    ) -> Result<(), OpenError> {
        let known = self.known.clone();
        let new = findings.new_damage(&known.faulty).into_iter();
        let mut changes: Vec<_> = new.map(|range| Change::Mark(Mark::Faulty(range))).collect();
        // Planted: damage is known to this process and to no later one.
        if self.probe().mutant("faulty_not_journaled") {
            changes.clear();
        }
        // A start that dies between them finds the rest again.
        while changes.len() > MARKS_TOGETHER {
            let later = changes.split_off(MARKS_TOGETHER);
            self.dir.commit(self.found, std::mem::replace(&mut changes, later)).await?;
        }
        let learned = self.learned.iter();
        changes.extend(
            learned
                .map(|EpochStart { epoch, start }| Change::Epoch { epoch: *epoch, start: *start }),
        );
        // Planted: the disk changes before what was found is durable.
        if let Some(name) = findings.emptied
            && self.probe().mutant("emptied_before_cut")
        {
            self.remove(name.log()).await?;
            self.remove(name.env()).await?;
            self.dir.sync_folder(&self.folder).await?;
        }
        if findings.uncertain && !known.uncertain {
            changes.push(Change::Mark(Mark::Uncertain));
        }
        self.recovery.uncertain |= findings.uncertain;
        let mut epochs = known.epochs.clone();
        epochs.cut(end);
        let cuts = findings.closed.is_some() || findings.emptied.is_some();
        // Planted: the next start does not know that the rest of the file is void.
        let cuts = cuts && !self.probe().mutant("cut_not_journaled");
        if cuts || epochs != known.epochs {
            changes.push(Change::Cut(end));
            // A cut lets go of every segment that begins there, the one that stays in use as well.
            let stays = segments.last().filter(|segment| segment.open && segment.name.base >= end);
            if let (Some(open), None) = (stays, findings.emptied) {
                changes.push(Change::SegAdd(open.name));
            }
        }
        if cuts {
            self.probe().reached("storage_cut_journaled");
            changes.extend(findings.closed.map(Change::Close));
        }
        let high_watermark = known.high_watermark.min(end);
        changes.push(Change::Flushed { end, high_watermark });
        self.dir.commit(self.found, changes).await?;
        if let Some(segment) = segments.last_mut().filter(|segment| segment.runs.is_some())
            && (findings.envelopes || findings.closed.is_some())
        {
            self.probe().reached("storage_envelopes_rewritten");
            self.replace_envelopes(segment).await?;
            segment.enveloped = segment.runs.as_ref().map_or(0, Vec::len);
        }
        if let Some(closed) = &findings.closed {
            give_back_reserved(&self.dir.env, &self.folder.join(closed.name.log())).await;
        }
        let below = findings.below(known.start).map(|closed| closed.name);
        if let Some(name) = findings.emptied.or(below) {
            segments.pop();
            self.remove(name.log()).await?;
            self.remove(name.env()).await?;
            self.dir.sync_folder(&self.folder).await?;
        }
        Ok(())
    }

    async fn remove(&self, name: String) -> Result<(), OpenError> {
        let path = self.folder.join(name);
        match self.dir.env.disk().remove(&path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(self.dir.fail("remove", &path, &error).into())
            },
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Segment files that the journal does not name: what a crash left between a change and its
    /// journal record, or the removal behind one. Nothing is written to a segment before the record
    /// that names it is durable, so that a newer one with bytes in it tells of a record that is lost.
    async fn strays(&self, listing: &Listing) -> Result<Vec<Stray>, OpenError> {
        let named = |name: &SegmentName| self.known.segments.iter().any(|s| s.name == *name);
        let logs = listing.logs.iter().map(|name| (*name, name.log()));
        let envs = listing.envs.iter().map(|name| (*name, name.env()));
        let mut strays = Vec::new();
        for (name, file) in logs.chain(envs).filter(|(name, _)| !named(name)) {
            let path = self.folder.join(&file);
            let opened = self.dir.env.disk().open(&path, Access::Read).await;
            let opened = opened.map_err(self.io("open", &path))?;
            let is_empty = opened.len().await.map_err(self.io("measure", &path))? == 0;
            let is_new = name.seg_gen > self.known.newest_gen && !self.is_copy(name, listing);
            let tells_of_loss = !is_empty && is_new;
            if tells_of_loss {
                self.probe().reached("storage_journal_record_missed");
            }
            strays.push(Stray { file, is_empty, tells_of_loss });
        }
        Ok(strays)
    }

    /// What nothing explains is kept in `salvage`, and if a segment is gone, everything: its bytes
    /// may be there under another name.
    async fn put_strays_away(&self, strays: Vec<Stray>, misses: bool) -> Result<(), OpenError> {
        for Stray { file, is_empty, tells_of_loss } in &strays {
            if *is_empty || !(*tells_of_loss || misses || self.known.uncertain) {
                self.probe().reached("storage_stray_removed");
                self.remove(file.clone()).await?;
            } else {
                self.probe().reached("storage_stray_salvaged");
                self.dir.salvage(self.found, file).await?;
            }
        }
        if !strays.is_empty() {
            self.dir.sync_folder(&self.folder).await?;
        }
        Ok(())
    }

    /// Whether the journal names a segment whose file is not there.
    fn misses_a_segment(&self, listing: &Listing) -> bool {
        let mut named = self.known.segments.iter().map(|segment| segment.name);
        named.any(|name| !listing.logs.contains(&name))
    }

    /// Whether a stray can only be what a cleaning had written and the journal never named, for it
    /// writes its copies first: the segment that it copied is there, or went because the log's start
    /// moved beyond it: a cut waits until no cleaning is under way. No other segment begins below the
    /// start.
    fn is_copy(&self, stray: SegmentName, listing: &Listing) -> bool {
        let closed = self.known.segments.iter().filter_map(|segment| segment.closed);
        let mut sources = closed.filter(|s| s.name.base <= stray.base && stray.base < s.end);
        let source = sources.next();
        source.map_or(stray.base < self.known.start, |s| listing.logs.contains(&s.name))
    }
}

impl<F> SegmentState<F> {
    /// Bytes of its batches from `offset` on; all of them if that cannot be told.
    fn bytes_behind(&self, offset: Offset) -> u64 {
        let runs = self.runs.as_deref().unwrap_or_default();
        let first = runs.get(runs.partition_point(|run| run.last < offset));
        let before = match first {
            _ if self.end <= offset => self.bytes,
            Some(run) => run.position,
            None => 0,
        };
        u64::from(self.bytes.saturating_sub(before))
    }
}

/// Up to where the open segment was durable: what its envelopes or the journal's batches say,
/// whichever is further.
fn recovery_point(name: SegmentName, envelopes: &Envelopes, held: &[JournalBatch]) -> Place {
    let mut durable = Place { position: 0, offset: name.base };
    let by_envelopes = envelopes.last_valid.map(|run| (run.end_position(), run.end()));
    let by_journal = held.iter().map(|batch| {
        let len = u32::try_from(batch.bytes.len()).unwrap_or(u32::MAX);
        (batch.position.saturating_add(len), batch.end)
    });
    for (position, offset) in by_envelopes.into_iter().chain(by_journal) {
        if u64::from(position) > durable.position {
            durable = Place { position: u64::from(position), offset };
        }
    }
    durable
}
