//! The Kafka front door, and a small client for tools, tests and the simulator.
//!
//! Owns: listeners, connections, the translation between Kafka's messages and `broker::api`, and
//! the table of error numbers. Names no core: what a broker can be asked is `broker::api`.
#![forbid(unsafe_code)]

pub mod client;
mod dispatch;
pub mod error_code;
mod handlers;
mod marks;
pub mod server;
mod sessions;

pub use error_code::ErrorCode;
pub use marks::{BUGGIFY_SITES, MARKS, MUTANTS};
pub use sessions::SessionCounts;
