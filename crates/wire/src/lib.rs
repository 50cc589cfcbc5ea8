//! The Kafka front door, and a small client for tools, tests and the simulator.
//!
//! Owns: listeners, connections, the translation between Kafka's messages and `broker::api`, and
//! the table of error numbers. Names no core: what a broker can be asked is `broker::api`.
#![forbid(unsafe_code)]

mod dispatch;
mod handlers;
pub mod server;
