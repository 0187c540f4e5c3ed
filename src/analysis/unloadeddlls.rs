//! `unloadeddlls`: the last DLLs that each process unloaded.

use super::parallel::{asked_for, in_order};
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, who};
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::file_object::Files;
use crate::kernel::process::Process;
use crate::kernel::unloaded_dlls::{Ntdll, Rings, Unloaded};
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
use crate::value::{Absent, Note};

/// The register's entry.
pub static UNLOADEDDLLS: Analysis = Analysis {
    name: "unloadeddlls",
    about: "The last DLLs that each process unloaded, by ntdll's own ring",
    help: "ntdll keeps the last 64 DLLs that were unloaded (RtlpUnloadEventTrace), in the process's own memory, without times: sequence says \
           their order. An address on an old stack, or a start address, may lie in one of them. Found without symbols, through what \
           ntdll exports.\n\nExample: dumpwalk unloadeddlls memory.dmp --name explorer",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run),
};

const COLUMNS: [Column; 10] = [
    who::PID,
    who::NAME,
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
    col("sequence", Kind::Number, "Number of the event in this process, from 0 on"),
    col("base", Kind::Hex, "Where it lay"),
    col("size", Kind::Hex, "Bytes"),
    col("module_name", Kind::Text, "File name, cut to 32 characters"),
    col("timestamp", Kind::Hex, "TimeDateStamp of its header"),
    wide("checksum", Kind::Hex, "CheckSum of its header"),
    wide("wow64", Kind::Bool, "By the 32-bit ntdll of a 32-bit process on a 64-bit Windows"),
];

/// What all processes share: where each ntdll keeps its ring.
#[derive(Debug)]
pub struct Shared<'k> {
    kernel: &'k Kernel,
    rings: Rings<'k>,
}

impl<'k> Shared<'k> {
    /// The rings are looked for through these processes: one that has the code in memory serves all.
    ///
    /// # Errors
    /// The symbols lack a type or a field.
    pub fn of(kernel: &'k Kernel, processes: Vec<Process<'k>>) -> Result<Self> {
        let needs = |e| kernel.unreadable(&e);
        Files::of(kernel).map_err(needs)?; // fails here rather than in a worker
        Ok(Self { kernel, rings: Rings::of(kernel, processes).map_err(needs)? })
    }
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let shared = Shared::of(kernel, kernel.processes()?.list)?;
    in_order(
        asked_for(case, ask, sink)?.into_iter(),
        || kernel.space(),
        |space, process, sink| rows(&shared, &process, space, sink),
        sink,
    )
}

/// The rows of a process.
///
/// # Errors
/// The sink's.
pub fn rows<'k>(shared: &Shared<'k>, process: &Process<'k>, space: &Space<'k>, sink: &mut dyn Sink) -> Result<()> {
    let Ok(memory) = AddressSpace::of(process, space) else { return Ok(()) };
    let mut files = Files::of(shared.kernel).map_err(|e| shared.kernel.unreadable(&e))?;
    for ntdll in shared.rings.ntdlls(&memory, space, &mut files) {
        match shared.rings.unloaded(&memory.space, ntdll, space, &mut files) {
            Ok((list, note)) => {
                tell(process, note, sink);
                for unloaded in list {
                    sink.row(row(process, ntdll, space, &unloaded))?;
                }
            }
            // System maps ntdll without ever running it: its data is not there.
            Err(Absent::NotInBuild | Absent::NotApplicable) => {}
            Err(_) if process.pid() == Ok(4) => {}
            Err(why) => {
                let at = ntdll.base;
                tell(process, [Note::loss(format!("the unloaded DLLs of ntdll at {at} are {why}"))], sink);
            }
        }
    }
    Ok(())
}

fn row(process: &Process<'_>, ntdll: Ntdll, kernel_space: &Space<'_>, unloaded: &Unloaded) -> Row {
    let [pid, name] = who::cells(process);
    let cells: [Cell; COLUMNS.len()] = [
        pid,
        name,
        who::address(process),
        unloaded.sequence.into(),
        unloaded.base.into(),
        Cell::Hex(unloaded.size),
        unloaded.name.clone().into(),
        Cell::Hex(unloaded.timestamp.into()),
        Cell::Hex(unloaded.checksum.into()),
        (ntdll.narrow && kernel_space.pointer_size() == 8).into(),
    ];
    Row::new(cells.into()).at(unloaded.place)
}
