//! Starts.
/// How the last process left the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StartClass {
    /// It sealed it, or there was none.
    Clean,
    /// Only the process died: what it wrote is in the page cache or on disk.
    Process,
    /// The machine died, or that cannot be ruled out: what was not synced may be gone.
    Os,
}
pub struct Start;
pub(crate) const SLOT_BYTES: usize = 256;
pub(crate) fn decode_slots() {}
