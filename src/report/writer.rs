//! The choice of a format, and the sink that writes.

use super::row::{Column, Row, Sink};
use super::{Pen, body, csv, json, raw, table};
use crate::error::{Error, Result};
use crate::value::Note;
use std::collections::BTreeSet;
use std::io::Write;

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Aligned columns for people.
    #[default]
    Table,
    /// One JSON array, one row a line.
    Json,
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a heading.
    Csv,
    /// A body file for `mactime`, of rows that have one time each.
    Body,
    /// Memory as it is, of rows that have bytes.
    Raw,
}

impl Format {
    /// Those that every analysis has.
    pub const ALL: [Self; 4] = [Self::Table, Self::Json, Self::Jsonl, Self::Csv];

    /// Its name on the command line; also the extension of its golden files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Body => "body",
            Self::Raw => "raw",
        }
    }
    /// Whether it shows the analysis' columns: body files have columns of their own, raw bytes none.
    #[must_use]
    pub const fn has_columns(self) -> bool {
        !matches!(self, Self::Body | Self::Raw)
    }
}

/// Which places are written beside the values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provenance {
    /// None.
    #[default]
    None,
    /// Each row's.
    Rows,
    /// Each row's and each field's.
    Fields,
}

/// How the output looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// The format.
    pub format: Format,
    /// Tables show every column, uncut.
    pub wide: bool,
    /// Which places are written.
    pub provenance: Provenance,
    /// Tables are cut to this many characters; `None` for a file or a pipe, where nothing is cut.
    pub width: Option<u16>,
    /// Headings in bold.
    pub colour: bool,
    /// The output is a terminal: CSV is escaped as tables always are.
    pub terminal: bool,
}

/// What writes rows in one format.
pub trait Writer: Send {
    /// From here on rows have other columns; `title` names them.
    ///
    /// # Errors
    /// The output is closed or full.
    fn section(&mut self, title: &'static str, columns: &'static [Column]) -> Result<()>;
    /// Writes a row.
    ///
    /// # Errors
    /// The output is closed or full.
    fn row(&mut self, row: Row) -> Result<()>;
    /// Turns rows into the text this writer would write, where that depends on the row and its section alone.
    fn pen(&self) -> Option<Pen> {
        None
    }
    /// Writes the text of whole rows, made by a [`pen`](Self::pen) of this writer's.
    ///
    /// # Errors
    /// The output is closed or full.
    fn penned(&mut self, text: &[u8]) -> Result<()> {
        let _ = text;
        Err(Error::NotAvailable("this format has no pen".into()))
    }
    /// Writes what is still held back, and the end. Returns a line that explains the marks used, of a table.
    ///
    /// # Errors
    /// The output is closed or full.
    fn finish(&mut self) -> Result<Option<String>>;
}

/// What an analysis left besides its rows.
#[derive(Clone, Debug, Default)]
pub struct Finished {
    /// Rows written.
    pub rows: u64,
    /// Notes, each once, in the order they came.
    pub notes: Vec<Note>,
    /// What the marks of the table mean, when there are any.
    pub legend: Option<String>,
}

impl Finished {
    /// Whether rows or values may be missing.
    #[must_use]
    pub fn loss(&self) -> bool {
        self.notes.iter().any(|n| n.loss)
    }
}

/// Notes kept of one run. A hostile dump could make millions.
const NOTES_KEPT: usize = 10_000;

/// The sink that writes rows in a [`Format`] and keeps the notes.
pub struct Report<'w> {
    writer: Box<dyn Writer + 'w>,
    rows: u64,
    notes: Vec<Note>,
    seen: BTreeSet<Note>,
    more: u64,
    more_loss: bool,
}

impl<'w> Report<'w> {
    /// Writes rows of `columns` to `out`, which should be buffered.
    pub fn new(out: Box<dyn Write + Send + 'w>, columns: &'static [Column], style: Style) -> Self {
        let writer: Box<dyn Writer + 'w> = match style.format {
            Format::Table => Box::new(table::Table::new(out, columns, style)),
            Format::Json => Box::new(json::Json::array(out, columns, style)),
            Format::Jsonl => Box::new(json::Json::lines(out, columns, style)),
            Format::Csv => Box::new(csv::Csv::new(out, columns, style)),
            Format::Body => Box::new(body::Body::new(out, columns)),
            Format::Raw => Box::new(raw::Raw::new(out, columns)),
        };
        Self { writer, rows: 0, notes: Vec::new(), seen: BTreeSet::new(), more: 0, more_loss: false }
    }
    /// Writes what is held back and hands over the notes.
    ///
    /// # Errors
    /// The output is closed or full.
    pub fn finish(mut self) -> Result<Finished> {
        let legend = self.writer.finish()?;
        if self.more > 0 {
            let text = format!("{} more notes are not shown", self.more);
            self.notes.push(Note { loss: self.more_loss, text });
        }
        Ok(Finished { rows: self.rows, notes: self.notes, legend })
    }
    /// Ends early: the notes so far, nothing more written.
    #[must_use]
    pub fn abandon(self) -> Vec<Note> {
        self.notes
    }
}

impl Sink for Report<'_> {
    fn section(&mut self, title: &'static str, columns: &'static [Column]) -> Result<()> {
        self.writer.section(title, columns)
    }
    fn row(&mut self, row: Row) -> Result<()> {
        self.rows = self.rows.saturating_add(1);
        self.writer.row(row)
    }
    fn pen(&self) -> Option<Pen> {
        self.writer.pen()
    }
    fn penned(&mut self, rows: u64, text: &[u8]) -> Result<()> {
        self.rows = self.rows.saturating_add(rows);
        self.writer.penned(text)
    }
    fn note(&mut self, note: Note) {
        if self.notes.len() >= NOTES_KEPT {
            self.more = self.more.saturating_add(1);
            self.more_loss |= note.loss;
        } else if self.seen.insert(note.clone()) {
            self.notes.push(note);
        }
    }
}
