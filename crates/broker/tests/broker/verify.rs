//! What `verify` tells of a directory is what the start that follows does with it.

use std::path::{Path, PathBuf};

use base::BrokerId;
use broker::verify::{Conclusion, Verified, VerifyError, verify};
use broker::{Broker, BrokerConfig};
use env_tokio::TokioEnv;
use storage::{DirOptions, Expect, LogConfig, LogDir, StartInfo};

use crate::world::{World, batch, numbered, produce, topic, values};

/// Places of one file that are damaged, beside its ends.
const PLACES: usize = 6;

/// All files of `dir`, named from it.
fn snapshot(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    fn walk(root: &Path, dir: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let bytes = std::fs::read(&path).expect("a file");
                found.push((path.strip_prefix(root).expect("below").to_owned(), bytes));
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found);
    found.sort();
    found
}

fn lay_out(dir: &Path, content: &[(PathBuf, Vec<u8>)]) {
    drop(std::fs::remove_dir_all(dir));
    for (name, bytes) in content {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }
}

/// What a start knows, without what is made up for it.
fn known(start: &StartInfo) -> impl PartialEq + std::fmt::Debug + use<> {
    let StartInfo { class, cluster_id, dir_id, unknown, missing, .. } = start.clone();
    let counts = (start.deletions_finished, start.journal_damaged);
    (class, cluster_id, dir_id, unknown, missing, counts)
}

/// Holds what was told of `dir` against a start; returns whether that start was refused as a whole.
async fn agrees(env: &TokioEnv, dir: &Path, told: &Result<Verified, VerifyError>) -> bool {
    let expect = Expect { cluster_id: None, node_id: BrokerId(1) };
    let opened = LogDir::open(env, dir, expect, DirOptions::default()).await;
    let (told, (opened, start)) = match (told, opened) {
        (Ok(told), Ok(opened)) => (told, opened),
        (Err(told), Err(refused)) => {
            assert_eq!(told.to_string(), refused.to_string());
            return true;
        },
        (told, opened) => panic!("told {told:?}, and the start came to {opened:?}"),
    };
    assert_eq!(known(&told.start), known(&start));
    let found: Vec<_> = told.logs.iter().map(|log| (log.partition, log.replica_gen)).collect();
    let there: Vec<_> = opened.logs().iter().map(|l| (l.partition, l.replica_gen)).collect();
    assert_eq!(found, there);
    for log in &told.logs {
        let opened = opened.open_log(log.partition, log.replica_gen, LogConfig::default()).await;
        match (&log.outcome, opened) {
            (Ok(told), Ok((log, recovery))) => {
                assert_eq!((&told.recovery, told.log_start), (&recovery, log.start()));
                assert_eq!((told.log_end, told.bytes), (log.end(), log.size_bytes()));
            },
            (Err(told), Err(refused)) => assert_eq!(*told, refused.to_string()),
            (told, opened) => panic!("told {told:?}, and opening came to {opened:?}"),
        }
    }
    false
}

/// A directory with a few logs, closed or as a kill just before the seal leaves it, and what it holds.
async fn filled(world: &World, sealed: bool) -> (Vec<(PathBuf, Vec<u8>)>, Vec<(i64, String)>) {
    let config = BrokerConfig { journal_file_bytes: 65_536, ..world.config() };
    let broker = Broker::start(world.env(), config).await.expect("starts");
    let t = topic(&broker, "t", &[("gregor.durability", "fsync")]).await;
    topic(&broker, "empty", &[]).await;
    for sequence in 0..6 {
        let value = format!("value {sequence}");
        produce(&broker, t, numbered(1, 0, sequence, &[&value])).await.expect("durable");
    }
    let u = topic(&broker, "u", &[]).await;
    produce(&broker, u, batch(&["x", "y"])).await.expect("written");
    let all = values(&broker, t, 0).await;
    broker.stop().await;
    let mut left = snapshot(&world.dir);
    left.retain(|(path, _)| sealed || !path.ends_with("seal"));
    (left, all)
}

async fn holds(world: &World, all: &[(i64, String)]) {
    let broker = world.start().await;
    let id = broker.cluster().topics["t"].id;
    assert_eq!(values(&broker, crate::world::first(id), 0).await, all, "nothing may be lost");
    broker.stop().await;
}

