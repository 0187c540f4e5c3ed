//! `envars`: the environment of each process.

use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, user, who};
use crate::addr::Va;
use crate::error::Result;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::peb::{self, ParametersLayout, Variable, layout_for};
use crate::kernel::process::Process;
use crate::kernel::sides::{Side, Sides};
use crate::paging::Space;
use crate::report::{Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
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

/// A variable of a process's environment.
#[derive(Debug)]
pub struct Variables;
/// What is known of it.
pub struct Of<'a> {
    process: &'a Process<'a>,
    /// The process's own memory.
    memory: &'a Space<'a>,
    side: &'a Side<'a>,
    block: Va,
    /// Where the block's address is.
    pointer: Option<Va>,
    variable: &'a Variable,
}
who::of_process!(Variables, Of);

/// The columns.
pub const FIELDS: &[Field<Variables>] = &[
    who::pid(),
    who::name(),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
    placed(col("variable", Kind::Text, "Name"), |c| c.variable.name.clone().into(), |c| Some(c.variable.place)),
    placed(
        col("value", Kind::Text, "Value"),
        |c| c.variable.value.clone().into(),
        |c| Some(c.memory.place(c.variable.value_va()?)),
    ),
    derived(wide("wow64", Kind::Bool, "From the 32-bit side's block"), "which PEB leads to the block", |c| {
        c.side.wow64.into()
    }),
    placed(
        wide("block", Kind::Hex, "Address of the environment block"),
        |c| c.block.into(),
        |c| Some(c.memory.place(c.pointer?)),
    ),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let sides = Sides::of(kernel).map_err(|e| kernel.unreadable(&e))?;
    each_process(case, ask, sink, |space, process, sink| rows(&sides, process, space, ask, sink))
}

/// The rows of a process.
///
/// # Errors
/// The sink's.
pub fn rows<'k>(
    sides: &Sides<'k>,
    process: &Process<'k>,
    space: &Space<'k>,
    ask: &Ask,
    sink: &mut dyn Sink,
) -> Result<()> {
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
        let layout = layout_for::<ParametersLayout>(process.kernel, side.wow64).ok();
        let pointer = layout.and_then(|layout| ParametersLayout::environment.of(layout, parameters.address));
        let (variables, note) = peb::environment(&memory.space, address, size.ok());
        tell(process, note, sink);
        for v in variables {
            let of = Of { process, memory: &memory.space, side: &side, block: address, pointer, variable: &v };
            sink.row(Row::of(FIELDS, &of, &ask.rows).at(v.place))?;
        }
    }
    Ok(())
}
