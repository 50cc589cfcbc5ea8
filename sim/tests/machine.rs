//! The newer faults of a simulated machine as its processes meet them: clocks, sleep, slow and
//! stalled runtimes, kernels that restart, disks that stall, readers that stand still.
#![expect(clippy::unwrap_used, reason = "how a test fails")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use base::Duration;
use bytes::{Bytes, BytesMut};
use env::{Access, Disk, Env, File, IoBufs, Listener, Net, Segment, SegmentQueue, Stream};
use sim::net::address_of;
use sim::world::{Crash, MS, Outcome, Settings, SimEnv, World, install_panic_hook, program, run};

fn universe<T: Send + 'static, F: Future<Output = T>>(
    nodes: usize,
    main: impl FnOnce(Arc<World>) -> F + Send + 'static,
) -> T {
    install_panic_hook();
    let outcome: Outcome<T> = run(Settings { seed: 5, nodes, ..Settings::default() }, main);
    assert_eq!(outcome.failure, None);
    outcome.value.unwrap()
}

/// A node on which nothing runs but what the test does.
fn boot(world: &Arc<World>) -> SimEnv {
    world.boot(0);
    world.env(0)
}

/// What the clocks of a node say: monotonic, boot (nanoseconds), wall (milliseconds).
fn clocks(env: &SimEnv) -> (u64, u64, i64) {
    (env.now().0, env.boot_now().0, env.wall().0)
}

#[test]
fn a_clock_that_runs_fast_wakes_its_sleepers_early_by_the_universe() {
    let took = universe(1, |world| async move {
        let env = boot(&world);
        world.set_drift(0, 100_000);
        let begun = world.now();
        env.sleep(Duration::from_millis(1_100)).await;
        (world.now() - begun) / MS
    });
    assert!((999..=1_001).contains(&took), "{took}");
}

#[test]
fn a_sleeper_whose_clock_slows_down_meanwhile_still_never_wakes_early() {
    universe(1, |world| async move {
        let env = boot(&world);
        let until = env.now().after(Duration::from_millis(100));
        world.at(world.now() + 50 * MS, |world| world.set_drift(0, -500_000));
        env.sleep_until(until).await;
        assert!(env.now() >= until);
    });
}

#[test]
fn a_wall_clock_jumps_and_the_others_do_not_notice() {
    universe(1, |world| async move {
        let env = boot(&world);
        let before = clocks(&env);
        world.jump_wall(0, 5_000);
        let forth = clocks(&env);
        world.jump_wall(0, -9_000);
        let back = clocks(&env);
        assert_eq!((forth.2 - before.2, back.2 - before.2), (5_000, -4_000));
        assert!(back.0 - before.0 < MS && back.1 - before.1 < MS);
    });
}

#[test]
fn while_a_machine_sleeps_boot_time_goes_on_and_monotonic_time_does_not() {
    universe(1, |world| async move {
        let env = boot(&world);
        let before = clocks(&env);
        world.suspend(0, true);
        world.sleep_ms(700).await;
        world.suspend(0, false);
        let after = clocks(&env);
        assert!(after.0 - before.0 < MS, "monotonic");
        assert_eq!((after.1 - before.1) / MS, 700, "boot");
        assert_eq!(after.2 - before.2, 700, "wall");
    });
}

#[test]
fn a_slow_node_gets_less_done_and_its_dedicated_tasks_do_not_suffer() {
    let rounds = |cost_us: u64, dedicated: bool| {
        universe(1, move |world| async move {
            let env = boot(&world);
            world.set_poll_cost(0, cost_us * 1_000);
            let count = Arc::new(AtomicU64::new(0));
            let (mine, counted) = (env.clone(), Arc::clone(&count));
            let task = async move {
                loop {
                    mine.sleep(Duration::from_micros(100)).await;
                    counted.fetch_add(1, Relaxed);
                }
            };
            if dedicated {
                env.spawn_dedicated("beat", task)
            } else {
                env.spawn("work", task)
            }
            world.sleep_ms(100).await;
            count.load(Relaxed)
        })
    };
    let (quick, slow, beat) = (rounds(0, false), rounds(1_000, false), rounds(1_000, true));
    assert!(slow * 4 < quick, "{slow} of {quick}");
    assert!(beat * 2 > quick, "{beat} of {quick}");
}

