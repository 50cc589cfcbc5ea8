//! Replacing a small file as a whole, and reading one as a whole.
//!
//! Invariants: after a crash the file is the old one or the new one; once `replace` has returned it
//! is the new one even if power is lost; without room on the disk it is the old one.

use std::io;
use std::path::{Path, PathBuf};

use base::Probe;
use bytes::Bytes;
use env::{Access, Disk, Env, File, IoBufs};

use crate::dir::{TRY_EVERY, has_no_descriptor, of_sync};
use crate::names::TMP;

/// While a directory sync waits for a descriptor, the log is told once in so many attempts.
const TOLD_EVERY: u32 = 100;
/// Largest side file that is read whole.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The name under which a new version is written.
pub(crate) fn tmp_name(name: &str) -> String {
    format!("{name}{TMP}")
}

/// Makes `bytes` the content of `folder/name`.
pub(crate) async fn replace<E: Env>(
    env: &E,
    folder: &Path,
    name: &str,
    bytes: Vec<u8>,
) -> io::Result<()> {
    let tmp: PathBuf = folder.join(tmp_name(name));
    let disk = env.disk();
    let file = disk.open(&tmp, Access::CreateOrWrite).await?;
    file.set_len(0).await?;
    file.append(0, IoBufs::from_iter([Bytes::from(bytes)])).await?;
    // Planted: the new version gets its name before it is durable.
    let unsynced = name == crate::names::MANIFEST && env.probe().mutant("manifest_not_synced");
    if !unsynced {
        file.sync_data().await.map_err(of_sync)?;
    }
    disk.rename(&tmp, &folder.join(name)).await?;
    // Planted: together with the one in `Log::roll`, entries of rolled segments stay volatile.
    if name == crate::names::PRODUCERS && env.probe().mutant("skip_dir_sync") {
        return Ok(());
    }
    sync_dir(env, folder).await.map_err(of_sync)
}

/// Makes the entries of `folder` durable. It has to be opened for that: while no file descriptor is
/// left nothing was tried, so that this is no failed sync, and the next attempt proves as much as the
/// first. Waits for one however long it takes, and says so every ten seconds: what has been done to
/// the entries cannot be taken back.
///
/// # Errors
/// Nobody knows which entries are durable.
pub async fn sync_dir<E: Env>(env: &E, folder: &Path) -> io::Result<()> {
    for attempt in 0_u32.. {
        match env.disk().sync_dir(folder).await {
            Err(error) if has_no_descriptor(&error) => {
                env.probe().reached("storage_sync_waits_for_descriptor");
                if attempt.is_multiple_of(TOLD_EVERY) {
                    let folder = folder.display();
                    tracing::error!(%folder, %error, "the sync of a directory waits for a file descriptor");
                }
                env.sleep_until(env.now().after(TRY_EVERY)).await;
            },
            done => return done,
        }
    }
    Err(io::Error::other("no file descriptor for years"))
}

/// The whole content of a file; `None` if there is none.
pub(crate) async fn read_whole<E: Env>(env: &E, path: &Path) -> io::Result<Option<Bytes>> {
    let file = match env.disk().open(path, Access::Read).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let len = file.len().await?;
    if len > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "file is too large for its kind"));
    }
    let len = usize::try_from(len).map_err(io::Error::other)?;
    file.read_at(0, len).await.map(Some)
}
