//! The fault budget: what each promise of durability excuses, given what fired.
//!
//! Owns: [`Budget`]. Pure: it is told what happened and asked about an oracle. Invariants: a fault
//! that is not told here excuses nothing; what a power loss takes is decided record by record by the
//! history, which tells the budget whether anything acknowledged was among it; damage of sectors is
//! excused record by record, too, and never by the name of an oracle.

/// Something that makes a promise weaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A power loss took something acknowledged that was not durable yet, and did not have to be.
    AckedLost,
    /// A power loss took what a drive had promised to have.
    LieCameTrue,
    /// A client was told that what it asked for is damaged, and it was.
    DamageTold,
}

/// What the faults of one universe excuse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    acked_lost: bool,
    lie_came_true: bool,
    damage_told: bool,
}

impl Budget {
    /// What stays a promise of a broker whose drive lied to it: it serves nothing that was never
    /// written, but for bytes that their checksum shows to be wrong. Everything else rests on a sync
    /// that was none, or is looked for in a log that may have a hole by now.
    pub const EVEN_IF_LIED_TO: &'static [&'static str] = &[
        "damage-is-told",
        "fetch-position",
        "known-content",
        "one-owner",
        "replaced-directory",
        "stale-commit",
    ];

    /// Something happened.
    pub fn fired(&mut self, event: Event) {
        match event {
            Event::AckedLost => self.acked_lost = true,
            Event::LieCameTrue => self.lie_came_true = true,
            Event::DamageTold => self.damage_told = true,
        }
    }

    /// Whether what `oracle` found is excused, whatever it is. `halt` and `settle` are asked for
    /// like oracles.
    pub fn excuses(&self, oracle: &str) -> bool {
        self.lie_came_true && !Self::EVEN_IF_LIED_TO.contains(&oracle)
    }

    /// Whether a client or a start was told of damage that there was.
    pub fn damage_was_told(&self) -> bool {
        self.damage_told
    }

    /// Whether a power loss took what a drive had promised to have.
    pub fn lie_came_true(&self) -> bool {
        self.lie_came_true
    }

    /// Whether any record or commit that was acknowledged was excused from being there and whole.
    pub fn durability_excused(&self) -> bool {
        self.acked_lost || self.lie_came_true || self.damage_told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURABILITY: &[&str] =
        &["acked-survives", "flushed-in-time", "commits-stay", "one-content", "halt", "settle"];

    fn after(events: &[Event]) -> Budget {
        let mut budget = Budget::default();
        events.iter().for_each(|event| budget.fired(*event));
        budget
    }

    #[test]
    fn without_an_event_nothing_is_excused() {
        let budget = after(&[]);
        assert!(DURABILITY.iter().all(|oracle| !budget.excuses(oracle)));
        assert!(!budget.durability_excused());
    }

    #[test]
    fn records_lost_with_the_power_excuse_no_oracle_as_a_whole() {
        let budget = after(&[Event::AckedLost]);
        assert!(DURABILITY.iter().all(|oracle| !budget.excuses(oracle)));
        assert!(budget.durability_excused());
    }

    #[test]
    fn damage_that_was_told_excuses_no_oracle_as_a_whole() {
        let budget = after(&[Event::DamageTold]);
        assert!(DURABILITY.iter().all(|oracle| !budget.excuses(oracle)));
        assert!(budget.durability_excused());
    }

    #[test]
    fn a_lie_that_came_true_excuses_durability_and_nothing_else() {
        let budget = after(&[Event::LieCameTrue]);
        assert!(DURABILITY.iter().all(|oracle| budget.excuses(oracle)));
        assert!(Budget::EVEN_IF_LIED_TO.iter().all(|oracle| !budget.excuses(oracle)));
        assert!(budget.durability_excused());
    }
}
