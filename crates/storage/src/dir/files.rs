//! How many files the logs of a directory may keep open.
//!
//! Invariant: between two looks at most a quarter of the limit is opened, and a look that finds more
//! than half of it open closes those of the logs that were not written to for longest.

use base::Probe;
use env::Env;
use env::atomic::{AtomicUsize, Ordering};

use super::{DirShared, LogDir};
use crate::log::Log;

/// The limit, and what happened since the last look.
pub(super) struct Files {
    max: usize,
    opened: AtomicUsize,
}

impl Files {
    pub(super) fn new<P: Probe>(max: usize, probe: &P) -> Self {
        let max = if probe.buggify("storage_few_files") { 2 } else { max };
        Self { max, opened: AtomicUsize::new(0) }
    }

    fn is_due(&self) -> bool {
        self.opened.load(Ordering::Relaxed) > self.max / 4
    }
}

impl<E: Env> DirShared<E> {
    /// A log opens a file that it keeps.
    pub(crate) fn note_opened(&self) {
        self.files.opened.fetch_add(1, Ordering::Relaxed);
        if self.files.is_due() {
            self.kick.notify_one();
        }
    }
}

/// Closes files if there are too many.
pub(super) fn release<E: Env>(handle: &LogDir<E>) {
    let files = &handle.shared.files;
    if !files.is_due() {
        return;
    }
    files.opened.store(0, Ordering::Relaxed);
    let mut logs = handle.open_logs();
    let mut open: usize = logs.iter().map(Log::files_open).sum();
    if open <= files.max / 2 {
        return;
    }
    logs.sort_by_cached_key(Log::used_at);
    for log in logs {
        open -= log.release_files().min(open);
        if open <= files.max / 2 {
            return;
        }
    }
    // The rest is not durable yet, or is being written to: the next look is not far.
    files.opened.store(open, Ordering::Relaxed);
}
