//! The overlay of `env` on the real machine: its files and directories keep the contracts, and what
//! lies below is never touched.
#![expect(
    clippy::disallowed_methods,
    reason = "a test on the real machine makes its directories and its runtime itself"
)]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use env::contract::Verdict;
use env::overlay::Overlay;
use env::{Access, Disk, Env, File, IoBufs};
use env_tokio::{Settings, TokioEnv};
use tokio::runtime::Builder;

/// Runs a test on an overlay over a fresh directory, and holds that directory against `before`.
fn run<F: Future<Output = Verdict> + Send + 'static>(
    name: &str,
    before: &[(&str, &str)],
    test: impl FnOnce(Overlay<TokioEnv>, PathBuf) -> F,
) -> Result<(), Box<dyn Error>> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("overlay").join(name);
    if dir.try_exists()? {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    for (name, content) in before {
        fs::write(dir.join(name), content)?;
    }
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let env = Overlay::new(TokioEnv::new(runtime.handle().clone(), Settings::default())?);
    runtime.block_on(runtime.spawn(test(env, dir.clone())))??;
    let mut after = Vec::new();
    for entry in fs::read_dir(&dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        after.push((name, fs::read_to_string(entry.path())?));
    }
    after.sort();
    let before: Vec<_> =
        before.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect();
    assert_eq!(after, before, "what lies below");
    fs::remove_dir_all(&dir)?;
    Ok(())
}

macro_rules! contracts {
    ($($group:ident: [$($name:ident,)*])*) => {$($(
        #[test]
        fn $name() -> Result<(), Box<dyn Error>> {
            run(stringify!($name), &[], |env, dir| async move {
                env::contract::$group::$name(&env, &dir).await
            })
        }
    )*)*};
}

// Without those of locks and identities, which are what they are below.
contracts! {
    files: [
        appended_bytes_are_read_back,
        all_buffers_of_an_append_are_written_in_order,
        a_large_append_is_complete,
        an_append_in_the_middle_overwrites,
        a_gap_before_an_append_reads_as_zeros,
        a_read_past_the_end_is_short,
        set_len_cuts_and_extends_with_zeros,
        clones_and_handles_share_the_file,
        preallocation_keeps_the_length,
        a_missing_file_is_not_found,
        create_new_refuses_an_existing_file,
        create_or_write_keeps_what_is_there,
        a_read_only_handle_refuses_to_write,
        appends_while_syncing_are_complete,
        syncs_succeed,
    ]
    dirs: [
        a_rename_replaces_its_target,
        a_renamed_file_keeps_its_handles,
        a_removed_file_is_gone_but_its_handles_live_on,
        missing_parents_are_created_and_existing_ones_are_fine,
        only_an_empty_directory_is_removed,
        a_directory_is_no_file,
        a_listing_is_sorted_and_typed,
        missing_paths_are_not_found,
    ]
}

fn one(bytes: &'static [u8]) -> IoBufs {
    IoBufs::from_iter([Bytes::from_static(bytes)])
}

#[test]
fn what_is_written_is_seen_by_everybody_here_and_by_nobody_below() -> Result<(), Box<dyn Error>> {
    let before = [("kept", "0123456789"), ("moved", "abc"), ("removed", "x")];
    run("changes", &before, |env, dir| async move {
        let disk = env.disk();
        let reader = disk.open(&dir.join("kept"), Access::Read).await?;
        let writer = disk.open(&dir.join("kept"), Access::Write).await?;
        writer.append(2, one(b"23")).await?;
        writer.append(8, one(b"xyz")).await?;
        writer.set_len(10).await?;
        assert_eq!(reader.read_at(0, 99).await?, &b"01234567xy"[..]);
        drop((reader, writer));
        let again = disk.open(&dir.join("kept"), Access::Read).await?;
        assert_eq!(again.read_at(7, 2).await?, &b"7x"[..]);

        disk.rename(&dir.join("moved"), &dir.join("there")).await?;
        disk.remove(&dir.join("removed")).await?;
        disk.create_dir(&dir.join("folder/deep")).await?;
        disk.open(&dir.join("folder/deep/new"), Access::CreateNew).await?;
        let names: Vec<String> =
            disk.list(&dir).await?.into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["folder", "kept", "there"]);
        let there = disk.open(&dir.join("there"), Access::Read).await?;
        assert_eq!(there.read_at(0, 9).await?, &b"abc"[..]);
        assert_eq!(disk.list(&dir.join("folder/deep")).await?.len(), 1);
        assert!(disk.lock_dir(&dir.join("lock")).await?.is_none(), "no file, no lock, no file");
        Ok(())
    })
}

#[test]
fn a_lock_that_a_process_holds_below_is_told() -> Result<(), Box<dyn Error>> {
    run("lock", &[("lock", "")], |env, dir| async move {
        let held = env.disk().lock_dir(&dir.join("lock")).await?;
        assert!(held.is_some());
        let second = env.disk().lock_dir(&dir.join("lock")).await;
        assert_eq!(second.map(|_| ()).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        Ok(())
    })
}

#[test]
fn a_directory_that_is_made_here_has_an_identity_and_none_is_made_of_a_file()
-> Result<(), Box<dyn Error>> {
    run("made", &[("file", "x")], |env, dir| async move {
        let (disk, made) = (env.disk(), dir.join("outer/inner"));
        assert!(disk.identity(&made).await.is_err(), "it is not there yet");
        disk.create_dir(&made).await?;
        assert_eq!(disk.identity(&made).await?.device, disk.identity(&dir).await?.device);
        assert!(disk.create_dir(&dir.join("file")).await.is_err());
        assert!(disk.create_dir(&dir.join("file/inner")).await.is_err());
        Ok(())
    })
}
