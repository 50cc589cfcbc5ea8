//! From lines to a [`Schema`]; indentation of two spaces nests.
//!
//! Owns: the grammar. What the names refer to is left to `resolve`.

use super::{
    Field, Kind, Message, Problem, Schema, SchemaError, Struct, Subject, Versions, resolve,
};

/// Reads one file of the notation.
///
/// # Errors
/// [`SchemaError`] with the line that does not make sense.
pub fn parse(file: &str, text: &str) -> Result<Schema, SchemaError> {
    let mut lines = Lines { file, rest: text.lines().enumerate().collect(), at: 0 };
    let (name, subject) = lines.head()?;
    let mut messages = Vec::new();
    while let Some((depth, words)) = lines.peek() {
        if depth != 0 {
            return Err(lines.problem(Problem::Line));
        }
        let mut message = lines.message(&name, &words)?;
        resolve::resolve(&mut message).map_err(|problem| SchemaError {
            file: file.to_owned(),
            line: 0,
            problem,
        })?;
        messages.push(message);
    }
    Ok(Schema { name, subject, messages })
}

struct Lines<'a> {
    file: &'a str,
    rest: Vec<(usize, &'a str)>,
    at: usize,
}

impl<'a> Lines<'a> {
    /// Depth and words of the next line that is neither empty nor a comment.
    fn peek(&mut self) -> Option<(usize, Vec<&'a str>)> {
        while let Some((_, line)) = self.rest.get(self.at) {
            let body = line.trim_start();
            if body.is_empty() || body.starts_with('#') {
                self.at += 1;
                continue;
            }
            return Some(((line.len() - body.len()) / 2, body.split(' ').collect()));
        }
        None
    }

    fn problem(&self, problem: Problem) -> SchemaError {
        let line = self.rest.get(self.at).map_or(0, |(index, _)| index + 1);
        SchemaError { file: self.file.to_owned(), line, problem }
    }

