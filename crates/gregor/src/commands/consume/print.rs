//! Printing records: values, a template, or JSON.
//!
//! Invariants: what is printed goes to the writer record by record, in order; at most [`HANDOVER_BYTES`]
//! and a record wait while a piece is written; a position counts as written once standard output has
//! taken every record below it; while standard output takes nothing, what must go on goes on.

use std::collections::BTreeMap;

use serde::Serialize;

use super::reader::{Read, Reader};
use super::writer::Writer;
use crate::failure::Failure;
use crate::output::base64;
use records::{Record, RecordSet, STORED_INFLATED_BYTES_MAX};

/// From so many bytes on, what was printed is handed over.
const HANDOVER_BYTES: usize = 64 << 10;

/// What goes on while standard output takes nothing.
pub trait Meanwhile {
    /// A wait for standard output begins.
    fn begin(&mut self);
    /// Completes when there is something to do; may be dropped before.
    async fn due(&mut self);
    /// Does it. Up to `written`, partitions are written out.
    ///
    /// # Errors
    /// What must end the printing.
    async fn go_on(&mut self, written: &BTreeMap<i32, i64>) -> Result<(), Failure>;
}

/// Nothing goes on.
pub struct Nothing;

impl Meanwhile for Nothing {
    fn begin(&mut self) {}

    async fn due(&mut self) {
        std::future::pending().await
    }

    async fn go_on(&mut self, _: &BTreeMap<i32, i64>) -> Result<(), Failure> {
        Ok(())
    }
}

/// See the module head.
pub struct Printer {
    writer: Writer,
    json: bool,
    template: Option<Vec<Piece>>,
    /// Records still to be printed, if there is a limit.
    left: Option<u64>,
    /// Printed and not handed over yet: the bytes, how many records, and up to which positions.
    buffer: Vec<u8>,
    buffered: u64,
    reached: BTreeMap<i32, i64>,
    /// Up to which positions everything is written once the writer is idle.
    under_way: BTreeMap<i32, i64>,
    written: BTreeMap<i32, i64>,
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
    /// Prints like `template` says, or JSON, or values.
    pub fn new(writer: Writer, json: bool, template: Option<&str>, max: Option<u64>) -> Self {
        Self {
            writer,
            json,
            template: template.map(parse),
            left: max,
            buffer: Vec::new(),
            buffered: 0,
            reached: BTreeMap::new(),
            under_way: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }

    /// Whether `--max` is reached.
    pub fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    /// Up to where each partition that was printed since [`Printer::begin`] is written out.
    pub fn written(&self) -> &BTreeMap<i32, i64> {
        &self.written
    }

    /// Forgets what was printed and not handed over, and what is written; the writer ends what it
    /// is at.
    pub fn begin(&mut self) {
        self.left = self.left.map(|left| left.saturating_add(self.buffered));
        self.buffer.clear();
        self.buffered = 0;
        for positions in [&mut self.reached, &mut self.under_way, &mut self.written] {
            positions.clear();
        }
    }

    /// Waits until standard output has taken what was handed over.
    ///
    /// # Errors
    /// [`Failure::Output`], and what ends `meanwhile`.
    pub async fn idle(&mut self, meanwhile: &mut impl Meanwhile) -> Result<(), Failure> {
        meanwhile.begin();
        loop {
            tokio::select! {
                biased;
                () = meanwhile.due() => meanwhile.go_on(&self.written).await?,
                outcome = self.writer.idle() => {
                    outcome?;
                    self.written.append(&mut self.under_way);
                    return Ok(());
                },
            }
        }
    }

    /// Hands over what was printed, once what was handed over before is written.
    async fn hand_over(&mut self, meanwhile: &mut impl Meanwhile) -> Result<(), Failure> {
        self.idle(meanwhile).await?;
        self.under_way = std::mem::take(&mut self.reached);
        self.buffered = 0;
        match self.buffer.is_empty() {
            true => Ok(()),
            false => self.writer.write(std::mem::take(&mut self.buffer)),
        }
    }

    /// Waits until standard output has taken all that was printed.
    ///
    /// # Errors
    /// [`Failure::Output`], and what ends `meanwhile`.
    pub async fn flush(&mut self, meanwhile: &mut impl Meanwhile) -> Result<(), Failure> {
        self.hand_over(meanwhile).await?;
        self.idle(meanwhile).await
    }

    /// Prints all of a round, and waits until standard output has taken it.
    ///
    /// # Errors
    /// [`Failure`] for batches that are damaged, for standard output, and what ends `meanwhile`.
    pub async fn print_round(
        &mut self,
        reader: &mut Reader,
        round: &[Read],
        meanwhile: &mut impl Meanwhile,
    ) -> Result<(), Failure> {
        for read in round {
            let printed = self.print(reader, read, meanwhile).await;
            // Also before something damaged: what was printed of it is printed.
            self.reached.insert(read.partition, reader.position(read.partition));
            printed?;
        }
        self.flush(meanwhile).await
    }

    /// Prints what was read from the reader's position on, and moves the position.
    async fn print(
        &mut self,
        reader: &mut Reader,
        read: &Read,
        meanwhile: &mut impl Meanwhile,
    ) -> Result<(), Failure> {
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
                let set = batch.open(STORED_INFLATED_BYTES_MAX);
                let set = set.map_err(|error| damaged(reader, error.to_string()))?;
                if !self.print_set(reader, partition, &set, meanwhile).await? {
                    return Ok(());
                }
            }
            reader.advance(partition, next);
        }
        Ok(())
    }

    /// Prints records; returns whether all were wanted.
    async fn print_set(
        &mut self,
        reader: &mut Reader,
        partition: i32,
        set: &RecordSet,
        meanwhile: &mut impl Meanwhile,
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
            self.buffered += 1;
            reader.advance(partition, offset.saturating_add(1));
            if self.buffer.len() >= HANDOVER_BYTES {
                self.reached.insert(partition, reader.position(partition));
                self.hand_over(meanwhile).await?;
            }
        }
        Ok(true)
    }

    fn print_record(
        &mut self,
        topic: &str,
        partition: i32,
        record: &Record<'_>,
    ) -> Result<(), Failure> {
        let line = &mut self.buffer;
        if self.json {
            let record = RecordLine::new(topic, partition, record);
            let written = serde_json::to_writer(&mut *line, &record);
            written.map_err(|error| Failure::Output(error.into()))?;
            line.push(b'\n');
            return Ok(());
        }
        let Some(template) = &self.template else {
            line.extend_from_slice(record.value.unwrap_or_default());
            line.push(b'\n');
            return Ok(());
        };
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
                Piece::Headers => put_headers(line, record),
            }
        }
        Ok(())
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
