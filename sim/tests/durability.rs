//! The page of what may be lost: as the table in the code says, backed by counts, oracles that
//! exist, and plans that show each loss.
#![expect(clippy::unwrap_used, reason = "a test that cannot read the tree should stop")]
#![expect(clippy::disallowed_methods, reason = "looks at the repository it is built from")]

use std::collections::{BTreeMap, BTreeSet};

use sim::durability::{Cell, Promise, Shows, page, plans, read, rows};
use sim::fault::Plan;
use sim::scenario::{RunOptions, run_plan};
use sim::world::install_panic_hook;
use tests::markdown::Page;
use tests::root;

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn the_page_is_what_the_table_and_its_own_counts_make() {
    let found = text("docs/durability.md");
    let counts = read(&found).unwrap();

    assert_eq!(counts.rows.len(), rows().count(), "make it again, with --durability");
    assert!(found == page(&counts), "make it again, with --durability");
}

#[test]
fn every_safe_cell_is_backed_by_a_seed_of_the_campaign() {
    let counts = read(&text("docs/durability.md")).unwrap();

    assert_eq!(counts.unbacked(), [""; 0]);
    assert!(counts.seeds >= 1_000, "only {} seeds", counts.seeds);
}

#[test]
fn every_safe_cell_names_oracles_that_there_are() {
    let oracles = Page::read(&text("docs/simulation.md")).first_cells;
    let mut known: BTreeSet<String> =
        oracles.iter().map(|cell| cell.text.trim_matches('`').to_owned()).collect();
    // Not called as a check, with the same effect.
    known.insert("settle".into());
    for row in rows() {
        for cell in &row.cells {
            let Cell::Safe(oracles) = cell else { continue };
            for oracle in *oracles {
                assert!(known.contains(*oracle), "{}: no oracle {oracle}", row.fault);
            }
        }
    }
}

#[test]
fn every_weak_cell_has_a_plan_that_shows_the_loss() {
    install_panic_hook();
    let mut outcomes = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, shows) in plans() {
        let (plan, outcome) = outcomes.entry(name).or_insert_with(|| {
            let plan = Plan::from_json(&text(&format!("sim/corpus/{name}.json"))).unwrap();
            let outcome = run_plan(&plan, &RunOptions::default());
            (plan, outcome)
        });
        assert!(plan.mutants.is_empty(), "{name} shows a planted bug");
        if let Err(why) = shows.check(outcome) {
            wrong.push(format!("{name}: {why}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn every_plan_of_a_loss_belongs_to_a_weak_cell() {
    let named: BTreeSet<&str> = plans().map(|(name, _)| name).collect();
    let files = std::fs::read_dir(root().join("sim/corpus")).unwrap();
    for file in files {
        let name = file.unwrap().file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".json") else { continue };
        let is_weak = name.starts_with("weak-") || name.starts_with("open-");
        assert!(!is_weak || named.contains(name), "{name} shows no weak cell");
    }
}

#[test]
fn a_plan_that_loses_nothing_is_not_believed() {
    install_panic_hook();
    let mut plan = Plan::draw(1);
    plan.faults.clear();
    plan.gone.clear();
    let outcome = run_plan(&plan, &RunOptions::default());

    let shows = [
        Shows::Lost(Promise::Replicated),
        Shows::Lied(Promise::Fsync),
        Shows::Excused("topics"),
        Shows::Told("bit rot"),
        Shows::Refused("damaged manifest", "manifest"),
        Shows::Untold("replaced-directory"),
    ];
    assert!(outcome.failure.is_none());
    assert!(shows.iter().all(|shows| shows.check(&outcome).is_err()));
}
