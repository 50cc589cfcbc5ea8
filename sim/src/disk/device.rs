//! The devices of one machine: each log directory may lie on one of its own.
//!
//! Owns: [`Device`], the faults that wait for an operation on one device, and the way from a file to
//! its device. Invariants: what is in none of several log directories lies on a device of its own,
//! which no fault hits; a fault of one device leaves the others alone; healing forgets what waits,
//! and not what has happened.

use std::io;
use std::path::Path;

use env::Space;

use super::image::{Image, Inode};
use super::names::{DirOp, ROOT, parts};

/// One device, and what waits for its next operations.
#[derive(Clone, Debug, Default)]
pub struct Device {
    /// So many of the next syncs fail.
    pub failed_syncs: u32,
    /// So many of the next writes stop short with an error.
    pub short_writes: u32,
    /// So many of the next reads fail.
    pub failed_reads: u32,
    /// So many bytes still fit; `None` for as many as you like.
    pub room: Option<u64>,
    /// Operations that begin before this instant return after it, nanoseconds.
    pub stalled_until: u64,
    /// Whether an operation ever found no room.
    pub(super) ever_full: bool,
    /// Whether an operation ever failed with an error of the device.
    pub(super) ever_failed: bool,
    /// Whether one did since the present process began, or found no room during its start.
    pub(super) troubled: bool,
}

impl Device {
    /// Takes `bytes` of what room there is. Returns how many there were.
    pub fn take_room(&mut self, bytes: u64) -> u64 {
        let Some(room) = &mut self.room else { return bytes };
        let taken = bytes.min(*room);
        *room -= taken;
        taken
    }

    /// Gives `bytes` of room back.
    pub fn give_room(&mut self, bytes: u64) {
        if let Some(room) = &mut self.room {
            *room = room.saturating_add(bytes);
        }
    }

    /// Whether it is full or stalled right now.
    pub(super) fn is_hurting(&self) -> bool {
        self.room.is_some() || self.stalled_until > 0
    }

    /// Forgets what waits.
    pub(super) fn heal(&mut self) {
        let Self { ever_full, ever_failed, troubled, .. } = *self;
        *self = Self { ever_full, ever_failed, troubled, ..Self::default() };
    }

    /// An operation fails with an error of the device.
    pub(super) fn fails(&mut self) {
        self.ever_failed = true;
        self.troubled = true;
    }
}

impl Image {
    /// Gives each of the folders `dirs` of the root a device of its own, if there are several. A
    /// process ends with the one numbered `vital`, or with all of the first `logs`.
    pub fn mount(&mut self, dirs: &[&str], logs: usize, vital: usize) {
        (self.logs, self.vital) = (logs, vital);
        self.mounts = dirs.iter().map(|dir| dir.trim_start_matches('/').to_owned()).collect();
        if self.has_several() {
            self.devices.resize_with(dirs.len() + 1, Device::default);
            let rest = dirs.len();
            if let Some(Inode::Dir(root)) = self.inodes.get_mut(&ROOT) {
                root.device = rest;
            }
        }
    }

    /// Whether there are several directories, each on a device of its own.
    pub fn has_several(&self) -> bool {
        self.mounts.len() > 1
    }

    /// How many devices there are.
    pub fn device_count(&self) -> usize {
        self.devices.len()
    }

    /// The device number `at`; if there are fewer, numbers go round.
    pub fn device(&mut self, at: usize) -> &mut Device {
        let at = if at < self.devices.len() { at } else { at % self.mounts.len().max(1) };
        &mut self.devices[at]
    }

    /// On which device a path is, or would be.
    pub fn device_of(&self, path: &Path) -> usize {
        let names = parts(path).unwrap_or_default();
        names.first().map_or(self.home_of(ROOT), |name| self.mounted(name))
    }

    /// Room of the device that a directory is on.
    pub fn space(&self, path: &Path) -> io::Result<Space> {
        /// Of a disk that is not full: as much as anybody may ask for.
        const ALL: u64 = 1 << 40;
        self.dir(self.resolve(&parts(path)?)?)?;
        let left = self.devices[self.device_of(path)].room.unwrap_or(ALL);
        Ok(Space { total_bytes: ALL, usable_bytes: left.min(ALL) })
    }

    fn mounted(&self, name: &str) -> usize {
        let mount = self.mounts.iter().position(|mount| mount == name);
        mount.unwrap_or_else(|| self.home_of(ROOT))
    }

    /// Whether a sync of a device fails.
    pub(super) fn sync_fails(&mut self, device: usize) -> bool {
        let left = self.devices[device].failed_syncs;
        if left > 0 {
            self.devices[device].failed_syncs = left - 1;
            self.fails(device, "failed sync");
        }
        left > 0
    }

    /// A fault of a device takes effect.
    pub(super) fn fails(&mut self, device: usize, class: &'static str) {
        self.devices[device].fails();
        self.armed.fired = Some(class);
    }

    /// Takes `bytes` of what room a device has. Returns how many there were.
    pub(super) fn take_room(&mut self, device: usize, bytes: u64) -> u64 {
        let taken = self.devices[device].take_room(bytes);
        if taken < bytes {
            self.is_full(device);
        }
        taken
    }

    /// An operation finds no room on a device.
    pub(super) fn is_full(&mut self, device: usize) {
        self.armed.fired = Some("disk full");
        self.devices[device].ever_full = true;
        self.devices[device].troubled |= self.starting;
    }

    /// On which device a change of names is.
    pub(super) fn device_of_op(&self, op: &DirOp) -> usize {
        let mut device = 0;
        op.apply(|dir, _, _| device = self.home_of(dir));
        device
    }

