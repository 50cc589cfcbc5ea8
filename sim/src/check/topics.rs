//! Which topics must exist, must not, or may; and how many partitions the common one must have.

use std::collections::BTreeMap;

use super::History;
use crate::world::World;

/// Wishes and their outcomes, by topic.
#[derive(Default)]
pub(super) struct Topics {
    /// What was last asked for, and whether it was answered.
    wishes: BTreeMap<String, (bool, bool)>,
    /// Partitions of the topic everybody works on, as far as was answered.
    partitions: u32,
}

impl History {
    /// A topic is about to be created (or deleted).
    pub fn topic_wished(&self, name: &str, exists: bool) {
        self.seen().topics.wishes.insert(name.to_owned(), (exists, false));
    }

    /// It was.
    pub fn topic_settled(&self, name: &str, exists: bool) {
        self.seen().topics.wishes.insert(name.to_owned(), (exists, true));
    }

    /// It was answered that the topic everybody works on has so many partitions.
    pub fn partitions_added(&self, count: u32) {
        let known = &mut self.seen().topics.partitions;
        *known = count.max(*known);
    }

    /// How many partitions that topic has for certain, from now on.
    pub fn partitions_known(&self) -> u32 {
        self.seen().topics.partitions
    }

    /// Holds the partitions that the topic is described with against what was answered `before` that
    /// was asked for.
    pub fn partitions_described(&self, world: &World, before: u32, described: usize) {
        let fits = usize::try_from(before).is_ok_and(|before| described >= before);
        world.check("topics", fits, || {
            format!(
                "the topic is described with {described} partitions; {before} were answered for"
            )
        });
    }

    /// What is settled now: of those a listing that begins now must tell the truth.
    pub fn topics_settled(&self) -> BTreeMap<String, bool> {
        let seen = self.seen();
        let settled = seen.topics.wishes.iter().filter(|(_, (_, settled))| *settled);
        settled.map(|(name, (exists, _))| (name.clone(), *exists)).collect()
    }

    /// Holds what is listed against what was answered before the listing began, and has not been
    /// asked for otherwise since.
    pub fn topics_listed(&self, world: &World, before: &BTreeMap<String, bool>, listed: &[String]) {
        let seen = self.seen();
        for (name, exists) in before {
            let found = listed.contains(name);
            let stands = seen.topics.wishes.get(name) == Some(&(*exists, true));
            world.check("topics", !stands || found == *exists, || {
                format!("{name}: listed {found}, though the answer said exists={exists}")
            });
        }
        for name in listed.iter().filter(|name| !name.starts_with("__")) {
            world.check("topics", seen.topics.wishes.contains_key(name), || {
                format!("{name} is listed, and nobody wished for it")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_that_were_answered_for_are_never_fewer() {
        let history = History::new();
        for (answered, known) in [(0, 0), (3, 3), (2, 3), (5, 5)] {
            history.partitions_added(answered);
            assert_eq!(history.partitions_known(), known);
        }
    }
}
