//! Lines of an input, as many at a time as are there.
//!
//! Invariants: a chunk holds every complete line that one read gave, so that lines typed at a
//! terminal are handed on at once; a last line without a line feed counts; `\r\n` ends a line too.

use std::io::{self, Read};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// See the module head.
pub struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// An unfinished line.
    rest: Vec<u8>,
    ended: bool,
}

impl<R: Read> Lines<R> {
    /// The lines of `input`.
    pub fn new(input: R) -> Self {
        Self { input, buffer: vec![0; CHUNK_BYTES], rest: Vec::new(), ended: false }
    }

    /// The next lines; `None` at the end.
    ///
    /// # Errors
    /// What reading fails with.
    pub fn next_chunk(&mut self) -> io::Result<Option<Vec<Vec<u8>>>> {
        while !self.ended {
            let read = match self.input.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            let mut lines = Vec::new();
            if read == 0 {
                self.ended = true;
                if !self.rest.is_empty() {
                    lines.push(finish(std::mem::take(&mut self.rest)));
                }
            }
            let fresh = self.buffer.get(..read).unwrap_or_default();
            for part in fresh.split_inclusive(|byte| *byte == b'\n') {
                self.rest.extend_from_slice(part);
                if part.ends_with(b"\n") {
                    lines.push(finish(std::mem::take(&mut self.rest)));
                }
            }
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
        }
        Ok(None)
    }
}

fn finish(mut line: Vec<u8>) -> Vec<u8> {
    if line.ends_with(b"\n") {
        line.pop();
        if line.ends_with(b"\r") {
            line.pop();
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time.
    struct Slow(&'static [u8]);

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            into[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn all(input: impl Read) -> Vec<String> {
        let mut lines = Lines::new(input);
        let mut all = Vec::new();
        while let Some(chunk) = lines.next_chunk().expect("readable") {
            all.extend(chunk.into_iter().map(|line| String::from_utf8(line).expect("text")));
        }
        all
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        for text in [&b""[..], b"a", b"a\n", b"a\r\nb\n", b"\n\nx", b"long line\nand more\n\n"] {
            let expected: Vec<String> =
                String::from_utf8_lossy(text).lines().map(str::to_owned).collect();
            assert_eq!(all(text), expected);
            assert_eq!(all(Slow(text)), expected);
        }
    }
}
