//! Bytes of a sample value, written field by field from the schema.

use super::{Value, default_of};
use crate::schema::{Kind, Message, Struct};

/// A number no message uses for a tagged field.
const UNKNOWN_TAG: u32 = 700;

/// The message as bytes. With `unknown_tags` every struct of a flexible version carries one more
/// tagged field that no schema knows.
pub fn encode(message: &Message, version: i16, values: &[Value], unknown_tags: bool) -> Vec<u8> {
    let flexible = message.is_flexible(version);
    let mut encoder = Encoder { message, version, flexible, unknown_tags, out: Vec::new() };
    if let Some(root) = message.structs.first() {
        encoder.fields(root, values);
    }
    encoder.out
}

struct Encoder<'a> {
    message: &'a Message,
    version: i16,
    flexible: bool,
    unknown_tags: bool,
    out: Vec<u8>,
}

impl Encoder<'_> {
    fn fields(&mut self, s: &Struct, values: &[Value]) {
        let mut tagged = Vec::new();
        for (field, value) in s.fields.iter().zip(values) {
            if !field.versions.contains(self.version) {
                continue;
            }
            let nullable = field.nullable.is_some_and(|n| n.contains(self.version));
            match field.tag {
                None => self.value(&field.kind, value, nullable, false),
                Some(tag) if *value != default_of(self.message, field) => {
                    let outer = std::mem::take(&mut self.out);
                    self.value(&field.kind, value, nullable, true);
                    tagged.push((tag, std::mem::replace(&mut self.out, outer)));
                },
                Some(_) => {},
            }
        }
        if !self.flexible {
            return;
        }
        tagged.sort();
        if self.unknown_tags {
            tagged.push((UNKNOWN_TAG, b"unknown".to_vec()));
        }
        self.uvarint(tagged.len());
        for (tag, bytes) in tagged {
            self.uvarint(usize::try_from(tag).unwrap_or(usize::MAX));
            self.uvarint(bytes.len());
            self.out.extend(bytes);
        }
    }

    fn uvarint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.out.push(u8::try_from(value % 0x80).unwrap_or(0) + 0x80);
            value /= 0x80;
        }
        self.out.push(u8::try_from(value).unwrap_or(0));
    }

    /// A length in front of text (`wide` false) or of bytes and arrays (`wide` true).
    fn length(&mut self, length: Option<usize>, wide: bool) {
        if self.flexible {
            return self.uvarint(length.map_or(0, |length| length + 1));
        }
        let length = length.map_or(-1, |length| i32::try_from(length).unwrap_or(i32::MAX));
        let bytes = length.to_be_bytes();
        self.out.extend(if wide { &bytes[..] } else { &bytes[2..] });
    }

    fn value(&mut self, kind: &Kind, value: &Value, nullable: bool, tagged: bool) {
        match value {
            Value::Bool(value) => self.out.push(u8::from(*value)),
            Value::Int(value) => {
                let width = match kind {
                    Kind::Int8 => 1,
                    Kind::Int16 | Kind::Uint16 => 2,
                    Kind::Int32 => 4,
                    _ => 8,
                };
                self.out.extend(&value.to_be_bytes()[8 - width..]);
            },
            Value::Float(value) => self.out.extend(value.to_be_bytes()),
            Value::Uuid(value) => self.out.extend(value),
            Value::Text(text) => {
                self.length(text.as_ref().map(String::len), false);
                self.out.extend(text.as_deref().unwrap_or_default().as_bytes());
            },
            Value::Bytes(bytes) => {
                self.length(bytes.as_ref().map(Vec::len), true);
                self.out.extend(bytes.as_deref().unwrap_or_default());
            },
            Value::Struct(fields) => {
                match (nullable, tagged, fields) {
                    (true, true, _) => self.out.push(u8::from(fields.is_some())),
                    (true, false, Some(_)) => self.out.push(1),
                    (true, false, None) => self.out.push(0xff),
                    (false, ..) => {},
                }
                let s = kind.struct_name().and_then(|name| self.message.find(name));
                if let (Some(s), Some(fields)) = (s, fields) {
                    self.fields(s, fields);
                }
            },
            Value::Array(elements) => {
                self.length(elements.as_ref().map(Vec::len), true);
                let Kind::Array(element_kind) = kind else { return };
                for element in elements.iter().flatten() {
                    self.value(element_kind, element, false, false);
                }
            },
        }
    }
}
