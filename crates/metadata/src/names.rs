//! Topic names: which are legal, which collide, which belong to the coordinators.

/// Where groups and their offsets live.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// Topics that only the broker writes.
pub const INTERNAL_TOPICS: &[&str] = &[OFFSETS_TOPIC, "__transaction_state", "__share_group_state"];

/// Whether only the broker writes to `name`.
pub fn is_internal(name: &str) -> bool {
    INTERNAL_TOPICS.contains(&name)
}

/// Whether `name` may be a topic's.
pub fn is_legal_name(name: &str) -> bool {
    check(name).is_ok()
}

/// Kafka's rule: 1 to 249 characters of `[a-zA-Z0-9._-]`, not `.` or `..`.
///
/// # Errors
/// Kafka's sentence about what is wrong.
pub fn check(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("Topic name is invalid: the empty string is not allowed".to_owned());
    }
    if name == "." || name == ".." {
        return Err("Topic name is invalid: '.' or '..' is not allowed".to_owned());
    }
    if name.len() > 249 {
        return Err(format!(
            "Topic name is invalid: the length of '{name}' is longer than the max allowed length 249"
        ));
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !name.bytes().all(legal) {
        return Err(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ));
    }
    Ok(())
}

/// Metric names of Kafka cannot tell `.` from `_`, so two such topics may not both exist.
pub(crate) fn collide(a: &str, b: &str) -> bool {
    a != b && a.len() == b.len() && a.bytes().map(fold).eq(b.bytes().map(fold))
}

fn fold(byte: u8) -> u8 {
    if byte == b'.' { b'_' } else { byte }
}
