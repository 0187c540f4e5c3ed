//! `ssdt`: where each system call leads.

use super::routine::{self, Lead, Routines};
use super::tell::members;
use super::{Analysis, Answers, Ask, Case, Subject, modules};
use crate::error::Result;
use crate::kernel::service_table::{Service, Table};
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::value::{Absent, Value};

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

/// A system call.
struct Calls;
struct Of<'a> {
    service: &'a Service,
    lead: Value<Lead<'a>>,
    foreign: Value<bool>,
}
impl crate::report::Subject for Calls {
    type Of<'a> = Of<'a>;
}
impl routine::Named for Calls {
    fn lead<'a, 'b>(of: &'b Self::Of<'a>) -> Value<&'b Lead<'a>> {
        of.lead.as_ref().map_err(|why| *why)
    }
}

const FIELDS: &[Field<Calls>] = &[
    derived(col("call", Kind::Hex, "Number of the system call"), "the entry's place in its table", |c| {
        Cell::Hex(c.service.call())
    }),
    derived(
        col("table", Kind::Text, "KiServiceTable (the kernel's) or W32pServiceTable (win32k's)"),
        "which table the entry is in",
        |c| c.service.table.name().into(),
    ),
    placed(routine::ADDRESS, |c| c.service.routine.into(), |c| Some(c.service.place)),
    routine::module(),
    routine::symbol(),
    routine::jumps_to(),
    routine::hook(),
    derived(
        col("foreign", Kind::Bool, "Whether it lies outside the kernel, of the kernel's table"),
        "address, and where the kernel's image lies",
        |c| c.foreign.into(),
    ),
    derived(
        wide("arguments", Kind::Number, "Arguments on the stack, in pointers"),
        "x64: low bits of the entry; x86: a table of bytes beside it",
        |c| c.service.arguments.into(),
    ),
    derived(
        wide("entry", Kind::Hex, "Address of the table's entry"),
        "the address of the table, and call: it is the row's own place",
        |c| c.service.place.va.ok_or(Absent::NotRecorded).into(),
    ),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let services = members("system calls", kernel.services(), sink)?;
    let routines = Routines::new(kernel, modules::loaded(case)?);
    routines.modules.notes.iter().for_each(|n| sink.note(n.clone()));
    let space = kernel.space();
    for s in services {
        let own = |va| routines.modules.of(va).is_some_and(|m| m.base == Ok(kernel.base));
        let foreign = match s.table {
            Table::Kernel => s.routine.map(|va| !own(va)),
            Table::Win32k => Err(Absent::NotApplicable),
        };
        let lead = s.routine.map(|va| routines.look(&space, va));
        sink.row(Row::of(FIELDS, &Of { service: &s, lead, foreign }, &ask.rows).at(s.place))?;
    }
    Ok(())
}
