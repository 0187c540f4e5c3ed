//! `unloaded`: drivers that were unloaded.

use super::{Analysis, Answers, Ask, Case, Subject, user};
use crate::error::Result;
use crate::kernel::triage;
use crate::kernel::unloaded::Unloaded;
use crate::report::{Column, Field, Kind, Row, Sink, col, derived, headers, placed};

/// The register's entry.
pub static UNLOADED: Analysis = Analysis {
    name: "unloaded",
    about: "Drivers that were unloaded",
    help: "The kernel keeps the last fifty in MmUnloadedDrivers. Oldest first. Of a user-mode minidump, the modules its process unloaded.",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Machine,
    answers: Answers::of(run).minidump(|_, dump, ask, sink| user::unloaded(dump, ask, &COLUMNS, sink)),
};

/// A driver that was unloaded.
struct Gone;
impl crate::report::Subject for Gone {
    type Of<'a> = Unloaded;
}

const FIELDS: &[Field<Gone>] = &[
    placed(col("name", Kind::Text, "File name"), |c| c.name.clone().into(), |c| c.places[0]),
    placed(col("start", Kind::Hex, "First byte it occupied"), |c| c.start.into(), |c| c.places[1]),
    placed(col("end", Kind::Hex, "One past the last"), |c| c.end.into(), |c| c.places[2]),
    placed(col("time", Kind::Time, "When it was unloaded"), |c| c.time.into(), |c| c.places[3]),
    derived(
        col("slot", Kind::Number, "Its place in the kernel's ring"),
        "its place in the ring, or in the dump's list",
        |c| c.index.into(),
    ),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let (list, notes) = match triage::unloaded(&case.dump) {
        Some(list) => (list, Vec::new()),
        None => case.kernel()?.unloaded_drivers()?,
    };
    notes.into_iter().for_each(|n| sink.note(n));
    for d in list {
        sink.row(Row::of(FIELDS, &d, &ask.rows).at(d.place))?;
    }
    Ok(())
}
