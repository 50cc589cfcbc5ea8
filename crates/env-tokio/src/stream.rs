//! One end of a connection: reads into spare capacity, writes memory and file regions.
//!
//! Invariants: bytes leave in the order of the queue; a region is sent by the kernel straight from
//! the page cache, unless it is cold or the file cannot do that, and never blocks a worker on the
//! disk; a head that is followed by a region shares its packet.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Buf, BufMut, BytesMut};
use env::{FileRegion, Segment, SegmentQueue, Stream};
use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;

use crate::file::{TokioFile, retried, widen};
use crate::net::Counters;

/// Buffers per write call; the kernel takes at most 1024.
const IOVECS_MAX: usize = 64;

/// Bytes of a region per call: as cheap as any larger, and other tasks get their turn in between.
const REGION_CHUNK_BYTES: usize = 256 * 1024;

/// Bytes taken in per call, for the same reason.
const READ_CHUNK_BYTES: usize = 256 * 1024;

/// One end of a connection.
#[derive(Debug)]
pub struct TokioStream {
    tcp: TcpStream,
    counters: Arc<Counters>,
    /// Cleared once the kernel refused to send straight from a file.
    sendfile_works: bool,
}

impl TokioStream {
    pub(crate) fn new(tcp: TcpStream, counters: Arc<Counters>) -> Self {
        Self { tcp, counters, sendfile_works: true }
    }

    /// Sends the memory segments at the front of `queue`, as many as one call takes.
    async fn write_memory(&mut self, queue: &mut SegmentQueue<TokioFile>) -> io::Result<()> {
        let written = {
            let mut slices = [IoSlice::new(&[]); IOVECS_MAX];
            let mut count = 0;
            let mut flags = SendFlags::NOSIGNAL;
            for segment in &*queue {
                match segment {
                    Segment::Bytes(bytes) if count < IOVECS_MAX => {
                        slices[count] = IoSlice::new(bytes);
                        count += 1;
                    },
                    Segment::Bytes(_) => break,
                    // An empty region would leave the head corked.
                    Segment::Region(region) => {
                        flags.set(SendFlags::MORE, region.len > 0);
                        break;
                    },
                }
            }
            self.send(&slices[..count], flags).await?
        };
        self.counters.send_calls.fetch_add(1, Ordering::Relaxed);
        self.counters.memory_bytes.fetch_add(widen(written), Ordering::Relaxed);
        advance(queue, written);
        Ok(())
    }

    async fn send(&self, slices: &[IoSlice<'_>], flags: SendFlags) -> io::Result<usize> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
        }
        let send = || {
            let mut control = SendAncillaryBuffer::default();
            retried(|| sendmsg(&self.tcp, slices, &mut control, flags))
        };
        match self.tcp.async_io(Interest::WRITABLE, send).await? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            written => Ok(written),
        }
    }

    /// Sends the first bytes of a region; how many.
    async fn write_region(&mut self, region: &FileRegion<TokioFile>) -> io::Result<usize> {
        let left = usize::try_from(region.len).unwrap_or(usize::MAX);
        let chunk = left.min(REGION_CHUNK_BYTES);
        if self.sendfile_works
            && region.file.is_warm(region.at, chunk)
            && let Some(sent) = self.send_chunk(&region.file, region.at, chunk).await?
        {
            return Ok(sent);
        }
        self.copy_chunk(&region.file, region.at, chunk).await
    }

    /// One `sendfile`. `None` if that cannot be done with this file.
    async fn send_chunk(
        &mut self,
        file: &TokioFile,
        at: u64,
        len: usize,
    ) -> io::Result<Option<usize>> {
        let send = || {
            let mut from = at;
            match retried(|| match sendfile(&self.tcp, file.fd(), Some(&mut from), len) {
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(None),
                sent => sent.map(Some),
            })? {
                Some(0) => Err(cut_short()),
                sent => Ok(sent),
            }
        };
        let sent = self.tcp.async_io(Interest::WRITABLE, send).await?;
        match sent {
            Some(sent) => {
                self.counters.sendfile_calls.fetch_add(1, Ordering::Relaxed);
                self.counters.sendfile_bytes.fetch_add(widen(sent), Ordering::Relaxed);
            },
            None => self.sendfile_works = false,
        }
        Ok(sent)
    }

    /// Reads a chunk off the worker and writes from memory what the peer takes of it; what it does not take
    /// is warm for the next time.
    async fn copy_chunk(&mut self, file: &TokioFile, at: u64, len: usize) -> io::Result<usize> {
        let bytes = file.read_cold(at, len).await?;
        if bytes.len() < len {
            return Err(cut_short());
        }
        let sent = self.send(&[IoSlice::new(&bytes)], SendFlags::NOSIGNAL).await?;
        self.counters.copied_bytes.fetch_add(widen(sent), Ordering::Relaxed);
        Ok(sent)
    }
}

impl Stream for TokioStream {
    type File = TokioFile;

    async fn readable(&mut self) -> io::Result<()> {
        // Not its `readable`, which leaves a task no less busy than it was: others have to have a turn.
        std::future::poll_fn(|cx| self.tcp.poll_read_ready(cx)).await
    }

