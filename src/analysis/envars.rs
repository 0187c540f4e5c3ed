//! `envars`: the environment of each process.

use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, user, who};
use crate::error::Result;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::peb;
use crate::kernel::process::Process;
use crate::kernel::sides::Sides;
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
use crate::value::{Absent, Note};

/// The register's entry.
pub static ENVARS: Analysis = Analysis {
    name: "envars",
    about: "Environment variables of each process",
    help: "One row for each variable, in the block's order. Names such as =C: keep the current directory of a drive. A 32-bit process on 64-bit \
           Windows has a second block, the one its own code sees: wow64 is true for its variables.\n\n\
           Example: dumpwalk envars memory.dmp --pid 1234",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run).minidump(|case, dump, ask, sink| user::envars(&case.dump, dump, ask, sink)),
};

/// The columns.
pub const COLUMNS: [Column; 7] = [
    who::PID,
    who::NAME,
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
    col("variable", Kind::Text, "Name"),
    col("value", Kind::Text, "Value"),
    wide("wow64", Kind::Bool, "From the 32-bit side's block"),
    wide("block", Kind::Hex, "Address of the environment block"),
];

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let sides = Sides::of(kernel).map_err(|e| kernel.unreadable(&e))?;
    each_process(case, ask, sink, |space, process, sink| rows(&sides, process, space, sink))
}

/// The rows of a process.
///
/// # Errors
/// The sink's.
pub fn rows<'k>(sides: &Sides<'k>, process: &Process<'k>, space: &Space<'k>, sink: &mut dyn Sink) -> Result<()> {
    let Ok(memory) = AddressSpace::of(process, space) else { return Ok(()) };
    let mut shown = None;
    for side in sides.of_process(process, space) {
        let parameters = match side.parameters(&memory.space) {
            Ok(parameters) => parameters,
            Err(Absent::NotApplicable) => continue,
            Err(why) => {
                let which = if side.wow64 { "32-bit process parameters" } else { "process parameters" };
                tell(process, [Note::loss(format!("its {which} are {why}"))], sink);
                continue;
            }
        };
        let (address, size) = parameters.environment;
        let address = match address {
            Ok(address) => address,
            Err(why) => {
                tell(process, [Note::loss(format!("the address of its environment is {why}"))], sink);
                continue;
            }
        };
        // Both sides can share one block until the 32-bit loader has made its own.
        if address.is_null() || shown.replace(address) == Some(address) {
            continue;
        }
        let (variables, note) = peb::environment(&memory.space, address, size.ok());
        tell(process, note, sink);
        for v in variables {
            let [pid, name] = who::cells(process);
            let cells: [Cell; COLUMNS.len()] =
                [pid, name, who::address(process), v.name.into(), v.value.into(), side.wow64.into(), address.into()];
            sink.row(Row::new(cells.into()).at(v.place))?;
        }
    }
    Ok(())
}
