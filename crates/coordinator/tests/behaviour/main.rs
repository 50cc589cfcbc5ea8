//! A coordinator shard, driven through its one door.
//!
//! Owns: scripts with their expected traces, and random events against invariants.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod deletions;
mod log;
mod properties;
mod scripts;
mod timers;
mod traces;
mod world;
