//! Groups and offsets that are deleted, and those that expire: scripts and their traces.

use base::Duration;
use bytes::Bytes;
use coordinator::*;

use crate::log::Watch;
use crate::traces::check;
use crate::world::{GROUP, World, commit, commit_all, join, stand_alone, subscription};

/// Every script, so that all of them together can be asked what they reached.
pub(crate) const ALL: &[fn() -> World] = &[
    group_is_deleted,
    group_is_deleted_twice_at_once,
    deletion_is_lost,
    deletion_in_parts,
    joined_while_being_deleted,
    pending_member_of_a_deleted_group,
    offsets_are_deleted,
    offsets_of_another_type_are_deleted,
    simple_groups_expire,
    unread_offsets_of_a_stable_group_expire,
    offsets_of_an_emptied_group_expire,
    offsets_of_unknown_subscriptions_stay,
    expiry_is_lost,
];

const MINUTE: u64 = 60_000;

fn another(group: &str) -> MemberOf {
    MemberOf { group: group.into(), ..stand_alone() }
}

/// Half an hour of retention, looked after every ten minutes.
fn expiring() -> World {
    let settings = Settings { offsets_retention: Duration::from_secs(1800), ..Settings::default() };
    World::with(settings, Watch::new(""))
}

/// A stable group of one patient member with this metadata.
fn reader(world: &mut World, protocol_type: &str, metadata: Bytes) {
    let session = Duration::from_secs(1800);
    let patient = Join {
        session_timeout: session,
        protocol_type: protocol_type.into(),
        protocols: vec![("range".into(), metadata)],
        ..join("a", "")
    };
    world.send("a joins", Command::Join(patient));
    world.pass(3000);
    world.sync("a", &[("a", "all")]);
    world.trace.clear();
}

fn group_is_deleted() -> World {
    let mut world = World::stable(&["a"]);
    world.commit("a", world.who("a"), 7);
    world.delete("delete");
    world.leave("a");
    world.delete("delete");
    world.describe();
    world.fetch();
    world.delete("delete");
    world.crash();
    world.describe();
    world.fetch();
    world.commit("admin", stand_alone(), 3);
    world.delete("delete");
    world.send("list", Command::List);
    world
}

fn group_is_deleted_twice_at_once() -> World {
    let mut world = World::new();
    world.auto = false;
    world.commit("admin", stand_alone(), 1);
    world.delete("one deletes");
    world.commit("admin", stand_alone(), 2);
    world.settle(Ok(()));
    world.delete("other deletes");
    world.commit("admin", stand_alone(), 3);
    world.settle(Ok(()));
    world.settle(Ok(()));
    world.fetch();
    world
}

fn deletion_is_lost() -> World {
    let mut world = World::stable(&["a"]);
    world.commit("a", world.who("a"), 7);
    world.leave("a");
    world.auto = false;
    for why in [AppendError::NotAvailable, AppendError::NotCoordinator, AppendError::TooLarge] {
        world.delete("delete");
        world.settle(Err(why));
        world.delete_offsets("delete t", GROUP, &["t"]);
        world.settle(Err(why));
    }
    world.describe();
    world.fetch();
    world
}

fn deletion_in_parts() -> World {
    let settings = Settings { append_records_max: 2, ..Settings::default() };
    let mut world = World::with(settings, Watch::new(""));
    for topics in [["t", "u"], ["v", "w"]] {
        world.send("admin commits", Command::Commit(commit_all(stand_alone(), &topics, 1)));
    }
    world.auto = false;
    world.trace.clear();
    world.delete("delete");
    world.settle(Ok(()));
    world.settle(Err(AppendError::NotAvailable));
    world.settle(Ok(()));
    world.fetch();
    world.delete("delete");
    world.settle(Ok(()));
    world.settle(Ok(()));
    world.fetch();
    world
}

