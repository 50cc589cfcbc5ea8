//! What an acknowledgement means while the topic's durability mode changes.
//!
//! Owns: [`Modes`], what is known of the mode. Invariants: a *period* of `fsync` begins when a change
//! to it was answered, and ends when one to `replicated` is about to be sent; a request whose answer
//! never came may be carried out as long as the broker's process lives to which it went, so that no
//! period begins while one to `replicated` may be; a record is judged by a period only if it was
//! sent and acknowledged within it.

use super::History;
use super::history::Partition;
use super::platter::{DiskLog, View, read_log};
use crate::fault::BROKER;
use crate::world::World;

/// What is known of the topic's mode.
#[derive(Default)]
pub(super) struct Modes {
    /// The period that stands.
    period: Option<u64>,
    /// Periods so far.
    begun: u64,
    /// Changes sent so far.
    sent: u64,
    /// Changes to `replicated` that may be carried out: by number, up to which process of the broker
    /// they may have gone; `None` while the answer is awaited.
    loose: Vec<(u64, Option<u32>)>,
}

/// A change that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeChange {
    number: u64,
    fsync: bool,
    /// The broker's process when it was sent.
    broker: u32,
}

impl Modes {
    pub(super) fn period(&self) -> Option<u64> {
        self.period
    }

    fn begin(&mut self) {
        self.begun += 1;
        self.period = Some(self.begun);
    }

    /// Whether no change to `replicated` may be carried out by process `broker` or a later one.
    fn is_firm(&self, broker: u32) -> bool {
        self.loose.iter().all(|(_, upto)| upto.is_some_and(|upto| upto < broker))
    }
}

impl History {
    /// The period of `fsync` that stands, if one does.
    pub fn fsync_period(&self) -> Option<u64> {
        self.seen().modes.period
    }

    /// The topic was created with `fsync`, and nobody has changed that yet.
    pub fn created_with_fsync(&self) {
        self.seen().modes.begin();
    }

    /// A change is about to be sent to the broker's process `broker`, or a later one.
    pub fn mode_change_sent(&self, fsync: bool, broker: u32) -> ModeChange {
        let modes = &mut self.seen().modes;
        modes.sent += 1;
        if !fsync {
            modes.period = None;
            modes.loose.push((modes.sent, None));
        }
        ModeChange { number: modes.sent, fsync, broker }
    }

    /// It was answered, or never left; or else it may be carried out by processes up to this one.
    pub fn mode_change_ended(&self, change: &ModeChange, unknown: Option<u32>) {
        let loose = &mut self.seen().modes.loose;
        match unknown {
            None => loose.retain(|(number, _)| *number != change.number),
            Some(upto) => {
                let found = loose.iter_mut().find(|(number, _)| *number == change.number);
                if let Some((_, last)) = found {
                    *last = Some(upto);
                }
            },
        }
    }

    /// The process that awaited answers is gone; its changes went to processes up to `broker`.
    pub fn mode_changes_abandoned(&self, broker: u32) {
        for (_, upto) in &mut self.seen().modes.loose {
            upto.get_or_insert(broker);
        }
    }

    /// A change was answered. If it was one to `fsync`, everything that was acknowledged or read
    /// before is durable now.
    pub fn mode_changed(&self, world: &World, change: &ModeChange) {
        let mut seen = self.seen();
        if !change.fsync || seen.modes.period.is_some() || !seen.modes.is_firm(change.broker) {
            return;
        }
        seen.modes.begin();
        let topic = seen.topic.unwrap_or_default();
        let untold = seen.is_untold(world);
        let disk = world.disks[BROKER].lock();
        for (partition, known) in &mut seen.partitions {
            let log = read_log(&disk, topic, *partition, View::Durable);
            let last = known.content.last_key_value().map_or(-1, |(offset, _)| *offset);
            let log = log.unwrap_or_default();
            let judged = (!disk.owes() && !untold).then_some(&log);
            known.is_durable_upto(world, *partition, judged, last + 1);
        }
    }
}

impl Partition {
    /// From now on everything promised below `upto` survives whatever happens to the power.
    pub(super) fn is_durable_upto(
        &mut self,
        world: &World,
        partition: i32,
        durable: Option<&DiskLog>,
        upto: i64,
    ) {
        let Some(log) = durable else { return };
        let since = self.durable_upto;
        self.durable_upto = since.max(upto);
        for (offset, id) in self.content.range(since..self.durable_upto.max(since)) {
            let found = log.at(*offset);
            world.check("fsync-is-durable", found == Some(*id), || {
                let why = log.stopped.clone().unwrap_or_default();
                format!(
                    "{partition}/{offset} holds {id} and is behind an acknowledgement that means \
                     durable; the platter has {found:?} of {} records; {why}",
                    log.end
                )
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firm(history: &History, broker: u32) -> bool {
        history.seen().modes.is_firm(broker)
    }

    #[test]
    fn a_change_whose_answer_never_came_is_loose_until_its_broker_is_gone() {
        let history = History::new();
        let lost = history.mode_change_sent(false, 3);
        assert!(!firm(&history, 4), "its answer is awaited");
        history.mode_change_ended(&lost, Some(4));
        assert!(!firm(&history, 4) && firm(&history, 5));

        let answered = history.mode_change_sent(false, 5);
        history.mode_change_ended(&answered, None);
        assert!(firm(&history, 5));
        history.mode_change_sent(false, 5);
        history.mode_changes_abandoned(6);
        assert!(!firm(&history, 6) && firm(&history, 7));
    }

    #[test]
    fn a_period_ends_when_a_weaker_mode_is_asked_for() {
        let history = History::new();
        history.created_with_fsync();
        assert_eq!(history.fsync_period(), Some(1));
        history.mode_change_sent(true, 1);
        assert_eq!(history.fsync_period(), Some(1));
        history.mode_change_sent(false, 1);
        assert_eq!(history.fsync_period(), None);
    }
}
