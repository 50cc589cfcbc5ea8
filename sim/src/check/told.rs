//! What a start has found out and said: a log may hold less than was promised only if the journal
//! says of it that it may, and only after something was damaged.
//!
//! Invariants: every start of the broker is looked at before a client can reach it; what it says is
//! lost is excused once, there and then, record by record; a broker that says so without damage that
//! it tells of has raised a false alarm. What it says anew has a bound: a log becomes uncertain only
//! by damage of its directory's journal or of its own files, and lost envelopes excuse none of its
//! records; a damaged range lies within one segment, whose file is damaged or lost. Damage that takes
//! nothing by `docs/durability.md` takes nothing, whatever is said.

use std::collections::{BTreeMap, BTreeSet};

use base::{PartitionId, PartitionIndex, TopicId};

use super::History;
use super::committed::read_committed;
use super::history::{Partition, Seen};
use super::platter::{
    DiskLog, Found, KnownLog, View, coordinators, harmed_journals, logs, read_log,
    untold_producers, vouched,
};
use crate::budget::Event;
use crate::disk::Image;
use crate::durability::{Promise, damage_may_take};
use crate::fault::{BROKER, DirFile};
use crate::world::World;

const SEGMENTS: &[&str] = &[
    "bit rot",
    "misdirected write",
    "damaged closed segment",
    "damaged open segment",
    "damaged coordinator log",
];
const JOURNAL: &[&str] = &["damaged journal"];
const ENVELOPES: &[&str] = &["damaged envelopes"];

/// Marks of the product that tell of damage, each with the classes that it may come of. It is a false
/// alarm if none of them took effect.
const ALARMS: &[(&str, &[&[&str]])] = &[
    ("fetch_corrupt", &[SEGMENTS, JOURNAL]),
    ("open_found_damage", &[SEGMENTS, JOURNAL, ENVELOPES]),
    ("storage_durable_bytes_damaged", &[SEGMENTS, JOURNAL]),
    ("storage_envelopes_missing", &[SEGMENTS, JOURNAL, ENVELOPES]),
    ("storage_identity_damaged", &[&["damaged identity"]]),
    ("storage_journal_corrupt", &[JOURNAL]),
    ("storage_journal_record_missed", &[SEGMENTS, JOURNAL]),
    ("storage_log_made_after_damage", &[JOURNAL]),
    ("storage_log_made_beside_its_files", &[JOURNAL]),
    ("storage_manifest_damaged", &[&["damaged manifest"]]),
    (UNTOLD, &[SEGMENTS, JOURNAL]),
    ("storage_read_found_damage", &[SEGMENTS, JOURNAL]),
    ("storage_seal_damaged", &[&["damaged seal"]]),
    ("storage_segments_gone", &[SEGMENTS, JOURNAL]),
    ("storage_stray_salvaged", &[SEGMENTS, JOURNAL, ENVELOPES]),
];

/// The one that tells of a batch that does not say who wrote it.
const UNTOLD: &str = "storage_producers_behind_damage";

/// Classes that `mark` may come of, if it tells of damage.
pub fn alarm_causes(mark: &str) -> Option<impl Iterator<Item = &'static str>> {
    let (_, causes) = ALARMS.iter().find(|(alarm, _)| *alarm == mark)?;
    Some(causes.iter().copied().flatten().copied())
}

/// How often damage of any class took effect.
pub fn damages(world: &World) -> u64 {
    let ledger = world.ledger.lock();
    let classes = DirFile::ALL.iter().map(|file| file.class());
    let of = |class| ledger.faults.get(class).copied().unwrap_or(0);
    classes.chain(["bit rot", "misdirected write"]).map(of).sum()
}

/// Kinds of files whose damage may leave nobody knowing how far a log went.
const BLURRING: [DirFile; 4] =
    [DirFile::Journal, DirFile::OpenSegment, DirFile::Coordinator, DirFile::Envelopes];

/// The same of each class that may leave nobody knowing how far a log went.
fn blurs(world: &World) -> BTreeMap<&'static str, u64> {
    BLURRING.iter().map(|file| (file.class(), world.faults(file.class()))).collect()
}

