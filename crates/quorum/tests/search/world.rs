//! Three nodes, their disks, the network, and what must hold of them together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use base::{BrokerId, Duration, Instant, Probe, Uuid};
use bytes::Bytes;
use quorum::{
    Action, Base, Body, Change, Entry, Event, Index, Log, LogChange, Message, NodeKey, Payload,
    Quorum, ReadId, Recovered, Role, Settings, Tag, Term, Voters, Write,
};

use crate::bfs::{Model, fingerprint};

const NOW: Instant = Instant(0);

/// At most one planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Planted(pub Option<&'static str>);

impl Probe for Planted {
    fn mutant(&self, id: &'static str) -> bool {
        self.0 == Some(id)
    }
}

/// How much may happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    pub term: u64,
    pub proposals: u64,
    pub crashes: u8,
    /// A directory is wiped; its node comes back with another one.
    pub wipes: u8,
    /// Entries that were durable cannot be read after a crash.
    pub rots: u8,
    pub changes: Vec<(usize, Change)>,
    pub reads: u8,
    /// Whether followers hear of what is committed when there is nothing else to tell.
    pub news: bool,
}

impl Budget {
    pub const NONE: Self = Self {
        term: 2,
        proposals: 0,
        crashes: 0,
        wipes: 0,
        rots: 0,
        changes: Vec::new(),
        reads: 0,
        news: false,
    };
}

/// What is on a node's disk, and what is on its way there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Disk {
    term: Term,
    vote: Option<NodeKey>,
    base: Option<Base>,
    entries: Vec<Entry>,
    writes: VecDeque<Write>,
}

impl Disk {
    fn start(&self) -> u64 {
        self.base.as_ref().map_or(0, |base| base.last.index.0)
    }

    fn entry(&self, index: Index) -> Option<&Entry> {
        let at = usize::try_from(index.0.checked_sub(self.start() + 1)?).ok()?;
        self.entries.get(at)
    }

    /// The oldest write is durable.
    fn flush(&mut self) -> Option<u64> {
        let write = self.writes.pop_front()?;
        (self.term, self.vote) = (write.term, write.vote);
        match write.log {
            None => {},
            Some(LogChange::Replace { from, entries }) => {
                let kept = usize::try_from(from.0 - self.start() - 1).unwrap();
                self.entries.truncate(kept);
                self.entries.extend(entries);
            },
            Some(LogChange::StartAt(base)) => {
                let log = Log::new(self.base.take(), std::mem::take(&mut self.entries));
                let keeps = log.term_at(base.last.index) == Some(base.last.term);
                let behind = (base.last.index.0 + 1..).map_while(|at| log.entry(Index(at)));
                self.entries = behind.take_while(|_| keeps).cloned().collect();
                self.base = Some(base);
            },
        }
        Some(write.number)
    }

    fn recovered(&self, rotten: usize) -> Recovered {
        let readable = self.entries.len().saturating_sub(rotten);
        let log = Log::new(self.base.clone(), self.entries[..readable].to_vec());
        let end = Index(self.start() + self.entries.len() as u64);
        Recovered { term: self.term, vote: self.vote, log, vouched: (rotten > 0).then_some(end) }
    }
}

#[derive(Clone, Debug)]
struct Node {
    core: Quorum<Planted>,
    disk: Disk,
    /// Of both.
    print: u128,
}

impl Node {
    fn new(core: Quorum<Planted>, disk: Disk) -> Self {
        let print = fingerprint(&(&core, &disk));
        Self { core, disk, print }
    }
}

/// Everything ever sent; nothing is taken out.
#[derive(Clone, Debug, Default)]
struct Network {
    sent: Vec<Arc<(usize, Message)>>,
    known: BTreeSet<u128>,
    /// Of the set.
    print: u128,
}

