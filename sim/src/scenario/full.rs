//! A disk that is full while everything else is quiet: reads go on.
//!
//! Invariants: the broker serves when it begins, and need not do so again before it is over; nothing
//! but the disk keeps a reader from getting everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use env::Env;

use crate::client::{self, Job};
use crate::fault::BROKER;
use crate::world::{FailureKind, MS};

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
    // Once this is answered, the broker serves.
    drop(client::list_topics(job.clone(), env.clone()).await);
    let devices = world.disk(BROKER).device_count();
    let set_room = |room| (0..devices).for_each(|at| world.disk(BROKER).device(at).room = room);
    set_room(Some(0));
    world.sleep_ms(WRITE_MS).await;
    let is_read = Arc::new(AtomicBool::new(false));
    let (done, reader) = (Arc::clone(&is_read), job.clone());
    env.clone().spawn("reader while full", async move {
        client::read_all(reader, env).await;
        done.store(true, Relaxed);
    });
    let deadline = world.now() + READ_MS * MS;
    while !is_read.load(Relaxed) && world.now() < deadline {
        world.sleep_ms(50).await;
    }
    set_room(None);
    world.disturb(BROKER);
    let is_read = is_read.load(Relaxed);
    if !is_read && !world.ledger.lock().budget.excuses("reads-while-full") {
        let text = format!(
            "reads-while-full: {} s on a full disk, and not everything could be read",
            READ_MS / 1000
        );
        world.fail(FailureKind::Liveness, text);
    }
    is_read
}
