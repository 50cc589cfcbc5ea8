//! The committed plans: each planted bug is found by its plan, and each plan that once showed a
//! bug of ours passes now.
#![expect(clippy::unwrap_used, reason = "a test that cannot read the corpus should stop")]

use std::path::PathBuf;

use sim::fault::Plan;
use sim::scenario::{RunOptions, run_plan};
use sim::world::install_panic_hook;

#[expect(clippy::disallowed_methods, reason = "the corpus lies in files")]
fn plans(prefix: &str) -> Vec<(PathBuf, Plan)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let wanted = |path: &PathBuf| {
        path.file_name().unwrap().to_string_lossy().starts_with(prefix)
            && path.extension().is_some_and(|extension| extension == "json")
    };
    let load = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let plan = Plan::from_json(&text).unwrap();
        (path, plan)
    };
    paths.into_iter().filter(wanted).map(load).collect()
}

#[test]
fn every_planted_bug_is_found_by_its_plan() {
    install_panic_hook();
    for (path, plan) in plans("mutant-") {
        let outcome = run_plan(&plan, &RunOptions::default());
        assert!(outcome.failure.is_some(), "{} found nothing", path.display());

        let sound = Plan { mutants: Vec::new(), ..plan };
        let outcome = run_plan(&sound, &RunOptions::default());
        assert_eq!(outcome.failure, None, "{} without the bug", path.display());
    }
}

#[test]
fn every_plan_that_once_showed_a_bug_passes() {
    install_panic_hook();
    for (path, plan) in plans("fixed-") {
        let outcome = run_plan(&plan, &RunOptions::default());
        assert_eq!(outcome.failure, None, "{}", path.display());
    }
}

#[test]
fn every_open_plan_still_shows_what_is_open() {
    install_panic_hook();
    for (path, plan) in plans("open-") {
        let outcome = run_plan(&plan, &RunOptions::default());
        assert!(outcome.failure.is_some(), "{}: mended? Then it is fixed-*", path.display());
    }
}
