//! Deleting a log so that a crash in the middle is finished by the next start.
//!
//! Order: the deletion, durable in the journal; every file of ours; the folder; its entry; that
//! they are gone, in the journal. In between the journal says what is left to do, so that it may be
//! tried again after any step for which a full disk had no room.

use std::io;
use std::path::Path;

use base::Probe;
use env::{Disk, Env};

use super::{DirShared, Found, of_sync};
use crate::error::WriteError;
use crate::journal::Change;
use crate::names::{PRODUCERS, SegmentName, TMP};
use crate::replace::sync_dir;

pub(super) async fn delete<E: Env>(dir: &DirShared<E>, found: Found) -> Result<(), WriteError> {
    dir.check()?;
    if dir.journal.is_dropped(found) {
        return finish(dir, found).await;
    }
    // Planted: the files go before it is certain that the log does.
    if dir.env.probe().mutant("unlink_before_drop_flushed") {
        let removed = remove_folder(&dir.env, &dir.folder(found)).await;
        removed.map_err(|error| dir.refuse("delete", &dir.folder(found), &error))?;
        dir.sync_folder(&dir.path).await?;
    }
    dir.commit(found, vec![Change::Drop]).await?;
    finish(dir, found).await
}

/// Removes what a dropped log left.
pub(super) async fn finish<E: Env>(dir: &DirShared<E>, found: Found) -> Result<(), WriteError> {
    let folder = dir.folder(found);
    let failed = |error| dir.refuse("delete", &folder, &error);
    remove_folder(&dir.env, &folder).await.map_err(failed)?;
    dir.sync_folder(&dir.path).await?;
    dir.forget_batches(found);
    dir.commit(found, vec![Change::Removed]).await
}

/// Removes our files and, unless something foreign is in it, the folder.
async fn remove_folder<E: Env>(env: &E, folder: &Path) -> io::Result<()> {
    let disk = env.disk();
    let entries = match disk.list(folder).await {
        Ok(entries) => entries,
        // A log without an append has no folder.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut foreign = false;
    for entry in entries {
        let stem = entry.name.strip_suffix(TMP).unwrap_or(&entry.name);
        if stem == PRODUCERS || SegmentName::parse(stem).is_some() {
            disk.remove(&folder.join(&entry.name)).await?;
        } else {
            foreign = true;
        }
    }
    sync_dir(env, folder).await.map_err(of_sync)?;
    if foreign {
        env.probe().reached("storage_deletion_left_foreign_files");
        return Ok(());
    }
    match disk.remove_dir(folder).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
