//! What is left in a log directory and belongs to nobody.
//!
//! Invariants: only directories in service are looked at; whoever forgets a log leaves it in the
//! journal, or its folder, or both. What a damaged journal has forgotten is kept, whoever it belonged to.

use std::collections::BTreeSet;
use std::path::Path;

use base::PartitionId;
use env::EntryKind;

use super::{DATA_DIRS, View, folder, harmed_journals, journal, list};
use crate::disk::Image;

/// Folders of a log directory that belong to no log.
const OTHERS: &[&str] = &["journal", "metadata", "salvage"];

/// A log on the platter that `is_led` by nobody, or a folder that the journal knows nothing of.
pub fn leaked(image: &Image, is_led: impl Fn(&PartitionId) -> bool) -> Option<String> {
    let mut folders = BTreeSet::new();
    for (dir, (of, replica_gen), _) in journal::logs(image, View::Durable) {
        let folder = folder(dir, of, replica_gen);
        if !image.is_out_of_service(dir) && !is_led(&of) {
            return Some(format!("the journal names {folder}, and nobody leads it"));
        }
        folders.insert(folder);
    }
    let forgotten = harmed_journals(image);
    let dirs = DATA_DIRS.iter().enumerate();
    let dirs = dirs.filter(|(dir, _)| !image.is_out_of_service(*dir) && !forgotten.contains(dir));
    for (_, root) in dirs {
        for (name, kind) in list(image, Path::new(root), View::Durable) {
            let path = format!("{root}/{name}");
            let is_known = OTHERS.contains(&name.as_str()) || folders.contains(&path);
            if kind == EntryKind::Dir && !is_known {
                return Some(format!("there is {path}, and the journal names no such log"));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use base::{PartitionIndex, ReplicaGen, TopicId, Uuid};
    use bytes::Bytes;
    use env::Access;

    use super::*;
    use crate::world::{Dice, Knobs};

    fn of(topic: u8) -> PartitionId {
        PartitionId { topic: TopicId(Uuid([topic; 16])), index: PartitionIndex(0) }
    }

    /// A directory whose manifest names a log of each topic.
    fn image(topics: &[u8]) -> Image {
        let mut image = Image::new(0, Knobs::default(), Dice::new(1, "leaks"));
        let created = topics.iter().flat_map(|topic| {
            let body = [&[*topic; 16][..], &[0; 4], &1_u64.to_le_bytes()].concat();
            [&[1_u8][..], &28_u32.to_le_bytes(), &body].concat()
        });
        let created: Vec<u8> = created.collect();
        let mut manifest = [&b"GRGMANIF"[..], &[0; 8], &[0; 16], &[0; 20], &created].concat();
        manifest.extend(crc32fast::hash(&manifest).to_le_bytes());
        image.create_dir(Path::new(DATA_DIRS[0]), 1).unwrap();
        let path = Path::new(DATA_DIRS[0]).join("manifest");
        let inode = image.open(&path, Access::CreateNew).unwrap().0;
        image.write(inode, 0, &[Bytes::from(manifest)]).unwrap();
        let point = image.sync_begin(inode).unwrap();
        image.sync_end(inode, point).unwrap();
        image
    }

    fn add_folder(image: &mut Image, path: &str) {
        image.create_dir(Path::new(path), 1).unwrap();
        sync(image);
    }

    fn sync(image: &mut Image) {
        for dir in ["/", DATA_DIRS[0]] {
            image.sync_dir(Path::new(dir)).unwrap();
        }
    }

    #[test]
    fn a_log_that_the_journal_names_and_nobody_leads_is_found() {
        let mut image = image(&[1, 2]);
        sync(&mut image);

        assert_eq!(leaked(&image, |_| true), None);
        let found = leaked(&image, |led| *led == of(1)).unwrap();
        assert!(found.contains(&folder(0, of(2), ReplicaGen(1))), "{found}");
    }

    #[test]
    fn a_folder_that_is_no_log_s_is_found() {
        let mut image = image(&[1]);
        add_folder(&mut image, &format!("{}/journal", DATA_DIRS[0]));
        add_folder(&mut image, &folder(0, of(1), ReplicaGen(1)));
        assert_eq!(leaked(&image, |_| true), None);

        let left = folder(0, of(2), ReplicaGen(1));
        add_folder(&mut image, &left);
        let found = leaked(&image, |_| true).unwrap();
        assert!(found.contains(&left), "{found}");
    }
}
