//! Contracts of open files.

use std::io::ErrorKind;
use std::path::Path;

use bytes::Bytes;

use super::{FileOf, Verdict, both, fails_as, pattern, same};
use crate::{Access, Disk, Env, File, IoBufs};

async fn create<E: Env>(env: &E, dir: &Path) -> std::io::Result<FileOf<E>> {
    env.disk().open(&dir.join("file"), Access::CreateNew).await
}

fn one(bytes: impl Into<Bytes>) -> IoBufs {
    IoBufs::from_iter([bytes.into()])
}

/// What was appended is read back at once, without a sync.
pub async fn appended_bytes_are_read_back<E: Env>(env: &E, dir: &Path) -> Verdict {
    let file = create(env, dir).await?;
    file.append(0, one("first ")).await?;
    file.append(6, one("second")).await?;
    check!(file.len().await? == 12, "length {} after 12 bytes", file.len().await?);
    same(&file.read_at(0, 12).await?, b"first second", "from the start")?;
    same(&file.read_at(6, 3).await?, b"sec", "from the middle")
}

/// One append writes many buffers, also empty ones.
pub async fn all_buffers_of_an_append_are_written_in_order<E: Env>(env: &E, dir: &Path) -> Verdict {
    let file = create(env, dir).await?;
    let all = pattern(3000);
    let mut bufs = IoBufs::new();
    for at in 0..1500 {
        bufs.push(all.slice(2 * at..2 * at + 2));
        bufs.push(Bytes::new());
    }
    file.append(0, bufs).await?;
    same(&file.read_at(0, 3000).await?, &all, "3000 buffers")?;
    file.append(3000, IoBufs::new()).await?;
    file.append(3000, one(Bytes::new())).await?;
    check!(file.len().await? == 3000, "an empty append changed the length");
    Ok(())
}

/// An append is all or an error, whatever its size.
pub async fn a_large_append_is_complete<E: Env>(env: &E, dir: &Path) -> Verdict {
    let file = create(env, dir).await?;
    let all = pattern(3 * 1024 * 1024 + 17);
    file.append(0, one(all.clone())).await?;
    check!(file.len().await? == 3 * 1024 * 1024 + 17, "length {}", file.len().await?);
    same(&file.read_at(0, all.len()).await?, &all, "large append")
}

/// Bytes are written where they should be, also within the file.
pub async fn an_append_in_the_middle_overwrites<E: Env>(env: &E, dir: &Path) -> Verdict {
    let file = create(env, dir).await?;
    file.append(0, one("0123456789")).await?;
    file.append(3, one("abc")).await?;
    same(&file.read_at(0, 99).await?, b"012abc6789", "overwritten")
}

/// Bytes that nobody wrote are zero.
pub async fn a_gap_before_an_append_reads_as_zeros<E: Env>(env: &E, dir: &Path) -> Verdict {
    let file = create(env, dir).await?;
    file.append(5, one("x")).await?;
    same(&file.read_at(0, 99).await?, b"\0\0\0\0\0x", "with a gap")
}

/// A read ends at the end of the file and is not an error.
pub async fn a_read_past_the_end_is_short<E: Env>(env: &E, dir: &Path) -> Verdict {
    let file = create(env, dir).await?;
    same(&file.read_at(0, 10).await?, b"", "an empty file")?;
    file.append(0, one("0123456789")).await?;
    same(&file.read_at(7, 100).await?, b"789", "across the end")?;
    same(&file.read_at(7, 8 * 1024 * 1024).await?, b"789", "far across the end")?;
    same(&file.read_at(10, 5).await?, b"", "at the end")?;
    same(&file.read_at(1000, 5).await?, b"", "beyond the end")?;
    same(&file.read_at(0, 0).await?, b"", "nothing")
}

/// Cut bytes do not come back.
pub async fn set_len_cuts_and_extends_with_zeros<E: Env>(env: &E, dir: &Path) -> Verdict {
    let file = create(env, dir).await?;
    file.append(0, one("0123456789")).await?;
    file.set_len(4).await?;
    check!(file.len().await? == 4, "length {} after the cut", file.len().await?);
    same(&file.read_at(0, 99).await?, b"0123", "cut")?;
    file.set_len(6).await?;
    same(&file.read_at(0, 99).await?, b"0123\0\0", "extended")
}

