//! `docs/mutants.md`, made from what a hunt found.
//!
//! Invariants: the rows of mutants that were hunted are new, those of others stay as they are in the
//! file; a row is there for every mutant, and for no other.

use std::collections::BTreeMap;
use std::path::Path;

use crate::campaign::Killed;
use crate::mutants::{EXPLAINED, MUTANTS, Mutant};

const HEAD: &str = "\
# Mutants

Bugs that are planted in the product to see whether the simulator finds them. Made by
`cargo sim --mutants --markdown docs/mutants.md`; each row says what the last hunt for it came to. *Like* names the
entry of our catalogue of real bugs (M: Kafka's and others', N: what our own inventions could get wrong), or *own*.
*Seeds* is the median of the seeds that its kills took, one after the other. Where one is named, a plan that kills it lies in
`sim/corpus/` and is replayed by `cargo test -p sim --test corpus`, with the bug and without.

| mutant | like | what it breaks | found by | kills | seeds | plan |
|---|---|---|---|--:|--:|---|
";

const EXPLANATIONS: &str = "
## Not planted, and why

| entry | why one broker cannot have it |
|---|---|
";

/// The row of a mutant after a hunt.
pub(super) fn row(mutant: &Mutant, killed: &Killed, start: u64) -> String {
    let Mutant { id, like, breaks } = mutant;
    let mut by: BTreeMap<&str, usize> = BTreeMap::new();
    let mut gaps = Vec::new();
    let mut before = start;
    for (plan, text) in &killed.kills {
        *by.entry(oracle(text)).or_default() += 1;
        gaps.push((plan.seed + 1).saturating_sub(before));
        before = plan.seed + 1;
    }
    let kills = killed.kills.len();
    let found = match by.iter().max_by_key(|(_, count)| **count) {
        Some((oracle, _)) => format!("`{oracle}`"),
        None => format!("nobody in {} seeds", killed.seeds),
    };
    let (seeds, plan) = match median(&mut gaps) {
        Some(median) => (median.to_string(), format!("`mutant-{id}.json`")),
        None => ("–".to_owned(), "–".to_owned()),
    };
    format!("| `{id}` | {like} | {breaks} | {found} | {kills} | {seeds} | {plan} |")
}

/// The oracle's name at the front of a failure, or what a crash begins with.
fn oracle(text: &str) -> &str {
    let name = text.split(':').next().unwrap_or(text);
    if text.starts_with("invariant ") { "invariant" } else { name }
}

fn median(gaps: &mut [u64]) -> Option<u64> {
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied()
}

/// The whole page: `rows` by mutant, and those of the page before it.
pub(super) fn page(before: &str, rows: &BTreeMap<&str, String>) -> String {
    let mut page = HEAD.to_owned();
    for mutant in MUTANTS {
        let start = format!("| `{}` |", mutant.id);
        let old = || before.lines().find(|line| line.starts_with(&start)).map(str::to_owned);
        let new = rows.get(mutant.id).cloned();
        let none = || row(mutant, &Killed::default(), 0);
        page += &(new.or_else(old).unwrap_or_else(none) + "\n");
    }
    page += EXPLANATIONS;
    for (entry, why) in EXPLAINED {
        page += &format!("| {entry} | {why} |\n");
    }
    page
}

#[expect(clippy::disallowed_methods, reason = "a page is read before any universe exists")]
pub(super) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Plan;

    fn killed(seeds: &[u64]) -> Killed {
        let kill = |seed: &u64| (Plan::draw(*seed), "acked-survives: 1/2 is gone".to_owned());
        Killed { seeds: 100, kills: seeds.iter().map(kill).collect() }
    }

    #[test]
    fn a_row_says_who_found_it_and_how_many_seeds_each_kill_took() {
        let row = row(&MUTANTS[0], &killed(&[9, 10, 40]), 0);

        assert!(row.starts_with(&format!("| `{}` |", MUTANTS[0].id)), "{row}");
        assert!(row.contains("| `acked-survives` | 3 | 10 |"), "{row}");
    }

    #[test]
    fn a_page_keeps_the_rows_of_mutants_that_were_not_hunted() {
        let first = page("", &[(MUTANTS[0].id, row(&MUTANTS[0], &killed(&[4]), 0))].into());
        let second = page(&first, &[(MUTANTS[1].id, row(&MUTANTS[1], &killed(&[7]), 0))].into());

        assert!(second.contains("| 1 | 5 |") && second.contains("| 1 | 8 |"), "{second}");
        assert_eq!(second.lines().filter(|line| line.starts_with("| `")).count(), MUTANTS.len());
    }
}
