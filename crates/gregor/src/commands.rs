//! The commands, one file each.

pub mod bench;
pub mod config;
pub mod consume;
pub mod dump;
pub mod group;
pub mod man;
pub mod metrics;
pub mod produce;
pub mod record;
pub mod settings;
pub mod topic;
pub mod verify;
