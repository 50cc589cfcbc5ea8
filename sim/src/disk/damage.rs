//! Sectors that do not hold what was written: rot, writes that landed here by mistake, sectors that
//! cannot be read.
//!
//! Invariants: damage lies over the bytes, which stay as they were written, so that the oracles see
//! what was promised and processes see what a disk would give them; a byte that is written again
//! is sound; damage of bytes is placed at rest only, in clean sectors.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::image::{Image, Inode, to_usize};
use super::inode::{FileNode, SECTOR};
use crate::world::Dice;

/// What is wrong with a sector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It gives other bytes, by position in it. The class is told once, to the first reader.
    Bytes(Vec<(usize, u8)>, Option<&'static str>),
    /// It cannot be read.
    Unreadable,
}

/// The damage of one file, by sector.
pub type Damage = BTreeMap<usize, Wrong>;

/// Lays `damage` over `bytes`, which were read at `at`. `Err`: they cannot be read. Else the class
/// of a fault that is seen for the first time.
pub fn lay_over(
    damage: &mut Damage,
    at: usize,
    bytes: &mut [u8],
) -> Result<Option<&'static str>, ()> {
    let mut seen = None;
    let end = at + bytes.len();
    let sectors = at / SECTOR..end.div_ceil(SECTOR);
    // Nobody has seen the rest by then.
    if damage.range(sectors.clone()).any(|(_, wrong)| *wrong == Wrong::Unreadable) {
        return Err(());
    }
    for (sector, wrong) in damage.range_mut(sectors) {
        match wrong {
            Wrong::Unreadable => {},
            Wrong::Bytes(changed, class) => {
                for (position, byte) in changed {
                    let place = sector * SECTOR + *position;
                    if (at..end).contains(&place) {
                        bytes[place - at] = *byte;
                        seen = seen.or(class.take());
                    }
                }
            },
        }
    }
    Ok(seen)
}

/// Bytes of a file are written: those are sound again, and the rest of a sector stays as wrong as it
/// is, for who writes a part of one reads the rest first.
pub fn write_over(damage: &mut Damage, sector: usize, written: Range<usize>) {
    let is_wrong = match damage.get_mut(&sector) {
        Some(Wrong::Bytes(changed, _)) => {
            changed.retain(|(position, _)| !written.contains(&(sector * SECTOR + position)));
            !changed.is_empty()
        },
        Some(Wrong::Unreadable) | None => false,
    };
    if !is_wrong {
        damage.remove(&sector);
    }
}

/// A file, and where damage may hit it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Bytes that damage leaves alone.
    pub spared: BTreeSet<u64>,
    /// A sector that is damaged lies wholly within one of these.
    pub within: Vec<Range<u64>>,
}

impl Place {
    /// All of a file.
    pub fn whole(path: PathBuf) -> Self {
        let within = std::iter::once(0..u64::MAX).collect();
        Self { path, spared: BTreeSet::new(), within }
    }

    /// Whether all of a sector may be damaged; the last one of a file may be a short one.
    fn takes(&self, sector: usize, len: usize) -> bool {
        let low = u64::try_from(sector * SECTOR).unwrap_or(u64::MAX);
        let high = low.saturating_add(u64::try_from(len).unwrap_or(0));
        self.within.iter().any(|range| range.start <= low && high <= range.end)
    }
}

/// A sector at rest: its file, its number, its bytes.
#[derive(Clone, Debug)]
pub struct AtRest {
    inode: u64,
    sector: usize,
    bytes: Vec<u8>,
    /// Positions that damage leaves alone.
    spared: BTreeSet<usize>,
}

impl AtRest {
    /// What was written there.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it begins with bytes that damage leaves alone.
    pub fn begins_spared(&self) -> bool {
        self.spared.contains(&0)
    }

    /// Whether one of these bytes' batches would stand where one of the sector stands: with an offset
    /// and an epoch that damage leaves alone, nothing could tell that it is another's.
    fn takes_for_its_own(&self, bytes: &[u8]) -> bool {
        let is_first = |at: &&usize| at.checked_sub(1).is_none_or(|it| !self.spared.contains(&it));
        self.spared.iter().filter(is_first).any(|at| {
            let rest = Bytes::copy_from_slice(bytes.get(*at..).unwrap_or_default());
            let batch = records::batches(rest).next().and_then(Result::ok);
            batch.is_some_and(|batch| batch.verify_crc().is_ok())
        })
    }
}

impl Image {
    /// The sectors of `files` that the cache and the platter agree on.
    pub fn at_rest(&self, files: &[Place]) -> Vec<AtRest> {
        let mut found = Vec::new();
        for place in files {
            let Some((inode, file)) = self.file_at(&place.path) else { continue };
            for sector in 0..file.durable().len().div_ceil(SECTOR) {
                let bytes = file.sector(sector).to_vec();
                if file.is_at_rest(sector) && place.takes(sector, bytes.len()) {
                    let inside = |at: &u64| to_usize(*at).checked_sub(sector * SECTOR);
                    let spared = place.spared.iter().filter_map(inside).filter(|at| *at < SECTOR);
                    found.push(AtRest { inode, sector, bytes, spared: spared.collect() });
                }
            }
        }
        found
    }

