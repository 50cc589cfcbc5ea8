//! The metadata log: one local file, fsynced before anything is answered.
//!
//! Owns: `<log dir>/metadata/log` and its format (docs/storage-format.md). Invariants: entry n+1 is
//! written only after entry n is durable, so only the last entry can be torn, and after a
//! clean stop not even that; a bad entry that no crash explains is corruption, refused, and left as it
//! is; nothing is written before the logs were found to fit what was read; every start leaves one durable snapshot, so bytes
//! that only the page cache had (after a failed fsync) are written again before they are trusted;
//! room for a few entries is reserved behind the end, so that topics can be deleted on a full disk,
//! and an entry for which there is no room is taken back whole.

use std::io;
use std::path::{Path, PathBuf};

use base::{Probe, ProducerId};
use bytes::{BufMut, Bytes, BytesMut};
use env::{Access, Disk, Env, File};
use metadata::{Image, Record, RecordError};
use storage::{LogDir, StartClass, sync_dir};
use thiserror::Error;

use crate::broker::PRODUCER_ID_BLOCK;

const MAGIC: &[u8; 8] = b"GREGMETA";
const VERSION: u32 = 1;
/// Bytes of the file header.
pub const HEADER_BYTES: usize = 32;
/// Bytes in front of an entry's payload.
pub const ENTRY_HEADER_BYTES: usize = 16;
/// The file is rewritten as a snapshot once it is larger than this and than four snapshots.
const REWRITE_BYTES: u64 = 4 * 1024 * 1024;
/// Room behind the end that only [`Need::Reserve`] may use.
const RESERVE_BYTES: u64 = 64 * 1024;
/// Room is reserved so much at a time, if there is as much.
const RESERVE_STEP_BYTES: u64 = 64 * 1024;
/// Largest file that is read at start; far beyond what `REWRITE_BYTES` lets grow.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Why the metadata log cannot be used.
#[derive(Debug, Error)]
pub enum MetadataLogError {
    /// The disk refused.
    #[error("metadata log {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// Bytes that were durable once are wrong now.
    #[error(
        "metadata log {path} is corrupt at byte {at}: restore the directory from a copy, or move it away to start an empty cluster"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where.
        at: usize,
    },
    /// The last entry is damaged, and no crash explains it.
    #[error(
        "metadata log {path} is corrupt at byte {at}: its last entry is damaged, and the last stop was clean, so that no crash tore it: restore the file from a copy, or cut it at that byte to go on without the entry"
    )]
    LastEntry {
        /// The file.
        path: PathBuf,
        /// Where.
        at: usize,
    },
    /// Written by a newer version.
    #[error("metadata log {path}: {source}")]
    Record {
        /// The file.
        path: PathBuf,
        /// Which record.
        source: RecordError,
    },
}

/// What room an entry may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The reserve, if there is no other.
    Reserve,
    /// None of the reserve.
    Beside,
}

/// Why an entry is not in the log.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// The disk is full; nothing has changed.
    Full,
    /// What is durable is not known any more.
    Failed(io::Error),
}

/// The open log.
pub(crate) struct MetadataLog<E: Env> {
    env: E,
    /// The log directory that it is in.
    home: LogDir<E>,
    dir: PathBuf,
    file: <E::Disk as Disk>::File,
    len: u64,
    /// Up to where the file has room for sure.
    reserved: u64,
    snapshot_len: u64,
    next_index: u64,
    failed: bool,
}

/// What a file held.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// Every record, in order.
    pub(crate) image: Image,
    /// Index of the next record.
    pub(crate) next_index: u64,
    /// Whether there is anything beyond the snapshot, or to be noted beside it.
    pub(crate) entries: bool,
    /// Length of snapshot and header; 0 if there is no file.
    snapshot_len: u64,
    /// Where the last entry begins, if it is torn: it is not taken in.
    pub(crate) torn: Option<usize>,
}

