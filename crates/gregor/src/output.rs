//! Where results go: standard output, as text, aligned tables or JSON lines.
//!
//! Invariants: results go to standard output and nothing else does; a write error is a failure of
//! the command, never a panic; field names of the JSON are part of the interface.

use std::io::{self, BufWriter, Stdout, Write};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::failure::Failure;

/// Standard output, buffered.
pub struct Output {
    json: bool,
    out: BufWriter<Stdout>,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    /// Text, aligned left.
    Text(&'static str),
    /// A number, aligned right.
    Number(&'static str),
}

impl Output {
    /// Standard output.
    pub fn new(json: bool) -> Self {
        Self { json, out: BufWriter::with_capacity(64 * 1024, io::stdout()) }
    }

    /// Whether JSON is wanted.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// One object on a line of its own.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn object(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let failed = |error: serde_json::Error| Failure::Output(error.into());
        serde_json::to_writer(&mut self.out, value).map_err(failed)?;
        self.bytes(b"\n")
    }

    /// One line of text.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// Bytes as they are.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(Failure::Output)
    }

    /// A table; nothing at all if it has no rows.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn table(&mut self, columns: &[Column], rows: Vec<Vec<String>>) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let text = table_text(columns, rows);
        self.line(&text)
    }

    /// Hands everything over to the system.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::Output)
    }
}

/// The rows under their heads, aligned, two spaces apart, without spaces at the ends of lines.
pub fn table_text(columns: &[Column], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|column| match column {
        Column::Text(head) | Column::Number(head) => *head,
    }));
    table.add_rows(rows);
    for (index, column) in columns.iter().enumerate() {
        if let Some(shown) = table.column_mut(index) {
            shown.set_padding((0, 2));
            if let Column::Number(_) = column {
                shown.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.trim_fmt()
}

/// A list as text, comma by comma.
pub fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// So many things: `1 record`, `2 records`.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A number, or '-' where there is none.
pub fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Bytes in standard base64.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4_usize {
            let shift = 18 - 6 * u32::try_from(place).unwrap_or(0);
            let six = usize::try_from(bits >> shift & 63).unwrap_or(0);
            text.push(if place <= chunk.len() { char::from(ALPHABET[six]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_has_no_spaces_at_line_ends() {
        let columns = [Column::Text("TOPIC"), Column::Number("OFFSET")];
        let rows = vec![vec!["a".into(), "1".into()], vec!["orders".into(), "1234567".into()]];

        let text = table_text(&columns, rows);

        assert_eq!(text, "TOPIC    OFFSET\na             1\norders  1234567");
    }

    #[test]
    fn base64_pads_to_four() {
        let texts = ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
        assert_eq!(base64(&[0xff, 0xfe]), "//4=");
    }
}
