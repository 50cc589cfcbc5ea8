//! Moves what nothing explains out of a log's folder, where an operator finds it.
//!
//! Invariant: a file of a log is never removed here, and is under one name at least whenever the
//! power goes.

use std::io;

use env::{Disk, Env};

use super::{DirShared, Found};
use crate::error::WriteError;
use crate::names::{SALVAGE, log_folder};

impl<E: Env> DirShared<E> {
    /// Moves `file` of the folder of `found` into `salvage`, under a name that tells where it was.
    /// That it is there is durable when this returns; that it left its folder is the caller's to sync.
    /// Whether there was such a file.
    ///
    /// # Errors
    /// [`WriteError::Full`] where there is no room for another name: the file is where it was.
    /// Any other error is the end of the directory.
    pub(crate) async fn salvage(&self, found: Found, file: &str) -> Result<bool, WriteError> {
        let (disk, folder) = (self.env.disk(), self.path.join(SALVAGE));
        let refused = |error| self.refuse("salvage into", &folder, &error);
        disk.create_dir(&folder).await.map_err(refused)?;
        let kept =
            folder.join(format!("{}.{file}", log_folder(found.partition, found.replica_gen)));
        match disk.rename(&self.folder(found).join(file), &kept).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            renamed => renamed.map_err(refused)?,
        }
        self.sync_folder(&folder).await?;
        self.sync_folder(&self.path).await?;
        Ok(true)
    }
}
