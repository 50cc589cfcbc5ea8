//! What only the real machine shows: who waits, who does not, and what is counted.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test on the real machine makes its directories, runtimes and threads itself"
)]

use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use env::{Access, Disk, Env, File, IoBufs, Listener, Net, Segment, SegmentQueue, Stream};
use env_tokio::{Settings, TokioEnv};
use rustix::fs::{Advice, fadvise};
use tokio::runtime::{Builder, Runtime};

type Verdict = Result<(), Box<dyn Error>>;

/// A runtime with a single thread for blocking work, and its world.
fn world(workers: usize, settings: Settings) -> Result<(Runtime, TokioEnv), Box<dyn Error>> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(1)
        .enable_all()
        .build()?;
    let env = TokioEnv::new(runtime.handle().clone(), settings)?;
    Ok((runtime, env))
}

fn fresh_dir(name: &str) -> std::io::Result<PathBuf> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("machine").join(name);
    if dir.try_exists()? {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn pattern(len: usize) -> Bytes {
    (0..=250).cycle().take(len).collect()
}

/// Keeps the only thread of the blocking pool until the sender is dropped.
fn hold_the_pool(runtime: &Runtime) -> SyncSender<()> {
    let (held, gate) = sync_channel(0);
    drop(runtime.spawn_blocking(move || gate.recv()));
    held
}

#[test]
fn the_wildcards_of_both_families_share_a_port() -> Verdict {
    let (runtime, env) = world(1, Settings::default())?;
    runtime.block_on(async {
        let four = env.net().listen((Ipv4Addr::UNSPECIFIED, 0).into()).await?;
        let port = four.local_addr()?.port();

        let six = env.net().listen((Ipv6Addr::UNSPECIFIED, port).into()).await;

        // A machine without IPv6 says something else.
        let taken = |error: &std::io::Error| error.kind() == ErrorKind::AddrInUse;
        assert!(!six.as_ref().is_err_and(taken), "{six:?}");
        Ok(())
    })
}

#[test]
fn a_small_append_is_ready_at_its_first_poll_and_a_large_one_waits_for_the_pool() -> Verdict {
    let (runtime, env) = world(2, Settings::default())?;
    let path = fresh_dir("append")?.join("file");
    runtime.block_on(async {
        let file = env.disk().open(&path, Access::CreateNew).await?;
        let held = hold_the_pool(&runtime);
        let mut cx = Context::from_waker(Waker::noop());
        let small = pattern(256 * 1024);
        {
            let append = pin!(file.append(0, IoBufs::from_iter([small.clone()])));
            assert!(matches!(append.poll(&mut cx), Poll::Ready(Ok(()))));
        }
        let large = pattern(2 * 1024 * 1024 + 1);
        let mut append = pin!(file.append(256 * 1024, IoBufs::from_iter([large.clone()])));
        assert!(append.as_mut().poll(&mut cx).is_pending());
        drop(held);
        append.await?;
        let written = fs::read(&path)?;
        assert_eq!(written.len(), small.len() + large.len());
        assert!(written[..256 * 1024] == small && written[256 * 1024..] == large);
        Ok(())
    })
}

#[test]
fn a_warm_small_read_is_ready_at_its_first_poll_and_a_large_one_waits_for_the_pool() -> Verdict {
    let (runtime, env) = world(2, Settings::default())?;
    let path = fresh_dir("read")?.join("file");
    runtime.block_on(async {
        let file = env.disk().open(&path, Access::CreateNew).await?;
        file.append(0, IoBufs::from_iter([pattern(100_000)])).await?;
        let held = hold_the_pool(&runtime);
        let mut cx = Context::from_waker(Waker::noop());
        let mut small = pin!(file.read_at(1000, 60_000));
        let ready = small.as_mut().poll(&mut cx);
        let mut large = pin!(file.read_at(0, 100_000));
        assert!(large.as_mut().poll(&mut cx).is_pending());
        drop(held);
        // Where the file system cannot tell what is warm, the read is right but not at once.
        let read = match ready {
            Poll::Ready(read) => read?,
            Poll::Pending => small.await?,
        };
        assert!(read == pattern(100_000)[1000..61_000]);
        assert!(large.await? == pattern(100_000));
        Ok(())
    })
}

#[test]
fn a_region_of_a_cold_file_arrives_whole() -> Verdict {
    let (runtime, env) = world(2, Settings::default())?;
    let path = fresh_dir("cold")?.join("file");
    runtime.block_on(async {
        let file = env.disk().open(&path, Access::CreateNew).await?;
        file.append(0, IoBufs::from_iter([pattern(2_000_000)])).await?;
        file.sync_data().await?;
        fadvise(fs::File::open(&path)?, 0, None, Advice::DontNeed)?;
        let mut listener = env.net().listen("127.0.0.1:0".parse()?).await?;
        let mut client = env.net().connect(listener.local_addr()?).await?;
        let (mut server, _) = listener.accept().await?;
        let region = file.region(5, 1_999_990);
        env.spawn("writer", async move {
            let mut queue = SegmentQueue::from([Segment::Region(region)]);
            let _written = client.write_segments(&mut queue).await;
        });
        let mut all = BytesMut::with_capacity(2_000_000);
        while server.read_into(&mut all).await? > 0 {}
        assert!(all == pattern(2_000_000)[5..1_999_995]);
        // How much of it was cold depends on the file system and on what else happens here.
        let counts = env.net().counts();
        assert_eq!(counts.sendfile_bytes + counts.copied_bytes, 1_999_990);
        Ok(())
    })
}

#[test]
fn more_syncs_than_permits_all_end() -> Verdict {
    let settings = Settings { blocking_max: 1, cold_reads_max: 1, ..Settings::default() };
    let (runtime, env) = world(2, settings)?;
    let dir = fresh_dir("permits")?;
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for number in 0..20 {
            let (env, path) = (env.clone(), dir.join(number.to_string()));
            tasks.push(runtime.spawn(async move {
                let file = env.disk().open(&path, Access::CreateNew).await?;
                file.append(0, IoBufs::from_iter([pattern(300_000)])).await?;
                file.sync_data().await?;
                file.read_at(0, 300_000).await
            }));
        }
        for task in tasks {
            assert!(task.await?? == pattern(300_000));
        }
        Ok(())
    })
}

