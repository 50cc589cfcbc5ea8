//! Which promise holds through which fault: the table that `docs/durability.md` is made from.
//!
//! Owns: [`Promise`], [`ROWS`], what a plan of a weak cell has to show, and the page. Invariants:
//! every fault class has a row; a safe cell names oracles and is backed by a count of seeds, in each
//! of which the fault took effect on the broker after something was acknowledged under that promise,
//! nothing failed, and no oracle was excused as a whole; a weak cell names a plan that shows the
//! loss. The counts live in the page alone.

mod damage;
mod machine;
mod page;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::world::Outcome;

pub use page::{Counts, page, read};

/// A kind of promise of durability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// A record was acknowledged while its topic was `replicated`.
    Replicated,
    /// A record was acknowledged while its topic was `fsync`.
    Fsync,
    /// A committed offset was acknowledged.
    Offsets,
    /// A topic or a setting of one was acknowledged.
    Metadata,
    /// A record was sent with `acks=0`: there is none.
    None,
}

impl Promise {
    /// Those that have a column, in the order of [`Row::cells`].
    pub const ALL: [Self; 4] = [Self::Replicated, Self::Fsync, Self::Offsets, Self::Metadata];

    /// The column's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Replicated => "`replicated`",
            Self::Fsync => "`fsync`",
            Self::Offsets => "committed offsets",
            Self::Metadata => "topics, settings",
            Self::None => "`acks=0`",
        }
    }
}

/// What a fault may do to a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Nothing that was acknowledged is lost. The oracles that would see it.
    Safe(&'static [&'static str]),
    /// Something may be lost.
    Weak {
        /// In three or four words, for the table.
        short: &'static str,
        /// What, and for how long.
        loses: &'static str,
        /// The plan in `sim/corpus/` that shows it.
        plan: &'static str,
        /// What that plan shows.
        shows: Shows,
    },
}

/// What a plan shows of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// What was acknowledged under this promise is gone, and nothing else is wrong.
    Lost(Promise),
    /// The same, after the power took what a drive had promised to have.
    Lied(Promise),
    /// After such a lie this oracle found something, and was excused.
    Excused(&'static str),
    /// Damage of this class took effect, and a client or a start was told of it.
    Told(&'static str),
    /// The same, and what was acknowledged under this promise is gone.
    LostAndTold(&'static str, Promise),
    /// Damage of this class took effect, and a start was refused with a reason that has this word.
    Refused(&'static str, &'static str),
    /// The run fails on this oracle: nobody is told.
    Untold(&'static str),
}

/// A fault, and what it does to each promise.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The fault in the words of an operator.
    pub fault: &'static str,
    /// The fault classes that count.
    pub classes: &'static [&'static str],
    /// What happens.
    pub happens: &'static str,
    /// What the operator and the clients are told.
    pub told: &'static str,
    /// By [`Promise::ALL`].
    pub cells: [Cell; 4],
}

/// Every row of the page, in its order.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    machine::ROWS.iter().chain(damage::ROWS)
}

/// Whether the damage that `fired` tells of may take anything that was acknowledged under `promise`:
/// a row of it says so, and does not only refuse a start.
pub fn damage_may_take(promise: Promise, fired: impl Fn(&str) -> bool) -> bool {
    let takes = |cell: &Cell| matches!(cell, Cell::Weak { shows, .. } if !matches!(shows, Shows::Refused(..)));
    let mut rows = damage::ROWS.iter().filter(|row| row.classes.iter().any(|class| fired(class)));
    let Some(column) = Promise::ALL.iter().position(|one| *one == promise) else { return false };
    rows.any(|row| takes(&row.cells[column]))
}

/// A plan for `acks=0`, and what it shows.
pub const UNACKED: (&str, Shows) = ("weak-acks-0", Shows::Lost(Promise::None));

