//! Scripts: what clients do, the log's answers, the passing of time.

use base::Duration;
use bytes::Bytes;
use coordinator::*;

use crate::log::Watch;
use crate::world::{GROUP, World, commit, join, stand_alone};

/// Every script, so that all of them together can be asked what they reached.
pub(crate) const ALL: &[fn() -> World] = &[
    first_generation,
    member_id_required,
    group_name_too_long,
    pending_member_never_returns,
    member_joins_stable_group,
    member_falls_silent,
    slow_member_is_left_behind,
    leader_falls_silent_before_syncing,
    assignment_is_lost,
    assignment_is_overtaken,
    everybody_leaves,
    leader_joins_again,
    answers_were_lost,
    joins_that_cannot_be,
    crash_between_generations,
    static_member_restarts,
    static_members_restart_together,
    static_member_restarts_in_a_rebalance,
    static_leader_does_not_join,
    static_members_are_all_away,
    commits_in_every_state,
    commits_that_cannot_be,
    commit_is_lost,
    commits_too_large_together,
    limit_of_batches_changes,
    topic_is_deleted,
    loading_and_resigned,
    too_much,
];

pub(crate) fn first_generation() -> World {
    let mut world = World::new();
    world.join("a");
    world.pass(2000);
    world.join("b");
    world.pass(5000);
    world.auto = false;
    world.sync("b", &[]);
    world.sync("a", &[("a", "for a"), ("b", "for b")]);
    world.beat("b");
    world.settle(Ok(()));
    world.describe();
    world.send("list", Command::List);
    world
}

pub(crate) fn member_id_required() -> World {
    let mut world = World::new();
    let first = Join { member_id_required: true, ..join("a", "") };
    world.send("a joins", Command::Join(first));
    world.describe();
    world.rejoin("a");
    world.pass(3000);
    world.sync("a", &[("a", "for a")]);
    world
}

pub(crate) fn group_name_too_long() -> World {
    let mut world = World::new();
    let group = "g".repeat(40_000);
    world.send("a joins", Command::Join(Join { group: group.clone(), ..join("a", "") }));
    world.trace.clear();
    world.pass(3000);
    let who = MemberOf { group: group.clone(), ..world.who("a") };
    let sync = Sync { who, ..Sync::default() };
    world.send("a syncs", Command::Sync(sync));
    let members = vec![Leaving { member: world.member("a"), instance: None }];
    world.send("a leaves", Command::Leave { group, members });
    world.send("list", Command::List);
    world
}

pub(crate) fn pending_member_never_returns() -> World {
    let mut world = World::new();
    let first = Join { member_id_required: true, ..join("a", "") };
    world.send("a joins", Command::Join(first.clone()));
    world.pass(10_000);
    world.describe();
    world.send("a joins", Command::Join(first));
    world.leave("a");
    world.describe();
    world
}

pub(crate) fn member_joins_stable_group() -> World {
    let mut world = World::stable(&["a"]);
    world.join("b");
    world.beat("a");
    world.rejoin("a");
    world.sync("b", &[]);
    world.sync("a", &[("a", "half"), ("b", "half")]);
    world
}

pub(crate) fn member_falls_silent() -> World {
    let mut world = World::stable(&["a", "b"]);
    world.pass(9000);
    world.beat("a");
    world.pass(1000);
    world.beat("a");
    world.rejoin("a");
    world.beat("b");
    world.sync("a", &[("a", "all")]);
    world
}

pub(crate) fn slow_member_is_left_behind() -> World {
    let mut world = World::stable(&["a", "b"]);
    world.join("c");
    for _ in 0..7 {
        world.pass(8000);
        world.beat("a");
        world.beat("b");
    }
    world.rejoin("b");
    world.pass(4000);
    world.beat("a");
    world
}

pub(crate) fn leader_falls_silent_before_syncing() -> World {
    let mut world = World::stable(&["a", "b"]);
    world.rejoin("a");
    world.rejoin("b");
    world.sync("b", &[]);
    for _ in 0..7 {
        world.pass(9000);
        world.beat("a");
    }
    world
}

pub(crate) fn assignment_is_lost() -> World {
    let mut world = World::stable(&["a", "b"]);
    world.auto = false;
    for why in [AppendError::NotAvailable, AppendError::NotCoordinator, AppendError::TooLarge] {
        world.rejoin("a");
        world.rejoin("b");
        world.sync("b", &[]);
        world.sync("a", &[("a", "new a"), ("b", "new b")]);
        world.settle(Err(why));
    }
    world
}

