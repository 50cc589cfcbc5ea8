//! Every schedule of a small quorum, up to a bound: the real core, with a disk that loses what was not
//! flushed and a network that loses, doubles and reorders.
//!
//! A state is three nodes, their disks, and every message ever sent: a message may come at any time, as
//! often as it likes, or never. All timeouts are zero, so that any of them may end at any moment; a
//! node may become a candidate at any moment, for a pre-vote binds nobody. Searched breadth first, so that
//! a counterexample is a shortest one; it is printed step by step.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a search that meets what cannot be should stop"
)]
#![expect(clippy::print_stdout, reason = "a search says how far it came")]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "states are looked up and never gone through; hashes and times do not outlive the process"
)]

mod bfs;
mod scenarios;
mod world;
