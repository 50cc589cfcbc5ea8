//! What `cargo codegen` writes from `proto/kafka`.

pub mod api_key;
pub mod messages;
