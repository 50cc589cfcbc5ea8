//! The floor: a server that does what nobody can leave out, and nothing else.
//!
//! It reads produce and fetch requests as the bench sends them (versions 11 and 12, one topic, one
//! partition), compares the CRC of a batch, gives it its offset and epoch under a lock, writes it to
//! a preallocated file, answers all requests of one read in one write, and sends what is fetched by
//! `sendfile`. It keeps no topic but the last one named, checks nothing else, recovers nothing, and
//! ends a connection on which it meets anything unexpected.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stderr,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a program of its own that meets the system directly"
)]

mod requests;

use std::io::{self, Error, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BufMut;
use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::net::SendFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream};

use requests::{Asked, Fetch, Produce, Request};

/// Reading more at a time is not cheaper.
const READ_BYTES: usize = 256 * 1024;
/// Of larger requests no byte behind their end is read, so that none has to be moved.
const LARGE_BYTES: usize = 64 * 1024;
/// Bytes of a file; the next one begins behind it.
const FILE_BYTES: u64 = 1 << 30;

/// The batches of one partition, of which the last file is kept.
struct Partition {
    file: Arc<OwnedFd>,
    next_offset: u64,
    next_position: u64,
    /// First offset and position of each batch of the file.
    batches: Vec<(u64, u64)>,
}

/// The last topic that was named.
#[derive(Default)]
struct Topic {
    name: Vec<u8>,
    partitions: Vec<Option<Arc<Mutex<Partition>>>>,
}

struct Store {
    dir: PathBuf,
    files: AtomicU64,
    topic: Mutex<Topic>,
}

fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn widen(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

impl Store {
    /// A file without a name, so that nothing is left behind.
    fn file(&self) -> io::Result<Arc<OwnedFd>> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(number.to_string());
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?;
        rustix::fs::unlink(&path)?;
        match rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, FILE_BYTES) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(Arc::new(file)),
            Err(error) => Err(error.into()),
        }
    }

    fn partition(&self, asked: &Asked<'_>) -> io::Result<Arc<Mutex<Partition>>> {
        let mut topic = locked(&self.topic);
        if topic.name != asked.topic {
            *topic = Topic { name: asked.topic.to_vec(), partitions: Vec::new() };
        }
        if topic.partitions.len() <= asked.partition {
            topic.partitions.resize(asked.partition + 1, None);
        }
        let Some(place) = topic.partitions.get_mut(asked.partition) else {
            return Err(senseless());
        };
        if let Some(found) = place {
            return Ok(Arc::clone(found));
        }
        let made =
            Partition { file: self.file()?, next_offset: 0, next_position: 0, batches: Vec::new() };
        Ok(Arc::clone(place.insert(Arc::new(Mutex::new(made)))))
    }

    /// Writes the batch, and says its offset.
    fn append(&self, asked: &Asked<'_>, batch: &mut [u8]) -> io::Result<u64> {
        let batch = requests::Batch::checked(batch).ok_or_else(senseless)?;
        let partition = self.partition(asked)?;
        let mut partition = locked(&partition);
        let (offset, records) = (partition.next_offset, batch.records);
        let bytes = batch.placed(offset);
        if partition.next_position + widen(bytes.len()) > FILE_BYTES {
            partition.file = self.file()?;
            partition.next_position = 0;
            partition.batches.clear();
        }
        let mut position = partition.next_position;
        partition.batches.push((offset, position));
        let mut left = bytes;
        while !left.is_empty() {
            let written = rustix::io::pwrite(&*partition.file, left, position)?;
            position += widen(written);
            left = left.get(written..).unwrap_or_default();
        }
        partition.next_position = position;
        partition.next_offset = offset + records;
        Ok(offset)
    }

    /// The whole batches from an offset on that fit; where they are, how many bytes, and the end.
    fn find(&self, asked: &Asked<'_>, fetch: Fetch) -> io::Result<Found> {
        let partition = self.partition(asked)?;
        let partition = locked(&partition);
        let batches = &partition.batches;
        let first = batches.partition_point(|batch| batch.0 <= fetch.offset).saturating_sub(1);
        let at = match batches.get(first) {
            Some(batch) if fetch.offset < partition.next_offset => batch.1,
            _ => partition.next_position,
        };
        let behind = batches.partition_point(|batch| batch.1 <= at + fetch.bytes_max);
        let all = partition.next_position <= at + fetch.bytes_max;
        let end = match behind.checked_sub(1).and_then(|last| batches.get(last)) {
            Some(last) if !all => last.1,
            _ => partition.next_position,
        };
        let file = Arc::clone(&partition.file);
        Ok(Found { file, at, bytes: end - at, next_offset: partition.next_offset })
    }
}