pub(crate) fn assignment_is_overtaken() -> World {
    let mut world = World::stable(&["a"]);
    world.auto = false;
    world.rejoin("a");
    world.sync("a", &[("a", "old")]);
    world.join("b");
    world.settle(Ok(()));
    world.rejoin("a");
    world.sync("a", &[("a", "new")]);
    world.sync("a", &[("a", "newer")]);
    world.settle(Ok(()));
    world
}

pub(crate) fn everybody_leaves() -> World {
    let mut world = World::stable(&["a", "b"]);
    world.leave("a");
    world.leave("b");
    world.leave("b");
    world.commit("admin", stand_alone(), 5);
    world.send("topic goes", Command::TopicDeleted { topic: "t".into() });
    world.describe();
    world.pass(600_000);
    world.describe();
    world.leave("b");
    world
}

pub(crate) fn leader_joins_again() -> World {
    let mut world = World::stable(&["a", "b"]);
    world.rejoin("b");
    world.rejoin("a");
    world.rejoin("a");
    world.rejoin("b");
    world
}

pub(crate) fn answers_were_lost() -> World {
    let mut world = World::stable(&["a", "b"]);
    world.sync("b", &[]);
    world.rejoin("a");
    world.rejoin("b");
    world.rejoin("a");
    world.sync("b", &[]);
    world.sync("b", &[]);
    let changed = vec![("range".into(), Bytes::from_static(b"other topics"))];
    let again = Join { protocols: changed, ..join("a", &world.member("a")) };
    world.send("a joins", Command::Join(again));
    world
}

pub(crate) fn joins_that_cannot_be() -> World {
    let mut world = World::stable(&["a"]);
    let good = join("x", "");
    let bad = [
        ("no group", Join { group: String::new(), ..good.clone() }),
        ("short session", Join { session_timeout: Duration::from_secs(5), ..good.clone() }),
        ("long session", Join { session_timeout: Duration::from_secs(1801), ..good.clone() }),
        ("unknown group", Join { group: "other".into(), member: "x-1".into(), ..good.clone() }),
        ("unknown member", Join { member: "x-1".into(), ..good.clone() }),
        ("other type", Join { protocol_type: "connect".into(), ..good.clone() }),
        (
            "other protocol",
            Join { protocols: vec![("sticky".into(), Bytes::new())], ..good.clone() },
        ),
        ("no protocol", Join { group: "new".into(), protocols: Vec::new(), ..good }),
    ];
    for (label, join) in bad {
        world.send(label, Command::Join(join));
    }
    let who = world.who("a");
    let old = MemberOf { generation: who.generation - 1, ..who.clone() };
    world.send("old beat", Command::Heartbeat(old));
    world.send(
        "beat nowhere",
        Command::Heartbeat(MemberOf { group: "other".into(), ..who.clone() }),
    );
    let sync = Sync { who: who.clone(), ..Sync::default() };
    let other = Sync { protocol: Some("sticky".into()), ..sync.clone() };
    world.send("other sync", Command::Sync(other));
    let other = Sync { protocol_type: Some("connect".into()), ..sync };
    world.send("other sync", Command::Sync(other));
    let nowhere = MemberOf { group: String::new(), ..who };
    world.send("sync nowhere", Command::Sync(Sync { who: nowhere, ..Sync::default() }));
    world.send("leave nowhere", Command::Leave { group: String::new(), members: Vec::new() });
    world.send("list", Command::List);
    world
}

pub(crate) fn crash_between_generations() -> World {
    let mut world = World::stable(&["a", "b"]);
    world.commit("a", world.who("a"), 7);
    world.crash();
    world.describe();
    world.beat("a");
    world.sync("b", &[]);
    world.fetch();
    world.pass(9000);
    world.beat("a");
    world.pass(1000);
    world.beat("a");
    world.beat("b");
    world
}

fn static_join(client: &str, instance: &str) -> Command {
    Command::Join(Join { instance: Some(instance.into()), ..join(client, "") })
}

fn stable_static() -> World {
    let mut world = World::new();
    world.send("a joins", static_join("a", "one"));
    world.send("b joins", static_join("b", "two"));
    world.pass(6000);
    world.sync("b", &[]);
    world.sync("a", &[("a", "for one"), ("b", "for two")]);
    world.trace.clear();
    world
}

