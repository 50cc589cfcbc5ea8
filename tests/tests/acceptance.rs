//! docs/acceptance.md names every check of the acceptance behaviours, and every behaviour has one.
//!
//! Owns: the scope. The checks themselves are Java (tests/clients, files `Accept*.java`); here only
//! their names are read, and held to the page's tables.
#![expect(clippy::unwrap_used, reason = "a test that cannot read the tree should stop")]
#![expect(clippy::disallowed_methods, reason = "looks at the repository it is built from")]

use std::collections::BTreeSet;

use tests::root;

/// The behaviours that concern one broker without transactions, ACLs and the newer group protocols.
const ITEMS: &[(u32, u32)] =
    &[(1, 30), (32, 38), (40, 47), (49, 52), (67, 77), (88, 89), (93, 93), (98, 98)];
/// The sections of traps in that scope.
const TRAPS: &[u32] = &[1, 2, 3, 4, 5, 6, 7, 9];

const CHECKS: &str = "tests/clients/suite/src/main/java/suite";

/// The names of all checks: string literals behind an opening, joined, with `…` for what is not one.
fn names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(root().join(CHECKS)).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        if !file.starts_with("Accept") || file == "Acceptance.java" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for (opening, prefix) in
            [("item(\"", "1.1 item "), ("trap(\"", "1.1 trap "), ("check(\"", "")]
        {
            for (at, _) in text.match_indices(opening) {
                let literal = &text[at + opening.len() - 1..];
                names.insert(format!("{prefix}{}", joined(literal)));
            }
        }
    }
    names
}

/// The text of `"a" + b + "c",` up to that comma: `a…c`.
fn joined(mut expression: &str) -> String {
    let mut text = String::new();
    loop {
        expression = expression.trim_start();
        if let Some(rest) = expression.strip_prefix('"') {
            let end = rest.find('"').unwrap();
            text.push_str(&rest[..end]);
            expression = &rest[end + 1..];
        } else if let Some(rest) = expression.strip_prefix('+') {
            expression = rest;
        } else if expression.starts_with(',') {
            return text;
        } else {
            text.push('…');
            let end = expression.find(['+', ',']).unwrap();
            expression = &expression[end..];
        }
    }
}

fn page() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/acceptance.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| 1.1 ")?.strip_suffix(" |"));
    rows.map(|row| format!("1.1 {row}")).collect()
}

#[test]
fn the_page_names_every_check_and_no_other() {
    let page = page();
    let told: BTreeSet<String> = page.iter().cloned().collect();
    let names = names();
    let missing: Vec<_> = names.difference(&told).collect();
    let gone: Vec<_> = told.difference(&names).collect();
    assert!(missing.is_empty() && gone.is_empty(), "missing {missing:#?}, gone {gone:#?}");
    assert_eq!(page.len(), told.len(), "a name stands twice");
}

#[test]
fn every_behaviour_and_every_section_of_traps_has_a_check() {
    let names = names();
    let has = |what: &str| names.iter().any(|name| name.starts_with(what));
    for number in ITEMS.iter().flat_map(|(first, last)| *first..=*last) {
        assert!(has(&format!("1.1 item {number}: ")), "item {number}");
    }
    for number in TRAPS {
        assert!(has(&format!("1.1 trap {number}: ")), "trap {number}");
    }
}

#[test]
fn a_name_in_pieces_is_read_as_one() {
    assert_eq!(joined("\"7: a \"\n  + \"b\", c"), "7: a b");
    assert_eq!(joined("\"1.1 item 10: \" + codec.name\n + \" is\", at"), "1.1 item 10: … is");
}
