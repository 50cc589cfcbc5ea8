//! One file: its bytes in the page cache, its bytes on the platter, and which sectors differ.
//!
//! Invariants: a sector is dirty from a write until a sync that began after it; a failed sync
//! marks sectors clean without writing them; a length is its own piece of dirty state.

use std::collections::BTreeMap;

use super::damage::{Damage, lay_over, write_over};
use super::image::to_usize;
use crate::world::{Dice, Knobs};

/// What the platter writes or tears in one piece, bytes.
pub const SECTOR: usize = 512;

/// One file.
#[derive(Clone, Debug, Default)]
pub struct FileNode {
    cache: Vec<u8>,
    durable: Vec<u8>,
    /// Dirty sectors and the write that last touched each.
    dirty: BTreeMap<usize, u64>,
    /// Sectors that a lying drive promised to have, and the write that was last promised.
    promised: BTreeMap<usize, u64>,
    /// What processes read instead of what was written.
    pub(super) damage: Damage,
    writes: u64,
    len_changes: u64,
    durable_len_changes: u64,
    /// Up to here room was reserved, whatever the length.
    pub(super) reserved: u64,
    /// The device it is on.
    pub(super) device: usize,
}

/// What a sync covers: whatever was dirty when it began.
#[derive(Clone, Debug)]
pub struct SyncPoint {
    dirty: BTreeMap<usize, u64>,
    len: usize,
    len_changes: u64,
}

impl FileNode {
    /// Whether a drive has promised sectors of it that it does not have.
    pub fn is_owed(&self) -> bool {
        !self.promised.is_empty()
    }

    /// The bytes as a reader sees them.
    pub fn cache(&self) -> &[u8] {
        &self.cache
    }

    /// The bytes that are left if everything unsynced is lost.
    pub fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// Up to `len` bytes at `at` as the disk gives them, and the class of a damage that is seen for
    /// the first time. `Err`: a sector cannot be read.
    pub fn read(&mut self, at: u64, len: usize) -> Result<(Vec<u8>, Option<&'static str>), ()> {
        let low = to_usize(at).min(self.cache.len());
        let high = low.saturating_add(len).min(self.cache.len());
        let mut bytes = self.cache[low..high].to_vec();
        let seen = lay_over(&mut self.damage, low, &mut bytes)?;
        Ok((bytes, seen))
    }

    /// The bytes of a sector as they were written.
    pub fn sector(&self, sector: usize) -> &[u8] {
        let low = (sector * SECTOR).min(self.cache.len());
        &self.cache[low..(low + SECTOR).min(self.cache.len())]
    }

    /// Whether cache and platter agree on a sector, and nothing is wrong with it.
    pub fn is_at_rest(&self, sector: usize) -> bool {
        let is_sound = !self.dirty.contains_key(&sector) && !self.damage.contains_key(&sector);
        is_sound && !self.sector(sector).is_empty() && !self.sector_differs(sector)
    }