/// What `metadata/log` in `home` says; all of nothing if it is not there. Changes nothing.
///
/// # Errors
/// [`MetadataLogError`].
pub(crate) async fn read<E: Env>(env: &E, home: &LogDir<E>) -> Result<Replayed, MetadataLogError> {
    let path = home.path().join("metadata").join("log");
    let io_error = |source| MetadataLogError::Io { path: path.clone(), source };
    let file = match env.disk().open(&path, Access::Read).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let image = Image::default();
            return Ok(Replayed {
                image,
                next_index: 0,
                entries: true,
                snapshot_len: 0,
                torn: None,
            });
        },
        file => file.map_err(io_error)?,
    };
    let len = file.len().await.map_err(io_error)?;
    if len > FILE_BYTES_MAX {
        return Err(MetadataLogError::Corrupt { path, at: 0 });
    }
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let bytes = file.read_at(0, len).await.map_err(io_error)?;
    let replayed = replay(&path, &bytes)?;
    match replayed.torn {
        Some(at) if home.start().class == StartClass::Clean => {
            Err(MetadataLogError::LastEntry { path, at })
        },
        _ => Ok(replayed),
    }
}

impl Replayed {
    /// Whether there was no file.
    pub(crate) fn is_new(&self) -> bool {
        self.snapshot_len == 0
    }

    /// A torn entry may be one that rotted, and may have been a block of producer ids that clients
    /// have: those are not given out again. The snapshot that a torn end asks for notes it.
    fn pass_producer_ids(&mut self) {
        let next = ProducerId(self.image.next_producer.0.saturating_add(PRODUCER_ID_BLOCK.into()));
        // Only for the record's sake, which names who reserves.
        let broker = self.image.brokers.keys().next().copied().unwrap_or_default();
        drop(self.image.apply(&Record::ProducerIdsReserved { broker, next }));
    }
}

impl<E: Env> MetadataLog<E> {
    /// Opens `metadata/log` in the log directory `home`, of which `replayed` was [`read`], or creates
    /// it.
    pub(crate) async fn open(
        env: E,
        home: LogDir<E>,
        mut replayed: Replayed,
    ) -> Result<(Self, Image), MetadataLogError> {
        let dir = home.path().join("metadata");
        let path = dir.join("log");
        let io_error = |source| MetadataLogError::Io { path: path.clone(), source };
        if replayed.is_new() {
            env.disk().create_dir(&dir).await.map_err(io_error)?;
        }
        if replayed.torn.is_some() {
            env.probe().reached("metadata_torn_entry_cut");
            replayed.pass_producer_ids();
        }
        let next_index = replayed.next_index;
        // Planted: what was read is believed to be on the disk.
        let trusted = next_index > 0 && replayed.torn.is_none();
        let trusted = trusted && env.probe().mutant("metadata_cache_trusted");
        let (file, len) = if replayed.entries && !trusted {
            let written = write_snapshot(&env, &dir, &replayed.image, next_index, false).await;
            written.map_err(io_error)?
        } else {
            sync_dir(&env, &dir).await.map_err(io_error)?;
            let file = env.disk().open(&path, Access::Write).await.map_err(io_error)?;
            let len =
                if trusted { file.len().await.map_err(io_error)? } else { replayed.snapshot_len };
            (file, len)
        };
        sync_dir(&env, home.path()).await.map_err(io_error)?;
        let snapshot_len = len;
        let (reserved, failed) = (len, false);
        let mut log =
            Self { env, home, dir, file, len, reserved, snapshot_len, next_index, failed };
        // A disk that is full already is found out when there is something to append.
        drop(log.reserve(0).await);
        Ok((log, replayed.image))
    }

    /// Index of the next record.
    pub(crate) fn next_index(&self) -> u64 {
        self.next_index
    }

    /// Planted: what is answered while only the page cache has it.
    fn is_hasty(&self, records: &[Record]) -> bool {
        let probe = self.env.probe();
        records.iter().all(|record| match record {
            Record::TopicConfigured { .. } => probe.mutant("config_change_not_durable"),
            Record::PartitionsAdded { .. } => probe.mutant("added_partitions_not_durable"),
            _ => false,
        })
    }

