//! `pslist`: the processes of the kernel's active list.

use super::parallel::each_process;
use super::who::{self, Of, Processes};
use super::{Analysis, Answers, Ask, Case, Subject, copied, user};
use crate::addr::Va;
use crate::error::Result;
use crate::kernel::process::{EProcess, Process};
use crate::kernel::standing::Sort;
use crate::paging::Space;
use crate::report::{Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};

/// The register's entry.
pub static PSLIST: Analysis = Analysis {
    name: "pslist",
    about: "Processes of the kernel's active list",
    help: "Walks PsActiveProcessHead forwards and, where it is broken, backwards from its end. Processes hidden from this \
           list are found by psscan and psxview.\n\nExample: dumpwalk pslist memory.dmp --name svchost",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run)
        .copies(|kernel, ask, sink| copied::process(kernel, &COLUMNS, ask, sink))
        .minidump(|_, dump, ask, sink| user::pslist(dump, ask, sink)),
};

/// What is told of a process, shared with `pstree` and `psscan`.
pub const FIELDS: &[Field<Processes>] = &[
    placed(
        col("pid", Kind::Number, "Process id (_EPROCESS.UniqueProcessId)"),
        |c| c.process.pid().into(),
        |c| c.process.view.at(EProcess::id),
    ),
    who::ppid(col("ppid", Kind::Number, "Id of the parent it inherited from (InheritedFromUniqueProcessId)")),
    placed(
        col("name", Kind::Text, "Image name as the kernel keeps it, at most 15 bytes (ImageFileName)"),
        |c| c.process.name().into(),
        |c| c.process.view.at(EProcess::short_name),
    ),
    derived(
        wide("image_name", Kind::Text, "Image name, whole where name is its cut beginning (by the audit path)"),
        "name and path: the last part of path where name is its beginning, else name",
        |c| c.process.long_name(c.space).into(),
    ),
    who::offset(col("offset", Kind::Hex, "Address of the _EPROCESS")),
    who::dtb(col("dtb", Kind::Hex, "Physical address of its page tables (DirectoryTableBase without its low bits)")),
    who::user_dtb(wide("user_dtb", Kind::Hex, "Page tables used in user mode where kernel addresses are shadowed")),
    who::threads(col("threads", Kind::Number, "Threads that have not ended (ActiveThreads)")),
    placed(
        col("handles", Kind::Number, "Open handles, by the handle table's own count"),
        |c| c.process.handle_count(c.space).into(),
        |c| c.process.handle_count_at(c.space),
    ),
    placed(
        col("session", Kind::Number, "Session number; none for System and minimal processes"),
        |c| c.process.session(c.space).into(),
        |c| c.process.session_at(c.space),
    ),
    who::wow64(col("wow64", Kind::Bool, "Whether it is a 32-bit process of a 64-bit Windows")),
    placed(
        wide("machine", Kind::Text, "Processor its image is for, where the kernel keeps it"),
        |c| {
            let machine = c.process.wow64(c.space).map_or_else(|_| c.process.view.machine(), |side| side.machine);
            machine.and_then(machine_name).into()
        },
        |c| c.process.machine_at(c.space),
    ),
    who::create_time(col("create_time", Kind::Time, "When it was created")),
    who::exit_time(col("exit_time", Kind::Time, "When it ended; none while it runs")),
    who::exit_status(wide("exit_status", Kind::Hex, "NTSTATUS or code it ended with; none while it runs")),
    who::peb(wide("peb", Kind::Hex, "Address of its process environment block")),
    placed(
        wide("image_base", Kind::Hex, "Where its image is mapped (SectionBaseAddress)"),
        |c| c.process.view.image_base().and_then(Va::not_null).into(),
        |c| c.process.view.at(EProcess::image_base),
    ),
    derived(
        wide("kind", Kind::Text, "system, user, minimal, pico, secure (trustlet): what sort of process it is"),
        "flags of the _EPROCESS, and whether it has what an image has (PEB, section, path)",
        |c| c.process.sort().map(Sort::word).into(),
    ),
    who::protection(wide("protection", Kind::Text, "Protected-process type and signer")),
    placed(
        col("path", Kind::Text, "Image path recorded by the kernel at creation (SeAuditProcessCreationInfo)"),
        |c| c.process.image_path(c.space).into(),
        |c| c.space.place_of(&c.process.image_path(c.space)),
    ),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    each_process(case, ask, sink, |space, process, sink| sink.row(row(process, space, ask)))
}

/// The row of a process.
#[must_use]
pub fn row(process: &Process<'_>, space: &Space<'_>, ask: &Ask) -> Row {
    Row::of(FIELDS, &Of { process, space }, &ask.rows).at(process.place())
}

/// The name of a machine type of PE headers (`IMAGE_FILE_MACHINE_…` of winnt.h).
fn machine_name(machine: u16) -> crate::value::Value<&'static str> {
    Ok(match machine {
        0x014c => "x86",
        0x8664 => "x64",
        0x01c4 => "arm",
        0xaa64 => "arm64",
        0xa641 => "arm64ec",
        0xa64e => "arm64x",
        0x3a64 => "chpe-x86",
        0 => return Err(crate::value::Absent::NotApplicable),
        _ => return Err(crate::value::Absent::Implausible),
    })
}
