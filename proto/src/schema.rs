//! The message descriptions of `proto/kafka/*.txt`, parsed and resolved.
//!
//! Owns: the notation (see `proto/README.md`), and what follows from it: which struct exists in
//! which versions, how few bytes an element can take. A file that does not make sense is refused
//! with its line.

mod parse;
mod resolve;

pub use parse::{parse, rust_name};
pub(crate) use resolve::element_bytes_min;

use thiserror::Error;

/// An inclusive range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The first.
    pub min: i16,
    /// The last; `i16::MAX` where the notation says `+`.
    pub max: i16,
}

impl Versions {
    /// Whether `version` is one of them.
    pub fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// The versions in both, if there are any.
    pub fn and(self, other: Self) -> Option<Self> {
        let both = Self { min: self.min.max(other.min), max: self.max.min(other.max) };
        (both.min <= both.max).then_some(both)
    }

    /// The smallest range that holds both.
    pub fn hull(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// Every version, in order.
    pub fn iter(self) -> impl Iterator<Item = i16> {
        self.min..=self.max
    }
}

/// What a file describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A request and its response.
    Api {
        /// Kafka's number of the request.
        key: i16,
    },
    /// The key and the value of a record of an internal topic.
    Record {
        /// The number in front of the key.
        kind: i16,
        /// Which coordinator writes it: `group`, `transaction` or `share`.
        coordinator: String,
    },
    /// A message that travels within a bytes field of another.
    Data,
}

/// One file of the notation.
#[derive(Clone, Debug)]
pub struct Schema {
    /// Kafka's name, such as `Produce`.
    pub name: String,
    /// What it is.
    pub subject: Subject,
    /// Its messages, in file order.
    pub messages: Vec<Message>,
}

/// One message with all its structs.
#[derive(Clone, Debug)]
pub struct Message {
    /// Kafka's name, such as `ProduceRequest`.
    pub name: String,
    /// The versions that exist.
    pub versions: Versions,
    /// The first version with compact lengths and tagged fields.
    pub flexible_min: Option<i16>,
    /// Whether the last version is not released yet, and hence not advertised.
    pub latest_unstable: bool,
    /// The message itself first, then the structs within it in order of appearance.
    pub structs: Vec<Struct>,
}

impl Message {
    /// The struct of that name. The parser made sure that it exists.
    pub fn find(&self, name: &str) -> Option<&Struct> {
        self.structs.iter().find(|s| s.name == name)
    }

    /// Whether `version` has compact lengths and tagged fields.
    pub fn is_flexible(&self, version: i16) -> bool {
        self.flexible_min.is_some_and(|min| version >= min)
    }
}

/// A message or a struct within one.
#[derive(Clone, Debug)]
pub struct Struct {
    /// Kafka's name.
    pub name: String,
    /// The versions of the message in which it can occur.
    pub versions: Versions,
    /// In wire order.
    pub fields: Vec<Field>,
}

/// One field of a struct.
#[derive(Clone, Debug)]
pub struct Field {
    /// Kafka's name.
    pub name: String,
    /// The name in Rust.
    pub rust_name: String,
    /// What it holds.
    pub kind: Kind,
    /// The versions that have it, within those of its struct.
    pub versions: Versions,
    /// The versions in which it may be null, within its own.
    pub nullable: Option<Versions>,
    /// Its number, if it is a tagged field.
    pub tag: Option<u32>,
    /// Its default where that is not the zero of its type; `null` for null.
    pub default: Option<String>,
    /// Whether a value is silently dropped in versions that lack the field.
    pub ignorable: bool,
}

impl Field {
    /// Whether its default is null.
    pub fn is_default_null(&self) -> bool {
        self.default.as_deref() == Some("null")
    }
}

/// The type of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One byte, 0 or 1.
    Bool,
    /// Eight bits.
    Int8,
    /// Sixteen bits.
    Int16,
    /// Sixteen bits, unsigned.
    Uint16,
    /// Thirty-two bits.
    Int32,
    /// Sixty-four bits.
    Int64,
    /// An IEEE double.
    Float64,
    /// Sixteen bytes.
    Uuid,
    /// UTF-8.
    String,
    /// Bytes with a length.
    Bytes,
    /// Record batches, with a length in bytes.
    Records,
    /// A struct of the same message.
    Struct(String),
    /// Any number of elements.
    Array(Box<Self>),
}

impl Kind {
    /// The struct it is or is made of.
    pub fn struct_name(&self) -> Option<&str> {
        match self {
            Self::Struct(name) => Some(name),
            Self::Array(element) => element.struct_name(),
            Self::Bool
            | Self::Int8
            | Self::Int16
            | Self::Uint16
            | Self::Int32
            | Self::Int64
            | Self::Float64
            | Self::Uuid
            | Self::String
            | Self::Bytes
            | Self::Records => None,
        }
    }
}

/// A file that is not in the notation.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file}:{line}: {problem}")]
pub struct SchemaError {
    /// The file's name.
    pub file: String,
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// A line that no rule of the notation allows at its place.
    #[error("unexpected line")]
    Line,
    /// A line that lacks a word.
    #[error("a word is missing")]
    Missing,
    /// A word that is not understood.
    #[error("unknown word {0:?}")]
    Word(String),
    /// A struct that is named and not described, or described and used nowhere.
    #[error("struct {0} is not both described and used")]
    Struct(String),
    /// A struct described twice in one message.
    #[error("struct {0} is described twice")]
    Twice(String),
    /// An array whose elements may take no byte, so that its count cannot be checked.
    #[error("elements of {0} can be empty")]
    Empty(String),
}
