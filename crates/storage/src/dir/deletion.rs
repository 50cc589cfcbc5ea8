//! Deleting a log's folder so that a crash in the middle is finished by the next start.
//!
//! Order: the marker, durable; every file of ours; the marker; the folder. A folder with the marker
//! or with nothing in it is a deletion that was interrupted (or a creation that never completed).

use std::io;
use std::path::Path;

use base::Probe;
use env::{Access, Disk, Env};

use super::{DirShared, Found};
use crate::error::DirectoryFailed;
use crate::names::{DELETED, STATE, SegmentName, TMP};

/// What a log's folder is.
pub(super) enum Leftover {
    /// A log.
    Log,
    /// What is left of one.
    Deletion,
}

pub(super) async fn leftover<E: Env>(env: &E, folder: &Path) -> io::Result<Leftover> {
    let entries = env.disk().list(folder).await?;
    let marked = entries.iter().any(|entry| entry.name == DELETED);
    Ok(if marked || entries.is_empty() { Leftover::Deletion } else { Leftover::Log })
}

pub(super) async fn delete<E: Env>(
    dir: &DirShared<E>,
    found: Found,
) -> Result<(), DirectoryFailed> {
    dir.check()?;
    let folder = dir.folder(found);
    let failed = |error| dir.fail("delete", &folder, &error);
    let marker = folder.join(DELETED);
    drop(dir.env.disk().open(&marker, Access::CreateOrWrite).await.map_err(failed)?);
    dir.sync_folder(&folder).await?;
    remove_folder(&dir.env, &folder).await.map_err(failed)?;
    dir.sync_folder(&dir.path).await
}

/// Removes our files and, unless something foreign is in it, the folder.
pub(super) async fn remove_folder<E: Env>(env: &E, folder: &Path) -> io::Result<()> {
    let disk = env.disk();
    let mut foreign = false;
    for entry in disk.list(folder).await? {
        let stem = entry.name.strip_suffix(TMP).unwrap_or(&entry.name);
        let ours = stem == STATE || SegmentName::parse(stem).is_some();
        if ours {
            disk.remove(&folder.join(&entry.name)).await?;
        } else if entry.name != DELETED {
            foreign = true;
        }
    }
    disk.sync_dir(folder).await?;
    if foreign {
        env.probe().reached("storage_deletion_left_foreign_files");
        return Ok(());
    }
    match disk.remove(&folder.join(DELETED)).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {},
    }
    disk.remove_dir(folder).await
}
