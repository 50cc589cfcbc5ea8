//! Remarks: what people want to know of a run beyond the trace.
//!
//! Invariant: a remark changes nothing: it is no part of the hash, is not counted, and its text is
//! asked only when events are kept.

use std::fmt::{self, Debug, Write};

use super::{Note, Process, World};

impl World {
    /// Remarks on something.
    pub fn remark(&self, note: Note, text: impl FnOnce() -> String) {
        // Asked in either case, for it also remembers when the universe was last looked at.
        let now = self.now();
        self.trace.lock().remark(now, &note, text);
    }
}

impl Process {
    /// Remarks on something on behalf of this process.
    pub fn remark(&self, note: Note, text: impl FnOnce() -> String) {
        if self.alive() {
            self.world.remark(Note { node: Some(self.node), ..note }, text);
        }
    }
}

/// The beginning of what `value` looks like.
pub fn brief(value: &impl Debug) -> String {
    let mut brief = Brief(String::new());
    if write!(brief, "{value:?}").is_err() {
        brief.0.push('\u{2026}');
    }
    brief.0
}

/// Refuses to become too long.
struct Brief(String);

impl Brief {
    const BYTES_MAX: usize = 600;
}

impl Write for Brief {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > Self::BYTES_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::brief;

    #[test]
    fn what_is_long_is_cut() {
        assert_eq!(brief(&[1, 2]), "[1, 2]");
        let long = brief(&[7; 1000]);
        assert!(long.len() < 610 && long.ends_with('\u{2026}'), "{long}");
    }
}
