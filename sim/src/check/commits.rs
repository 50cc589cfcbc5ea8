//! What clients saw of the group: who owned what, and how far was committed.
//!
//! Invariant: a commit stands from its acknowledgement on; after a power loss exactly what the
//! platter holds stands.

use std::collections::BTreeMap;

use super::History;
use super::committed::{Committed, ends_of_group, read_committed};
use super::platter::View;
use crate::durability::Promise;
use crate::fault::BROKER;
use crate::world::{MS, Note, World, brief};

/// What is known of the group.
#[derive(Default)]
pub(super) struct Commits {
    /// Acknowledged commits of each partition that still stand: when, and which offset.
    standing: BTreeMap<i32, Vec<(u64, i64)>>,
    /// Commits of each partition that were sent and not acknowledged: the member's generation and the
    /// offset. One may arrive late, over a connection that its member has given up, and stand in the
    /// place of a later one; but never once a newer generation has committed.
    under_way: BTreeMap<i32, Vec<(i32, i64)>>,
    /// Who owned a partition in a generation, per power loss and end of the group.
    owners: BTreeMap<(u64, i32, i32), String>,
    /// The newest generation that anybody was a member of.
    newest: i32,
    losses: u64,
    /// How often what stands was lowered.
    lowered: u64,
    /// Commits that had to be on the platter when the power went, and were not, by partition: the
    /// start that follows has to say so.
    left_to_start: Vec<(i32, i64)>,
}

/// What a generation's number belongs to; to be handed back with the answer to what is sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSince {
    losses: u64,
    /// How often the group was forgotten.
    ends: usize,
}

/// What a look at the committed offsets must at least show.
#[derive(Clone, Debug)]
pub struct Floors {
    /// By partition.
    pub offsets: BTreeMap<i32, i64>,
    lowered: u64,
}

impl Commits {
    /// The power goes out. What is on the platter stands, whether it was acknowledged or not: the
    /// log that is found after it is what is durable, and perhaps more of what is in the cache.
    /// Returns whether a commit that was acknowledged is not on the platter.
    pub(super) fn power_is_lost(&mut self, durable: &Committed, cached: &Committed) -> bool {
        let is_lost = self.standing.iter().any(|(partition, standing)| {
            let found = durable.get(partition).cloned().unwrap_or_default();
            standing.iter().any(|(_, offset)| !found.holds(*offset, 1))
        });
        self.losses += 1;
        self.lowered += 1;
        self.newest = -1;
        self.standing.clear();
        for (partition, commits) in durable {
            let cached = cached.get(partition).cloned().unwrap_or_default();
            // Where compaction took some, nobody can count to the one that is the last on the platter.
            let thinned = commits.thinned || cached.thinned;
            let kept = if thinned { 0 } else { commits.offsets.len().saturating_sub(1) };
            let later = cached.offsets.get(kept..).unwrap_or_default();
            let least = commits.offsets.last().into_iter().chain(later).min();
            self.standing.insert(*partition, least.map(|least| (0, *least)).into_iter().collect());
        }
        is_lost
    }

    /// Of what was acknowledged up to `due`, what is not in `durable` is asked of the next start.
    pub(super) fn leave_to_start(&mut self, durable: &Committed, due: Option<u64>) {
        let Some(due) = due else { return };
        for (partition, standing) in &self.standing {
            let found = durable.get(partition).cloned().unwrap_or_default();
            let due = standing.iter().filter(|(at, _)| *at > 0 && *at <= due);
            let missing = due.filter(|(_, offset)| !found.holds(*offset, 1));
            self.left_to_start.extend(missing.map(|(_, offset)| (*partition, *offset)));
        }
    }

    /// A start has said that a log of the coordinators may hold less than was promised: nobody knows
    /// which commits are read from it.
    pub(super) fn damage_is_told(&mut self) {
        self.power_is_lost(&Committed::new(), &Committed::new());
        self.left_to_start.clear();
    }

    /// The broker has started: what it did not say is lost is there.
    pub(super) fn started(&mut self, world: &World, found: &Committed) {
        for (partition, offset) in self.left_to_start.drain(..) {
            let found = found.get(&partition).cloned().unwrap_or_default();
            world.check("told-at-start", found.holds(offset, 1), || {
                format!("{partition}: {offset} was committed; after a start there is {found:?}, and nothing is said of it")
            });
        }
    }

