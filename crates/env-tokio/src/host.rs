//! Who the machine is, and which directory a path leads to.

use std::io;
use std::path::Path;

use env::{DirIdentity, Host};
use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statfs, statx};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The running kernel.
pub(crate) fn host() -> io::Result<Host> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path)
        .map_err(|cause| io::Error::new(cause.kind(), format!("{path}: {cause}")))?;
    Ok(Host { boot_id: text.trim().to_owned() })
}

/// How many file descriptors this process may have: raises the limit to what the system allows it.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

/// The directory at `path`, as its file system knows it.
pub(crate) fn identity(path: &Path) -> io::Result<DirIdentity> {
    let flags = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = statx(CWD, path, AtFlags::empty(), flags)?;
    let birth_ns = if stat.stx_mask & StatxFlags::BTIME.bits() == 0 {
        0
    } else {
        u64::try_from(stat.stx_btime.tv_sec)
            .unwrap_or(0)
            .saturating_mul(1_000_000_000)
            .saturating_add(u64::from(stat.stx_btime.tv_nsec))
    };
    Ok(DirIdentity {
        fs_kind: fs_kind(u64::try_from(statfs(path)?.f_type).unwrap_or(0)),
        device: makedev(stat.stx_dev_major, stat.stx_dev_minor),
        inode: stat.stx_ino,
        birth_ns,
    })
}

/// Names of the file systems of statfs(2); others by their number in hexadecimal.
fn fs_kind(magic: u64) -> String {
    let name = match magic {
        0xEF53 => "ext4", // also ext2 and ext3, which share the number
        0x5846_5342 => "xfs",
        0x9123_683E => "btrfs",
        0x0102_1994 => "tmpfs",
        0x8584_58F6 => "ramfs",
        0x794C_7630 => "overlay",
        0x2FC1_2FC1 => "zfs",
        0xF2F5_2010 => "f2fs",
        0xCA45_1A4E => "bcachefs",
        0x6573_5546 => "fuse",
        0x6969 => "nfs",
        0xFF53_4D42 => "cifs",
        0x0102_1997 => "9p",
        _ => return format!("{magic:#x}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_id_is_one_trimmed_line() {
        let host = host().unwrap();
        assert_eq!(host.boot_id.len(), 36);
        assert_eq!(host.boot_id, host.boot_id.trim());
    }

    #[test]
    fn the_proc_file_system_is_named_by_its_number() {
        assert_eq!(identity(Path::new("/proc")).unwrap().fs_kind, "0x9fa0");
    }
}
