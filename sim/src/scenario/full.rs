//! A disk that is full while everything else is quiet: reads go on.
//!
//! Invariants: the broker serves when it begins, and need not do so again before it is over; nothing
//! but the disk keeps a reader from getting everything; a broker that may refuse to start, for its drive
//! has lied to it, is not waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use env::Env;

use super::SETTLE_MS;
use crate::client::{self, Job};
use crate::fault::BROKER;
use crate::world::{FailureKind, HALT_MS, MS};

/// The administrator's machine, from which is read.
const READER: usize = 1;
/// Everything has to be read within so many simulated milliseconds.
const READ_MS: u64 = 20_000;
/// Writers go on for so long before that.
const WRITE_MS: u64 = 500;

/// Fills every device of the broker, has everything read, and makes room again. Returns whether all
/// was read in time.
pub(super) async fn reads_go_on(job: &Job) -> bool {
    let (world, env) = (&job.world, job.world.env(READER));
    // A process that was hit before ends itself first: with a full disk it could not start again.
    if !serves(job).await {
        return false;
    }
    world.sleep_ms(HALT_MS).await;
    if !serves(job).await {
        return false;
    }
    // So may one that has yet to miss a file, or that its operator will start again, for it gave a
    // directory up.
    let may_end = {
        let disk = world.disk(BROKER);
        disk.has_unmissed() || disk.any_out_of_service()
    };
    if may_end {
        return true;
    }
    let devices = world.disk(BROKER).device_count();
    let set_room = |room| (0..devices).for_each(|at| world.disk(BROKER).device(at).room = room);
    set_room(Some(0));
    world.sleep_ms(WRITE_MS).await;
    let is_read =
        within(job, READ_MS, "reader while full", client::read_all(job.clone(), env)).await;
    set_room(None);
    world.disturb(BROKER);
    if !is_read && !world.ledger.lock().budget.excuses("reads-while-full") {
        let text = format!(
            "reads-while-full: {} s on a full disk, and not everything could be read",
            READ_MS / 1000
        );
        world.fail(FailureKind::Liveness, text);
    }
    is_read
}

/// Waits until the broker answers. Returns whether it did in time.
async fn serves(job: &Job) -> bool {
    let (world, env) = (&job.world, job.world.env(READER));
    let asked = client::list_topics(job.clone(), env);
    let answered =
        within(job, SETTLE_MS, "first to be answered", async { drop(asked.await) }).await;
    if !answered && !world.ledger.lock().budget.excuses("settle") {
        let text =
            format!("settle: {} s after the last fault, nothing is answered", SETTLE_MS / 1000);
        world.fail(FailureKind::Liveness, text);
    }
    answered
}

/// Has `work` done on the reader's machine. Returns whether it was in so many milliseconds.
async fn within(
    job: &Job,
    millis: u64,
    name: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) -> bool {
    let world = &job.world;
    let is_done = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&is_done);
    world.env(READER).spawn(name, async move {
        work.await;
        done.store(true, Relaxed);
    });
    let deadline = world.now() + millis * MS;
    while !is_done.load(Relaxed) && world.now() < deadline {
        world.sleep_ms(50).await;
    }
    is_done.load(Relaxed)
}
