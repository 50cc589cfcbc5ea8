//! `env::Net` of one simulated process.
//!
//! Invariants: a cancelled read has read nothing; a file region is read when it is sent, in small
//! chunks with other tasks in between; a dead process's handles change nothing.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use bytes::{Buf, Bytes, BytesMut};
use env::{FileRegion, Listener, Net, Segment, SegmentQueue, Stream};

use super::pipe::{Chunk, End, Pipe};
use super::state::{NetState, PipeId, Port, address_of, node_of};
use crate::disk::SimFile;
use crate::world::{MS, Note, Process, digest};

/// The network of one process.
#[derive(Clone)]
pub struct SimNet(Process);

/// A bound port of one process.
pub struct SimListener {
    process: Process,
    at: SocketAddr,
}

/// One end of a connection.
pub struct SimStream {
    process: Process,
    out: PipeId,
}

impl SimNet {
    pub(crate) fn new(process: Process) -> Self {
        Self(process)
    }

    fn end(&self) -> End {
        End { node: self.0.node, incarnation: self.0.incarnation }
    }

    /// One attempt to reach `node`; `None` means no answer.
    fn knock(&self, to: SocketAddr, node: usize) -> Option<io::Result<SimStream>> {
        let world = &self.0.world;
        let mut acceptor = None;
        let connected = {
            let mut guard = world.net.lock();
            let net = &mut *guard;
            if !net.passes(self.0.node, node) || !net.passes(node, self.0.node) {
                return None;
            }
            let Some(port) = net.ports.get_mut(&(node, to.port())) else {
                return Some(Err(io::ErrorKind::ConnectionRefused.into()));
            };
            if port.waiting.len() >= NetState::BACKLOG_MAX {
                return None;
            }
            let out = net.next * 2;
            net.next += 1;
            let ephemeral = u16::try_from(40_000 + net.next % 20_000).unwrap_or(40_000);
            let from = if to.ip().is_loopback() {
                SocketAddr::new(to.ip(), ephemeral)
            } else {
                address_of(self.0.node, ephemeral)
            };
            port.waiting.push_back((out | 1, from));
            acceptor = port.acceptor.take().or(acceptor);
            let theirs = port.owner;
            net.pipes.insert(out, Pipe::new(self.end(), theirs));
            net.pipes.insert(out | 1, Pipe::new(theirs, self.end()));
            out
        };
        if let Some(waker) = acceptor {
            waker.wake();
        }
        let note = Note { kind: "connect", target: connected >> 1, ..Note::default() };
        self.0.note(note, || format!("to {to}"));
        Some(Ok(SimStream { process: self.0.clone(), out: connected }))
    }
}

impl Net for SimNet {
    type File = SimFile;
    type Listener = SimListener;
    type Stream = SimStream;

    async fn listen(&self, at: SocketAddr) -> io::Result<SimListener> {
        self.0.must_live().await;
        if node_of(at.ip(), self.0.node) != Some(self.0.node) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let mut at = at;
        {
            let mut net = self.0.world.net.lock();
            let node = self.0.node;
            if at.port() == 0 {
                let free = (32_768..40_000).find(|port| !net.ports.contains_key(&(node, *port)));
                at.set_port(free.ok_or(io::ErrorKind::AddrInUse)?);
            }
            if net.ports.contains_key(&(node, at.port())) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            let port = Port { owner: self.end(), waiting: VecDeque::new(), acceptor: None };
            net.ports.insert((node, at.port()), port);
        }
        let is_ours = !self.0.world.disks[self.0.node].lock().is_replaced();
        self.0.world.check("replaced-directory", is_ours, || {
            "the broker serves from a directory that is not the one it wrote".into()
        });
        let target = u64::from(at.port());
        self.0.note(Note { kind: "listen", target, ..Note::default() }, || at.to_string());
        Ok(SimListener { process: self.0.clone(), at })
    }

