//! Contracts of directories, locks and identity.

use std::io::ErrorKind;
use std::path::Path;

use super::{FileOf, Verdict, fails_as, same};
use crate::{Access, Disk, Entry, EntryKind, Env, File, IoBufs};

async fn file_with<E: Env>(env: &E, path: &Path, text: &'static str) -> std::io::Result<FileOf<E>> {
    let file = env.disk().open(path, Access::CreateNew).await?;
    file.append(0, IoBufs::from_iter([text.into()])).await?;
    Ok(file)
}

async fn names<E: Env>(env: &E, dir: &Path) -> std::io::Result<Vec<String>> {
    Ok(env.disk().list(dir).await?.into_iter().map(|entry| entry.name).collect())
}

/// The target is either the old or the new file.
pub async fn a_rename_replaces_its_target<E: Env>(env: &E, dir: &Path) -> Verdict {
    let (from, to) = (dir.join("new"), dir.join("old"));
    drop(file_with(env, &to, "old").await?);
    drop(file_with(env, &from, "new").await?);
    env.disk().rename(&from, &to).await?;
    check!(names(env, dir).await? == ["old"], "left: {:?}", names(env, dir).await?);
    let file = env.disk().open(&to, Access::Read).await?;
    same(&file.read_at(0, 99).await?, b"new", "the target")
}

/// A handle belongs to the file, not to its name.
pub async fn a_renamed_file_keeps_its_handles<E: Env>(env: &E, dir: &Path) -> Verdict {
    let (from, to) = (dir.join("a"), dir.join("b"));
    let file = file_with(env, &from, "abc").await?;
    env.disk().rename(&from, &to).await?;
    file.append(3, IoBufs::from_iter(["def".into()])).await?;
    let reopened = env.disk().open(&to, Access::Read).await?;
    same(&reopened.read_at(0, 99).await?, b"abcdef", "under the new name")
}

/// Who still reads a removed file reads it to its end.
pub async fn a_removed_file_is_gone_but_its_handles_live_on<E: Env>(
    env: &E,
    dir: &Path,
) -> Verdict {
    let path = dir.join("file");
    let file = file_with(env, &path, "alive").await?;
    env.disk().remove(&path).await?;
    check!(names(env, dir).await?.is_empty(), "still listed: {:?}", names(env, dir).await?);
    fails_as(env.disk().open(&path, Access::Read).await, ErrorKind::NotFound, "opening it")?;
    same(&file.read_at(0, 99).await?, b"alive", "the old handle")?;
    let next = file_with(env, &path, "next").await?;
    same(&file.read_at(0, 99).await?, b"alive", "the old handle beside a new file")?;
    same(&next.read_at(0, 99).await?, b"next", "the new handle")
}

/// Like `mkdir -p`.
pub async fn missing_parents_are_created_and_existing_ones_are_fine<E: Env>(
    env: &E,
    dir: &Path,
) -> Verdict {
    let deep = dir.join("a/b/c");
    env.disk().create_dir(&deep).await?;
    env.disk().create_dir(&deep).await?;
    env.disk().create_dir(&dir.join("a/d")).await?;
    check!(names(env, &dir.join("a")).await? == ["b", "d"], "a: {:?}", names(env, dir).await?);
    drop(file_with(env, &deep.join("file"), "x").await?);
    env.disk().sync_dir(&deep).await?;
    Ok(())
}

/// No directory disappears with something in it.
pub async fn only_an_empty_directory_is_removed<E: Env>(env: &E, dir: &Path) -> Verdict {
    let (inner, path) = (dir.join("inner"), dir.join("inner/file"));
    env.disk().create_dir(&inner).await?;
    drop(file_with(env, &path, "x").await?);
    check!(env.disk().remove_dir(&inner).await.is_err(), "a full directory was removed");
    env.disk().remove(&path).await?;
    env.disk().remove_dir(&inner).await?;
    check!(names(env, dir).await?.is_empty(), "left: {:?}", names(env, dir).await?);
    Ok(())
}

/// File calls do not work on directories, nor the other way round.
pub async fn a_directory_is_no_file<E: Env>(env: &E, dir: &Path) -> Verdict {
    let (inner, path) = (dir.join("inner"), dir.join("file"));
    env.disk().create_dir(&inner).await?;
    drop(file_with(env, &path, "x").await?);
    check!(env.disk().open(&inner, Access::Write).await.is_err(), "a directory was opened");
    check!(env.disk().remove(&inner).await.is_err(), "a directory was removed as a file");
    check!(env.disk().remove_dir(&path).await.is_err(), "a file was removed as a directory");
    check!(env.disk().list(&path).await.is_err(), "a file was listed");
    check!(env.disk().sync_dir(&path).await.is_err(), "a file was synced as a directory");
    check!(env.disk().create_dir(&path).await.is_err(), "a directory was made of a file");
    check!(names(env, dir).await? == ["file", "inner"], "left: {:?}", names(env, dir).await?);
    Ok(())
}