    /// Makes `records` durable as one entry.
    ///
    /// # Errors
    /// After one [`AppendError::Failed`] every later call fails.
    pub(crate) async fn append(
        &mut self,
        records: &[Record],
        need: Need,
    ) -> Result<(), AppendError> {
        if self.failed {
            let earlier = io::Error::other("the metadata log failed earlier");
            return Err(AppendError::Failed(earlier));
        }
        let entry = encode_entry(self.next_index, records);
        let bytes = u64::try_from(entry.len()).unwrap_or(u64::MAX);
        let hasty = self.is_hasty(records);
        let room = self.reserve(bytes).await;
        let outcome = match (room, need) {
            (Err(AppendError::Full), Need::Reserve) | (Ok(()), _) => {
                self.write(entry, !hasty).await
            },
            (room, _) => room,
        };
        match outcome {
            Ok(()) => {},
            Err(AppendError::Full) => {
                self.home.note_full("write the metadata log");
                return Err(AppendError::Full);
            },
            Err(AppendError::Failed(error)) => {
                self.env.probe().reached("metadata_write_failed");
                self.failed = true;
                return Err(AppendError::Failed(error));
            },
        }
        self.len += bytes;
        self.next_index += u64::try_from(records.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Sees to it that beside the reserve there is room for an entry of so many bytes.
    async fn reserve(&mut self, bytes: u64) -> Result<(), AppendError> {
        let least = self.len.saturating_add(bytes).saturating_add(RESERVE_BYTES);
        if least <= self.reserved {
            return Ok(());
        }
        for wanted in [least.saturating_add(RESERVE_STEP_BYTES), least] {
            match self.file.preallocate(wanted).await {
                Ok(()) => {
                    self.reserved = wanted;
                    return Ok(());
                },
                Err(error) if storage::is_full(&error) => {},
                Err(error) => return Err(AppendError::Failed(error)),
            }
        }
        Err(AppendError::Full)
    }

    /// Writes an entry. A part of one that found no room is cut off, so that what comes next is not
    /// followed by it.
    async fn write(&mut self, entry: Bytes, durably: bool) -> Result<(), AppendError> {
        match self.file.append(self.len, [entry].into_iter().collect()).await {
            Ok(()) if !durably => Ok(()),
            Ok(()) => self.file.sync_data().await.map_err(AppendError::Failed),
            Err(error) if storage::is_full(&error) => {
                self.file.set_len(self.len).await.map_err(AppendError::Failed)?;
                // After a clean stop nothing of it may come back.
                self.file.sync_data().await.map_err(AppendError::Failed)?;
                // What was reserved behind the end went with it.
                self.reserved = self.len;
                Err(AppendError::Full)
            },
            Err(error) => Err(AppendError::Failed(error)),
        }
    }

    /// Rewrites the file as a snapshot of `image` if it has grown enough and the disk has room.
    pub(crate) async fn compact(&mut self, image: &Image) -> io::Result<()> {
        let small = self.env.probe().buggify("metadata_rewrite_often");
        if self.failed || (!small && self.len <= REWRITE_BYTES.max(4 * self.snapshot_len)) {
            return Ok(());
        }
        match write_snapshot(&self.env, &self.dir, image, self.next_index, true).await {
            Ok((file, len)) => {
                self.file = file;
                self.len = len;
                self.snapshot_len = len;
                self.reserved = len.saturating_add(RESERVE_BYTES);
                Ok(())
            },
            Err(error) if storage::is_full(&error) => {
                self.env.probe().reached("metadata_rewrite_put_off");
                Ok(())
            },
            Err(error) => {
                self.failed = true;
                Err(error)
            },
        }
    }
}

async fn write_snapshot<E: Env>(
    env: &E,
    dir: &Path,
    image: &Image,
    next_index: u64,
    keeps_reserve: bool,
) -> io::Result<(<E::Disk as Disk>::File, u64)> {
    env.probe().reached("metadata_snapshot_written");
    let (tmp, path) = (dir.join("log.tmp"), dir.join("log"));
    let file = env.disk().open(&tmp, Access::CreateOrWrite).await?;
    file.set_len(0).await?;
    let bytes = encode_snapshot(image, next_index);
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    file.append(0, [bytes].into_iter().collect()).await?;
    match file.preallocate(len.saturating_add(RESERVE_BYTES)).await {
        Err(error) if keeps_reserve || !storage::is_full(&error) => return Err(error),
        Ok(()) | Err(_) => {},
    }
    // Once synced it is durable or nobody knows: that is no question of room.
    file.sync_data().await.map_err(storage::of_sync)?;
    env.disk().rename(&tmp, &path).await?;
    sync_dir(env, dir).await.map_err(storage::of_sync)?;
    Ok((file, len))
}

fn put_records(out: &mut BytesMut, records: &[Record]) {
    for record in records {
        let bytes = record.encode();
        out.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        out.put_slice(&bytes);
    }
}

/// Header and snapshot payload of a fresh file.
pub(crate) fn encode_snapshot(image: &Image, next_index: u64) -> Bytes {
    let mut payload = BytesMut::new();
    if next_index > 0 {
        put_records(&mut payload, &image.to_records());
    }
    let mut out = BytesMut::with_capacity(HEADER_BYTES + payload.len());
    out.put_slice(MAGIC);
    out.put_u32_le(VERSION);
    out.put_u32_le(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    out.put_u64_le(next_index);
    out.put_u32_le(crc32fast::hash(&payload));
    out.put_u32_le(crc32fast::hash(&out));
    out.put_slice(&payload);
    out.freeze()
}

/// One entry: `length u32, checksum u32, first index u64`, then length-prefixed records.
pub(crate) fn encode_entry(first_index: u64, records: &[Record]) -> Bytes {
    let mut payload = BytesMut::new();
    put_records(&mut payload, records);
    let mut out = BytesMut::with_capacity(ENTRY_HEADER_BYTES + payload.len());
    out.put_u32_le(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    out.put_u32_le(entry_checksum(first_index, &payload));
    out.put_u64_le(first_index);
    out.put_slice(&payload);
    out.freeze()
}

fn entry_checksum(first_index: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&first_index.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
}

fn usize_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, at)?).ok()
}

/// The whole file, checked. Total over any bytes.
pub(crate) fn replay(path: &Path, bytes: &[u8]) -> Result<Replayed, MetadataLogError> {
    let corrupt = |at| MetadataLogError::Corrupt { path: path.to_owned(), at };
    let header = parse_header(bytes).ok_or_else(|| corrupt(0))?;
    let mut image = Image::default();
    apply_payload(path, &mut image, header.payload, HEADER_BYTES)?;
    let mut next_index = header.next_index;
    let mut at = HEADER_BYTES + header.payload.len();
    let snapshot_len = u64::try_from(at).unwrap_or(u64::MAX);
    let mut entries = false;
    while at < bytes.len() {
        let Some((first, payload)) = parse_entry(bytes, at) else {
            if later_entry(bytes, at, next_index) {
                return Err(corrupt(at));
            }
            let torn = Some(at);
            return Ok(Replayed { image, next_index, entries: true, snapshot_len, torn });
        };
        if first != next_index {
            return Err(corrupt(at));
        }
        let count = apply_payload(path, &mut image, payload, at)?;
        next_index = next_index.checked_add(count).ok_or_else(|| corrupt(at))?;
        entries = true;
        at += ENTRY_HEADER_BYTES + payload.len();
    }
    Ok(Replayed { image, next_index, entries, snapshot_len, torn: None })
}

struct Header<'a> {
    next_index: u64,
    payload: &'a [u8],
}

