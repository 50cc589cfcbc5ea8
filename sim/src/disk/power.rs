//! What losing power does to a machine's file system, and what a lying drive does until then.
//!
//! Invariants: what an honest sync covered stays; of the rest each sector is kept, dropped or torn
//! on its own, and of the directory changes a prefix is kept, or any part while changes may be
//! reordered.

use std::collections::BTreeSet;
use std::path::Path;

use super::image::{Image, Inode};
use super::names::ROOT;

/// What a power loss took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Dirty sectors that were dropped or torn.
    pub sectors: u64,
    /// Directory changes that were undone.
    pub changes: u64,
}

impl Image {
    /// The power goes out. Returns what that took.
    pub fn power_loss(&mut self) -> Taken {
        let pending = std::mem::take(&mut self.pending);
        let keeps = if self.armed.reorder {
            self.any_part(pending.len())
        } else if self.dice.chance(self.knobs.keep) {
            vec![true; pending.len()]
        } else {
            let kept = self.dice.index(pending.len() + 1);
            (0..pending.len()).map(|at| at < kept).collect()
        };
        let mut taken = Taken::default();
        let promised = std::mem::take(&mut self.promised_ops);
        for (at, (op, keep)) in pending.iter().zip(keeps).enumerate() {
            if keep {
                self.make_durable(op);
            } else {
                taken.changes += 1;
                self.lie_came_true |= at < promised;
            }
        }
        self.forget_unreachable();
        for node in self.inodes.values_mut() {
            if let Inode::File(file) = node {
                let (sectors, broken) = file.power_loss(&mut self.dice, &self.knobs);
                taken.sectors += sectors;
                self.lie_came_true |= broken;
            }
        }
        taken
    }

    /// Each of `count` changes survives or not, whatever became of those before it.
    fn any_part(&mut self, count: usize) -> Vec<bool> {
        let keeps: Vec<bool> = (0..count).map(|_| self.dice.chance(500)).collect();
        if keeps.windows(2).any(|pair| pair == [false, true]) {
            self.armed.fired = Some("directory changes reordered");
        }
        keeps
    }

    fn forget_unreachable(&mut self) {
        let mut reachable = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(at) = open.pop() {
            if let Some(Inode::Dir(dir)) = self.inodes.get_mut(&at) {
                dir.entries.clone_from(&dir.durable);
                let fresh = dir.entries.values().filter(|inode| reachable.insert(**inode));
                open.extend(fresh);
            }
        }
        let lost = self.hurt.lost_inodes();
        self.inodes.retain(|inode, _| reachable.contains(inode) || lost.contains(inode));
    }

    /// Writes everything to the platter: what an orderly shutdown of the kernel does, and a drive
    /// that stops lying.
    pub fn drain(&mut self) {
        self.promised_ops = 0;
        for op in std::mem::take(&mut self.pending) {
            self.make_durable(&op);
        }
        for node in self.inodes.values_mut() {
            if let Inode::File(file) = node {
                let point = file.sync_point();
                file.sync_done(point);
            }
        }
    }

    /// Whether it has promised what it does not have.
    pub fn owes(&self) -> bool {
        let lied = |inode: &Inode| matches!(inode, Inode::File(file) if file.is_owed());
        self.promised_ops > 0 || self.inodes.values().any(lied)
    }

    /// The kernel shuts down in good order: it writes its cache back. A drive that lies does not.
    pub fn shut_down(&mut self) {
        if !self.armed.lying {
            self.drain();
        }
    }

    /// Puts another file system in the place of this one: an `older` copy of it, or an empty one in
    /// which `dir` exists, as an operator would leave it. This one is kept aside.
    pub fn replace(&mut self, older: Option<Self>, dir: &Path) {
        if self.aside.is_some() {
            return;
        }
        let mut with = older.unwrap_or_else(|| {
            let mut empty = Self::new(0, self.knobs.clone(), self.dice.clone());
            // A root that takes no folder is no file system of ours.
            drop(empty.create_dir(dir, 0));
            empty
        });
        with.drain();
        self.aside = Some(std::mem::replace(&mut self.inodes, with.inodes));
        self.pending.clear();
    }

    /// Whether another file system is in the place of the right one.
    pub fn is_replaced(&self) -> bool {
        self.aside.is_some()
    }

    /// Puts the right file system back. Returns whether it was away.
    pub fn put_back(&mut self) -> bool {
        let Some(right) = self.aside.take() else { return false };
        self.inodes = right;
        self.pending.clear();
        true
    }
}

#[cfg(test)]
mod tests {
    use env::Access;

    use super::*;
    use crate::world::{Dice, Knobs};

    fn image(seed: u64) -> Image {
        let knobs = Knobs { keep: 0, torn: 0, ..Knobs::default() };
        Image::new(0, knobs, Dice::new(seed, "power"))
    }

    fn names(image: &Image) -> Vec<String> {
        image.list(Path::new("/")).unwrap().into_iter().map(|entry| entry.name).collect()
    }

    fn create(image: &mut Image, name: &str) -> u64 {
        image.open(Path::new(name), Access::CreateNew).unwrap().0
    }

    #[test]
    fn a_change_of_a_directory_that_is_undone_is_no_sector_that_is_lost() {
        let taken = (0..100).map(|seed| {
            let mut image = image(seed);
            create(&mut image, "a");
            image.power_loss()
        });
        let taken: BTreeSet<(u64, u64)> =
            taken.map(|taken| (taken.sectors, taken.changes)).collect();

        assert_eq!(taken, [(0, 0), (0, 1)].into(), "an empty file has no sectors");
    }

    #[test]
    fn reordered_directory_changes_survive_in_any_part_but_only_up_to_the_last_sync() {
        let mut seen = BTreeSet::new();
        for seed in 0..100 {
            let mut image = image(seed);
            image.armed.reorder = true;
            create(&mut image, "synced");
            image.sync_dir(Path::new("/")).unwrap();
            for name in ["a", "b", "c"] {
                create(&mut image, name);
            }
            image.power_loss();
            let left = names(&image);
            assert_eq!(left.last().map(String::as_str), Some("synced"));
            seen.insert(left);
        }
        assert_eq!(seen.len(), 8, "every part of three changes");
    }

    #[test]
    fn what_a_lying_sync_promised_is_lost_with_the_power_and_written_when_the_drive_drains() {
        for drains in [false, true] {
            let mut image = image(1);
            let inode = create(&mut image, "a");
            image.armed.lying = true;
            image.write(inode, 0, &[bytes::Bytes::from_static(b"bytes")]).unwrap();
            let point = image.sync_begin(inode).unwrap();
            image.sync_end(inode, point).unwrap();
            image.sync_dir(Path::new("/")).unwrap();
            assert_eq!(image.armed.fired, Some("lying sync"));
            if drains {
                image.heal();
            }
            image.power_loss();
            assert_eq!(image.cached_file(Path::new("a")) == Some(b"bytes"), drains);
            assert_eq!(image.lie_came_true, !drains);
        }
    }

    #[test]
    fn a_file_system_can_be_replaced_by_an_older_copy_or_an_empty_one() {
        let mut image = image(1);
        create(&mut image, "old");
        let copy = image.clone();
        create(&mut image, "new");
        for (older, expected) in [(Some(copy), "old"), (None, "data")] {
            image.replace(older, Path::new("/data"));
            assert_eq!(names(&image), [expected]);
            assert!(image.put_back());
            assert_eq!(names(&image), ["new", "old"]);
        }
        assert!(!image.put_back());
    }
}
