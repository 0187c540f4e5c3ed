//! JSON: one array with a row a line, or one object a line.
//!
//! Written by hand because rows stream and because escapes are chosen: every character that could steer a terminal is a
//! `\u` escape, which a parser reads as that very character.

use super::cell::Cell;
use super::guard;
use super::row::{Column, Row};
use super::writer::{Provenance, Style, Writer};
use crate::bytes::Place;
use crate::error::Result;
use std::fmt::Write as _;
use std::io::Write;

/// Turns rows into JSON text; a row a line. Whoever makes rows on many threads turns them into text there
/// ([`Sink::pen`](super::Sink::pen)): that is half the work of an output that holds everything.
#[derive(Clone, Debug)]
pub struct Pen {
    columns: &'static [Column],
    section: Option<&'static str>,
    provenance: Provenance,
    /// Rows are parts of an array: a comma before each.
    array: bool,
    /// The `absent` object of the row in the making: kept to be reused.
    absent: String,
}

/// Before each row of an array; before the first its opening bracket.
const COMMA: &str = ",\n";
const OPEN: &str = "[\n";

impl Pen {
    /// From here on rows have these columns.
    pub fn section(&mut self, title: &'static str, columns: &'static [Column]) {
        self.section = Some(title);
        self.columns = columns;
    }
    /// Appends a row.
    pub fn row(&mut self, line: &mut String, row: &Row) {
        self.absent.clear();
        if self.array {
            line.push_str(COMMA);
        }
        line.push('{');
        if let Some(title) = self.section {
            key(line, "section");
            string(line, title);
            line.push(',');
        }
        for (column, cell) in self.columns.iter().zip(&row.cells) {
            key(line, column.key);
            value(line, &mut self.absent, column.key, cell);
            line.push(',');
        }
        if !self.absent.is_empty() {
            key(line, "absent");
            line.push('{');
            line.push_str(&self.absent);
            line.push_str("},");
        }
        if self.provenance != Provenance::None {
            key(line, "place");
            place(line, row.place.unwrap_or_default());
            line.push(',');
        }
        if self.provenance == Provenance::Fields {
            key(line, "places");
            line.push('{');
            for (i, (name, at)) in row.fields.iter().enumerate() {
                if i > 0 {
                    line.push(',');
                }
                key(line, name);
                place(line, *at);
            }
            line.push_str("},");
        }
        if line.ends_with(',') {
            line.pop();
        }
        line.push('}');
        if !self.array {
            line.push('\n');
        }
    }
}

/// Both JSON formats.
pub(super) struct Json<'w> {
    out: Box<dyn Write + Send + 'w>,
    pen: Pen,
    any: bool,
    /// The row in the making: kept to be reused.
    line: String,
}

impl<'w> Json<'w> {
    pub(super) fn array(out: Box<dyn Write + Send + 'w>, columns: &'static [Column], style: Style) -> Self {
        let pen = Pen { columns, section: None, provenance: style.provenance, array: true, absent: String::new() };
        Self { out, pen, any: false, line: String::new() }
    }
    pub(super) fn lines(out: Box<dyn Write + Send + 'w>, columns: &'static [Column], style: Style) -> Self {
        let mut lines = Self::array(out, columns, style);
        lines.pen.array = false;
        lines
    }
}

impl Writer for Json<'_> {
    fn section(&mut self, title: &'static str, columns: &'static [Column]) -> Result<()> {
        self.pen.section(title, columns);
        Ok(())
    }

    fn row(&mut self, row: Row) -> Result<()> {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        self.pen.row(&mut line, &row);
        let done = self.penned(&line);
        self.line = line;
        done
    }

    fn pen(&self) -> Option<Pen> {
        Some(self.pen.clone())
    }

    fn penned(&mut self, text: &str) -> Result<()> {
        let mut text = text;
        if self.pen.array && !self.any {
            self.out.write_all(OPEN.as_bytes())?;
            text = text.strip_prefix(COMMA).unwrap_or(text);
        }
        self.any = true;
        Ok(self.out.write_all(text.as_bytes())?)
    }

    fn finish(&mut self) -> Result<Option<String>> {
        if self.pen.array {
            self.out.write_all(if self.any { b"\n]\n" } else { b"[]\n" })?;
        }
        self.out.flush()?;
        Ok(None)
    }
}