/// What damage may have done to what is known of a log's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Blur {
    /// Nothing.
    #[default]
    No,
    /// A start may say that it does not know it. Nothing is gone.
    Word,
    /// Records may be gone as well.
    Records,
}

impl Blur {
    /// By damage of some classes (`is_news`), and of the journals of some directories.
    fn of(
        image: &Image,
        (of, found): (PartitionId, &Found),
        is_news: impl Fn(DirFile) -> bool,
        journals: &BTreeSet<usize>,
    ) -> Self {
        let by_journal = journals.contains(&found.dir).then_some(Self::Records);
        let by_file = Found::harms(image, of).filter_map(|harmed| {
            let file = BLURRING.into_iter().find(|file| file.class() == harmed.class)?;
            // Without its envelopes nobody knows whether what is cut was ever durable; what was is
            // in the segment.
            is_news(file).then_some(match file {
                DirFile::Envelopes if harmed.is_lost => Self::Word,
                DirFile::Envelopes => Self::No,
                _ => Self::Records,
            })
        });
        by_file.chain(by_journal).max().unwrap_or_default()
    }
}

/// What a start may say, given what happened since the last one.
pub(super) struct Start {
    /// Something was damaged.
    suspect: bool,
    /// What that may have done to each log.
    blurs: BTreeMap<PartitionId, Blur>,
    /// Directories whose journal was damaged: of each log there it is told.
    journals: BTreeSet<usize>,
    /// The same of before the last start: the process that came of it makes uncertain logs there.
    journals_before: BTreeSet<usize>,
    /// Up to where each log is served though its journal is damaged.
    vouched: BTreeMap<PartitionId, i64>,
    /// Damage of the coordinators' logs, which may be mended by now.
    coordinators: bool,
    /// What was said of each log before.
    before: BTreeMap<PartitionId, Said>,
}

/// What the journal says of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The directory whose journal that is.
    dir: usize,
    uncertain: bool,
    faulty: Vec<(i64, i64)>,
}

impl Said {
    fn of(found: &Found) -> Self {
        let (uncertain, faulty) = (found.log.uncertain, found.log.faulty.clone());
        Self { dir: found.dir, uncertain, faulty }
    }
}

/// Damaged ranges that lie in none of `before`.
fn news<'a>(faulty: &'a [(i64, i64)], before: &'a Said) -> impl Iterator<Item = (i64, i64)> + 'a {
    let is_old =
        |(from, to): (i64, i64)| before.faulty.iter().any(|old| old.0 <= from && to <= old.1);
    faulty.iter().copied().filter(move |range| !is_old(*range))
}

impl Start {
    fn blur(&self, of: PartitionId) -> Blur {
        self.blurs.get(&of).copied().unwrap_or_default()
    }

    /// Whether it says of a log, with reason, that it may hold less than it was promised to.
    pub(super) fn is_uncertain(&self, of: PartitionId, known: &KnownLog) -> bool {
        known.uncertain && self.blur(of) == Blur::Records
    }

    /// What it says of a log without a reason, if it does. `may_be_mended`: what it tells of may be
    /// sound again.
    fn overstates(
        &self,
        image: &Image,
        of: PartitionId,
        found: &Found,
        may_be_mended: bool,
    ) -> Option<String> {
        let is_new = !self.before.contains_key(&of);
        let nothing = Said::default();
        let before = self.before.get(&of).unwrap_or(&nothing);
        let may_blur =
            self.blur(of) > Blur::No || (is_new && self.journals_before.contains(&found.dir));
        if found.log.uncertain && !before.uncertain && !may_blur {
            return Some(format!("{of} is uncertain, and nothing was damaged that makes it so"));
        }
        // A damaged journal may have forgotten the epochs of batches, which is found when they are
        // looked at.
        let has_forgotten = before.uncertain && harmed_journals(image).contains(&found.dir);
        if self.journals.contains(&found.dir) || has_forgotten || may_be_mended {
            return None;
        }
        let (from, to) =
            news(&found.log.faulty, before).find(|range| !found.may_be_damaged(image, *range))?;
        Some(format!("{of}: {from} to {to} is said to be damaged, and no such segment is"))
    }

