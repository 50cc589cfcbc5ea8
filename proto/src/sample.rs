//! Sample values of any message, written by interpreting its schema.
//!
//! Owns: a second reading of the notation, independent of the generated code, for tests: it makes
//! values, writes their bytes, and says how the generated struct that holds them prints.

mod bytes;
mod text;

pub use bytes::encode;
pub use text::debug_text;

use crate::schema::{Field, Kind, Message, Struct};

/// A value of a field. A struct has one value per field of its description, in order, with the
/// default where the version lacks the field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A truth value.
    Bool(bool),
    /// Any of the integers.
    Int(i64),
    /// A double.
    Float(f64),
    /// Sixteen bytes.
    Uuid([u8; 16]),
    /// Text, or null.
    Text(Option<String>),
    /// Bytes or records, or null.
    Bytes(Option<Vec<u8>>),
    /// A struct, or null.
    Struct(Option<Vec<Self>>),
    /// An array, or null.
    Array(Option<Vec<Self>>),
}

/// How values are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Every field differs from its default, nothing is null, arrays have this many elements.
    Full {
        /// Elements of each array.
        elements: usize,
    },
    /// As `Full` with one element, but everything that may be null is.
    Null,
    /// Every field has its default.
    Default,
    /// Anything goes: defaults, nulls, extremes, 0 to 3 elements.
    Mixed,
}

/// Makes values.
#[derive(Debug)]
pub struct Sampler {
    style: Style,
    state: u64,
    made: i64,
}

impl Sampler {
    /// A sampler that makes the same values for the same seed.
    pub fn new(style: Style, seed: u64) -> Self {
        Self { style, state: seed, made: 0 }
    }

    /// A value of the whole message in `version`: the fields of its first struct.
    pub fn message(&mut self, message: &Message, version: i16) -> Vec<Value> {
        message.structs.first().map_or(Vec::new(), |root| self.fields(message, root, version))
    }

    fn fields(&mut self, message: &Message, s: &Struct, version: i16) -> Vec<Value> {
        let mut values = Vec::new();
        for field in &s.fields {
            let value = if field.versions.contains(version) {
                self.field(message, field, version)
            } else {
                default_of(message, field)
            };
            values.push(value);
        }
        values
    }

    fn field(&mut self, message: &Message, field: &Field, version: i16) -> Value {
        let nullable = field.nullable.is_some_and(|n| n.contains(version));
        let (default, null) = match self.style {
            Style::Full { .. } => (false, false),
            Style::Null => (false, true),
            Style::Default => (true, false),
            Style::Mixed => (self.below(4) == 0, self.below(4) == 0),
        };
        if default {
            return self.default_within(message, field, version);
        }
        if nullable && null {
            return null_of(&field.kind);
        }
        let value = self.value(message, &field.kind, version);
        let random = self.style == Style::Mixed;
        if !random && value == default_of(message, field) {
            // Twice the same by chance: the next one differs.
            return self.value(message, &field.kind, version);
        }
        value
    }

    /// The default, or something that is not null if the version allows no null.
    fn default_within(&mut self, message: &Message, field: &Field, version: i16) -> Value {
        let default = default_of(message, field);
        let nullable = field.nullable.is_some_and(|n| n.contains(version));
        if default == null_of(&field.kind) && !nullable {
            return self.value(message, &field.kind, version);
        }
        default
    }

