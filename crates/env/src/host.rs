//! Who the machine and a directory are, to tell a process crash from a lost page cache or a
//! replaced disk (crash classes).

/// The running kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Changes with every boot of the kernel whose page cache holds our bytes.
    pub boot_id: String,
}

/// One directory, as the file system knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirIdentity {
    /// File-system kind, "ext4" say.
    pub fs_kind: String,
    /// Device number.
    pub device: u64,
    /// Inode number of the directory.
    pub inode: u64,
    /// Birth time of the directory, nanoseconds since the Unix epoch, 0 where unknown.
    pub birth_ns: u64,
}
