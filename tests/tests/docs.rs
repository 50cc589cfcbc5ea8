//! Our pages say what is: every path, crate, link and command they name exists, every decision has
//! its reasons, and every command of README.md is run by a test. The rules are in `tests::pages`.
#![expect(clippy::unwrap_used, reason = "a test that cannot read the tree should stop")]
#![expect(clippy::disallowed_methods, reason = "looks at the repository it is built from")]

use std::collections::BTreeSet;
use std::path::Path;

use tests::markdown::Page;
use tests::pages::{Tree, check_adr, source_of};
use tests::{console, root};

/// Who runs the commands of README.md: a file, and the words with which a command begins that it
/// runs. `crates/gregor/tests/readme.rs` and `sim/tests/readme.rs` run what they find in the page;
/// the others must have the words in their text.
const RUNS: &[(&str, &str)] = &[
    ("crates/gregor/tests/readme.rs", "gregor "),
    ("crates/gregor/tests/readme.rs", "cargo run --release --bin gregor -- "),
    ("crates/gregor/tests/readme.rs", "export PATH="),
    ("crates/gregor/tests/readme.rs", "pkill -9 -x gregor"),
    ("crates/gregor/tests/readme.rs", "seq "),
    ("crates/gregor/tests/readme.rs", "echo "),
    ("crates/gregor/tests/readme.rs", "printf "),
    ("crates/gregor/tests/readme.rs", "kcat "),
    ("sim/tests/readme.rs", "cargo sim --seed "),
    (".ci/run", "cargo test --workspace"),
];

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn tree() -> Tree {
    Tree::look(&root()).unwrap()
}

