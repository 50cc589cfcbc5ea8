//! The fetch sessions of all connections: the cores with their locks.
//!
//! Invariants: the lock of the cache is held for a look-up or a change of place only, never while a
//! session's partitions are gone through; no lock is held across an await. A session may give way
//! while a request of it is under way: that request is answered as if it had not. Source: KIP-227.

mod cache;
mod session;

use std::sync::Arc;

use base::Instant;
use env::{Guard, Lock, Rank};

pub use cache::SessionCounts;
use cache::{Cache, Limits};
pub(crate) use session::{Asked, Key, News, Progress, Refusal, Session, TopicKey, Weight, Wish};

use crate::server::ServerSettings;

const CACHE_RANK: Rank = Rank(6);
const SESSION_RANK: Rank = Rank(7);

/// A session on its own.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Lock<Session>>);

impl Shared {
    fn new(by_id: bool) -> Self {
        Self(Arc::new(Lock::new(SESSION_RANK, Session::new(by_id))))
    }

    pub(crate) fn lock(&self) -> Guard<'_, Session> {
        self.0.lock()
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Sessions {
    cache: Lock<Cache<Shared>>,
}

/// A request that goes on with a session.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) session: Shared,
    /// In which its answer is the next one.
    pub(crate) epoch: i32,
    pub(crate) asked: Vec<Asked>,
}

impl Sessions {
    pub(crate) fn new(settings: &ServerSettings) -> Self {
        let limits = Limits {
            slots: settings.fetch_sessions_max,
            bytes: settings.fetch_session_bytes_max,
            idle: settings.fetch_session_idle_min,
        };
        Self { cache: Lock::new(CACHE_RANK, Cache::new(limits)) }
    }

    pub(crate) fn counts(&self) -> SessionCounts {
        self.cache.lock().counts()
    }

    /// Ends a session; whether there was one.
    pub(crate) fn close(&self, id: i32) -> bool {
        self.cache.lock().remove(id)
    }

    /// Makes a session that its maker fills, if there is room for it; and whether another gave way.
    pub(crate) fn admit(
        &self,
        now: Instant,
        chance: u64,
        worth: (bool, Weight),
        by_id: bool,
    ) -> (Option<(i32, Shared)>, bool) {
        let mut cache = self.cache.lock();
        let before = cache.counts().evicted;
        let made = cache.admit(now, chance, worth, || Shared::new(by_id));
        (made, cache.counts().evicted > before)
    }

    /// Goes on with a session: `change` takes the request in, and then gives what is asked for.
    /// `Ok(None)`: nothing is left in it, and it is gone.
    ///
    /// # Errors
    /// [`Refusal`]; the session is as it was, or gone.
    pub(crate) fn go_on(
        &self,
        now: Instant,
        (id, epoch, by_id): (i32, i32, bool),
        change: impl FnOnce(&mut Session),
        order: impl FnOnce(&mut Session) -> Vec<Asked>,
    ) -> Result<Option<Begun>, Refusal> {
        let session = self.cache.lock().get(id).ok_or(Refusal::Unknown)?;
        let mut held = session.lock();
        held.fits(epoch, by_id)?;
        change(&mut held);
        let Progress::Goes(epoch) = held.advance() else {
            drop(held);
            self.close(id);
            return Ok(None);
        };
        let (asked, weight) = (order(&mut held), held.weight());
        drop(held);
        if !self.cache.lock().touch(id, weight, now) {
            return Err(Refusal::Unknown);
        }
        Ok(Some(Begun { session, epoch, asked }))
    }
}
