//! What readers of the topic were given, and what they were refused.
//!
//! Owns: [`Asked`], what held when a fetch was sent, and [`Handed`], what one reader of everything
//! was given. Invariants: everybody is given a log without a hole, from the offset asked for on, but
//! for what is damaged and said to be; what was acknowledged or read can be read at once; an answer
//! to what was asked before something was lost says nothing.

use std::collections::{BTreeMap, BTreeSet};

use base::Uuid;
use bytes::Bytes;

use super::History;
use super::history::{Partition, remark};
use super::platter::{View, read_batch, read_log};
use super::records::RecordId;
use crate::fault::BROKER;
use crate::world::World;

/// What a fetch brought of one partition.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Which partition.
    pub partition: i32,
    /// The offset asked for.
    pub from: i64,
    /// The high watermark in the answer.
    pub watermark: i64,
    /// Batches; the last one may be cut.
    pub bytes: Bytes,
}

/// What held when a fetch was sent.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    losses: u64,
    /// One past the last offset that was acknowledged or read, by partition.
    ends: BTreeMap<i32, i64>,
}

impl Asked {
    /// Losses by then: see [`History::losses`].
    pub fn losses(&self) -> u64 {
        self.losses
    }

    fn end(&self, partition: i32) -> i64 {
        self.ends.get(&partition).copied().unwrap_or(0)
    }
}

/// What one reader was given of a partition, or told to be damaged.
#[derive(Clone, Debug, Default)]
pub struct Handed {
    offsets: BTreeSet<i64>,
    /// Offsets that were told to be damaged: the first, one past the last.
    told: Vec<(i64, i64)>,
}

impl Handed {
    /// It was told that what lies between two offsets is damaged.
    pub fn told(&mut self, from: i64, to: i64) {
        self.told.push((from, to));
    }

    fn has(&self, offset: i64) -> bool {
        self.offsets.contains(&offset)
            || self.told.iter().any(|(from, to)| (*from..*to).contains(&offset))
    }
}

/// What batches came to, up to the first that is not sound.
struct Batches {
    next: i64,
    offsets: Vec<i64>,
    unsound: Option<String>,
}

impl History {
    /// What holds now, to be handed back with the answer to a fetch that is sent now.
    pub fn asked(&self) -> Asked {
        let seen = self.seen();
        let ends = seen.partitions.iter().map(|(index, known)| (*index, known.end()));
        Asked { losses: seen.losses, ends: ends.collect() }
    }

    /// Records were fetched. Returns the next offset to read. `handed` learns what there was.
    pub fn read(
        &self,
        world: &World,
        fetched: Fetched,
        asked: &Asked,
        handed: Option<&mut Handed>,
    ) -> i64 {
        let Fetched { partition, from, watermark, bytes } = fetched;
        remark(world, "fetched", (partition, from, u64::try_from(watermark).unwrap_or(0)), || {
            format!("{partition}/{from}: high watermark {watermark}")
        });
        self.is_up_to_date(world, (partition, watermark), asked);
        let is_empty = bytes.is_empty();
        let Batches { next, offsets, unsound } =
            self.read_batches(world, Fetched { bytes, ..fetched }, asked.losses);
        let mut nobody = Handed::default();
        let handed = handed.unwrap_or(&mut nobody);
        handed.offsets.extend(offsets);
        let Some(why) = unsound.or((next == from && !is_empty).then(|| "no batch".into())) else {
            return next;
        };
        // A checksum that does not match tells of damage as well as an error does.
        if let Some(behind) = self.told_of_damage(world, partition, next) {
            handed.told(next, behind);
            return behind;
        }
        let cut = why == "no batch";
        world.check("fetched-batch", cut, || format!("{partition}/{next} of {watermark}: {why}"));
        // Whose drive lied may send bytes whose checksum shows it, and nobody gets past them.
        if cut { from } else { watermark }
    }

    /// What was acknowledged or read before a fetch was sent lies below the high watermark.
    fn is_up_to_date(&self, world: &World, (partition, watermark): (i32, i64), asked: &Asked) {
        let (losses, untold) = {
            let seen = self.seen();
            (seen.losses, seen.is_untold(world))
        };
        let end = asked.end(partition);
        let is_current = watermark >= end || losses != asked.losses || untold;
        world.check("reads-at-once", is_current, || {
            format!("{partition}: the high watermark is {watermark} after {end} was reached")
        });
    }

