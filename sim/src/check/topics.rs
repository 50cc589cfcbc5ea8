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

    /// Holds what is listed against what was answered.
    pub fn topics_listed(&self, world: &World, listed: &[String]) {
        let seen = self.seen();
        for (name, (exists, settled)) in &seen.topics.wishes {
            let found = listed.contains(name);
            world.check("topics", !settled || found == *exists, || {
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
