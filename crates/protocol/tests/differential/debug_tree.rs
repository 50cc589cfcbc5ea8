//! Values by path from the `Debug` text of a struct, the same for two crates that derive it.
//!
//! Owns: what counts as the same. Newtypes and `Some` are transparent, underscores in names do
//! not count, and an identifier is 32 hexadecimal digits however it prints.

use std::collections::BTreeMap;

/// The leaves of a `Debug` text: `topics.0.name` to `"a"`.
pub fn leaves(text: &str) -> BTreeMap<String, String> {
    let mut parser = Parser { rest: text, leaves: BTreeMap::new() };
    parser.value("");
    assert!(parser.rest.is_empty(), "not understood: {}", parser.rest);
    parser.leaves
}

struct Parser<'a> {
    rest: &'a str,
    leaves: BTreeMap<String, String>,
}

impl<'a> Parser<'a> {
    fn eat(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        self.rest = rest;
        true
    }

    fn expect(&mut self, token: &str) {
        assert!(self.eat(token), "{token:?} expected at {}", self.rest);
    }

    /// Cuts off what satisfies `belongs`.
    fn word(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn value(&mut self, path: &str) {
        if self.rest.starts_with('"') || self.rest.starts_with("b\"") {
            let start = self.rest.find('"').map_or(0, |at| at + 1);
            // Samples have no quotes in them.
            let end = self.rest[start..].find('"').map_or(self.rest.len(), |at| start + at + 1);
            let (text, rest) = self.rest.split_at(end);
            self.rest = rest;
            self.leaves.insert(path.to_owned(), text.to_owned());
            return;
        }
        if self.eat("[") {
            let mut index = 0;
            while !self.eat("]") {
                self.value(&format!("{path}.{index}"));
                index += 1;
                self.eat(", ");
            }
            self.leaves.insert(format!("{path}.#"), index.to_string());
            return;
        }
        let word = self.word(|c| c.is_alphanumeric() || "_-.#".contains(c));
        match word {
            "Uuid" if self.eat("([") => {
                let mut digits = String::new();
                while !self.eat("])") {
                    let byte: u8 = self.word(|c| c.is_ascii_digit()).parse().expect("a byte");
                    digits += &format!("{byte:02x}");
                    self.eat(", ");
                }
                self.leaves.insert(path.to_owned(), digits);
            },
            _ if self.eat(" { ") => self.fields(path),
            _ if self.eat("(") => {
                self.value(path);
                self.expect(")");
            },
            _ => {
                let value = match word {
                    "Null" => "None".to_owned(),
                    uuid if uuid.len() == 36 => uuid.replace('-', ""),
                    other => other.to_owned(),
                };
                self.leaves.insert(path.to_owned(), value);
            },
        }
    }

    fn fields(&mut self, path: &str) {
        while !self.eat(" }") {
            let name = self.word(|c| c.is_alphanumeric() || "_#".contains(c));
            self.expect(": ");
            if name == "unknown_tagged_fields" {
                // A map that we do not keep: `{}` or `{700: b"unknown"}`.
                let end = self.rest.find('}').map_or(0, |at| at + 1);
                self.rest = &self.rest[end..];
            } else {
                let name = name.trim_start_matches("r#").replace('_', "");
                self.value(&format!("{path}.{name}"));
            }
            self.eat(", ");
        }
    }
}
