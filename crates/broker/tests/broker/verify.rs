//! What `verify` tells of a node's directories is what the start that follows does with them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base::BrokerId;
use broker::verify::{Asked, Conclusion, Verified, VerifyError, verify};
use broker::{Broker, BrokerConfig};
use env_tokio::TokioEnv;
use storage::{DirOptions, Expect, LogConfig, LogDir, StartInfo};

use crate::shaky::Shaky;
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
    let counts = (start.deletions_finished, start.journal_damaged, start.unmade.clone());
    (class, cluster_id, dir_id, unknown, missing, counts)
}

/// Holds what was told of each directory against what a start finds in it.
async fn agrees(env: &TokioEnv, told: &Verified) {
    for told in &told.dirs {
        let expect = Expect { cluster_id: None, node_id: BrokerId(1) };
        let opened = LogDir::open(env, &told.path, expect, DirOptions::default()).await;
        let (opened, start) = opened.expect("it was told to be usable");
        let told = told.contents.as_ref().expect("usable");
        assert_eq!(known(&told.start), known(&start));
        let found: Vec<_> = told.logs.iter().map(|log| (log.partition, log.replica_gen)).collect();
        let there: Vec<_> = opened.logs().iter().map(|l| (l.partition, l.replica_gen)).collect();
        assert_eq!(found, there);
        for log in &told.logs {
            let config = LogConfig::default();
            let opened = opened.open_log(log.partition, log.replica_gen, config).await;
            match (&log.outcome, opened) {
                (Ok(told), Ok((log, recovery))) => {
                    assert_eq!((&told.recovery, told.log_start), (&recovery, log.start()));
                    assert_eq!((told.log_end, told.bytes), (log.end(), log.size_bytes()));
                },
                (Err(told), Err(refused)) => assert_eq!(told.why, refused.to_string()),
                (told, opened) => panic!("told {told:?}, and opening came to {opened:?}"),
            }
        }
    }
}

/// With which words a start is told to be refused; any of them, if there are several.
fn refusals(told: &Result<Verified, VerifyError>) -> BTreeSet<String> {
    match told {
        Err(refused) => BTreeSet::from([refused.to_string()]),
        Ok(Verified { refusal: Some(why), .. }) => BTreeSet::from([why.clone()]),
        Ok(told) => {
            let refused = told.logs().filter(|log| log.conclusion() == Conclusion::Refused);
            refused.filter_map(|log| Some(log.outcome.as_ref().err()?.why.clone())).collect()
        },
    }
}

/// With these directories in the world's.
fn config(world: &World, names: &[&str]) -> BrokerConfig {
    let log_dirs = names.iter().map(|name| world.dir.join(name)).collect();
    BrokerConfig { log_dirs, journal_file_bytes: 65_536, ..world.config() }
}

/// A few logs, closed or as a kill just before the seal leaves them, and what they hold.
async fn filled(
    world: &World,
    config: &BrokerConfig,
    sealed: bool,
) -> (Vec<(PathBuf, Vec<u8>)>, Vec<(i64, String)>) {
    let broker = Broker::start(world.env(), config.clone()).await.expect("starts");
    topic(&broker, "empty", &[]).await;
    let t = topic(&broker, "t", &[("gregor.durability", "fsync")]).await;
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

async fn holds(env: &TokioEnv, config: &BrokerConfig, all: &[(i64, String)]) {
    let broker = Broker::start(env.clone(), config.clone()).await.expect("starts");
    let id = broker.cluster().topics["t"].id;
    assert_eq!(values(&broker, crate::world::first(id), 0).await, all, "nothing may be lost");
    broker.stop().await;
}

/// Damages each file at a few places, one at a time.
async fn flip_everywhere(
    world: &World,
    config: &BrokerConfig,
    asked: &Asked,
    sealed: bool,
) -> Vec<Conclusion> {
    let (whole, all) = filled(world, config, sealed).await;
    let env = world.env();
    lay_out(&world.dir, &whole);
    let told = verify(&env, asked, true).await.expect("sound");
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

            let told = verify(&env, asked, true).await;

            assert_eq!(snapshot(&world.dir), damaged, "{place}: verify changes nothing");
            let conclusion = told.as_ref().map_or(Conclusion::Refused, Verified::conclusion);
            let refusals = refusals(&told);
            if let Ok(told) = &told {
                agrees(&env, told).await;
            }
            lay_out(&world.dir, &damaged);
            if conclusion == Conclusion::Refused {
                let refused = Broker::start(env.clone(), config.clone()).await.expect_err(&place);
                assert!(refusals.contains(&refused.to_string()), "{place}: {refused}");
            } else if conclusion <= Conclusion::Recovers {
                holds(&env, config, &all).await;
            } else {
                let broker = Broker::start(env.clone(), config.clone()).await.expect(&place);
                broker.stop().await;
            }
            assert!(sealed || conclusion > Conclusion::Clean, "{place}: nobody closed it");
            seen.push(conclusion);
        }
    }
    seen.sort_unstable();
    seen.dedup();
    seen
}

