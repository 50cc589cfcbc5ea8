//! The blocks of a journal file: one header, then groups of records.
//!
//! Invariants: a group is whole or counts for nothing; a block says which lap and group it belongs
//! to, so that what an earlier lap of the file left behind is never taken for this one's.
//!
//! ```text
//! header: 0 magic "GRGJRNL\0" | 8 version u16 | 10 reserved u16 = 0 | 12 block bytes u32 | 16 lap u64
//!         24 nonce u64 | 32 groups of the lap before u64 | 40 CRC-32 | zeros up to 4096
//! block:  0 nonce u64 | 8 group u64 | 16 index u32 | 20 blocks of the group u32 | 24 bytes u32
//!         28 kind u32 | 32 records | zeros | 4092 CRC-32
//! kind:   0 a block of a group | 1 the lap is full, and the next one has a durable header: no records
//! ```

use crate::codec::{FormatError, Reader};

/// Bytes of a block.
pub const BLOCK: usize = 4096;
/// Bytes of records in a block.
pub const BLOCK_PAYLOAD: usize = BLOCK - HEAD - 4;
/// Bytes in front of them.
const HEAD: usize = 32;
/// Bytes of the header that are not zeros: within one sector, so that it is written whole or not.
const HEADER: usize = 44;
const MAGIC: [u8; 8] = *b"GRGJRNL\0";
const VERSION: u16 = 1;
const _: () = assert!(HEADER <= 512);
/// What a block is.
const RECORDS: u32 = 0;
const CONTINUED: u32 = 1;

/// What a journal file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalHeader {
    /// Counts the uses of all files of the directory, from 1: the order of the files.
    pub lap: u64,
    /// Random, fresh for each lap.
    pub nonce: u64,
    /// How many groups the lap before had: all of them durable.
    pub groups_before: u64,
}

/// A block of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalBlock<'a> {
    /// The lap's.
    pub nonce: u64,
    /// Which group of the lap, from 0.
    pub group: u64,
    /// Which block of the group, from 0.
    pub index: u32,
    /// How many blocks the group has.
    pub count: u32,
    /// Its share of the records' bytes.
    pub payload: &'a [u8],
    /// Whether it is no group but says, in the place of one, that the journal goes on in the next
    /// lap.
    pub continued: bool,
}

/// The first block of a file.
pub fn encode_journal_header(header: &JournalHeader) -> Vec<u8> {
    let mut out = Vec::with_capacity(BLOCK);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&0_u16.to_le_bytes());
    out.extend_from_slice(&block_bytes().to_le_bytes());
    out.extend_from_slice(&header.lap.to_le_bytes());
    out.extend_from_slice(&header.nonce.to_le_bytes());
    out.extend_from_slice(&header.groups_before.to_le_bytes());
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.resize(BLOCK, 0);
    out
}

/// Reads the first block of a file.
///
/// # Errors
/// [`FormatError`] if it is not what [`encode_journal_header`] writes.
pub fn decode_journal_header(bytes: &[u8]) -> Result<JournalHeader, FormatError> {
    let mut reader = Reader::new(bytes.get(..HEADER).ok_or(FormatError::Truncated)?);
    if reader.array::<8>()? != MAGIC {
        return Err(FormatError::Magic);
    }
    let version = reader.u16()?;
    reader.u16()?;
    let size = reader.u32()?;
    let (lap, nonce) = (reader.u64()?, reader.u64()?);
    let header = JournalHeader { lap, nonce, groups_before: reader.u64()? };
    let crc = reader.u32()?;
    if crc32fast::hash(&bytes[..HEADER - 4]) != crc {
        return Err(FormatError::Checksum);
    }
    if version != VERSION {
        return Err(FormatError::Version(version));
    }
    if size == block_bytes() && lap > 0 { Ok(header) } else { Err(FormatError::Field("header")) }
}

fn block_bytes() -> u32 {
    u32::try_from(BLOCK).unwrap_or(u32::MAX)
}

/// How many blocks records of `bytes` bytes take; one at least.
pub(crate) fn blocks_for(bytes: usize) -> usize {
    bytes.div_ceil(BLOCK_PAYLOAD).max(1)
}

