//! The production implementation of [`env::Env`]: tokio for tasks, time and sockets, rustix for
//! files and `sendfile`.
//!
//! Owns: the only place, beside the binary's `main`, where the process meets the operating system.
//! Invariants: whatever may block for long (syncs, opens, cold reads, large writes) runs on the
//! runtime's blocking pool behind a semaphore, so no queue grows without bound; a small append is
//! ready at its first poll; nothing here knows what the bytes mean.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this crate implements the door that the ban points to"
)]

mod blocking;
mod clock;
mod disk;
mod file;
mod host;
mod net;
mod stalls;
mod stream;

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use base::{Instant, Timestamp};
use env::{Env, Host, Pools};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;

use crate::clock::Clock;

pub use disk::{TokioDirLock, TokioDisk};
pub use file::TokioFile;
pub use host::raise_descriptor_limit;
pub use net::{NetCounts, TokioListener, TokioNet};
pub use stream::TokioStream;

/// What may be tuned; the defaults are measured ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Appends of at most this many bytes are written by the calling task itself, at once.
    pub append_inline_bytes_max: usize,
    /// Reads of at most this many bytes are answered by the calling task if the page cache holds
    /// them.
    pub read_inline_bytes_max: usize,
    /// Connections that wait to be accepted, per listener.
    pub backlog: u32,
    /// File operations on the blocking pool at a time; further ones wait in their tasks.
    pub blocking_max: usize,
    /// Reads of cold bytes on the blocking pool at a time, apart from `blocking_max` so that they
    /// do not hold up a sync.
    pub cold_reads_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // With a batch of `message.max.bytes`; a write of that size keeps its thread for half a
            // millisecond, and to hand it over costs as much again.
            append_inline_bytes_max: 2 * 1024 * 1024,
            read_inline_bytes_max: 64 * 1024,
            backlog: 1024,
            blocking_max: 64,
            cold_reads_max: 32,
        }
    }
}

/// The world of one real process. Clones share it.
#[derive(Clone)]
pub struct TokioEnv {
    inner: Arc<Inner>,
}

struct Inner {
    handle: Handle,
    clock: Clock,
    disk: TokioDisk,
    net: TokioNet,
    host: Host,
    pools: Pools,
    halt_reason: OnceLock<String>,
    halt_notify: Notify,
}

impl TokioEnv {
    /// The world as seen by tasks of the runtime behind `handle`, which must have its I/O and
    /// timers enabled.
    ///
    /// # Errors
    /// If the kernel's boot id or random bits cannot be had.
    pub fn new(handle: Handle, settings: Settings) -> io::Result<Self> {
        let host = host::host()?;
        getrandom(&mut [0; 8], GetRandomFlags::empty())?;
        let disk = TokioDisk::new(&handle, settings);
        Ok(Self {
            inner: Arc::new(Inner {
                handle,
                clock: Clock::start(),
                disk,
                net: TokioNet::new(settings),
                host,
                pools: Pools::default(),
                halt_reason: OnceLock::new(),
                halt_notify: Notify::new(),
            }),
        })
    }

    /// Completes with the first reason once [`Env::halt`] was called; at once if it was already.
    /// The binary awaits it beside its signals, then shuts down and exits with a failure.
    pub async fn halted(&self) -> String {
        loop {
            // Registered before the look, so that a halt in between is not missed.
            let mut notified = std::pin::pin!(self.inner.halt_notify.notified());
            notified.as_mut().enable();
            if let Some(reason) = self.inner.halt_reason.get() {
                return reason.clone();
            }
            notified.await;
        }
    }
}

impl fmt::Debug for TokioEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioEnv")
            .field("host", &self.inner.host)
            .field("halted", &self.inner.halt_reason.get())
            .finish_non_exhaustive()
    }
}

impl Env for TokioEnv {
    type Probe = ();
    type Disk = TokioDisk;
    type Net = TokioNet;

    fn probe(&self) -> &() {
        &()
    }

    fn disk(&self) -> &TokioDisk {
        &self.inner.disk
    }

    fn net(&self) -> &TokioNet {
        &self.inner.net
    }

    fn host(&self) -> Host {
        self.inner.host.clone()
    }

    fn pools(&self) -> &Pools {
        &self.inner.pools
    }

    fn now(&self) -> Instant {
        self.inner.clock.now()
    }

    fn boot_now(&self) -> Instant {
        self.inner.clock.boot_now()
    }

    fn wall(&self) -> Timestamp {
        clock::wall()
    }

    async fn sleep_until(&self, at: Instant) {
        self.inner.clock.sleep_until(at).await;
    }

    async fn yield_now(&self) {
        tokio::task::yield_now().await;
    }

    fn seam(&self, _site: &'static str) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    fn random_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        while !matches!(getrandom(&mut bytes, GetRandomFlags::empty()), Ok(8)) {
            // Only a signal gets in between: the source was there at the start and never dries up.
        }
        u64::from_le_bytes(bytes)
    }

    fn spawn(&self, _name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.inner.handle.spawn(task));
    }

    /// Runs `task` on a thread and a runtime of its own. Sockets it opens belong to that runtime
    /// and end with the task; file operations still share the process's blocking pool.
    fn spawn_dedicated(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let env = self.clone();
        let body = move || match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(task),
            Err(cause) => env.halt(format!("no runtime for the dedicated task {name}: {cause}")),
        };
        if let Err(cause) = std::thread::Builder::new().name(name.to_owned()).spawn(body) {
            self.halt(format!("no thread for the dedicated task {name}: {cause}"));
        }
    }

    fn halt(&self, reason: String) {
        tracing::error!(%reason, "halting");
        if self.inner.halt_reason.set(reason).is_ok() {
            self.inner.halt_notify.notify_waiters();
        }
    }
}