    async fn connect(&self, to: SocketAddr) -> io::Result<SimStream> {
        const SYN_RETRY: u64 = 300 * MS;
        self.0.must_live().await;
        let world = &self.0.world;
        let Some(node) = node_of(to.ip(), self.0.node).filter(|node| *node < world.node_count())
        else {
            return Err(io::ErrorKind::HostUnreachable.into());
        };
        let begun = world.now();
        let round_trip = {
            let mut net = world.net.lock();
            net.latency(world) + net.latency(world)
        };
        world.sleep_until(begun + round_trip).await;
        loop {
            self.0.must_live().await;
            if let Some(answer) = self.knock(to, node) {
                return answer;
            }
            if world.now() - begun > NetState::CONNECT_TIMEOUT {
                world.fired("connect timed out");
                return Err(io::ErrorKind::TimedOut.into());
            }
            world.sleep_until(world.now() + SYN_RETRY).await;
        }
    }
}

impl Listener for SimListener {
    type Stream = SimStream;

    async fn accept(&mut self) -> io::Result<(SimStream, SocketAddr)> {
        let process = &self.process;
        let place = (process.node, self.at.port());
        let (out, from) = std::future::poll_fn(|cx| {
            if !process.alive() {
                return Poll::Pending;
            }
            let mut net = process.world.net.lock();
            let Some(port) = net.ports.get_mut(&place) else {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::NotConnected)));
            };
            match port.waiting.pop_front() {
                Some(next) => Poll::Ready(Ok(next)),
                None => {
                    port.acceptor = Some(cx.waker().clone());
                    Poll::Pending
                },
            }
        })
        .await?;
        let note = Note { kind: "accept", target: out >> 1, ..Note::default() };
        process.note(note, || format!("from {from}"));
        Ok((SimStream { process: process.clone(), out }, from))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.at)
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        if !self.process.alive() {
            return;
        }
        let place = (self.process.node, self.at.port());
        let port = self.process.world.net.lock().ports.remove(&place);
        for (out, _) in port.into_iter().flat_map(|port| port.waiting) {
            self.process.world.close_end(out);
        }
    }
}

impl SimStream {
    /// What a region is read and sent in at most, bytes.
    const REGION_CHUNK: usize = 4096;

    /// The pipe this end writes, the trace's name for it; the other direction's is one off.
    pub(crate) fn pipe(&self) -> PipeId {
        self.out
    }

    /// Hands some of `bytes` to the network, waiting for room. Returns how many.
    async fn send_some(&self, bytes: &Bytes) -> io::Result<usize> {
        let process = &self.process;
        let mut held_up = false;
        let (sent, kick) = std::future::poll_fn(|cx| {
            if !process.alive() {
                return Poll::Pending;
            }
            let world = &process.world;
            let mut guard = world.net.lock();
            let net = &mut *guard;
            let room = match net.pipes.get(&self.out) {
                None => return Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionReset))),
                Some(pipe) if pipe.reset => {
                    return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                },
                Some(pipe) => {
                    let (room, by_reader) = net.room(pipe, world.now());
                    held_up |= by_reader;
                    room.min(bytes.len())
                },
            };
            let count = net.portion(world, room);
            let at = world.now() + net.latency(world);
            let Some(pipe) = net.pipes.get_mut(&self.out) else { return Poll::Pending };
            if count == 0 {
                pipe.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(Ok((count, pipe.send(at, Chunk::Data(bytes.slice(..count))))))
        })
        .await?;
        if held_up {
            process.world.fired("stalled reader");
        }
        if let Some(at) = kick {
            process.world.kick(self.out, at);
        }
        let len = u64::try_from(sent).unwrap_or(u64::MAX);
        let result = digest(&bytes[..sent]);
        let note = Note { kind: "send", target: self.out, len, result, ..Note::default() };
        process.note(note, String::new);
        Ok(sent)
    }

    /// Waits while this process does not read.
    async fn reads_again(&self) {
        let world = &self.process.world;
        loop {
            let again = world.net.lock().reads_again_at(self.process.node, world.now());
            let Some(until) = again else { break };
            world.sleep_until(until).await;
        }
    }

    async fn send_all(&self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = self.send_some(&bytes).await?;
            bytes = bytes.slice(sent..);
            if !bytes.is_empty() {
                crate::world::pass().await;
            }
        }
        Ok(())
    }

    /// Sends the first bytes of a region, and takes them off it.
    async fn send_region(&self, region: &mut FileRegion<SimFile>) -> io::Result<()> {
        let left = usize::try_from(region.len).unwrap_or(usize::MAX);
        let most = {
            let world = &self.process.world;
            world.net.lock().portion(world, left.min(Self::REGION_CHUNK))
        };
        let bytes = region.file.read_now(region.at, most)?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (len, target) = (u64::try_from(bytes.len()).unwrap_or(0), region.file.inode());
        let note = Note { kind: "sendfile", target, offset: region.at, len, ..Note::default() };
        self.process.note(note, String::new);
        region.at += len;
        region.len = region.len.saturating_sub(u32::try_from(len).unwrap_or(u32::MAX));
        self.send_all(bytes).await?;
        crate::world::pass().await;
        Ok(())
    }
}