/// A schedule so far.
#[derive(Clone, Debug)]
pub struct World {
    planted: Planted,
    founders: bool,
    nodes: [Arc<Node>; 3],
    network: Arc<Network>,
    left: Budget,
    proposed: u64,
    /// What was committed, by index, and in which term.
    committed: Arc<BTreeMap<Index, (Entry, Term)>>,
    /// Who led in which term.
    led: BTreeMap<Term, NodeKey>,
    /// What was committed when a read was asked.
    asked: BTreeMap<u64, Index>,
    wiped: u8,
    /// It makes no difference which node is which.
    alike: bool,
}

/// One step of a schedule.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Stand(usize),
    Tick(usize),
    Deliver(usize),
    Flush(usize),
    Crash(usize, usize),
    Rot(usize),
    Wipe(usize),
    Propose(usize),
    Change(usize),
    Read(usize),
}

fn key(at: usize, dir: u8) -> NodeKey {
    let mut bytes = [0; 16];
    bytes[15] = dir;
    NodeKey { node: BrokerId(i32::try_from(at).unwrap() + 1), dir: Uuid(bytes) }
}

pub fn voter(at: usize) -> NodeKey {
    key(at, u8::try_from(at).unwrap() + 1)
}

fn bootstrap(voters: usize) -> Entry {
    let voters = (0..voters).map(voter).collect::<Voters>();
    Entry { term: Term(0), payload: Payload::Bootstrap { cluster: cluster(), voters } }
}

fn cluster() -> Uuid {
    Uuid([7; 16])
}

fn settings(founders: bool) -> Settings {
    let all = if founders { (1..=3).map(BrokerId).collect() } else { Vec::new() };
    Settings {
        founders: all,
        joins: !founders,
        heartbeat: Duration::ZERO,
        election_min: Duration::ZERO,
        election_spread: Duration::ZERO,
        check_quorum: Duration::ZERO,
        transfer_max: Duration::ZERO,
        // One entry a message.
        message_bytes: 1,
        messages_in_flight: 1,
        ..Settings::default()
    }
}

impl World {
    /// Three voters with these entries behind the first, in a term that all of them know.
    pub fn of_logs(
        logs: [&[u64]; 3],
        term: u64,
        planted: Option<&'static str>,
        budget: Budget,
    ) -> Self {
        let first = bootstrap(3);
        let disk = |at: usize| {
            let leads = |term: &u64| Entry { term: Term(*term), payload: Payload::Leads(voter(0)) };
            let entries =
                std::iter::once(first.clone()).chain(logs[at].iter().map(leads)).collect();
            Disk { term: Term(term), entries, ..Disk::default() }
        };
        let committed = BTreeMap::from([(Index(1), (first.clone(), Term(0)))]);
        let world = Self::new(false, planted, budget, disk, committed);
        Self { alike: false, ..world }
    }

    /// Three nodes, of which the first `voters` vote.
    pub fn of_voters(voters: usize, planted: Option<&'static str>, budget: Budget) -> Self {
        let entries = vec![bootstrap(voters)];
        let disk = Disk { entries, ..Disk::default() };
        let committed = BTreeMap::from([(Index(1), (disk.entries[0].clone(), Term(0)))]);
        Self::new(false, planted, budget, |_| disk.clone(), committed)
    }

    /// Three empty nodes that are listed as founders.
    pub fn empty(planted: Option<&'static str>, budget: Budget) -> Self {
        Self::new(true, planted, budget, |_| Disk::default(), BTreeMap::new())
    }

    fn new(
        founders: bool,
        planted: Option<&'static str>,
        budget: Budget,
        disk: impl Fn(usize) -> Disk,
        committed: BTreeMap<Index, (Entry, Term)>,
    ) -> Self {
        let planted = Planted(planted);
        let alike = !founders && budget.changes.is_empty();
        let node = |at: usize| {
            let disk = disk(at);
            let core = start(voter(at), founders, &disk, 0, planted);
            Arc::new(Node::new(core, disk))
        };
        Self {
            planted,
            founders,
            nodes: [node(0), node(1), node(2)],
            network: Arc::default(),
            left: budget,
            proposed: 0,
            committed: Arc::new(committed),
            led: BTreeMap::new(),
            asked: BTreeMap::new(),
            wiped: 0,
            alike,
        }
    }