/// One file, however many clones and handles.
pub async fn clones_and_handles_share_the_file<E: Env>(env: &E, dir: &Path) -> Verdict {
    let file = create(env, dir).await?;
    let other = env.disk().open(&dir.join("file"), Access::Read).await?;
    let clone = file.clone();
    drop(file);
    clone.append(0, one("shared")).await?;
    same(&other.read_at(0, 99).await?, b"shared", "another handle")?;
    same(&clone.read_at(0, 99).await?, b"shared", "a clone")
}

/// Reserved room is not visible.
pub async fn preallocation_keeps_the_length<E: Env>(env: &E, dir: &Path) -> Verdict {
    let file = create(env, dir).await?;
    file.append(0, one("abc")).await?;
    file.preallocate(64 * 1024).await?;
    file.preallocate(0).await?;
    check!(file.len().await? == 3, "length {} after preallocation", file.len().await?);
    file.append(3, one("def")).await?;
    same(&file.read_at(0, 99).await?, b"abcdef", "after preallocation")
}

/// Only the creating ways of opening create.
pub async fn a_missing_file_is_not_found<E: Env>(env: &E, dir: &Path) -> Verdict {
    for access in [Access::Read, Access::Write] {
        let opened = env.disk().open(&dir.join("file"), access).await;
        fails_as(opened, ErrorKind::NotFound, "opening a missing file")?;
    }
    for access in [Access::CreateOrWrite, Access::CreateNew] {
        let opened = env.disk().open(&dir.join("no/file"), access).await;
        fails_as(opened, ErrorKind::NotFound, "creating in a missing directory")?;
    }
    check!(env.disk().list(dir).await?.is_empty(), "a failed open left something behind");
    Ok(())
}

/// Of two creators one learns that it came second.
pub async fn create_new_refuses_an_existing_file<E: Env>(env: &E, dir: &Path) -> Verdict {
    let file = create(env, dir).await?;
    file.append(0, one("kept")).await?;
    fails_as(create(env, dir).await, ErrorKind::AlreadyExists, "creating an existing file")?;
    same(&file.read_at(0, 99).await?, b"kept", "after the refusal")
}

/// Opening never truncates.
pub async fn create_or_write_keeps_what_is_there<E: Env>(env: &E, dir: &Path) -> Verdict {
    let path = dir.join("file");
    for wanted in [&b""[..], b"x"] {
        let file = env.disk().open(&path, Access::CreateOrWrite).await?;
        same(&file.read_at(0, 99).await?, wanted, "reopened")?;
        file.append(0, one("x")).await?;
    }
    let file = env.disk().open(&path, Access::Write).await?;
    same(&file.read_at(0, 99).await?, b"x", "opened to write")
}

/// `Access::Read` cannot change the file.
pub async fn a_read_only_handle_refuses_to_write<E: Env>(env: &E, dir: &Path) -> Verdict {
    let file = create(env, dir).await?;
    file.append(0, one("kept")).await?;
    let reader = env.disk().open(&dir.join("file"), Access::Read).await?;
    check!(reader.append(0, one("lost")).await.is_err(), "a reader appended");
    check!(reader.set_len(0).await.is_err(), "a reader cut the file");
    same(&file.read_at(0, 99).await?, b"kept", "after the refusals")
}

/// A sync does not get in the way of appends, nor they in its way.
pub async fn appends_while_syncing_are_complete<E: Env>(env: &E, dir: &Path) -> Verdict {
    let file = create(env, dir).await?;
    let all = pattern(64 * 100);
    let writer = async {
        for (at, chunk) in (0..).step_by(100).zip(all.chunks(100)) {
            file.append(at, one(Bytes::copy_from_slice(chunk))).await?;
        }
        std::io::Result::Ok(())
    };
    let syncer = async {
        for _ in 0..8 {
            file.sync_data().await?;
            env.yield_now().await;
        }
        std::io::Result::Ok(())
    };
    let (written, synced) = both(writer, syncer).await;
    written?;
    synced?;
    same(&file.read_at(0, all.len()).await?, &all, "written beside syncs")
}

/// All syncs of a healthy disk succeed, also repeated and with nothing to do.
pub async fn syncs_succeed<E: Env>(env: &E, dir: &Path) -> Verdict {
    let file = create(env, dir).await?;
    for round in 0..3 {
        file.append(round, one("x")).await?;
        file.sync_data().await?;
        env.disk().sync_dir(dir).await?;
        env.disk().sync_fs(dir).await?;
    }
    file.sync_data().await?;
    same(&file.read_at(0, 99).await?, b"xxx", "after the syncs")
}
