//! Snapshots: the log's beginning in one piece, taken, sent and taken in.
//!
//! Invariants: a snapshot ends at an entry that was committed, and says which voters were in force there;
//! it is taken in only where it goes beyond what is committed here; what is said of it is durable.

use base::{Probe, invariant};
use bytes::Bytes;

use crate::entry::Index;
use crate::event::{Action, LogChange};
use crate::log::Base;
use crate::message::Body;
use crate::quorum::{Quorum, State, Step};
use crate::voters::NodeKey;

impl<P: Probe> Quorum<P> {
    /// The state up to `index` is in a durable snapshot: the log may begin behind it.
    pub(crate) fn snapshot_taken(&mut self, step: &mut Step<'_>, index: Index, digest: u128) {
        invariant!(QRM_6, index <= self.commit, "a snapshot of what is not committed: {index}");
        if index <= self.log.start() {
            return;
        }
        let Some(base) = self.log.base_at(index, digest) else { return };
        self.log.start_at(base.clone());
        self.persist(step, Some(LogChange::StartAt(base)));
    }

    /// `to` needs entries that are gone: it is fed the snapshot.
    pub(crate) fn feed_snapshot(&mut self, step: &mut Step<'_>, to: NodeKey) {
        let end = self.log.start();
        let Some(leader) = self.leading() else { return };
        let Some(progress) = leader.others.get_mut(&to) else { return };
        if progress.chunk.is_none() {
            progress.chunk = Some(0);
            step.out.push(Action::ReadChunk { to, end, at: 0 });
        }
    }

    /// A piece of the snapshot was read.
    pub(crate) fn send_chunk(
        &mut self,
        step: &mut Step<'_>,
        to: NodeKey,
        (end, at): (Index, u64),
        bytes: Bytes,
        done: bool,
    ) {
        let base = self.log.base().filter(|base| base.last.index == end).cloned();
        let Some(leader) = self.leading() else { return };
        let round = leader.round;
        let Some(progress) = leader.others.get_mut(&to) else { return };
        let Some(base) = base else {
            // There is a newer one.
            progress.chunk = None;
            return self.feed_snapshot(step, to);
        };
        if progress.chunk == Some(at) {
            self.probe.reached("quorum_snapshot_sent");
            self.send(step, to, Body::Chunk { base, at, bytes, done, round });
        }
    }

    /// The follower has everything of the snapshot before `next`.
    pub(crate) fn chunk_taken(
        &mut self,
        step: &mut Step<'_>,
        from: NodeKey,
        end: Index,
        next: u64,
    ) {
        let start = self.log.start();
        let State::Leader(leader) = &mut self.state else { return };
        let Some(progress) = leader.others.get_mut(&from) else { return };
        if end == start && progress.chunk.is_some_and(|at| at != next) {
            progress.chunk = Some(next);
            progress.answered = true;
            step.out.push(Action::ReadChunk { to: from, end, at: next });
        }
    }

    /// A piece of a snapshot has come.
    pub(crate) fn chunk(
        &mut self,
        step: &mut Step<'_>,
        from: NodeKey,
        base: Base,
        (at, bytes, done): (u64, Bytes, bool),
    ) {
        let end = base.last.index;
        if end <= self.commit {
            // All of it is here.
            let index = self.commit;
            return self.send_when_durable(step, from, Body::Matched { index });
        }
        let have = match &self.staged {
            Some((staged, have)) if *staged == base => *have,
            _ => 0,
        };
        if at != have {
            return self.send(step, from, Body::ChunkTaken { end, next: have });
        }
        let next = have.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        step.out.push(Action::StageChunk { base: base.clone(), at, bytes });
        if !done {
            self.staged = Some((base, next));
            return self.send(step, from, Body::ChunkTaken { end, next });
        }
        self.probe.reached("quorum_snapshot_installed");
        self.staged = None;
        step.out.push(Action::Install(base.clone()));
        self.log.start_at(base.clone());
        self.persist(step, Some(LogChange::StartAt(base)));
        self.commit = end;
        self.send_when_durable(step, from, Body::Matched { index: end });
    }
}
