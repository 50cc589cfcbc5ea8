//! Every message and version against a second reading of its schema: bytes and values written by
//! interpreting `proto/kafka/*.txt` must decode to exactly those values, and encode to exactly
//! those bytes. A count shows that every field was seen with something else than its default.
#![expect(clippy::expect_used, reason = "a test that cannot go on should say so")]

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use proto::sample::{Sampler, Style, debug_text, default_of, encode, walk};
use proto::schema::{Message as Description, Schema, Subject};
use protocol::{Message, Reader, Writer, for_each_api, messages};

/// Decodes, and gives how the value prints and what it encodes to.
type Codec = fn(&Bytes, i16) -> Result<(String, Bytes), String>;

fn codec<M: Message + std::fmt::Debug>(
    bytes: &Bytes,
    version: i16,
) -> Result<(String, Bytes), String> {
    let mut reader = Reader::from(bytes);
    let value = M::decode(&mut reader, version).map_err(|e| e.to_string())?;
    reader.finish().map_err(|e| e.to_string())?;
    let mut writer = Writer::new();
    value.encode(&mut writer, version).map_err(|e| e.to_string())?;
    Ok((format!("{value:?}"), writer.into_bytes().expect("nothing is external")))
}

macro_rules! codecs {
    ($(($api:ident, $request:ident, $response:ident))*) => {
        fn codec_of(name: &str) -> Codec {
            match name {
                $(
                    stringify!($request) => codec::<messages::$request>,
                    stringify!($response) => codec::<messages::$response>,
                )*
                "ConsumerProtocolAssignment" => codec::<messages::ConsumerProtocolAssignment>,
                "ConsumerProtocolSubscription" => codec::<messages::ConsumerProtocolSubscription>,
                other => unreachable!("no message {other}"),
            }
        }
    };
}
for_each_api!(codecs);

fn descriptions() -> Vec<Description> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let schemas = proto::read_schemas(&root).expect("the text files make sense");
    let ours = |s: &Schema| !matches!(s.subject, Subject::Record { .. });
    schemas.into_iter().filter(ours).flat_map(|schema| schema.messages).collect()
}

/// Holds one sample against the codec, with and without tagged fields that nobody knows.
fn check(message: &Description, version: i16, sampler: &mut Sampler) {
    let values = sampler.message(message, version);
    let bytes = Bytes::from(encode(message, version, &values, false));
    let more = Bytes::from(encode(message, version, &values, true));
    let expected = debug_text(message, &values);
    for input in [&bytes, &more] {
        let (text, again) = codec_of(&message.name)(input, version)
            .unwrap_or_else(|e| panic!("{} {version}: {e}: {expected}", message.name));
        assert_eq!(text, expected, "{} {version}", message.name);
        assert_eq!(again, bytes, "{} {version}: {expected}", message.name);
    }
}

#[test]
fn every_message_and_version_round_trips_full_empty_null_and_with_1_and_3_elements() {
    for message in &descriptions() {
        for version in message.versions.iter() {
            for elements in [0, 1, 3] {
                check(message, version, &mut Sampler::new(Style::Full { elements }, 7));
            }
            check(message, version, &mut Sampler::new(Style::Null, 7));
            check(message, version, &mut Sampler::new(Style::Default, 7));
        }
    }
}

#[test]
fn every_field_of_every_version_was_seen_with_something_else_than_its_default() {
    let (mut pairs, mut fields, mut seen) = (0, BTreeSet::new(), BTreeSet::new());
    for message in &descriptions() {
        for version in message.versions.iter() {
            pairs += 1;
            for s in message.structs.iter().filter(|s| s.versions.contains(version)) {
                for field in s.fields.iter().filter(|f| f.versions.contains(version)) {
                    fields.insert((
                        message.name.clone(),
                        version,
                        s.name.clone(),
                        field.name.clone(),
                    ));
                }
            }
            let values = Sampler::new(Style::Full { elements: 3 }, 7).message(message, version);
            let root = message.structs.first().expect("the message itself");
            walk(message, root, &values, &mut |s, field, value| {
                if field.versions.contains(version) && *value != default_of(message, field) {
                    seen.insert((
                        message.name.clone(),
                        version,
                        s.name.clone(),
                        field.name.clone(),
                    ));
                }
            });
        }
    }

    let missed: Vec<_> = fields.difference(&seen).collect();
    assert!(missed.is_empty(), "{} of {}: {missed:?}", missed.len(), fields.len());
    println!("{pairs} message versions, {} fields seen with a value", seen.len());
    assert_eq!((pairs, fields.len()), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_value_round_trips(seed in any::<u64>()) {
        for message in &descriptions() {
            for version in message.versions.iter() {
                check(message, version, &mut Sampler::new(Style::Mixed, seed));
            }
        }
    }

    #[test]
    fn bytes_cut_short_or_changed_never_panic_and_settle(seed in any::<u64>(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for message in &descriptions() {
            let version = message.versions.max;
            let values = Sampler::new(Style::Mixed, seed).message(message, version);
            let mut bytes = encode(message, version, &values, false);
            if bytes.is_empty() {
                continue;
            }
            let at = cut.index(bytes.len());
            let short = Bytes::copy_from_slice(&bytes[..at]);
            prop_assert!(codec_of(&message.name)(&short, version).is_err());
            bytes[at] = byte;
            // What decodes at all decodes again from what it encodes to, to the same value.
            if let Ok((text, again)) = codec_of(&message.name)(&Bytes::from(bytes), version) {
                let settled = codec_of(&message.name)(&again, version);
                prop_assert_eq!(settled, Ok((text, again)));
            }
        }
    }
}
