//! The contract suite of `env` against the real machine.
#![expect(
    clippy::disallowed_methods,
    reason = "a test on the real machine makes its directories and its runtime itself"
)]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use env::contract::Verdict;
use env_tokio::{Settings, TokioEnv};
use tokio::runtime::Builder;

/// Runs one contract as a task of a fresh runtime, in a fresh directory.
fn run<F: Future<Output = Verdict> + Send + 'static>(
    name: &str,
    contract: impl FnOnce(TokioEnv, PathBuf) -> F,
) -> Result<(), Box<dyn Error>> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("contract").join(name);
    if dir.try_exists()? {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let env = TokioEnv::new(runtime.handle().clone(), Settings::default())?;
    let task = runtime.spawn(contract(env, dir.clone()));
    // Two minutes: a contract that takes longer than a few seconds does not end.
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), task).await })???;
    fs::remove_dir_all(&dir)?;
    Ok(())
}

macro_rules! tests {
    ($($name:ident: $contract:path,)*) => {$(
        #[test]
        fn $name() -> Result<(), Box<dyn Error>> {
            run(stringify!($name), |env, dir| async move { $contract(&env, &dir).await })
        }
    )*};
}

env::contracts!(tests);