    /// What was acknowledged up to `due` has to be in `durable`.
    pub(super) fn must_be_flushed(&self, world: &World, durable: &Committed, due: Option<u64>) {
        let Some(due) = due else { return };
        for (partition, standing) in &self.standing {
            let found = durable.get(partition).cloned().unwrap_or_default();
            let due: Vec<_> = standing.iter().filter(|(at, _)| *at > 0 && *at <= due).collect();
            for (at, offset) in &due {
                let times = due.iter().filter(|(_, same)| same == offset).count();
                world.check("flushed-in-time", found.holds(*offset, times), || {
                    let ago = (world.now() - at) / MS;
                    format!("{partition}: {offset} was committed {ago} ms ago; on the platter is {found:?}")
                });
            }
        }
    }

    /// The group was forgotten: the next of its name begins with generation 1.
    fn group_has_ended(&mut self) {
        self.losses += 1;
        self.newest = -1;
        // What was under way to it had come, or comes no more: nobody of it is a member now.
        self.under_way.clear();
    }

    /// A reader goes on from before what stands: see [`History::commits_from`], and readers that
    /// find their position beyond the end of a log that lost records.
    pub(super) fn forget(&mut self, partition: i32) {
        self.lowered += 1;
        self.standing.remove(&partition);
    }

    fn floors(&self) -> Floors {
        let highest = |standing: &Vec<(u64, i64)>| standing.iter().map(|(_, at)| *at).max();
        let late = |of: &i32| self.under_way.get(of)?.iter().map(|(_, at)| *at).min();
        let floor = |of, all| Some(highest(all)?.min(late(of).unwrap_or(i64::MAX)));
        let each = self.standing.iter().filter_map(|(of, all)| Some((*of, floor(of, all)?)));
        Floors { offsets: each.collect(), lowered: self.lowered }
    }

    /// A commit was acknowledged to a member of `generation`.
    fn arrived(&mut self, generation: i32, (partition, offset): (i32, i64)) {
        let under_way = self.under_way.entry(partition).or_default();
        if let Some(at) = under_way.iter().position(|one| *one == (generation, offset)) {
            under_way.remove(at);
        }
        under_way.retain(|(theirs, _)| *theirs >= generation);
    }
}

impl History {
    /// What a generation's number belongs to now.
    pub fn group_since(&self, world: &World) -> GroupSince {
        let mut seen = self.seen();
        let ends = ends_of_group(&world.disk(BROKER), seen.topic.unwrap_or_default());
        let before = seen.ends_of_group.len();
        seen.ends_of_group.extend(ends);
        let ends = seen.ends_of_group.len();
        if ends > before {
            seen.commits.group_has_ended();
        }
        GroupSince { losses: seen.losses, ends }
    }

    /// A member learnt what it owns in a generation. `since` is from before it asked to join: an
    /// answer that was under way when the power went, or when the group was forgotten, tells of a
    /// generation that may come again.
    pub fn owns(
        &self,
        world: &World,
        (generation, since): (i32, GroupSince),
        member: &str,
        partitions: &[i32],
    ) {
        if self.group_since(world) != since {
            return;
        }
        let mut seen = self.seen();
        seen.note_coordinators(&world.disk(BROKER));
        let commits = &mut seen.commits;
        commits.newest = commits.newest.max(generation);
        for partition in partitions {
            let key = (commits.losses, generation, *partition);
            let owner = commits.owners.entry(key).or_insert_with(|| member.to_owned());
            let one = owner == member;
            world.check("one-owner", one, || {
                format!("{partition} in generation {generation}: both {owner} and {member}")
            });
        }
    }

    /// What any later look at the committed offsets must at least show.
    pub fn commit_floors(&self) -> Floors {
        self.seen().commits.floors()
    }

    /// The newest generation that anybody was a member of.
    pub fn newest_generation(&self) -> i32 {
        self.seen().commits.newest
    }

