//! `cargo codegen`: writes the Kafka codec from `proto/kafka/*.txt`.
//!
//! `cargo codegen samples` prints a sample of every message and version instead, one a line: name,
//! version, style, and the bytes as hexadecimal digits. Programs in other languages read them.
//! `cargo codegen corpus` writes such samples below `fuzz/corpus`, for the fuzz targets to start from.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool says what it did"
)]

use std::path::Path;
use std::process::ExitCode;

use proto::sample::{STYLES, Sampler, encode};
use proto::schema::Subject;

const HELP: &str = "cargo codegen           writes the Kafka codec from proto/kafka/*.txt
cargo codegen samples   prints a sample of every message and version
cargo codegen corpus    writes such samples below fuzz/corpus";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let written = match std::env::args().nth(1).as_deref() {
        None => proto::write(&root),
        Some("corpus") => proto::write_corpus(&root),
        Some("samples") => {
            return samples(&root).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS);
        },
        Some("-h" | "--help" | "help") => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        },
        Some(other) => {
            eprintln!("there is no '{other}'\n{HELP}");
            return ExitCode::from(2);
        },
    };
    match written {
        Ok(files) => {
            println!("{files} files written");
            ExitCode::SUCCESS
        },
        Err(error) => failed(&error),
    }
}

fn failed(error: &proto::Error) -> ExitCode {
    let source = std::error::Error::source(error);
    let source = source.map(|source| format!(": {source}")).unwrap_or_default();
    eprintln!("error: {error}{source}");
    ExitCode::FAILURE
}

fn samples(root: &Path) -> Result<(), proto::Error> {
    for schema in proto::read_schemas(root)? {
        if matches!(schema.subject, Subject::Record { .. }) {
            continue;
        }
        for message in &schema.messages {
            for version in message.versions.iter() {
                for (index, style) in STYLES.into_iter().enumerate() {
                    let values = Sampler::new(style, 7).message(message, version);
                    let bytes = encode(message, version, &values, false);
                    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    println!("{} {version} {index} {hex}", message.name);
                }
            }
        }
    }
    Ok(())
}