/// Damages each file at a few places, one at a time.
async fn flip_everywhere(world: &World, sealed: bool) -> Vec<Conclusion> {
    let (whole, all) = filled(world, sealed).await;
    let env = world.env();
    lay_out(&world.dir, &whole);
    let told = verify(&env, &world.dir, true).await.expect("sound");
    let expected = if sealed { Conclusion::Clean } else { Conclusion::Recovers };
    assert_eq!(told.conclusion(), expected, "{told:?}");
    let mut seen = vec![expected];
    for file in 0..whole.len() {
        let len = whole[file].1.len();
        let mut places: Vec<usize> = (0..=PLACES).map(|n| n * len / (PLACES + 1)).collect();
        places.push(len.saturating_sub(1));
        places.retain(|at| *at < len);
        places.dedup();
        for at in places {
            let mut damaged = whole.clone();
            damaged[file].1[at] ^= 0x10;
            let place = format!("{} at {at}", damaged[file].0.display());
            lay_out(&world.dir, &damaged);

            let told = verify(&env, &world.dir, true).await;

            assert_eq!(snapshot(&world.dir), damaged, "{place}: verify changes nothing");
            let mut refused = agrees(&env, &world.dir, &told).await;
            let conclusion = told.as_ref().map_or(Conclusion::Refused, Verified::conclusion);
            refused |= conclusion == Conclusion::Refused;
            lay_out(&world.dir, &damaged);
            if refused {
                assert!(Broker::start(env.clone(), world.config()).await.is_err(), "{place}");
            } else if conclusion <= Conclusion::Recovers {
                holds(world, &all).await;
            } else {
                world.start().await.stop().await;
            }
            assert!(sealed || conclusion > Conclusion::Clean, "{place}: nobody closed it");
            seen.push(conclusion);
        }
    }
    seen.sort_unstable();
    seen.dedup();
    seen
}

#[test]
fn a_changed_byte_anywhere_in_a_closed_directory_is_told_as_the_next_start_finds_it() {
    let world = World::new("verify-sealed");
    let seen = world.runtime.block_on(flip_everywhere(&world, true));
    let every = [Conclusion::Clean, Conclusion::Recovers, Conclusion::Damaged, Conclusion::Refused];
    assert_eq!(seen, every, "the places tell all kinds apart");
}

#[test]
fn a_changed_byte_anywhere_in_what_a_kill_left_is_told_as_the_next_start_finds_it() {
    let world = World::new("verify-killed");
    let seen = world.runtime.block_on(flip_everywhere(&world, false));
    assert!(seen.contains(&Conclusion::Damaged) && seen.contains(&Conclusion::Refused), "{seen:?}");
}

#[test]
fn a_torn_end_is_told_and_no_damage_and_a_stray_log_is_told_to_go() {
    let world = World::new("verify-torn");
    world.runtime.block_on(async {
        let (mut left, _) = filled(&world, false).await;
        let log = left.iter_mut().rev().find(|(path, bytes)| {
            path.extension().is_some_and(|ending| ending == "log") && !bytes.is_empty()
        });
        log.expect("a segment").1.extend_from_slice(&[0; 20]);
        lay_out(&world.dir, &left);

        let told = verify(&world.env(), &world.dir, false).await.expect("readable");

        assert_eq!(told.conclusion(), Conclusion::Recovers, "{told:?}");
        let cuts = told.logs.iter().filter_map(|log| log.outcome.as_ref().ok()?.recovery.cut);
        assert_eq!(cuts.map(|cut| (cut.bytes, cut.torn)).collect::<Vec<_>>(), [(20, true)]);
        assert!(told.logs.iter().all(|log| !log.is_stray && log.topic.is_some()));
        assert!(!agrees(&world.env(), &world.dir, &Ok(told)).await);
    });
}

#[test]
fn a_directory_in_use_is_refused_and_one_of_something_else_is_told() {
    let world = World::new("verify-used");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let told = verify(&world.env(), &world.dir, false).await;
        assert!(matches!(&told, Err(VerifyError::Refused(_))), "{told:?}");
        assert!(told.is_err_and(|error| error.to_string().contains("in use")));
        broker.stop().await;
        drop(broker);

        let elsewhere = world.dir.join("metadata");
        let told = verify(&world.env(), &elsewhere, false).await;
        assert!(matches!(told, Err(VerifyError::NotOurs(_))), "{told:?}");
    });
}