const EVERY: [Conclusion; 4] =
    [Conclusion::Clean, Conclusion::Recovers, Conclusion::Damaged, Conclusion::Refused];

#[test]
fn a_changed_byte_anywhere_in_a_closed_directory_is_told_as_the_next_start_finds_it() {
    let world = World::new("verify-sealed");
    let (config, asked) = (world.config(), Asked::Dirs(vec![world.dir.clone()]));
    let seen = world.runtime.block_on(flip_everywhere(&world, &config, &asked, true));
    assert_eq!(seen, EVERY, "the places tell all kinds apart");
}

#[test]
fn a_changed_byte_anywhere_in_one_of_two_directories_is_told_as_the_next_start_finds_it() {
    let world = World::new("verify-two");
    let config = config(&world, &["a", "b"]);
    let asked = Asked::Config(Box::new(config.clone()));
    let seen = world.runtime.block_on(flip_everywhere(&world, &config, &asked, true));
    assert_eq!(seen, EVERY, "the places tell all kinds apart");
}

#[test]
fn a_changed_byte_anywhere_in_what_a_kill_left_is_told_as_the_next_start_finds_it() {
    let world = World::new("verify-killed");
    let (config, asked) = (world.config(), Asked::Dirs(vec![world.dir.clone()]));
    let seen = world.runtime.block_on(flip_everywhere(&world, &config, &asked, false));
    assert!(seen.contains(&Conclusion::Damaged) && seen.contains(&Conclusion::Refused), "{seen:?}");
}

#[test]
fn a_torn_end_is_told_and_no_damage() {
    let world = World::new("verify-torn");
    world.runtime.block_on(async {
        let (mut left, _) = filled(&world, &world.config(), false).await;
        let log = left.iter_mut().rev().find(|(path, bytes)| {
            path.extension().is_some_and(|ending| ending == "log") && !bytes.is_empty()
        });
        log.expect("a segment").1.extend_from_slice(&[0; 20]);
        lay_out(&world.dir, &left);

        let asked = Asked::Dirs(vec![world.dir.clone()]);
        let told = verify(&world.env(), &asked, false).await.expect("readable");

        assert_eq!(told.conclusion(), Conclusion::Recovers, "{told:?}");
        let cuts = told.logs().filter_map(|log| log.outcome.as_ref().ok()?.recovery.cut);
        assert_eq!(cuts.map(|cut| (cut.bytes, cut.torn)).collect::<Vec<_>>(), [(20, true)]);
        assert!(told.logs().all(|log| !log.is_stray && log.topic.is_some()));
        agrees(&world.env(), &told).await;
    });
}

/// The topics of partitions, in order.
fn names(partitions: &[(std::sync::Arc<str>, base::PartitionId)]) -> BTreeSet<&str> {
    partitions.iter().map(|(topic, _)| &**topic).collect()
}

#[test]
fn a_directory_that_is_not_named_is_told_and_what_lives_there_is_not_missed() {
    let world = World::new("verify-away");
    world.runtime.block_on(async {
        let config = config(&world, &["a", "b"]);
        let (left, _) = filled(&world, &config, true).await;
        let [a, b] = [&config.log_dirs[0], &config.log_dirs[1]].map(PathBuf::clone);
        let env = world.env();

        let both = Asked::Dirs(vec![b.clone(), a.clone()]);
        let told = verify(&env, &both, true).await.expect("readable");
        assert_eq!(told.conclusion(), Conclusion::Clean, "{told:?}");
        assert!(told.away.is_empty() && told.absent.is_empty() && told.elsewhere.is_empty());
        assert_eq!(told.dirs.iter().map(|dir| dir.is_home).collect::<Vec<_>>(), [false, true]);

        let told = verify(&env, &Asked::Dirs(vec![a]), true).await.expect("readable");
        assert_eq!(told.conclusion(), Conclusion::Clean, "{told:?}");
        assert_eq!(told.away.iter().map(|dir| Path::new(&dir.path)).collect::<Vec<_>>(), [&*b]);
        assert!(told.absent.is_empty() && told.logs().all(|log| !log.is_stray));
        assert_eq!(names(&told.elsewhere), BTreeSet::from(["t"]));

        // The other one alone has logs and no metadata; so says a start.
        let alone = BrokerConfig { log_dirs: vec![b.clone()], ..config.clone() };
        let told = verify(&env, &Asked::Dirs(vec![b]), true).await;
        assert_eq!(snapshot(&world.dir), left);
        let refused = Broker::start(env.clone(), alone).await.expect_err("refused").to_string();
        assert_eq!(refusals(&told), BTreeSet::from([refused]));
    });
}

