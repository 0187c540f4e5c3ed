//! `pslist`: the processes of the kernel's active list.

use super::parallel::each_process;
use super::{Analysis, Answers, Ask, Case, Subject, copied, user};
use crate::error::Result;
use crate::kernel::process::{Process, applicable};
use crate::kernel::standing::Sort;
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};

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

/// The columns of a process, shared with `pstree`.
pub const COLUMNS: [Column; 20] = [
    col("pid", Kind::Number, "Process id (_EPROCESS.UniqueProcessId)"),
    col("ppid", Kind::Number, "Id of the parent it inherited from (InheritedFromUniqueProcessId)"),
    col("name", Kind::Text, "Image name as the kernel keeps it, at most 15 bytes (ImageFileName)"),
    wide("image_name", Kind::Text, "Image name, whole where name is its cut beginning (by the audit path)"),
    col("offset", Kind::Hex, "Address of the _EPROCESS"),
    col("dtb", Kind::Hex, "Physical address of its page tables (DirectoryTableBase without its low bits)"),
    wide("user_dtb", Kind::Hex, "Page tables used in user mode where kernel addresses are shadowed"),
    col("threads", Kind::Number, "Threads that have not ended (ActiveThreads)"),
    col("handles", Kind::Number, "Open handles, by the handle table's own count"),
    col("session", Kind::Number, "Session number; none for System and minimal processes"),
    col("wow64", Kind::Bool, "Whether it is a 32-bit process of a 64-bit Windows"),
    wide("machine", Kind::Text, "Processor its image is for, where the kernel keeps it"),
    col("create_time", Kind::Time, "When it was created"),
    col("exit_time", Kind::Time, "When it ended; none while it runs"),
    wide("exit_status", Kind::Hex, "NTSTATUS or code it ended with; none while it runs"),
    wide("peb", Kind::Hex, "Address of its process environment block"),
    wide("image_base", Kind::Hex, "Where its image is mapped (SectionBaseAddress)"),
    wide("kind", Kind::Text, "system, user, minimal, pico, secure (trustlet): what sort of process it is"),
    wide("protection", Kind::Text, "Protected-process type and signer"),
    col("path", Kind::Text, "Image path recorded by the kernel at creation (SeAuditProcessCreationInfo)"),
];

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    each_process(case, ask, sink, |space, process, sink| sink.row(row(process, space, ask)))
}

/// The row of a process.
#[must_use]
pub fn row(process: &Process<'_>, space: &Space<'_>, ask: &Ask) -> Row {
    let wow64 = process.wow64(space);
    let machine = match wow64 {
        Ok(side) => side.machine,
        Err(_) => process.view.machine(),
    };
    let cells: [Cell; COLUMNS.len()] = [
        process.pid().into(),
        process.ppid().into(),
        process.name().into(),
        process.long_name(space).into(),
        process.offset().map_or(Cell::Absent(crate::value::Absent::NotRecorded), Cell::from),
        process.dtb().into(),
        process.user_dtb().into(),
        process.threads().into(),
        process.handle_count(space).into(),
        process.session(space).into(),
        process.is_wow64().into(),
        machine.and_then(machine_name).into(),
        process.create_time().into(),
        process.exit_time().into(),
        process.exit_status().map_or_else(Cell::Absent, |s| Cell::Hex(s.into())),
        process.peb().into(),
        process.view.image_base().and_then(applicable).into(),
        process.sort().map(Sort::word).into(),
        process.protection().map(|p| p.to_string()).into(),
        process.image_path(space).into(),
    ];
    let mut row = Row::new(cells.into()).at(process.place());
    if ask.provenance {
        row.fields = places(process);
    }
    row
}

/// Where single cells of a process stand: column and the layout's accessor.
const FIELDS: [(&str, &str); 14] = [
    ("pid", "id"),
    ("ppid", "parent"),
    ("name", "short_name"),
    ("dtb", "dtb_raw"),
    ("user_dtb", "user_dtb_raw"),
    ("threads", "active_threads"),
    ("wow64", "wow64"),
    ("create_time", "created"),
    ("exit_time", "exited"),
    ("exit_status", "exit_code"),
    ("peb", "peb_raw"),
    ("image_base", "image_base"),
    ("protection", "protection_byte"),
    ("machine", "machine"),
];

/// The places of a process's fields, by the keys of [`COLUMNS`].
#[must_use]
pub fn places(process: &Process<'_>) -> Vec<(&'static str, crate::bytes::Place)> {
    FIELDS.iter().filter_map(|(key, accessor)| Some((*key, process.view.place_of(accessor)?))).collect()
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
