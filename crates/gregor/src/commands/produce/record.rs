//! From a line to the record that it means.
//!
//! Invariant: a line is read from its left: headers, then the key, then the value; what a line does
//! not have is absent, never empty, and nothing of a line is lost.

use records::record::Header;

use crate::cli::Produce;

/// How lines are read.
#[derive(Debug, Default)]
pub struct Reading<'a> {
    key_separator: Option<&'a [u8]>,
    headers_separator: Option<&'a [u8]>,
    null: Option<&'a [u8]>,
    /// Headers of every record.
    common: Vec<Header<'a>>,
}

/// What a line means.
#[derive(Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value; none for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its own headers, then those of every record.
    pub headers: Vec<Header<'a>>,
}

impl Parsed<'_> {
    /// The bytes of its parts.
    pub fn len_bytes(&self) -> usize {
        let optional = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        let headers = self.headers.iter().map(|header| header.key.len() + optional(header.value));
        optional(self.key) + optional(self.value) + headers.sum::<usize>()
    }
}

impl<'a> Reading<'a> {
    /// As the command line says.
    pub fn new(arguments: &'a Produce) -> Self {
        let bytes = |text: &'a Option<String>| {
            text.as_deref().map(str::as_bytes).filter(|text| !text.is_empty())
        };
        let common = arguments.headers.iter();
        Self {
            key_separator: bytes(&arguments.key_separator),
            headers_separator: bytes(&arguments.headers_separator),
            null: arguments.null.as_deref().map(str::as_bytes),
            common: common.map(|(key, value)| header(key.as_bytes(), value.as_bytes())).collect(),
        }
    }

    /// Reads a line.
    pub fn parse<'b>(&'b self, line: &'b [u8]) -> Parsed<'b> {
        let (own, rest) = split(line, self.headers_separator);
        let (key, value) = split(rest, self.key_separator);
        let own = own.unwrap_or_default().split(|byte| *byte == b',');
        let own = own.filter(|text| !text.is_empty()).map(|text| match split(text, Some(b"=")) {
            (Some(key), value) => header(key, value),
            (None, key) => Header { key, value: None },
        });
        Parsed {
            key,
            value: Some(value).filter(|value| self.null != Some(*value)),
            headers: own.chain(self.common.iter().copied()).collect(),
        }
    }
}

fn header<'a>(key: &'a [u8], value: &'a [u8]) -> Header<'a> {
    Header { key, value: Some(value) }
}

/// What stands before the first `separator`, and what behind it.
fn split<'a>(line: &'a [u8], separator: Option<&[u8]>) -> (Option<&'a [u8]>, &'a [u8]) {
    let found = separator.and_then(|text| {
        let at = line.windows(text.len()).position(|window| window == text)?;
        Some((line.get(..at)?, line.get(at + text.len()..)?))
    });
    found.map_or((None, line), |(before, behind)| (Some(before), behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_at_the_first_separator_and_has_no_key_without_one() {
        let parts = |line: &'static str, separator: &'static str| {
            let reading =
                Reading { key_separator: Some(separator.as_bytes()), ..Reading::default() };
            let parsed = reading.parse(line.as_bytes());
            (parsed.key.map(<[u8]>::to_vec), parsed.value.map(<[u8]>::to_vec))
        };
        let of = |key: &str, value: &str| (Some(key.into()), Some(value.into()));
        assert_eq!(parts("a:b:c", ":"), of("a", "b:c"));
        assert_eq!(parts("a => b", " => "), of("a", "b"));
        assert_eq!(parts(":b", ":"), of("", "b"));
        assert_eq!(parts("plain", ":"), (None, Some("plain".into())));
    }

    #[test]
    fn a_line_has_its_own_headers_before_those_of_every_record_and_a_value_may_be_null() {
        let reading = Reading {
            key_separator: Some(b":"),
            headers_separator: Some(b"|"),
            null: Some(b"-"),
            common: vec![header(b"from", b"here")],
        };
        let parsed = reading.parse(b"a=1,b=,c|k:-");
        let none = Header { key: b"c", value: None };
        assert_eq!((parsed.key, parsed.value), (Some(&b"k"[..]), None));
        assert_eq!(
            parsed.headers,
            [header(b"a", b"1"), header(b"b", b""), none, header(b"from", b"here")]
        );
        let plain = reading.parse(b"k:v");
        assert_eq!((plain.value, plain.headers), (Some(&b"v"[..]), vec![header(b"from", b"here")]));
    }
}
