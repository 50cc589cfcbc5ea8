//! What the fuzz targets have in common.

use base::codec::{Message, Reader, Writer};

/// Decodes, encodes and decodes again. Nothing may panic, and what was decoded once must settle:
/// it encodes, to bytes that decode to the same value and encode to the same bytes.
pub fn settles<M: Message + std::fmt::Debug>(data: &[u8], version: i16) {
    let Ok(value) = M::decode(&mut Reader::from(data), version) else { return };
    let encode = |value: &M| {
        let mut writer = Writer::new();
        value.encode(&mut writer, version).expect("what was decoded can be encoded");
        writer.into_bytes().expect("nothing is external")
    };
    let bytes = encode(&value);
    let mut reader = Reader::from(&bytes);
    let again = M::decode(&mut reader, version).expect("what was encoded can be decoded");
    reader.finish().expect("nothing behind it");
    // By text: a float may be no number, which differs from itself.
    assert_eq!(format!("{again:?}"), format!("{value:?}"));
    assert_eq!(encode(&again), bytes);
}
