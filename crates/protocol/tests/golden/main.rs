//! Frames from Kafka's own client (4.4.0), for the messages and versions that no other codec knows:
//! each decodes to what Kafka says is in it, field by field, and encodes to the same bytes.
//!
//! `make.sh` writes `frames.txt`, and on the way holds every sample of every message and version
//! against Kafka's classes.
#![expect(clippy::expect_used, reason = "a test that cannot go on should say so")]

#[path = "../differential/debug_tree.rs"]
mod debug_tree;

use std::collections::BTreeSet;

use base::Uuid;
use protocol::{Message, Reader, Writer, for_each_api, messages};
use serde_json::Value;

use debug_tree::leaves;

/// Decodes, and gives how the value prints and what it encodes to.
fn codec<M: Message + std::fmt::Debug>(bytes: &[u8], version: i16) -> (String, Vec<u8>) {
    let mut reader = Reader::from(bytes);
    let value = M::decode(&mut reader, version).expect("Kafka's bytes");
    reader.finish().expect("the whole frame");
    let mut writer = Writer::new();
    value.encode(&mut writer, version).expect("what was decoded can be encoded");
    (format!("{value:?}"), writer.into_bytes().expect("nothing is external").to_vec())
}

macro_rules! codecs {
    ($(($api:ident, $request:ident, $response:ident))*) => {
        fn check(name: &str, bytes: &[u8], version: i16) -> (String, Vec<u8>) {
            match name {
                $(
                    stringify!($request) => codec::<messages::$request>(bytes, version),
                    stringify!($response) => codec::<messages::$response>(bytes, version),
                )*
                other => unreachable!("no message {other}"),
            }
        }
    };
}
for_each_api!(codecs);

/// The bytes of unpadded or padded base64, either alphabet.
fn base64(text: &str) -> Vec<u8> {
    let (mut out, mut bits, mut width) = (Vec::new(), 0_u32, 0);
    for c in text.bytes().filter(|c| *c != b'=') {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' | b'-' => 62,
            _ => 63,
        };
        bits = (bits << 6 | u32::from(six)) & 0xffff;
        width += 6;
        if width >= 8 {
            width -= 8;
            out.push((bits >> width).to_be_bytes()[3]);
        }
    }
    out
}

/// Holds Kafka's JSON against our leaves.
fn compare(path: &str, json: &Value, ours: &std::collections::BTreeMap<String, String>) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                // Kafka prints records as nothing at all.
                if name != "records" {
                    compare(&format!("{path}.{}", name.to_lowercase()), value, ours);
                }
            }
        },
        Value::Array(elements) => {
            assert_eq!(ours.get(&format!("{path}.#")), Some(&elements.len().to_string()), "{path}");
            for (index, element) in elements.iter().enumerate() {
                compare(&format!("{path}.{index}"), element, ours);
            }
        },
        Value::Null => assert_eq!(ours.get(path).map(String::as_str), Some("None"), "{path}"),
        Value::Bool(_) | Value::Number(_) => {
            assert_eq!(ours.get(path), Some(&json.to_string()), "{path}");
        },
        Value::String(text) => {
            let ours = ours.get(path).expect(path);
            let same = match Uuid::parse(text) {
                _ if ours == &format!("{text:?}") => true,
                Ok(uuid) => {
                    *ours == uuid.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
                },
                Err(_) => *ours == format!("b{:?}", String::from_utf8_lossy(&base64(text))),
            };
            assert!(same, "{path}: {ours}, Kafka says {text}");
        },
    }
}

#[test]
fn frames_of_kafkas_client_decode_to_what_it_says_and_encode_to_the_same_bytes() {
    let mut pairs = BTreeSet::new();
    for line in include_str!("frames.txt").lines() {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().expect("four words a line");
        let (name, version, hex, json) = (word(), word(), word(), word());
        let version = version.parse().expect("a version");
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits"))
            .collect();

        let (text, again) = check(name, &bytes, version);

        assert_eq!(again, bytes, "{name} {version}: {text}");
        compare("", &serde_json::from_str(json).expect("JSON"), &leaves(&text));
        pairs.insert((name, version));
    }

    // Those that `differential` counts as known to us alone.
    assert_eq!(pairs.len(), 39);
}
