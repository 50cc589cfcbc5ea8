//! Kafka's protocol as types: frames, headers, versions, and every client-facing message.
//!
//! Owns: what stands on the wire between a client and a broker. Pure: it turns bytes into values
//! and back. Record batches pass through it unseen; a response is a list of [`Part`]s, so that
//! they are never copied.
//!
//! A message is read with `ProduceRequest::decode(&mut Reader::from(&bytes), version)` and written
//! with `response.encode(&mut writer, version)`; both come from the trait [`Wire`].
#![forbid(unsafe_code)]

pub mod api;
pub mod frame;
mod generated;
pub mod header;
pub mod records;
pub mod views;

pub use base::codec::{DecodeError, EncodeError, Message, Part, Reader, Wire, Writer};

pub use api::{ApiVersions, Request};
pub use generated::api_key::ApiKey;
pub use generated::messages;
pub use header::{ClientId, RequestHeader, ResponseHeader};
pub use records::Records;
