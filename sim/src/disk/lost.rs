//! Files that are gone from their folders, and giving a machine its disk back.
//!
//! Invariants: a lost file is in no listing and cannot be opened, and oracles still see what was in
//! it, until something else has its name; a file that was damaged under a class can be mended by
//! that class, wherever it is by then; what was harmed at which path is known for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use env::EntryKind;

use super::image::{Image, Inode};
use super::names::{DirOp, parts};

/// Files that were damaged on purpose.
#[derive(Clone, Debug, Default)]
pub struct Hurt {
    /// Lost files, by folder and name.
    lost: BTreeMap<(u64, String), Lost>,
    /// Files whose sectors are damaged, with the class.
    files: BTreeSet<(u64, &'static str)>,
    /// What was harmed, whatever became of it since.
    harmed: BTreeSet<Harmed>,
}

/// A file that was harmed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Harmed {
    /// Where it was.
    pub path: PathBuf,
    /// The class that it was harmed under.
    pub class: &'static str,
    /// Whether it was taken away.
    pub is_lost: bool,
}

#[derive(Clone, Copy, Debug)]
struct Lost {
    inode: u64,
    class: &'static str,
    /// Whether nobody has missed it yet.
    untold: bool,
}

impl Hurt {
    /// The inodes of lost files.
    pub fn lost_inodes(&self) -> BTreeSet<u64> {
        self.lost.values().map(|lost| lost.inode).collect()
    }
}

impl Image {
    /// Takes a file out of its folder; counted under `class` when somebody misses it. Returns
    /// whether it was there, in cache and platter alike.
    pub fn lose_file(&mut self, path: &Path, class: &'static str) -> bool {
        let Ok((dir, name)) = self.place(path) else { return false };
        let Some(Inode::Dir(node)) = self.inodes.get_mut(&dir) else { return false };
        let Some(inode) = node.entries.get(&name).copied() else { return false };
        if node.durable.get(&name) != Some(&inode) {
            return false;
        }
        node.entries.remove(&name);
        node.durable.remove(&name);
        self.pending.retain(|op| !names(op, dir, &name));
        self.hurt.lost.insert((dir, name), Lost { inode, class, untold: true });
        self.hurt.harmed.insert(Harmed { path: path.to_owned(), class, is_lost: true });
        true
    }

    /// Notes that sectors of a file are damaged under `class`.
    pub fn note_hurt(&mut self, path: &Path, class: &'static str) {
        let inode = self.file_at(path).map(|(inode, _)| inode);
        self.hurt.files.extend(inode.map(|inode| (inode, class)));
        self.hurt.harmed.insert(Harmed { path: path.to_owned(), class, is_lost: false });
    }

    /// Every file that was ever harmed on purpose.
    pub fn harmed(&self) -> impl Iterator<Item = &Harmed> {
        self.hurt.harmed.iter()
    }

    /// Whether a file that was harmed under `class` is damaged still, or lost and nothing has its name.
    pub fn is_hurt_by(&self, class: &str) -> bool {
        let is_taken =
            |dir: u64, name: &str| self.dir(dir).is_ok_and(|node| node.entries.contains_key(name));
        let is_wrong = |inode: u64| {
            let node = self.inodes.get(&inode);
            matches!(node, Some(Inode::File(file)) if !file.damage.is_empty())
        };
        let mut lost = self.hurt.lost.iter();
        lost.any(|((dir, name), lost)| lost.class == class && !is_taken(*dir, name))
            || self.hurt.files.iter().any(|(inode, of)| *of == class && is_wrong(*inode))
    }

    /// A process looked for `name` in a folder, or listed it.
    pub(super) fn missed(&mut self, dir: u64, name: Option<&str>) {
        let is_missed =
            |(folder, lost): &(u64, String)| *folder == dir && name.is_none_or(|name| name == lost);
        for (_, lost) in self.hurt.lost.iter_mut().filter(|(at, _)| is_missed(at)) {
            if std::mem::take(&mut lost.untold) {
                self.armed.missed.push(lost.class);
            }
        }
    }

