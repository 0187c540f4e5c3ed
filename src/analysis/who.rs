//! What the rows of every per-process analysis begin with.

use crate::kernel::process::Process;
use crate::report::{Cell, Column, Kind, col};
use crate::value::Absent;

/// `pid`.
pub const PID: Column = col("pid", Kind::Number, "Process id");
/// `name`.
pub const NAME: Column = col("name", Kind::Text, "Process name as the kernel keeps it, at most 15 bytes");

/// The cells of [`PID`] and [`NAME`].
#[must_use]
pub fn cells(process: &Process<'_>) -> [Cell; 2] {
    [process.pid().into(), process.name().into()]
}
/// The address of the `_EPROCESS`.
#[must_use]
pub fn offset(process: &Process<'_>) -> Cell {
    process.offset().map_or(Cell::Absent(Absent::NotRecorded), Cell::from)
}
