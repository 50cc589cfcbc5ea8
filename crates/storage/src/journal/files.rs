//! The journal's files: taking the next one, making a spare, and the manifest that frees old ones.
//!
//! Invariants: a lap begins with a durable header, of which the lap before says durably that it is
//! there before the first group counts; only laps that the durable manifest does not
//! need are free; the manifest is encoded while others commit.

use std::io;
use std::path::Path;

use base::Probe;
use bytes::Bytes;
use env::{Access, Disk, Env, File, IoBufs};

use super::block::{JournalHeader, encode_continued, encode_journal_header};
use super::manifest::{KeptLap, Manifest, encode_manifest};
use super::{FIRST_FILE_BYTES, FileOf, FreeFile, Journal, Lap, PLACE_BYTES, Table, Writer};
use crate::dir::{is_full, of_sync};
use crate::names::MANIFEST;
use crate::replace::{replace, sync_dir};

impl<E: Env> Journal<E> {
    /// Goes on in the next file, which will have room for `need` bytes.
    pub(super) async fn next_file(
        &self,
        writer: &mut Writer<FileOf<E>>,
        need: u64,
    ) -> io::Result<()> {
        self.env.probe().reached("storage_journal_next_file");
        let (free, file, room) = self.next_free(need).await?;
        let lap = writer.lap + 1;
        let header = fresh_header(&self.env, lap, writer.group, free);
        // From here on something has changed: a group that still went into this lap would not count.
        write_header(&file, &header).await?;
        self.say_continued(writer).await.map_err(of_sync)?;
        *writer = Writer { file, lap, nonce: header.nonce, group: 0, at: PLACE_BYTES, room };
        self.table.lock().begin_lap(free.number, &header);
        Ok(())
    }

    /// The full lap's last word, durable before anything is written to the next one: should the
    /// next one's header be lost, that is then known to be a loss (ADR 0014).
    async fn say_continued(&self, writer: &Writer<FileOf<E>>) -> io::Result<()> {
        self.env.seam("storage_journal_lap_begun").await;
        let block = Bytes::from(encode_continued(writer.nonce, writer.group));
        writer.file.append(writer.at, IoBufs::from_iter([block])).await?;
        writer.file.sync_data().await
    }

    /// A file that no lap is in, opened, with its room. Somebody may have taken a spare one away: nothing
    /// of it was needed, and another one will do.
    async fn next_free(&self, need: u64) -> io::Result<(FreeFile, FileOf<E>, u64)> {
        let mut gone = 0;
        loop {
            let free = self.table.lock().free.pop();
            let free = match free {
                Some(free) => free,
                None => self.free_or_make().await?,
            };
            match self.open_free(free, need).await {
                Ok((file, room)) => return Ok((free, file, room)),
                Err(error) if error.kind() == io::ErrorKind::NotFound && gone < GONE_MAX => {
                    self.env.probe().reached("storage_journal_spare_gone");
                    gone += 1;
                },
                Err(error) => {
                    self.table.lock().free.push(free);
                    return Err(error);
                },
            }
        }
    }

    async fn open_free(&self, free: FreeFile, need: u64) -> io::Result<(FileOf<E>, u64)> {
        let file = self.env.disk().open(&self.path(free.number), Access::Write).await?;
        let room = fit(&file, self.file_bytes, need).await?;
        Ok((file, room))
    }

    async fn free_or_make(&self) -> io::Result<FreeFile> {
        let _held = self.upkeep.lock().await;
        let frees = {
            let table = self.table.lock();
            table.free.is_empty() && table.has_lap_to_free()
        };
        if frees {
            self.or_later(self.write_manifest().await)?;
        }
        let free = self.table.lock().free.pop();
        match free {
            Some(free) => Ok(free),
            None => self.make_file().await,
        }
    }

    fn path(&self, number: u32) -> std::path::PathBuf {
        self.folder.join(number.to_string())
    }

    /// Makes a file of full size, durable with its entry. Under the upkeep lock: one at a time.
    async fn make_file(&self) -> io::Result<FreeFile> {
        let number = self.table.lock().next_number;
        make_file(&self.env, &self.folder, number, self.file_bytes).await?;
        self.table.lock().next_number = number + 1;
        Ok(FreeFile { number, nonce: None })
    }

    /// Whether [`Journal::upkeep`] has something to do.
    pub fn is_upkeep_due(&self) -> bool {
        let table = self.table.lock();
        !self.is_failed() && (table.free.is_empty() || table.has_lap_to_free())
    }

    /// Writes the manifest if that frees a file, and sees to it that a spare one waits. Others may
    /// commit meanwhile. A full disk is no error: false, and it is to be tried again.
    ///
    /// # Errors
    /// A write or sync failed, now or earlier.
    pub async fn upkeep(&self) -> io::Result<bool> {
        let _held = self.upkeep.lock().await;
        self.check()?;
        let frees = self.table.lock().has_lap_to_free();
        let mut done = true;
        if frees {
            done = self.or_later(self.write_manifest().await)?.is_some();
        }
        let spare = !self.table.lock().free.is_empty();
        if spare {
            return Ok(done);
        }
        let made = self.or_later(self.make_file().await)?;
        done &= made.is_some();
        self.table.lock().free.extend(made);
        Ok(done)
    }

