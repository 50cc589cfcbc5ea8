//! What neither rustc nor clippy checks about how the source looks.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that cannot read the tree should say so and stop"
)]

use std::path::{Path, PathBuf};

use syn::visit::Visit;

const LINES_MAX: usize = 600;
const FN_LINES_MAX: usize = 70;

fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent").to_owned();
    let mut todo: Vec<_> = ["crates", "proto", "sim", "tests"].map(|dir| root.join(dir)).into();
    let mut found = Vec::new();
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                if !path.ends_with("generated") && !path.ends_with("target") {
                    todo.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Lines before the unit tests.
fn code_lines(text: &str) -> usize {
    text.lines().take_while(|l| *l != "#[cfg(test)]").count()
}

/// Process-wide state is shared by all simulated brokers; these channels wake in random order.
fn hidden_state(path: &Path, line: &str) -> Option<&'static str> {
    let text = path.to_string_lossy();
    if ["/env-tokio/", "/gregor/", "/tests/", "/proto/"].iter().any(|free| text.contains(free)) {
        return None;
    }
    let line = line.trim_start();
    let is_static = line.starts_with("static ") || line.starts_with("pub static ");
    // (thread-locals hold `RefCell`s: clippy bans the macro.)
    let shared = ["Mutex", "Atomic", "OnceLock", "LazyLock", "RwLock"];
    if is_static && shared.iter().any(|kind| line.contains(kind)) {
        return Some("static");
    }
    ["sync::watch", "sync::broadcast", "task::JoinSet"].into_iter().find(|word| line.contains(word))
}

struct LongFns(Vec<(String, usize)>);

impl<'a> Visit<'a> for LongFns {
    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.check(&item.sig.ident, &item.block);
        syn::visit::visit_item_fn(self, item);
    }
    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.check(&item.sig.ident, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }
}

impl LongFns {
    fn check(&mut self, name: &syn::Ident, block: &syn::Block) {
        let span = block.brace_token.span;
        let lines = span.close().end().line - span.open().start().line + 1;
        if lines > FN_LINES_MAX {
            self.0.push((name.to_string(), lines));
        }
    }
}

#[test]
fn source_is_tidy() {
    let mut untidy = Vec::new();
    for path in sources() {
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        let at = path.display();
        if !text.starts_with("//!") {
            untidy.push(format!("{at}: no `//!` header"));
        }
        if code_lines(&text) > LINES_MAX {
            untidy.push(format!("{at}: {} lines, at most {LINES_MAX}", code_lines(&text)));
        }
        let file = syn::parse_file(&text).expect("it compiles, so it parses");
        let mut long = LongFns(Vec::new());
        long.visit_file(&file);
        untidy.extend(long.0.iter().map(|(name, n)| format!("{at}: fn {name} has {n} lines")));
        for (index, line) in text.lines().enumerate() {
            let next = text.lines().nth(index + 1).unwrap_or_default().trim();
            if line.contains(concat!("select", "! {")) && next != "biased;" {
                untidy.push(format!("{at}:{}: `select!` without `biased;`", index + 1));
            }
            if let Some(word) = hidden_state(&path, line) {
                untidy.push(format!("{at}:{}: `{word}` is not in the model", index + 1));
            }
        }
    }
    assert!(untidy.is_empty(), "\n{}", untidy.join("\n"));
}