    fn damage(&mut self, place: &AtRest, wrong: Wrong) {
        if let Some(Inode::File(file)) = self.inodes.get_mut(&place.inode) {
            file.damage.insert(place.sector, wrong);
        }
    }

    /// Flips up to eight bits of a sector; counted under `class`.
    pub fn rot(&mut self, place: &AtRest, dice: &mut Dice, class: &'static str) {
        let mut changed = BTreeMap::new();
        for _ in 0..dice.between(1, 8) {
            let at = dice.index(place.bytes.len());
            if place.spared.contains(&at) {
                continue;
            }
            let byte = changed.entry(at).or_insert(place.bytes[at]);
            *byte ^= 1_u8 << dice.below(8);
        }
        changed.retain(|at, byte| *byte != place.bytes[*at]);
        if !changed.is_empty() {
            self.damage(place, Wrong::Bytes(changed.into_iter().collect(), Some(class)));
        }
    }

    /// Makes a sector unreadable until it is written again or [`Image::heal`] is called.
    pub fn lose_sector(&mut self, place: &AtRest) {
        self.damage(place, Wrong::Unreadable);
    }

    /// Lets `bytes`, meant for another place, land on a sector; counted under `class`.
    pub fn land_on(&mut self, place: &AtRest, bytes: &[u8], class: &'static str) {
        if place.takes_for_its_own(bytes) {
            return;
        }
        let each = place.bytes.iter().zip(bytes).enumerate();
        let changed: Vec<(usize, u8)> = each
            .filter(|(at, (old, new))| old != new && !place.spared.contains(at))
            .map(|(position, (_, new))| (position, *new))
            .collect();
        if !changed.is_empty() {
            self.damage(place, Wrong::Bytes(changed, Some(class)));
        }
    }

    /// Makes every sector readable again. Wrong bytes stay wrong.
    pub(crate) fn repair_sectors(&mut self) {
        for node in self.inodes.values_mut() {
            if let Inode::File(file) = node {
                file.damage.retain(|_, wrong| *wrong != Wrong::Unreadable);
            }
        }
    }

    /// Whether any file gives other bytes than were written.
    pub fn has_damage(&self) -> bool {
        !self.hurt.lost_inodes().is_empty()
            || self
                .inodes
                .values()
                .any(|node| matches!(node, Inode::File(file) if !file.damage.is_empty()))
    }

    /// Whether a range of a file gives other bytes than were written.
    pub fn is_damaged(&self, path: &Path, bytes: Range<u64>) -> bool {
        let Some((_, file)) = self.file_at(path) else { return self.is_lost(path) };
        let low = u64::try_from(SECTOR).unwrap_or(1);
        let covers = |(sector, wrong): (&usize, &Wrong)| match wrong {
            Wrong::Unreadable => false,
            Wrong::Bytes(changed, _) => changed.iter().any(|(position, _)| {
                let at = u64::try_from(*sector).unwrap_or(0) * low;
                bytes.contains(&(at + u64::try_from(*position).unwrap_or(0)))
            }),
        };
        file.damage.iter().any(covers)
    }

