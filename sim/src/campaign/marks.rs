//! The marks that a long campaign has to reach.
//!
//! Invariant (held by `tests/marks.rs`): the committed list names exactly the marks that the
//! product's source sets; one that no simulated fault can cause says so with a reason.

const LIST: &str = include_str!("../../marks.txt");

/// The marks that must be reached: one a line, `#` begins a comment, and a line `mark !reason`
/// excuses the mark.
pub fn catalog() -> impl Iterator<Item = &'static str> {
    LIST.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.contains('!'))
}
