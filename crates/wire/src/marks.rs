//! The front door's marks: every refusal, error answer and timer that a campaign must reach.

/// Rare branches a campaign must reach.
pub const MARKS: &[&str] = &[];
