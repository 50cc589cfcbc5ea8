//! Samples in the form that the fuzz targets read, for them to start from.
//!
//! Owns: the few bytes in front of a body that tell a target what follows; see
//! `fuzz/fuzz_targets/`.

use std::path::Path;

use crate::sample::{STYLES, Sampler, encode};
use crate::schema::{Message, Subject};
use crate::{Error, read_schemas};

/// Writes the samples below `root/fuzz/corpus` and says how many.
///
/// # Errors
/// [`Error`] if the input is wrong or a file cannot be written.
#[expect(clippy::disallowed_methods, reason = "a build tool, which writes its output to files")]
pub fn write_corpus(root: &Path) -> Result<usize, Error> {
    let corpus = root.join("fuzz/corpus");
    let mut written = 0;
    let mut records = 0;
    for schema in read_schemas(root)? {
        for (index, message) in schema.messages.iter().enumerate() {
            let (target, key) = match (&schema.subject, index) {
                (Subject::Api { key }, 0) => ("request", *key),
                (Subject::Api { key }, _) => ("response", *key),
                (Subject::Record { .. }, _) => ("coordinator_records", records),
                (Subject::Data, _) => continue,
            };
            let folder = corpus.join(target);
            std::fs::create_dir_all(&folder).map_err(|e| Error::at(&folder, e))?;
            for version in message.versions.iter() {
                for (style, values) in samples(message, version) {
                    let mut bytes = prefix(target, key, index == 0, message, version);
                    bytes.extend(encode(message, version, &values, false));
                    let path = folder.join(format!("{}-{version}-{style}", message.name));
                    std::fs::write(&path, bytes).map_err(|e| Error::at(&path, e))?;
                    written += 1;
                }
            }
        }
        records += i16::from(matches!(schema.subject, Subject::Record { .. }));
    }
    Ok(written)
}

/// One sample with everything set and one with everything null.
fn samples(message: &Message, version: i16) -> Vec<(usize, Vec<crate::sample::Value>)> {
    let styles = STYLES.into_iter().enumerate().filter(|(index, _)| [1, 3].contains(index));
    styles.map(|(index, style)| (index, Sampler::new(style, 7).message(message, version))).collect()
}

fn prefix(target: &str, key: i16, is_first: bool, message: &Message, version: i16) -> Vec<u8> {
    let low = |number: i16| number.to_be_bytes()[1];
    match target {
        "request" => {
            let mut header = key.to_be_bytes().to_vec();
            header.extend(version.to_be_bytes());
            // A correlation id, and no client id.
            header.extend([0, 0, 0, 1, 0xff, 0xff]);
            header.extend(message.is_flexible(version).then_some(0));
            header
        },
        "response" => vec![low(key), low(version)],
        _ => vec![low(key), u8::from(is_first), low(version)],
    }
}
