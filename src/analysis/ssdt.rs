//! `ssdt`: where each system call leads.

use super::routine::{self, Routines};
use super::tell::members;
use super::{Analysis, Answers, Ask, Case, Subject, modules};
use crate::error::Result;
use crate::report::{Cell, Column, Kind, Row, Sink, col, joined, wide};
use crate::value::Absent;

/// The register's entry.
pub static SSDT: Analysis = Analysis {
    name: "ssdt",
    about: "System service tables: where each system call leads",
    help: "One row for each system call: KiServiceTable, and win32k's table where the symbols tell of it. On x64 an entry is a distance from the \
           table, so that a hook of it must lie within 128 MiB; on x86 it is an address. `hook` says so where the routine lies in no loaded \
           module, or begins with a jump out of all modules. A routine of the kernel's table in another module than the kernel is `foreign`. A dump without the table gives no rows and a note of loss.\n\n\
           Example: dumpwalk ssdt memory.dmp --format jsonl | grep outside",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Machine,
    answers: Answers::of_memory(run),
};

const FIRST: [Column; 2] = [
    col("call", Kind::Hex, "Number of the system call"),
    col("table", Kind::Text, "KiServiceTable (the kernel's) or W32pServiceTable (win32k's)"),
];
const LAST: [Column; 3] = [
    col("foreign", Kind::Bool, "Whether it lies outside the kernel, of the kernel's table"),
    wide("arguments", Kind::Number, "Arguments on the stack, in pointers"),
    wide("entry", Kind::Hex, "Address of the table's entry"),
];
const BOTH: [Column; FIRST.len() + routine::COLUMNS.len()] = joined(FIRST, routine::COLUMNS);
const COLUMNS: [Column; BOTH.len() + LAST.len()] = joined(BOTH, LAST);

fn run(case: &Case, _: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let services = members("system calls", kernel.services(), sink)?;
    let routines = Routines::new(kernel, modules::loaded(case)?);
    routines.modules.notes.iter().for_each(|n| sink.note(n.clone()));
    let space = kernel.space();
    for s in services {
        let own = |va| routines.modules.of(va).is_some_and(|m| m.base == Ok(kernel.base));
        let foreign = match s.table {
            crate::kernel::service_table::Table::Kernel => s.routine.map(|va| !own(va)),
            crate::kernel::service_table::Table::Win32k => Err(Absent::NotApplicable),
        };
        let mut cells: Vec<Cell> = vec![Cell::Hex(s.call()), s.table.name().into()];
        cells.extend(routine::cells(&routines, &space, s.routine));
        cells.extend([foreign.into(), s.arguments.into(), s.place.va.ok_or(Absent::NotRecorded).into()]);
        sink.row(Row::new(cells).at(s.place))?;
    }
    Ok(())
}