    fn step(&mut self, at: usize, event: Event) -> Result<(), String> {
        let mut out = Vec::new();
        Arc::make_mut(&mut self.nodes[at]).core.step(NOW, event, &mut out);
        self.carry_out(at, out)?;
        let node = Arc::make_mut(&mut self.nodes[at]);
        node.print = fingerprint(&(&node.core, &node.disk));
        Ok(())
    }

    fn carry_out(&mut self, at: usize, out: Vec<Action>) -> Result<(), String> {
        for action in out {
            match action {
                Action::Persist(write) => {
                    Arc::make_mut(&mut self.nodes[at]).disk.writes.push_back(write);
                },
                Action::Send(to, message) => self.sent(to, message),
                Action::Commit(upto) => self.commits(at, upto)?,
                Action::Leads(term) => self.leads(at, term)?,
                Action::ReadReady(ReadId(id), index) => {
                    let before = self.asked[&id];
                    if index < before {
                        return Err(format!(
                            "a read that began when {before} was committed sees {index}"
                        ));
                    }
                },
                _ => {},
            }
        }
        Ok(())
    }

    fn sent(&mut self, to: BrokerId, message: Message) {
        let at = usize::try_from(to.0 - 1).unwrap();
        let counts = match message.body {
            // Asked and answered by `Act::Stand`.
            Body::WouldVote { .. } | Body::WouldVoteAnswer { .. } => false,
            Body::Alive { .. } => !self.asked.is_empty(),
            Body::VoteAnswer { granted } => granted,
            Body::Append { ref entries, .. } => !entries.is_empty() || self.left.news,
            _ => true,
        };
        let print = fingerprint(&(at, &message));
        if counts && !self.network.known.contains(&print) {
            let network = Arc::make_mut(&mut self.network);
            network.known.insert(print);
            network.print ^= print;
            network.sent.push(Arc::new((at, message)));
        }
    }

    fn commits(&mut self, at: usize, upto: Index) -> Result<(), String> {
        let core = self.nodes[at].core.clone();
        for index in (1..=upto.0).map(Index) {
            let Some(entry) = core.log().entry(index) else { continue };
            match self.committed.get(&index) {
                Some((known, _)) if known == entry => {},
                Some((known, _)) => {
                    return Err(format!(
                        "{:?} commits {entry:?} at {index}, where {known:?} was committed",
                        core.me()
                    ));
                },
                None => {
                    self.is_durable(&core, index)?;
                    Arc::make_mut(&mut self.committed).insert(index, (entry.clone(), core.term()));
                },
            }
        }
        Ok(())
    }

    /// What is committed for the first time is on the disks of a majority of the voters in force.
    fn is_durable(&self, core: &Quorum<Planted>, index: Index) -> Result<(), String> {
        let holds = |voter: NodeKey| {
            self.nodes.iter().any(|node| {
                node.core.me() == voter && node.disk.entry(index) == core.log().entry(index)
            })
        };
        // A disk that has rotted or was wiped since has vouched for it before.
        let lossy = self.wiped > 0;
        if lossy || core.voters().majority(holds) {
            return Ok(());
        }
        Err(format!("{:?} commits {index}, which is not on the disks of a majority", core.me()))
    }

    fn leads(&mut self, at: usize, term: Term) -> Result<(), String> {
        let core = &self.nodes[at].core;
        if let Some(other) = self.led.insert(term, core.me())
            && other != core.me()
        {
            return Err(format!("{other:?} and {:?} lead in term {term}", core.me()));
        }
        for (index, (entry, when)) in self.committed.iter() {
            let has = *index <= core.log().start() || core.log().entry(*index) == Some(entry);
            // Who is elected late in a term that is over leads nobody.
            if !has && *when < term {
                return Err(format!(
                    "{:?} leads in term {term} without the committed {index}",
                    core.me()
                ));
            }
        }
        Ok(())
    }

