//! `docs/mutants.md`, made from what a hunt found.
//!
//! Invariants: the rows of mutants that were hunted are new, those of others stay as they are in the
//! file; a row is there for every mutant, and for no other.

use std::collections::BTreeMap;
use std::path::Path;

use crate::campaign::Hunt;
use crate::mutants::{EXPLAINED, MUTANTS, Mutant};

const HEAD: &str = "\
# Mutants

Bugs that are planted in the product to see whether the simulator finds them. Made by
`cargo sim --mutants --for 25m --markdown docs/mutants.md`, which hunts them in turns until each was found five times or the time is over;
each row says what the last hunt for it came to. *Like* names the entry of our catalogue of real bugs (M: Kafka's and
others', N: what our own inventions could get wrong), or *own*. A *kill* is a seed that fails with the bug and passes without;
*seeds per kill* is all seeds that were run with the bug, divided by the kills. Where one is named, a plan that kills it lies in `sim/corpus/` and
is replayed by `cargo test -p sim --test corpus`, with the bug and without.

| mutant | like | what it breaks | found by | kills | seeds per kill | plan |
|---|---|---|---|--:|--:|---|
";

const EXPLANATIONS: &str = "
## Not planted, and why

| entry | why one broker cannot have it |
|---|---|
";

/// The row of a mutant after a hunt; `has_plan` is whether the corpus has a plan that kills it.
pub(super) fn row(mutant: &Mutant, hunt: &Hunt, has_plan: bool) -> String {
    let Mutant { id, like, breaks } = mutant;
    let mut by: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, text) in &hunt.kills {
        *by.entry(oracle(text)).or_default() += 1;
    }
    let kills = u64::try_from(hunt.kills.len()).unwrap_or(u64::MAX);
    let (found, seeds) = match by.iter().max_by_key(|(_, count)| **count) {
        Some((oracle, _)) => (format!("`{oracle}`"), hunt.seeds.div_ceil(kills).to_string()),
        None => (format!("nobody in {} seeds", hunt.seeds), "–".to_owned()),
    };
    let plan = if has_plan { format!("`mutant-{id}.json`") } else { "–".to_owned() };
    format!("| `{id}` | {like} | {breaks} | {found} | {kills} | {seeds} | {plan} |")
}

/// The oracle's name at the front of a failure, or what a crash begins with.
fn oracle(text: &str) -> &str {
    let name = text.split(':').next().unwrap_or(text);
    if text.starts_with("invariant ") { "invariant" } else { name }
}

/// How many were found, and how many of those are rare.
fn summary(rows: &[String]) -> String {
    const RARE: u64 = 50;
    let seeds = |row: &String| row.rsplit(" | ").nth(1)?.parse::<u64>().ok();
    let found: Vec<u64> = rows.iter().filter_map(seeds).collect();
    let rare = found.iter().filter(|seeds| **seeds > RARE).count();
    format!(
        "\n{} planted bugs; {} were found, {rare} of them take more than {RARE} seeds per kill.\n",
        rows.len(),
        found.len()
    )
}

/// The whole page: `rows` by mutant, and those of the page before it.
pub(super) fn page(before: &str, rows: &BTreeMap<&str, String>) -> String {
    let mut all = Vec::new();
    for mutant in MUTANTS {
        let start = format!("| `{}` |", mutant.id);
        let old = || before.lines().find(|line| line.starts_with(&start)).map(str::to_owned);
        let new = rows.get(mutant.id).cloned();
        let none = || row(mutant, &Hunt::default(), false);
        all.push(new.or_else(old).unwrap_or_else(none));
    }
    let mut page = HEAD.to_owned() + &all.join("\n") + "\n" + &summary(&all) + EXPLANATIONS;
    for (entry, why) in EXPLAINED {
        page += &format!("| {entry} | {why} |\n");
    }
    page
}

/// Whether the corpus has a plan that kills `id`.
#[expect(clippy::disallowed_methods, reason = "looks at the corpus outside every universe")]
pub(super) fn has_plan(id: &str) -> bool {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");
    Path::new(corpus).join(format!("mutant-{id}.json")).exists()
}

#[expect(clippy::disallowed_methods, reason = "a page is read before any universe exists")]
pub(super) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Plan;

    fn hunt(seeds: u64, kills: &[u64]) -> Hunt {
        let kill = |seed: &u64| (Plan::draw(*seed), "acked-survives: 1/2 is gone".to_owned());
        Hunt { seeds, kills: kills.iter().map(kill).collect(), ..Hunt::default() }
    }

    #[test]
    fn a_row_says_who_found_it_and_how_many_seeds_a_kill_took() {
        let row = row(&MUTANTS[0], &hunt(100, &[9, 10, 40]), true);

        assert!(row.starts_with(&format!("| `{}` |", MUTANTS[0].id)), "{row}");
        assert!(row.contains("| `acked-survives` | 3 | 34 |"), "{row}");
    }

    #[test]
    fn a_page_keeps_the_rows_of_mutants_that_were_not_hunted_and_sums_up() {
        let first = page("", &[(MUTANTS[0].id, row(&MUTANTS[0], &hunt(60, &[4]), true))].into());
        let second =
            page(&first, &[(MUTANTS[1].id, row(&MUTANTS[1], &hunt(50, &[7]), true))].into());

        assert!(second.contains("| 1 | 60 |") && second.contains("| 1 | 50 |"), "{second}");
        assert!(second.contains("; 2 were found, 1 of them take"), "{second}");
        assert_eq!(second.lines().filter(|line| line.starts_with("| `")).count(), MUTANTS.len());
    }
}
