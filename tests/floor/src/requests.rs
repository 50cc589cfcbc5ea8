//! The two requests that the floor understands, and their answers.
//!
//! Invariant: nothing here panics, whatever the bytes are; what is not understood is `None`.

const PRODUCE: (i16, i16) = (0, 11);
const FETCH: (i16, i16) = (1, 12);

/// Places in a batch.
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;

/// Who asks, and about what.
pub struct Asked<'a> {
    pub correlation: i32,
    pub topic: &'a [u8],
    pub partition: usize,
}

/// An append.
pub struct Produce<'a> {
    pub asked: Asked<'a>,
    pub batch: &'a mut [u8],
}

/// A read.
#[derive(Clone, Copy)]
pub struct Fetch {
    pub offset: u64,
    pub bytes_max: u64,
}

/// A request.
pub enum Request<'a> {
    Produce(Produce<'a>),
    Fetch(Asked<'a>, Fetch),
}

/// Bytes behind a batch in a request: three lists of tags.
const TAGS_BEHIND: usize = 3;

impl<'a> Request<'a> {
    /// Reads a request, behind its length.
    pub fn read(bytes: &'a mut [u8]) -> Option<Self> {
        let mut at = Cursor(&*bytes);
        let what = (at.i16()?, at.i16()?);
        let correlation = at.i32()?;
        let client_id = at.i16()?;
        at.skip(usize::try_from(client_id).ok()?)?;
        at.skip(1)?;
        if what == PRODUCE {
            at.skip(1 + 2 + 4)?; // transactional id, acks, timeout
            let (topic, partition) = at.one_partition()?;
            let len = at.uvarint()?.checked_sub(1)?;
            let name_end = bytes.len().checked_sub(at.0.len())?;
            let name_start = bytes.len().checked_sub(topic.left)?;
            let (front, batch) = bytes.split_at_mut_checked(name_end)?;
            let topic = front.get(name_start..)?.get(..topic.len)?;
            let batch = batch.get_mut(..len).filter(|batch| !batch.is_empty())?;
            return Some(Self::Produce(Produce {
                asked: Asked { correlation, topic, partition },
                batch,
            }));
        }
        if what != FETCH {
            return None;
        }
        at.skip(4 * 4 + 1 + 2 * 4)?; // replica, wait, min, max; isolation; session and its epoch
        let (topic, partition) = at.one_partition()?;
        at.skip(4)?; // leader epoch
        let offset = u64::try_from(at.i64()?).ok()?;
        at.skip(4 + 8)?; // last fetched epoch, log start
        let bytes_max = u64::try_from(at.i32()?).ok()?;
        at.skip(TAGS_BEHIND.min(1))?;
        let start = bytes.len().checked_sub(topic.left)?;
        let topic = bytes.get(start..)?.get(..topic.len)?;
        let asked = Asked { correlation, topic, partition };
        Some(Self::Fetch(asked, Fetch { offset, bytes_max }))
    }
}

/// A batch whose CRC is right.
pub struct Batch<'a> {
    bytes: &'a mut [u8],
    /// Records in it, if no offset is missing.
    pub records: u64,
}

impl<'a> Batch<'a> {
    /// The batch, if its CRC is right.
    pub fn checked(bytes: &'a mut [u8]) -> Option<Self> {
        let claimed = u32::from_be_bytes(*bytes.get(CRC..)?.first_chunk()?);
        let last = i32::from_be_bytes(*bytes.get(LAST_OFFSET_DELTA..)?.first_chunk()?);
        let records = u64::try_from(last).ok()?.checked_add(1)?;
        let found = crc_fast::crc32_iscsi(bytes.get(ATTRIBUTES..)?);
        (found == claimed).then_some(Self { bytes, records })
    }

    /// Its bytes, with an offset and epoch 0.
    pub fn placed(self, offset: u64) -> &'a [u8] {
        let put = |bytes: &mut [u8], at: usize, with: &[u8]| {
            if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..with.len())) {
                place.copy_from_slice(with);
            }
        };
        put(self.bytes, 0, &offset.to_be_bytes());
        put(self.bytes, 12, &[0; 4]);
        self.bytes
    }
}

/// Writes the answer to an append.
pub fn produced(out: &mut Vec<u8>, asked: &Asked<'_>, offset: u64) {
    let start = begin(out, asked.correlation);
    put_one_partition(out, asked);
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(&(-1_i64).to_be_bytes());
    out.extend_from_slice(&[0; 8]); // log start
    out.extend_from_slice(&[1, 0, 0, 0]); // no errors of records, no message, no tags twice
    out.extend_from_slice(&[0; 4 + 1]); // throttle time, no tags
    end(out, start, 0);
}

/// Writes the answer to a read up to its records.
pub fn fetched(out: &mut Vec<u8>, asked: &Asked<'_>, next_offset: u64, record_bytes: u64) {
    let start = begin(out, asked.correlation);
    out.extend_from_slice(&[0; 4 + 2 + 4]); // throttle time, error, session
    put_one_partition(out, asked);
    out.extend_from_slice(&next_offset.to_be_bytes());
    out.extend_from_slice(&next_offset.to_be_bytes());
    out.extend_from_slice(&[0; 8 + 1]); // log start, no aborted transactions
    out.extend_from_slice(&(-1_i32).to_be_bytes());
    put_uvarint(out, record_bytes + 1);
    end(
        out,
        start,
        usize::try_from(record_bytes).unwrap_or(usize::MAX).saturating_add(TAGS_BEHIND),
    );
}

/// Writes what follows the records.
pub fn end_fetched(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; TAGS_BEHIND]);
}

fn begin(out: &mut Vec<u8>, correlation: i32) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&correlation.to_be_bytes());
    out.push(0);
    start
}

/// Writes the length over its place at `start`; so many bytes follow.
fn end(out: &mut [u8], start: usize, follow: usize) {
    let length = (out.len() - start - 4).saturating_add(follow);
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length);
    }
}

fn put_one_partition(out: &mut Vec<u8>, asked: &Asked<'_>) {
    out.push(2);
    put_uvarint(out, u64::try_from(asked.topic.len()).unwrap_or(0) + 1);
    out.extend_from_slice(asked.topic);
    out.push(2);
    out.extend_from_slice(&i32::try_from(asked.partition).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&[0; 2]); // no error
}

fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Where a topic's name is: `left` bytes before the end.
struct Name {
    left: usize,
    len: usize,
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn uvarint(&mut self) -> Option<usize> {
        let mut value = 0_usize;
        for shift in (0..=28).step_by(7) {
            let [byte] = self.take()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// The one partition of the one topic.
    fn one_partition(&mut self) -> Option<(Name, usize)> {
        if self.uvarint()? != 2 {
            return None;
        }
        let len = self.uvarint()?.checked_sub(1)?;
        let name = Name { left: self.0.len(), len };
        self.skip(len)?;
        if self.uvarint()? != 2 {
            return None;
        }
        let partition = usize::try_from(self.i32()?).ok().filter(|index| *index < 1_000_000)?;
        Some((name, partition))
    }
}
