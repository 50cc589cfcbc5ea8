//! The `directories` file: which directories belong to the node, kept in the one that holds its
//! metadata. So one that comes up empty, or does not come up at all, is noticed.
//!
//! Invariant: replaced as a whole; a directory is in it before a log is made in it.

use base::Uuid;

use crate::codec::{FormatError, Reader, frame, unframe};

const MAGIC: [u8; 8] = *b"GRGDIRS\0";
const VERSION: u16 = 1;
/// Longest path that is kept, bytes; it is for people only.
const PATH_MAX: usize = 4096;

/// One directory of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDir {
    /// Its identity.
    pub dir_id: Uuid,
    /// Where it was last seen.
    pub path: String,
}

/// The whole file: `count u32`, then per directory `directory id 16, path (length u32, text)`, in a
/// frame.
pub fn encode_known(dirs: &[KnownDir]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&u32::try_from(dirs.len()).unwrap_or(u32::MAX).to_le_bytes());
    for dir in dirs {
        let path = super::starts::bounded(&dir.path, PATH_MAX);
        body.extend_from_slice(&dir.dir_id.0);
        body.extend_from_slice(&u32::try_from(path.len()).unwrap_or(0).to_le_bytes());
        body.extend_from_slice(path.as_bytes());
    }
    frame(MAGIC, VERSION, &body)
}

/// Reads the whole file.
///
/// # Errors
/// [`FormatError`] if it is not exactly what [`encode_known`] writes.
pub fn decode_known(bytes: &[u8]) -> Result<Vec<KnownDir>, FormatError> {
    let mut reader = Reader::new(unframe(bytes, MAGIC, VERSION)?);
    let count = reader.count(20)?;
    let mut dirs = Vec::with_capacity(count);
    for _ in 0..count {
        let dir_id = Uuid(reader.array()?);
        let len = reader.count(1)?;
        if len > PATH_MAX {
            return Err(FormatError::Field("path"));
        }
        let path = std::str::from_utf8(reader.take(len)?);
        let path = path.map_err(|_| FormatError::Field("path"))?.to_owned();
        dirs.push(KnownDir { dir_id, path });
    }
    reader.finish()?;
    Ok(dirs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_directories_give_back_what_was_written() {
        let dir = |id: u8, path: &str| KnownDir { dir_id: Uuid([id; 16]), path: path.into() };
        for dirs in [vec![], vec![dir(1, "/a")], vec![dir(1, "/a"), dir(2, "")]] {
            assert_eq!(decode_known(&encode_known(&dirs)), Ok(dirs));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _checked = decode_known(&frame(MAGIC, VERSION, &bytes));
        }
    }
}
