//! What keeps a member, what ends its time, and which protocol a group takes.

use base::Duration;
use bytes::Bytes;
use coordinator::*;

use crate::traces::check;
use crate::world::{World, join, subscription};

/// A first join waits for a leader that never syncs: the newcomer's client may be long gone.
fn newcomer_waits_too_long() -> World {
    let mut world = World::new();
    let patient = |client: &str, instance: Option<&str>| Join {
        session_timeout: Duration::from_secs(1800),
        rebalance_timeout: Duration::from_secs(1200),
        instance: instance.map(str::to_owned),
        ..join(client, "")
    };
    world.send("a joins", Command::Join(patient("a", Some("one"))));
    world.pass(3000);
    world.sync("a", &[("a", "all")]);
    world.send("b joins", Command::Join(patient("b", None)));
    world.pass(299_000);
    world.describe();
    world.pass(1_000);
    world.describe();
    world
}

/// Whoever commits is alive, though it sends no heartbeat.
fn commits_are_signs_of_life() -> World {
    let mut world = World::stable(&["a"]);
    for offset in 1..4 {
        world.pass(9_000);
        world.commit("a", world.who("a"), offset);
    }
    world.describe();
    world.pass(10_000);
    world.describe();
    world
}

/// Members move from an eager to a cooperative assignor one by one, as Kafka's guide says: first both
/// are offered, then the eager one no more.
fn assignors_change_one_by_one() -> World {
    let eager = || ("range".to_owned(), subscription(&["t"]));
    let cooperative = || ("cooperative-sticky".to_owned(), subscription(&["t", "owned"]));
    let offering = |client: &str, member: &str, protocols: Vec<(String, Bytes)>| {
        Command::Join(Join { protocols, ..join(client, member) })
    };
    let mut world = World::new();
    world.send("a joins", offering("a", "", vec![eager()]));
    world.send("b joins", offering("b", "", vec![eager()]));
    world.pass(6_000);
    let both = || vec![cooperative(), eager()];
    let (a, b) = (world.member("a"), world.member("b"));
    world.send("a joins", offering("a", &a, both()));
    world.send("b joins", offering("b", &b, vec![eager()]));
    world.send("b joins", offering("b", &b, both()));
    world.send("a joins", offering("a", &a, both()));
    world.send("a joins", offering("a", &a, vec![cooperative()]));
    world.send("b joins", offering("b", &b, both()));
    // Who knows only the old one comes too late.
    world.send("c joins", offering("c", "", vec![eager()]));
    world
}

#[test]
fn a_first_join_waits_five_minutes_and_no_longer() {
    check(newcomer_waits_too_long, "newcomer_waits_too_long");
}

#[test]
fn a_commit_keeps_its_member_alive() {
    check(commits_are_signs_of_life, "commits_are_signs_of_life");
}

#[test]
fn a_group_takes_the_cooperative_protocol_once_every_member_offers_it() {
    check(assignors_change_one_by_one, "assignors_change_one_by_one");
}
