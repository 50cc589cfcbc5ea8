//! Groups, offsets and transactions as pure state machines over the records of internal topics.
//!
//! Owns: the records of `__consumer_offsets` and its siblings (generated), and what they mean.
#![forbid(unsafe_code)]

pub mod generated;
