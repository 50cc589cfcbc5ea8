//! The background flush: keeps every log's recovery point close behind its end.
//!
//! Invariant: a log that has bytes without an envelope is in the dirty set, or is being flushed.
//! No timer runs while nothing is dirty.

use env::atomic::Ordering;

use base::{Duration, Probe};
use env::{Elapsed, Env, timeout_at};

use super::{Found, LogDir, Slot};
use crate::config::FLUSH_AFTER;
use crate::error::DirectoryFailed;
use crate::log::Log;

/// How often dirty logs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const _: () = assert!(LOOK_EVERY.as_millis() * 4 <= FLUSH_AFTER.as_millis());

pub(super) async fn run<E: Env>(handle: &LogDir<E>) -> Result<(), DirectoryFailed> {
    let dir = &handle.shared;
    loop {
        dir.check()?;
        if dir.stopped.load(Ordering::Acquire) {
            return Ok(());
        }
        let dirty: Vec<Found> = dir.dirty.lock().iter().copied().collect();
        for found in &dirty {
            visit(handle, *found).await?;
        }
        if dir.tail_budget.take_refused() {
            let now = dir.env.now();
            for log in handle.open_logs() {
                log.release_idle_tail(now);
            }
        }
        if dir.journal.is_upkeep_due() {
            let kept = dir.journal.upkeep().await;
            kept.map_err(|error| dir.fail("keep the journal in", &dir.path, &error))?;
        }
        let idle = dir.dirty.lock().is_empty();
        if idle {
            dir.kick.notified().await;
        } else {
            let next = dir.env.now().after(LOOK_EVERY);
            // Woken or not, the logs are looked at again.
            let _woken: Result<(), Elapsed> = timeout_at(&dir.env, next, dir.kick.notified()).await;
        }
    }
}

async fn visit<E: Env>(handle: &LogDir<E>, found: Found) -> Result<(), DirectoryFailed> {
    let dir = &handle.shared;
    let Some(log) = open_log(handle, found) else {
        dir.dirty.lock().remove(&found);
        return Ok(());
    };
    if !log.is_flush_due(dir.env.now()) {
        return Ok(());
    }
    let late = dir.env.probe().mutant("dirty_note_taken_late");
    if !late {
        dir.dirty.lock().remove(&found);
    }
    if log.checkpoint().await.is_err() {
        // A log that is deleted meanwhile has nothing to flush; that is no failure.
        return dir.check();
    }
    let is_dirty = log.is_dirty();
    if late {
        // Planted: what was appended since it was looked at is not noted any more.
        dir.dirty.lock().remove(&found);
    }
    if is_dirty {
        dir.dirty.lock().insert(found);
    }
    Ok(())
}

fn open_log<E: Env>(handle: &LogDir<E>, found: Found) -> Option<Log<E>> {
    match handle.held.logs.lock().get(&found) {
        Some(Slot::Open(log)) => Some(log.clone()),
        Some(Slot::Found | Slot::Busy) | None => None,
    }
}
