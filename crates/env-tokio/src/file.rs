//! Open files: positioned reads and writes, inline where they are short.
//!
//! Invariants: an append is all or an error; it runs inline unless it is large, or the same file is
//! being synced and such appends have lately waited for the disk: then it moves to the blocking pool. A read runs
//! inline only as far as the page cache holds the bytes.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use base::measure::Times;
use bytes::{Buf, Bytes};
use env::{File, IoBufs};
use rustix::buffer::spare_capacity;
use rustix::fs::{FallocateFlags, fallocate, fdatasync, fstat, ftruncate};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2, pwritev};

use crate::blocking::Blocking;
use crate::stalls::Stalls;

/// Buffers per write call; the kernel takes at most 1024.
const IOVECS_MAX: usize = 64;

/// What all files of a process share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) work: Blocking,
    pub(crate) reads: Blocking,
    pub(crate) append_inline_bytes_max: usize,
    pub(crate) read_inline_bytes_max: usize,
    /// How long the disk took for each sync of a file or a directory.
    pub(crate) syncs: Arc<Times>,
    /// Calls that wrote to a file.
    pub(crate) writes: Arc<AtomicU64>,
    /// What appends to files under a sync have met.
    pub(crate) stalls: Arc<Stalls>,
}

/// An open file.
#[derive(Clone, Debug)]
pub struct TokioFile {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    fd: OwnedFd,
    shared: Shared,
    /// Syncs that run now. Only decides who waits, so any memory order does.
    syncing: AtomicU32,
}

impl TokioFile {
    pub(crate) fn new(fd: OwnedFd, shared: Shared) -> Self {
        Self { inner: Arc::new(Inner { fd, shared, syncing: AtomicU32::new(0) }) }
    }

    /// The descriptor, to send from.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.inner.fd
    }

    /// Whether the page cache (judged by both ends) holds `len` bytes at `at`. `true` where the
    /// file system cannot tell.
    pub(crate) fn is_warm(&self, at: u64, len: usize) -> bool {
        let last = at.saturating_add(widen(len.saturating_sub(1)));
        [at, last].into_iter().all(|at| {
            let mut byte = [0];
            let probe = &mut [IoSliceMut::new(&mut byte)];
            let result = preadv2(&self.inner.fd, probe, at, ReadWriteFlags::NOWAIT);
            !matches!(result, Err(Errno::AGAIN))
        })
    }

    /// Reads on the blocking pool.
    pub(crate) async fn read_cold(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let inner = Arc::clone(&self.inner);
        self.inner.shared.reads.run(move || read_all(&inner.fd, at, len)).await
    }

    /// Writes on the blocking pool.
    async fn write_elsewhere(&self, at: u64, bufs: IoBufs) -> io::Result<()> {
        let inner = Arc::clone(&self.inner);
        self.inner.shared.work.run(move || write_all(&inner, at, bufs)).await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&OwnedFd) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let inner = Arc::clone(&self.inner);
        self.inner.shared.work.run(move || work(&inner.fd)).await
    }
}

impl File for TokioFile {
    async fn append(&self, at: u64, bufs: IoBufs) -> io::Result<()> {
        let len: usize = bufs.iter().map(Bytes::len).sum();
        let shared = &self.inner.shared;
        if len > shared.append_inline_bytes_max {
            return self.write_elsewhere(at, bufs).await;
        }
        if self.inner.syncing.load(Ordering::Relaxed) == 0 {
            return write_all(&self.inner, at, bufs);
        }
        let Some(trying) = shared.stalls.try_here() else {
            return self.write_elsewhere(at, bufs).await;
        };
        let written = write_all(&self.inner, at, bufs);
        drop(trying);
        written
    }

    async fn read_at(&self, at: u64, len: usize) -> io::Result<Bytes> {
        let mut bytes = Vec::new();
        if len <= self.inner.shared.read_inline_bytes_max
            && let Warm::Done = read_warm(&self.inner.fd, at, len, &mut bytes)?
        {
            return Ok(bytes.into());
        }
        let rest = self.read_cold(at.saturating_add(widen(bytes.len())), len - bytes.len()).await?;
        if bytes.is_empty() {
            return Ok(rest.into());
        }
        bytes.extend_from_slice(&rest);
        Ok(bytes.into())
    }

    async fn sync_data(&self) -> io::Result<()> {
        let inner = Arc::clone(&self.inner);
        let work = move || {
            inner.syncing.fetch_add(1, Ordering::Relaxed);
            let begun = Instant::now();
            let result = retried(|| fdatasync(&inner.fd));
            inner.shared.syncs.count(begun.elapsed());
            inner.syncing.fetch_sub(1, Ordering::Relaxed);
            result
        };
        self.inner.shared.work.run(work).await
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.work(move |fd| retried(|| ftruncate(fd, len))).await
    }

    async fn len(&self) -> io::Result<u64> {
        file_len(&self.inner.fd)
    }

    async fn preallocate(&self, len: u64) -> io::Result<()> {
        let work =
            move |fd: &OwnedFd| preallocated(|| fallocate(fd, FallocateFlags::KEEP_SIZE, 0, len));
        if len == 0 { Ok(()) } else { self.work(work).await }
    }
}

/// Repeats a call that a signal interrupted.
pub(crate) fn retried<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {},
            done => return Ok(done?),
        }
    }
}

/// Repeats a reservation that a signal interrupted. A file system that knows no such thing has
/// promised nothing, and is no failure.
fn preallocated(mut reserve: impl FnMut() -> rustix::io::Result<()>) -> io::Result<()> {
    retried(|| match reserve() {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        done => done,
    })
}

