//! One member of a classic group.
//!
//! Owns: what it said of itself, what it was given, which of its requests are parked, and until
//! when it may be silent. Invariant: a parked member is not silent, it waits for us.

use base::{Duration, Instant};
use bytes::Bytes;

use crate::command::protocols_bytes;
use crate::event::RequestId;
use crate::record::StoredMember;

#[derive(Debug, Default)]
pub(super) struct Member {
    /// Its place in the order of joining.
    pub seniority: u64,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    /// Names and metadata in order of preference.
    pub protocols: Vec<(String, Bytes)>,
    pub assignment: Bytes,
    /// Its JoinGroup, while parked.
    pub joining: Option<RequestId>,
    /// Its SyncGroup, while parked.
    pub syncing: Option<RequestId>,
    /// It has not been told its first generation yet.
    pub is_new: bool,
    /// It was told the generation and has not asked for its assignment yet.
    pub must_sync: bool,
    pub session_ends: Instant,
}

impl Member {
    pub fn load(
        stored: &StoredMember,
        protocol: Option<&str>,
        seniority: u64,
        now: Instant,
    ) -> Self {
        Self {
            seniority,
            instance: stored.instance.clone(),
            client_id: stored.client_id.clone(),
            client_host: stored.client_host.clone(),
            session_timeout: stored.session_timeout,
            rebalance_timeout: stored.rebalance_timeout,
            protocols: vec![(protocol.unwrap_or_default().to_owned(), stored.metadata.clone())],
            assignment: stored.assignment.clone(),
            session_ends: now.after(stored.session_timeout),
            ..Self::default()
        }
    }

    /// Bytes that it takes, beside its id.
    pub fn bytes(&self) -> usize {
        let protocols = protocols_bytes(&self.protocols);
        let texts = self.client_id.len() + self.client_host.len();
        let instance = self.instance.as_ref().map_or(0, |instance| 2 * instance.len());
        size_of::<Self>()
            .saturating_add(protocols)
            .saturating_add(self.assignment.len())
            .saturating_add(texts + instance)
    }

    /// Its metadata for a protocol, if it has that protocol.
    pub fn metadata(&self, protocol: &str) -> Option<Bytes> {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, data)| data.clone())
    }

    /// Whether one of its requests waits for us.
    pub fn is_parked(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    /// When its silence is up; never while parked, except for a new member, whose client may long
    /// be gone and which nobody else would notice.
    pub fn expires(&self) -> Option<Instant> {
        (self.is_new || !self.is_parked()).then_some(self.session_ends)
    }

    /// It showed a sign of life.
    pub fn touch(&mut self, now: Instant) {
        if !self.is_parked() {
            self.session_ends = now.after(self.session_timeout);
        }
    }
}
