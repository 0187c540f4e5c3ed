//! `callbacks`: routines that the kernel calls when something happens.

use super::routine::{self, Routines};
use super::tell::members;
use super::{Analysis, Answers, Ask, Case, Subject, modules};
use crate::error::Result;
use crate::report::{Cell, Column, Kind, Row, Sink, col, joined, wide};
use crate::value::Absent;

/// The register's entry.
pub static CALLBACKS: Analysis = Analysis {
    name: "callbacks",
    about: "Routines the kernel calls for processes, threads, images, registry, handles, bug checks",
    help: "Notification routines on the lists that the kernel's symbols tell of: a process or thread is made or ends, an image is mapped, a \
           registry operation, a handle to an object is opened (before and after), the machine stops or is shut down. Security products \
           register many; `hook` says so where a routine lies in no loaded module, or begins with a jump out of all modules. A list that \
           the symbols do not tell of is named in a note.\n\nExample: dumpwalk callbacks memory.dmp",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Machine,
    answers: Answers::of_memory(run),
};

const FIRST: [Column; 2] = [
    col(
        "kind",
        Kind::Text,
        "process, thread, image, registry, object_pre, object_post, bugcheck, bugcheck_reason, shutdown",
    ),
    col(
        "detail",
        Kind::Text,
        "A registry callback's altitude, an object callback's type, a component's name, a driver's",
    ),
];
const LAST: [Column; 3] = [
    wide("list", Kind::Text, "Symbol of the list it is on"),
    wide("index", Kind::Number, "Slot or place on the list, from 0"),
    wide("entry", Kind::Hex, "Address of the slot or entry"),
];
const BOTH: [Column; FIRST.len() + routine::COLUMNS.len()] = joined(FIRST, routine::COLUMNS);
const COLUMNS: [Column; BOTH.len() + LAST.len()] = joined(BOTH, LAST);

fn run(case: &Case, _: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let callbacks = members("callbacks", kernel.callbacks(), sink)?;
    let routines = Routines::new(kernel, modules::loaded(case)?);
    routines.modules.notes.iter().for_each(|n| sink.note(n.clone()));
    let space = kernel.space();
    for c in callbacks {
        let mut cells: Vec<Cell> = vec![c.kind.word().into(), c.detail.into()];
        cells.extend(routine::cells(&routines, &space, c.routine));
        cells.extend([c.list.into(), c.index.into(), c.place.va.ok_or(Absent::NotRecorded).into()]);
        sink.row(Row::new(cells).at(c.place))?;
    }
    Ok(())
}
