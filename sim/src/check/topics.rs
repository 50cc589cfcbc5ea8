//! Which topics must exist, must not, or may.

use std::collections::BTreeMap;

use super::History;
use crate::world::World;

/// Wishes and their outcomes, by topic.
#[derive(Default)]
pub(super) struct Topics {
    /// What was last asked for, and whether it was answered.
    wishes: BTreeMap<String, (bool, bool)>,
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
