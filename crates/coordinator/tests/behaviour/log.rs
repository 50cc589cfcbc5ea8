//! Marks that were reached, for one test or for many.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base::Probe;
use coordinator::MARKS;

/// Remembers which marks were reached, and which mutant is on.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    reached: Arc<Vec<AtomicBool>>,
    mutant: &'static str,
}

impl Watch {
    pub(crate) fn new(mutant: &'static str) -> Self {
        Self { reached: Arc::new(MARKS.iter().map(|_| AtomicBool::new(false)).collect()), mutant }
    }

    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let all = MARKS.iter().zip(self.reached.iter());
        all.filter(|(_, seen)| !seen.load(Ordering::Relaxed)).map(|(mark, _)| *mark).collect()
    }
}

impl Probe for Watch {
    fn mutant(&self, id: &'static str) -> bool {
        id == self.mutant
    }

    fn reached(&self, mark: &'static str) {
        let at = MARKS.iter().position(|known| *known == mark);
        let at = at.unwrap_or_else(|| panic!("{mark} is not listed in MARKS"));
        self.reached[at].store(true, Ordering::Relaxed);
    }
}
