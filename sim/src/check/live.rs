//! The journal is the state: replayed from the platter by a decoder of our own, it says of every log
//! what the running broker knows of it, and names no log that it does not lead.
//!
//! Invariants: looks change nothing; a change is on the platter a moment before the broker knows,
//! so the two may differ for as long as a disk may take, and not for good.

use std::collections::BTreeSet;

use base::{Duration, PartitionId};
use broker::Broker;
use broker::inspect::{LiveLog, live};
use env::Env;

use super::History;
use super::history::LastLook;
use super::platter::{View, leaked, logs, read_end};
use crate::disk::Image;
use crate::fault::BROKER;
use crate::world::{MS, SimEnv, World};

/// Between two looks at most, milliseconds.
const EVERY_MS: u64 = 700;
/// A difference may last so long while nothing keeps the broker or its disk from working,
/// milliseconds; and in the last look, when clients do nothing new either.
const PATIENCE_MS: u64 = 2_500;
const PATIENCE_LAST_MS: u64 = 1_000;
/// How often a difference is looked at again, milliseconds.
const AGAIN_MS: u64 = 10;

/// Looks now and then, for as long as the process lives.
pub async fn watch(env: SimEnv, broker: Broker<SimEnv>, history: History) {
    let incarnation = env.process().incarnation;
    let mut dice = env.process().world.dice(&format!("live looks {incarnation}"));
    loop {
        env.sleep(Duration::from_millis(dice.between(20, EVERY_MS))).await;
        history.note_coordinators(&env.process().world);
        let is_wanted = history.seen().last_look == LastLook::Wanted;
        look_into_recorder(&env, &broker);
        if look(&env, &broker, &history).await && is_wanted {
            history.seen().last_look = LastLook::Agreed;
        }
    }
}

impl History {
    /// From now on there is little patience with a difference.
    pub fn wants_last_look(&self) {
        self.seen().last_look = LastLook::Wanted;
    }

    /// Journal and broker must have agreed since.
    pub fn had_last_look(&self, world: &World) {
        let is_agreed = self.seen().last_look == LastLook::Agreed;
        world.check("journal-is-state", is_agreed, || "nobody had a last look".into());
    }

    fn patience_ms(&self) -> u64 {
        match self.seen().last_look {
            LastLook::Wanted => PATIENCE_LAST_MS,
            LastLook::Later | LastLook::Agreed => PATIENCE_MS,
        }
    }
}

/// Returns whether journal and broker agreed, sooner or later.
async fn look(env: &SimEnv, broker: &Broker<SimEnv>, history: &History) -> bool {
    let world = env.process().world.clone();
    let begun = world.now();
    loop {
        let found = live(broker);
        let difference = {
            let disk = world.disk(BROKER);
            difference(&disk, &found)
        };
        let Some(difference) = difference else { return true };
        let patience = history.patience_ms() * MS;
        // What keeps the process from going on keeps it from knowing, too.
        let in_peace = world.now() - world.disturbed_at(BROKER).max(begun);
        if in_peace >= patience {
            world.check("journal-is-state", false, || difference);
            return false;
        }
        env.sleep(Duration::from_millis(AGAIN_MS)).await;
    }
}

/// The flight recorder stays within its bound, and what it holds can be read from its file.
fn look_into_recorder(env: &SimEnv, broker: &Broker<SimEnv>) {
    let record = broker.flight_record("sim");
    let bytes: usize = record.entries.iter().map(|entry| entry.text.len()).sum();
    let in_order = record.entries.is_sorted_by_key(|entry| entry.at);
    let bounded = bytes <= broker.config().flight_recorder_bytes;
    let read = record.to_string().parse().as_ref() == Ok(&record);
    let world = &env.process().world;
    world.check("flight-recorder", bounded && in_order && read, || {
        format!("{bytes} bytes of text; in order: {in_order}; read back: {read}")
    });
}

/// Where journal and broker differ, if they do.
fn difference(disk: &Image, found: &[LiveLog]) -> Option<String> {
    let durable = logs(disk, View::Durable, |_| true);
    for log in found {
        let of = log.partition;
        let Some(known) = durable.get(&of) else {
            return Some(format!("{of} is led, and the journal knows no such log"));
        };
        // A commit may have become durable, and the directory failed beside it.
        if disk.is_out_of_service(known.dir) {
            continue;
        }
        let known = &known.log;
        if known.start != log.start.0 {
            return Some(format!(
                "{of} begins at {}, by the journal at {}",
                log.start, known.start
            ));
        }
        let here: Vec<i64> = log.segments.iter().map(|segment| segment.base.0).collect();
        let there: Vec<i64> = known.segments.iter().map(|segment| segment.base).collect();
        if here != there {
            return Some(format!("{of} has segments at {here:?}, by the journal at {there:?}"));
        }
        for (segment, known) in log.segments.iter().zip(&known.segments) {
            let closed = known.closed.map(|(end, _)| end);
            if closed.is_some_and(|end| end != segment.end.0) {
                let (base, end) = (segment.base, segment.end);
                return Some(format!("{of}: {base} ends at {end}, by the journal at {closed:?}"));
            }
        }
        let told = known.uncertain || !known.faulty.is_empty();
        let end = read_end(disk, of, View::Cache);
        if !told && end != Some(log.end.0) {
            return Some(format!("{of} ends at {}, by the files at {end:?}", log.end));
        }
    }
    let led: BTreeSet<PartitionId> = found.iter().map(|log| log.partition).collect();
    leaked(disk, |of| led.contains(of))
}
