//! A world of one shard and one log, which writes down what happens.
//!
//! Invariants checked on the way: every request is answered once at most; at most one append is
//! under way; what the shard says the log holds is what reading the log gives.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base::{Duration, Instant, Offset, Timestamp, Uuid};
use bytes::Bytes;
use coordinator::*;

use crate::log::Watch;

pub(crate) const GROUP: &str = "g";

type Records = Vec<(Bytes, Option<Bytes>)>;

pub(crate) struct World {
    pub(crate) shard: Shard<Watch>,
    pub(crate) watch: Watch,
    pub(crate) settings: Settings,
    pub(crate) millis: u64,
    pub(crate) log: Records,
    pub(crate) under_way: Option<(AppendId, Records)>,
    /// Whether appends succeed at once.
    pub(crate) auto: bool,
    pub(crate) waiting: BTreeMap<RequestId, String>,
    pub(crate) replies: Vec<(String, Reply)>,
    pub(crate) trace: String,
    requests: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default(), Watch::new(""))
    }

    pub(crate) fn with(settings: Settings, watch: Watch) -> Self {
        let mut shard = Shard::new(settings.clone(), watch.clone());
        shard.loaded(Instant(0));
        Self {
            shard,
            watch,
            settings,
            millis: 0,
            log: Vec::new(),
            under_way: None,
            auto: true,
            waiting: BTreeMap::new(),
            replies: Vec::new(),
            trace: String::new(),
            requests: 0,
        }
    }

    fn now(&self) -> Instant {
        Instant(0).after(Duration::from_millis(self.millis))
    }

    /// Sends a request under a label.
    pub(crate) fn send(&mut self, label: &str, command: Command) {
        self.requests += 1;
        let id = RequestId(self.requests);
        let mut fresh = [0; 16];
        fresh[8..].copy_from_slice(&self.requests.to_be_bytes());
        self.waiting.insert(id, label.to_owned());
        writeln!(self.trace, "> {label}").unwrap();
        self.step(Event::Request { id, command, fresh: Uuid(fresh) });
    }

    /// Lets time pass, ringing the alarm whenever it is due.
    pub(crate) fn pass(&mut self, millis: u64) {
        let until = self.millis + millis;
        writeln!(self.trace, "> {millis} ms pass").unwrap();
        let mut rings = 0;
        while let Some(at) = self.shard.deadline()
            && at <= Instant(0).after(Duration::from_millis(until))
        {
            rings += 1;
            assert!(rings < 10_000, "the alarm rings for ever");
            self.millis = self.millis.max(at.0.div_ceil(1_000_000));
            self.step(Event::Tick);
        }
        self.millis = until;
    }

    /// The append under way has this outcome.
    pub(crate) fn settle(&mut self, result: Result<(), AppendError>) {
        let Some((id, records)) = self.under_way.take() else { return };
        match result {
            Ok(()) => {
                writeln!(self.trace, "> append {} is in the log", id.0).unwrap();
                self.log.extend(records);
            },
            Err(why) => writeln!(self.trace, "> append {} failed: {why:?}", id.0).unwrap(),
        }
        self.step(Event::Appended { id, result });
    }

    pub(crate) fn resign(&mut self) {
        writeln!(self.trace, "> resigned").unwrap();
        self.under_way = None;
        self.step(Event::Resigned);
    }

    /// Throws the shard away, as a crash does, and loads a new one from the log. Appends under way
    /// are lost.
    pub(crate) fn crash(&mut self) {
        writeln!(self.trace, "> crash and reload").unwrap();
        self.under_way = None;
        self.waiting.clear();
        self.shard = Shard::new(self.settings.clone(), self.watch.clone());
        for (key, value) in &self.log {
            self.shard.replay(key, value.as_ref()).unwrap();
        }
        self.shard.loaded(self.now());
    }

    pub(crate) fn step(&mut self, event: Event) {
        let mut out = Vec::new();
        let wall = Timestamp(i64::try_from(self.millis).unwrap());
        self.shard.step(self.now(), wall, event, &mut out);
        for action in out {
            match action {
                Action::Reply { id, reply } => {
                    let label = self.waiting.remove(&id).expect("nobody waits for this reply");
                    writeln!(self.trace, "{label}: {}", shown(&reply)).unwrap();
                    self.replies.push((label, reply));
                },
                Action::Append { id, records } => {
                    assert!(self.under_way.is_none(), "two appends under way");
                    assert!(!records.is_empty());
                    for (key, value) in &records {
                        let record = Record::decode(key, value.as_ref()).unwrap().unwrap();
                        writeln!(self.trace, "append {}: {}", id.0, shown_record(&record)).unwrap();
                    }
                    self.under_way = Some((id, records));
                },
            }
        }
        if self.auto && self.under_way.is_some() {
            let (id, records) = self.under_way.take().unwrap();
            self.log.extend(records);
            self.step(Event::Appended { id, result: Ok(()) });
        }
        self.check_durable();
    }

    fn check_durable(&self) {
        let mut replayed = Shard::new(self.settings.clone(), ());
        for (key, value) in &self.log {
            replayed.replay(key, value.as_ref()).unwrap();
        }
        assert_eq!(replayed.durable(), self.shard.durable(), "live and replayed state differ");
    }

    /// The last reply under a label.
    pub(crate) fn reply(&self, label: &str) -> Option<&Reply> {
        self.replies.iter().rev().find(|(sent, _)| sent == label).map(|(_, reply)| reply)
    }

    // --- requests, shortly ------------------------------------------------------------------

    /// A first join that needs no second.
    pub(crate) fn join(&mut self, client: &str) {
        self.send(&format!("{client} joins"), Command::Join(join(client, "")));
    }

    pub(crate) fn rejoin(&mut self, client: &str) {
        let member = self.member(client);
        self.send(&format!("{client} joins"), Command::Join(join(client, &member)));
    }

    /// The member id a client has been given.
    pub(crate) fn member(&self, client: &str) -> String {
        match self.reply(&format!("{client} joins")) {
            Some(Reply::Join(Ok(joined))) => joined.member.clone(),
            Some(Reply::Join(Err((_, member)))) => member.clone(),
            _ => String::new(),
        }
    }

    pub(crate) fn who(&self, client: &str) -> MemberOf {
        let generation = match self.reply(&format!("{client} joins")) {
            Some(Reply::Join(Ok(joined))) => joined.generation,
            _ => -1,
        };
        MemberOf { group: GROUP.into(), member: self.member(client), instance: None, generation }
    }

    pub(crate) fn sync(&mut self, client: &str, shares: &[(&str, &'static str)]) {
        let shares = shares.iter().map(|(to, share)| (self.member(to), Bytes::from(*share)));
        let sync = Sync {
            who: self.who(client),
            protocol_type: None,
            protocol: None,
            assignments: shares.collect(),
        };
        self.send(&format!("{client} syncs"), Command::Sync(sync));
    }

    pub(crate) fn beat(&mut self, client: &str) {
        self.send(&format!("{client} beats"), Command::Heartbeat(self.who(client)));
    }

    pub(crate) fn leave(&mut self, client: &str) {
        let leaving = Leaving { member: self.member(client), instance: None };
        let command = Command::Leave { group: GROUP.into(), members: vec![leaving] };
        self.send(&format!("{client} leaves"), command);
    }

    pub(crate) fn commit(&mut self, label: &str, who: MemberOf, offset: i64) {
        self.send(&format!("{label} commits {offset}"), Command::Commit(commit(who, offset)));
    }

    pub(crate) fn fetch(&mut self) {
        let command = Command::Offsets { group: GROUP.into(), partitions: None };
        self.send("fetch", command);
    }

    pub(crate) fn delete(&mut self, label: &str) {
        self.send(label, Command::Delete { group: GROUP.into() });
    }

    pub(crate) fn delete_offsets(&mut self, label: &str, group: &str, topics: &[&str]) {
        let partitions = topics.iter().map(|topic| ((*topic).to_owned(), 0)).collect();
        self.send(label, Command::DeleteOffsets { group: group.into(), partitions });
    }

    pub(crate) fn describe(&mut self) {
        self.send("describe", Command::Describe { group: GROUP.into() });
    }

    /// A stable group of these clients, the first of which leads and gives each its name.
    pub(crate) fn stable(clients: &[&str]) -> Self {
        let mut world = Self::new();
        for client in clients {
            world.join(client);
        }
        world.pass(6000);
        for client in clients.iter().rev() {
            world.sync(client, &[("a", "for a"), ("b", "for b"), ("c", "for c")]);
        }
        world.trace.clear();
        world
    }
}

pub(crate) fn join(client: &str, member: &str) -> Join {
    Join {
        group: GROUP.into(),
        member: member.into(),
        instance: None,
        client_id: client.into(),
        client_host: "/127.0.0.1".into(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(60),
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"topics"))],
        member_id_required: false,
        skip_assignment: true,
    }
}

