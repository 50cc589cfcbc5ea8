//! The `starts` file: one slot per process start, and from the slots the class of this start.
//!
//! Invariants: slots are appended and synced before anything else of the directory is used; a slot
//! that is not whole is skipped, never repaired; a slot never straddles a sector.

use base::{Timestamp, Uuid};
use env::{DirIdentity, Host};

use crate::codec::{FormatError, Reader, put_text};

/// Bytes of a slot.
pub const SLOT_BYTES: usize = 256;
/// With this many slots the file is rewritten with the newest half.
pub(crate) const SLOTS_MAX: usize = 1024;
const MAGIC: [u8; 4] = *b"GSTR";
const VERSION: u16 = 1;
/// The only kind of slot so far; 2 ("confirmed by the controller") is reserved.
const KIND_START: u8 = 1;
const BOOT_ID_MAX: usize = 64;
const FS_KIND_MAX: usize = 32;
const _: () = assert!(512 % SLOT_BYTES == 0);
const _: () = assert!(64 + 1 + BOOT_ID_MAX + 1 + FS_KIND_MAX + 4 <= SLOT_BYTES);

/// File systems whose page cache certainly outlives a process and whose birth times are real.
const TRUSTED_FS: [&str; 4] = ["ext4", "xfs", "btrfs", "tmpfs"];

/// How the last process left the directory. A later variant is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StartClass {
    /// It sealed it, or there was none.
    Clean,
    /// Only the process died: what it wrote is in the page cache or on disk.
    Process,
    /// The machine died, or that cannot be ruled out: what was not synced may be gone.
    Os,
}

/// One process start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The process.
    pub start_id: Uuid,
    /// How many starts there were, this one included.
    pub ordinal: u32,
    /// What it found.
    pub class: StartClass,
    /// When, by the wall clock.
    pub at: Timestamp,
    /// Under which kernel.
    pub boot_id: String,
    /// Which directory it was.
    pub dir: DirIdentity,
}

impl Start {
    /// Whether `self` ran under the same kernel on the same directory, so that everything it wrote
    /// is still there.
    pub(crate) fn same_page_cache(&self, host: &Host, dir: &DirIdentity) -> bool {
        self.boot_id == bounded(&host.boot_id, BOOT_ID_MAX)
            && !host.boot_id.is_empty()
            && TRUSTED_FS.contains(&dir.fs_kind.as_str())
            && self.dir == *dir
    }
}

/// `text`, or its longest prefix of at most `max` bytes.
pub(crate) fn bounded(text: &str, max: usize) -> &str {
    let mut len = text.len().min(max);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    text.get(..len).unwrap_or("")
}

/// One slot.
///
/// ```text
///  0 magic "GSTR"   4    8 ordinal  u32   32 wall ms  i64   56 birth ns u64        252 CRC-32
///  4 version u16         12 reserved      40 device   u64   64 boot id (u8, text)
///  6 kind u8 = 1         16 start id 16   48 inode    u64      file system (u8, text), zeros
///  7 class u8
/// ```
pub fn encode_start(start: &Start) -> [u8; SLOT_BYTES] {
    let class = match start.class {
        StartClass::Clean => 0,
        StartClass::Process => 1,
        StartClass::Os => 2,
    };
    let mut out = Vec::with_capacity(SLOT_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[KIND_START, class]);
    out.extend_from_slice(&start.ordinal.to_le_bytes());
    out.extend_from_slice(&0_u32.to_le_bytes());
    out.extend_from_slice(&start.start_id.0);
    out.extend_from_slice(&start.at.0.to_le_bytes());
    out.extend_from_slice(&start.dir.device.to_le_bytes());
    out.extend_from_slice(&start.dir.inode.to_le_bytes());
    out.extend_from_slice(&start.dir.birth_ns.to_le_bytes());
    put_text(&mut out, bounded(&start.boot_id, BOOT_ID_MAX));
    put_text(&mut out, bounded(&start.dir.fs_kind, FS_KIND_MAX));
    out.resize(SLOT_BYTES - 4, 0);
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    let mut slot = [0; SLOT_BYTES];
    slot.copy_from_slice(&out);
    slot
}

/// Reads one slot.
///
/// # Errors
/// [`FormatError`] if it is not whole.
pub fn decode_start(bytes: &[u8]) -> Result<Start, FormatError> {
    if bytes.len() != SLOT_BYTES {
        return Err(FormatError::Truncated);
    }
    let (body, crc) = bytes.split_at(SLOT_BYTES - 4);
    let mut reader = Reader::new(body);
    if reader.array::<4>()? != MAGIC {
        return Err(FormatError::Magic);
    }
    if Reader::new(crc).u32()? != crc32fast::hash(body) {
        return Err(FormatError::Checksum);
    }
    let version = reader.u16()?;
    if version != VERSION {
        return Err(FormatError::Version(version));
    }
    let kind = reader.u8()?;
    let class = match (kind, reader.u8()?) {
        (KIND_START, 0) => StartClass::Clean,
        (KIND_START, 1) => StartClass::Process,
        (KIND_START, 2) => StartClass::Os,
        _ => return Err(FormatError::Field("kind")),
    };
    let ordinal = reader.u32()?;
    reader.u32()?;
    let start_id = Uuid(reader.array()?);
    let at = Timestamp(reader.i64()?);
    let (device, inode, birth_ns) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let boot_id = reader.text(BOOT_ID_MAX, "boot id")?;
    let fs_kind = reader.text(FS_KIND_MAX, "file system")?;
    let dir = DirIdentity { fs_kind, device, inode, birth_ns };
    Ok(Start { start_id, ordinal, class, at, boot_id, dir })
}

/// Reads a whole `starts` file: the slots that are whole, and how many are not.
pub fn decode_starts(bytes: &[u8]) -> (Vec<Start>, usize) {
    let mut starts = Vec::new();
    let mut damaged = 0;
    for slot in bytes.chunks(SLOT_BYTES) {
        match decode_start(slot) {
            Ok(start) => starts.push(start),
            Err(_) => damaged += 1,
        }
    }
    (starts, damaged)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn start() -> Start {
        Start {
            start_id: Uuid([1; 16]),
            ordinal: 3,
            class: StartClass::Process,
            at: Timestamp(77),
            boot_id: "boot".into(),
            dir: DirIdentity { fs_kind: "ext4".into(), device: 1, inode: 2, birth_ns: 3 },
        }
    }

    #[test]
    fn a_slot_gives_back_its_start() {
        assert_eq!(decode_start(&encode_start(&start())), Ok(start()));
    }

    #[test]
    fn a_torn_slot_hides_no_other() {
        let mut bytes = encode_start(&start()).to_vec();
        bytes.extend_from_slice(&[0; SLOT_BYTES]);
        bytes.extend_from_slice(&encode_start(&start()));
        bytes.extend_from_slice(&encode_start(&start())[..100]);

        assert_eq!(decode_starts(&bytes), (vec![start(), start()], 2));
    }

    #[test]
    fn another_kernel_or_directory_is_another_page_cache() {
        let host = Host { boot_id: "boot".into() };
        assert!(start().same_page_cache(&host, &start().dir));
        assert!(!start().same_page_cache(&Host { boot_id: "other".into() }, &start().dir));
        let moved = DirIdentity { inode: 9, ..start().dir };
        assert!(!start().same_page_cache(&host, &moved));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            decode_starts(&bytes);
        }
    }
}
