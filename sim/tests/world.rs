//! The simulated machine as a process meets it: a small store that promises durability, and what
//! crashes, power losses and broken connections do to it and to its clients.
#![expect(clippy::unwrap_used, reason = "how a test fails")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use base::Duration;
use bytes::{Bytes, BytesMut};
use env::{Access, Disk, Env, File, IoBufs, Listener, Net, Segment, SegmentQueue, Stream};
use sim::net::address_of;
use sim::world::{
    Crash, FailureKind, Knobs, Outcome, Settings, SimEnv, World, install_panic_hook, program, run,
};

fn settings(seed: u64, nodes: usize) -> Settings {
    let knobs = Knobs { keep: 300, torn: 300, short_io: 300, ..Knobs::default() };
    Settings { seed, nodes, knobs, ..Settings::default() }
}

fn universe<T: Send + 'static, F: Future<Output = T>>(
    seed: u64,
    nodes: usize,
    main: impl FnOnce(Arc<World>) -> F + Send + 'static,
) -> Outcome<T> {
    install_panic_hook();
    run(settings(seed, nodes), main)
}

fn whole_records(bytes: &[u8]) -> u64 {
    let is_whole = |(at, record): &(u64, &[u8])| *record == (at + 1).to_be_bytes();
    u64::try_from((0..).zip(bytes.chunks(8)).take_while(is_whole).count()).unwrap()
}

/// Writes one record after the other and counts those that are promised to stay.
async fn store(env: SimEnv, promised: Arc<AtomicU64>, syncs: bool) {
    let disk = env.disk();
    let file = disk.open(Path::new("/log"), Access::CreateOrWrite).await.unwrap();
    disk.sync_dir(Path::new("/")).await.unwrap();
    // What can be read may not be durable, and what is there may be torn.
    let found = file.read_at(0, 1 << 20).await.unwrap();
    let mut at = 8 * whole_records(&found);
    file.set_len(at).await.unwrap();
    file.sync_data().await.unwrap();
    loop {
        let record = Bytes::copy_from_slice(&(at / 8 + 1).to_be_bytes());
        file.append(at, IoBufs::from_iter([record])).await.unwrap();
        if syncs {
            file.sync_data().await.unwrap();
        }
        at += 8;
        promised.store(at / 8, Relaxed);
    }
}

/// How many of the promised records are gone after a few power losses.
fn records_lost(seed: u64, syncs: bool) -> u64 {
    let outcome = universe(seed, 1, move |world| async move {
        let promised = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&promised);
        world.install(0, program(move |env| store(env, Arc::clone(&count), syncs)), None);
        let mut lost = 0;
        for _ in 0..5 {
            world.boot(0);
            world.sleep_ms(20).await;
            let before = promised.load(Relaxed);
            world.crash(0, Crash::Power);
            let left = {
                let image = world.disk(0);
                whole_records(image.durable_file(Path::new("/log")).unwrap_or_default())
            };
            lost += before.saturating_sub(left);
        }
        lost
    });
    assert_eq!(outcome.failure, None);
    outcome.value.unwrap()
}

#[test]
fn a_store_that_syncs_keeps_its_promise_through_every_power_loss() {
    for seed in 0..30 {
        assert_eq!(records_lost(seed, true), 0, "seed {seed}");
    }
}

#[test]
fn a_store_that_does_not_sync_is_found_out() {
    let found = (0..30).filter(|seed| records_lost(*seed, false) > 0).count();
    assert!(found > 20, "only {found} of 30 seeds lost anything");
}

#[test]
fn a_panic_in_a_task_is_a_crash_with_its_message_and_place() {
    let outcome = universe(1, 1, |world| async move {
        world.install(0, program(|_| async { panic!("boom") }), None);
        world.boot(0);
        world.sleep_ms(1_000).await;
    });

    let failure = outcome.failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Crash);
    assert!(failure.text.starts_with("boom (sim/tests/world.rs:"), "{}", failure.text);
}

/// Sends `count` bytes to whoever connects, then keeps the connection.
async fn server(env: SimEnv, count: usize) {
    let mut listener = env.net().listen(address_of(0, 1)).await.unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        env.spawn("serve", async move {
            let mut queue = SegmentQueue::from([Segment::Bytes(vec![7; count].into())]);
            if stream.write_segments(&mut queue).await.is_ok() {
                std::future::pending::<()>().await;
            }
        });
    }
}

