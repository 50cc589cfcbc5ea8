//! `cargo codegen`: writes the Kafka codec from `proto/kafka/*.txt`.
//!
//! `cargo codegen samples` prints a sample of every message and version instead, one a line: name,
//! version, style, and the bytes as hexadecimal digits. Programs in other languages read them.
//! `cargo codegen corpus` writes such samples below `fuzz/corpus`, for the fuzz targets to start from.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line tool says what it did")]

use std::path::Path;

use proto::sample::{STYLES, Sampler, encode};
use proto::schema::Subject;

fn main() -> Result<(), proto::Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match std::env::args().nth(1).as_deref() {
        Some("samples") => return samples(&root),
        Some("corpus") => println!("{} files written", proto::write_corpus(&root)?),
        _ => println!("{} files written", proto::write(&root)?),
    }
    Ok(())
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
