//! Drivers and assembly of one broker.
//!
//! Owns: which partitions, coordinator shards and metadata this process hosts, and the order in
//! which they start and stop. Decides nothing (the cores do) and knows no Kafka message: [`api`]
//! would look the same had Kafka's protocol never existed.
#![forbid(unsafe_code)]

pub mod api;
mod metadata_host;
mod metadata_log;
