//! The probe: how the simulator reaches into shipped code without a cfg or a cargo feature.
//!
//! Invariant: production uses `()`, whose methods are constants, so that no id survives in the
//! release binary. An id is a string literal at the call site, `snake_case`, unique per meaning.

/// What the simulator may ask of, and learn from, the code under test.
pub trait Probe: Clone + Send + Sync + 'static {
    /// Whether the planted bug `id` is switched on in this run.
    #[inline(always)]
    fn mutant(&self, _id: &'static str) -> bool {
        false
    }

    /// Marks that a rare branch was reached; a campaign in which a mark never fires fails.
    #[inline(always)]
    fn reached(&self, _mark: &'static str) {}

    /// Whether to behave in an unusual but legal way at `site` now (FoundationDB's BUGGIFY).
    #[inline(always)]
    fn buggify(&self, _site: &'static str) -> bool {
        false
    }
}

impl Probe for () {}
