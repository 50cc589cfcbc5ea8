//! What clients saw of the group: who owned what, and how far was committed.

use std::collections::BTreeMap;

use super::History;
use crate::world::World;

/// What is known of the group.
#[derive(Default)]
pub(super) struct Commits {
    /// Acknowledged commits of each partition that still stand: when, and which offset.
    standing: BTreeMap<i32, Vec<(u64, i64)>>,
    /// Who owned a partition in a generation, per power loss.
    owners: BTreeMap<(u64, i32, i32), String>,
    /// The newest generation that anybody was a member of.
    newest: i32,
    losses: u64,
}

impl Commits {
    /// What was acknowledged up to `due` is durable; the rest is excused.
    pub(super) fn power_is_lost(&mut self, due: Option<u64>) {
        self.losses += 1;
        self.newest = -1;
        for standing in self.standing.values_mut() {
            standing.retain(|(at, _)| due.is_some_and(|due| *at <= due));
            // It stays durable.
            standing.iter_mut().for_each(|(at, _)| *at = 0);
        }
    }

    /// A reader found its position beyond the end of a log that lost records.
    pub(super) fn forget(&mut self, partition: i32) {
        self.standing.remove(&partition);
    }

    fn floors(&self) -> BTreeMap<i32, i64> {
        let highest = |standing: &Vec<(u64, i64)>| standing.iter().map(|(_, at)| *at).max();
        self.standing.iter().filter_map(|(of, all)| Some((*of, highest(all)?))).collect()
    }
}

impl History {
    /// A member learnt what it owns.
    pub fn owns(&self, world: &World, generation: i32, member: &str, partitions: &[i32]) {
        let mut seen = self.seen();
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
    pub fn commit_floors(&self) -> BTreeMap<i32, i64> {
        self.seen().commits.floors()
    }

    /// The newest generation that anybody was a member of.
    pub fn newest_generation(&self) -> i32 {
        self.seen().commits.newest
    }

    /// A committed offset was looked up; `asked` is from before the request was sent.
    pub fn commit_seen(
        &self,
        world: &World,
        asked: &BTreeMap<i32, i64>,
        partition: i32,
        offset: i64,
    ) {
        let seen = self.seen();
        // A power loss in between may have lowered the floor.
        let now = seen.commits.floors().get(&partition).copied();
        let floor = asked.get(&partition).copied().zip(now).map_or(-1, |(then, now)| then.min(now));
        world.check("commits-stay", offset >= floor, || {
            format!("{partition}: {floor} was committed, now it is {offset}")
        });
    }

    /// A commit was acknowledged. `generations`: the member's, and the newest before the request
    /// was sent; `losses` is from then, too.
    pub fn committed(
        &self,
        world: &World,
        partition: i32,
        offset: i64,
        generations: (i32, i32),
        losses: u64,
    ) {
        let mut seen = self.seen();
        if seen.losses != losses {
            return;
        }
        let (mine, newest) = generations;
        world.check("stale-commit", mine >= newest, || {
            format!("{partition}: generation {mine} committed though {newest} had begun")
        });
        seen.commits.standing.entry(partition).or_default().push((world.now(), offset));
    }
}