    /// Whether a power loss can take something away.
    #[cfg(test)]
    pub fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.len_changes == self.durable_len_changes
    }

    /// Writes into the cache.
    pub fn write(&mut self, at: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let (low, high) = (to_usize(at), to_usize(at) + bytes.len());
        if high > self.cache.len() {
            self.resize(high);
        }
        self.cache[low..high].copy_from_slice(bytes);
        self.touch(low, high);
    }

    /// Cuts the file or extends it with zeros.
    pub fn set_len(&mut self, len: u64) {
        self.resize(to_usize(len));
    }

    fn resize(&mut self, len: usize) {
        let old = self.cache.len();
        if len == old {
            return;
        }
        self.len_changes += 1;
        self.cache.resize(len, 0);
        if len > old {
            self.touch(old, len);
        } else {
            self.dirty.retain(|sector, _| sector * SECTOR < len);
            self.damage.retain(|sector, _| sector * SECTOR < len);
            if !len.is_multiple_of(SECTOR) {
                self.touch(len - 1, len);
            }
        }
    }

    fn touch(&mut self, low: usize, high: usize) {
        self.writes += 1;
        for sector in low / SECTOR..high.div_ceil(SECTOR) {
            self.dirty.insert(sector, self.writes);
            write_over(&mut self.damage, sector, low..high);
        }
    }

    /// Begins a sync of what is dirty now.
    pub fn sync_point(&self) -> SyncPoint {
        SyncPoint {
            dirty: self.dirty.clone(),
            len: self.cache.len(),
            len_changes: self.len_changes,
        }
    }

    /// Ends a sync: what it covers is durable.
    pub fn sync_done(&mut self, point: SyncPoint) {
        self.promised.retain(|sector, _| !point.dirty.contains_key(sector));
        self.len_reached(&point);
        for (sector, write) in point.dirty {
            self.keep_sector(sector, usize::MAX);
            self.mark_clean(sector, write);
        }
    }

    /// Ends a sync of a lying drive: it promises what it covers, and has nothing of it.
    pub fn sync_promised(&mut self, point: &SyncPoint) {
        self.promised.extend(&point.dirty);
    }

    /// Ends a failed sync: what it covers is marked clean, and `kept` per mille of the sectors
    /// reached the platter. The rest stays in the cache only; a later sync will not write it.
    pub fn sync_failed(&mut self, point: SyncPoint, dice: &mut Dice, kept: u32) {
        self.len_reached(&point);
        for (sector, write) in point.dirty {
            // What the drive has already is not sent to it again.
            if self.promised.get(&sector) == Some(&write) {
                continue;
            }
            if dice.chance(kept) {
                self.keep_sector(sector, usize::MAX);
            }
            self.mark_clean(sector, write);
        }
    }

    fn len_reached(&mut self, point: &SyncPoint) {
        if self.durable_len_changes < point.len_changes {
            self.durable.resize(point.len, 0);
            self.durable_len_changes = point.len_changes;
        }
    }

    fn mark_clean(&mut self, sector: usize, write: u64) {
        if self.dirty.get(&sector) == Some(&write) {
            self.dirty.remove(&sector);
        }
    }

    /// Copies the first `bytes` of a sector to the platter.
    fn keep_sector(&mut self, sector: usize, bytes: usize) {
        let low = sector * SECTOR;
        let high =
            low.saturating_add(bytes.min(SECTOR)).min(self.cache.len()).min(self.durable.len());
        if low < high {
            self.durable[low..high].copy_from_slice(&self.cache[low..high]);
        }
    }

    fn sector_differs(&self, sector: usize) -> bool {
        let low = sector * SECTOR;
        let of = |bytes: &'_ [u8]| {
            let high = (low + SECTOR).min(bytes.len());
            if low < high { bytes[low..high].to_vec() } else { Vec::new() }
        };
        of(&self.cache) != of(&self.durable)
    }

    /// The power goes out. Returns how many dirty sectors were dropped or torn, and whether one of
    /// them was promised.
    pub fn power_loss(&mut self, dice: &mut Dice, knobs: &Knobs) -> (u64, bool) {
        if self.len_changes != self.durable_len_changes {
            let (old, new) = (self.durable.len(), self.cache.len());
            let len = if dice.chance(knobs.keep) {
                new
            } else if dice.chance(knobs.torn) {
                old.min(new) + dice.index(old.abs_diff(new) + 1)
            } else {
                old
            };
            self.durable.resize(len, 0);
        }
        let (mut lost, mut broken) = (0, false);
        let promised = std::mem::take(&mut self.promised);
        for sector in std::mem::take(&mut self.dirty).into_keys() {
            if dice.chance(knobs.keep) {
                self.keep_sector(sector, SECTOR);
            } else if dice.chance(knobs.torn) {
                let bytes = dice.index(SECTOR + 1);
                self.keep_sector(sector, bytes);
            }
            let differs = self.sector_differs(sector);
            lost += u64::from(differs);
            broken |= differs && promised.contains_key(&sector);
        }
        // What was promised of a sector that was written again, and given up by a sync that failed.
        broken |= promised.keys().any(|sector| self.sector_differs(*sector));
        self.cache.clone_from(&self.durable);
        self.durable_len_changes = self.len_changes;
        (lost, broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drop_all() -> Knobs {
        Knobs { keep: 0, torn: 0, ..Knobs::default() }
    }

    fn sync(file: &mut FileNode) {
        let point = file.sync_point();
        file.sync_done(point);
    }

    #[test]
    fn unsynced_bytes_are_lost_and_synced_ones_stay() {
        let mut file = FileNode::default();
        file.write(0, b"kept");
        sync(&mut file);
        file.write(4, b"lost");

        let lost = file.power_loss(&mut Dice::new(1, "t"), &drop_all());

        assert_eq!((file.cache(), lost), (&b"kept"[..], (1, false)));
    }

    #[test]
    fn a_promise_is_broken_only_if_what_was_promised_is_lost() {
        let broken = |promises: bool, honest: bool| {
            let mut file = FileNode::default();
            file.write(0, b"bytes");
            if promises {
                let point = file.sync_point();
                file.sync_promised(&point);
            }
            if honest {
                sync(&mut file);
            }
            file.power_loss(&mut Dice::new(1, "t"), &drop_all()).1
        };

        assert!(broken(true, false));
        assert!(!broken(false, false) && !broken(true, true));
    }

    #[test]
    fn a_failed_sync_does_not_drop_what_a_lying_drive_has_already() {
        let mut file = FileNode::default();
        file.write(0, b"bytes");
        let point = file.sync_point();
        file.sync_promised(&point);
        file.sync_failed(point, &mut Dice::new(1, "t"), 0);
        sync(&mut file);

        file.power_loss(&mut Dice::new(1, "t"), &drop_all());

        assert_eq!(file.cache(), b"bytes");
    }

    #[test]
    fn a_promise_is_broken_by_a_failed_sync_of_what_was_added_to_its_sector() {
        let mut file = FileNode::default();
        file.write(0, b"bytes");
        let point = file.sync_point();
        file.sync_promised(&point);
        file.write(5, b" and more");
        let point = file.sync_point();
        file.sync_failed(point, &mut Dice::new(1, "t"), 0);

        let (lost, broken) = file.power_loss(&mut Dice::new(1, "t"), &drop_all());

        assert_ne!(file.cache(), b"bytes and more");
        assert_eq!((lost, broken), (0, true), "nothing was dirty");
    }

    #[test]
    fn a_failed_sync_loses_the_bytes_even_after_a_later_sync_succeeds() {
        let mut file = FileNode::default();
        file.write(0, b"gone");
        let point = file.sync_point();
        file.sync_failed(point, &mut Dice::new(1, "t"), 0);
        assert_eq!(file.cache(), b"gone", "the cache still has them");
        sync(&mut file);

        file.power_loss(&mut Dice::new(1, "t"), &drop_all());

        assert_ne!(file.cache(), b"gone");
    }

    #[test]
    fn a_sync_does_not_cover_what_was_written_after_it_began() {
        let mut file = FileNode::default();
        file.write(0, &[1; SECTOR]);
        let point = file.sync_point();
        file.write(SECTOR as u64, &[2; SECTOR]);
        file.sync_done(point);

        file.power_loss(&mut Dice::new(1, "t"), &drop_all());

        assert_eq!(file.cache(), &[1; SECTOR]);
    }

    #[test]
    fn syncs_that_overlap_never_take_durable_bytes_away() {
        let mut file = FileNode::default();
        file.write(0, b"a");
        let early = file.sync_point();
        file.write(1, b"b");
        sync(&mut file);
        file.sync_done(early);

        file.power_loss(&mut Dice::new(1, "t"), &drop_all());

        assert_eq!(file.cache(), b"ab");
    }

    #[test]
    fn a_file_that_was_cut_and_grown_again_holds_zeros_after_a_sync() {
        let mut file = FileNode::default();
        file.write(0, &[7; 3 * SECTOR]);
        sync(&mut file);
        file.set_len(10);
        file.set_len(2000);
        sync(&mut file);

        file.power_loss(&mut Dice::new(1, "t"), &drop_all());

        assert_eq!(file.cache()[..10], [7; 10]);
        assert!(file.cache()[10..].iter().all(|byte| *byte == 0));
        assert_eq!(file.cache().len(), 2000);
        assert!(file.is_clean());
    }

    #[test]
    fn sectors_are_kept_dropped_and_torn_and_the_length_may_come_first() {
        let mut seen = [false; 4];
        for seed in 0..200 {
            let mut file = FileNode::default();
            file.write(0, &[9; SECTOR]);
            let knobs = Knobs { keep: 400, torn: 500, ..Knobs::default() };
            file.power_loss(&mut Dice::new(seed, "t"), &knobs);
            let nines = file.cache().iter().filter(|byte| **byte == 9).count();
            let at = match (file.cache().len(), nines) {
                (0, _) => 0,
                (SECTOR, SECTOR) => 1,
                (SECTOR, 0) => 2,
                _ => 3,
            };
            seen[at] = true;
        }
        assert_eq!(seen, [true; 4], "empty, kept, zeros, torn");
    }
}
