//! The front door on the real world: one broker, loopback, and the client of this crate.
#![expect(clippy::disallowed_methods, reason = "tests make and remove their own directories")]
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

#[path = "wire/connections.rs"]
mod connections;
#[path = "wire/counting.rs"]
mod counting;
#[path = "wire/data.rs"]
mod data;
#[path = "wire/groups.rs"]
mod groups;
#[path = "wire/repeats.rs"]
mod repeats;
#[path = "wire/sessions.rs"]
mod sessions;
#[path = "wire/settings.rs"]
mod settings;
#[path = "wire/together.rs"]
mod together;
#[path = "wire/topics.rs"]
mod topics;
#[path = "wire/versions.rs"]
mod versions;
#[path = "wire/waiting.rs"]
mod waiting;
#[path = "wire/world.rs"]
mod world;
