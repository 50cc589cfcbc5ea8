//! Where results go: standard output, as text, aligned tables or JSON lines.
//!
//! Invariants: results go to standard output and nothing else does; a write error is a failure of
//! the command, never a panic; that whoever read has gone ends a command that only shows something,
//! and hides nothing of what any other does; no text from elsewhere reaches a terminal as control
//! characters; field names of the JSON are part of the interface.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Stdout, Write};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::failure::Failure;

/// Standard output, buffered.
pub struct Output {
    json: bool,
    out: BufWriter<Stdout>,
    /// Whether the command is over once nobody reads what it prints.
    ends_unread: bool,
    /// Whether nobody does any more.
    unread: bool,
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
    /// Standard output of a command that does something: once nobody reads it any more, it is
    /// dropped, and how the command ends is told by what it did.
    pub fn new(json: bool) -> Self {
        let out = BufWriter::with_capacity(64 * 1024, io::stdout());
        Self { json, out, ends_unread: false, unread: false }
    }

    /// Standard output of a command that only shows something: once nobody reads it any more, that
    /// is a [`Failure::Output`] that [`Failure::is_unread`].
    pub fn listing(json: bool) -> Self {
        Self { ends_unread: true, ..Self::new(json) }
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
        let mut line = serde_json::to_vec(value).map_err(failed)?;
        line.push(b'\n');
        self.bytes(&line)
    }

    /// One line of text, control characters escaped.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(printable(text).as_bytes())?;
        self.bytes(b"\n")
    }

    /// Bytes as they are.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.unread {
            return Ok(());
        }
        let written = self.out.write_all(bytes);
        self.judge(written)
    }

    fn judge(&mut self, written: io::Result<()>) -> Result<(), Failure> {
        match written.map_err(Failure::Output) {
            Err(failure) if failure.is_unread() && !self.ends_unread => {
                self.unread = true;
                Ok(())
            },
            written => written,
        }
    }

    /// A table; nothing at all if it has no rows.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn table(&mut self, columns: &[Column], rows: Vec<Vec<String>>) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        // Its cells are escaped, its line ends are ours.
        self.bytes((table_text(columns, rows) + "\n").as_bytes())
    }

    /// Hands everything over to the system.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn flush(&mut self) -> Result<(), Failure> {
        if self.unread {
            return Ok(());
        }
        let written = self.out.flush();
        self.judge(written)
    }
}

/// A line for the person at the terminal, beside the results. Nobody to tell is no failure.
pub fn aside(text: &str) {
    drop(writeln!(io::stderr(), "{}", printable(text)));
}

/// A text whose control characters are escaped: a name that somebody chose could otherwise move a
/// terminal's cursor, or add a line to what is printed.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter.is_control() {
            true => drop(write!(shown, "{}", letter.escape_default())),
            false => shown.push(letter),
        }
    }
    Cow::Owned(shown)
}

/// The rows under their heads, aligned, two spaces apart, without spaces at the ends of lines;
/// control characters of the cells are escaped.
pub fn table_text(columns: &[Column], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|column| match column {
        Column::Text(head) | Column::Number(head) => *head,
    }));
    let escaped = |row: Vec<String>| {
        row.into_iter().map(|cell| printable(&cell).into_owned()).collect::<Vec<_>>()
    };
    table.add_rows(rows.into_iter().map(escaped));
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
    fn no_cell_and_no_line_holds_a_control_character() {
        let name = "a\u{1b}[2Jb\nc\u{9b}d";

        let text = table_text(&[Column::Text("GROUP")], vec![vec![name.into()]]);

        assert_eq!(text, "GROUP\na\\u{1b}[2Jb\\nc\\u{9b}d");
        assert_eq!(printable("größer 大"), "größer 大");
    }

    #[test]
    fn base64_pads_to_four() {
        let texts = ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
        assert_eq!(base64(&[0xff, 0xfe]), "//4=");
    }
}
