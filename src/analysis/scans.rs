//! What the scanning analyses share: the scan itself, and the columns that say where and how an object was met.

use super::{Ask, Case};
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::scan::find::{By, Found};
use crate::kernel::scan::tags::Kind as Scanned;
use crate::report::{Cell, Column, Kind, Sink, col};
use crate::value::Absent;

/// Where it lies in physical memory.
pub const PHYSICAL: Column = col("physical", Kind::Hex, "Physical address of the object");
/// How it was met.
pub const FOUND_BY: Column = col("found_by", Kind::Texts, "pool_tag, dispatcher_header: how the scan met it");

/// The cells of [`PHYSICAL`] and [`FOUND_BY`].
#[must_use]
pub fn cells(f: &Found) -> [Cell; 2] {
    [f.pa.into(), Cell::List(f.by.iter().map(|b| By::word(*b)).map(Cell::from).collect())]
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
