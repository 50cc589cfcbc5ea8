//! Every message and version against a second reading of its schema: bytes and values written by
//! interpreting `proto/kafka/*.txt` must decode to exactly those values, and encode to exactly
//! those bytes. A count shows that every field was seen with something else than its default.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on should say so")]

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use proto::sample::{self, STYLES, Sampler, Style, Value, default_of, walk};
use proto::schema::{Field, Message as Description, Schema, Struct, Subject};
use protocol::{Message, Reader, Writer, for_each_api, messages};

/// Decodes, and gives how the value prints and what it encodes to.
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

/// Makes a value, holds it against the codec, and gives it back.
fn check(message: &Description, version: i16, style: Style, seed: u64) -> Vec<Value> {
    let values = Sampler::new(style, seed).message(message, version);
    let codec = codec_of(&message.name);
    if let Err(difference) = sample::check(message, version, &values, |bytes| codec(bytes, version))
    {
        panic!("{difference}");
    }
    values
}

#[test]
fn every_field_of_every_version_round_trips_full_empty_and_null() {
    let (mut pairs, mut fields, mut seen) = (0, BTreeSet::new(), BTreeSet::new());
    for message in &descriptions() {
        let name =
            |s: &Struct, field: &Field| format!("{}.{}.{}", message.name, s.name, field.name);
        for version in message.versions.iter() {
            pairs += 1;
            for s in message.structs.iter().filter(|s| s.versions.contains(version)) {
                for field in s.fields.iter().filter(|f| f.versions.contains(version)) {
                    fields.insert((version, name(s, field)));
                }
            }
            for style in STYLES {
                let values = check(message, version, style, 7);
                let root = message.structs.first().expect("the message itself");
                walk(message, root, &values, &mut |s, field, value| {
                    let is_set = *value != default_of(message, field);
                    seen.extend(
                        (is_set && field.versions.contains(version))
                            .then(|| (version, name(s, field))),
                    );
                });
            }
        }
    }

    let missed: Vec<_> = fields.difference(&seen).collect();
    assert!(missed.is_empty(), "never seen with a value of its own: {missed:?}");
    // 79 requests and responses, and the two messages within group messages.
    assert_eq!((pairs, fields.len()), (578, 4697));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_value_round_trips(seed in any::<u64>()) {
        for message in &descriptions() {
            for version in message.versions.iter() {
                check(message, version, Style::Mixed, seed);
            }
        }
    }

    #[test]
    fn bytes_cut_short_or_changed_never_panic_and_settle(
        seed in any::<u64>(),
        cut in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        for message in &descriptions() {
            let version = message.versions.max;
            let codec = codec_of(&message.name);
            let values = Sampler::new(Style::Mixed, seed).message(message, version);
            let mut bytes = sample::encode(message, version, &values, false);
            if bytes.is_empty() {
                continue;
            }
            let at = cut.index(bytes.len());
            prop_assert!(codec(&bytes[..at], version).is_err());
            bytes[at] = byte;
            // What decodes at all decodes again from what it encodes to, to the same value.
            if let Ok((text, again)) = codec(&bytes, version) {
                prop_assert_eq!(codec(&again, version), Ok((text, again)));
            }
        }
    }
}
