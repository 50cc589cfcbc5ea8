//! The wire primitives: what is written reads back, and whatever is read never panics.
#![expect(clippy::expect_used, reason = "a test that cannot go on should say so")]

use base::Uuid;
use base::codec::{
    ARRAY_BYTES_FREE, ARRAY_BYTES_PER_BYTE, DecodeError, EncodeError, Part, Reader, Wire, Writer,
};
use bytes::Bytes;
use proptest::prelude::*;

fn written(write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut writer = Writer::new();
    write(&mut writer);
    let length = writer.len();
    let bytes = writer.into_bytes().expect("nothing is external");
    assert_eq!(bytes.len(), length);
    bytes
}

/// Reads to the end.
fn read<T>(
    bytes: &Bytes,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut reader = Reader::from(bytes);
    let value = read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// Two numbers, of which the second is a tagged field with the default 0.
#[derive(Clone, Debug, PartialEq)]
struct Pair(i16, i64);

impl Wire for Pair {
    fn decode(reader: &mut Reader<'_>, _version: i16) -> Result<Self, DecodeError> {
        let mut pair = Self(reader.i16()?, 0);
        reader.tags(|tag, reader| {
            if tag == 5 {
                pair.1 = reader.varlong()?;
            }
            Ok(tag == 5)
        })?;
        Ok(pair)
    }

    fn encode(&self, writer: &mut Writer, _version: i16) -> Result<(), EncodeError> {
        writer.i16(self.0);
        writer.uvarint(u32::from(self.1 != 0));
        if self.1 != 0 {
            writer.tag(5, |w| {
                w.varlong(self.1);
                Ok(())
            })?;
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn numbers_round_trip(
        a in any::<i8>(), b in any::<i16>(), c in any::<i32>(), d in any::<i64>(),
        e in any::<u16>(), f in any::<u32>(), g in any::<f64>(), h in any::<bool>(),
        i in any::<[u8; 16]>(),
    ) {
        let bytes = written(|w| {
            w.i8(a); w.i16(b); w.i32(c); w.i64(d); w.u16(e); w.u32(f); w.f64(g); w.bool(h);
            w.uuid(Uuid(i));
        });
        let back = read(&bytes, |r| Ok((
            (r.i8()?, r.i16()?, r.i32()?, r.i64()?),
            (r.u16()?, r.u32()?, r.f64()?.to_bits(), r.bool()?, r.uuid()?.0),
        )));
        prop_assert_eq!(back, Ok(((a, b, c, d), (e, f, g.to_bits(), h, i))));
    }

    #[test]
    fn varints_round_trip(a in any::<u32>(), b in any::<i32>(), c in any::<i64>(), shift in 0..64) {
        let (a, b, c) = (a >> (shift / 2), b >> (shift / 2), c >> shift);
        let bytes = written(|w| { w.uvarint(a); w.varint(b); w.varlong(c); });
        let back = read(&bytes, |r| Ok((r.uvarint()?, r.varint()?, r.varlong()?)));
        prop_assert_eq!(back, Ok((a, b, c)));
    }

    #[test]
    fn text_bytes_and_arrays_round_trip(
        text in proptest::option::of(".*"),
        bytes in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..600)),
        array in proptest::option::of(proptest::collection::vec(any::<i32>(), 0..200)),
        flexible in any::<bool>(),
    ) {
        let shared = bytes.clone().map(Bytes::from);
        let out = written(|w| {
            w.nullable_string(text.as_deref(), flexible).expect("short");
            w.nullable_bytes(shared.as_ref(), flexible).expect("short");
            w.nullable_array(array.as_deref(), flexible, |w, e| { w.i32(*e); Ok(()) })
                .expect("short");
        });
        let back = read(&out, |r| Ok((
            r.nullable_string(flexible)?,
            r.nullable_bytes(flexible)?,
            r.nullable_array(flexible, 4, Reader::i32)?,
        )));
        prop_assert_eq!(back, Ok((text, shared, array)));
    }

    #[test]
    fn tagged_fields_round_trip_and_unknown_ones_are_skipped(
        a in any::<i16>(), b in any::<i64>(), tag in 6..900_u32,
        unknown in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let plain = written(|w| Pair(a, b).encode(w, 0).expect("fits"));
        prop_assert_eq!(read(&plain, |r| Pair::decode(r, 0)), Ok(Pair(a, b)));

        let more = written(|w| {
            w.i16(a);
            w.uvarint(2);
            w.tag(5, |w| { w.varlong(b); Ok(()) }).expect("fits");
            w.tag(tag, |w| { w.put_slice(&unknown); Ok(()) }).expect("fits");
        });
        prop_assert_eq!(read(&more, |r| Pair::decode(r, 0)), Ok(Pair(a, b)));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let whole = Bytes::from(bytes);
        for flexible in [false, true] {
            let reader = || Reader::from(&whole);
            let _any = reader().uvarint();
            let _any = reader().varint();
            let _any = reader().varlong();
            let _any = reader().nullable_string(flexible);
            let _any = reader().nullable_bytes(flexible);
            let _any = reader().nullable_array(flexible, 1, |r| r.string(flexible));
            let _any = reader().array(flexible, 3, |r| Pair::decode(r, 0));
            let _any = reader().nullable_struct::<Pair>(0);
            let _any = reader().tagged_nullable_struct::<Pair>(0);
            let _any = reader().skip_tags();
        }
    }
}

#[test]
fn a_count_beyond_the_bytes_that_remain_is_refused_before_anything_is_allocated() {
    let classic = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let refused = Reader::from(&classic).array(false, 4, Reader::i32);
    assert_eq!(refused, Err(DecodeError::Count { count: 0x7fff_ffff, remaining: 4 }));

    let compact = Bytes::from_static(&[4, 0, 0, 0, 0, 0, 0, 0, 0]);
    let refused = Reader::from(&compact).array(true, 4, Reader::i32);
    assert_eq!(refused, Err(DecodeError::Count { count: 3, remaining: 8 }));
}

#[test]
fn a_large_input_of_tiny_elements_is_refused_before_it_takes_many_times_its_length_in_memory() {
    let count = 4_000_000_u32;
    let mut frame = count.to_be_bytes().to_vec();
    frame.resize(4 + 2 * 4_000_000, 0);
    let frame = Bytes::from(frame);

    // Empty texts: 2 bytes each on the wire, 24 in memory.
    let refused = Reader::from(&frame).array(false, 2, |r| r.string(false));

    let allowed = ARRAY_BYTES_FREE + ARRAY_BYTES_PER_BYTE * frame.len();
    assert_eq!(refused, Err(DecodeError::Memory { needed: 96_000_000, allowed }));
    let numbers = Reader::from(&frame).array(false, 2, Reader::i16);
    assert_eq!(numbers.map(|n| n.len()), Ok(4_000_000));
}

#[test]
fn varints_beyond_their_width_are_refused() {
    let five = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x10]);
    assert_eq!(Reader::from(&five).uvarint(), Err(DecodeError::Varint));
    let largest = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert_eq!(Reader::from(&largest).uvarint(), Ok(u32::MAX));
    let endless = Bytes::from_static(&[0x80; 11]);
    assert_eq!(Reader::from(&endless).uvarint(), Err(DecodeError::Varint));
    assert_eq!(Reader::from(&endless).varlong(), Err(DecodeError::Varint));
}