/// Every plan of a weak cell, and what it has to show.
pub fn plans() -> impl Iterator<Item = (&'static str, Shows)> {
    let cells = rows().flat_map(|row| &row.cells);
    let weak = cells.filter_map(|cell| match cell {
        Cell::Weak { plan, shows, .. } => Some((*plan, *shows)),
        Cell::Safe(_) => None,
    });
    weak.chain([UNACKED])
}

impl Shows {
    /// Whether a run showed it.
    ///
    /// # Errors
    /// What was missing.
    pub fn check<T>(self, outcome: &Outcome<T>) -> Result<(), String> {
        let ledger = &outcome.ledger;
        let fired = |class: &str| ledger.faults.contains_key(class);
        let failed = outcome.failure.as_ref().map(|failure| failure.text.as_str());
        let shown = match self {
            Self::Lost(promise) => {
                !ledger.budget.lie_came_true() && ledger.lost.contains_key(&promise)
            },
            Self::Lied(promise) => {
                ledger.budget.lie_came_true() && ledger.lost.contains_key(&promise)
            },
            Self::Excused(oracle) => ledger.excused.contains(oracle),
            Self::Told(class) => fired(class) && ledger.budget.damage_was_told(),
            Self::LostAndTold(class, promise) => {
                let told = fired(class) && ledger.budget.damage_was_told();
                told && ledger.lost.contains_key(&promise)
            },
            Self::Refused(class, word) => {
                fired(class) && ledger.halts.iter().any(|(_, reason)| reason.contains(word))
            },
            Self::Untold(oracle) => {
                let named = failed.is_some_and(|text| text.starts_with(oracle));
                return if named { Ok(()) } else { Err(format!("{failed:?} is not {oracle}")) };
            },
        };
        match (shown, failed) {
            (true, None) => Ok(()),
            (_, Some(failed)) => Err(format!("it failed: {failed}")),
            (false, None) => Err(format!(
                "{self:?} is not what it shows: lost {:?}, excused {:?}, halts {:?}, told {}",
                ledger.lost,
                ledger.excused,
                ledger.halts,
                ledger.budget.damage_was_told()
            )),
        }
    }
}

/// In how many seeds each fault class met each promise.
pub type Met = BTreeMap<String, BTreeMap<Promise, u64>>;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fault::Fault;

    #[test]
    fn every_fault_class_has_a_row_and_every_row_has_faults_that_exist() {
        let mut ours = BTreeSet::new();
        for class in rows().flat_map(|row| row.classes) {
            assert!(ours.insert(*class), "{class} is counted twice");
        }
        let theirs = Fault::CLASSES.iter().chain(Fault::UNDRAWN_CLASSES).copied();
        assert_eq!(ours, theirs.collect());
    }

    #[test]
    fn a_safe_cell_names_an_oracle_and_has_a_fault_to_count() {
        for row in rows() {
            for cell in &row.cells {
                if let Cell::Safe(oracles) = cell {
                    assert!(!oracles.is_empty() && !row.classes.is_empty(), "{}", row.fault);
                }
            }
        }
    }

    #[test]
    fn damage_takes_what_its_row_says_and_no_more() {
        let may_take =
            |promise, classes: &[&str]| damage_may_take(promise, |class| classes.contains(&class));
        let (envelopes, segment) = ("damaged envelopes", "damaged open segment");

        assert!(!may_take(Promise::Fsync, &[envelopes, "damaged seal", "damaged manifest"]));
        assert!(may_take(Promise::Fsync, &[envelopes, segment]));
        assert!(!may_take(Promise::Offsets, &[envelopes, segment]));
        assert!(may_take(Promise::Offsets, &["damaged coordinator log"]));
        assert!(!may_take(Promise::Replicated, &["power loss"]), "that is no damage");
    }

    #[test]
    fn each_row_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = rows().map(|row| row.fault).collect();
        assert_eq!(names.len(), rows().count(), "two rows have one name");
    }
}
