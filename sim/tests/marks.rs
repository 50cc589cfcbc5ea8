//! The lists of marks hold what the product's source says, so that none is forgotten.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the tree should stop")]

use std::collections::BTreeSet;
use std::path::Path;

use sim::campaign::{EXCUSED, RARE, Totals, all_marks, catalog};

#[expect(clippy::disallowed_methods, reason = "a test reads the source")]
fn sources(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            into.push_str(text.split("#[cfg(test)]").next().unwrap_or_default());
        }
    }
}

/// The literals behind `reached(`.
fn reached(text: &str) -> BTreeSet<&str> {
    let calls = text.split("reached(").skip(1);
    calls.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next()).collect()
}

#[test]
fn every_mark_in_the_source_is_in_its_crates_list() {
    let listed: BTreeSet<&str> = all_marks().collect();
    let mut missing = Vec::new();
    for name in ["storage", "broker", "metadata", "coordinator", "wire"] {
        let mut text = String::new();
        let folder = format!("{}/../crates/{name}/src", env!("CARGO_MANIFEST_DIR"));
        sources(Path::new(&folder), &mut text);
        for mark in reached(&text) {
            if !listed.contains(mark) {
                missing.push(format!("{name}: {mark}"));
            }
        }
    }
    assert!(missing.is_empty(), "not in MARKS:\n{}", missing.join("\n"));
}

#[test]
fn only_marks_that_exist_are_excused_or_rare_and_each_once() {
    let listed: BTreeSet<&str> = all_marks().collect();
    let mut seen = BTreeSet::new();
    let excused = EXCUSED.iter().flat_map(|(_, marks)| *marks);
    for mark in excused.chain(RARE.iter().flat_map(|(_, marks)| *marks)) {
        assert!(listed.contains(mark), "{mark} is in no crate's list");
        assert!(seen.insert(mark), "{mark} is there twice");
    }
    for (reason, _) in EXCUSED {
        assert!(reason.len() > 10, "{reason}");
    }
    for (from, _) in RARE {
        assert!(*from > Totals::JUDGED_FROM, "{from}");
    }
}

#[test]
fn a_larger_campaign_demands_more_marks_and_never_an_excused_one() {
    let demanded = |seeds| catalog(seeds).collect::<BTreeSet<&str>>();

    let (small, large) = (demanded(Totals::JUDGED_FROM), demanded(u64::MAX));

    assert!(small.is_subset(&large) && small.len() < large.len());
    assert!(EXCUSED.iter().flat_map(|(_, marks)| *marks).all(|mark| !large.contains(mark)));
}
