//! The background flush: keeps every log's recovery point close behind its end.
//!
//! Invariant: a log that has bytes without an envelope is in the dirty set, or is being flushed, and
//! no other log is for longer than one look.
//! No timer runs while nothing is dirty and the disk is not full.

use env::atomic::Ordering;
use std::io;
use std::path::Path;

use base::{Duration, Probe};
use bytes::Bytes;
use env::{Access, Disk, Elapsed, Env, File, IoBufs, timeout_at};

use super::room::{PROBE_BYTES, PROBE_EVERY, Room};
use super::{DirShared, Found, LogDir, Slot, deletion, files, is_full};
use crate::config::FLUSH_AFTER;
use crate::error::{DirectoryFailed, WriteError};
use crate::log::Log;
use crate::names::ROOM;
use crate::replace::tmp_name;

/// How often dirty logs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const _: () = assert!(LOOK_EVERY.as_millis() * 4 <= FLUSH_AFTER.as_millis());

pub(super) async fn run<E: Env>(
    handle: &LogDir<E>,
    tell: impl Fn(Room) + Send,
) -> Result<(), DirectoryFailed> {
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
        files::release(handle);
        if dir.journal.is_upkeep_due() {
            let kept = dir.journal.upkeep().await;
            let what = "keep the journal in";
            if !kept.map_err(|error| dir.fail(what, &dir.path, &error))? {
                dir.full(what, &dir.path);
            }
        }
        look_for_room(handle).await?;
        if let Some(room) = dir.room.lock().take_news() {
            tell(room);
        }
        let pause = match (dir.dirty.lock().is_empty(), dir.room.lock().room()) {
            (false, _) => Some(LOOK_EVERY),
            (true, Room::Full { .. }) => Some(PROBE_EVERY),
            (true, Room::Enough) => None,
        };
        let Some(pause) = pause else {
            dir.kick.notified().await;
            continue;
        };
        let next = dir.env.now().after(pause);
        // Woken or not, the logs are looked at again.
        let _woken: Result<(), Elapsed> = timeout_at(&dir.env, next, dir.kick.notified()).await;
    }
}

/// Looks from time to time whether a full disk has room again, and does then what was put off.
async fn look_for_room<E: Env>(handle: &LogDir<E>) -> Result<(), DirectoryFailed> {
    let dir = &handle.shared;
    if !dir.room.lock().take_probe(dir.env.now()) {
        return Ok(());
    }
    let put_off: Vec<Found> = dir.deletions.lock().iter().copied().collect();
    for found in put_off {
        match deletion::delete(dir, found).await {
            Ok(()) => {
                dir.env.probe().reached("storage_deletion_done_later");
                dir.deletions.lock().remove(&found);
                handle.held.logs.lock().remove(&found);
            },
            Err(WriteError::Full(_)) => break,
            Err(WriteError::Failed(failed)) => return Err(failed),
        }
    }
    let path = dir.path.join(tmp_name(ROOM));
    match take_room(dir, &path).await {
        // Planted: what was full once is full for good.
        Ok(()) if dir.env.probe().mutant("full_for_ever") => {},
        Ok(()) => {
            dir.env.probe().reached("storage_disk_full_over");
            dir.room.lock().is_over();
            // What is still to be done was put off for as long.
            dir.kick.notify_one();
        },
        Err(error) if is_full(&error) => {},
        Err(error) => return Err(dir.fail("look for room in", &dir.path, &error)),
    }
    Ok(())
}

/// Makes a file of some size and removes it.
async fn take_room<E: Env>(dir: &DirShared<E>, path: &Path) -> io::Result<()> {
    let disk = dir.env.disk();
    let file = disk.open(path, Access::CreateOrWrite).await?;
    // Where room cannot be reserved, at least a little is written.
    let bytes = Bytes::from_static(&[0; 4096]);
    let taken = match file.preallocate(PROBE_BYTES).await {
        Ok(()) => file.append(0, IoBufs::from_iter([bytes])).await,
        Err(error) => Err(error),
    };
    drop(file);
    disk.remove(path).await?;
    taken
}

async fn visit<E: Env>(handle: &LogDir<E>, found: Found) -> Result<(), DirectoryFailed> {
    let dir = &handle.shared;
    let late = dir.env.probe().mutant("dirty_note_taken_late");
    if !late {
        // Taken out first: who writes from here on puts it in again.
        dir.dirty.lock().remove(&found);
    }
    let Some(log) = open_log(handle, found) else {
        return Ok(());
    };
    // A checkpoint for another reason may have left nothing to do. A log that is deleted meanwhile
    // has nothing to flush, and one whose envelopes found no room has to come again: neither is a
    // failure.
    if log.is_dirty() && log.is_flush_due(dir.env.now()) {
        drop(log.checkpoint().await);
        dir.check()?;
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
