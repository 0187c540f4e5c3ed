//! What the scanning analyses share: the scan itself, and the columns that say where and how an object was met.

use super::{Ask, Case};
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::scan::find::{By, Found};
use crate::kernel::scan::tags::Kind as Scanned;
use crate::report::{Cell, Column, Field, Kind, Sink, Subject, col, derived};
use crate::value::Absent;

/// Where it lies in physical memory.
pub const PHYSICAL: Column = col("physical", Kind::Hex, "Physical address of the object");
/// How it was met.
pub const FOUND_BY: Column = col("found_by", Kind::Texts, "pool_tag, dispatcher_header: how the scan met it");

/// Rows of what a scan met.
pub trait Scans: Subject {
    /// Where and how it was met.
    fn found<'a, 'b>(of: &'b Self::Of<'a>) -> &'b Found;
}

/// The field [`PHYSICAL`].
#[must_use]
pub const fn physical<S: Scans>() -> Field<S> {
    derived(PHYSICAL, "where the scan met it: it is the row's own place", |c| S::found(c).pa.into())
}
/// The field [`FOUND_BY`].
#[must_use]
pub const fn found_by<S: Scans>() -> Field<S> {
    derived(FOUND_BY, "how the scan met it", |c| by(S::found(c)))
}
/// The object's virtual address, as a column of this description.
#[must_use]
pub const fn address<S: Scans>(column: Column) -> Field<S> {
    derived(column, "the address that maps where the scan met it", |c| offset(S::found(c)))
}

fn by(f: &Found) -> Cell {
    Cell::List(f.by.iter().map(|b| By::word(*b)).map(Cell::from).collect())
}

/// The object's virtual address.
#[must_use]
pub fn offset(f: &Found) -> Cell {
    f.va.map_or(Cell::Absent(Absent::NotMapped), Cell::from)
}

/// Everything of one kind, with the scan's notes told.
///
/// # Errors
/// No kernel, or the scan's own.
pub fn scan<'c>(case: &'c Case, ask: &Ask, sink: &mut dyn Sink, kind: Scanned) -> Result<(&'c Kernel, Vec<Found>)> {
    let kernel = case.kernel()?;
    let mut notes = Vec::new();
    let found = kernel.scan(&[kind], &ask.progress, &mut notes)?;
    notes.into_iter().for_each(|n| sink.note(n));
    Ok((kernel, found))
}
