//! `unloadeddlls`: the last DLLs that each process unloaded.

use super::parallel::{asked_for, in_order};
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, who};
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::file_object::Files;
use crate::kernel::process::Process;
use crate::kernel::unloaded_dlls::{Ntdll, Part, Rings, Unloaded};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
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

/// A DLL that a process unloaded.
struct Unloads;
struct Of<'a> {
    process: &'a Process<'a>,
    /// Kernel memory.
    space: &'a Space<'a>,
    /// The process's own memory.
    memory: &'a Space<'a>,
    ntdll: Ntdll,
    unloaded: &'a Unloaded,
}
who::of_process!(Unloads, Of);

impl Of<'_> {
    fn at(&self, part: Part) -> Option<Place> {
        Some(self.memory.place(self.unloaded.place.va?.add(part.offset(self.ntdll.narrow))))
    }
}

const FIELDS: &[Field<Unloads>] = &[
    who::pid(),
    who::name(),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
    placed(
        col("sequence", Kind::Number, "Number of the event in this process, from 0 on"),
        |c| c.unloaded.sequence.into(),
        |c| c.at(Part::Sequence),
    ),
    placed(col("base", Kind::Hex, "Where it lay"), |c| c.unloaded.base.into(), |c| c.at(Part::Base)),
    placed(col("size", Kind::Hex, "Bytes"), |c| Cell::Hex(c.unloaded.size), |c| c.at(Part::Size)),
    placed(
        col("module_name", Kind::Text, "File name, cut to 32 characters"),
        |c| c.unloaded.name.clone().into(),
        |c| c.at(Part::Name),
    ),
    placed(
        col("timestamp", Kind::Hex, "TimeDateStamp of its header"),
        |c| Cell::Hex(c.unloaded.timestamp.into()),
        |c| c.at(Part::TimeStamp),
    ),
    placed(
        wide("checksum", Kind::Hex, "CheckSum of its header"),
        |c| Cell::Hex(c.unloaded.checksum.into()),
        |c| c.at(Part::CheckSum),
    ),
    derived(
        wide("wow64", Kind::Bool, "By the 32-bit ntdll of a 32-bit process on a 64-bit Windows"),
        "which ntdll keeps the ring",
        |c| (c.ntdll.narrow && c.space.pointer_size() == 8).into(),
    ),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

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
        |space, process, sink| rows(&shared, &process, space, ask, sink),
        sink,
    )
}

/// The rows of a process.
///
/// # Errors
/// The sink's.
pub fn rows<'k>(
    shared: &Shared<'k>,
    process: &Process<'k>,
    space: &Space<'k>,
    ask: &Ask,
    sink: &mut dyn Sink,
) -> Result<()> {
    let Ok(memory) = AddressSpace::of(process, space) else { return Ok(()) };
    let mut files = Files::of(shared.kernel).map_err(|e| shared.kernel.unreadable(&e))?;
    for ntdll in shared.rings.ntdlls(&memory, space, &mut files) {
        match shared.rings.unloaded(&memory.space, ntdll, space, &mut files) {
            Ok((list, note)) => {
                tell(process, note, sink);
                for unloaded in list {
                    sink.row(
                        Row::of(
                            FIELDS,
                            &Of { process, space, memory: &memory.space, ntdll, unloaded: &unloaded },
                            &ask.rows,
                        )
                        .at(unloaded.place),
                    )?;
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