impl Stream for SimStream {
    type File = SimFile;

    async fn readable(&mut self) -> io::Result<()> {
        self.reads_again().await;
        let process = &self.process;
        std::future::poll_fn(|cx| {
            if !process.alive() {
                return Poll::Pending;
            }
            let mut net = process.world.net.lock();
            match net.pipes.get_mut(&(self.out ^ 1)) {
                Some(pipe) if pipe.ready.is_empty() && !pipe.reset && !pipe.ended => {
                    pipe.reader = Some(cx.waker().clone());
                    Poll::Pending
                },
                Some(_) | None => Poll::Ready(Ok(())),
            }
        })
        .await
    }

    async fn read_at_most(&mut self, buf: &mut BytesMut, most: usize) -> io::Result<usize> {
        let spare = most.min(buf.capacity() - buf.len());
        if spare == 0 {
            return Ok(0);
        }
        self.reads_again().await;
        let process = &self.process;
        let inward = self.out ^ 1;
        let (count, writer) = std::future::poll_fn(|cx| {
            if !process.alive() {
                return Poll::Pending;
            }
            let world = &process.world;
            let mut guard = world.net.lock();
            let net = &mut *guard;
            let most = match net.pipes.get_mut(&inward) {
                None => return Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionReset))),
                Some(pipe) if !pipe.ready.is_empty() => pipe.ready.len().min(spare),
                Some(pipe) if pipe.reset => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                },
                Some(pipe) if pipe.ended => return Poll::Ready(Ok((0, None))),
                Some(pipe) => {
                    pipe.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                },
            };
            let count = net.portion(world, most);
            let Some(pipe) = net.pipes.get_mut(&inward) else { return Poll::Pending };
            let count = pipe.read(count, buf);
            Poll::Ready(Ok((count, pipe.writer.take())))
        })
        .await?;
        if let Some(waker) = writer {
            waker.wake();
        }
        let len = u64::try_from(count).unwrap_or(u64::MAX);
        let result = digest(&buf[buf.len() - count..]);
        let note = Note { kind: "recv", target: inward, len, result, ..Note::default() };
        process.note(note, String::new);
        Ok(count)
    }

    async fn write_some(&mut self, queue: &mut SegmentQueue<SimFile>) -> io::Result<()> {
        let is_done = match queue.front_mut() {
            None => return Ok(()),
            Some(Segment::Bytes(bytes)) => {
                if !bytes.is_empty() {
                    let sent = self.send_some(bytes).await?;
                    bytes.advance(sent);
                    if !bytes.is_empty() {
                        crate::world::pass().await;
                    }
                }
                bytes.is_empty()
            },
            Some(Segment::Region(region)) => {
                if region.len > 0 {
                    self.send_region(region).await?;
                }
                region.len == 0
            },
        };
        if is_done {
            queue.pop_front();
        }
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.process.must_live().await;
        let world = &self.process.world;
        let kick = {
            let mut guard = world.net.lock();
            let net = &mut *guard;
            let at = world.now() + net.latency(world);
            match net.pipes.get_mut(&self.out) {
                None => return Err(io::ErrorKind::NotConnected.into()),
                Some(pipe) if pipe.reset => return Err(io::ErrorKind::NotConnected.into()),
                Some(pipe) if pipe.finishing => None,
                Some(pipe) => {
                    pipe.finishing = true;
                    pipe.send(at, Chunk::Fin)
                },
            }
        };
        self.process
            .note(Note { kind: "finish", target: self.out, ..Note::default() }, String::new);
        if let Some(at) = kick {
            world.kick(self.out, at);
        }
        Ok(())
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if self.process.alive() {
            self.process.world.close_end(self.out);
        }
    }
}
