//! Blocking sockets of the bench's client.
//!
//! Invariants: an answer counts once its last byte is here; the client copies what is small and
//! sends what is large from where it is.

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::frames::{ANSWER_HEAD_BYTES, Answer, Frame, fetched, produced};
use crate::failure::Failure;

/// Requests up to this size are sent together.
const TOGETHER_BYTES_MAX: usize = 16 * 1024;
/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Connects.
///
/// # Errors
/// [`Failure::Connect`].
pub fn connect(to: SocketAddr) -> Result<TcpStream, Failure> {
    let connected = TcpStream::connect(to).and_then(|stream| {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(stream)
    });
    connected.map_err(|source| Failure::Connect { at: to.to_string(), source })
}

/// A failure of a connection.
pub fn broken(at: SocketAddr, error: &io::Error) -> Failure {
    Failure::Broken { at: at.to_string(), why: error.to_string() }
}

/// Requests without end.
pub trait Requests {
    /// The next one.
    fn next(&mut self) -> Option<&Frame>;
}

/// Sends `count` requests, small ones together.
///
/// # Errors
/// What the socket says.
pub fn send(
    stream: &mut TcpStream,
    out: &mut Vec<u8>,
    count: usize,
    requests: &mut impl Requests,
) -> io::Result<()> {
    out.clear();
    for _ in 0..count {
        let Some(frame) = requests.next() else { break };
        if frame.len() <= TOGETHER_BYTES_MAX {
            out.extend_from_slice(&frame.head);
            out.extend_from_slice(&frame.batch);
            out.extend_from_slice(&frame.tail);
        } else {
            let pieces = [&frame.head[..], &frame.batch, &frame.tail];
            write_all(stream, pieces)?;
        }
    }
    stream.write_all(out)
}

fn write_all(stream: &mut TcpStream, pieces: [&[u8]; 3]) -> io::Result<()> {
    let mut slices = pieces.map(IoSlice::new);
    let mut left = &mut slices[..];
    while !left.is_empty() {
        match stream.write_vectored(left)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut left, written),
        }
    }
    Ok(())
}

/// The answers of one connection, in order.
pub struct Answers {
    stream: TcpStream,
    at: SocketAddr,
    of_produce: bool,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Answers {
    /// Of requests that are all appends, or all fetches.
    pub fn new(stream: TcpStream, at: SocketAddr, of_produce: bool) -> Self {
        // Answers to appends are short, and there may be many connections.
        let bytes = if of_produce { 16 * 1024 } else { READ_BYTES };
        Self { stream, at, of_produce, buffer: vec![0; bytes], start: 0, end: 0 }
    }

    fn here(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Bytes of the whole frame at the front, if its length is here.
    fn length(&self) -> Option<usize> {
        let length = u32::from_be_bytes(*self.here().first_chunk()?);
        usize::try_from(length).ok()?.checked_add(4)
    }

    /// Whether a further answer needs no waiting.
    pub fn has_next(&self) -> bool {
        self.length().is_some_and(|length| length <= self.here().len())
    }

    /// The next answer.
    ///
    /// # Errors
    /// [`Failure::Broken`], and [`Failure::Refused`] if it is an error.
    pub fn next(&mut self) -> Result<Answer, Failure> {
        let length = loop {
            match self.length() {
                Some(length) if self.here().len() >= length.min(ANSWER_HEAD_BYTES) => break length,
                _ => self.read()?,
            }
        };
        let whole = self.here();
        let head = whole.get(4..length.min(whole.len())).unwrap_or_default();
        let read = if self.of_produce { produced(head) } else { fetched(head) };
        let answer = read.ok_or_else(|| Failure::Broken {
            at: self.at.to_string(),
            why: "an answer that makes no sense".to_owned(),
        })?;
        let mut left = length;
        loop {
            let skipped = left.min(self.here().len());
            self.start += skipped;
            left -= skipped;
            if left == 0 {
                break;
            }
            self.read()?;
        }
        if answer.error.is_none() {
            return Ok(answer);
        }
        let what = if self.of_produce { "appending" } else { "reading" };
        Err(Failure::Refused { what: what.to_owned(), code: answer.error, told: None })
    }

    fn read(&mut self) -> Result<(), Failure> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() || self.start > self.buffer.len() / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let spare = self.buffer.get_mut(self.end..).unwrap_or_default();
        match self.stream.read(spare) {
            Ok(0) => Err(broken(self.at, &io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => {
                self.end += read;
                Ok(())
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(broken(self.at, &error)),
        }
    }
}