    fn or_later<T>(&self, result: io::Result<T>) -> io::Result<Option<T>> {
        match result {
            Ok(done) => Ok(Some(done)),
            Err(error) if is_full(&error) => {
                self.env.probe().reached("storage_journal_upkeep_put_off");
                Ok(None)
            },
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Replaces the manifest by what is durable now, and lets go of the files it makes needless.
    pub(super) async fn write_manifest(&self) -> io::Result<()> {
        self.env.probe().reached("storage_manifest_written");
        let manifest = {
            let table = self.table.lock();
            let kept = table.laps.iter().filter(|(_, lap)| !lap.needs.is_empty());
            let kept = kept.map(|(lap, known)| KeptLap { lap: *lap, groups: known.groups });
            let (lap, group) = (table.lap, table.group);
            let kept = kept.filter(|kept| kept.lap <= lap).collect();
            Manifest { dir_id: self.dir_id, lap, group, kept, state: table.state.clone() }
        };
        let bytes = encode_manifest(&manifest);
        // Planted: files are used again while the old manifest may still need them.
        if self.env.probe().mutant("laps_freed_early") {
            self.table.lock().free_laps(&manifest);
        }
        replace(&self.env, &self.root, MANIFEST, bytes).await?;
        self.table.lock().free_laps(&manifest);
        Ok(())
    }
}

/// The header of a lap that begins in the file `free`.
pub(super) fn fresh_header<E: Env>(
    env: &E,
    lap: u64,
    groups_before: u64,
    free: FreeFile,
) -> JournalHeader {
    // Planted: what an earlier lap left in the file looks like this one's.
    let kept = free.nonce.filter(|_| env.probe().mutant("recycle_keeps_nonce"));
    if free.nonce.is_some() {
        env.probe().reached("storage_journal_file_recycled");
    }
    let nonce = kept.unwrap_or_else(|| env.random_u64());
    JournalHeader { lap, nonce, groups_before }
}

/// Bytes of a file that groups may use. The first one of a directory is small, and so is one that a
/// crash left half made: it gets its full size only if `need` asks for it.
pub(super) async fn fit<F: File>(file: &F, file_bytes: u64, need: u64) -> io::Result<u64> {
    let first = file_bytes.min(FIRST_FILE_BYTES);
    let least = if need > first { file_bytes } else { first };
    let len = file.len().await?;
    if len < least {
        fill(file, len, least).await?;
        file.sync_data().await.map_err(of_sync)?;
    }
    Ok(len.max(least))
}

/// Makes a file of `bytes` bytes, durable with its entry.
pub(super) async fn make_file<E: Env>(
    env: &E,
    folder: &Path,
    number: u32,
    bytes: u64,
) -> io::Result<()> {
    let path = folder.join(number.to_string());
    let file = env.disk().open(&path, Access::CreateOrWrite).await?;
    let len = file.len().await?;
    if let Err(error) = fill(&file, len, bytes).await {
        // What was taken before the disk was full is not kept from others.
        env.disk().remove(&path).await?;
        return Err(error);
    }
    file.sync_data().await.map_err(of_sync)?;
    sync_dir(env, folder).await.map_err(of_sync)
}

/// So many spare files may be gone before it is taken for a folder that is.
const GONE_MAX: u32 = 8;

/// Zeros that a file is filled with, in one call.
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

/// Writes zeros from `len`, the file's end, up to `bytes`. Reserved room alone is not enough: the
/// first sync of a block that was only reserved has to note in the file system that it is written
/// now, which costs more, and which is lost without an error if the device goes away meanwhile
/// (ADR 0018).
async fn fill<F: File>(file: &F, len: u64, bytes: u64) -> io::Result<()> {
    file.preallocate(bytes).await?;
    let mut at = len;
    while at < bytes {
        let left = usize::try_from(bytes - at).unwrap_or(usize::MAX);
        let zeros = ZEROS.get(..left).unwrap_or(&ZEROS);
        file.append(at, IoBufs::from_iter([Bytes::from_static(zeros)])).await?;
        at += u64::try_from(zeros.len()).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Makes the header of a lap durable. Its room is there, so that whatever goes wrong is a failure.
pub(super) async fn write_header<F: File>(file: &F, header: &JournalHeader) -> io::Result<()> {
    let bytes = Bytes::from(encode_journal_header(header));
    file.append(0, IoBufs::from_iter([bytes])).await.map_err(of_sync)?;
    file.sync_data().await.map_err(of_sync)
}

impl Table {
    pub(super) fn begin_lap(&mut self, number: u32, header: &JournalHeader) {
        let (nonce, groups) = (header.nonce, 0);
        let needs = std::collections::BTreeMap::new();
        self.laps.insert(header.lap, Lap { number, nonce, groups, needs });
    }

    /// Whether a manifest written now would make a file free.
    fn has_lap_to_free(&self) -> bool {
        self.laps.iter().any(|(lap, known)| *lap < self.lap && known.needs.is_empty())
    }

    fn free_laps(&mut self, manifest: &Manifest) {
        let needed =
            |lap: u64| lap >= manifest.lap || manifest.kept.iter().any(|kept| kept.lap == lap);
        let gone: Vec<u64> = self.laps.keys().copied().filter(|lap| !needed(*lap)).collect();
        for lap in gone {
            if let Some(known) = self.laps.remove(&lap) {
                self.free.push(FreeFile { number: known.number, nonce: Some(known.nonce) });
            }
        }
    }
}
