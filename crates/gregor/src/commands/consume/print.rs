//! Printing records: values, a template, or JSON.

use serde::Serialize;

use super::reader::{Read, Reader};
use crate::failure::Failure;
use crate::output::{Output, base64};
use records::{Record, RecordSet};

/// A batch that opens to more is refused, bytes.
pub const OPEN_BYTES_MAX: usize = 256 << 20;

/// See the module head.
pub struct Printer {
    out: Output,
    template: Option<Vec<Piece>>,
    /// Records still to be printed, if there is a limit.
    left: Option<u64>,
}

/// A part of `--format`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    Value,
    Headers,
}

impl Printer {
    /// Prints like `template` says, or values.
    pub fn new(out: Output, template: Option<&str>, max: Option<u64>) -> Self {
        Self { out, template: template.map(parse), left: max }
    }

    /// Whether `--max` is reached.
    pub fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    /// Hands over what was printed.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush()
    }

    /// Prints what was read from the reader's position on, and moves the position.
    ///
    /// # Errors
    /// [`Failure`] for batches that are damaged.
    pub fn print(&mut self, reader: &mut Reader, read: &Read) -> Result<(), Failure> {
        let partition = read.partition;
        for batch in records::batches(read.bytes.clone()) {
            let batch = batch.map_err(|error| {
                let (topic, at) = (reader.name(), reader.position(partition));
                unreadable(&format!("{topic}-{partition} at offset {at}"), &error.to_string())
            })?;
            let header = *batch.header();
            let next = header.next_offset().0;
            if next <= reader.position(partition) {
                continue;
            }
            let damaged = |reader: &Reader, why: String| {
                let (topic, first, last) =
                    (reader.name(), header.base_offset, header.last_offset());
                Failure::Advised {
                    what: format!(
                        "offsets {first} to {last} of {topic}-{partition} are damaged: {why}"
                    ),
                    hint: format!("`--from {next}` goes on behind them"),
                }
            };
            batch.verify_crc().map_err(|error| damaged(reader, error.to_string()))?;
            if !header.attributes.is_control() {
                let set = batch.open(OPEN_BYTES_MAX);
                let set = set.map_err(|error| damaged(reader, error.to_string()))?;
                if !self.print_set(reader, partition, &set)? {
                    return Ok(());
                }
            }
            reader.advance(partition, next);
        }
        Ok(())
    }

    /// Prints records; returns whether all were wanted.
    fn print_set(
        &mut self,
        reader: &mut Reader,
        partition: i32,
        set: &RecordSet,
    ) -> Result<bool, Failure> {
        for record in set {
            let record = record.map_err(|error| Failure::Other(error.to_string()))?;
            let offset = record.offset.0;
            if offset < reader.position(partition) {
                continue;
            }
            let beyond = reader.end(partition).is_some_and(|end| offset >= end);
            if beyond || self.is_done() {
                return Ok(false);
            }
            self.print_record(reader.name(), partition, &record)?;
            self.left = self.left.map(|left| left - 1);
            reader.advance(partition, offset.saturating_add(1));
        }
        Ok(true)
    }

    fn print_record(
        &mut self,
        topic: &str,
        partition: i32,
        record: &Record<'_>,
    ) -> Result<(), Failure> {
        if self.out.is_json() {
            return self.out.object(&RecordLine::new(topic, partition, record));
        }
        let Some(template) = &self.template else {
            self.out.bytes(record.value.unwrap_or_default())?;
            return self.out.bytes(b"\n");
        };
        let mut line = Vec::new();
        for piece in template {
            match piece {
                Piece::Text(text) => line.extend_from_slice(text),
                Piece::Topic => line.extend_from_slice(topic.as_bytes()),
                Piece::Partition => line.extend_from_slice(partition.to_string().as_bytes()),
                Piece::Offset => line.extend_from_slice(record.offset.0.to_string().as_bytes()),
                Piece::Timestamp => {
                    line.extend_from_slice(record.timestamp.0.to_string().as_bytes());
                },
                Piece::Key => line.extend_from_slice(record.key.unwrap_or_default()),
                Piece::Value => line.extend_from_slice(record.value.unwrap_or_default()),
                Piece::Headers => put_headers(&mut line, record),
            }
        }
        self.out.bytes(&line)
    }
}