    /// Whether it says, with reason, that anything more of a log may be missing or damaged.
    pub(super) fn tells(&self, of: PartitionId, known: &KnownLog) -> bool {
        let nothing = Said::default();
        let before = self.before.get(&of).unwrap_or(&nothing);
        let tells_more = news(&known.faulty, before).next().is_some();
        self.is_uncertain(of, known) || (self.suspect && tells_more)
    }

    /// Whether it says so of one record.
    pub(super) fn tells_of(&self, of: PartitionId, known: &KnownLog, offset: i64) -> bool {
        let is_vouched = self.vouched.get(&of).is_some_and(|end| offset < *end);
        (self.is_uncertain(of, known) && !is_vouched)
            || (self.suspect && known.told(offset).is_some())
    }

    /// Whether a log may be unknown to the journal by now.
    fn may_be_forgotten(&self, of: PartitionId) -> bool {
        match self.before.get(&of) {
            Some(said) => self.journals.contains(&said.dir),
            None => !self.journals.is_empty(),
        }
    }
}

fn known(image: &Image, of: PartitionId) -> Option<KnownLog> {
    Some(logs(image, View::Cache, |found| *found == of).remove(&of)?.log)
}

impl Seen {
    /// What the start that is over now may say. Damage stays news until one has all directories.
    fn start(
        &mut self,
        world: &World,
        disk: &Image,
        all: &BTreeMap<PartitionId, Found>,
        is_whole: bool,
    ) -> Start {
        let (damages, blurs) = (damages(world), blurs(world));
        let count = |of: &BTreeMap<&str, u64>, file: DirFile| of.get(file.class()).copied();
        let is_news = |file| count(&blurs, file) > count(&self.blurs, file).or(Some(0));
        let mut journals = harmed_journals(disk);
        journals.retain(|_| is_news(DirFile::Journal));
        let blur = |(of, found): (&PartitionId, &Found)| {
            (*of, Blur::of(disk, (*of, found), is_news, &journals))
        };
        // What was harmed as well is vouched for by nobody.
        let is_sound = |(of, _): &(PartitionId, i64)| Found::harms(disk, *of).next().is_none();
        let start = Start {
            suspect: damages > self.damages,
            blurs: all.iter().map(blur).collect(),
            journals_before: self.journals.clone(),
            vouched: self.vouched.clone().into_iter().filter(is_sound).collect(),
            coordinators: is_news(DirFile::Coordinator),
            before: self.said.clone(),
            journals,
        };
        if is_whole {
            (self.damages, self.blurs) = (damages, blurs);
            self.said = all.iter().map(|(of, found)| (*of, Said::of(found))).collect();
            self.journals = start.journals.clone();
            self.vouched.clear();
        }
        self.serving = world.incarnation(BROKER);
        start
    }

    /// A file of the journal is about to be harmed.
    fn note_vouched(&mut self, disk: &Image) {
        for (of, end) in vouched(disk, self.topic.unwrap_or_default()) {
            let known = self.vouched.entry(of).or_default();
            *known = end.max(*known);
        }
    }

    pub(super) fn note_coordinators(&mut self, disk: &Image) {
        self.coordinators.extend(coordinators(disk, self.topic.unwrap_or_default()));
    }
}

impl Partition {
    /// What the start does not tell of is there; what it tells of and is not there is owed no more.
    fn started(
        &mut self,
        world: &World,
        of: PartitionId,
        (log, known): (&DiskLog, &KnownLog),
        start: &Start,
        fsync: bool,
    ) {
        for (offset, id) in &self.content {
            let holds = log.at(*offset) == Some(*id) || start.tells_of(of, known, *offset);
            world.check("told-at-start", holds, || {
                format!(
                    "{}/{offset} held {id}; after a start the log has {:?} of {} records, and \
                     nothing is said of it; {}",
                    of.index.0,
                    log.at(*offset),
                    log.end,
                    log.stopped.as_deref().unwrap_or("whole")
                )
            });
        }
        let is_there = |offset, id| log.at(offset) == Some(id);
        let gone = self.content.iter().filter(|(offset, id)| !is_there(**offset, **id));
        self.lossy.extend(gone.map(|(_, id)| id.client));
        self.content.retain(|offset, id| is_there(*offset, *id));
        let upto = if fsync { i64::MAX } else { self.durable_upto };
        self.keep_acked(world, is_there, upto);
        // What comes where something was lost is promised anew.
        self.durable_upto = self.durable_upto.min(log.end);
        if start.is_uncertain(of, known) {
            self.lossy.extend(self.sent.iter().map(|id| id.client));
        }
    }
}