#[test]
fn everything_our_pages_name_exists() {
    let tree = tree();
    let mut wrong = Vec::new();
    for page in tree.pages().unwrap() {
        wrong.extend(tree.check(&page, &read(page.to_str().unwrap())));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_table_of_crates_names_every_crate_and_no_other() {
    let page = Page::read(&read("docs/architecture.md"));
    let names = page.first_cells.iter().filter_map(|cell| {
        let name = cell.text.strip_prefix('`')?.strip_suffix('`')?;
        name.chars().all(|c| c.is_ascii_lowercase() || c == '-').then(|| name.to_owned())
    });
    let named: BTreeSet<String> = names.collect();
    let ours: BTreeSet<String> = tree().crates.into_keys().collect();
    assert_eq!(named, ours);
}

#[test]
fn every_decision_says_why_and_what_was_rejected() {
    let mut names: Vec<String> = std::fs::read_dir(root().join("docs/adr"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut wrong = Vec::new();
    for (number, name) in (1..).zip(&names) {
        wrong.extend(check_adr(name, &read(&format!("docs/adr/{name}"))));
        if !name.starts_with(&format!("{number:04}-")) {
            wrong.push(format!("{name}: number {number:04} is missing or there twice"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_byte_drawing_is_encoded_by_a_test() {
    let encoders =
        ["crates/storage/tests/format_doc.rs", "crates/broker/src/metadata_log/format_doc.rs"];
    let encoders = encoders.map(read).concat();
    let mut drawings = 0;
    for path in tree().pages().unwrap() {
        for block in Page::read(&read(path.to_str().unwrap())).blocks {
            let Some(name) = block.info.strip_prefix("hex ") else { continue };
            drawings += 1;
            let known = [format!("check(\"{name}\""), format!("```hex {name}\\n")];
            let is_encoded = known.iter().any(|text| encoders.contains(text));
            assert!(is_encoded, "{}:{}: nobody encodes {name}", path.display(), block.line);
        }
    }
    assert!(drawings >= 7, "only {drawings} drawings");
}

/// All quoted words between `from` and the next `to`, at each place where `from` stands.
fn quoted(text: &str, from: &str, to: &str) -> BTreeSet<String> {
    let parts = text.split(from).skip(1).filter_map(|rest| Some(rest.split_once(to)?.0));
    parts.flat_map(|part| part.split('"').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn the_simulators_page_lists_its_oracles_and_faults_and_no_others() {
    let source = source_of(&root().join("sim/src"));
    let mut ours = quoted(&source, ".check(", ",");
    ours.extend(quoted(&source, "CLASSES: &'static [&'static str] = &[", "];"));

    assert_eq!(names_in("docs/simulation.md"), ours);
}

/// What stands in backquotes in the first cells of a page's tables, commands left out.
fn names_in(page: &str) -> BTreeSet<String> {
    let page = Page::read(&read(page));
    let names = page.first_cells.iter().filter_map(|cell| {
        let name = cell.text.strip_prefix('`')?.strip_suffix('`')?;
        (!name.starts_with("cargo ")).then(|| name.to_owned())
    });
    names.collect()
}

#[test]
fn the_page_of_mutants_lists_them_all_and_a_plan_of_the_corpus_kills_each() {
    let source = read("sim/src/mutants.rs");
    let list =
        source.split("MUTANTS: &[Mutant] = &[").nth(1).and_then(|rest| rest.split("];").next());
    let calls = list.unwrap().split("mutant(").skip(1);
    let ours: BTreeSet<String> =
        calls.filter_map(|call| Some(call.split('"').nth(1)?.to_owned())).collect();

    assert_eq!(names_in("docs/mutants.md"), ours);
    let page = read("docs/mutants.md");
    for id in ours {
        let plan = root().join(format!("sim/corpus/mutant-{id}.json"));
        // What has no plan, or none any more, is said to have none.
        let row = page.lines().find(|line| line.starts_with(&format!("| `{id}` |"))).unwrap();
        assert!(plan.exists() || row.ends_with("| – |"), "{} is missing", plan.display());
    }
}

/// Commands of `readme` that nobody runs.
fn not_run(readme: &str) -> Vec<String> {
    let steps = console::steps(&Page::read(readme));
    let is_run = |command: &str| RUNS.iter().any(|(_, words)| command.starts_with(words));
    steps.into_iter().map(|step| step.command).filter(|command| !is_run(command)).collect()
}

#[test]
fn every_command_of_the_readme_is_run_by_a_test() {
    assert_eq!(not_run(&read("README.md")), [""; 0]);
    for (file, words) in RUNS {
        let text = read(file);
        let extracts = text.contains("console::steps") && text.contains("README.md");
        assert!(extracts || text.contains(words), "{file} does not run `{words}`");
    }
}

#[test]
fn a_command_that_nobody_runs_is_noticed() {
    let readme = "```console\n$ gregor topic list\n$ make coffee\n```\n";

    assert_eq!(not_run(readme), ["make coffee"]);
}

#[test]
fn a_page_that_names_what_is_not_there_is_refused() {
    let bad = [
        ("see `crates/nowhere/src/lib.rs`", "no such path"),
        ("see `sim/nothing-*.json/x` and `sim/no/**`", "no such path"),
        ("see `NOTHING.md`", "no such path"),
        ("see [there](nowhere.md)", "the link leads nowhere"),
        ("see [there](docs/glossary.md#no-such-part)", "no such heading"),
        ("see [above](#nothing)", "no such heading"),
        ("see `nocrate::item`", "no such crate"),
        ("see `base::NoSuchItemAnywhere`", "base has no NoSuchItemAnywhere"),
        ("run `cargo frobnicate`", "no such cargo command"),
        ("run `cargo test -p nocrate`", "no such crate"),
        ("```console\n$ cargo frobnicate\n```", "no such cargo command"),
    ];
    for (text, why) in bad {
        let wrong = tree().check(Path::new("README.md"), text);
        assert!(wrong.iter().any(|line| line.contains(why)), "{text}: {wrong:?}");
    }
}

#[test]
fn a_page_that_names_what_is_there_passes() {
    let good = "# Good part\n\
        `crates/base/src/lib.rs`, `crates/*/src`, `sim/src/`, `target/debug/x`, `Cargo.toml`, \
        `server.properties`, `acks=all`, `a/b`, `base::config`, `env_tokio`, `std::fs`, \
        `Image::apply`, `bytes::Bytes`, `cargo test -p CRATE`, `cargo sim --seed 42`, \
        [page](docs/glossary.md#glossary), [part](#good-part), [site](https://example.org/x)";

    assert_eq!(tree().check(Path::new("README.md"), good), [""; 0]);
}

#[test]
fn a_decision_without_an_alternative_is_refused() {
    let text = "# 0001 Title\n\n**Decision.** This.\n\n**Why.** **Rejected.**\n";

    assert_eq!(check_adr("0001-title.md", text).len(), 2);
    assert_eq!(check_adr("0002-title.md", text).len(), 3);
}