fn joined_while_being_deleted() -> World {
    let mut world = World::stable(&["a"]);
    world.commit("a", world.who("a"), 7);
    world.leave("a");
    world.auto = false;
    world.delete("delete");
    world.join("b");
    world.settle(Ok(()));
    world.pass(3000);
    world.sync("b", &[("b", "all")]);
    world.settle(Ok(()));
    world.describe();
    world.fetch();
    world.crash();
    world.beat("b");
    world
}

fn pending_member_of_a_deleted_group() -> World {
    let mut world = World::new();
    let first = Join { member_id_required: true, ..join("a", "") };
    world.send("a joins", Command::Join(first));
    world.delete("delete");
    world.rejoin("a");
    world.delete("delete");
    world
}

fn offsets_are_deleted() -> World {
    let mut world = World::new();
    reader(&mut world, "consumer", subscription(&["t"]));
    let who = world.who("a");
    world.send("a commits", Command::Commit(commit_all(who, &["t", "u"], 1)));
    world.delete_offsets("delete", GROUP, &["t", "u", "v"]);
    world.fetch();
    world.delete_offsets("delete", GROUP, &["u"]);
    world.delete_offsets("no group", "", &["t"]);
    world.delete_offsets("unknown group", "other", &["t"]);
    world.leave("a");
    world.delete_offsets("delete", GROUP, &["t", "t"]);
    world.crash();
    world.fetch();
    world
}

fn offsets_of_another_type_are_deleted() -> World {
    let mut world = World::new();
    reader(&mut world, "connect", subscription(&["t"]));
    world.commit("a", world.who("a"), 1);
    world.delete_offsets("delete", GROUP, &["t"]);
    world.leave("a");
    world.delete_offsets("delete", GROUP, &["t"]);
    world
}

fn simple_groups_expire() -> World {
    let mut world = expiring();
    let brief = Commit { retention: Some(Duration::from_secs(60)), ..commit(another("brief"), 1) };
    let long = Commit { retention: Some(Duration::from_secs(3600)), ..commit(another("long"), 1) };
    world.send("brief", Command::Commit(brief));
    world.send("long", Command::Commit(long));
    world.commit("admin", stand_alone(), 1);
    world.pass(9 * MINUTE);
    let later = commit_all(stand_alone(), &["u"], 2);
    world.send("admin commits", Command::Commit(later));
    for _ in 0..6 {
        world.pass(10 * MINUTE);
    }
    world.send("list", Command::List);
    world
}

fn unread_offsets_of_a_stable_group_expire() -> World {
    let mut world = expiring();
    reader(&mut world, "consumer", subscription(&["t"]));
    let who = world.who("a");
    world.send("a commits", Command::Commit(commit_all(who, &["t", "u"], 1)));
    world.pass(20 * MINUTE);
    world.beat("a");
    world.pass(20 * MINUTE);
    world.fetch();
    world
}

fn offsets_of_an_emptied_group_expire() -> World {
    let mut world = expiring();
    reader(&mut world, "consumer", subscription(&["t"]));
    world.commit("a", world.who("a"), 1);
    world.pass(25 * MINUTE);
    world.leave("a");
    world.pass(20 * MINUTE);
    world.fetch();
    world.crash();
    world.pass(5 * MINUTE);
    // Committed by an administrator: it goes with the others.
    world.send("admin commits", Command::Commit(commit_all(stand_alone(), &["u"], 1)));
    world.pass(10 * MINUTE);
    world.describe();
    world
}

fn offsets_of_unknown_subscriptions_stay() -> World {
    let mut world = expiring();
    reader(&mut world, "consumer", Bytes::from_static(b"topics"));
    world.commit("a", world.who("a"), 1);
    world.pass(20 * MINUTE);
    world.beat("a");
    world.pass(20 * MINUTE);
    world.fetch();
    world.delete_offsets("delete", GROUP, &["u"]);
    world
}