    /// A member of `generation` is about to commit. A reader that was sent back, for its log had lost
    /// records, commits less than what a power loss may have brought back since: it says so itself,
    /// and nobody can hold the broker to more. A member that a newer generation has replaced says nothing.
    pub fn commits_from(&self, generation: i32, wanted: &BTreeMap<i32, i64>) {
        let commits = &mut self.seen().commits;
        if generation < commits.newest {
            return;
        }
        let floors = commits.floors().offsets;
        let goes_back = |of: &i32, at: &i64| floors.get(of).is_some_and(|floor| at < floor);
        for (partition, _) in wanted.iter().filter(|(of, at)| goes_back(of, at)) {
            commits.forget(*partition);
        }
        for (partition, offset) in wanted {
            commits.under_way.entry(*partition).or_default().push((generation, *offset));
        }
    }

    /// A committed offset was looked up; `asked` is from before the request was sent.
    pub fn commit_seen(&self, world: &World, asked: &Floors, partition: i32, offset: i64) {
        let seen = self.seen();
        // What was lowered in between may have been raised again since the answer was made.
        let same = seen.commits.lowered == asked.lowered;
        let floor = asked.offsets.get(&partition).filter(|_| same).copied().unwrap_or(-1);
        world.check("commits-stay", offset >= floor, || {
            format!("{partition}: {floor} was committed, now it is {offset}")
        });
    }

    /// Commits were acknowledged, partition and offset each. `generations`: the member's, and the
    /// newest before the request was sent; `since` is from then, too.
    pub fn committed(
        &self,
        world: &World,
        commits: &[(i32, i64)],
        generations: (i32, i32),
        since: GroupSince,
    ) {
        if self.group_since(world).losses != since.losses {
            return;
        }
        let mut seen = self.seen();
        if !commits.is_empty() {
            world.given(Promise::Offsets);
        }
        let (mine, newest) = generations;
        let same_group = seen.ends_of_group.len() == since.ends;
        world.check("stale-commit", commits.is_empty() || !same_group || mine >= newest, || {
            format!("{commits:?}: generation {mine} committed though {newest} had begun")
        });
        let untold = seen.is_untold(world);
        let written = {
            let disk = world.disk(BROKER);
            seen.note_coordinators(&disk);
            read_committed(&disk, seen.topic.unwrap_or_default(), View::Cache)
        };
        let note = Note { node: Some(BROKER), kind: "committed", ..Note::default() };
        world.remark(note, || format!("generation {mine}: {}", brief(&commits)));
        for (partition, offset) in commits {
            seen.commits.arrived(mine, (*partition, *offset));
            let found = written.get(partition).cloned().unwrap_or_default();
            let standing = seen.commits.standing.entry(*partition).or_default();
            standing.push((world.now(), *offset));
            // Each commit is a record of its own, so one that was there before does not count.
            let again = |(at, same): &&(u64, i64)| *at > 0 && same == offset;
            let times = standing.iter().filter(again).count();
            let is_there = found.holds(*offset, times);
            world.check("commit-is-written", is_there || untold, || {
                format!(
                    "{partition}: {offset} was committed {times} times; in the page cache is {found:?}"
                )
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_was_not_answered_may_stand_until_a_newer_generation_has_committed() {
        let mut commits = Commits::default();
        commits.standing.insert(0, vec![(5, 18)]);
        commits.under_way.insert(0, vec![(2, 15), (2, 18)]);
        commits.arrived(2, (0, 18));
        assert_eq!(commits.floors().offsets[&0], 15);

        commits.standing.insert(0, vec![(5, 18), (9, 21)]);
        commits.under_way.get_mut(&0).unwrap().push((3, 21));
        commits.arrived(3, (0, 21));
        assert_eq!(commits.floors().offsets[&0], 21);
    }

    #[test]
    fn what_was_due_and_is_not_on_the_platter_is_asked_of_the_next_start() {
        let mut commits = Commits::default();
        commits.standing.insert(0, vec![(5, 7), (9, 8)]);

        commits.leave_to_start(&Committed::new(), None);
        assert_eq!(commits.left_to_start, []);
        commits.leave_to_start(&Committed::new(), Some(5));
        assert_eq!(commits.left_to_start, [(0, 7)]);

        commits.damage_is_told();
        assert_eq!(commits.left_to_start, []);
    }
}