pub(crate) fn commit(who: MemberOf, offset: i64) -> Commit {
    let offset = CommitOffset {
        topic: "t".into(),
        partition: 0,
        offset: Offset(offset),
        metadata: "note".into(),
        ..CommitOffset::default()
    };
    Commit { who, group_must_exist: true, retention: None, offsets: vec![offset] }
}

/// Commits one offset of each topic.
pub(crate) fn commit_all(who: MemberOf, topics: &[&str], offset: i64) -> Commit {
    let mut all = commit(who, offset);
    let one = all.offsets.remove(0);
    let each = topics.iter().map(|topic| CommitOffset { topic: (*topic).into(), ..one.clone() });
    all.offsets = each.collect();
    all
}

/// A consumer's metadata.
pub(crate) fn subscription(topics: &[&str]) -> Bytes {
    let count = u32::try_from(topics.len()).unwrap().to_be_bytes();
    let mut bytes = [&[0, 1][..], &count].concat();
    for topic in topics {
        bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend([0xff; 4]);
    bytes.into()
}

pub(crate) fn stand_alone() -> MemberOf {
    MemberOf { group: GROUP.into(), generation: -1, ..MemberOf::default() }
}

fn shown(reply: &Reply) -> String {
    let text = match reply {
        Reply::Join(Ok(joined)) => {
            let members: Vec<_> = joined.members.iter().map(|each| each.member.as_str()).collect();
            let skip = if joined.skip_assignment { ", keep the assignment" } else { "" };
            format!(
                "generation {} of {} as {}, {} leads {members:?}{skip}",
                joined.generation, joined.protocol, joined.member, joined.leader
            )
        },
        Reply::Join(Err((why, member))) => format!("{why:?} {member:?}"),
        Reply::Sync(Ok(synced)) => format!("owns {:?}", synced.assignment),
        Reply::Heartbeat(Ok(())) => "ok".into(),
        Reply::Leave(Ok(members)) => {
            let each = members.iter().map(|(who, left)| match left {
                Ok(()) => format!("{}{} left", who.member, who.instance.as_deref().unwrap_or("")),
                Err(why) => format!("{} {why:?}", who.member),
            });
            each.collect::<Vec<_>>().join(", ")
        },
        Reply::Commit(results) => format!("{results:?}"),
        Reply::Offsets(Ok(offsets)) => {
            let each = offsets.iter().map(|found| {
                let committed = found.committed.as_ref();
                let offset = committed.map(|found| (found.offset.0, found.metadata.as_str()));
                format!("{}-{} {offset:?}", found.topic, found.partition)
            });
            format!("[{}]", each.collect::<Vec<_>>().join(", "))
        },
        Reply::List(Ok(list)) => {
            let each = list
                .iter()
                .map(|e| format!("{} {:?} {}", e.group, e.protocol_type, e.state.name()));
            format!("[{}]", each.collect::<Vec<_>>().join(", "))
        },
        Reply::Describe(Ok(group)) => {
            let each = group.members.iter();
            let each = each.map(|e| format!("{} {:?} {:?}", e.member, e.metadata, e.assignment));
            let each = each.collect::<Vec<_>>().join(", ");
            format!("{} {:?} [{each}]", group.state.name(), group.protocol)
        },
        Reply::Delete(Ok(())) => "deleted".into(),
        Reply::DeleteOffsets(Ok(results)) => format!("{results:?}"),
        Reply::TopicDeleted(Ok(())) => "done".into(),
        Reply::Sync(Err(why))
        | Reply::Heartbeat(Err(why))
        | Reply::Leave(Err(why))
        | Reply::Offsets(Err(why))
        | Reply::List(Err(why))
        | Reply::Describe(Err(why))
        | Reply::Delete(Err(why))
        | Reply::DeleteOffsets(Err(why))
        | Reply::TopicDeleted(Err(why)) => format!("{why:?}"),
    };
    short(&text)
}

fn shown_record(record: &Record) -> String {
    let text = match record {
        Record::Offset { key, value: Some(value) } => {
            format!("{} {}-{} at {}", key.group, key.topic, key.partition, value.committed.offset)
        },
        Record::Offset { key, value: None } => {
            format!("{} {}-{} gone", key.group, key.topic, key.partition)
        },
        Record::Group { group, value: None } => format!("{group} forgotten"),
        Record::Group { group, value: Some(value) } => {
            let each = value.members.iter().map(|m| format!("{} {:?}", m.member, m.assignment));
            let each = each.collect::<Vec<_>>().join(", ");
            format!("{group} generation {} [{each}]", value.generation)
        },
    };
    short(&text)
}

/// Member ids as a name and the number of the request that made them.
fn short(text: &str) -> String {
    text.replace("-00000000-0000-0000-0000-0000000000", "-")
}