/// One value as JSON text on its own, for formats that have no nesting.
pub(super) fn text_of(cell: &Cell) -> String {
    let (mut out, mut absent) = (String::new(), String::new());
    value(&mut out, &mut absent, "", cell);
    out
}

/// Writes a value; reasons of absent ones go to `absent` under `path` (`key`, `key[3]`), those inside an object into that
/// object's own `"absent"`.
fn value(out: &mut String, absent: &mut String, path: &str, cell: &Cell) {
    if let Some(why) = cell.absent() {
        out.push_str("null");
        if !absent.is_empty() {
            absent.push(',');
        }
        string(absent, path);
        let _ = write!(absent, ":\"{}\"", why.key());
        return;
    }
    // Writing to a string cannot fail.
    let _ = match cell {
        Cell::Absent(_) => Ok(()),
        Cell::Bool(v) => write!(out, "{v}"),
        Cell::Dec(v) => {
            out.push_str(itoa::Buffer::new().format(*v));
            Ok(())
        }
        Cell::Int(v) => {
            out.push_str(itoa::Buffer::new().format(*v));
            Ok(())
        }
        Cell::Hex(v) => {
            out.push('"');
            hex(out, *v);
            out.push('"');
            Ok(())
        }
        Cell::Time(v) => write!(out, "\"{v}\""),
        Cell::Text(v) => {
            string(out, v);
            Ok(())
        }
        Cell::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                if matches!(item, Cell::Absent(_) | Cell::Time(_) | Cell::List(_)) {
                    value(out, absent, &format!("{path}[{i}]"), item);
                } else {
                    value(out, absent, path, item);
                }
            }
            out.push(']');
            Ok(())
        }
        Cell::Object(fields) => {
            let mut inner = String::new();
            out.push('{');
            for (i, (name, field)) in fields.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                string(out, name);
                out.push(':');
                value(out, &mut inner, name, field);
            }
            if !inner.is_empty() {
                if !fields.is_empty() {
                    out.push(',');
                }
                let _ = write!(out, "\"absent\":{{{inner}}}");
            }
            out.push('}');
            Ok(())
        }
    };
}

fn place(out: &mut String, place: Place) {
    let parts = [("va", place.va.map(|v| v.0)), ("pa", place.pa.map(|v| v.0)), ("file", place.file)];
    for (i, (key, at)) in parts.into_iter().enumerate() {
        let open = if i == 0 { '{' } else { ',' };
        let _ = match at {
            Some(at) => write!(out, "{open}\"{key}\":\"{at:#x}\""),
            None => write!(out, "{open}\"{key}\":null"),
        };
    }
    out.push('}');
}

/// A key of the program's own: none needs an escape.
fn key(out: &mut String, key: &'static str) {
    out.push('"');
    out.push_str(key);
    out.push_str("\":");
}

/// `0x…`, as the formatter of the standard library has it; every other value is one.
fn hex(out: &mut String, value: u64) {
    out.push_str("0x");
    let digits = (64u32.saturating_sub(value.leading_zeros())).div_ceil(4).max(1);
    for i in (0..digits).rev() {
        let digit = value.wrapping_shr(i.saturating_mul(4)) as u32 & 0xf;
        out.push(char::from_digit(digit, 16).unwrap_or('0'));
    }
}

/// A JSON string.
fn string(out: &mut String, text: &str) {
    out.push('"');
    // Nearly every name: nothing in it needs an escape.
    // All bytes are looked at, whatever the first is: that goes many at a time.
    if text.bytes().fold(true, |plain, b| plain & (b' '..0x7f).contains(&b) & (b != b'"') & (b != b'\\')) {
        out.push_str(text);
        out.push('"');
        return;
    }
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if guard::is_dangerous(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