/// What a start has found to be lost, which damage alone can have done, is what the page on durability
/// says of that damage. `before`: what was lost by then.
fn takes_no_more_than_it_may(world: &World, before: &BTreeMap<Promise, u64>) {
    let (lost, faults) = {
        let ledger = world.ledger.lock();
        (ledger.lost.clone(), ledger.faults.clone())
    };
    for (promise, count) in lost.iter().filter(|(promise, now)| before.get(promise) != Some(now)) {
        let may_take = damage_may_take(*promise, |class| faults.contains_key(class));
        world.check("told-at-start", may_take, || {
            let name = promise.name();
            format!("{count} that were acknowledged as {name} are lost, and no damage may take any")
        });
    }
}

impl History {
    /// The broker has started and serves from now on.
    pub fn started(&self, world: &World) {
        let mut seen = self.seen();
        let disk = world.disk(BROKER);
        let all = logs(&disk, View::Cache, |_| true);
        // Without one of its directories a start does not know of every log what that is missing.
        let is_whole = !disk.any_out_of_service();
        let start = seen.start(world, &disk, &all, is_whole);
        for (of, found) in &all {
            let may_be_mended = start.coordinators && seen.coordinators.contains(of);
            let overstated = start.overstates(&disk, *of, found, may_be_mended);
            world.check("told-at-start", overstated.is_none(), || overstated.unwrap_or_default());
        }
        let Some(topic) = seen.topic else { return };
        let lost = world.ledger.lock().lost.clone();
        let untold = world.ledger.lock().marks.get(UNTOLD).copied().unwrap_or(0);
        let says_untold = untold > std::mem::replace(&mut seen.untold_producers, untold);
        let (mut told, fsync) = (false, seen.fsync);
        for (name, table) in &mut seen.tables {
            told |= table.started(world, name, &disk, &start);
        }
        for (partition, found) in &mut seen.partitions {
            let of = PartitionId { topic: TopicId(topic), index: PartitionIndex(*partition) };
            if !is_whole && !all.contains_key(&of) {
                continue;
            }
            let log = read_log(&disk, topic, *partition, View::Cache).unwrap_or_default();
            let known = known(&disk, of).unwrap_or_default();
            found.started(world, of, (&log, &known), &start, fsync);
            if says_untold {
                let untold = untold_producers(&disk, of);
                let is_untold = |at: i64| untold.iter().any(|offsets| offsets.contains(&at));
                found.untold.extend(log.records.iter().filter(|(at, _)| is_untold(*at)));
            }
            told |= start.tells(of, &known);
        }
        seen.note_coordinators(&disk);
        let commits = read_committed(&disk, topic, View::Cache);
        let of_group = |of: &PartitionId| {
            known(&disk, *of)
                .map_or_else(|| start.may_be_forgotten(*of), |known| start.tells(*of, &known))
        };
        if seen.coordinators.iter().any(of_group) {
            seen.commits.damage_is_told();
            told = true;
        }
        seen.commits.started(world, &commits);
        takes_no_more_than_it_may(world, &lost);
        if told {
            // Nobody who asked before knows what stands now.
            seen.losses += 1;
            world.ledger.lock().budget.fired(Event::DamageTold);
        }
    }

    /// Notes up to where each log of the topic is served whatever becomes of the journal.
    pub fn note_vouched(&self, world: &World) {
        self.seen().note_vouched(&world.disk(BROKER));
    }

    /// Notes which logs are the coordinators', while the journal names them.
    pub fn note_coordinators(&self, world: &World) {
        self.seen().note_coordinators(&world.disk(BROKER));
    }

    /// Whether records of the coordinators' topic are known to be damaged: then a group may get
    /// errors for ever.
    pub fn group_is_damaged(&self, world: &World) -> bool {
        let seen = self.seen();
        let disk = world.disk(BROKER);
        // One that is not there any more was forgotten with a part of the journal, or by mistake.
        let may_be_forgotten = world.faults(DirFile::Journal.class()) > 0;
        let is_damaged =
            |of| known(&disk, of).map_or(may_be_forgotten, |log| !log.faulty.is_empty());
        damages(world) > 0 && seen.coordinators.iter().any(|of| is_damaged(*of))
    }
}

