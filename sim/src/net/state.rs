//! All connections of the universe, and how their bytes move.
//!
//! Owns: listeners, connections, cuts, which machines are dark. Invariants: a connection's two
//! pipes are removed together when both ends have let go; a machine without power neither
//! answers nor resets; peers of a machine that lost power learn of it only by sending.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::Waker;

use super::pipe::{Chunk, End, Pipe};
use crate::world::{Crash, Dice, MS, Note, World, digest};

/// A connection's number times two, plus its direction.
pub type PipeId = u64;

/// A bound port.
pub(super) struct Port {
    pub owner: End,
    pub waiting: VecDeque<(PipeId, SocketAddr)>,
    pub acceptor: Option<Waker>,
}

/// All of the network's state.
pub struct NetState {
    pub(super) dice: Dice,
    pub(super) pipes: BTreeMap<PipeId, Pipe>,
    pub(super) ports: BTreeMap<(usize, u16), Port>,
    pub(super) next: u64,
    cuts: BTreeSet<(usize, usize)>,
    dark: BTreeSet<usize>,
    slow: u64,
    /// Until when a node reads nothing, nanoseconds, and how many bytes it lets come meanwhile.
    stalled: BTreeMap<usize, (u64, usize)>,
}

/// The address under which other nodes reach `node`.
pub fn address_of(node: usize, port: u16) -> SocketAddr {
    let last = u8::try_from(node + 1).unwrap_or(u8::MAX);
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, last), port))
}

