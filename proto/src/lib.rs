//! The generator of the Kafka codec and of our own records.
//!
//! Owns: the notation of `proto/kafka/*.txt` and the code made from it, committed below
//! `crates/protocol/src/generated` and `crates/coordinator/src/generated`. Nothing of the product
//! depends on this crate; tests use [`schema`] and [`sample`] as a second reading of the notation.
#![forbid(unsafe_code)]

mod corpus;
mod emit;
mod gregor;
mod output;
pub mod sample;
pub mod schema;

use std::path::{Path, PathBuf};

use thiserror::Error;

pub use corpus::write_corpus;
pub use output::{generate, read_schemas, write};
use schema::{Schema, SchemaError, Subject};

/// Why nothing was generated.
#[derive(Debug, Error)]
pub enum Error {
    /// A file or program that cannot be used.
    #[error("{path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A text file that makes no sense.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A `.proto` file that makes no sense.
    #[error("{0}")]
    Protobuf(String),
    /// Generated text that rustfmt refuses; its first line.
    #[error("rustfmt refuses the file that starts with {0:?}")]
    Format(String),
}

impl Error {
    fn at(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

/// The folders with text files.
fn source_folders(root: &Path) -> [PathBuf; 2] {
    [root.join("proto/kafka"), root.join("proto/kafka/coordinator")]
}

/// The path of a schema's text file, for the headers of generated files.
fn source_path(schema: &Schema) -> String {
    match schema.subject {
        Subject::Record { .. } => format!("proto/kafka/coordinator/{}.txt", schema.name),
        Subject::Api { .. } | Subject::Data => format!("proto/kafka/{}.txt", schema.name),
    }
}
