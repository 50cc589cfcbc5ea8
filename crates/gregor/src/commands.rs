//! The commands, one file each.

pub mod bench;
pub mod config;
pub mod consume;
pub mod dump;
pub mod group;
pub mod produce;
pub mod topic;
pub mod verify;