#[test]
fn a_lost_directory_is_refused_given_up_or_offline_as_by_the_start_with_the_same_configuration() {
    let world = World::new("verify-lost");
    world.runtime.block_on(async {
        let mut config = config(&world, &["a", "b"]);
        let (mut left, _) = filled(&world, &config, true).await;
        let env = world.env();
        left.retain(|(path, _)| path.starts_with("a"));
        lay_out(&world.dir, &left);
        let asked = |config: &BrokerConfig| Asked::Config(Box::new(config.clone()));

        let told = verify(&env, &asked(&config), false).await;
        assert_eq!(snapshot(&world.dir), left);
        assert!(!config.log_dirs[1].exists(), "it was made");
        let refused = Broker::start(env.clone(), config.clone()).await.expect_err("refused");
        assert_eq!(refusals(&told), BTreeSet::from([refused.to_string()]));
        let broker::StartError::DirectoryLost { dir_id, .. } = refused else {
            unreachable!("{refused}")
        };

        // Where a file is in its place, a start goes on without it.
        lay_out(&world.dir, &left);
        std::fs::write(&config.log_dirs[1], "no directory").expect("written");
        let told = verify(&env, &asked(&config), false).await.expect("readable");
        assert_eq!(told.conclusion(), Conclusion::Damaged, "{told:?}");
        assert!(told.dirs[1].contents.is_err() && told.absent.is_empty());
        assert_eq!(names(&told.elsewhere), BTreeSet::from(["t"]));
        let broker = Broker::start(env.clone(), config.clone()).await.expect("without it");
        assert_eq!(broker.cluster().topics["t"].partitions[0].leader, None);
        broker.stop().await;
        drop(broker);

        lay_out(&world.dir, &left);
        config.accept_lost_dirs = BTreeSet::from([dir_id]);
        let told = verify(&env, &asked(&config), false).await.expect("readable");
        assert_eq!(told.conclusion(), Conclusion::Recovers, "{told:?}");
        assert!(told.dirs[1].is_new && told.elsewhere.is_empty());
        assert_eq!(names(&told.absent), BTreeSet::from(["t"]));
        holds(&env, &config, &[]).await;
    });
}

#[test]
fn directories_in_use_are_refused_and_one_of_something_else_is_told() {
    let world = World::new("verify-used");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let told = verify(&world.env(), &Asked::Dirs(vec![world.dir.clone()]), false).await;
        assert!(matches!(&told, Err(VerifyError::Refused(_))), "{told:?}");
        assert!(told.is_err_and(|error| error.to_string().contains("in use")));
        broker.stop().await;
        drop(broker);

        for nothing in ["metadata", "identity", "nowhere"] {
            let elsewhere = Asked::Dirs(vec![world.dir.join(nothing)]);
            let told = verify(&world.env(), &elsewhere, false).await;
            assert!(matches!(told, Err(VerifyError::NotOurs(_))), "{told:?}");
        }
        let new = BrokerConfig { log_dirs: vec![world.dir.join("new")], ..world.config() };
        let told = verify(&world.env(), &Asked::Config(Box::new(new)), false).await;
        assert!(matches!(told, Err(VerifyError::NotOurs(_))), "{told:?}");
    });
}

#[test]
fn a_deep_look_at_many_logs_has_files_of_one_open_at_a_time() {
    let world = World::new("verify-files");
    world.runtime.block_on(async {
        let config = config(&world, &["a"]);
        let broker = Broker::start(world.env(), config.clone()).await.expect("starts");
        for number in 0..12 {
            let t = topic(&broker, &format!("t{number}"), &[]).await;
            produce(&broker, t, batch(&["x", "y"])).await.expect("written");
        }
        broker.stop().await;
        drop(broker);

        let env = Shaky::new(world.env(), None);
        let told = verify(&env, &Asked::Config(Box::new(config)), true).await.expect("readable");

        assert_eq!((told.logs().count(), told.conclusion()), (12, Conclusion::Clean));
        assert_eq!(env.segments_open_max(), 1);
    });
}