    /// Whether a file is lost that nobody has missed yet: a process may still fail for want of it.
    pub fn has_unmissed(&self) -> bool {
        self.hurt.lost.values().any(|lost| lost.untold)
    }

    /// Whether `text` names a segment's file that is lost.
    pub fn names_lost_segment(&self, text: &str) -> bool {
        let mut segments = self.hurt.lost.keys().filter(|(_, name)| name.contains('.'));
        segments.any(|(_, name)| text.contains(name))
    }

    /// Whether a file is damaged or lost, or was so before it was written again.
    pub fn was_hurt(&self, path: &Path) -> bool {
        let inode = self.file_at(path).map(|(inode, _)| inode);
        let was_hurt = self.hurt.files.iter().any(|(hurt, _)| Some(*hurt) == inode);
        was_hurt || self.lost_at(path).is_some() || self.is_damaged(path, 0..u64::MAX)
    }

    fn lost_at(&self, path: &Path) -> Option<&Lost> {
        let (dir, name) = self.place(path).ok()?;
        self.hurt.lost.get(&(dir, name))
    }

    /// Whether a file is lost, and nothing has its name.
    pub fn is_lost(&self, path: &Path) -> bool {
        self.find(path).is_none() && self.lost_at(path).is_some()
    }

    pub(super) fn lost_node(&self, path: &Path) -> Option<&Inode> {
        self.inodes.get(&self.lost_at(path)?.inode)
    }

    /// The names of lost files in a folder that nothing else has.
    pub(super) fn lost_in(&self, path: &Path) -> Vec<(String, EntryKind)> {
        let dir = parts(path).ok().and_then(|names| self.resolve(&names).ok());
        let Some(entries) = dir.and_then(|dir| Some((dir, self.dir(dir).ok()?))) else {
            return Vec::new();
        };
        let here = self
            .hurt
            .lost
            .keys()
            .filter(|(dir, name)| *dir == entries.0 && !entries.1.entries.contains_key(name));
        here.map(|(_, name)| (name.clone(), EntryKind::File)).collect()
    }

    /// Gives back what is lost and mends what is damaged, of the classes that `wanted` names. What
    /// has the name of a lost file by now stays. Returns whether there was any.
    pub fn give_back(&mut self, wanted: impl Fn(&str) -> bool) -> bool {
        let mut any = false;
        let (lost, files) =
            (std::mem::take(&mut self.hurt.lost), std::mem::take(&mut self.hurt.files));
        for ((dir, name), lost) in lost {
            let is_wanted = wanted(lost.class);
            match self.inodes.get_mut(&dir) {
                Some(Inode::Dir(node)) if is_wanted && !node.entries.contains_key(&name) => {
                    any = true;
                    node.entries.insert(name.clone(), lost.inode);
                    node.durable.insert(name.clone(), lost.inode);
                    self.pending.retain(|op| !names(op, dir, &name));
                },
                _ => drop(self.hurt.lost.insert((dir, name), lost)),
            }
        }
        for (inode, class) in files {
            if !wanted(class) {
                self.hurt.files.insert((inode, class));
            } else if let Some(Inode::File(file)) = self.inodes.get_mut(&inode) {
                any |= !file.damage.is_empty();
                file.damage.clear();
            }
        }
        any
    }
}