pub(crate) fn static_member_restarts() -> World {
    let mut world = stable_static();
    let old = MemberOf { instance: Some("two".into()), ..world.who("b") };
    world.auto = false;
    world.send("b joins", static_join("b", "two"));
    world.beat("a");
    world.settle(Err(AppendError::NotAvailable));
    world.send("old beats", Command::Heartbeat(old.clone()));
    world.auto = true;
    world.send("b joins", static_join("b", "two"));
    world.send("old beats", Command::Heartbeat(old));
    world.sync("b", &[]);
    world.send("a joins", static_join("a", "one"));
    let old_client = Join { skip_assignment: false, instance: Some("one".into()), ..join("a", "") };
    world.send("a joins", Command::Join(old_client));
    let removed = Leaving { member: String::new(), instance: Some("two".into()) };
    let unknown = Leaving { member: String::new(), instance: Some("three".into()) };
    let members = vec![removed, unknown];
    world.send("admin", Command::Leave { group: GROUP.into(), members });
    world
}

pub(crate) fn static_members_restart_together() -> World {
    let mut world = stable_static();
    world.auto = false;
    world.send("a joins", static_join("a", "one"));
    world.send("b joins", static_join("b", "two"));
    world.settle(Ok(()));
    world.settle(Ok(()));
    world.sync("a", &[]);
    world.sync("b", &[]);
    world.send("b joins", static_join("b", "two"));
    world.join("c");
    world.settle(Ok(()));
    world.send("a joins", static_join("a", "one"));
    world
}

pub(crate) fn static_member_restarts_in_a_rebalance() -> World {
    let mut world = stable_static();
    world.join("c");
    world.send("b joins", static_join("b", "two"));
    world.send("b joins", static_join("b", "two"));
    world.send("a joins", static_join("a", "one"));
    world.sync("c", &[]);
    world.send("c' joins", static_join("c", "two"));
    world
}

pub(crate) fn static_leader_does_not_join() -> World {
    let mut world = stable_static();
    world.join("c");
    for _ in 0..7 {
        world.pass(9000);
        world.beat("a");
        world.beat("b");
    }
    world
}

pub(crate) fn static_members_are_all_away() -> World {
    let mut world = World::new();
    let long = |client: &str, instance: &str| Join {
        instance: Some(instance.into()),
        session_timeout: Duration::from_secs(300),
        rebalance_timeout: Duration::from_secs(20),
        ..join(client, "")
    };
    world.send("a joins", Command::Join(long("a", "one")));
    world.send("b joins", Command::Join(long("b", "two")));
    world.pass(6000);
    world.sync("b", &[]);
    world.sync("a", &[("a", "for one"), ("b", "for two")]);
    world.trace.clear();
    world.join("c");
    let member = "c-00000000-0000-0000-0000-000000000005".into();
    let members = vec![Leaving { member, instance: None }];
    world.send("c leaves", Command::Leave { group: GROUP.into(), members });
    world.pass(20_000);
    world.describe();
    world.pass(200_000);
    world.auto = false;
    world.pass(80_000);
    world.settle(Err(AppendError::NotAvailable));
    world.pass(1000);
    world.settle(Ok(()));
    world.describe();
    world
}

pub(crate) fn commits_in_every_state() -> World {
    let mut world = World::new();
    world.commit("admin", stand_alone(), 1);
    world.send("list", Command::List);
    world.describe();
    world.join("a");
    world.commit("admin", stand_alone(), 2);
    world.pass(3000);
    world.commit("a", world.who("a"), 3);
    world.sync("a", &[("a", "all")]);
    world.commit("a", world.who("a"), 4);
    world.commit("admin", stand_alone(), 5);
    world.join("b");
    world.commit("a", world.who("a"), 6);
    world.rejoin("a");
    let old = MemberOf { generation: 1, ..world.who("a") };
    world.commit("old", old, 7);
    world.fetch();
    world
}

pub(crate) fn commits_that_cannot_be() -> World {
    let mut world = World::new();
    let member = MemberOf { member: "x".into(), generation: 3, ..stand_alone() };
    world.commit("new client", member.clone(), 1);
    let old = Commit { group_must_exist: false, ..commit(member.clone(), 1) };
    world.send("old client", Command::Commit(old));
    let mut two = commit(stand_alone(), 1);
    two.offsets.push(CommitOffset { metadata: "x".repeat(4097), ..two.offsets[0].clone() });
    two.offsets[1].partition = 1;
    world.send("long note", Command::Commit(two.clone()));
    two.offsets.remove(0);
    world.send("only long note", Command::Commit(two));
    world.commit("member of a group without members", member, 2);
    let huge = CommitOffset { topic: "t".repeat(40_000), ..CommitOffset::default() };
    let huge = Commit { offsets: vec![huge], ..commit(stand_alone(), 1) };
    world.send("huge name", Command::Commit(huge));
    let which = vec![("t".into(), 0), ("t".into(), 1), ("u".into(), 0)];
    let command = Command::Offsets { group: GROUP.into(), partitions: Some(which) };
    world.send("fetch", command);
    let command =
        Command::Offsets { group: "other".into(), partitions: Some(vec![("t".into(), 0)]) };
    world.send("fetch of nothing", command);
    world.send("describe nothing", Command::Describe { group: "other".into() });
    world
}

