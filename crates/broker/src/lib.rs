//! Drivers and assembly of one broker.
//!
//! Owns: which partitions, coordinator shards and metadata this process hosts, and the order in
//! which they start and stop. Decides nothing (the cores do) and knows no Kafka message: [`api`]
//! would look the same had Kafka's protocol never existed.
#![forbid(unsafe_code)]

mod alive;
pub mod api;
mod background;
mod broker;
mod config;
mod coordinator_host;
mod dirs;
mod fetch;
pub mod inspect;
mod marks;
pub mod measure;
mod metadata_host;
mod metadata_log;
mod node;
mod openers;
mod partition;
mod partitions;
mod publisher;
mod recorder;
mod unmade;
pub mod verify;

pub use broker::{Broker, ProducerIdError, StartError, Stopped};
pub use config::{BrokerConfig, TopicConfig, rate_of};
pub use marks::{MARKS, MUTANTS, MUTANTS_OF_THREADS};
pub use metadata_host::MetadataFailed;
pub use metadata_log::MetadataLogError;
pub use partition::{Held, Submitted};
pub use publisher::OpenAllError;
