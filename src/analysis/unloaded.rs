//! `unloaded`: drivers that were unloaded.

use super::{Analysis, Answers, Ask, Case, Subject, user};
use crate::error::Result;
use crate::kernel::triage;
use crate::report::{Cell, Column, Kind, Row, Sink, col};

/// The register's entry.
pub static UNLOADED: Analysis = Analysis {
    name: "unloaded",
    about: "Drivers that were unloaded",
    help: "The kernel keeps the last fifty in MmUnloadedDrivers. Oldest first. Of a user-mode minidump, the modules its process unloaded.",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Machine,
    answers: Answers::of(run).minidump(|_, dump, _, sink| user::unloaded(dump, &COLUMNS, sink)),
};

const COLUMNS: [Column; 5] = [
    col("name", Kind::Text, "File name"),
    col("start", Kind::Hex, "First byte it occupied"),
    col("end", Kind::Hex, "One past the last"),
    col("time", Kind::Time, "When it was unloaded"),
    col("slot", Kind::Number, "Its place in the kernel's ring"),
];

fn run(case: &Case, _: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let (list, notes) = match triage::unloaded(&case.dump) {
        Some(list) => (list, Vec::new()),
        None => case.kernel()?.unloaded_drivers()?,
    };
    notes.into_iter().for_each(|n| sink.note(n));
    for d in list {
        let cells: [Cell; COLUMNS.len()] = [d.name.into(), d.start.into(), d.end.into(), d.time.into(), d.index.into()];
        sink.row(Row::new(cells.into()).at(d.place))?;
    }
    Ok(())
}