    fn value(&mut self, message: &Message, kind: &Kind, version: i16) -> Value {
        self.made += 1;
        match kind {
            Kind::Bool if self.style == Style::Mixed => Value::Bool(self.below(2) == 0),
            Kind::Bool => Value::Bool(self.made % 2 == 0),
            Kind::Int8 => Value::Int(self.int(i64::from(i8::MIN), i64::from(i8::MAX))),
            Kind::Int16 => Value::Int(self.int(i64::from(i16::MIN), i64::from(i16::MAX))),
            Kind::Uint16 => Value::Int(self.int(0, i64::from(u16::MAX))),
            Kind::Int32 => Value::Int(self.int(i64::from(i32::MIN), i64::from(i32::MAX))),
            Kind::Int64 => Value::Int(self.int(i64::MIN, i64::MAX)),
            Kind::Float64 => Value::Float(f64::from(i32::try_from(self.made).unwrap_or(0)) + 0.25),
            Kind::Uuid => {
                let high = self.below(u64::MAX) | 1;
                let low = self.below(u64::MAX);
                Value::Uuid((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
            },
            Kind::String => Value::Text(Some(self.letters())),
            Kind::Bytes | Kind::Records => Value::Bytes(Some(self.letters().into_bytes())),
            Kind::Struct(name) => {
                Value::Struct(message.find(name).map(|s| self.fields(message, s, version)))
            },
            Kind::Array(element) => {
                let count = match self.style {
                    Style::Full { elements } => elements,
                    Style::Null | Style::Default => 1,
                    Style::Mixed => usize::try_from(self.below(4)).unwrap_or(0),
                };
                Value::Array(Some(
                    (0..count).map(|_| self.value(message, element, version)).collect(),
                ))
            },
        }
    }

    /// A small positive number that was not made before, or anything up to the extremes.
    fn int(&mut self, min: i64, max: i64) -> i64 {
        if self.style != Style::Mixed {
            return 1 + self.made % 99;
        }
        match self.below(4) {
            0 => min,
            1 => max,
            2 => 0,
            _ => i64::try_from(self.below(100)).unwrap_or(0),
        }
    }

    /// Text that differs from all made before; at times longer than a one-byte length can say.
    fn letters(&mut self) -> String {
        let mut text = format!("v{}", self.made);
        if self.style == Style::Mixed {
            match self.below(8) {
                0 => text.clear(),
                1 => text = text.repeat(200),
                _ => {},
            }
        }
        text
    }

    /// A number below `bound`: splitmix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn null_of(kind: &Kind) -> Value {
    match kind {
        Kind::String => Value::Text(None),
        Kind::Bytes | Kind::Records => Value::Bytes(None),
        Kind::Struct(_) => Value::Struct(None),
        Kind::Array(_)
        | Kind::Bool
        | Kind::Int8
        | Kind::Int16
        | Kind::Uint16
        | Kind::Int32
        | Kind::Int64
        | Kind::Float64
        | Kind::Uuid => Value::Array(None),
    }
}

/// The default of a field.
pub fn default_of(message: &Message, field: &Field) -> Value {
    if field.is_default_null() {
        return null_of(&field.kind);
    }
    let text = field.default.as_deref();
    match &field.kind {
        Kind::Bool => Value::Bool(text == Some("true")),
        Kind::Int8 | Kind::Int16 | Kind::Uint16 | Kind::Int32 | Kind::Int64 => {
            Value::Int(text.and_then(|text| text.parse().ok()).unwrap_or(0))
        },
        Kind::Float64 => Value::Float(0.0),
        Kind::Uuid => Value::Uuid([0; 16]),
        Kind::String => Value::Text(Some(text.unwrap_or_default().to_owned())),
        Kind::Bytes | Kind::Records => Value::Bytes(Some(Vec::new())),
        Kind::Struct(name) => {
            let s = message.find(name);
            let fields = s.map(|s| s.fields.iter().map(|f| default_of(message, f)).collect());
            Value::Struct(fields)
        },
        Kind::Array(_) => Value::Array(Some(Vec::new())),
    }
}

/// Holds one sample against a codec, with and without tagged fields that nobody knows. `codec`
/// decodes a whole message and gives how it prints and what it encodes to.
///
/// # Errors
/// What differs.
pub fn check(
    message: &Message,
    version: i16,
    values: &[Value],
    codec: impl Fn(&[u8]) -> Result<(String, Vec<u8>), String>,
) -> Result<(), String> {
    let bytes = encode(message, version, values, false);
    let expected = debug_text(message, values);
    for input in [&bytes, &encode(message, version, values, true)] {
        let (text, again) = codec(input)
            .map_err(|e| format!("{} {version} refuses {expected}: {e}", message.name))?;
        if text != expected {
            return Err(format!("{} {version} reads {text}, not {expected}", message.name));
        }
        if again != bytes {
            return Err(format!("{} {version} writes {again:?}, not {bytes:?}", message.name));
        }
    }
    Ok(())
}

/// The styles that together show every field full, empty, null, and with 0, 1 and 3 elements.
pub const STYLES: [Style; 5] = [
    Style::Full { elements: 3 },
    Style::Full { elements: 1 },
    Style::Full { elements: 0 },
    Style::Null,
    Style::Default,
];

/// Calls `visit` with every field that the value holds, nested ones included.
pub fn walk<'a>(
    message: &'a Message,
    s: &'a Struct,
    values: &[Value],
    visit: &mut impl FnMut(&'a Struct, &'a Field, &Value),
) {
    for (field, value) in s.fields.iter().zip(values) {
        visit(s, field, value);
        let Some(inner) = field.kind.struct_name().and_then(|name| message.find(name)) else {
            continue;
        };
        match value {
            Value::Struct(Some(values)) => walk(message, inner, values, visit),
            Value::Array(Some(elements)) => {
                for element in elements {
                    if let Value::Struct(Some(values)) = element {
                        walk(message, inner, values, visit);
                    }
                }
            },
            Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Uuid(_)
            | Value::Text(_)
            | Value::Bytes(_)
            | Value::Struct(None)
            | Value::Array(None) => {},
        }
    }
}
