//! `callbacks`: routines that the kernel calls when something happens.

use super::routine::{self, Lead, Routines};
use super::tell::members;
use super::{Analysis, Answers, Ask, Case, Subject, modules};
use crate::error::Result;
use crate::kernel::callbacks::Callback;
use crate::report::{Column, Field, Kind, Row, Sink, col, derived, headers, wide};
use crate::value::{Absent, Value};

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

/// A callback.
struct Registered;
struct Of<'a> {
    callback: &'a Callback,
    lead: Value<Lead<'a>>,
}
impl crate::report::Subject for Registered {
    type Of<'a> = Of<'a>;
}
impl routine::Named for Registered {
    fn lead<'a, 'b>(of: &'b Self::Of<'a>) -> Value<&'b Lead<'a>> {
        of.lead.as_ref().map_err(|why| *why)
    }
}

const FIELDS: &[Field<Registered>] = &[
    derived(
        col(
            "kind",
            Kind::Text,
            "process, thread, image, registry, object_pre, object_post, bugcheck, bugcheck_reason, shutdown",
        ),
        "which list it is on",
        |c| c.callback.kind.word().into(),
    ),
    derived(
        col(
            "detail",
            Kind::Text,
            "A registry callback's altitude, an object callback's type, a component's name, a driver's",
        ),
        "the text beside the entry, or the name of the type or driver it is of",
        |c| c.callback.detail.clone().into(),
    ),
    derived(routine::ADDRESS, "the pointer in the slot's block, or in the entry", |c| c.callback.routine.into()),
    routine::module(),
    routine::symbol(),
    routine::jumps_to(),
    routine::hook(),
    derived(wide("list", Kind::Text, "Symbol of the list it is on"), "the kernel's symbols", |c| {
        c.callback.list.into()
    }),
    derived(
        wide("index", Kind::Number, "Slot or place on the list, from 0"),
        "the slot's place, or the links of the list",
        |c| c.callback.index.into(),
    ),
    derived(wide("entry", Kind::Hex, "Address of the slot or entry"), "the list: it is the row's own place", |c| {
        c.callback.place.va.ok_or(Absent::NotRecorded).into()
    }),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let callbacks = members("callbacks", kernel.callbacks(), sink)?;
    let routines = Routines::new(kernel, modules::loaded(case)?);
    routines.modules.notes.iter().for_each(|n| sink.note(n.clone()));
    let space = kernel.space();
    for c in callbacks {
        let lead = c.routine.map(|va| routines.look(&space, va));
        sink.row(Row::of(FIELDS, &Of { callback: &c, lead }, &ask.rows).at(c.place))?;
    }
    Ok(())
}
