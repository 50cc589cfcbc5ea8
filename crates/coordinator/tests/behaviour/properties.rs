//! Random events against invariants.
//!
//! Beside what [`World`] checks at every step: a generation's assignment is the same for all who
//! are told of it, so that a share has one owner; a committed offset that was
//! acknowledged is fetched until a later commit; once the log answers and time passes, nobody
//! waits any more.

use std::collections::BTreeMap;

use bytes::Bytes;
use coordinator::*;
use proptest::prelude::*;

use crate::log::Watch;
use crate::world::{GROUP, World, commit, join, stand_alone};

const CLIENTS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Act {
    Join { client: usize, known: bool, required: bool, fixed: bool, changed: bool },
    Sync(usize),
    Beat(usize),
    Leave(usize),
    Commit { client: usize, alone: bool },
    Fetch,
    Describe,
    TopicDeleted,
    Delete,
    DeleteOffset,
    Pass(u64),
    Settle(bool),
    Crash,
}

fn act() -> impl Strategy<Value = Act> {
    let client = 0..CLIENTS.len();
    prop_oneof![
        8 => (client.clone(), any::<bool>(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(client, known, required, fixed, changed)| Act::Join { client, known, required, fixed, changed }),
        8 => client.clone().prop_map(Act::Sync),
        4 => client.clone().prop_map(Act::Beat),
        1 => client.clone().prop_map(Act::Leave),
        4 => (client, any::<bool>()).prop_map(|(client, alone)| Act::Commit { client, alone }),
        2 => Just(Act::Fetch),
        1 => Just(Act::Describe),
        1 => Just(Act::TopicDeleted),
        1 => Just(Act::Delete),
        1 => Just(Act::DeleteOffset),
        4 => (0_u64..4000).prop_map(Act::Pass),
        1 => (4000_u64..700_000).prop_map(Act::Pass),
        10 => prop::bool::weighted(0.85).prop_map(Act::Settle),
        1 => Just(Act::Crash),
    ]
}

/// What the clients have seen.
#[derive(Default)]
struct Seen {
    /// Replies already looked at.
    read: usize,
    next_offset: i64,
    /// Who was told of which share in which generation of the log.
    shares: BTreeMap<(i32, Bytes), String>,
    /// The generation each pending sync was sent for.
    syncs: BTreeMap<String, (i32, String)>,
    acknowledged: Option<i64>,
}

impl Seen {
    fn look(&mut self, world: &World) {
        let replies = &world.replies[self.read..];
        self.read = world.replies.len();
        if stored(world).is_none() {
            // A group that was forgotten begins anew.
            self.shares.clear();
        }
        for (label, reply) in replies {
            match reply {
                Reply::Sync(Ok(synced)) if !synced.assignment.is_empty() => {
                    let (generation, member) = self.syncs[label].clone();
                    let share = (generation, synced.assignment.clone());
                    let taker = holder(world, &member);
                    let owner = self.shares.entry(share).or_insert_with(|| taker.clone());
                    assert_eq!(*owner, taker, "two owners in generation {generation}");
                },
                Reply::Commit(results) if results.iter().all(Result::is_ok) => {
                    let offset = label.rsplit(' ').next().unwrap().parse().unwrap();
                    self.acknowledged = Some(offset);
                },
                Reply::TopicDeleted(Ok(())) | Reply::Delete(Ok(())) => self.acknowledged = None,
                Reply::DeleteOffsets(Ok(results)) if results.iter().all(Result::is_ok) => {
                    self.acknowledged = None;
                },
                Reply::Offsets(Ok(offsets)) => {
                    let fetched = offsets.first().and_then(|found| found.committed.as_ref());
                    let fetched = fetched.map(|found| found.offset.0);
                    assert_eq!(fetched, self.acknowledged, "an acknowledged commit is not there");
                },
                _ => {},
            }
        }
    }
}

fn stored(world: &World) -> Option<&StoredGroup> {
    world.shard.durable().group(GROUP)?.generation.as_ref()
}

/// Who a member is: a static one stays itself under a new id.
fn holder(world: &World, member: &str) -> String {
    let members = stored(world).into_iter().flat_map(|stored| &stored.members);
    let found = members.filter(|each| each.member == member);
    found.filter_map(|each| each.instance.clone()).next().unwrap_or_else(|| member.to_owned())
}

fn perform(world: &mut World, seen: &mut Seen, act: &Act) {
    match act {
        Act::Join { client, known, required, fixed, changed } => {
            let name = CLIENTS[*client];
            let member = if *known { world.member(name) } else { String::new() };
            // Half of the clients are static, always or never.
            let instance = (*fixed && client % 2 == 0).then(|| name.to_owned());
            let topics: &[u8] = if *changed { b"more topics" } else { b"topics" };
            let join = Join {
                instance,
                member_id_required: *required,
                protocols: vec![("range".into(), Bytes::from_static(topics))],
                ..join(name, &member)
            };
            world.send(&format!("{name} joins"), Command::Join(join));
        },
        Act::Sync(client) => {
            let name = CLIENTS[*client];
            let who = world.who(name);
            let joined = world.reply(&format!("{name} joins"));
            let members = match joined {
                Some(Reply::Join(Ok(joined))) if !joined.skip_assignment => &joined.members[..],
                _ => &[],
            };
            let share = |(at, to): (usize, &JoinedMember)| {
                (to.member.clone(), Bytes::from(format!("share {at}")))
            };
            let assignments = members.iter().enumerate().map(share).collect();
            let label = format!("{name} syncs {}", world.replies.len() + world.waiting.len());
            seen.syncs.insert(label.clone(), (who.generation, who.member.clone()));
            let sync = Sync { who, protocol_type: None, protocol: None, assignments };
            world.send(&label, Command::Sync(sync));
        },
        Act::Beat(client) => world.beat(CLIENTS[*client]),
        Act::Leave(client) => world.leave(CLIENTS[*client]),
        Act::Commit { client, alone } => {
            seen.next_offset += 1;
            let who = if *alone { stand_alone() } else { world.who(CLIENTS[*client]) };
            let label = format!("commit {}", seen.next_offset);
            world.send(&label, Command::Commit(commit(who, seen.next_offset)));
        },
        Act::Fetch => world.fetch(),
        Act::Describe => world.describe(),
        Act::TopicDeleted => {
            world.send("topic goes", Command::TopicDeleted { topic: "t".into() });
        },
        Act::Delete => world.delete("delete"),
        Act::DeleteOffset => world.delete_offsets("delete t", GROUP, &["t"]),
        Act::Pass(millis) => world.pass(*millis),
        Act::Settle(true) => world.settle(Ok(())),
        Act::Settle(false) => world.settle(Err(AppendError::NotAvailable)),
        Act::Crash => world.crash(),
    }
    seen.look(world);
}

fn run(acts: &[Act], mutant: &'static str) -> World {
    let settings = Settings { group_size_max: 3, ..Settings::default() };
    let mut world = World::with(settings, Watch::new(mutant));
    world.auto = false;
    let mut seen = Seen::default();
    for act in acts {
        perform(&mut world, &mut seen, act);
    }
    // The log answers, the clients are gone: everybody who waits is told something.
    for _ in 0..10 {
        while world.under_way.is_some() {
            world.settle(Ok(()));
            seen.look(&world);
        }
        world.pass(700_000);
    }
    world
}

proptest! {
    #[test]
    fn random_events_break_no_invariant(acts in prop::collection::vec(act(), 1..120)) {
        let world = run(&acts, "");

        let waiting = &world.waiting;
        prop_assert!(waiting.is_empty(), "still waiting: {:?}\n{}", waiting, world.trace);
        // Without clients no group has members for long.
        let empty = stored(&world).is_none_or(|stored| stored.members.is_empty());
        prop_assert!(empty, "{}", world.trace);
    }

    #[test]
    fn same_events_same_trace(acts in prop::collection::vec(act(), 1..60)) {
        prop_assert_eq!(run(&acts, "").trace, run(&acts, "").trace);
    }
}

#[test]
fn a_shard_that_forgets_offsets_when_loading_is_found_out() {
    let mut world = World::with(Settings::default(), Watch::new("forget_group_offsets"));
    world.commit("admin", stand_alone(), 1);
    // The generation that follows is what takes the commit with it.
    world.join("a");
    world.pass(6000);
    world.sync("a", &[("a", "all")]);
    let known =
        |shard: &Shard<Watch>| shard.durable().group(GROUP).map_or(0, |group| group.offsets.len());
    assert_eq!(known(&world.shard), 1);

    let mut reloaded = Shard::new(world.settings.clone(), world.watch.clone());
    for (key, value) in &world.log {
        reloaded.replay(key, value.as_ref()).unwrap();
    }

    assert_eq!(known(&reloaded), 0);
}
