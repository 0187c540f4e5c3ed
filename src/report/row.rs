//! Columns, rows, and what takes them.

use super::Pen;
use super::cell::Cell;
use crate::bytes::Place;
use crate::error::{Error, Result};
use crate::value::Note;

/// What a column holds: gives the JSON schema and the alignment of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A decimal number.
    Number,
    /// `"0x…"`.
    Hex,
    /// RFC 3339 in UTC.
    Time,
    /// Text.
    Text,
    /// An array of text.
    Texts,
    /// An array of objects, or an object.
    Nested,
}

/// One column of an analysis.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The key in JSON and CSV, `snake_case`.
    pub key: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it means, with unit and source.
    pub about: &'static str,
    /// Whether the terminal table shows it; JSON and CSV always do.
    pub table: bool,
    /// Where its values come from.
    pub origin: Origin,
}

/// Where the values of a column come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has said.
    Unsaid,
    /// Each is read at one place, which the row names (`--provenance=fields`).
    Placed,
    /// They are at no one place: what they are made of.
    Derived(&'static str),
}

/// A column, shown in tables.
#[must_use]
pub const fn col(key: &'static str, kind: Kind, about: &'static str) -> Column {
    Column { key, kind, about, table: true, origin: Origin::Unsaid }
}
/// A column that only JSON and CSV (and `--wide` tables) show.
#[must_use]
pub const fn wide(key: &'static str, kind: Kind, about: &'static str) -> Column {
    Column { key, kind, about, table: false, origin: Origin::Unsaid }
}

/// Columns of one analysis followed by those of another: `N` must be their number.
#[must_use]
#[allow(clippy::indexing_slicing, reason = "constant evaluation only: a wrong index does not compile")]
pub const fn joined<const A: usize, const B: usize, const N: usize>(
    first: [Column; A],
    then: [Column; B],
) -> [Column; N] {
    assert!(A + B == N && A > 0, "N is the number of both");
    let mut all = [first[0]; N];
    let mut i = 0;
    while i < N {
        all[i] = if i < A { first[i] } else { then[i - A] };
        i += 1;
    }
    all
}

/// One row: a cell for each column, in the columns' order.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The cells.
    pub cells: Vec<Cell>,
    /// Where the row's object starts.
    pub place: Option<Place>,
    /// Where single fields stand, by column key; filled only when asked for.
    pub fields: Vec<(&'static str, Place)>,
    /// Depth in a tree (`pstree`, `vadtree`): tables indent by it.
    pub depth: u16,
    /// The only row of its analysis, with more cells than fit across: tables print a line for each cell.
    pub upright: bool,
}

impl Row {
    /// A row of these cells.
    #[must_use]
    pub fn new(cells: Vec<Cell>) -> Self {
        Self { cells, ..Self::default() }
    }
    /// The same row, with the place of its object.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }
    /// The same row, for tables to print a line for each cell.
    #[must_use]
    pub fn upright(mut self) -> Self {
        self.upright = true;
        self
    }
}

/// What takes an analysis' rows and notes, as they come.
pub trait Sink {
    /// Takes a row.
    ///
    /// # Errors
    /// The output is closed or full.
    fn row(&mut self, row: Row) -> Result<()>;
    /// Takes a note.
    fn note(&mut self, note: Note);
    /// From here on rows have the columns of a part of the page (`process`, `report`): tables print a heading, JSON rows
    /// carry `"section": title`. Sinks that do not care ignore it.
    ///
    /// # Errors
    /// The output is closed or full.
    fn section(&mut self, title: &'static str, columns: &'static [Column]) -> Result<()> {
        let _ = (title, columns);
        Ok(())
    }
    /// What turns rows into this sink's text, where it takes text: rows made on other threads need not come as rows.
    fn pen(&self) -> Option<Pen> {
        None
    }
    /// Takes whole rows as the text that [`pen`](Self::pen) made of them.
    ///
    /// # Errors
    /// The output is closed or full, or the sink has no pen.
    fn penned(&mut self, rows: u64, text: &[u8]) -> Result<()> {
        let _ = (rows, text);
        Err(Error::NotAvailable("this output has no pen".into()))
    }
}

/// Collects everything, for tests and for analyses made of others.
#[derive(Debug, Default)]
pub struct Collected {
    /// The rows.
    pub rows: Vec<Row>,
    /// The notes.
    pub notes: Vec<Note>,
}
impl Sink for Collected {
    fn row(&mut self, row: Row) -> Result<()> {
        self.rows.push(row);
        Ok(())
    }
    fn note(&mut self, note: Note) {
        self.notes.push(note);
    }
}
