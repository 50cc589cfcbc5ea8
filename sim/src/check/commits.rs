//! What clients saw of the group: who owned what, and how far was committed.

use std::collections::BTreeMap;

use super::History;
use crate::world::World;

/// What is known of the group.
#[derive(Default)]
pub(super) struct Commits {
    /// The largest acknowledged commit of each partition that still stands.
    pub floors: BTreeMap<i32, i64>,
    /// Who owned a partition in a generation, per power loss.
    owners: BTreeMap<(u64, i32, i32), String>,
    /// The newest generation that anybody was a member of.
    newest: i32,
    losses: u64,
}

impl Commits {
    pub(super) fn power_is_lost(&mut self, durable_acks: bool) {
        self.losses += 1;
        self.newest = -1;
        if !durable_acks {
            self.floors.clear();
        }
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
        self.seen().commits.floors.clone()
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
        let now = seen.commits.floors.get(&partition).copied();
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
        if seen.losses != losses && !seen.durable_acks {
            return;
        }
        let (mine, newest) = generations;
        world.check("stale-commit", mine >= newest || seen.losses != losses, || {
            format!("{partition}: generation {mine} committed though {newest} had begun")
        });
        let floor = seen.commits.floors.entry(partition).or_insert(offset);
        *floor = (*floor).max(offset);
    }
}
