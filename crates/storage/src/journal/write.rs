//! Groups: commits that become durable together.
//!
//! Invariants: one group at a time; its records are taken in after its sync and in its order; no
//! record joins that is about a log which does not exist, or not any more; a group that fails, or is
//! abandoned halfway, ends the journal; one for which there is no file waits again, and whoever
//! finds that takes its own commit back.

use env::atomic::Ordering;
use std::collections::BTreeMap;
use std::io;

use base::{Offset, Probe, invariant};
use bytes::Bytes;
use env::{Env, File, IoBufs};

use super::block::{BLOCK, blocks_for, encode_group};
use super::record::{Change, Life, Record};
use super::{
    Awaited, CommitError, FileOf, Journal, PLACE_BYTES, Pending, QUEUE_BYTES_MAX, Queue, Table,
    Writer,
};
use crate::dir::{Found, is_full};

/// Commits of one group.
struct Group {
    bytes: Vec<u8>,
    commits: Vec<Pending>,
}

impl<E: Env> Journal<E> {
    pub(super) async fn submit(
        &self,
        bytes: Vec<u8>,
        changes: Vec<Record>,
        batch: Option<(Found, Offset)>,
    ) -> Result<(), CommitError> {
        self.check()?;
        if bytes.len() > self.group_bytes_max {
            let kind = io::ErrorKind::InvalidInput;
            return Err(io::Error::new(kind, "a commit is too large").into());
        }
        while self.queue.lock().bytes > QUEUE_BYTES_MAX {
            self.env.probe().reached("storage_journal_queue_full");
            let mut writer = self.writer.lock().await;
            self.write_group(&mut writer).await?;
        }
        let ticket = {
            let mut queue = self.queue.lock();
            queue.admit(&changes, |log| self.table.lock().state.logs().contains_key(log)).map_err(
                |log| {
                    self.env.probe().reached("storage_journal_log_gone");
                    CommitError::Gone(log)
                },
            )?;
            let ticket = queue.next;
            queue.next += 1;
            queue.bytes += bytes.len();
            queue.pending.push_back(Pending { ticket, bytes, changes, batch });
            ticket
        };
        self.env.seam("storage_journal_joined").await;
        let mut writer = self.writer.lock().await;
        // Usually somebody else's group had room for this commit.
        while self.table.lock().done <= ticket {
            if let Err(error) = self.write_group(&mut writer).await {
                self.take_back(ticket);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Takes a commit that waits out of the queue.
    fn take_back(&self, ticket: u64) {
        let mut queue = self.queue.lock();
        if let Some(at) = queue.pending.iter().position(|pending| pending.ticket == ticket)
            && let Some(pending) = queue.pending.remove(at)
        {
            queue.bytes -= pending.bytes.len();
            queue.withdraw(&pending);
        }
    }

    /// Lets the commits of a group wait again, before all others.
    fn put_back(&self, group: Group) {
        let mut queue = self.queue.lock();
        for commit in group.commits.into_iter().rev() {
            queue.bytes += commit.bytes.len();
            queue.pending.push_front(commit);
        }
    }

    fn take_group(&self) -> Group {
        let mut queue = self.queue.lock();
        let mut group = Group { bytes: Vec::new(), commits: Vec::new() };
        while let Some(next) = queue.pending.front() {
            let fits = group.bytes.len() + next.bytes.len() <= self.group_bytes_max;
            if !fits && !group.commits.is_empty() {
                break;
            }
            let Some(next) = queue.pending.pop_front() else { break };
            queue.bytes -= next.bytes.len();
            group.bytes.extend_from_slice(&next.bytes);
            group.commits.push(next);
        }
        group
    }

    async fn write_group(&self, writer: &mut Writer<FileOf<E>>) -> io::Result<()> {
        self.check()?;
        let group = self.take_group();
        let Some(last) = group.commits.last().map(|commit| commit.ticket) else {
            return Ok(());
        };
        self.env.probe().reached(if group.commits.len() > 1 {
            "storage_journal_group_shared"
        } else {
            "storage_journal_group"
        });
        let guard = GroupGuard { journal: self, finished: false };
        if let Err(error) = self.make_room(writer, group.bytes.len()).await {
            guard.finish();
            if !is_full(&error) {
                return Err(self.fail(error));
            }
            self.env.probe().reached("storage_journal_full");
            self.put_back(group);
            return Err(error);
        }
        let written = self.write_blocks(writer, &group.bytes).await;
        guard.finish();
        // Even if it says that the disk is full: the room was reserved.
        written.map_err(|error| self.fail(error))?;
        let mut table = self.table.lock();
        for record in group.commits.iter().flat_map(|commit| &commit.changes) {
            let fits = table.state.apply(record);
            invariant!(JOURNAL_1, fits.is_ok(), "{fits:?}: {record:?}");
            match record.change {
                Change::Drop => table.forget(record.log),
                Change::Cut(at) => {
                    // What is written there next is not in its segment yet.
                    if let Some(filed) = table.filed.get_mut(&record.log) {
                        *filed = at.min(*filed);
                    }
                },
                _ => {},
            }
        }
        for (log, end) in group.commits.iter().filter_map(|commit| commit.batch) {
            // Its segment may have become durable before its group did.
            let is_filed = table.filed.get(&log).is_some_and(|filed| *filed >= end);
            // And its log may have been dropped in the same group.
            let is_needed = !is_filed && table.state.logs().contains_key(&log);
            if let (true, Some(lap)) = (is_needed, table.laps.get_mut(&writer.lap)) {
                lap.needs.insert(log, end);
            }
        }
        (table.lap, table.group) = (writer.lap, writer.group);
        if let Some(lap) = table.laps.get_mut(&writer.lap) {
            lap.groups = writer.group;
        }
        table.done = last + 1;
        drop(table);
        self.queue.lock().forget_upto(last);
        Ok(())
    }

    /// Sees to it that the current file has room for a group of so many bytes, and for one more block
    /// with the word that the journal goes on.
    ///
    /// # Errors
    /// If there is no room for another file, nothing has changed.
    async fn make_room(&self, writer: &mut Writer<FileOf<E>>, records: usize) -> io::Result<()> {
        let len = group_len(records)?.saturating_add(PLACE_BYTES);
        if writer.at.saturating_add(len) > writer.room {
            self.next_file(writer, len.saturating_add(PLACE_BYTES)).await?;
        }
        Ok(())
    }

    async fn write_blocks(&self, writer: &mut Writer<FileOf<E>>, records: &[u8]) -> io::Result<()> {
        let len = group_len(records.len())?;
        let blocks = encode_group(writer.nonce, writer.group, records);
        // Planted: each group waits for the flush of the one before, not for its own.
        let early = self.env.probe().mutant("ack_before_group_flush");
        if early {
            writer.file.sync_data().await?;
        }
        writer.file.append(writer.at, IoBufs::from_iter([Bytes::from(blocks)])).await?;
        if !early {
            self.env.seam("storage_journal_written").await;
            match writer.file.sync_data().await {
                // Planted: tried again, and the kernel has nothing left to write.
                Err(_) if self.env.probe().mutant("group_sync_tried_again") => {
                    writer.file.sync_data().await?;
                },
                synced => synced?,
            }
        }
        writer.at += len;
        writer.group += 1;
        self.groups.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Bytes of a group with so many bytes of records.
fn group_len(records: usize) -> io::Result<u64> {
    u64::try_from(blocks_for(records) * BLOCK).map_err(io::Error::other)
}

impl Queue {
    /// Takes note of what `changes`, which come next, create and drop; `is_known` tells of a log
    /// whether it exists durably. `Err`: one is about a log that does not exist.
    fn admit(
        &mut self,
        changes: &[Record],
        is_known: impl Fn(&Found) -> bool,
    ) -> Result<(), Found> {
        let mut lives = BTreeMap::new();
        for Record { log, change } in changes {
            match change.life() {
                Life::Begins => drop(lives.insert(*log, true)),
                Life::Ends => drop(lives.insert(*log, false)),
                Life::IsOver => {},
                Life::GoesOn => {
                    let awaited = || self.awaited.get(log).map(|awaited| awaited.lives);
                    let lives = lives.get(log).copied().or_else(awaited);
                    if !lives.unwrap_or_else(|| is_known(log)) {
                        return Err(*log);
                    }
                },
            }
        }
        let ticket = self.next;
        for (log, lives) in lives {
            self.awaited.insert(log, Awaited { lives, ticket });
        }
        Ok(())
    }

    /// What [`Queue::admit`] took note of will not be.
    fn withdraw(&mut self, commit: &Pending) {
        let ticket = commit.ticket;
        for Record { log, change } in commit.changes.iter().rev() {
            let lives = match change.life() {
                Life::Begins => false,
                Life::Ends => true,
                Life::IsOver | Life::GoesOn => continue,
            };
            self.awaited.insert(*log, Awaited { lives, ticket });
        }
    }

    /// Everything up to this ticket is durable, and the table knows it.
    fn forget_upto(&mut self, last: u64) {
        self.awaited.retain(|_, awaited| awaited.ticket > last);
    }
}

impl Table {
    /// A log is gone, and with it the need for its batches.
    fn forget(&mut self, gone: Found) {
        self.filed.remove(&gone);
        for lap in self.laps.values_mut() {
            lap.needs.remove(&gone);
        }
    }
}

/// Notices a group that was abandoned.
struct GroupGuard<'a, E: Env> {
    journal: &'a Journal<E>,
    finished: bool,
}

impl<E: Env> GroupGuard<'_, E> {
    fn finish(mut self) {
        self.finished = true;
    }
}

impl<E: Env> Drop for GroupGuard<'_, E> {
    fn drop(&mut self) {
        if !self.finished {
            self.journal.failed.store(true, Ordering::Release);
        }
    }
}
