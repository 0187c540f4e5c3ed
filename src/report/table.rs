//! Aligned columns for people.
//!
//! Rows stream: the first [`MEASURED`] give the widths, later cells that are wider push the rest of their line. On a
//! terminal, text columns are cut to its width (`…`) unless `--wide` was asked for; a file or a pipe gets everything.

use super::cell::Cell;
use super::guard;
use super::row::{Column, Kind, Row};
use super::writer::{Provenance, Style, Writer};
use crate::bytes::Place;
use crate::error::Result;
use crate::value::Absent;
use std::collections::BTreeSet;
use std::io::Write;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Rows held back to measure the columns.
pub(super) const MEASURED: usize = 1_000;
/// A text column is not cut below this.
const NARROWEST: usize = 12;
/// Levels a tree is indented by; deeper rows stand no further right.
const DEEPEST: u16 = 40;

/// The table format.
pub(super) struct Table<'w> {
    out: Box<dyn Write + Send + 'w>,
    style: Style,
    columns: Vec<Head>,
    /// Rows not yet written, as text; empty once the widths stand.
    held: Vec<Vec<String>>,
    widths: Vec<usize>,
    measured: bool,
    section: Option<&'static str>,
    any_section: bool,
    upright: bool,
    reasons: BTreeSet<Absent>,
    cut: bool,
    line: String,
}

/// A column as the table shows it.
struct Head {
    /// Its place among the cells; `None` of the places added by `--provenance`.
    cell: Option<usize>,
    title: String,
    kind: Kind,
}

impl<'w> Table<'w> {
    pub(super) fn new(out: Box<dyn Write + Send + 'w>, columns: &'static [Column], style: Style) -> Self {
        Self {
            out,
            style,
            columns: heads(columns, style),
            held: Vec::new(),
            widths: Vec::new(),
            measured: false,
            section: None,
            any_section: false,
            upright: false,
            reasons: BTreeSet::new(),
            cut: false,
            line: String::new(),
        }
    }

    fn texts(&mut self, row: &Row) -> Vec<String> {
        let place = places(row.place.unwrap_or_default());
        let mut places = place.into_iter();
        let mut out = Vec::with_capacity(self.columns.len());
        for (i, head) in self.columns.iter().enumerate() {
            if let Some(cell @ (Cell::List(_) | Cell::Object(_))) =
                head.cell.filter(|_| row.upright).and_then(|index| row.cells.get(index))
            {
                cell.each_absent(&mut |why| {
                    self.reasons.insert(why);
                });
                out.push(lines(cell));
                continue;
            }
            let mut text = String::new();
            if i == 0 {
                (0..row.depth.min(DEEPEST)).for_each(|_| text.push_str("  "));
            }
            match head.cell {
                Some(index) => {
                    if let Some(cell) = row.cells.get(index) {
                        cell.each_absent(&mut |why| {
                            self.reasons.insert(why);
                        });
                        match cell {
                            Cell::Bool(v) => text.push_str(if *v { "yes" } else { "no" }),
                            cell => cell.write_text(&mut text),
                        }
                    }
                }
                None => text.push_str(&places.next().unwrap_or_default()),
            }
            out.push(match guard::visible(&text) {
                std::borrow::Cow::Borrowed(_) => text,
                std::borrow::Cow::Owned(safe) => safe,
            });
        }
        out
    }