    /// On which device an inode is.
    pub(crate) fn home_of(&self, inode: u64) -> usize {
        match self.inodes.get(&inode) {
            Some(Inode::File(file)) => file.device,
            Some(Inode::Dir(dir)) => dir.device,
            None => 0,
        }
    }

    /// The device of what is made as `name` in the folder `dir`.
    pub(super) fn device_for(&self, dir: u64, name: &str) -> usize {
        if dir == ROOT { self.mounted(name) } else { self.home_of(dir) }
    }

    /// Whether the present process may do without the device number `at`, of several: an operation
    /// failed, or its start found no room.
    pub fn is_out_of_service(&self, at: usize) -> bool {
        self.has_several() && self.devices.get(at).is_some_and(|device| device.troubled)
    }

    /// Whether it may do without any.
    pub fn any_out_of_service(&self) -> bool {
        (0..self.devices.len()).any(|at| self.is_out_of_service(at))
    }

    /// Whether the device number `at` ever failed an operation.
    pub fn ever_failed(&self, at: usize) -> bool {
        self.devices.get(at).is_some_and(|device| device.ever_failed)
    }

    /// Whether any process may have done without one.
    pub fn ever_out_of_service(&self) -> bool {
        self.has_several() && self.devices.iter().any(|device| device.ever_failed)
    }

    /// Whether what failed so far, or found no room, may end a process.
    pub fn ends_process(&self) -> bool {
        let failed = |at: usize| self.devices[at].ever_failed || self.devices[at].ever_full;
        failed(self.vital) || (0..self.logs).all(failed)
    }

    /// An operation was carried out on the device number `at`.
    pub(super) fn operated(&mut self, at: usize) {
        self.operated_last = at;
    }

    /// The process has just given up a directory. If no device failed it, it missed a file there that
    /// is lost, or found one that is damaged.
    pub(crate) fn gives_up(&mut self) {
        if self.has_several() && self.has_damage() && !self.any_out_of_service() {
            let at = self.operated_last;
            self.device(at).troubled = true;
        }
    }

    /// A process starts.
    pub(crate) fn started(&mut self) {
        self.armed.started();
        self.devices.iter_mut().for_each(|device| device.troubled = false);
        self.starting = true;
    }

    /// Whether the process does not serve yet.
    pub(crate) fn is_starting(&self) -> bool {
        self.starting
    }

    /// The process that started serves.
    pub(crate) fn serves(&mut self) {
        self.starting = false;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use env::Access;

    use super::*;
    use crate::world::{Dice, Knobs};

    fn two() -> (Image, [u64; 2]) {
        let mut image = Image::new(0, Knobs::default(), Dice::new(1, "t"));
        image.mount(&["/one", "/two"], 2, 0);
        let inodes = ["/one/a/file", "/two/a/file"].map(|path| {
            let path = Path::new(path);
            image.create_dir(path.parent().unwrap(), 0).unwrap();
            image.open(path, Access::CreateNew).unwrap().0
        });
        (image, inodes)
    }

    fn sync(image: &mut Image, inode: u64) -> io::Result<()> {
        let point = image.sync_begin(inode).unwrap();
        image.sync_end(inode, point)
    }

    #[test]
    fn room_that_is_given_back_can_be_taken_again() {
        let mut device = Device { room: Some(10), ..Device::default() };

        assert_eq!((device.take_room(8), device.take_room(8)), (8, 2));
        device.give_room(5);
        assert_eq!(device.take_room(8), 5);
    }

    #[test]
    fn a_fault_of_one_device_leaves_the_other_alone() {
        let (mut image, [one, two]) = two();
        let bytes = [Bytes::from_static(b"bytes")];
        image.device(1).failed_syncs = 1;
        image.device(1).room = Some(0);

        image.write(one, 0, &bytes).unwrap();
        sync(&mut image, one).unwrap();
        image.write(two, 0, &bytes).unwrap_err();
        sync(&mut image, two).unwrap_err();
        sync(&mut image, two).unwrap();

        assert_eq!([image.ever_failed(0), image.ever_failed(1)], [false, true]);
        assert!(image.is_out_of_service(1) && !image.is_out_of_service(0));
        image.started();
        assert!(!image.any_out_of_service() && image.ever_failed(1));
    }

    #[test]
    fn a_directory_that_is_given_up_over_a_lost_file_is_the_one_where_that_was_missed() {
        let (mut image, _) = two();
        image.sync_fs(Path::new("/two")).unwrap();
        image.operated(1);
        image.gives_up();
        assert!(!image.any_out_of_service(), "nothing is lost");

        image.lose_file(Path::new("/two/a/file"), "lost");
        image.gives_up();

        assert!(image.is_out_of_service(1) && !image.is_out_of_service(0));
        image.started();
        assert!(!image.any_out_of_service() && !image.ever_failed(1));
    }

    #[test]
    fn syncing_one_file_system_makes_nothing_of_another_durable() {
        let (mut image, [one, two]) = two();
        image.sync_dir(Path::new("/")).unwrap();
        for inode in [one, two] {
            image.write(inode, 0, &[Bytes::from_static(b"bytes")]).unwrap();
        }

        image.sync_fs(Path::new("/two")).unwrap();

        assert_eq!(image.durable_file(Path::new("/two/a/file")), Some(&b"bytes"[..]));
        assert_eq!(image.durable_file(Path::new("/one/a/file")), None);
    }

    #[test]
    fn nothing_is_renamed_from_one_device_to_another() {
        let (mut image, _) = two();
        let (from, to) = (Path::new("/one/a/file"), Path::new("/two/a/moved"));

        let error = image.rename(from, to).unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::CrossesDevices);
    }
}
