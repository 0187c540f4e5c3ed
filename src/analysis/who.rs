//! What the rows of every per-process analysis begin with.

use crate::kernel::process::{EProcess, Process};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Subject, col, derived, placed};
use crate::value::Absent;

/// `pid`.
pub const PID: Column = col("pid", Kind::Number, "Process id");
/// `name`.
pub const NAME: Column = col("name", Kind::Text, "Process name as the kernel keeps it, at most 15 bytes");

/// Rows that are about something of a process.
pub trait OfProcess: Subject {
    /// The process.
    fn process<'a, 'b>(of: &'b Self::Of<'a>) -> &'b Process<'a>;
}

/// Says that rows named `$name` are of a `$of`, whose field `process` is the process.
macro_rules! of_process {
    ($name:ident, $of:ident) => {
        impl $crate::report::Subject for $name {
            type Of<'a> = $of<'a>;
        }
        impl $crate::analysis::who::OfProcess for $name {
            fn process<'a, 'b>(of: &'b Self::Of<'a>) -> &'b $crate::kernel::process::Process<'a> {
                of.process
            }
        }
    };
}
pub(super) use of_process;

/// Rows of a process itself.
#[derive(Debug)]
pub struct Processes;
/// A process, and the kernel's memory to read what it points at.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// The process.
    pub process: &'a Process<'a>,
    /// Kernel memory.
    pub space: &'a Space<'a>,
}
of_process!(Processes, Of);

/// The field [`PID`].
#[must_use]
pub const fn pid<S: OfProcess>() -> Field<S> {
    placed(PID, |c| S::process(c).pid().into(), |c| S::process(c).view.at(EProcess::id))
}
/// The field [`NAME`].
#[must_use]
pub const fn name<S: OfProcess>() -> Field<S> {
    placed(NAME, |c| S::process(c).name().into(), |c| S::process(c).view.at(EProcess::short_name))
}
/// Id of the parent it inherited from, as a column of this description.
#[must_use]
pub const fn ppid<S: OfProcess>(column: Column) -> Field<S> {
    placed(column, |c| S::process(c).ppid().into(), |c| S::process(c).view.at(EProcess::parent))
}
/// When it was created, as a column of this description.
#[must_use]
pub const fn create_time<S: OfProcess>(column: Column) -> Field<S> {
    placed(column, |c| S::process(c).create_time().into(), |c| S::process(c).view.at(EProcess::created))
}
/// When it ended, as a column of this description.
#[must_use]
pub const fn exit_time<S: OfProcess>(column: Column) -> Field<S> {
    placed(column, |c| S::process(c).exit_time().into(), |c| S::process(c).view.at(EProcess::exited))
}
/// What it ended with, as a column of this description.
#[must_use]
pub const fn exit_status<S: OfProcess>(column: Column) -> Field<S> {
    placed(column, |c| Cell::hex(S::process(c).exit_status()), |c| S::process(c).view.at(EProcess::exit_code))
}
/// Threads that have not ended, as a column of this description.
#[must_use]
pub const fn threads<S: OfProcess>(column: Column) -> Field<S> {
    placed(column, |c| S::process(c).threads().into(), |c| S::process(c).view.at(EProcess::active_threads))
}
/// Whether it is a 32-bit process of a 64-bit Windows, as a column of this description.
#[must_use]
pub const fn wow64<S: OfProcess>(column: Column) -> Field<S> {
    placed(column, |c| S::process(c).is_wow64().into(), |c| S::process(c).view.at(EProcess::wow64))
}
/// Its page tables, as a column of this description.
#[must_use]
pub const fn dtb<S: OfProcess>(column: Column) -> Field<S> {
    placed(column, |c| S::process(c).dtb().into(), |c| S::process(c).dtb_at())
}
/// Its page tables of user mode, as a column of this description.
#[must_use]
pub const fn user_dtb<S: OfProcess>(column: Column) -> Field<S> {
    placed(column, |c| S::process(c).user_dtb().into(), |c| S::process(c).view.at(EProcess::user_dtb_raw))
}
/// Its PEB, as a column of this description.
#[must_use]
pub const fn peb<S: OfProcess>(column: Column) -> Field<S> {
    placed(column, |c| S::process(c).peb().into(), |c| S::process(c).view.at(EProcess::peb_raw))
}
/// How it is protected, as a column of this description.
#[must_use]
pub const fn protection<S: OfProcess>(column: Column) -> Field<S> {
    placed(column, |c| S::process(c).protection().map(|p| p.to_string()).into(), |c| S::process(c).protection_at())
}
/// The address of the `_EPROCESS`, as a column of this description.
#[must_use]
pub const fn offset<S: OfProcess>(column: Column) -> Field<S> {
    derived(column, "the address at which the object is: it is the row's own place", |c| address(S::process(c)))
}

/// The cells of [`PID`] and [`NAME`].
#[must_use]
pub fn cells(process: &Process<'_>) -> [Cell; 2] {
    [process.pid().into(), process.name().into()]
}
/// The address of the `_EPROCESS`.
#[must_use]
pub fn address(process: &Process<'_>) -> Cell {
    process.offset().map_or(Cell::Absent(Absent::NotRecorded), Cell::from)
}
