//! Rows as JSON text.

use super::text::{escaped, hex, number, string};
use crate::place::{At, Place, Stored};
use crate::report::cell::Cell;
use crate::report::row::{Column, Row};
use crate::report::writer::{Provenance, Style};
use crate::value::Absent;

/// Turns rows into JSON text; a row a line. Whoever makes rows on many threads turns them into text there
/// ([`Sink::pen`](crate::report::Sink::pen)): that is half the work of an output that holds everything.
#[derive(Clone, Debug)]
pub struct Pen {
    /// The sections met so far, the first being that of an analysis by itself; which of them rows are of.
    sections: Vec<Section>,
    current: usize,
    provenance: Provenance,
    /// Rows are parts of an array: a comma before each.
    array: bool,
    /// What is missing of the row in the making: kept to be reused.
    missing: Missing,
}

/// Why values of an object are not there as a whole: the insides of its `absent` and `cut` objects.
#[derive(Clone, Debug, Default)]
struct Missing {
    /// Values that are null.
    absent: Vec<u8>,
    /// Texts of which only the beginning is there.
    cut: Vec<u8>,
}

impl Missing {
    fn clear(&mut self) {
        self.absent.clear();
        self.cut.clear();
    }
    /// Writes what there is into the object.
    fn write(&self, out: &mut Vec<u8>) {
        for (name, reasons) in [("absent", &self.absent), ("cut", &self.cut)] {
            if !reasons.is_empty() {
                out.push(b',');
                key(out, name);
                out.push(b'{');
                out.extend_from_slice(reasons);
                out.push(b'}');
            }
        }
    }
}

/// What the rows of a section have in common.
#[derive(Clone, Debug)]
struct Section {
    title: Option<&'static str>,
    columns: &'static [Column],
    /// What stands before each column's value: of the first the brace and the section's name, of all the key.
    heads: Vec<Box<[u8]>>,
}

impl Section {
    fn of(title: Option<&'static str>, columns: &'static [Column]) -> Self {
        let mut head = vec![b'{'];
        if let Some(title) = title {
            key(&mut head, "section");
            string(&mut head, title);
            head.push(b',');
        }
        let heads = columns.iter().map(|column| {
            key(&mut head, column.key);
            std::mem::replace(&mut head, vec![b',']).into()
        });
        Self { title, columns, heads: heads.collect() }
    }
}

/// Before each row of an array; before the first its opening bracket.
pub(super) const COMMA: &[u8] = b",\n";

impl Pen {
    pub(super) fn new(columns: &'static [Column], style: Style, array: bool) -> Self {
        let sections = vec![Section::of(None, columns)];
        Self { sections, current: 0, provenance: style.provenance, array, missing: Missing::default() }
    }
    /// Whether rows are parts of an array.
    pub(super) fn array(&self) -> bool {
        self.array
    }
    /// From here on rows have these columns.
    pub fn section(&mut self, title: &'static str, columns: &'static [Column]) {
        let known = self.sections.iter().position(|s| s.title == Some(title) && std::ptr::eq(s.columns, columns));
        self.current = known.unwrap_or_else(|| {
            self.sections.push(Section::of(Some(title), columns));
            self.sections.len().saturating_sub(1)
        });
    }
    /// From here on rows have the columns of the analysis itself, as at first.
    pub fn begin(&mut self) {
        self.current = 0;
    }
    /// Appends a row.
    pub fn row(&mut self, line: &mut Vec<u8>, row: &Row) {
        let Some(section) = self.sections.get(self.current) else { return };
        self.missing.clear();
        if self.array {
            line.extend_from_slice(COMMA);
        }
        for ((column, head), cell) in section.columns.iter().zip(&section.heads).zip(&row.cells) {
            line.extend_from_slice(head);
            value(line, &mut self.missing, column.key, cell);
        }
        self.missing.write(line);
        if self.provenance != Provenance::None {
            line.extend_from_slice(b",\"place\":");
            place(line, row.place.unwrap_or_default());
        }
        if self.provenance == Provenance::Fields {
            line.extend_from_slice(b",\"places\":{");
            for (i, (name, at)) in row.fields.iter().enumerate() {
                if i > 0 {
                    line.push(b',');
                }
                key(line, name);
                place(line, *at);
            }
            line.push(b'}');
        }
        line.push(b'}');
        if !self.array {
            line.push(b'\n');
        }
    }
}

