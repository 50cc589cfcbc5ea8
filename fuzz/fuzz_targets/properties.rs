//! A `server.properties`: any bytes are pairs, or an error with the number of a line there is.
#![no_main]

use std::collections::BTreeMap;

use base::config::{PropertiesError, parse_properties};
use libfuzzer_sys::fuzz_target;

/// `text` written so that nothing in it separates, continues or comments.
fn escaped(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
}

fuzz_target!(|data: &[u8]| {
    match parse_properties(data) {
        Ok(pairs) => {
            let lines = pairs.iter().map(|(k, v)| format!("{}={}\n", escaped(k), escaped(v)));
            let again = parse_properties(lines.collect::<String>().as_bytes());
            // A pair without key and value is written as `=`.
            assert_eq!(again, Ok(pairs));
        },
        Err(PropertiesError::Escape { line }) => {
            let lines = data.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
            assert!((1..=lines).contains(&line));
        },
        Err(PropertiesError::Encoding) => assert!(std::str::from_utf8(data).is_err()),
    }
    // The end of a line may be written in two ways.
    if !data.contains(&b'\r') {
        let windows: Vec<u8> = data
            .iter()
            .flat_map(|byte| if *byte == b'\n' { &b"\r\n"[..] } else { std::slice::from_ref(byte) })
            .copied()
            .collect();
        let unix: Result<BTreeMap<_, _>, _> = parse_properties(data);
        assert_eq!(parse_properties(&windows), unix);
    }
});
