//! How far long work is, drawn for a person.
//!
//! Invariants: it goes to standard error, and only to a terminal; it is gone when the work ends, so
//! that results and errors stand alone.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar, or nothing where nobody looks.
pub struct Progress(ProgressBar);

impl Progress {
    /// Over `total` bytes.
    pub fn bytes(total: u64) -> Self {
        Self::new(total, "{bar:32} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left")
    }

    /// Over `total` things of a kind, named in the plural. For commands that print as they go:
    /// nothing is drawn if their output goes to the terminal too.
    pub fn beside_output(total: u64, plural: &str) -> Self {
        if io::stdout().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        Self::new(total, &format!("{{bar:32}} {{pos}} of {{len}} {plural}, {{eta}} left"))
    }

    /// Draws nothing.
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    fn new(total: u64, template: &str) -> Self {
        let bar = if io::stderr().is_terminal() {
            ProgressBar::new(total)
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    /// So much more is done.
    pub fn add(&self, done: u64) {
        self.0.inc(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