/// One value as JSON text on its own, for formats that have no nesting.
pub fn text_of(cell: &Cell) -> String {
    let mut out = Vec::new();
    value(&mut out, &mut Missing::default(), "", cell);
    String::from_utf8_lossy(&out).into_owned()
}

/// Writes a value; reasons of absent and cut ones go to `missing` under `path` (`key`, `key[3]`), those inside an object into that
/// object's own `"absent"` and `"cut"`.
fn value(out: &mut Vec<u8>, missing: &mut Missing, path: &str, cell: &Cell) {
    match cell {
        Cell::Absent(why) => null(out, missing, path, *why),
        Cell::Bool(v) => out.extend_from_slice(if *v { b"true" } else { b"false" }),
        Cell::Dec(v) => number(out, *v),
        Cell::Int(v) => number(out, *v),
        Cell::Hex(v) => hex(out, *v),
        Cell::Time(v) => match v.rfc3339() {
            Some(text) => string(out, &text),
            None => null(out, missing, path, Absent::Implausible),
        },
        Cell::Text(v) => string(out, v),
        Cell::Cut(v, why) => {
            string(out, v);
            reason(&mut missing.cut, path, *why);
        }
        Cell::List(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                if matches!(item, Cell::Absent(_) | Cell::Cut(..) | Cell::Time(_) | Cell::List(_)) {
                    value(out, missing, &format!("{path}[{i}]"), item);
                } else {
                    value(out, missing, path, item);
                }
            }
            out.push(b']');
        }
        Cell::Object(fields) => {
            let mut inner = Missing::default();
            out.push(b'{');
            for (i, (name, field)) in fields.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                string(out, name);
                out.push(b':');
                value(out, &mut inner, name, field);
            }
            inner.write(out);
            out.push(b'}');
        }
    }
}

/// A value that is not there, and why.
fn null(out: &mut Vec<u8>, missing: &mut Missing, path: &str, why: Absent) {
    out.extend_from_slice(b"null");
    reason(&mut missing.absent, path, why);
}

/// Adds a reason to an object of reasons.
fn reason(reasons: &mut Vec<u8>, path: &str, why: Absent) {
    if !reasons.is_empty() {
        reasons.push(b',');
    }
    reasons.push(b'"');
    escaped(reasons, path);
    reasons.extend_from_slice(b"\":\"");
    reasons.extend_from_slice(why.key().as_bytes());
    reasons.push(b'"');
}

fn place(out: &mut Vec<u8>, place: Place) {
    let stored = place.file.map(At::stored);
    let parts = [("va", place.va.map(|v| v.0)), ("pa", place.pa.map(|v| v.0)), ("file", stored.map(Stored::offset))];
    for (i, (name, at)) in parts.into_iter().enumerate() {
        out.push(if i == 0 { b'{' } else { b',' });
        key(out, name);
        match at {
            Some(at) => hex(out, at),
            None => out.extend_from_slice(b"null"),
        }
    }
    // Nearly all bytes stand in the dump as they are: the rest says more.
    let others = [
        ("page_file", stored.and_then(Stored::file).map(u64::from)),
        ("decoded", place.file.and_then(At::inside).map(u64::from)),
    ];
    for (name, value) in others.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        out.push(b',');
        key(out, name);
        number(out, value);
    }
    out.push(b'}');
}

/// A key of the program's own: none needs an escape.
fn key(out: &mut Vec<u8>, key: &'static str) {
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}
