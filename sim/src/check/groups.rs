//! Groups that were made to be deleted: what must be gone, and what must still be there.
//!
//! Invariants: only what was answered counts, and only until the power goes out or a start tells of a
//! loss; each group is one client's, and a request of it that was never answered ends what is known
//! of it, for it may still arrive.

use std::collections::BTreeMap;

use super::History;
use crate::world::World;

/// What is known of the one offset of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is there.
    Stands(i64),
    /// It is there, or has expired.
    Fades(i64),
    /// It is gone, and so is the group.
    Gone,
}

/// By group: what is known, since which loss; and how many changes were asked for.
#[derive(Default)]
pub(super) struct Fates(BTreeMap<String, (Fate, u64)>, BTreeMap<String, u64>);

impl History {
    /// What is known of a group.
    pub fn fate(&self, group: &str) -> Option<Fate> {
        let seen = self.seen();
        let (fate, losses) = seen.fates.0.get(group)?;
        (*losses == seen.losses).then_some(*fate)
    }

    /// Every group of which something is known.
    pub fn groups_with_a_fate(&self) -> Vec<String> {
        let seen = self.seen();
        let known = seen.fates.0.iter().filter(|(_, (_, losses))| *losses == seen.losses);
        known.map(|(group, _)| group.clone()).collect()
    }

    /// A request that changes a group is about to be sent. Returns what is known no more.
    pub fn fate_is_asked(&self, group: &str) -> Option<Fate> {
        let before = self.fate(group);
        let mut seen = self.seen();
        seen.fates.0.remove(group);
        let asks = seen.fates.1.entry(group.to_owned()).or_default();
        *asks = asks.saturating_add(1);
        before
    }

    /// How many changes of a group were asked for.
    pub fn fate_asks(&self, group: &str) -> u64 {
        self.seen().fates.1.get(group).copied().unwrap_or(0)
    }

    /// It was answered, or not sent at all; `losses` is from before.
    pub fn fate_is_settled(&self, group: &str, fate: Option<Fate>, losses: u64) {
        let mut seen = self.seen();
        if let Some(fate) = fate
            && seen.losses == losses
        {
            seen.fates.0.insert(group.to_owned(), (fate, losses));
        }
    }

    /// The offset of a group was looked up. `asked` is what was known before, and `losses` and `asks`
    /// are from then. Nothing is judged where somebody has asked for a change since.
    pub fn fate_is_seen(
        &self,
        world: &World,
        group: &str,
        (asked, losses, asks): (Option<Fate>, u64, u64),
        found: Option<i64>,
    ) {
        if !self.groups_can_be_judged(world, losses) || self.fate_asks(group) != asks {
            return;
        }
        match asked {
            None => {},
            Some(Fate::Gone) => world.check("deleted-stays-gone", found.is_none(), || {
                format!("{group} was deleted or had expired, and its offset is {found:?}")
            }),
            Some(Fate::Stands(offset)) => {
                world.check("offsets-do-not-vanish", found == Some(offset), || {
                    format!("{group} has committed {offset}, and its offset is {found:?}")
                });
            },
            Some(Fate::Fades(offset)) => {
                world.check("offsets-do-not-vanish", found.is_none_or(|at| at == offset), || {
                    format!("{group} has committed {offset}, and its offset is {found:?}")
                });
                if found.is_none() {
                    self.fate_is_settled(group, Some(Fate::Gone), losses);
                }
            },
        }
    }

    /// Whether what was answered since `losses` still holds.
    pub fn groups_can_be_judged(&self, world: &World, losses: u64) -> bool {
        if self.group_is_damaged(world) {
            return false;
        }
        let seen = self.seen();
        seen.losses == losses && !seen.is_untold(world)
    }
}
