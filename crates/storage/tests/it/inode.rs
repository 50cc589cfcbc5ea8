//! A file of the disk in memory: what the page cache has of it, and what the platter has.

use std::collections::BTreeSet;
use std::ops::Range;

use base::Prng;

/// What is kept or lost together.
pub const SECTOR: usize = 512;

#[derive(Clone, Default)]
pub struct Inode {
    pub data: Vec<u8>,
    pub durable: Vec<u8>,
    pub dirty: BTreeSet<usize>,
    pub unreadable: Range<usize>,
    /// Up to here room was reserved.
    pub reserved: usize,
}

impl Inode {
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        self.data[at..end].copy_from_slice(bytes);
        self.dirty.extend(at / SECTOR..=end.saturating_sub(1).max(at) / SECTOR);
    }

    pub fn sync(&mut self) {
        self.durable.resize(self.data.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.data.len());
            if range.start < range.end {
                self.durable[range.clone()].copy_from_slice(&self.data[range]);
            }
        }
    }

    pub fn lose_power(&mut self, prng: &mut Prng) {
        if prng.below(2) == 0 && self.durable.len() < self.data.len() {
            self.durable.resize(self.data.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            let end = ((sector + 1) * SECTOR).min(self.data.len()).min(self.durable.len());
            let range = sector * SECTOR..end;
            if prng.below(2) == 0 && range.start < range.end {
                self.durable[range.clone()].copy_from_slice(&self.data[range]);
            }
        }
        self.data = self.durable.clone();
    }
}
