//! Zig-zag varints, as records use them, and a reader that never runs past its bytes.
//!
//! Invariant: total. A varint that is cut off, longer than its type needs or larger than its type
//! holds is an error, so each number has a bounded length: 5 bytes, or 10.

use bytes::BufMut;

/// Reads forward through a slice. Every method returns `None` where bytes or sense run out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    /// An unsigned varint of at most `BITS` bits.
    #[inline]
    fn unsigned<const BITS: u32>(&mut self) -> Option<u64> {
        let first = self.byte()?;
        if first < 0x80 {
            return Some(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7;
        while shift < BITS {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if BITS - shift < 7 && bits >> (BITS - shift) != 0 {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
            shift += 7;
        }
        None
    }

    /// A zig-zag varint of 32 bits.
    #[inline]
    pub(crate) fn varint(&mut self) -> Option<i32> {
        i32::try_from(unzigzag(self.unsigned::<32>()?)).ok()
    }

    /// A zig-zag varint of 64 bits.
    #[inline]
    pub(crate) fn varlong(&mut self) -> Option<i64> {
        self.unsigned::<64>().map(unzigzag)
    }

    /// A length, then as many bytes; −1 is null, anything below is no length.
    #[inline]
    pub(crate) fn nullable_bytes(&mut self) -> Option<Option<&'a [u8]>> {
        match self.varint()? {
            -1 => Some(None),
            len => self.take(usize::try_from(len).ok()?).map(Some),
        }
    }
}

#[inline]
fn unzigzag(value: u64) -> i64 {
    let half = (value >> 1).cast_signed();
    if value & 1 == 0 { half } else { !half }
}

#[inline]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Writes `value` as a zig-zag varint; 32-bit and 64-bit numbers look the same.
pub(crate) fn put_varlong(out: &mut impl BufMut, value: i64) {
    let mut rest = zigzag(value);
    loop {
        let [.., low] = (rest & 0x7f).to_be_bytes();
        rest >>= 7;
        if rest == 0 {
            out.put_u8(low);
            return;
        }
        out.put_u8(low | 0x80);
    }
}

/// Bytes that [`put_varlong`] writes for `value`: 1 to 10.
pub(crate) fn varlong_len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros();
    usize::try_from(bits.div_ceil(7)).unwrap_or(10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn longs_round_trip_and_their_length_is_known(value in any::<i64>(), shift in 0..64_u32) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_varlong(&mut out, value);

            prop_assert_eq!(out.len(), varlong_len(value));
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varlong(), Some(value));
            prop_assert!(reader.is_empty());
            prop_assert_eq!(Reader::new(&out).varint(), i32::try_from(value).ok());
            prop_assert_eq!(Reader::new(&out[..out.len() - 1]).varlong(), None);
        }
    }

    #[test]
    fn a_varint_beyond_its_type_is_refused() {
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).varint(), Some(i32::MIN));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).varint(), None);
        assert_eq!(Reader::new(&[0xff; 5]).varint(), None);
        let mut long = [0xff; 10];
        assert_eq!(Reader::new(&long).varlong(), None);
        long[9] = 0x01;
        assert_eq!(Reader::new(&long).varlong(), Some(i64::MIN));
        long[9] = 0x02;
        assert_eq!(Reader::new(&long).varlong(), None);
    }
}
