//! The contract suite of `env` against the simulated machine, quiet and noisy, on several seeds.
#![expect(clippy::panic, reason = "how a test fails")]

use std::path::{Path, PathBuf};

use env::contract::{Failure, Verdict};
use env::{Disk, Env};
use sim::world::{Knobs, Settings, SimEnv, install_panic_hook, run as run_universe};

fn noisy() -> Knobs {
    Knobs { loss: 100, short_io: 500, buggify: 250, seam: 250, ..Knobs::default() }
}

/// Runs one contract as the only process of a universe, on quiet and on noisy ones.
fn run<F>(name: &'static str, contract: impl Fn(SimEnv, PathBuf) -> F + Clone + Send + 'static)
where
    F: Future<Output = Verdict> + Send + 'static,
{
    install_panic_hook();
    for seed in 0..4 {
        let knobs = if seed % 2 == 0 { Knobs::default() } else { noisy() };
        let settings = Settings { seed, nodes: 1, knobs, ..Settings::default() };
        let contract = contract.clone();
        let outcome = run_universe(settings, move |world| async move {
            world.boot(0);
            let dir = Path::new("/data").join(name);
            let env = world.env(0);
            env.disk().create_dir(&dir).await.map_err(Failure::from)?;
            contract(env, dir).await
        });
        match outcome.value {
            Some(Ok(())) => {},
            Some(Err(failure)) => panic!("{name}, seed {seed}: {failure}"),
            None => panic!("{name}, seed {seed}: {:?}", outcome.failure),
        }
    }
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
