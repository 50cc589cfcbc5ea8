//! One broker through its own API, on the real world and a directory of its own.
#![expect(clippy::disallowed_methods, reason = "makes and removes directories of the real machine")]

#[cfg(test)]
#[path = "broker/cleaning.rs"]
mod cleaning;
#[cfg(test)]
#[path = "broker/commits.rs"]
mod commits;
#[cfg(test)]
#[path = "broker/damaged.rs"]
mod damaged;
#[cfg(test)]
#[path = "broker/dirs.rs"]
mod dirs;
#[cfg(test)]
#[path = "broker/fetch.rs"]
mod fetch;
#[cfg(test)]
#[path = "broker/groups.rs"]
mod groups;
#[cfg(test)]
#[path = "broker/inflated.rs"]
mod inflated;
#[cfg(test)]
#[path = "broker/lifecycle.rs"]
mod lifecycle;
#[cfg(test)]
#[path = "broker/measure.rs"]
mod measure;
#[cfg(test)]
#[path = "broker/members.rs"]
mod members;
#[cfg(test)]
#[path = "broker/modes.rs"]
mod modes;
#[cfg(test)]
#[path = "broker/partitions.rs"]
mod partitions;
#[cfg(test)]
#[path = "broker/produce.rs"]
mod produce;
#[cfg(test)]
#[path = "broker/settings.rs"]
mod settings;
#[cfg(test)]
#[path = "broker/shaky.rs"]
mod shaky;
#[cfg(test)]
#[path = "broker/verify.rs"]
mod verify;
#[cfg(test)]
#[path = "broker/world.rs"]
mod world;
#[cfg(test)]
#[path = "broker/writer.rs"]
mod writer;