    /// Led or not, a node asks whether it would be voted for, and a majority says so: nobody is bound by that.
    fn stand(&mut self, at: usize) -> Result<(), String> {
        let term = self.nodes[at].core.term();
        let leads = self.nodes[at].core.role() == Role::Leader;
        self.step(at, Event::Tick)?;
        if leads {
            return Ok(());
        }
        for other in (0..3).filter(|other| *other != at) {
            let from = self.nodes[other].core.me();
            let body = Body::WouldVoteAnswer { granted: true };
            let cluster = self.nodes[at].core.log().cluster();
            let term = Term(term.0 + 1);
            let message = Message { cluster, from, to_dir: None, term, body };
            self.step(at, Event::Message(message))?;
        }
        Ok(())
    }

    fn restart(&mut self, at: usize, rotten: usize) -> Result<(), String> {
        let (founders, planted) = (self.founders, self.planted);
        let node = Arc::make_mut(&mut self.nodes[at]);
        node.disk.writes.clear();
        let recovered = node.disk.recovered(rotten);
        if rotten > 0 {
            let kept = node.disk.entries.len() - rotten;
            node.disk.entries.truncate(kept);
        }
        node.core = started(node.core.me(), founders, recovered, self.wiped, planted);
        node.print = fingerprint(&(&node.core, &node.disk));
        Ok(())
    }
}

fn start(me: NodeKey, founders: bool, disk: &Disk, nth: u8, planted: Planted) -> Quorum<Planted> {
    started(me, founders, disk.recovered(0), nth, planted)
}

fn started(
    me: NodeKey,
    founders: bool,
    recovered: Recovered,
    nth: u8,
    planted: Planted,
) -> Quorum<Planted> {
    let mut fresh = [me.dir.0[15]; 16];
    fresh[0] = nth;
    Quorum::new(me, settings(founders), recovered, (Uuid(fresh), 0), NOW, planted)
}

impl Model for World {
    type Action = Act;

    fn fingerprint(&self) -> u128 {
        let nodes = [0, 1, 2].map(|at: usize| self.nodes[at].print);
        let ghost = (&*self.committed, &self.led, &self.asked, self.wiped);
        fingerprint(&(nodes, self.network.print, &self.left, self.proposed, ghost))
    }

    fn actions(&self) -> Vec<Act> {
        let mut all = Vec::new();
        for at in 0..3 {
            let Node { core, disk, .. } = &*self.nodes[at];
            if !disk.writes.is_empty() {
                all.push(Act::Flush(at));
            }
            // What is under way may get to the disk or not, but in its order.
            if self.left.crashes > 0 {
                all.extend((0..=disk.writes.len()).map(|kept| Act::Crash(at, kept)));
            }
            if self.left.rots > 0 && disk.entries.len() > 1 {
                all.push(Act::Rot(at));
            }
            if self.left.wipes > 0 {
                all.push(Act::Wipe(at));
            }
            let leads = core.role() == Role::Leader;
            if leads && self.left.proposals > 0 {
                all.push(Act::Propose(at));
            }
            if leads && self.left.reads > 0 {
                all.push(Act::Read(at));
            }
            // All three are alike until one has stood.
            let first = self.network.sent.is_empty() && self.alike;
            if core.term().0 < self.left.term && (at == 0 || !first) {
                all.push(Act::Stand(at));
            }
            if core.log().is_empty() || !core.voters().contains(core.me()) {
                all.push(Act::Tick(at));
            }
        }
        all.extend((0..self.left.changes.len()).map(Act::Change));
        for (nth, sent) in self.network.sent.iter().enumerate() {
            let (at, message) = &**sent;
            // What is of a term that is over changes nothing, if the core is right; a mutant's may.
            let over = message.term < self.nodes[*at].core.term() && self.planted.0.is_none();
            let timeless = matches!(message.body, Body::WhoIsThere | Body::Here { .. });
            if !over || timeless {
                all.push(Act::Deliver(nth));
            }
        }
        all
    }