fn put_headers(line: &mut Vec<u8>, record: &Record<'_>) {
    for (index, header) in record.headers.enumerate() {
        if index > 0 {
            line.push(b',');
        }
        line.extend_from_slice(header.key);
        line.push(b'=');
        line.extend_from_slice(header.value.unwrap_or_default());
    }
}

/// A record as JSON.
#[derive(Serialize)]
pub struct RecordLine {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    headers: Vec<HeaderLine>,
}

#[derive(Serialize)]
struct HeaderLine {
    key: String,
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

impl RecordLine {
    /// The record of this partition.
    pub fn new(topic: &str, partition: i32, record: &Record<'_>) -> Self {
        let (key, key_base64) = text_or_base64(record.key);
        let (value, value_base64) = text_or_base64(record.value);
        let headers = record.headers.map(|header| {
            let (value, value_base64) = text_or_base64(header.value);
            HeaderLine { key: String::from_utf8_lossy(header.key).into(), value, value_base64 }
        });
        Self {
            topic: topic.to_owned(),
            partition,
            offset: record.offset.0,
            timestamp: (record.timestamp.0 >= 0).then_some(record.timestamp.0),
            key,
            key_base64,
            value,
            value_base64,
            headers: headers.collect(),
        }
    }
}

fn text_or_base64(bytes: Option<&[u8]>) -> (Option<String>, Option<String>) {
    let Some(bytes) = bytes else { return (None, None) };
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(base64(bytes))),
    }
}

fn parse(template: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut chars = template.chars();
    while let Some(char) = chars.next() {
        let piece = match (char, chars.clone().next()) {
            ('%', Some('t')) => Piece::Topic,
            ('%', Some('p')) => Piece::Partition,
            ('%', Some('o')) => Piece::Offset,
            ('%', Some('T')) => Piece::Timestamp,
            ('%', Some('k')) => Piece::Key,
            ('%', Some('s')) => Piece::Value,
            ('%', Some('h')) => Piece::Headers,
            ('%', Some('%')) => Piece::Text(b"%".to_vec()),
            ('\\', Some('n')) => Piece::Text(b"\n".to_vec()),
            ('\\', Some('t')) => Piece::Text(b"\t".to_vec()),
            ('\\', Some('\\')) => Piece::Text(b"\\".to_vec()),
            _ => {
                text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            },
        };
        chars.next();
        match piece {
            Piece::Text(more) => text.extend(more),
            piece => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(piece);
            },
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

/// What is at a place is no batch.
fn unreadable(place: &str, why: &str) -> Failure {
    Failure::Advised {
        what: format!("what is read from {place} on is damaged: {why}"),
        hint: "`gregor verify --deep`, with the broker stopped, says how far; `--from` goes on behind it"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_text_and_fields() {
        let text = |text: &str| Piece::Text(text.as_bytes().to_vec());
        assert_eq!(
            parse("%p/%o: %k=%s\\n"),
            [
                Piece::Partition,
                text("/"),
                Piece::Offset,
                text(": "),
                Piece::Key,
                text("="),
                Piece::Value,
                text("\n"),
            ]
        );
        assert_eq!(parse("100%% \\q"), [text("100% \\q")]);
        assert_eq!(parse(""), []);
    }

    #[test]
    fn bytes_that_are_no_text_become_base64() {
        assert_eq!(text_or_base64(Some(b"text")), (Some("text".into()), None));
        assert_eq!(text_or_base64(Some(&[0xff, 0xfe])), (None, Some("//4=".into())));
        assert_eq!(text_or_base64(None), (None, None));
    }
}
