//! The marks that a long campaign has to reach.
//!
//! Invariants: each crate lists its own marks and a test of this crate holds the lists against the
//! source; a mark that no simulated fault can cause is excused here, with the reason.

/// Marks that no plan can reach, and why.
pub const EXCUSED: &[(&str, &str)] = &[];

/// The marks that crashes, lost power, broken connections and ordinary work can reach.
fn reachable() -> impl Iterator<Item = &'static str> {
    [storage::MARKS, broker::MARKS, metadata::MARKS, wire::MARKS].into_iter().flatten().copied()
}

/// The marks of every crate of the product, those of damage that no fault here causes included.
pub fn all() -> impl Iterator<Item = &'static str> {
    reachable().chain(storage::MARKS_DAMAGE.iter().copied())
}

/// The marks that must be reached.
pub fn catalog() -> impl Iterator<Item = &'static str> {
    reachable().filter(|mark| EXCUSED.iter().all(|(excused, _)| excused != mark))
}