/// The block behind the last of `groups` groups of a lap, once the next lap has a durable header.
pub fn encode_continued(nonce: u64, groups: u64) -> Vec<u8> {
    encode_blocks(nonce, groups, &[], CONTINUED)
}

/// The blocks of a group.
pub fn encode_group(nonce: u64, group: u64, records: &[u8]) -> Vec<u8> {
    encode_blocks(nonce, group, records, RECORDS)
}

fn encode_blocks(nonce: u64, group: u64, records: &[u8], kind: u32) -> Vec<u8> {
    let count = blocks_for(records.len());
    let count_field = u32::try_from(count).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(count * BLOCK);
    for index in 0..count {
        let begun = index * BLOCK;
        let from = (index * BLOCK_PAYLOAD).min(records.len());
        let payload = &records[from..(from + BLOCK_PAYLOAD).min(records.len())];
        out.extend_from_slice(&nonce.to_le_bytes());
        out.extend_from_slice(&group.to_le_bytes());
        out.extend_from_slice(&u32::try_from(index).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&count_field.to_le_bytes());
        out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(payload);
        out.resize(begun + BLOCK - 4, 0);
        let crc = crc32fast::hash(&out[begun..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }
    out
}

/// Reads one block.
///
/// # Errors
/// [`FormatError`] if it is not one of those [`encode_group`] or [`encode_continued`] writes.
pub fn decode_block(bytes: &[u8]) -> Result<JournalBlock<'_>, FormatError> {
    let bytes = bytes.get(..BLOCK).ok_or(FormatError::Truncated)?;
    let (summed, crc) = bytes.split_at(BLOCK - 4);
    if crc32fast::hash(summed).to_le_bytes() != *crc {
        return Err(FormatError::Checksum);
    }
    let mut reader = Reader::new(summed);
    let (nonce, group) = (reader.u64()?, reader.u64()?);
    let (index, count, len) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let kind = reader.u32()?;
    let len = usize::try_from(len).map_err(|_| FormatError::Truncated)?;
    let payload = reader.take(len)?;
    // All but the last block of a group are full.
    let full = len == BLOCK_PAYLOAD || index.checked_add(1) == Some(count);
    let continued = kind == CONTINUED && count == 1 && len == 0;
    if index >= count || !full || !(continued || kind == RECORDS) {
        return Err(FormatError::Field("block"));
    }
    Ok(JournalBlock { nonce, group, index, count, payload, continued })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_gives_back_what_was_written() {
        let header = JournalHeader { lap: 9, nonce: 77, groups_before: 12 };
        let bytes = encode_journal_header(&header);
        assert_eq!((bytes.len(), decode_journal_header(&bytes)), (BLOCK, Ok(header)));
    }

    #[test]
    fn the_end_of_a_lap_is_no_group() {
        let bytes = encode_continued(5, 6);
        let block = decode_block(&bytes).unwrap();

        assert_eq!((block.nonce, block.group, block.payload.len()), (5, 6, 0));
        assert!(block.continued && !decode_block(&encode_group(5, 6, &[])).unwrap().continued);
    }

    #[test]
    fn bytes_that_were_never_written_are_no_block() {
        assert!(decode_block(&[0; BLOCK]).is_err());
        assert!(decode_journal_header(&[0; BLOCK]).is_err());
    }

    proptest! {
        #[test]
        fn a_group_gives_back_its_records(len in 0..20_000_usize, group in any::<u64>()) {
            let records: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let bytes = encode_group(5, group, &records);
            let mut read = Vec::new();
            for (index, block) in bytes.chunks(BLOCK).enumerate() {
                let block = decode_block(block).unwrap();
                prop_assert_eq!((block.nonce, block.group), (5, group));
                prop_assert_eq!(usize::try_from(block.index).unwrap(), index);
                prop_assert_eq!(usize::try_from(block.count).unwrap(), bytes.len() / BLOCK);
                read.extend_from_slice(block.payload);
            }
            prop_assert_eq!(read, records);
        }

        #[test]
        fn one_changed_byte_is_noticed(at in 0..BLOCK, with in 1_u8..) {
            let mut bytes = encode_group(5, 6, b"records");
            bytes[at] ^= with;
            prop_assert!(decode_block(&bytes).is_err());
        }
    }
}
