//! Identity.
pub(crate) struct Identity;
pub fn decode_identity() {}
