//! Groups: commits that become durable together.
//!
//! Invariants: one group at a time; its records are taken in after its sync and in its order; a
//! group that fails, or is abandoned halfway, ends the journal.

use env::atomic::Ordering;
use std::io;

use base::{Offset, Probe, invariant};
use bytes::Bytes;
use env::{Env, File, IoBufs};

use super::block::{BLOCK, blocks_for, encode_group};
use super::record::Record;
use super::{FileOf, Journal, Pending, QUEUE_BYTES_MAX, Writer};
use crate::dir::Found;

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
    ) -> io::Result<()> {
        self.check()?;
        if bytes.len() > self.group_bytes_max {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a commit is too large"));
        }
        while self.queue.lock().bytes > QUEUE_BYTES_MAX {
            self.env.probe().reached("storage_journal_queue_full");
            let mut writer = self.writer.lock().await;
            self.write_group(&mut writer).await?;
        }
        let ticket = {
            let mut queue = self.queue.lock();
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
            self.write_group(&mut writer).await?;
        }
        Ok(())
    }

    fn take_group(&self) -> Group {
        let mut queue = self.queue.lock();
        let mut group = Group { bytes: Vec::new(), commits: Vec::new() };
        while let Some(next) = queue.pending.front() {
            let fits = group.bytes.len() + next.bytes.len() <= self.group_bytes_max;
            if !fits && !group.commits.is_empty() {
                break;
            }
            let Some(mut next) = queue.pending.pop_front() else { break };
            queue.bytes -= next.bytes.len();
            group.bytes.append(&mut next.bytes);
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
        let written = self.write_blocks(writer, &group.bytes).await;
        guard.finish();
        written.map_err(|error| self.fail(error))?;
        let mut table = self.table.lock();
        for record in group.commits.iter().flat_map(|commit| &commit.changes) {
            let fits = table.state.apply(record);
            invariant!(JOURNAL_1, fits.is_ok(), "{fits:?}: {record:?}");
            if record.change == super::Change::Drop {
                table.filed.remove(&record.log);
                table
                    .laps
                    .values_mut()
                    .for_each(|lap| lap.needs.retain(|log, _| *log != record.log));
            }
        }
        for (log, end) in group.commits.iter().filter_map(|commit| commit.batch) {
            // Its segment may have become durable before its group did.
            let is_filed = table.filed.get(&log).is_some_and(|filed| *filed >= end);
            if let (false, Some(lap)) = (is_filed, table.laps.get_mut(&writer.lap)) {
                lap.needs.insert(log, end);
            }
        }
        (table.lap, table.group) = (writer.lap, writer.group);
        if let Some(lap) = table.laps.get_mut(&writer.lap) {
            lap.groups = writer.group;
        }
        table.done = last + 1;
        Ok(())
    }

    async fn write_blocks(&self, writer: &mut Writer<FileOf<E>>, records: &[u8]) -> io::Result<()> {
        let len = u64::try_from(blocks_for(records.len()) * BLOCK).map_err(io::Error::other)?;
        if writer.at.saturating_add(len) > self.file_bytes {
            self.next_file(writer).await?;
        }
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
        Ok(())
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
