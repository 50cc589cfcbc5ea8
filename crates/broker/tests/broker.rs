//! One broker through its own API, on the real world and a directory of its own.

#[path = "broker/fetch.rs"]
mod fetch;
#[path = "broker/lifecycle.rs"]
mod lifecycle;
#[path = "broker/produce.rs"]
mod produce;
#[path = "broker/shaky.rs"]
mod shaky;
#[path = "broker/world.rs"]
mod world;
#[path = "broker/writer.rs"]
mod writer;
