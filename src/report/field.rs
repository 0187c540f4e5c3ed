//! Columns with what fills them: a value, and where its bytes are, of one object.
//!
//! ```ignore
//! static FIELDS: &[Field<Processes>] = &[
//!     placed(col("pid", Kind::Number, "Process id"), |c| c.process.pid().into(), |c| c.process.view.at(EProcess::id)),
//!     derived(col("depth", Kind::Number, "Depth in the tree"), "the parents of all processes", |c| c.depth.into()),
//! ];
//! const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);
//! ```

use super::cell::Cell;
use super::row::{Column, Origin, Row};
use crate::bytes::Place;

/// What rows are made of: one object (a process, a thread, a module) with what is known around it. A name for the type, which lives as
/// long as what it looks at.
pub trait Subject: 'static {
    /// What one row is made of.
    type Of<'a>;
}

/// A value of an object.
type Get<S> = for<'a, 'b> fn(&'b <S as Subject>::Of<'a>) -> Cell;
/// Where the bytes of a value are.
type Where<S> = for<'a, 'b> fn(&'b <S as Subject>::Of<'a>) -> Option<Place>;

/// A column, the value that fills it, and where that value's bytes are.
pub struct Field<S: Subject> {
    /// The column.
    pub column: Column,
    get: Get<S>,
    place: Option<Where<S>>,
}

/// A column whose value is read at one place: those bytes as they are, some of their bits, or a word for them. Of a text that a pointer
/// leads to, the place of its characters.
#[must_use]
pub const fn placed<S: Subject>(column: Column, get: Get<S>, place: Where<S>) -> Field<S> {
    Field { column: Column { origin: Origin::Placed, ..column }, get, place: Some(place) }
}

/// A column whose value is at no one place: `from` says what it is made of.
#[must_use]
pub const fn derived<S: Subject>(column: Column, from: &'static str, get: Get<S>) -> Field<S> {
    Field { column: Column { origin: Origin::Derived(from), ..column }, get, place: None }
}

/// The columns of fields.
#[must_use]
#[allow(clippy::indexing_slicing, reason = "constant evaluation only: a wrong index does not compile")]
pub const fn headers<S: Subject, const N: usize>(fields: &[Field<S>]) -> [Column; N] {
    assert!(fields.len() == N && N > 0, "N is the number of fields");
    let mut all = [fields[0].column; N];
    let mut i = 0;
    while i < N {
        all[i] = fields[i].column;
        i += 1;
    }
    all
}

/// What is wanted of each row.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The place of each value, too.
    pub places: bool,
    /// The columns, by key; `None` for all. Values of others are not read.
    pub columns: Option<Vec<&'static str>>,
    /// Of them only those that tables show.
    pub brief: bool,
}

impl Wanted {
    /// All columns, and the place of each value.
    #[must_use]
    pub fn with_places() -> Self {
        Self { places: true, ..Self::default() }
    }
    /// Whether a column is.
    #[must_use]
    pub fn has(&self, column: &Column) -> bool {
        (column.table || !self.brief) && self.columns.as_ref().is_none_or(|keys| keys.contains(&column.key))
    }
    fn has_all(&self) -> bool {
        self.columns.is_none() && !self.brief
    }
}

impl Row {
    /// The row of an object.
    #[must_use]
    #[inline]
    pub fn of<S: Subject>(fields: &[Field<S>], of: &S::Of<'_>, wanted: &Wanted) -> Self {
        Self::default().and(fields, of, wanted)
    }
    /// The same row, with more fields behind.
    #[must_use]
    pub fn and<S: Subject>(mut self, fields: &[Field<S>], of: &S::Of<'_>, wanted: &Wanted) -> Self {
        if wanted.has_all() {
            self.cells.extend(fields.iter().map(|field| (field.get)(of)));
        } else {
            let get = |field: &Field<S>| if wanted.has(&field.column) { (field.get)(of) } else { Cell::default() };
            self.cells.extend(fields.iter().map(get));
        }
        if wanted.places {
            let fields = fields.iter().filter(|field| wanted.has(&field.column));
            self.fields.extend(fields.filter_map(|field| Some((field.column.key, (field.place?)(of)?))));
        }
        self
    }
}
