//! Every record of the coordinators' topics against a second reading of its schema: bytes and
//! values written by interpreting `proto/kafka/coordinator/*.txt` must decode to exactly those
//! values, and encode to exactly those bytes.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on should say so")]

use std::path::Path;

use base::codec::{Message, Reader, Writer};
use coordinator::{for_each_record, generated};
use proptest::prelude::*;
use proto::sample::{self, STYLES, Sampler, Style};
use proto::schema::{Message as Description, Schema, Subject};

type Codec = fn(&[u8], i16) -> Result<(String, Vec<u8>), String>;

fn codec<M: Message + std::fmt::Debug>(
    bytes: &[u8],
    version: i16,
) -> Result<(String, Vec<u8>), String> {
    let mut reader = Reader::from(bytes);
    let value = M::decode(&mut reader, version).map_err(|e| e.to_string())?;
    reader.finish().map_err(|e| e.to_string())?;
    let mut writer = Writer::new();
    value.encode(&mut writer, version).map_err(|e| e.to_string())?;
    Ok((format!("{value:?}"), writer.into_bytes().expect("nothing is external").to_vec()))
}

macro_rules! codecs {
    ($(($record:ident, $key:ident, $value:ident))*) => {
        fn codec_of(name: &str) -> Codec {
            match name {
                $(
                    stringify!($key) => codec::<generated::$key>,
                    stringify!($value) => codec::<generated::$value>,
                )*
                other => unreachable!("no record {other}"),
            }
        }
    };
}
for_each_record!(codecs);

fn descriptions() -> Vec<Description> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let schemas = proto::read_schemas(&root).expect("the text files make sense");
    let ours = |s: &Schema| matches!(s.subject, Subject::Record { .. });
    schemas.into_iter().filter(ours).flat_map(|schema| schema.messages).collect()
}

fn check(message: &Description, version: i16, style: Style, seed: u64) {
    let values = Sampler::new(style, seed).message(message, version);
    let codec = codec_of(&message.name);
    if let Err(difference) = sample::check(message, version, &values, |bytes| codec(bytes, version))
    {
        panic!("{difference}");
    }
}

#[test]
fn every_key_and_value_round_trips_full_empty_and_null() {
    let mut pairs = 0;
    for message in &descriptions() {
        for version in message.versions.iter() {
            pairs += 1;
            for style in STYLES {
                check(message, version, style, 7);
            }
        }
    }

    assert_eq!(pairs, 59);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_record_round_trips(seed in any::<u64>()) {
        for message in &descriptions() {
            for version in message.versions.iter() {
                check(message, version, Style::Mixed, seed);
            }
        }
    }
}