    fn take(&mut self, action: Act) -> Result<(), String> {
        match action {
            Act::Stand(at) => self.stand(at),
            Act::Tick(at) => self.step(at, Event::Tick),
            Act::Deliver(nth) => {
                let (at, message) = (*self.network.sent[nth]).clone();
                self.step(at, Event::Message(message))
            },
            Act::Flush(at) => {
                let disk = &mut Arc::make_mut(&mut self.nodes[at]).disk;
                let number = std::iter::from_fn(|| disk.flush()).last().unwrap();
                self.step(at, Event::Persisted(number))
            },
            Act::Crash(at, kept) => {
                self.left.crashes -= 1;
                let disk = &mut Arc::make_mut(&mut self.nodes[at]).disk;
                (0..kept).for_each(|_| {
                    disk.flush();
                });
                self.restart(at, 0)
            },
            Act::Rot(at) => {
                self.left.rots -= 1;
                let disk = &mut Arc::make_mut(&mut self.nodes[at]).disk;
                std::iter::from_fn(|| disk.flush()).for_each(drop);
                self.wiped += 1;
                self.restart(at, 1)
            },
            Act::Wipe(at) => {
                self.left.wipes -= 1;
                self.wiped += 1;
                let (founders, planted, nth) = (self.founders, self.planted, self.wiped);
                let me = key(at, u8::try_from(at).unwrap() + 0x10 * (nth + 1));
                let disk = Disk::default();
                let core = start(me, founders, &disk, nth, planted);
                self.nodes[at] = Arc::new(Node::new(core, disk));
                Ok(())
            },
            Act::Propose(at) => {
                self.left.proposals -= 1;
                self.proposed += 1;
                let value = u8::try_from(self.proposed).unwrap();
                let bytes = Bytes::copy_from_slice(&[value]);
                self.step(at, Event::Propose { tag: Tag(self.proposed), bytes })
            },
            Act::Change(nth) => {
                let (at, change) = self.left.changes.remove(nth);
                self.step(at, Event::ChangeVoters(change))
            },
            Act::Read(at) => {
                self.left.reads -= 1;
                let id = u64::from(self.left.reads);
                let upto = self.committed.keys().next_back().copied().unwrap_or_default();
                self.asked.insert(id, upto);
                self.step(at, Event::Read(ReadId(id)))
            },
        }
    }

    fn describe(&self, action: Act) -> String {
        let name = |at: usize| format!("{:?}", self.nodes[at].core.me());
        match action {
            Act::Stand(at) => format!("{} hears of no leader", name(at)),
            Act::Tick(at) => format!("{} looks around", name(at)),
            Act::Deliver(nth) => {
                let (at, message) = &*self.network.sent[nth];
                let Message { from, term, body, .. } = message;
                format!("{} hears of {from:?} in term {term}: {body:?}", name(*at))
            },
            Act::Flush(at) => {
                let writes = &self.nodes[at].disk.writes;
                let Write { term, vote, .. } = writes.back().unwrap();
                let logs: Vec<_> = writes.iter().filter_map(|write| write.log.as_ref()).collect();
                format!("{} has on its disk: term {term}, vote {vote:?}, {logs:?}", name(at))
            },
            Act::Crash(at, kept) => {
                format!("{} loses its power, {kept} writes were done, and starts again", name(at))
            },
            Act::Rot(at) => format!("{} starts again and cannot read its last entry", name(at)),
            Act::Wipe(at) => format!("{} starts again with an empty directory", name(at)),
            Act::Propose(at) => format!("{} is asked to append a value", name(at)),
            Act::Change(nth) => {
                let (at, change) = &self.left.changes[nth];
                format!("{} is asked for {change:?}", name(*at))
            },
            Act::Read(at) => format!("{} is asked what is committed", name(at)),
        }
    }
}