fn parse_header(bytes: &[u8]) -> Option<Header<'_>> {
    let head = bytes.get(..HEADER_BYTES)?;
    let intact = crc32fast::hash(&head[..28]) == u32_at(head, 28)?;
    if !intact || !head.starts_with(MAGIC) || u32_at(head, 8)? != VERSION {
        return None;
    }
    let len = usize_at(head, 12)?;
    let payload = bytes.get(HEADER_BYTES..HEADER_BYTES.checked_add(len)?)?;
    let next_index = u64_at(head, 16)?;
    (crc32fast::hash(payload) == u32_at(head, 24)?).then_some(Header { next_index, payload })
}

fn parse_entry(bytes: &[u8], at: usize) -> Option<(u64, &[u8])> {
    let len = usize_at(bytes, at)?;
    let start = at.checked_add(ENTRY_HEADER_BYTES)?;
    let payload = bytes.get(start..start.checked_add(len)?)?;
    let first = u64_at(bytes, at.checked_add(8)?)?;
    let sound = len > 0 && entry_checksum(first, payload) == u32_at(bytes, at.checked_add(4)?)?;
    sound.then_some((first, payload))
}

/// Whether an intact entry that must have come after `next_index` lies anywhere behind `at`.
fn later_entry(bytes: &[u8], at: usize, next_index: u64) -> bool {
    (at + 1..bytes.len()).any(|at| {
        u64_at(bytes, at.saturating_add(8))
            .is_some_and(|first| first > next_index && first - next_index < 1 << 20)
            && parse_entry(bytes, at).is_some()
    })
}