    /// Takes in batches, up to the first that is not sound.
    fn read_batches(&self, world: &World, fetched: Fetched, losses: u64) -> Batches {
        let Fetched { partition, from, watermark, bytes } = fetched;
        let mut seen = self.seen();
        let certain = seen.losses == losses;
        let untold = seen.is_untold(world);
        let topic = seen.topic.unwrap_or_default();
        let known = seen.partitions.entry(partition).or_default();
        let mut read = Batches { next: from, offsets: Vec::new(), unsound: None };
        let mut first = true;
        for batch in records::batches(bytes) {
            // A fetch may be cut in the middle of its last batch.
            let Ok(batch) = batch else { break };
            let base = batch.header().base_offset.0;
            let expected = if first { base } else { read.next };
            let mut found = Vec::new();
            if let Err(why) = read_batch(&batch, expected, &mut found) {
                read.unsound = Some(why);
                return read;
            }
            // Nothing of the topic is ever deleted or compacted.
            let in_place = !first || base <= from;
            (first, read.next) = (false, batch.header().next_offset().0);
            world.check("fetch-position", read.next > from && in_place, || {
                format!("{partition}: asked for {from}, got {base}..{}", read.next)
            });
            world.check("high-watermark", read.next <= watermark, || {
                format!("{partition}: read up to {} of a high watermark of {watermark}", read.next)
            });
            read.offsets.extend(found.iter().map(|(offset, _)| *offset));
            for (offset, id) in found {
                world.check("known-content", known.sent.contains(&id), || {
                    format!("{partition}/{offset}: {id} was never sent there")
                });
                // What was promised before was looked for then.
                let is_news = certain && known.content.get(&offset) != Some(&id);
                if is_news && !untold {
                    must_be_written(world, (topic, partition, offset), id);
                }
                if is_news {
                    known.promise(world, partition, offset, id);
                }
            }
        }
        read
    }

    /// Whether there was something to read at `at` when a fetch was sent, and still is.
    pub fn has_more(&self, world: &World, (partition, at): (i32, i64), asked: &Asked) -> bool {
        let seen = self.seen();
        seen.losses == asked.losses && at < asked.end(partition) && !seen.is_untold(world)
    }

    /// A session left a partition out of its answer: nothing about it is news.
    pub fn left_out(&self, world: &World, partition: i32, watermark: i64, asked: &Asked) {
        self.is_up_to_date(world, (partition, watermark), asked);
    }

    /// A fetch at `at` was out of range: legitimate only if something was lost since the member
    /// learnt that position (`learnt`: losses by then), or if the position lies beyond all that was
    /// known to be there when the fetch was sent.
    pub fn out_of_range(
        &self,
        world: &World,
        (partition, at): (i32, i64),
        learnt: u64,
        asked: &Asked,
    ) {
        let mut seen = self.seen();
        let end = asked.end(partition);
        let is_legitimate = seen.losses != learnt || at > end;
        if is_legitimate {
            // The reader starts again, and its commits go back with it.
            seen.commits.forget(partition);
        }
        world.check("out-of-range", is_legitimate, || {
            format!("{partition}: {at} is out of range though {end} was reached and nothing lost")
        });
    }

    /// Somebody has read everything: of what was promised nothing may be missing that was not said
    /// to be damaged.
    pub fn read_to_end(&self, world: &World, handed: &BTreeMap<i32, Handed>, asked: &Asked) {
        let seen = self.seen();
        if seen.losses != asked.losses {
            return;
        }
        for (partition, handed) in handed {
            let Some(known) = seen.partitions.get(partition) else { continue };
            let promised = known.content.range(..asked.end(*partition));
            for (offset, id) in promised {
                world.check("all-handed-out", handed.has(*offset), || {
                    format!("{partition}/{offset} holds {id}; a reader got neither it nor an error")
                });
            }
        }
    }
}

impl Partition {
    /// One past the last offset that was acknowledged or read, and not lost since.
    fn end(&self) -> i64 {
        self.content.last_key_value().map_or(0, |(offset, _)| offset + 1)
    }
}

/// Holds a record that was handed out against the page cache.
fn must_be_written(world: &World, (topic, partition, offset): (Uuid, i32, i64), id: RecordId) {
    let log = {
        let disk = world.disks[BROKER].lock();
        read_log(&disk, topic, partition, View::Cache).unwrap_or_default()
    };
    let found = log.at(offset);
    world.check("high-watermark", found == Some(id), || {
        format!("{partition}/{offset} was read as {id}; the page cache has {found:?}")
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_and_what_was_told_is_handed_out_and_nothing_else() {
        let mut handed = Handed { offsets: [0, 1, 5].into(), told: Vec::new() };
        handed.told(2, 4);

        let all: Vec<i64> = (0..6).filter(|offset| handed.has(*offset)).collect();
        assert_eq!(all, [0, 1, 2, 3, 5]);
    }
}
