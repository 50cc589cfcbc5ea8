//! A coordinator shard, driven through its one door.
//!
//! Owns: scripts with their expected traces, and random events against invariants.

mod log;
mod properties;
mod scripts;
mod traces;
mod world;
