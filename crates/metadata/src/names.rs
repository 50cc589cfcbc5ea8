//! Topic names: which are legal, which collide, which belong to the coordinators.

use std::collections::BTreeMap;
use std::sync::Arc;

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
        return Err(format!("Topic name is invalid: '{name}' is not allowed"));
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

/// Names that are taken, to be asked which one another would collide with: metric names of Kafka cannot
/// tell `.` from `_`, so two such topics may not both exist.
#[derive(Debug, Default)]
pub(crate) struct Folded(BTreeMap<Vec<u8>, Arc<str>>);

impl Folded {
    pub(crate) fn insert(&mut self, name: &Arc<str>) {
        if may_collide(name) {
            self.0.entry(name.bytes().map(fold).collect()).or_insert_with(|| Arc::clone(name));
        }
    }

    pub(crate) fn colliding(&self, name: &str) -> Option<&Arc<str>> {
        if !may_collide(name) {
            return None;
        }
        let other = self.0.get(&name.bytes().map(fold).collect::<Vec<u8>>());
        other.filter(|other| &***other != name)
    }
}

fn may_collide(name: &str) -> bool {
    name.contains(['.', '_'])
}

fn fold(byte: u8) -> u8 {
    if byte == b'.' { b'_' } else { byte }
}