#[test]
fn a_dedicated_task_runs_while_every_worker_is_busy() -> Verdict {
    let (runtime, env) = world(1, Settings::default())?;
    let (hogging, released) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let hog = {
        let (hogging, released) = (Arc::clone(&hogging), Arc::clone(&released));
        runtime.spawn(async move {
            hogging.store(true, Ordering::SeqCst);
            let start = Instant::now();
            while !released.load(Ordering::SeqCst) && start.elapsed() < Duration::from_secs(60) {
                std::thread::yield_now();
            }
            released.load(Ordering::SeqCst)
        })
    };
    let beat = env.clone();
    env.spawn_dedicated("beat", async move {
        while !hogging.load(Ordering::SeqCst) {
            beat.yield_now().await;
        }
        beat.sleep(Duration::from_millis(5)).await;
        released.store(true, Ordering::SeqCst);
    });
    assert!(runtime.block_on(hog)?, "the dedicated task did not run beside the hog");
    Ok(())
}

#[test]
fn a_halt_is_seen_by_who_waits_and_by_who_comes_later_with_the_first_reason() -> Verdict {
    let (runtime, env) = world(2, Settings::default())?;
    runtime.block_on(async {
        let mut early = pin!(env.halted());
        assert!(early.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let halter = env.clone();
        env.spawn("halter", async move {
            halter.halt("the disk is dead".to_owned());
            halter.halt("so is the next".to_owned());
        });
        assert_eq!(early.await, "the disk is dead");
        assert_eq!(env.halted().await, "the disk is dead");
        Ok(())
    })
}