/// Whatever the order of creation.
pub async fn a_listing_is_sorted_and_typed<E: Env>(env: &E, dir: &Path) -> Verdict {
    for name in ["zebra", "10", "9", "Alpha", "mid"] {
        drop(file_with(env, &dir.join(name), "x").await?);
    }
    env.disk().create_dir(&dir.join("beta/inside")).await?;
    let listed = env.disk().list(dir).await?;
    let names: Vec<_> = listed.iter().map(|entry| entry.name.as_str()).collect();
    check!(names == ["10", "9", "Alpha", "beta", "mid", "zebra"], "listed: {names:?}");
    for Entry { name, kind } in &listed {
        let wanted = if name == "beta" { EntryKind::Dir } else { EntryKind::File };
        check!(*kind == wanted, "{name} is listed as {kind:?}");
    }
    Ok(())
}

/// Absence is told apart from every other failure.
pub async fn missing_paths_are_not_found<E: Env>(env: &E, dir: &Path) -> Verdict {
    let (disk, gone) = (env.disk(), dir.join("gone"));
    fails_as(disk.rename(&gone, &dir.join("to")).await, ErrorKind::NotFound, "rename")?;
    fails_as(disk.remove(&gone).await, ErrorKind::NotFound, "remove")?;
    fails_as(disk.remove_dir(&gone).await, ErrorKind::NotFound, "remove_dir")?;
    fails_as(disk.list(&gone).await, ErrorKind::NotFound, "list")?;
    fails_as(disk.sync_dir(&gone).await, ErrorKind::NotFound, "sync_dir")?;
    fails_as(disk.sync_fs(&gone).await, ErrorKind::NotFound, "sync_fs")?;
    fails_as(disk.identity(&gone).await, ErrorKind::NotFound, "identity")?;
    fails_as(disk.lock_dir(&gone.join("lock")).await, ErrorKind::NotFound, "lock_dir")
}

/// One holder at a time, also within one process; dropping frees it.
pub async fn a_lock_is_exclusive_until_dropped<E: Env>(env: &E, dir: &Path) -> Verdict {
    let path = dir.join("lock");
    let held = env.disk().lock_dir(&path).await?;
    for _ in 0..2 {
        let second = env.disk().lock_dir(&path).await;
        fails_as(second, ErrorKind::WouldBlock, "taking a held lock")?;
    }
    let other = env.disk().lock_dir(&dir.join("other")).await?;
    drop(held);
    let again = env.disk().lock_dir(&path).await?;
    fails_as(env.disk().lock_dir(&path).await, ErrorKind::WouldBlock, "taking it once more")?;
    drop((again, other));
    Ok(())
}

/// The same directory has the same identity, whatever happens in it.
pub async fn an_identity_is_stable_and_tells_directories_apart<E: Env>(
    env: &E,
    dir: &Path,
) -> Verdict {
    let before = env.disk().identity(dir).await?;
    check!(!before.fs_kind.is_empty(), "no file-system kind");
    let inner = dir.join("inner");
    env.disk().create_dir(&inner).await?;
    drop(file_with(env, &dir.join("file"), "x").await?);
    let after = env.disk().identity(dir).await?;
    check!(before == after, "{before:?} became {after:?}");
    let other = env.disk().identity(&inner).await?;
    check!(other.inode != before.inode, "two directories share inode {}", other.inode);
    check!(other.device == before.device, "one file system, two devices");
    Ok(())
}

/// Another directory under the same name is noticed.
pub async fn a_replaced_directory_has_another_identity<E: Env>(env: &E, dir: &Path) -> Verdict {
    let (data, aside) = (dir.join("data"), dir.join("aside"));
    env.disk().create_dir(&data).await?;
    let before = env.disk().identity(&data).await?;
    env.disk().rename(&data, &aside).await?;
    env.disk().create_dir(&data).await?;
    let after = env.disk().identity(&data).await?;
    check!(before != after, "a new directory looks like the old one: {after:?}");
    let moved = env.disk().identity(&aside).await?;
    check!(before == moved, "{before:?} became {moved:?} by a rename");
    Ok(())
}

/// What is left of a file system is a part of it.
pub async fn a_file_system_has_room_and_a_missing_directory_none<E: Env>(
    env: &E,
    dir: &Path,
) -> Verdict {
    let space = env.disk().space(dir).await?;
    check!(space.total_bytes > 0, "no bytes at all: {space:?}");
    check!(space.usable_bytes <= space.total_bytes, "more is left than there is: {space:?}");
    fails_as(env.disk().space(&dir.join("nowhere")).await, ErrorKind::NotFound, "a missing one")
}

/// The boot id is there and does not change while we run.
pub async fn the_host_stays_the_same<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let before = env.host();
    check!(!before.boot_id.is_empty(), "no boot id");
    env.yield_now().await;
    check!(before == env.host(), "the host changed from {before:?} to {:?}", env.host());
    Ok(())
}