/// Which node `address` means, seen from `from`; loopback is the node itself.
pub(super) fn node_of(address: IpAddr, from: usize) -> Option<usize> {
    match address {
        IpAddr::V4(v4) if v4.octets()[..3] == [10, 0, 0] => {
            usize::from(v4.octets()[3]).checked_sub(1)
        },
        ip if ip.is_loopback() || ip.is_unspecified() => Some(from),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

impl NetState {
    /// After so long without getting through, a sender gives up, nanoseconds.
    pub const GIVE_UP: u64 = 8_000 * MS;
    /// After so long without an answer, a connect fails, nanoseconds.
    pub const CONNECT_TIMEOUT: u64 = 3_000 * MS;
    /// How long a lost chunk takes to be sent again, nanoseconds.
    const RETRANSMIT: u64 = 200 * MS;
    /// Connections that wait to be accepted at most.
    pub(super) const BACKLOG_MAX: usize = 128;

    /// A network in which everything works.
    pub fn new(dice: Dice) -> Self {
        Self {
            dice,
            pipes: BTreeMap::new(),
            ports: BTreeMap::new(),
            next: 1,
            cuts: BTreeSet::new(),
            dark: BTreeSet::new(),
            slow: 1,
            stalled: BTreeMap::new(),
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
        self.slow = 1;
        self.stalled.clear();
    }

    pub(crate) fn take_all(&mut self) -> impl Sized + use<> {
        (std::mem::take(&mut self.pipes), std::mem::take(&mut self.ports))
    }

    pub(crate) fn set_dark(&mut self, node: usize, dark: bool) {
        if dark {
            self.dark.insert(node);
        } else {
            self.dark.remove(&node);
        }
    }

    /// Whether packets get from one node to another.
    pub(super) fn passes(&self, from: usize, to: usize) -> bool {
        !self.cuts.contains(&(from, to)) && !self.dark.contains(&to) && !self.dark.contains(&from)
    }

    /// Cuts or mends one direction between two nodes.
    pub fn set_cut(&mut self, from: usize, to: usize, cut: bool) {
        if cut {
            self.cuts.insert((from, to));
        } else {
            self.cuts.remove(&(from, to));
        }
    }

    /// Latencies are so many times as long; 1 is normal.
    pub fn set_slow(&mut self, factor: u64) {
        self.slow = factor.max(1);
    }

    /// `node` reads nothing before `until` (nanoseconds), and offers a window of so many bytes.
    pub fn stall_reader(&mut self, node: usize, until: u64, window: usize) {
        self.stalled.insert(node, (until, window.max(1)));
    }

    /// Until when `node` reads nothing, if it does not read at `now`.
    pub(super) fn reads_again_at(&self, node: usize, now: u64) -> Option<u64> {
        self.stalled.get(&node).map(|(until, _)| *until).filter(|until| *until > now)
    }

    /// How many bytes may be written into a pipe at `now`, and whether a reader that stands still
    /// is why there are none.
    pub(super) fn room(&self, pipe: &Pipe, now: u64) -> (usize, bool) {
        let room = pipe.room();
        match self.stalled.get(&pipe.to.node) {
            Some((until, window)) if *until > now => {
                let taken = Pipe::WINDOW - room;
                let left = window.saturating_sub(taken).min(room);
                (left, left == 0 && room > 0)
            },
            Some(_) | None => (room, false),
        }
    }

    /// Connections that exist.
    pub fn connections(&self) -> usize {
        self.pipes.len() / 2
    }

    pub(super) fn latency(&mut self, world: &World) -> u64 {
        let knobs = world.knobs();
        let low = knobs.latency_min_us * 1_000;
        let mut nanos = self.dice.between(low, knobs.latency_max_us * 1_000) * self.slow;
        while self.dice.chance(world.noise(knobs.loss).min(900)) {
            nanos += Self::RETRANSMIT;
        }
        nanos
    }

    /// How many of `most` bytes move at once.
    pub(super) fn portion(&mut self, world: &World, most: usize) -> usize {
        if most > 1 && self.dice.chance(world.noise(world.knobs().short_io)) {
            1 + self.dice.index(most - 1)
        } else {
            most
        }
    }

    /// Removes the connection of `id` once neither end holds it.
    pub(super) fn forget_if_done(&mut self, id: PipeId) -> Option<(Pipe, Pipe)> {
        let (a, b) = (id & !1, id | 1);
        let done = |pipe: Option<&Pipe>| pipe.is_some_and(|pipe| pipe.unread || pipe.reset);
        let idle = |pipe: Option<&Pipe>| pipe.is_some_and(|pipe| pipe.flight.is_empty());
        let (one, two) = (self.pipes.get(&a), self.pipes.get(&b));
        if done(one) && done(two) && idle(one) && idle(two) && self.both_let_go(a) {
            return self.pipes.remove(&a).zip(self.pipes.remove(&b));
        }
        None
    }

    fn both_let_go(&self, even: PipeId) -> bool {
        [even, even | 1].iter().all(|id| self.pipes.get(id).is_some_and(|pipe| pipe.unread))
    }
}

enum Delivery {
    Nothing,
    Again(u64),
    GiveUp,
    Refuse(u64),
    Arrived { to: usize, len: usize, digest: u64, next: Option<u64>, wakers: Vec<Waker> },
}

impl World {
    pub(super) fn kick(&self, id: PipeId, at: u64) {
        self.at(at, move |world| world.deliver(id));
    }

    fn deliver(self: &Arc<Self>, id: PipeId) {
        let now = self.now();
        let delivery = self.next_delivery(id, now);
        match delivery {
            Delivery::Nothing => {},
            Delivery::Again(at) => self.kick(id, at),
            Delivery::GiveUp => self.reset_connection(id, "timed out"),
            Delivery::Refuse(at) => self.at(at, move |world| world.reset_connection(id, "refused")),
            Delivery::Arrived { to, len, digest, next, wakers } => {
                let len = u64::try_from(len).unwrap_or(u64::MAX);
                let note =
                    Note { node: Some(to), kind: "arrive", target: id, len, ..Note::default() };
                self.note(Note { result: digest, ..note }, String::new);
                wakers.into_iter().for_each(Waker::wake);
                if let Some(at) = next {
                    self.kick(id, at);
                }
            },
        }
    }

    fn next_delivery(&self, id: PipeId, now: u64) -> Delivery {
        let mut guard = self.net.lock();
        let net = &mut *guard;
        let Some((from, to, due)) = net.pipes.get(&id).and_then(|pipe| {
            let (due, _) = pipe.flight.front()?;
            (!pipe.reset).then_some((pipe.from, pipe.to, *due))
        }) else {
            return Delivery::Nothing;
        };
        if due > now {
            return Delivery::Nothing;
        }
        if !net.passes(from.node, to.node) {
            let wait = net.dice.between(50, 400) * MS;
            let since = net.pipes.get_mut(&id).map(|pipe| *pipe.stuck_since.get_or_insert(now));
            let stuck = now - since.unwrap_or(now);
            let gives_up = stuck > NetState::GIVE_UP;
            return if gives_up { Delivery::GiveUp } else { Delivery::Again(now + wait) };
        }
        let back = now + net.latency(self);
        let Some(pipe) = net.pipes.get_mut(&id) else { return Delivery::Nothing };
        pipe.stuck_since = None;
        if pipe.unread || !self.alive(to.node, to.incarnation) {
            pipe.flight.clear();
            return Delivery::Refuse(back);
        }
        let (mut len, mut sum) = (0, 0);
        match pipe.flight.pop_front() {
            Some((_, Chunk::Data(bytes))) => {
                len = bytes.len();
                sum = digest(&bytes);
                pipe.ready.extend_from_slice(&bytes);
            },
            Some((_, Chunk::Fin)) | None => pipe.ended = true,
        }
        let next = pipe.flight.front().map(|(due, _)| (*due).max(now));
        let wakers = pipe.reader.take().into_iter().collect();
        Delivery::Arrived { to: to.node, len, digest: sum, next, wakers }
    }

    /// Tears a connection down in both directions, each cut at a random byte.
    pub(super) fn reset_connection(&self, id: PipeId, why: &'static str) {
        let mut wakers = Vec::new();
        let gone = {
            let mut guard = self.net.lock();
            let net = &mut *guard;
            for id in [id & !1, id | 1] {
                let Some(pipe) = net.pipes.get_mut(&id) else { continue };
                let bytes = match pipe.flight.front() {
                    Some((_, Chunk::Data(bytes))) => net.dice.index(bytes.len() + 1),
                    Some((_, Chunk::Fin)) | None => 0,
                };
                pipe.tear(bytes, &mut wakers);
            }
            net.forget_if_done(id)
        };
        drop(gone);
        self.note(Note { kind: "reset", target: id >> 1, ..Note::default() }, || why.to_owned());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Resets every connection between two nodes. Returns how many there were.
    pub fn reset_between(&self, a: usize, b: usize) -> usize {
        let joins = |pipe: &Pipe| {
            let ends = (pipe.from.node, pipe.to.node);
            !pipe.reset && (ends == (a, b) || ends == (b, a))
        };
        let found: BTreeSet<PipeId> = {
            let net = self.net.lock();
            net.pipes.iter().filter(|(_, pipe)| joins(pipe)).map(|(id, _)| id & !1).collect()
        };
        found.iter().for_each(|id| self.reset_connection(*id, "injected"));
        found.len()
    }

    /// What a dying process or machine means to its connections.
    pub(crate) fn net_crash(&self, node: usize, how: Crash) {
        let (lost_ports, mine) = {
            let mut guard = self.net.lock();
            let net = &mut *guard;
            if how == Crash::Power {
                net.dark.insert(node);
            }
            let (lost, kept) = std::mem::take(&mut net.ports)
                .into_iter()
                .partition::<BTreeMap<_, _>, _>(|(place, _)| place.0 == node);
            net.ports = kept;
            let mine: Vec<PipeId> = net
                .pipes
                .iter()
                .filter(|(_, pipe)| pipe.from.node == node && !pipe.unread)
                .map(|(id, _)| *id)
                .collect();
            (lost, mine)
        };
        drop(lost_ports);
        for out in mine {
            match how {
                Crash::Process | Crash::Kernel => self.close_end(out),
                Crash::Power => self.unplug_end(out),
            }
        }
    }

    /// The kernel closes one end: a reset if something was unread, else what was written still
    /// leaves, then the end of the stream. `out` is the pipe this end writes.
    pub(super) fn close_end(&self, out: PipeId) {
        let now = self.now();
        let (mut dropped, mut wakers) = (Vec::new(), Vec::new());
        let (kick, reset) = {
            let mut guard = self.net.lock();
            let net = &mut *guard;
            let latency = net.latency(self);
            let mut unread = false;
            if let Some(inward) = net.pipes.get_mut(&(out ^ 1)) {
                unread = !inward.ready.is_empty();
                inward.unread = true;
                inward.ready.clear();
                dropped.extend(inward.reader.take());
                wakers.extend(inward.writer.take());
            }
            let mut kick = None;
            if let Some(outward) = net.pipes.get_mut(&out) {
                dropped.extend(outward.writer.take());
                if !outward.reset && !unread && !outward.finishing {
                    outward.finishing = true;
                    kick = outward.send(now + latency, Chunk::Fin);
                }
            }
            let gone = net.forget_if_done(out);
            if let Some((one, two)) = gone {
                dropped
                    .extend([one.reader, one.writer, two.reader, two.writer].into_iter().flatten());
            }
            (kick, unread.then_some(now + latency))
        };
        drop(dropped);
        wakers.into_iter().for_each(Waker::wake);
        if let Some(at) = kick {
            self.kick(out, at);
        }
        if let Some(at) = reset {
            self.at(at, move |world| world.reset_connection(out, "closed with unread bytes"));
        }
    }

    /// The machine is gone: what had not left never does, and nobody is told.
    fn unplug_end(&self, out: PipeId) {
        let (mut dropped, mut wakers) = (Vec::new(), Vec::new());
        {
            let mut net = self.net.lock();
            if let Some(outward) = net.pipes.get_mut(&out) {
                outward.flight.clear();
                dropped.extend(outward.writer.take());
            }
            if let Some(inward) = net.pipes.get_mut(&(out ^ 1)) {
                inward.unread = true;
                inward.ready.clear();
                dropped.extend(inward.reader.take());
                wakers.extend(inward.writer.take());
            }
        }
        drop(dropped);
        wakers.into_iter().for_each(Waker::wake);
    }
}
