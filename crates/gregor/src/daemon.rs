//! What the parts of a running daemon know of each other: how far it is, and what it serves.
//!
//! Invariants: the phase only moves on; who is asked before the broker is there says so.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use base::Duration;
use broker::Broker;
use broker::api::{DirectoryState, DirectoryView};
use env::{Env, Lock, Rank};
use env_tokio::TokioEnv;
use serde::Serialize;
use wire::server::Server;

use crate::config::MetricLimits;
use crate::logging::Levels;

/// Both are taken alone.
const PHASE_RANK: Rank = Rank(2);
const LIMITS_RANK: Rank = Rank(3);

/// How far the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Directories and logs are being opened.
    Starting,
    /// Clients are served.
    Serving,
    /// Nothing new is taken.
    Stopping,
}

impl Phase {
    /// All, in their order.
    pub const ALL: [Self; 3] = [Self::Starting, Self::Serving, Self::Stopping];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Stopping => "stopping",
        }
    }
}

/// What is served.
#[derive(Clone)]
pub struct Served {
    /// The broker.
    pub broker: Broker<TokioEnv>,
    /// Its front door.
    pub server: Server<TokioEnv>,
    /// Where that can be knocked at from here.
    pub at: Option<SocketAddr>,
}

/// One daemon. Clones share it.
#[derive(Clone)]
pub struct Daemon {
    inner: Arc<Inner>,
}

struct Inner {
    env: TokioEnv,
    levels: Levels,
    phase: Lock<Phase>,
    served: OnceLock<Served>,
    limits: Lock<MetricLimits>,
}

/// Whether clients can be sent here, and why not.
#[derive(Clone, Debug, Serialize)]
pub struct Readiness {
    /// Whether they can.
    pub ready: bool,
    /// How far the process is.
    pub phase: Phase,
    /// Why they cannot.
    pub reasons: Vec<String>,
    /// The log directories.
    pub directories: Vec<Directory>,
}

/// A log directory.
#[derive(Clone, Debug, Serialize)]
pub struct Directory {
    /// Where.
    pub path: PathBuf,
    /// `online`, `full` or `failed`.
    pub state: &'static str,
    /// Why it is not online.
    pub reason: Option<String>,
    /// Partitions that live in it.
    pub partitions: usize,
}

/// Nothing is served from it.
pub const FAILED: &str = "failed";

/// The name of a state.
pub fn state_name(state: &DirectoryState) -> &'static str {
    match state {
        DirectoryState::Online => "online",
        DirectoryState::Full { .. } => "full",
        DirectoryState::Failed { .. } => FAILED,
    }
}

impl From<DirectoryView> for Directory {
    fn from(view: DirectoryView) -> Self {
        let state = state_name(&view.state);
        let reason = match view.state {
            DirectoryState::Online => None,
            DirectoryState::Full { reason, .. } | DirectoryState::Failed { reason } => {
                Some(reason.to_string())
            },
        };
        Self { path: view.path, state, reason, partitions: view.partitions }
    }
}

impl Readiness {
    fn of(phase: Phase, directories: Vec<Directory>) -> Self {
        let mut reasons = match phase {
            Phase::Serving => Vec::new(),
            Phase::Starting => vec!["log directories and logs are being opened".to_owned()],
            Phase::Stopping => vec!["the broker is stopping".to_owned()],
        };
        for directory in directories.iter().filter(|directory| directory.state == FAILED) {
            let reason = directory.reason.as_deref().unwrap_or_default();
            let path = directory.path.display();
            reasons.push(format!("log directory {path} is gone: {reason}"));
        }
        Self { ready: reasons.is_empty(), phase, reasons, directories }
    }
}

impl Daemon {
    /// A daemon that starts.
    pub fn new(env: TokioEnv, levels: Levels, limits: MetricLimits) -> Self {
        Self {
            inner: Arc::new(Inner {
                env,
                levels,
                phase: Lock::new(PHASE_RANK, Phase::Starting),
                served: OnceLock::new(),
                limits: Lock::new(LIMITS_RANK, limits),
            }),
        }
    }

    /// The world.
    pub fn env(&self) -> &TokioEnv {
        &self.inner.env
    }

    /// What is logged.
    pub fn levels(&self) -> &Levels {
        &self.inner.levels
    }

    /// How much is measured one by one.
    pub fn limits(&self) -> MetricLimits {
        *self.inner.limits.lock()
    }

    /// From now on so much is.
    pub fn set_limits(&self, limits: MetricLimits) {
        *self.inner.limits.lock() = limits;
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        *self.inner.phase.lock()
    }

    /// It is so far now; it never goes back.
    pub fn reaches(&self, phase: Phase) {
        let mut now = self.inner.phase.lock();
        *now = phase.max(*now);
    }

    /// This is what it serves.
    pub fn serves(&self, served: Served) {
        self.inner.served.get_or_init(|| served);
    }

    /// What it serves, once it is there.
    pub fn served(&self) -> Option<&Served> {
        self.inner.served.get()
    }

    /// Whether clients can be sent here. A full disk is told, but what is read from it is served.
    pub fn readiness(&self) -> Readiness {
        let phase = self.phase();
        let directories: Vec<Directory> = match self.served() {
            Some(served) => served.broker.directories().into_iter().map(Into::into).collect(),
            None => Vec::new(),
        };
        Readiness::of(phase, directories)
    }

    /// Runs `future` for so long at most.
    pub async fn within<F: Future>(&self, time: Duration, future: F) -> Option<F::Output> {
        let until = self.env().now().after(time);
        env::timeout_at(self.env(), until, future).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(state: &'static str) -> Directory {
        let reason = Some("cannot sync".to_owned());
        Directory { path: PathBuf::from("/srv/one"), state, reason, partitions: 1 }
    }

    #[test]
    fn clients_are_sent_to_a_broker_that_serves_and_has_all_its_directories() {
        let ready = |phase, state| Readiness::of(phase, vec![directory(state)]);

        assert!(ready(Phase::Serving, "online").ready);
        assert!(ready(Phase::Serving, "full").ready, "reads are served");
        let gone = ready(Phase::Serving, FAILED);
        assert_eq!(gone.reasons, ["log directory /srv/one is gone: cannot sync"]);
        assert!(!gone.ready);
        for phase in [Phase::Starting, Phase::Stopping] {
            let not_yet = ready(phase, "online");
            assert!(!not_yet.ready && not_yet.reasons.len() == 1, "{not_yet:?}");
        }
    }
}