/// Applies length-prefixed records; returns how many.
fn apply_payload(
    path: &Path,
    image: &mut Image,
    payload: &[u8],
    file_at: usize,
) -> Result<u64, MetadataLogError> {
    let corrupt = |at: usize| MetadataLogError::Corrupt { path: path.to_owned(), at: file_at + at };
    let mut at = 0;
    let mut count = 0;
    while at < payload.len() {
        let len = usize_at(payload, at).ok_or_else(|| corrupt(at))?;
        let bytes =
            payload.get(at + 4..).and_then(|rest| rest.get(..len)).ok_or_else(|| corrupt(at))?;
        let record = Record::decode(bytes)
            .map_err(|source| MetadataLogError::Record { path: path.to_owned(), source })?;
        image.apply(&record);
        at += 4 + len;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod format_doc;
#[cfg(test)]
mod tests {
    use base::{BrokerId, Uuid};

    use super::*;

    fn sample() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = encode_snapshot(&Image::default(), 0).to_vec();
        let mut ends = vec![bytes.len()];
        let records = [
            Record::ClusterCreated { cluster_id: Uuid([7; 16]) },
            Record::BrokerRegistered { id: BrokerId(1), rack: None, unclean: false },
        ];
        for (index, record) in (0_u64..).zip(records) {
            bytes.extend_from_slice(&encode_entry(index, &[record]));
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn every_cut_keeps_the_whole_entries_before_it() {
        let (bytes, ends) = sample();
        for cut in ends[0]..=bytes.len() {
            let replayed = replay(Path::new("log"), &bytes[..cut]).expect("a torn end is no error");
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!(replayed.next_index, u64::try_from(whole).unwrap());
            assert_eq!(replayed.torn.is_some(), !ends.contains(&cut));
        }
    }

    #[test]
    fn producer_ids_of_a_block_whose_entry_rotted_are_not_given_again() {
        let (mut bytes, _) = sample();
        let next = ProducerId(PRODUCER_ID_BLOCK.into());
        let reserved = Record::ProducerIdsReserved { broker: BrokerId(1), next };
        bytes.extend_from_slice(&encode_entry(2, &[reserved]));
        *bytes.last_mut().unwrap() ^= 1;
        let mut replayed = replay(Path::new("log"), &bytes).expect("a torn end is no error");
        assert!(replayed.torn.is_some() && replayed.image.next_producer == ProducerId(0));

        replayed.pass_producer_ids();

        assert_eq!(replayed.image.next_producer, next);
    }

    #[test]
    fn a_bad_entry_before_a_good_one_is_corruption_and_never_cut() {
        let (bytes, ends) = sample();
        for at in ends[0]..ends[1] {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            let outcome = replay(Path::new("log"), &bad);
            assert!(matches!(outcome, Err(MetadataLogError::Corrupt { .. })), "byte {at}");
        }
    }

    // Found by the fuzz target `disk_files`.
    #[test]
    fn an_index_beyond_64_bits_is_corruption_and_no_overflow() {
        let mut bytes = encode_snapshot(&Image::default(), u64::MAX).to_vec();
        let record = Record::ClusterCreated { cluster_id: Uuid([7; 16]) };
        bytes.extend_from_slice(&encode_entry(u64::MAX, &[record]));

        let outcome = replay(Path::new("log"), &bytes);

        assert!(matches!(outcome, Err(MetadataLogError::Corrupt { .. })));
    }

    #[test]
    fn a_snapshot_replays_to_the_same_image_and_index() {
        let (bytes, _) = sample();
        let first = replay(Path::new("log"), &bytes).expect("intact");
        let second = encode_snapshot(&first.image, first.next_index);
        let second = replay(Path::new("log"), &second).expect("intact");
        assert_eq!((second.image, second.next_index), (first.image, first.next_index));
        assert!(!second.entries);
    }
}
