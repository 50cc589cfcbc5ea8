//! Contracts of tasks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use base::Duration;

use super::{Verdict, eventually};
use crate::{Access, Disk, Env, File, IoBufs};

/// Spawning is enough; nobody has to wait for the task.
pub async fn a_spawned_task_runs<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let count = Arc::new(AtomicU32::new(0));
    for _ in 0..10 {
        let (task_env, count) = (env.clone(), Arc::clone(&count));
        env.spawn("contract", async move {
            task_env.yield_now().await;
            count.fetch_add(1, Ordering::Relaxed);
        });
    }
    eventually(env, "ten tasks", || count.load(Ordering::Relaxed) == 10).await
}

/// A dedicated task sleeps, spawns and writes files like any other.
pub async fn a_dedicated_task_runs_and_uses_the_world<E: Env>(env: &E, dir: &Path) -> Verdict {
    let done = Arc::new(AtomicBool::new(false));
    let (task_env, flag, path) = (env.clone(), Arc::clone(&done), dir.join("file"));
    env.spawn_dedicated("contract", async move {
        task_env.sleep(Duration::from_millis(1)).await;
        if let Ok(file) = task_env.disk().open(&path, Access::CreateNew).await
            && file.append(0, IoBufs::from_iter(["x".into()])).await.is_ok()
            && file.sync_data().await.is_ok()
        {
            task_env.spawn("contract", async move { flag.store(true, Ordering::Relaxed) });
        }
    });
    eventually(env, "the dedicated task", || done.load(Ordering::Relaxed)).await
}

/// A task that only yields does not keep others from running.
pub async fn yielding_lets_others_run<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let ran = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ran);
    env.spawn("contract", async move { flag.store(true, Ordering::Relaxed) });
    for _ in 0..1_000_000 {
        if ran.load(Ordering::Relaxed) {
            return Ok(());
        }
        env.yield_now().await;
    }
    check!(false, "a million yields, and the other task has not run");
    Ok(())
}

/// A seam may yield; it must come back.
pub async fn a_seam_is_passed<E: Env>(env: &E, _dir: &Path) -> Verdict {
    for _ in 0..20 {
        env.seam("contract").await;
    }
    Ok(())
}

/// Tasks have no parents.
pub async fn tasks_outlive_the_one_that_spawned_them<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let done = Arc::new(AtomicBool::new(false));
    let (outer, flag) = (env.clone(), Arc::clone(&done));
    env.spawn("outer", async move {
        let inner = outer.clone();
        outer.spawn("inner", async move {
            inner.sleep(Duration::from_millis(3)).await;
            flag.store(true, Ordering::Relaxed);
        });
    });
    eventually(env, "the inner task", || done.load(Ordering::Relaxed)).await
}