#[test]
fn a_stalled_runtime_polls_nothing_but_its_dedicated_tasks() {
    universe(1, |world| async move {
        let env = boot(&world);
        let counts = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
        for (dedicated, count) in [false, true].into_iter().zip(&counts) {
            let (mine, count) = (env.clone(), Arc::clone(count));
            let task = async move {
                loop {
                    mine.sleep(Duration::from_millis(1)).await;
                    count.fetch_add(1, Relaxed);
                }
            };
            if dedicated { env.spawn_dedicated("beat", task) } else { env.spawn("work", task) }
        }
        let read = || [counts[0].load(Relaxed), counts[1].load(Relaxed)];
        world.sleep_ms(5).await;
        world.stall_runtime(0, world.now() + 50 * MS);
        world.sleep_ms(2).await;
        let before = read();
        world.sleep_ms(40).await;
        let during = read();
        world.sleep_ms(50).await;
        let after = read();
        assert_eq!(during[0], before[0]);
        assert!(during[1] > before[1] + 20 && after[0] > during[0] + 20);
    });
}

#[test]
fn the_boot_id_changes_when_the_kernel_restarts_and_not_when_a_process_does() {
    universe(1, |world| async move {
        let mut ids = vec![boot(&world).host().boot_id];
        for how in [Crash::Process, Crash::Kernel, Crash::Power] {
            world.crash(0, how);
            world.boot(0);
            ids.push(world.env(0).host().boot_id);
        }
        assert_eq!(ids[0], ids[1]);
        assert_ne!(ids[1], ids[2]);
        assert_ne!(ids[2], ids[3]);
    });
}

async fn write(env: &SimEnv, path: &str) {
    let file = env.disk().open(Path::new(path), Access::CreateNew).await.unwrap();
    file.append(0, IoBufs::from_iter([Bytes::from_static(b"bytes")])).await.unwrap();
}

#[test]
fn a_kernel_that_restarts_in_good_order_loses_nothing() {
    universe(1, |world| async move {
        let env = boot(&world);
        write(&env, "/a").await;
        world.crash(0, Crash::Kernel);
        assert_eq!(world.disk(0).durable_file(Path::new("/a")), Some(&b"bytes"[..]));
    });
}

#[test]
fn a_stalled_disk_holds_back_what_begins_while_it_stalls() {
    universe(1, |world| async move {
        let env = boot(&world);
        write(&env, "/a").await;
        let until = world.now() + 3_000 * MS;
        world.stall_disk(0, 0, until);
        env.disk().list(Path::new("/")).await.unwrap();
        assert!(world.now() >= until);
    });
}

/// Sends a megabyte to whoever connects.
async fn server(env: SimEnv) {
    let mut listener = env.net().listen(address_of(0, 1)).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut queue = SegmentQueue::from([Segment::Bytes(vec![7; 1 << 20].into())]);
    stream.write_segments(&mut queue).await.unwrap();
    std::future::pending::<()>().await;
}

#[test]
fn a_reader_that_stands_still_holds_its_writer_back_and_then_gets_everything() {
    universe(2, |world| async move {
        world.install(0, program(server), None);
        world.boot(0);
        world.boot(1);
        world.sleep_ms(5).await;
        let env = world.env(1);
        let mut stream = env.net().connect(address_of(0, 1)).await.unwrap();
        let until = world.now() + 500 * MS;
        world.stall_reader(1, until, 100);
        let mut got = 0;
        let mut buf = BytesMut::with_capacity(1 << 16);
        while got < 1 << 20 {
            buf.clear();
            got += stream.read_into(&mut buf).await.unwrap();
            assert!(world.now() >= until);
        }
        assert_eq!(world.faults("stalled reader"), 1);
    });
}