    fn word(&self, words: &[&'a str], index: usize) -> Result<&'a str, SchemaError> {
        words.get(index).copied().ok_or_else(|| self.problem(Problem::Missing))
    }

    fn number<T: std::str::FromStr>(&self, word: &str) -> Result<T, SchemaError> {
        word.parse().map_err(|_| self.problem(Problem::Word(word.to_owned())))
    }

    fn versions(&self, word: &str) -> Result<Versions, SchemaError> {
        if let Some(min) = word.strip_suffix('+') {
            return Ok(Versions { min: self.number(min)?, max: i16::MAX });
        }
        let (min, max) = word.split_once('-').unwrap_or((word, word));
        Ok(Versions { min: self.number(min)?, max: self.number(max)? })
    }

    fn head(&mut self) -> Result<(String, Subject), SchemaError> {
        let Some((0, words)) = self.peek() else { return Err(self.problem(Problem::Missing)) };
        let (name, subject) = match self.word(&words, 0)? {
            "api" => {
                (self.word(&words, 2)?, Subject::Api { key: self.number(self.word(&words, 1)?)? })
            },
            "record" => {
                let kind = self.number(self.word(&words, 1)?)?;
                let coordinator = self.word(&words, 3)?.to_owned();
                (self.word(&words, 2)?, Subject::Record { kind, coordinator })
            },
            "data" => (self.word(&words, 1)?, Subject::Data),
            other => return Err(self.problem(Problem::Word(other.to_owned()))),
        };
        self.at += 1;
        Ok((name.to_owned(), subject))
    }

    fn message(&mut self, name: &str, words: &[&'a str]) -> Result<Message, SchemaError> {
        let suffix = match self.word(words, 0)? {
            "request" => "Request",
            "response" => "Response",
            "key" => "Key",
            "value" => "Value",
            "data" => "",
            other => return Err(self.problem(Problem::Word(other.to_owned()))),
        };
        let name = format!("{name}{suffix}");
        let versions = self.versions(self.word(words, 1)?)?;
        let flexible_min = match self.word(words, 3)? {
            "none" => None,
            range => Some(self.versions(range)?.min),
        };
        let latest_unstable = words.get(4) == Some(&"unstable");
        self.at += 1;
        let mut structs = vec![Struct { name, versions, fields: Vec::new() }];
        let fields = self.fields(1, &mut structs)?;
        if let Some(root) = structs.first_mut() {
            root.fields = fields;
        }
        let name = structs.first().map(|root| root.name.clone()).unwrap_or_default();
        Ok(Message { name, versions, flexible_min, latest_unstable, structs })
    }

    /// The fields at one depth. Structs met on the way are added to `structs`.
    fn fields(
        &mut self,
        depth: usize,
        structs: &mut Vec<Struct>,
    ) -> Result<Vec<Field>, SchemaError> {
        let mut fields = Vec::new();
        while let Some((found, words)) = self.peek() {
            if found < depth {
                break;
            }
            if found > depth {
                return Err(self.problem(Problem::Line));
            }
            let described = if words.first() == Some(&"struct") {
                Some((self.word(&words, 1)?.to_owned(), self.word(&words, 2)?))
            } else {
                let field = self.field(&words)?;
                let own = field.kind.struct_name().map(str::to_owned);
                fields.push(field);
                own.zip(words.get(2).copied())
            };
            self.at += 1;
            let nested = self.peek().is_some_and(|(next, _)| next > depth);
            match described {
                Some((name, range)) if nested => self.nested(depth, structs, name, range)?,
                _ if nested => return Err(self.problem(Problem::Line)),
                _ => {},
            }
        }
        Ok(fields)
    }

    fn nested(
        &mut self,
        depth: usize,
        structs: &mut Vec<Struct>,
        name: String,
        range: &str,
    ) -> Result<(), SchemaError> {
        if structs.iter().any(|s| s.name == name) {
            return Err(self.problem(Problem::Twice(name)));
        }
        let versions = self.versions(range)?;
        let index = structs.len();
        structs.push(Struct { name, versions, fields: Vec::new() });
        let fields = self.fields(depth + 1, structs)?;
        if let Some(described) = structs.get_mut(index) {
            described.fields = fields;
        }
        Ok(())
    }

    fn field(&self, words: &[&'a str]) -> Result<Field, SchemaError> {
        let name = self.word(words, 0)?;
        let mut field = Field {
            name: name.to_owned(),
            rust_name: rust_name(name),
            kind: kind(self.word(words, 1)?),
            versions: self.versions(self.word(words, 2)?)?,
            nullable: None,
            tag: None,
            default: None,
            ignorable: false,
        };
        let mut at = 3;
        while let Some(word) = words.get(at) {
            match *word {
                "ignorable" => {
                    field.ignorable = true;
                    at += 1;
                    continue;
                },
                "null" => field.nullable = Some(self.versions(self.word(words, at + 1)?)?),
                "tag" => field.tag = Some(self.number(self.word(words, at + 1)?)?),
                "default" => field.default = Some(self.word(words, at + 1)?.to_owned()),
                other => return Err(self.problem(Problem::Word(other.to_owned()))),
            }
            at += 2;
        }
        Ok(field)
    }
}

fn kind(word: &str) -> Kind {
    if let Some(element) = word.strip_prefix("[]") {
        return Kind::Array(Box::new(kind(element)));
    }
    match word {
        "bool" => Kind::Bool,
        "int8" => Kind::Int8,
        "int16" => Kind::Int16,
        "uint16" => Kind::Uint16,
        "int32" => Kind::Int32,
        "int64" => Kind::Int64,
        "float64" => Kind::Float64,
        "uuid" => Kind::Uuid,
        "string" => Kind::String,
        "bytes" => Kind::Bytes,
        "records" => Kind::Records,
        other => Kind::Struct(other.to_owned()),
    }
}

/// `KRaftVersion` becomes `k_raft_version`, `V3AndBelow` becomes `v3_and_below`, `Type` `type_`.
pub fn rust_name(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|index| letters.get(index));
        let after = letters.get(at + 1);
        let starts = letter.is_uppercase()
            && before.is_some_and(|b| {
                !b.is_uppercase() || after.is_some_and(|a| a.is_ascii_lowercase())
            });
        if starts {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    if matches!(out.as_str(), "type" | "match" | "self" | "ref" | "move" | "where") {
        out.push('_');
    }
    out
}