/// A length as a file position.
pub(crate) fn widen(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn file_len(fd: &OwnedFd) -> io::Result<u64> {
    Ok(u64::try_from(fstat(fd)?.st_size).unwrap_or(0))
}

/// Writes every byte of `bufs` at `at`, however many calls that takes.
fn write_all(file: &Inner, at: u64, bufs: IoBufs) -> io::Result<()> {
    write_all_by(at, bufs, |slices, at| {
        file.shared.writes.fetch_add(1, Ordering::Relaxed);
        pwritev(&file.fd, slices, at)
    })
}

/// As [`write_all`], by any call that writes a part and says how much.
fn write_all_by(
    mut at: u64,
    mut bufs: IoBufs,
    mut write: impl FnMut(&[IoSlice<'_>], u64) -> rustix::io::Result<usize>,
) -> io::Result<()> {
    let mut first = 0;
    while let Some(rest) = bufs.get_mut(first..).filter(|rest| !rest.is_empty()) {
        let mut slices = [IoSlice::new(&[]); IOVECS_MAX];
        let count = rest.len().min(IOVECS_MAX);
        for (slice, buf) in slices.iter_mut().zip(&*rest) {
            *slice = IoSlice::new(buf);
        }
        let written = if rest.iter().take(count).all(Bytes::is_empty) {
            0
        } else {
            match retried(|| write(&slices[..count], at))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => written,
            }
        };
        at = at.saturating_add(widen(written));
        first += advance(&mut rest[..count], written);
    }
    Ok(())
}

/// Cuts `written` bytes off the front of `bufs`; returns how many of them are used up.
fn advance(bufs: &mut [Bytes], mut written: usize) -> usize {
    let mut done = 0;
    for buf in bufs {
        let cut = written.min(buf.len());
        buf.advance(cut);
        written -= cut;
        if !buf.is_empty() {
            break;
        }
        done += 1;
    }
    done
}

enum Warm {
    /// All is read, up to the length or the end of the file.
    Done,
    /// The rest is not in the page cache, or the file system cannot tell.
    More,
}

/// Reads into `bytes` as far as that needs no disk.
fn read_warm(fd: &OwnedFd, at: u64, len: usize, bytes: &mut Vec<u8>) -> io::Result<Warm> {
    bytes.resize(len, 0);
    let mut filled = 0;
    let result = loop {
        if filled == len {
            break Warm::Done;
        }
        let spare = &mut [IoSliceMut::new(&mut bytes[filled..])];
        match preadv2(fd, spare, at.saturating_add(widen(filled)), ReadWriteFlags::NOWAIT) {
            Ok(0) => break Warm::Done,
            Ok(read) => filled += read,
            Err(Errno::INTR) => {},
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => break Warm::More,
            Err(errno) => return Err(errno.into()),
        }
    };
    bytes.truncate(filled);
    Ok(result)
}

/// Reads `len` bytes at `at`, fewer only at the end of the file. Allocates no more than the file
/// holds, whatever `len` says.
fn read_all(fd: &OwnedFd, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let there = usize::try_from(file_len(fd)?.saturating_sub(at)).unwrap_or(usize::MAX);
    let len = len.min(there);
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let from = at.saturating_add(widen(bytes.len()));
        if retried(|| pread(fd, spare_capacity(&mut bytes), from))? == 0 {
            break;
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_write_leaves_the_rest_of_the_buffers() {
        let mut bufs = [Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"cdef")];
        assert_eq!(advance(&mut bufs, 3), 2);
        assert_eq!(bufs[2], Bytes::from_static(b"def"));
        assert_eq!(advance(&mut bufs[2..], 3), 1);
    }

    #[test]
    fn an_append_goes_on_after_partial_writes_and_signals() {
        let all: Vec<u8> = (0..=250).cycle().take(1000).collect();
        let bufs = all.chunks(7).map(Bytes::copy_from_slice).collect();
        let mut file = Vec::new();
        let mut calls = 0;
        let write = |slices: &[IoSlice<'_>], at| {
            calls += 1;
            assert_eq!(at, 50 + widen(file.len()));
            if calls % 3 == 0 {
                return Err(Errno::INTR);
            }
            let part: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let written = part.len().min(1 + calls % 30);
            file.extend_from_slice(&part[..written]);
            Ok(written)
        };
        write_all_by(50, bufs, write).unwrap();
        assert_eq!(file, all);
    }

    #[test]
    fn a_reservation_that_a_signal_interrupts_is_made_again() {
        let mut outcomes = vec![Ok(()), Err(Errno::INTR), Err(Errno::INTR)];
        preallocated(|| outcomes.pop().unwrap()).unwrap();
        assert!(outcomes.is_empty());

        let mut outcomes = vec![Err(Errno::NOSPC), Err(Errno::INTR)];
        let full = preallocated(|| outcomes.pop().unwrap()).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        preallocated(|| Err(Errno::OPNOTSUPP)).unwrap();
    }

    #[test]
    fn an_append_that_makes_no_progress_fails() {
        let bufs = IoBufs::from_iter([Bytes::from_static(b"x")]);
        let stuck = write_all_by(0, bufs, |_, _| Ok(0)).unwrap_err();
        assert_eq!(stuck.kind(), io::ErrorKind::WriteZero);
        let full = IoBufs::from_iter([Bytes::from_static(b"x")]);
        let full = write_all_by(0, full, |_, _| Err(Errno::NOSPC)).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn empty_buffers_count_as_written() {
        assert_eq!(advance(&mut [Bytes::new(), Bytes::new()], 0), 2);
    }
}