    async fn read_at_most(&mut self, buf: &mut BytesMut, most: usize) -> io::Result<usize> {
        let most = most.min(READ_CHUNK_BYTES).min(buf.capacity() - buf.len());
        if most == 0 {
            return Ok(0);
        }
        loop {
            match self.tcp.read_buf(&mut (&mut *buf).limit(most)).await {
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {},
                done => {
                    if let Ok(bytes) = done {
                        self.counters.receive_calls.fetch_add(1, Ordering::Relaxed);
                        self.counters.received_bytes.fetch_add(widen(bytes), Ordering::Relaxed);
                    }
                    return done;
                },
            }
        }
    }

    async fn write_some(&mut self, queue: &mut SegmentQueue<TokioFile>) -> io::Result<()> {
        match queue.front_mut() {
            None => {},
            Some(Segment::Bytes(_)) => self.write_memory(queue).await?,
            Some(Segment::Region(region)) => {
                if region.len > 0 {
                    let sent = self.write_region(region).await?;
                    region.at = region.at.saturating_add(widen(sent));
                    region.len -= u32::try_from(sent).unwrap_or(u32::MAX).min(region.len);
                }
                if region.len == 0 {
                    queue.pop_front();
                }
            },
        }
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.tcp.shutdown().await
    }
}

/// The bytes were promised to the peer when the region was made.
fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "a file region was cut before it was sent")
}

/// Takes `written` bytes, and the empty segments after them, off the front of the queue.
fn advance(queue: &mut SegmentQueue<TokioFile>, mut written: usize) {
    while let Some(Segment::Bytes(bytes)) = queue.front_mut() {
        let cut = written.min(bytes.len());
        bytes.advance(cut);
        written -= cut;
        if !bytes.is_empty() {
            return;
        }
        queue.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use env::{Access, Disk, Env, File, IoBufs, Listener, Net};
    use tokio::runtime::Builder;

    use super::*;
    use crate::{NetCounts, Settings, TokioEnv};

    /// Both ends of a connection and a file of a million bytes.
    async fn scene(env: &TokioEnv, name: &str) -> (TokioStream, TokioStream, TokioFile) {
        let mut listener = env.net().listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let client = env.net().connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let dir = std::env::temp_dir().join(format!("env-tokio-{:x}", env.random_u64()));
        env.disk().create_dir(&dir).await.unwrap();
        let path = dir.join(name);
        let file = env.disk().open(&path, Access::CreateNew).await.unwrap();
        file.append(0, IoBufs::from_iter([content()])).await.unwrap();
        env.disk().remove(&path).await.unwrap();
        env.disk().remove_dir(Path::new(&dir)).await.unwrap();
        (client, server, file)
    }

    fn content() -> bytes::Bytes {
        (0..=250).cycle().take(1_000_000).collect()
    }

    /// Sends the whole file as one region; checks what arrives, returns what was counted.
    fn sent(sendfile_works: bool) -> NetCounts {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let env = TokioEnv::new(runtime.handle().clone(), Settings::default()).unwrap();
        runtime.block_on(async {
            let (mut client, mut server, file) = scene(&env, "file").await;
            client.sendfile_works = sendfile_works;
            let mut queue = SegmentQueue::from([
                Segment::Bytes("head".into()),
                Segment::Region(file.region(0, 1_000_000)),
            ]);
            let writer = runtime.spawn(async move { client.write_segments(&mut queue).await });
            let mut all = BytesMut::with_capacity(1_000_010);
            while server.read_into(&mut all).await.unwrap() > 0 {}
            writer.await.unwrap().unwrap();
            assert_eq!(&all[..4], b"head");
            assert!(all[4..] == content());
        });
        env.net().counts()
    }

    #[test]
    fn a_region_leaves_by_sendfile() {
        let counts = sent(true);
        assert_eq!(counts.sendfile_bytes, 1_000_000);
        assert!(counts.sendfile_calls >= 4);
        assert_eq!((counts.copied_bytes, counts.memory_bytes), (0, 4));
        assert_eq!((counts.sent_bytes(), counts.received_bytes), (1_000_004, 1_000_004));
    }

    #[test]
    fn a_region_is_copied_where_sendfile_does_not_work() {
        let counts = sent(false);
        assert_eq!((counts.sendfile_calls, counts.sendfile_bytes), (0, 0));
        assert_eq!((counts.copied_bytes, counts.memory_bytes), (1_000_000, 4));
    }

    #[test]
    fn a_refused_sendfile_is_told_apart_from_a_failed_one() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let env = TokioEnv::new(runtime.handle().clone(), Settings::default()).unwrap();
        runtime.block_on(async {
            let (mut client, _server, file) = scene(&env, "file").await;
            // A directory cannot be sent from: EINVAL, as from a file without that ability.
            let dir = env.disk().open(Path::new("/"), Access::Read).await.unwrap();
            assert_eq!(client.send_chunk(&dir, 0, 10).await.unwrap(), None);
            assert!(!client.sendfile_works);
            let beyond = client.send_chunk(&file, 1_000_000, 10).await.unwrap_err();
            assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
        });
    }

    #[test]
    fn both_ends_send_small_writes_at_once() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let env = TokioEnv::new(runtime.handle().clone(), Settings::default()).unwrap();
        runtime.block_on(async {
            let (client, server, _) = scene(&env, "file").await;
            assert!(client.tcp.nodelay().unwrap() && server.tcp.nodelay().unwrap());
        });
    }
}