#[test]
fn a_tagged_field_longer_than_its_value_is_refused() {
    let bytes = Bytes::from_static(&[0, 1, 1, 5, 2, 8, 0]);
    assert_eq!(read(&bytes, |r| Pair::decode(r, 0)), Err(DecodeError::TagSize { tag: 5, left: 1 }));
}

#[test]
fn text_longer_than_its_prefix_is_refused_in_both_forms() {
    let text = "x".repeat(32_768);
    for flexible in [false, true] {
        let mut writer = Writer::new();
        assert_eq!(writer.string(&text, flexible), Err(EncodeError::Length(32_768)));
    }
    assert_eq!(written(|w| w.string(&text[1..], false).expect("fits")).len(), 32_769);
}

#[test]
fn text_that_could_not_be_written_is_not_read_either() {
    let compact = |length: u32| {
        let text = vec![b'x'; usize::try_from(length).expect("fits")];
        [&written(|w| w.uvarint(length + 1))[..], &text].concat()
    };
    for length in [32_768, 40_000] {
        let bytes = compact(length);
        let refused = DecodeError::TextLength(usize::try_from(length).expect("fits"));
        assert_eq!(Reader::from(&bytes[..]).str(true), Err(refused));
        assert_eq!(Reader::from(&bytes[..]).nullable_string(true), Err(refused));
        let whole = Reader::from(&bytes[..]).nullable_slice(true).map(|b| b.map(<[u8]>::len));
        assert_eq!(whole, Ok(Some(bytes.len() - 3)), "bytes have another bound");
    }
    assert_eq!(Reader::from(&compact(32_767)[..]).str(true).map(str::len), Ok(32_767));
}

#[test]
fn long_bytes_and_external_ones_become_parts_of_their_own() {
    let long = Bytes::from(vec![7; 1000]);
    let mut writer = Writer::new();
    writer.i32(0);
    writer.nullable_bytes(Some(&long), false).expect("fits");
    writer.put_external(9, 500);
    writer.i8(1);

    let parts = writer.into_frame().expect("fits");

    let expected_head = Bytes::from_static(&[0, 0, 5, 225, 0, 0, 3, 232]);
    assert_eq!(
        parts,
        [
            Part::Bytes(expected_head),
            Part::Bytes(long.clone()),
            Part::External { token: 9, length: 500 },
            Part::Bytes(Bytes::from_static(&[1])),
        ]
    );
    let Some(Part::Bytes(shared)) = parts.get(1) else { panic!("the second part") };
    assert_eq!(shared.as_ptr(), long.as_ptr(), "shared, not copied");
}

#[test]
fn bytes_read_from_a_frame_are_slices_of_it_and_copies_otherwise() {
    let frame =
        written(|w| w.nullable_bytes(Some(&Bytes::from_static(b"abc")), true).expect("fits"));
    let slice = Reader::from(&frame).bytes(true).expect("valid");
    assert!(frame.as_ptr_range().contains(&slice.as_ptr()));

    let copy = Reader::from(&frame[..]).bytes(true).expect("valid");
    assert_eq!(copy, slice);
    assert!(!frame.as_ptr_range().contains(&copy.as_ptr()));
}