    pub(super) fn file_at(&self, path: &Path) -> Option<(u64, &FileNode)> {
        let inode = self.find(path)?;
        match self.inodes.get(&inode)? {
            Inode::File(file) => Some((inode, file)),
            Inode::Dir(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use env::Access;
    use records::{BatchBuilder, NewRecord};

    use super::*;
    use crate::world::Knobs;

    const PATH: &str = "a";

    fn image() -> (Image, u64) {
        let mut image = Image::new(0, Knobs::default(), Dice::new(1, "t"));
        let (inode, _) = image.open(Path::new(PATH), Access::CreateNew).unwrap();
        image.write(inode, 0, &[Bytes::from(vec![7; 3 * SECTOR])]).unwrap();
        let point = image.sync_begin(inode).unwrap();
        image.sync_end(inode, point).unwrap();
        (image, inode)
    }

    fn places(image: &Image) -> Vec<AtRest> {
        image.at_rest(&[Place::whole(PathBuf::from(PATH))])
    }

    #[test]
    fn only_clean_sectors_are_at_rest() {
        let (mut image, inode) = image();
        image.write(inode, 513, &[Bytes::from_static(b"x")]).unwrap();

        let sectors: Vec<usize> = places(&image).iter().map(|place| place.sector).collect();

        assert_eq!(sectors, [0, 2]);
    }

    #[test]
    fn a_sector_does_not_land_where_its_batch_would_stand_in_the_place_of_another() {
        let record = NewRecord {
            timestamp: base::Timestamp(0),
            key: None,
            value: Some(b"of another log"),
            headers: &[],
        };
        let mut batch = BatchBuilder::new();
        batch.push(&record).unwrap();
        let batch = batch.finish_bytes().unwrap();
        let mut stray = vec![1; SECTOR];
        stray[40..40 + batch.len()].copy_from_slice(&batch);
        for (begins_at, lands) in [(40, false), (41, true)] {
            let (mut image, inode) = image();
            let spared = (begins_at..begins_at + 8).chain(begins_at + 12..begins_at + 16);
            let place = Place { spared: spared.collect(), ..Place::whole(PathBuf::from(PATH)) };
            let place = image.at_rest(&[place])[0].clone();
            image.land_on(&place, &stray, "misdirected");

            assert_eq!(image.read(inode, 0, 1).unwrap()[0] == 1, lands, "{begins_at}");
        }
    }

    #[test]
    fn rot_changes_what_is_read_and_not_what_was_written_until_it_is_written_again() {
        let (mut image, inode) = image();
        let place = places(&image)[1].clone();
        image.rot(&place, &mut Dice::new(5, "t"), "bit rot");

        let read = image.read(inode, 0, 3 * SECTOR).unwrap();
        let wrong: Vec<usize> = (0..read.len()).filter(|at| read[*at] != 7).collect();
        assert!(!wrong.is_empty() && wrong.iter().all(|at| at / SECTOR == 1), "{wrong:?}");
        assert_eq!(image.armed.fired, Some("bit rot"));
        assert_eq!(image.cached_file(Path::new(PATH)), Some(&[7; 3 * SECTOR][..]));
        assert!(image.is_damaged(Path::new(PATH), 512..1024));
        assert!(!image.is_damaged(Path::new(PATH), 0..512));

        image.write(inode, 512, &[Bytes::from(vec![7; SECTOR])]).unwrap();
        assert!(image.read(inode, 0, 3 * SECTOR).unwrap().iter().all(|byte| *byte == 7));
    }

    #[test]
    fn only_sectors_within_the_given_bytes_are_hit() {
        let (image, _) = image();
        let within = vec![0..1000, 1024..2000];
        let place = Place { within, ..Place::whole(PathBuf::from(PATH)) };

        let sectors: Vec<usize> = image.at_rest(&[place]).iter().map(|at| at.sector).collect();

        assert_eq!(sectors, [0, 2]);
    }

    #[test]
    fn damage_leaves_the_spared_bytes_alone() {
        let (mut image, inode) = image();
        let all_but_one: BTreeSet<u64> = (0..1024).filter(|at| *at != 600).collect();
        let place = Place { spared: all_but_one, ..Place::whole(PathBuf::from(PATH)) };
        let place = image.at_rest(&[place])[1].clone();
        // As many tries as it takes to hit the one byte.
        for seed in 0..2_000 {
            image.rot(&place, &mut Dice::new(seed, "t"), "bit rot");
            let read = image.read(inode, 0, 1024).unwrap();
            let wrong: Vec<usize> = (0..1024).filter(|at| read[*at] != 7).collect();
            if !wrong.is_empty() {
                assert_eq!(wrong, [600]);
                return;
            }
        }
        unreachable!("never hit");
    }

    #[test]
    fn damage_outlives_a_power_loss() {
        let (mut image, inode) = image();
        image.sync_dir(Path::new("/")).unwrap();
        let place = places(&image)[0].clone();
        image.rot(&place, &mut Dice::new(5, "t"), "bit rot");

        image.power_loss();

        assert!(image.read(inode, 0, SECTOR).unwrap().iter().any(|byte| *byte != 7));
    }

    #[test]
    fn an_unreadable_sector_fails_its_readers_until_it_is_repaired() {
        let (mut image, inode) = image();
        let place = places(&image)[1].clone();
        image.lose_sector(&place);

        image.read(inode, 0, SECTOR).unwrap();
        image.read(inode, 1000, 10).unwrap_err();
        assert_eq!(image.armed.fired, Some("latent sector"));
        image.heal();
        image.read(inode, 1000, 10).unwrap();
    }

    #[test]
    fn rot_is_not_seen_by_a_read_that_fails_for_the_sector_behind_it() {
        let (mut image, inode) = image();
        let places = places(&image);
        image.rot(&places[0], &mut Dice::new(5, "t"), "bit rot");
        image.lose_sector(&places[1]);

        image.read(inode, 0, 2 * SECTOR).unwrap_err();
        assert_eq!(image.armed.fired.take(), Some("latent sector"));
        image.heal();
        image.read(inode, 0, 2 * SECTOR).unwrap();
        assert_eq!(image.armed.fired, Some("bit rot"));
    }

    #[test]
    fn a_misdirected_write_lands_on_a_sector_at_rest_as_well() {
        let (mut image, _) = image();
        let (other, _) = image.open(Path::new("b"), Access::CreateNew).unwrap();
        image.misdirect(1, places(&image));

        image.write(other, 0, &[Bytes::from_static(b"stray")]).unwrap();

        assert_eq!(image.cached_file(Path::new("b")), Some(&b"stray"[..]));
        assert!(image.is_damaged(Path::new(PATH), 0..u64::MAX));
    }
}
