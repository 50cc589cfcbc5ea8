//! The contract suite of `env` against the real machine.
#![expect(
    clippy::disallowed_methods,
    reason = "a test on the real machine makes its directories and its runtime itself"
)]

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
) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("contract").join(name);
    if dir.try_exists().unwrap() {
        fs::remove_dir_all(&dir).unwrap();
    }
    fs::create_dir_all(&dir).unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let env = TokioEnv::new(runtime.handle().clone(), Settings::default()).unwrap();
    let task = runtime.spawn(contract(env, dir.clone()));
    let verdict = runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(120), task).await })
        .expect("the contract does not end")
        .expect("the contract panicked");
    if let Err(failure) = verdict {
        panic!("{name}: {failure}");
    }
    fs::remove_dir_all(&dir).unwrap();
}

macro_rules! tests {
    ($($name:ident: $contract:path,)*) => {$(
        #[test]
        fn $name() {
            run(stringify!($name), |env, dir| async move { $contract(&env, &dir).await });
        }
    )*};
}

env::contracts!(tests);