fn expiry_is_lost() -> World {
    let mut world = expiring();
    world.commit("admin", stand_alone(), 1);
    world.auto = false;
    world.pass(35 * MINUTE);
    // What is under way is not proposed twice.
    world.pass(10 * MINUTE);
    world.settle(Err(AppendError::NotAvailable));
    world.pass(10 * MINUTE);
    world.settle(Ok(()));
    world.describe();
    world
}

#[test]
fn a_group_is_deleted_with_its_offsets_once_it_has_no_members_and_stays_so() {
    check(group_is_deleted, "group_is_deleted");
}

#[test]
fn who_deletes_what_is_just_being_deleted_waits_for_the_log_too() {
    check(group_is_deleted_twice_at_once, "group_is_deleted_twice_at_once");
}

#[test]
fn a_deletion_the_log_did_not_take_is_none() {
    check(deletion_is_lost, "deletion_is_lost");
}

#[test]
fn a_deletion_of_many_offsets_has_failed_if_a_part_of_it_has() {
    check(deletion_in_parts, "deletion_in_parts");
}

#[test]
fn who_joins_a_group_that_is_being_deleted_is_a_member() {
    check(joined_while_being_deleted, "joined_while_being_deleted");
}

#[test]
fn an_id_of_a_deleted_group_is_unknown() {
    check(pending_member_of_a_deleted_group, "pending_member_of_a_deleted_group");
}

#[test]
fn offsets_are_deleted_but_for_those_of_topics_that_members_read() {
    check(offsets_are_deleted, "offsets_are_deleted");
}

#[test]
fn offsets_of_a_group_that_is_not_of_consumers_are_deleted_once_it_has_no_members() {
    check(offsets_of_another_type_are_deleted, "offsets_of_another_type_are_deleted");
}

#[test]
fn an_offset_of_a_simple_group_expires_by_its_commit_or_as_its_client_said() {
    check(simple_groups_expire, "simple_groups_expire");
}

#[test]
fn while_a_group_has_members_only_offsets_that_nobody_reads_expire() {
    check(unread_offsets_of_a_stable_group_expire, "unread_offsets_of_a_stable_group_expire");
}

#[test]
fn offsets_of_an_emptied_group_expire_together_by_when_it_was_emptied_even_after_a_crash() {
    check(offsets_of_an_emptied_group_expire, "offsets_of_an_emptied_group_expire");
}

#[test]
fn an_offset_stays_while_nobody_knows_what_the_members_read() {
    check(offsets_of_unknown_subscriptions_stay, "offsets_of_unknown_subscriptions_stay");
}

#[test]
fn what_could_not_be_expired_is_found_again_by_the_next_look() {
    check(expiry_is_lost, "expiry_is_lost");
}

/// Both mutants are seen here, so that a campaign that misses them tells of its workload.
#[test]
fn planted_deletions_are_found_out() {
    let mut world = World::with(Settings::default(), Watch::new("delete_ignores_members"));
    world.join("a");
    world.delete("delete");
    assert_eq!(world.reply("delete"), Some(&Reply::Delete(Ok(()))));

    let mut world = World::with(Settings::default(), Watch::new("group_deletion_not_durable"));
    world.commit("admin", stand_alone(), 1);
    let log = world.log.clone();
    let mut out = Vec::new();
    let event = Event::Request {
        id: RequestId(99),
        command: Command::Delete { group: GROUP.into() },
        fresh: base::Uuid::ZERO,
    };
    world.shard.step(base::Instant(0), base::Timestamp(0), event, &mut out);
    assert_eq!(out, [Action::Reply { id: RequestId(99), reply: Reply::Delete(Ok(())) }]);
    let mut reloaded = Shard::new(world.settings.clone(), world.watch.clone());
    for (key, value) in &log {
        reloaded.replay(key, value.as_ref()).unwrap();
    }
    assert_ne!(reloaded.durable(), world.shard.durable());
}