#[cfg(test)]
mod tests {
    use base::Uuid;

    use super::*;

    const OF: PartitionId = PartitionId { topic: TopicId(Uuid([1; 16])), index: PartitionIndex(0) };

    fn start(suspect: bool, blur: Blur, before: Said) -> Start {
        Start {
            suspect,
            blurs: BTreeMap::from([(OF, blur)]),
            journals: BTreeSet::new(),
            journals_before: BTreeSet::new(),
            vouched: BTreeMap::new(),
            coordinators: false,
            before: BTreeMap::from([(OF, before)]),
        }
    }

    fn said(faulty: &[(i64, i64)]) -> Said {
        Said { dir: 0, uncertain: true, faulty: faulty.to_vec() }
    }

    #[test]
    fn an_uncertain_log_excuses_its_records_only_after_damage_that_may_take_them() {
        let known = KnownLog { uncertain: true, ..KnownLog::default() };
        let excuses = |blur| start(true, blur, said(&[])).tells_of(OF, &known, 3);

        assert!(excuses(Blur::Records));
        assert!(!excuses(Blur::Word), "lost envelopes");
        assert!(!excuses(Blur::No), "another log was damaged");
        assert!(!start(true, Blur::Word, said(&[])).tells(OF, &known));
    }

    #[test]
    fn what_an_earlier_range_covers_is_no_news_and_told_no_more() {
        let known =
            |faulty: &[(i64, i64)]| KnownLog { faulty: faulty.to_vec(), ..KnownLog::default() };
        let now = [(2, 5), (2, 9), (8, 12), (20, 21)];

        let found: Vec<_> = news(&now, &said(&[(2, 9)])).collect();
        assert_eq!(found, [(8, 12), (20, 21)]);
        assert!(!start(true, Blur::No, said(&[(2, 9)])).tells(OF, &known(&now[..2])));
        assert!(start(true, Blur::No, said(&[(2, 9)])).tells(OF, &known(&now[..3])));
    }

    #[test]
    fn a_damaged_range_excuses_its_own_records_alone() {
        let known = KnownLog { faulty: vec![(2, 4)], ..KnownLog::default() };
        let start = start(true, Blur::Word, said(&[]));

        let excused: Vec<i64> = (0..6).filter(|at| start.tells_of(OF, &known, *at)).collect();
        assert_eq!(excused, [2, 3]);
        assert!(start.tells(OF, &known) && !start.is_uncertain(OF, &known));
    }

    #[test]
    fn what_manifest_and_envelopes_vouch_for_is_there_unless_the_range_itself_is_told() {
        let known = KnownLog { uncertain: true, faulty: vec![(1, 2)], ..KnownLog::default() };
        let mut start = start(true, Blur::Records, said(&[]));
        start.vouched.insert(OF, 3);

        let excused: Vec<i64> = (0..6).filter(|at| start.tells_of(OF, &known, *at)).collect();
        assert_eq!(excused, [1, 3, 4, 5]);
    }

    #[test]
    fn a_log_is_forgotten_only_with_the_journal_of_its_directory() {
        let mut start = start(true, Blur::No, said(&[]));
        assert!(!start.may_be_forgotten(OF));
        start.journals = [1].into();
        assert!(!start.may_be_forgotten(OF));
        start.journals = [0].into();
        assert!(start.may_be_forgotten(OF));
    }

    #[test]
    fn an_alarm_is_caused_by_what_it_tells_of() {
        let causes = |mark| alarm_causes(mark).map(Iterator::collect::<Vec<_>>);

        assert_eq!(causes("storage_seal_damaged"), Some(vec!["damaged seal"]));
        assert!(causes("fetch_corrupt").unwrap().contains(&"bit rot"));
        assert_eq!(causes("storage_journal_replayed"), None);
        let all = ALARMS.iter().flat_map(|(_, causes)| causes.iter().copied().flatten());
        assert!(all.clone().all(|class| crate::fault::Fault::CLASSES.contains(class)));
    }
}