/// Whether a change is one of `name` in `dir`.
fn names(op: &DirOp, dir: u64, name: &str) -> bool {
    let mut same = false;
    op.apply(|at, changed, _| same |= at == dir && changed == name);
    same
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use env::Access;

    use super::*;
    use crate::world::{Dice, Knobs};

    const PATH: &str = "d/a";

    fn image() -> Image {
        let mut image = Image::new(0, Knobs::default(), Dice::new(1, "t"));
        image.create_dir(Path::new("d"), 0).unwrap();
        let (inode, _) = image.open(Path::new(PATH), Access::CreateNew).unwrap();
        image.write(inode, 0, &[Bytes::from_static(b"bytes")]).unwrap();
        image.sync_fs(Path::new("/")).unwrap();
        image
    }

    #[test]
    fn a_lost_file_is_gone_for_processes_and_not_for_oracles() {
        let mut image = image();
        assert!(image.lose_file(Path::new(PATH), "lost"));

        assert!(image.armed.missed.is_empty(), "nobody has missed it yet");
        assert!(image.list_seen(Path::new("d")).unwrap().is_empty());
        assert_eq!(image.armed.missed, ["lost"]);
        image.open(Path::new(PATH), Access::Read).unwrap_err();
        image.power_loss();
        assert_eq!(image.durable_file(Path::new(PATH)), Some(&b"bytes"[..]));
        assert_eq!(image.cached_file(Path::new(PATH)), Some(&b"bytes"[..]));
        assert_eq!(image.cached_list(Path::new("d")), [("a".to_owned(), EntryKind::File)]);
        assert!(image.is_damaged(Path::new(PATH), 0..1));
    }

    #[test]
    fn what_has_the_name_of_a_lost_file_takes_its_place() {
        let mut image = image();
        image.lose_file(Path::new(PATH), "lost");
        let (inode, is_new) = image.open(Path::new(PATH), Access::CreateOrWrite).unwrap();
        image.write(inode, 0, &[Bytes::from_static(b"new")]).unwrap();

        assert!(is_new);
        assert_eq!(image.cached_file(Path::new(PATH)), Some(&b"new"[..]));
        assert!(!image.is_lost(Path::new(PATH)));
    }

    #[test]
    fn a_file_that_is_not_durable_is_not_lost() {
        let mut image = image();
        image.open(Path::new("d/b"), Access::CreateNew).unwrap();

        assert!(!image.lose_file(Path::new("d/b"), "lost"));
        assert!(!image.lose_file(Path::new("d/c"), "lost"));
    }

    #[test]
    fn what_is_given_back_is_what_was_there() {
        let mut image = image();
        image.lose_file(Path::new(PATH), "lost");

        assert!(!image.give_back(|class| class == "other"));
        assert!(image.give_back(|class| class == "lost"));
        assert_eq!(image.durable_file(Path::new(PATH)), Some(&b"bytes"[..]));
        assert_eq!(image.cached_file(Path::new(PATH)), Some(&b"bytes"[..]));
    }

    #[test]
    fn a_class_hurts_until_its_file_is_back_or_something_has_its_name_and_is_known_for_ever() {
        let mut image = image();
        assert!(!image.is_hurt_by("lost"));
        image.lose_file(Path::new(PATH), "lost");
        assert!(image.is_hurt_by("lost") && !image.is_hurt_by("other"));

        image.give_back(|class| class == "lost");
        assert!(!image.is_hurt_by("lost"));

        image.lose_file(Path::new(PATH), "lost");
        image.open(Path::new(PATH), Access::CreateNew).unwrap();
        assert!(!image.is_hurt_by("lost"));
        assert!(image.harmed().all(|harmed| harmed.path == Path::new(PATH) && harmed.is_lost));
        assert_eq!(image.harmed().count(), 1);
    }

    #[test]
    fn what_has_the_name_of_a_lost_file_is_not_taken_away_by_giving_back() {
        let mut image = image();
        image.lose_file(Path::new(PATH), "lost");
        let (inode, _) = image.open(Path::new(PATH), Access::CreateNew).unwrap();
        image.write(inode, 0, &[Bytes::from_static(b"new")]).unwrap();

        assert!(!image.give_back(|class| class == "lost"));
        assert_eq!(image.cached_file(Path::new(PATH)), Some(&b"new"[..]));
    }
}
