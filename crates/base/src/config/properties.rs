//! The properties file format, as `server.properties` uses it.
//!
//! Total: any bytes give pairs or an error with a line number. Covers comments (`#`, `!`),
//! separators (`=`, `:`, white space), continuation lines and the escapes `\t \n \r \f \\ \uXXXX`.

use std::collections::BTreeMap;

use thiserror::Error;

/// Where and why a file is not a properties file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PropertiesError {
    /// Not UTF-8.
    #[error("the file is not UTF-8")]
    Encoding,
    /// A `\u` without four hexadecimal digits, or half of a surrogate pair.
    #[error("line {line}: malformed \\uXXXX escape")]
    Escape {
        /// Counted from 1.
        line: usize,
    },
}

/// Reads a properties file; a later line wins over an earlier one.
///
/// # Errors
/// [`PropertiesError`] with the line.
pub fn parse_properties(bytes: &[u8]) -> Result<BTreeMap<String, String>, PropertiesError> {
    let pairs = parse_numbered_properties(bytes)?;
    Ok(pairs.into_iter().map(|(key, (_, value))| (key, value)).collect())
}

/// Reads a properties file like [`parse_properties`]; with each value comes the line, counted from
/// 1, on which its pair begins.
///
/// # Errors
/// [`PropertiesError`] with the line.
pub fn parse_numbered_properties(
    bytes: &[u8],
) -> Result<BTreeMap<String, (usize, String)>, PropertiesError> {
    let text = std::str::from_utf8(bytes).map_err(|_| PropertiesError::Encoding)?;
    let mut pairs = BTreeMap::new();
    let mut lines = lines(text).enumerate();
    while let Some((index, first)) = lines.next() {
        let first = first.trim_start_matches([' ', '\t', '\u{c}']);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while ends_with_odd_backslashes(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches([' ', '\t', '\u{c}']));
        }
        // Nothing but continuations.
        if logical.is_empty() {
            continue;
        }
        let (key, value) = split_pair(&logical);
        let line = index + 1;
        pairs.insert(unescape(key, line)?, (line, unescape(value, line)?));
    }
    Ok(pairs)
}

/// Lines end with LF, CR or CR LF.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

fn ends_with_odd_backslashes(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Key and value around the first unescaped separator.
fn split_pair(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, character) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if matches!(character, '=' | ':' | ' ' | '\t' | '\u{c}') {
            let value = line[at..].trim_start_matches([' ', '\t', '\u{c}']);
            let value = value.strip_prefix(['=', ':']).unwrap_or(value);
            return (&line[..at], value.trim_start_matches([' ', '\t', '\u{c}']));
        }
    }
    (line, "")
}

fn unescape(text: &str, line: usize) -> Result<String, PropertiesError> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let plain = if character == '\\' { characters.next() } else { Some(character) };
        let Some(plain) = plain else { break };
        let meant = match (character, plain) {
            ('\\', 't') => '\t',
            ('\\', 'n') => '\n',
            ('\\', 'r') => '\r',
            ('\\', 'f') => '\u{c}',
            ('\\', 'u') => {
                let digits: String = characters.by_ref().take(4).collect();
                let unit = u16::from_str_radix(&digits, 16)
                    .ok()
                    .filter(|_| digits.len() == 4 && !digits.starts_with('+'))
                    .ok_or(PropertiesError::Escape { line })?;
                units.push(unit);
                continue;
            },
            (_, other) => other,
        };
        units.extend_from_slice(meant.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16(&units).map_err(|_| PropertiesError::Escape { line })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let pairs = parse_properties(text.as_bytes()).expect("a properties file");
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(pairs, expected);
    }

    #[test]
    fn comments_separators_and_continuations_are_read_as_java_does() {
        check("# c\n! c\n\na=1\nb: 2\n c 3\nd\n", &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "")]);
        check("list = a,\\\n   b,\\\n   c\n", &[("list", "a,b,c")]);
        check("a=1\r\na=2\r\n", &[("a", "2")]);
        check("path=C\\:\\\\x\\u0041\nk\\=ey=v=w", &[("path", "C:\\xA"), ("k=ey", "v=w")]);
    }

    #[test]
    fn a_line_that_ends_with_cr_lf_is_one_line_and_continues_on_the_next() {
        check("list = a,\\\r\n   b\r\nc=1\rd=2", &[("list", "a,b"), ("c", "1"), ("d", "2")]);
        let error = parse_properties(b"a=1\r\nb=2\r\nc=\\u12\r\n");
        assert_eq!(error, Err(PropertiesError::Escape { line: 3 }));
    }

    // Found by the fuzz target `properties`.
    #[test]
    fn a_continuation_of_nothing_by_nothing_is_no_pair() {
        check("\n\\\n\n/,", &[("/,", "")]);
        check("\\", &[]);
    }

    #[test]
    fn a_pair_has_the_line_on_which_it_begins_and_may_have_no_key() {
        let pairs = parse_numbered_properties(b"# c\na=1\\\n2\n: x\na=3").expect("parses");
        let expected = [("".into(), (4, "x".into())), ("a".into(), (5, "3".into()))];
        assert_eq!(pairs, expected.into());
    }

    #[test]
    fn a_malformed_escape_names_its_line() {
        assert_eq!(parse_properties(b"\na=\\u12"), Err(PropertiesError::Escape { line: 2 }));
        assert_eq!(parse_properties(b"a=\\ud800"), Err(PropertiesError::Escape { line: 1 }));
        assert_eq!(parse_properties(&[0xff]), Err(PropertiesError::Encoding));
    }

    proptest! {
        #[test]
        fn any_bytes_give_pairs_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let outcome = parse_properties(&bytes);
            prop_assert!(outcome.is_ok() || outcome.is_err());
        }
    }
}
