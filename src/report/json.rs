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

/// Both JSON formats.
pub(super) struct Json<'w> {
    out: Box<dyn Write + Send + 'w>,
    columns: &'static [Column],
    section: Option<&'static str>,
    provenance: Provenance,
    array: bool,
    any: bool,
    /// The row in the making and its `absent` object: kept to be reused.
    line: String,
    absent: String,
}

impl<'w> Json<'w> {
    pub(super) fn array(out: Box<dyn Write + Send + 'w>, columns: &'static [Column], style: Style) -> Self {
        Self {
            out,
            columns,
            section: None,
            provenance: style.provenance,
            array: true,
            any: false,
            line: String::new(),
            absent: String::new(),
        }
    }
    pub(super) fn lines(out: Box<dyn Write + Send + 'w>, columns: &'static [Column], style: Style) -> Self {
        Self { array: false, ..Self::array(out, columns, style) }
    }
}

impl Writer for Json<'_> {
    fn section(&mut self, title: &'static str, columns: &'static [Column]) -> Result<()> {
        self.section = Some(title);
        self.columns = columns;
        Ok(())
    }

    fn row(&mut self, row: Row) -> Result<()> {
        self.line.clear();
        self.absent.clear();
        if self.array {
            self.line.push_str(if self.any { ",\n" } else { "[\n" });
        }
        self.any = true;
        self.line.push('{');
        if let Some(title) = self.section {
            self.line.push_str("\"section\":");
            string(&mut self.line, title);
            self.line.push(',');
        }
        for (column, cell) in self.columns.iter().zip(&row.cells) {
            string(&mut self.line, column.key);
            self.line.push(':');
            value(&mut self.line, &mut self.absent, column.key, cell);
            self.line.push(',');
        }
        if !self.absent.is_empty() {
            let _ = write!(self.line, "\"absent\":{{{}}},", self.absent);
        }
        if self.provenance != Provenance::None {
            self.line.push_str("\"place\":");
            place(&mut self.line, row.place.unwrap_or_default());
            self.line.push(',');
        }
        if self.provenance == Provenance::Fields {
            self.line.push_str("\"places\":{");
            for (i, (key, at)) in row.fields.iter().enumerate() {
                if i > 0 {
                    self.line.push(',');
                }
                string(&mut self.line, key);
                self.line.push(':');
                place(&mut self.line, *at);
            }
            self.line.push_str("},");
        }
        if self.line.ends_with(',') {
            self.line.pop();
        }
        self.line.push('}');
        if !self.array {
            self.line.push('\n');
        }
        Ok(self.out.write_all(self.line.as_bytes())?)
    }

    fn finish(&mut self) -> Result<Option<String>> {
        if self.array {
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
        Cell::Dec(v) => write!(out, "{v}"),
        Cell::Int(v) => write!(out, "{v}"),
        Cell::Hex(v) => write!(out, "\"{v:#x}\""),
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
            for (i, (key, field)) in fields.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                string(out, key);
                out.push(':');
                value(out, &mut inner, key, field);
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

/// A JSON string.
fn string(out: &mut String, text: &str) {
    out.push('"');
    // Nearly every name: nothing in it needs an escape.
    if text.bytes().all(|b| (b' '..0x7f).contains(&b) && b != b'"' && b != b'\\') {
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