struct Found {
    file: Arc<OwnedFd>,
    at: u64,
    bytes: u64,
    next_offset: u64,
}

fn senseless() -> Error {
    Error::new(ErrorKind::InvalidData, "not a request of the bench")
}

/// One connection, until it ends.
async fn serve(store: &Store, mut stream: TcpStream) -> io::Result<()> {
    let mut buffer: Vec<u8> = Vec::with_capacity(2 * READ_BYTES);
    let mut out: Vec<u8> = Vec::with_capacity(16 * 1024);
    loop {
        let mut start = 0;
        while let Some(end) = whole(&buffer, start) {
            let request = buffer.get_mut(start + 4..end).ok_or_else(senseless)?;
            match Request::read(request).ok_or_else(senseless)? {
                Request::Produce(Produce { asked, batch }) => {
                    let offset = store.append(&asked, batch)?;
                    requests::produced(&mut out, &asked, offset);
                },
                Request::Fetch(asked, fetch) => {
                    let found = store.find(&asked, fetch)?;
                    requests::fetched(&mut out, &asked, found.next_offset, found.bytes);
                    send(&stream, &mut out, &found).await?;
                    requests::end_fetched(&mut out);
                },
            }
            start = end;
        }
        if !out.is_empty() {
            stream.write_all(&out).await?;
            out.clear();
        }
        buffer.drain(..start);
        let room = match length(&buffer, 0) {
            Some(whole) if whole > LARGE_BYTES => {
                buffer.reserve(whole - buffer.len());
                (whole - buffer.len()).min(READ_BYTES)
            },
            _ => READ_BYTES,
        };
        if stream.read_buf(&mut (&mut buffer).limit(room)).await? == 0 {
            return Ok(());
        }
    }
}

/// Bytes of the request at `start`, its length included.
fn length(buffer: &[u8], start: usize) -> Option<usize> {
    let length = u32::from_be_bytes(*buffer.get(start..)?.first_chunk()?);
    usize::try_from(length).ok()?.checked_add(4)
}

/// Where the request at `start` ends, if all of it is there.
fn whole(buffer: &[u8], start: usize) -> Option<usize> {
    let end = start.checked_add(length(buffer, start)?)?;
    (end <= buffer.len()).then_some(end)
}

/// Sends what is in `out`, and the bytes of the file behind it in the same packets.
async fn send(stream: &TcpStream, out: &mut Vec<u8>, found: &Found) -> io::Result<()> {
    let mut head = &out[..];
    let more = if found.bytes > 0 { SendFlags::MORE } else { SendFlags::empty() };
    while !head.is_empty() {
        let send = || Ok(rustix::net::send(stream, head, more | SendFlags::NOSIGNAL)?);
        let sent = stream.async_io(Interest::WRITABLE, send).await?;
        head = head.get(sent..).unwrap_or_default();
    }
    out.clear();
    let mut at = found.at;
    let end = found.at + found.bytes;
    while at < end {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let send = || {
            let mut from = at;
            Ok(rustix::fs::sendfile(stream, &*found.file, Some(&mut from), left)?)
        };
        match stream.async_io(Interest::WRITABLE, send).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            sent => at += widen(sent),
        }
    }
    Ok(())
}

async fn run(dir: PathBuf) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let store = Store { dir, files: AtomicU64::new(0), topic: Mutex::default() };
    let store = Arc::new(store);
    eprintln!("the floor is ready on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            if let Err(error) = serve(&store, stream).await {
                eprintln!("a connection ended: {error}");
            }
        });
    }
}

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1) else {
        eprintln!("usage: floor DIR");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_io().build();
    match runtime.and_then(|runtime| runtime.block_on(run(dir.into()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        },
    }
}
