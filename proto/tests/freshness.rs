//! What is committed is what the generator writes.
#![expect(clippy::disallowed_methods, reason = "a test that reads the tree")]

use std::path::Path;

#[test]
fn the_committed_code_is_what_cargo_codegen_writes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files = proto::generate(&root).expect("the text files make sense");

    let mut stale = Vec::new();
    for (path, content) in &files {
        // A checkout may have other line ends.
        let committed = std::fs::read_to_string(root.join(path)).unwrap_or_default();
        if committed.replace("\r\n", "\n") != *content {
            stale.push(path);
        }
    }
    for folder in ["crates/protocol/src/generated", "crates/coordinator/src/generated"] {
        let mut folders = vec![root.join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a generated folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let known = files.keys().any(|known| root.join(known) == path);
                assert!(known, "{} is not generated any more", path.display());
            }
        }
    }
    assert!(stale.is_empty(), "run `cargo codegen`: {stale:?}");
}
