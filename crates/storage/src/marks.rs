//! The rare branches of this crate, by name.

/// Every mark that this crate can reach; a campaign in which one never fires is not thorough.
pub const MARKS: &[&str] = &["storage_directory_failed"];
