//! A world whose disk keeps in memory what is written to it: what a process would do to a directory
//! can be seen without anything being done.
//!
//! Invariants: nothing below is created, changed, renamed or removed, and files there are opened for
//! reading only; what is written is read back as from a disk; bytes that are written as they are
//! take no memory. Whoever changes the disk below meanwhile may be seen or not. There is no network.

mod disk;
mod extents;
mod no_net;

use base::{Instant, Timestamp};

use crate::{Env, Host, Pools};

pub use disk::{OverlayDisk, OverlayFile};
pub use no_net::NoNet;

/// The world of `E`, but for its disk and its network.
#[derive(Clone)]
pub struct Overlay<E: Env> {
    below: E,
    disk: OverlayDisk<E::Disk>,
    net: NoNet<OverlayFile<E::Disk>>,
}

impl<E: Env> std::fmt::Debug for Overlay<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Overlay")
    }
}

impl<E: Env> Overlay<E> {
    /// A world in which nothing was written yet.
    pub fn new(below: E) -> Self {
        let disk = OverlayDisk::new(below.disk().clone());
        Self { below, disk, net: NoNet::default() }
    }
}

impl<E: Env> Env for Overlay<E> {
    type Probe = E::Probe;
    type Disk = OverlayDisk<E::Disk>;
    type Net = NoNet<OverlayFile<E::Disk>>;

    fn probe(&self) -> &Self::Probe {
        self.below.probe()
    }

    fn disk(&self) -> &Self::Disk {
        &self.disk
    }

    fn net(&self) -> &Self::Net {
        &self.net
    }

    fn host(&self) -> Host {
        self.below.host()
    }

    fn pools(&self) -> &Pools {
        self.below.pools()
    }

    fn now(&self) -> Instant {
        self.below.now()
    }

    fn boot_now(&self) -> Instant {
        self.below.boot_now()
    }

    fn wall(&self) -> Timestamp {
        self.below.wall()
    }

    async fn sleep_until(&self, at: Instant) {
        self.below.sleep_until(at).await;
    }

    async fn yield_now(&self) {
        self.below.yield_now().await;
    }

    async fn seam(&self, site: &'static str) {
        self.below.seam(site).await;
    }

    fn random_u64(&self) -> u64 {
        self.below.random_u64()
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.below.spawn(name, task);
    }

    fn spawn_dedicated(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.below.spawn_dedicated(name, task);
    }

    fn halt(&self, reason: String) {
        self.below.halt(reason);
    }
}