pub(crate) fn commit_is_lost() -> World {
    let mut world = World::new();
    world.auto = false;
    world.commit("admin", stand_alone(), 1);
    world.commit("admin", stand_alone(), 2);
    world.commit("admin", stand_alone(), 3);
    world.settle(Ok(()));
    world.fetch();
    world.settle(Err(AppendError::NotAvailable));
    world.fetch();
    world.commit("admin", stand_alone(), 4);
    world.settle(Err(AppendError::NotCoordinator));
    world.commit("admin", stand_alone(), 5);
    world.settle(Err(AppendError::TooLarge));
    world.fetch();
    world
}

/// What is too large together is tried one by one, in order, and what is too large by itself is refused.
pub(crate) fn commits_too_large_together() -> World {
    let mut world = World::new();
    world.auto = false;
    for offset in 1..5 {
        world.commit("admin", stand_alone(), offset);
    }
    world.settle(Ok(()));
    world.commit("admin", stand_alone(), 5);
    world.settle(Err(AppendError::TooLarge));
    world.settle(Ok(()));
    world.settle(Err(AppendError::TooLarge));
    world.settle(Ok(()));
    world.settle(Ok(()));
    world.fetch();
    world
}

/// The limit is the one of the moment: of a commit, and of what is packed together.
pub(crate) fn limit_of_batches_changes() -> World {
    let mut world = World::new();
    world.auto = false;
    for offset in 1..6 {
        world.commit("admin", stand_alone(), offset);
    }
    // Room for one of them.
    world.shard.limit_batches(140);
    world.settle(Ok(()));
    world.settle(Ok(()));
    // For two.
    world.shard.limit_batches(260);
    world.settle(Ok(()));
    // For none.
    world.shard.limit_batches(100);
    world.commit("admin", stand_alone(), 6);
    world.settle(Ok(()));
    world
}

pub(crate) fn topic_is_deleted() -> World {
    let mut world = World::new();
    world.commit("admin", stand_alone(), 1);
    let elsewhere = MemberOf { group: "h".into(), ..stand_alone() };
    world.auto = false;
    world.commit("elsewhere", elsewhere, 2);
    world.send("topic goes", Command::TopicDeleted { topic: "t".into() });
    world.settle(Ok(()));
    world.settle(Ok(()));
    world.fetch();
    world.send("list", Command::List);
    world.send("topic goes", Command::TopicDeleted { topic: "t".into() });
    world
}

pub(crate) fn loading_and_resigned() -> World {
    let mut world = World::stable(&["a"]);
    let log = world.log.clone();
    world.shard = Shard::new(world.settings.clone(), world.watch.clone());
    world.log.clear();
    world.beat("a");
    world.sync("a", &[]);
    world.send("list", Command::List);
    let other = Bytes::from_static(&[0, 3, 0, 1, b'g']);
    world.shard.replay(&other, None).unwrap();
    for (key, value) in &log {
        world.shard.replay(key, value.as_ref()).unwrap();
    }
    world.log = log;
    world.shard.loaded(base::Instant(0));
    world.beat("a");
    world.auto = false;
    world.join("b");
    world.commit("a", world.who("a"), 1);
    world.resign();
    world.beat("a");
    world
}

pub(crate) fn too_much() -> World {
    let settings = Settings {
        group_size_max: 2,
        groups_max: 2,
        pending_members_max: 1,
        waiting_requests_max: 4,
        batch_bytes_max: 461,
        ..Settings::default()
    };
    let mut world = World::with(settings, Watch::new(""));
    world.join("a");
    world.join("b");
    world.pass(6000);
    world.join("c");
    world.sync("b", &[]);
    let large = Sync {
        who: world.who("a"),
        protocol_type: None,
        protocol: None,
        assignments: vec![(world.member("a"), Bytes::from(vec![b'x'; 500]))],
    };
    world.send("a syncs", Command::Sync(large));
    world.join("c");
    world.rejoin("a");
    let pending = Join { member_id_required: true, group: "h".into(), ..join("d", "") };
    world.send("d joins", Command::Join(pending.clone()));
    world.send("e joins", Command::Join(pending.clone()));
    let third = Join { group: "i".into(), ..pending };
    world.send("f joins", Command::Join(third));
    let third = MemberOf { group: "i".into(), ..stand_alone() };
    world.commit("third", third, 1);
    world.auto = false;
    for offset in 1..6 {
        let who = MemberOf { group: "h".into(), ..stand_alone() };
        world.commit("many", who, offset);
    }
    world
}
