//! The outside world as traits: the one door through which clock, disk, network, tasks,
//! randomness and host identity enter.
//!
//! Owns: the traits, the values that cross them, and the order-checked [`Lock`]. Everything above
//! takes a single `E: Env` (static dispatch). Futures are `+ Send`, buffers are owned, names sorted.
//! Invariants every implementation keeps (one contract suite checks them all):
//! a directory entry is durable only after [`Disk::sync_dir`], bytes only after
//! [`File::sync_data`]; a failed sync promises nothing ever again for that file; `list` is sorted;
//! a handle of a dead process is inert.
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_macros, reason = "`lock` keeps held ranks per thread, no state")]

mod buffer;
pub mod contract;
mod disk;
mod host;
mod lock;
mod net;
pub mod overlay;
mod wait;

/// What threads share without a lock: std's, or those of a scheduler that chooses the order.
#[cfg(not(feature = "shuttle"))]
pub use std::sync::atomic;

use base::{Duration, Instant, Probe, Timestamp, Uuid};

pub use buffer::{Buffer, Pools};
pub use disk::{Access, Disk, Entry, EntryKind, File, FileRegion, IoBufs, Space};
pub use host::{DirIdentity, Host};
pub use lock::{Guard, Lock, Rank};
pub use net::{Listener, Net, Segment, SegmentQueue, Stream};
#[cfg(feature = "shuttle")]
pub use shuttle::sync::atomic;
pub use wait::{Elapsed, all, timeout_at};

/// The world one process lives in.
pub trait Env: Clone + Send + Sync + 'static {
    /// What the simulator plants and observes; `()` in production.
    type Probe: Probe;
    /// Files and directories.
    type Disk: Disk;
    /// Sockets.
    type Net: Net<File = <Self::Disk as Disk>::File>;

    /// Mutants, marks and buggify sites.
    fn probe(&self) -> &Self::Probe;
    /// Files and directories.
    fn disk(&self) -> &Self::Disk;
    /// Sockets.
    fn net(&self) -> &Self::Net;
    /// Who the machine is.
    fn host(&self) -> Host;
    /// Buffers of this process, reused.
    fn pools(&self) -> &Pools;

    /// Monotonic time; stands still while the machine is suspended.
    fn now(&self) -> Instant;
    /// Monotonic time that goes on while the machine is suspended.
    fn boot_now(&self) -> Instant;
    /// Wall-clock time; may jump.
    fn wall(&self) -> Timestamp;
    /// Completes at `at`, never before. Cancel-safe.
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send;
    /// Completes after `by`.
    fn sleep(&self, by: Duration) -> impl Future<Output = ()> + Send {
        self.sleep_until(self.now().after(by))
    }
    /// Lets other tasks run. The simulator may also do so at [`Env::seam`].
    fn yield_now(&self) -> impl Future<Output = ()> + Send;
    /// A place where another task may get in between (before a lock is taken, say). Nothing in
    /// production; in the simulator sometimes a yield.
    fn seam(&self, site: &'static str) -> impl Future<Output = ()> + Send;

    /// 64 random bits.
    fn random_u64(&self) -> u64;
    /// A fresh random identifier.
    fn random_uuid(&self) -> Uuid {
        Uuid::from_random(self.random_u64(), self.random_u64())
    }

    /// Starts a detached task; it dies with the process (in simulation: with the node).
    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static);
    /// Starts a task that keeps running when the runtime's other tasks hog it.
    fn spawn_dedicated(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static);

    /// Stops this process for a legitimate cause (a dead directory, corrupt metadata). Returns;
    /// the caller then does nothing more. Only our own bugs panic.
    fn halt(&self, reason: String);
}
