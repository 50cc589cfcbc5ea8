//! What the tests of the house share: reading our own pages, and holding them to the tree.
//!
//! Nothing of the product depends on this crate; `crates/gregor` and `sim` use it in tests that run
//! the commands of README.md.
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "looks at the repository it is built from")]

pub mod browser;
pub mod console;
pub mod markdown;
pub mod pages;

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