/// Reads until the end or an error; how much came, and whether it was an error.
async fn drain(env: &SimEnv) -> (usize, bool) {
    let Ok(mut stream) = env.net().connect(address_of(0, 1)).await else { return (0, true) };
    let mut got = 0;
    loop {
        let mut buf = BytesMut::with_capacity(1024);
        match stream.read_into(&mut buf).await {
            Ok(0) => return (got, false),
            Ok(read) => got += read,
            Err(_) => return (got, true),
        }
    }
}

fn serve_and_hurt(
    seed: u64,
    hurt: impl FnOnce(&Arc<World>) + Send + 'static,
) -> Option<(usize, bool)> {
    let outcome = universe(seed, 2, move |world| async move {
        world.install(0, program(|env| server(env, 2_000_000)), None);
        world.boot(0);
        world.boot(1);
        world.sleep_ms(5).await;
        let env = world.env(1);
        world.at(world.now() + 3_000_000, |world| hurt(world));
        let deadline = env.now().after(Duration::from_secs(60));
        env::timeout_at(&env, deadline, drain(&env)).await.ok()
    });
    assert_eq!(outcome.failure, None);
    outcome.value.unwrap()
}

#[test]
fn a_reset_cuts_the_stream_at_some_byte() {
    let cut: Vec<usize> = (0..10)
        .map(|seed| {
            let (got, failed) = serve_and_hurt(seed, |world| {
                world.reset_between(0, 1);
            })
            .unwrap();
            assert!(failed);
            got
        })
        .collect();
    assert!(cut.iter().all(|got| *got < 2_000_000));
    assert!(cut.iter().any(|got| *got != cut[0]));
}

#[test]
fn a_reader_learns_that_the_process_it_reads_from_died() {
    for seed in 0..5 {
        let died = serve_and_hurt(seed, |world| {
            world.crash(0, Crash::Process);
        });
        assert!(died.is_some(), "seed {seed}: it waits for ever");
    }
}

#[test]
fn a_reader_never_learns_that_the_machine_it_reads_from_lost_power() {
    for seed in 0..5 {
        assert_eq!(
            serve_and_hurt(seed, |world| {
                world.crash(0, Crash::Power);
            }),
            None
        );
    }
}

#[test]
fn nothing_passes_a_cut_until_it_is_mended() {
    let outcome = universe(2, 2, |world| async move {
        world.install(0, program(|env| server(env, 10)), None);
        world.boot(0);
        world.boot(1);
        world.cut(1, 0, true);
        let env = world.env(1);
        let refused = env.net().connect(address_of(0, 1)).await.map(drop);
        world.cut(1, 0, false);
        let reached = env.net().connect(address_of(0, 1)).await.map(drop);
        (refused.map_err(|error| error.kind()), reached.is_ok())
    });
    assert_eq!(outcome.value, Some((Err(std::io::ErrorKind::TimedOut), true)));
}

#[test]
fn a_paused_process_stands_still_and_goes_on() {
    let outcome = universe(3, 1, |world| async move {
        let ticks = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&ticks);
        let tick = program(move |env: SimEnv| {
            let count = Arc::clone(&count);
            async move {
                loop {
                    env.sleep(Duration::from_millis(1)).await;
                    count.fetch_add(1, Relaxed);
                }
            }
        });
        world.install(0, tick, None);
        world.boot(0);
        world.sleep_ms(100).await;
        world.set_paused(0, true);
        let paused = ticks.load(Relaxed);
        world.sleep_ms(100).await;
        let still = ticks.load(Relaxed);
        world.set_paused(0, false);
        world.sleep_ms(100).await;
        (paused, still, ticks.load(Relaxed))
    });
    let (paused, still, after) = outcome.value.unwrap();
    assert!(paused > 50);
    assert_eq!(paused, still);
    assert!(after > paused + 50);
}

#[test]
fn a_process_that_stops_without_a_reason_we_gave_it_fails_the_run() {
    let outcome = universe(4, 1, |world| async move {
        world.install(0, program(|env: SimEnv| async move { env.halt("bored".into()) }), None);
        world.boot(0);
        world.sleep_ms(100).await;
    });
    assert_eq!(outcome.failure.map(|failure| failure.kind), Some(FailureKind::Safety));
}