    /// Fixes the widths by the rows held back, and writes heading and rows.
    fn measure(&mut self) -> Result<()> {
        self.measured = true;
        self.widths = self.columns.iter().map(|h| h.title.width()).collect();
        for row in &self.held {
            for (width, text) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(text.width());
            }
        }
        if let Some(room) = self.style.width.filter(|_| !self.style.wide) {
            self.shrink(room.into());
        }
        if let Some(title) = self.section {
            self.title(title)?;
        }
        let held = std::mem::take(&mut self.held);
        // A part of a page with one row stands upright when it would not fit across.
        if let ([row], true) = (held.as_slice(), self.section.is_some() || self.upright) {
            let across: usize = self.widths.iter().map(|w| w.saturating_add(2)).sum();
            if self.upright || across > self.style.width.unwrap_or(120).into() {
                return self.upright(row);
            }
        }
        let titles: Vec<String> = self.columns.iter().map(|h| h.title.clone()).collect();
        self.write(&titles, true)?;
        for row in &held {
            self.write(row, false)?;
        }
        Ok(())
    }

    /// Takes width from the widest text columns until the line fits.
    fn shrink(&mut self, room: usize) {
        loop {
            let total: usize = self.widths.iter().map(|w| w.saturating_add(2)).sum::<usize>().saturating_sub(2);
            let widest = self
                .widths
                .iter_mut()
                .zip(&self.columns)
                .filter(|(w, h)| **w > NARROWEST && matches!(h.kind, Kind::Text | Kind::Texts | Kind::Nested))
                .max_by_key(|(w, _)| **w);
            match widest {
                Some((width, _)) if total > room => *width = width.saturating_sub(1),
                _ => return,
            }
        }
    }

    fn title(&mut self, title: &str) -> Result<()> {
        let gap = if self.any_section { "\n" } else { "" };
        self.any_section = true;
        let (on, off) = if self.style.colour { ("\x1b[1;4m", "\x1b[0m") } else { ("", "") };
        Ok(writeln!(self.out, "{gap}{on}{}{off}", guard::visible(title))?)
    }

    fn upright(&mut self, row: &[String]) -> Result<()> {
        let width = self.columns.iter().map(|h| h.title.width()).max().unwrap_or(0);
        for (head, text) in self.columns.iter().zip(row) {
            let gap = " ".repeat(width.saturating_sub(head.title.width()));
            for (i, line) in text.split('\n').enumerate() {
                let (title, gap) = if i == 0 { (head.title.as_str(), gap.as_str()) } else { ("", "") };
                let room = if i == 0 { 0 } else { width };
                writeln!(self.out, "  {title}{gap}{}  {line}", " ".repeat(room))?;
            }
        }
        Ok(())
    }

    fn write(&mut self, texts: &[String], heading: bool) -> Result<()> {
        self.line.clear();
        let last = texts.len().saturating_sub(1);
        let cutting = self.style.width.is_some() && !self.style.wide;
        for (i, ((text, width), head)) in texts.iter().zip(&self.widths).zip(&self.columns).enumerate() {
            if i > 0 {
                self.line.push_str("  ");
            }
            let mut text = std::borrow::Cow::Borrowed(text.as_str());
            let mut have = text.width();
            if cutting && have > *width && matches!(head.kind, Kind::Text | Kind::Texts | Kind::Nested) {
                text = cut(&text, *width).into();
                have = text.width();
                self.cut = true;
            }
            let pad = width.saturating_sub(have);
            // The first column is where trees indent: it stays left.
            let right = head.kind == Kind::Number && i > 0;
            if right {
                (0..pad).for_each(|_| self.line.push(' '));
            }
            self.line.push_str(&text);
            if !right && i != last {
                (0..pad).for_each(|_| self.line.push(' '));
            }
        }
        let line = self.line.trim_end_matches(' ');
        if heading && self.style.colour {
            writeln!(self.out, "\x1b[1m{line}\x1b[0m")?;
        } else {
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }
}

/// Values an upright row's cell has a line for at most, where it is one object.
const ON_A_LINE: usize = 4;

/// A list or an object as several lines of an upright row.
fn lines(cell: &Cell) -> String {
    let text = |cell: &Cell| {
        let mut text = String::new();
        cell.write_text(&mut text);
        guard::visible(&text).into_owned()
    };
    let lines: Vec<String> = match cell {
        Cell::List(items) if items.is_empty() => vec!["-".to_owned()],
        Cell::List(items) => items.iter().map(text).collect(),
        Cell::Object(fields) => fields.chunks(ON_A_LINE).map(|part| text(&Cell::Object(part.to_vec()))).collect(),
        other => vec![text(other)],
    };
    lines.join("\n")
}

fn heads(columns: &'static [Column], style: Style) -> Vec<Head> {
    let mut out: Vec<Head> = columns
        .iter()
        .enumerate()
        .filter(|(_, c)| c.table || style.wide)
        .map(|(i, c)| Head { cell: Some(i), title: c.key.to_ascii_uppercase(), kind: c.kind })
        .collect();
    if style.provenance != Provenance::None {
        for title in ["PLACE_VA", "PLACE_PA", "PLACE_FILE"] {
            out.push(Head { cell: None, title: title.to_owned(), kind: Kind::Hex });
        }
    }
    out
}

/// The three columns of `--provenance`.
fn places(place: Place) -> [String; 3] {
    place.parts().map(|part| part.unwrap_or_else(|| "-".to_owned()))
}

/// The beginning of a text, `width` wide with its `…`.
fn cut(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut used = 1_usize;
    for c in text.chars() {
        used = used.saturating_add(c.width().unwrap_or(0));
        if used > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

impl Writer for Table<'_> {
    fn section(&mut self, title: &'static str, columns: &'static [Column]) -> Result<()> {
        if !self.measured && (self.section.is_some() || !self.held.is_empty()) {
            self.measure()?;
        }
        (self.section, self.measured) = (Some(title), false);
        self.columns = heads(columns, self.style);
        Ok(())
    }

    fn row(&mut self, row: Row) -> Result<()> {
        self.upright |= row.upright;
        let texts = self.texts(&row);
        if self.measured {
            return self.write(&texts, false);
        }
        self.held.push(texts);
        if self.held.len() >= MEASURED { self.measure() } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<Option<String>> {
        if !self.measured {
            self.measure()?;
        }
        self.out.flush()?;
        Ok(legend(&self.reasons, self.cut))
    }
}

/// What the marks of this table mean: only those that were used.
fn legend(reasons: &BTreeSet<Absent>, cut: bool) -> Option<String> {
    let mut parts = Vec::new();
    for mark in ["-", "?", "!"] {
        let of_mark: Vec<String> = reasons.iter().filter(|r| r.mark() == mark).map(ToString::to_string).collect();
        if !of_mark.is_empty() {
            parts.push(format!("{mark} {}", of_mark.join(" or ")));
        }
    }
    if cut {
        parts.push("… cut to the terminal (--wide shows all)".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join("  "))
}
