//! `cargo codegen`: writes the Kafka codec from `proto/kafka/*.txt`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line tool says what it did")]

use std::path::Path;

fn main() -> Result<(), proto::Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files = proto::write(&root)?;
    println!("{files} files written");
    Ok(())
}
