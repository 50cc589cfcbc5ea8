//! Running out of descriptors: a process of its own, since the limit is the process's.
#![expect(clippy::disallowed_types, reason = "the test uses up the descriptors itself")]

use std::error::Error;

use env::{Env, Listener, Net};
use env_tokio::{Settings, TokioEnv};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Builder;

#[test]
fn an_accept_without_descriptors_fails_typed_and_works_again_later() -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let env = TokioEnv::new(runtime.handle().clone(), Settings::default())?;
    runtime.block_on(async {
        let mut listener = env.net().listen("127.0.0.1:0".parse()?).await?;
        let _client = env.net().connect(listener.local_addr()?).await?;
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum })?;
        let mut hoard = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            hoard.push(file);
        }
        for _ in 0..2 {
            let cause = listener.accept().await.err().ok_or("accepted without a descriptor")?;
            assert_eq!(cause.raw_os_error(), Some(Errno::MFILE.raw_os_error()));
        }
        drop(hoard);
        listener.accept().await?;
        Ok(())
    })
}
