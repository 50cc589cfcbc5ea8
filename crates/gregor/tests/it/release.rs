//! What is in the binary that is shipped.

/// Planted in a crate that this one may not name.
const IN_COORDINATOR: &[&str] = &["forget_group_offsets"];

/// Mutants are planted through the probe, which production's does not know: nothing of them may be
/// left in what is shipped. Only an optimized binary is looked at, for there the dead code is gone;
/// CI builds it before it runs the tests.
#[test]
fn no_mutant_is_in_the_release_binary() {
    let release = tests::root().join("target/release/gregor");
    let Ok(bytes) = std::fs::read(&release) else {
        println!("{} is not built; nothing was looked at", release.display());
        return;
    };
    let planted = [storage::MUTANTS, broker::MUTANTS, wire::MUTANTS, IN_COORDINATOR];
    let mutants = planted.into_iter().flatten();
    let found: Vec<_> = mutants
        .filter(|id| bytes.windows(id.len()).any(|window| window == id.as_bytes()))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}
